"""IAM documents as plain data, made by functions that refuse what is too wide."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

Statement = dict[str, Any]
Document = dict[str, Any]
Conditions = Mapping[str, Mapping[str, Any]]

VERSION = "2012-10-17"
READS = ("Get", "List", "Describe", "BatchGet", "View", "Search", "Query", "Scan")
"""How the names of actions begin that change nothing."""


BOUNDS_RESOURCES = re.compile(
    r"(aws|[a-z0-9-]+):(ResourceTag|RequestTag)/.+|iam:(PassedToService|AWSServiceName)|ec2:SourceInstanceARN"
    r"|kms:(ViaService|ResourceAliases|GrantIsForAWSResource)|cloudwatch:namespace"
)
"""Keys of conditions that say which resources are meant, or on whose behalf they are changed."""
BOUNDS_CALLERS = re.compile(
    r"aws:(Principal(Account|Arn|OrgID|OrgPaths)|Source(Account|Arn|OrgID|OrgPaths|Vpc|Vpce|VpcArn)|userid)"
    r"|kms:CallerAccount|elasticfilesystem:AccessPointArn"
)
"""Keys of conditions that say who is meant."""
POSITIVE = re.compile(r"(ForAnyValue:)?(String(Equals|Like|EqualsIgnoreCase)|Arn(Equals|Like)|Bool)")
"""Operators that only hold where the key is there, and is one of the values."""


def document(*statements: Statement) -> Document:
    """A policy document. Raises ValueError for two statements of one Sid."""
    sids = [statement["Sid"] for statement in statements]
    if len(set(sids)) < len(sids):
        raise ValueError(f"two statements share a Sid: {', '.join(sids)}")
    return {"Version": VERSION, "Statement": list(statements)}


def everything(resource: str) -> bool:
    """Whether it is every resource, of all services or of one: `*`, or `arn:aws:s3:::*`."""
    return set(resource.split(":", 5)[-1]) <= set("*?/:")


def narrows(conditions: Conditions, keys: re.Pattern[str]) -> bool:
    """Whether some condition lets through only certain values of one of these keys."""
    return any(
        POSITIVE.fullmatch(operator) and keys.fullmatch(key) and values and not any(map(everything, values))
        for operator, wanted in conditions.items()
        for key, value in wanted.items()
        for values in [[str(one) for one in (value if isinstance(value, list | tuple) else [value])]]
    )


def allow(
    sid: str, actions: Sequence[str], resources: Sequence[str], conditions: Conditions | None = None
) -> Statement:
    """A statement of an identity's policy.

    Raises ValueError for an action of all services or all of one, and for a change on every resource that no
    condition narrows (CIS 5.2.1, Checkov CKV_AWS_290 and 355).
    """
    for action in actions:
        service, _, name = action.partition(":")
        if not name or name == "*" or service == "*":
            raise ValueError(f"{sid}: {action!r} allows too much: name the actions")
        wide = any(map(everything, resources)) and not narrows(conditions or {}, BOUNDS_RESOURCES)
        if wide and not name.startswith(READS):
            raise ValueError(
                f"{sid}: {action} changes things and is allowed on every resource; name them, or a condition"
            )
    statement: Statement = {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return statement | ({"Condition": dict(conditions)} if conditions else {})


def allow_principal(
    sid: str,
    principal: Mapping[str, Any],
    actions: Sequence[str],
    resources: Sequence[str] | None = None,
    conditions: Conditions | None = None,
) -> Statement:
    """A statement of a resource's policy or, without resources, of a role's trust. Raises ValueError for everybody."""
    if "*" in principal.values():
        raise ValueError(f"{sid}: it lets in everybody")
    statement: Statement = {"Sid": sid, "Effect": "Allow", "Principal": dict(principal), "Action": list(actions)}
    statement |= {"Resource": list(resources)} if resources is not None else {}
    return statement | ({"Condition": dict(conditions)} if conditions else {})


def deny_everybody(sid: str, actions: Sequence[str], resources: Sequence[str], conditions: Conditions) -> Statement:
    """A statement of a resource's policy that nobody gets around."""
    return {
        "Sid": sid,
        "Effect": "Deny",
        "Principal": "*",
        "Action": list(actions),
        "Resource": list(resources),
        "Condition": dict(conditions),
    }


def trust_service(service: str, account_id: str) -> Document:
    """Only this AWS service, and only on behalf of this account (no confused deputy)."""
    conditions = {"StringEquals": {"aws:SourceAccount": account_id}}
    return document(allow_principal("Service", {"Service": service}, ["sts:AssumeRole"], conditions=conditions))


def trust_instances() -> Document:
    """Only EC2 instances."""
    return document(allow_principal("Instances", {"Service": "ec2.amazonaws.com"}, ["sts:AssumeRole"]))


def trust_pods(cluster_arn: str, account_id: str) -> Document:
    """Only pods of one EKS cluster, by pod identity; which ones is in the association."""
    conditions = {"StringEquals": {"aws:SourceAccount": account_id}, "ArnEquals": {"aws:SourceArn": cluster_arn}}
    principal = {"Service": "pods.eks.amazonaws.com"}
    return document(allow_principal("Pods", principal, ["sts:AssumeRole", "sts:TagSession"], conditions=conditions))


def trust_service_account(provider_arn: str, issuer: str, namespace: str, service_account: str) -> Document:
    """Only one Kubernetes service account, by IRSA: for parts whose SDK has no pod identity."""
    host = issuer.removeprefix("https://")
    conditions = {
        "StringEquals": {
            f"{host}:sub": f"system:serviceaccount:{namespace}:{service_account}",
            f"{host}:aud": "sts.amazonaws.com",
        }
    }
    principal = {"Federated": provider_arn}
    return document(
        allow_principal("ServiceAccount", principal, ["sts:AssumeRoleWithWebIdentity"], conditions=conditions)
    )
