"""Who may do what."""

from collections.abc import Iterator
from typing import Any

from pulumi_policy import Severity

from infra.aws.iam import BOUNDS_CALLERS, BOUNDS_RESOURCES, READS, everything, narrows
from infra.policy.control import Item, Stack, each, listed, statements, together

ROLE = "aws:iam/role:Role"
OF_IDENTITIES = {
    "aws:iam/policy:Policy": "policy",
    "aws:iam/rolePolicy:RolePolicy": "policy",
    "aws:iam/groupPolicy:GroupPolicy": "policy",
}
OF_RESOURCES = {
    ROLE: "assumeRolePolicy",
    "aws:backup/vaultPolicy:VaultPolicy": "policy",
    "aws:ecr/registryPolicy:RegistryPolicy": "policy",
    "aws:ecr/repositoryPolicy:RepositoryPolicy": "policy",
    "aws:efs/fileSystemPolicy:FileSystemPolicy": "policy",
    "aws:kms/key:Key": "policy",
    "aws:kms/keyPolicy:KeyPolicy": "policy",
    "aws:s3/bucketPolicy:BucketPolicy": "policy",
    "aws:secretsmanager/secretPolicy:SecretPolicy": "policy",
    "aws:sns/topicPolicy:TopicPolicy": "policy",
    "aws:sqs/queuePolicy:QueuePolicy": "policy",
}
"""Which input holds the document."""


@each(
    "no-access-keys", Severity.CRITICAL, [7, 29, 33], "CIS 5.2.1; CKV_AWS_273; KFP 4649, 12373",
    "aws:iam/user:User", "aws:iam/accessKey:AccessKey", "aws:iam/userLoginProfile:UserLoginProfile",
)  # fmt: skip
def no_access_keys(item: Item) -> Iterator[str]:
    """No IAM user and no access key exists: parts and teams have roles."""
    yield f"{item.type.rpartition(':')[2]} is a credential that lasts: take a role by pod identity"


@each("iam-no-wildcards", Severity.CRITICAL, [9], "CKV_AWS_62, 63, 286-290", ROLE, *OF_IDENTITIES)
def no_wildcards(item: Item) -> Iterator[str]:
    """No policy allows all actions, of AWS or of one service."""
    for one in _granted(item):
        if wide := [action for action in listed(one.get("Action")) if action.rpartition(":")[2] == "*"]:
            yield f"{one.get('Sid', 'a statement')} allows {', '.join(wide)}: name the actions"
        if one.get("NotAction") or one.get("NotResource"):
            yield f"{one.get('Sid', 'a statement')} allows all but a few things: name what it allows"


@each("iam-writes-named", Severity.HIGH, [9], "CKV_AWS_290, 355", ROLE, *OF_IDENTITIES)
def writes_named(item: Item) -> Iterator[str]:
    """What changes something is allowed on named resources, or under a condition that says which ones."""
    for one in _granted(item):
        wide = any(everything(resource) for resource in listed(one.get("Resource")) if isinstance(resource, str))
        if not wide or narrows(one.get("Condition") or {}, BOUNDS_RESOURCES):
            continue
        names = [action for action in listed(one.get("Action")) if not action.rpartition(":")[2].startswith(READS)]
        if names:
            yield f"{one.get('Sid', 'a statement')} allows {', '.join(names)} on every resource"


def _granted(item: Item) -> list[dict[str, Any]]:
    if item.type == ROLE:
        inline = listed(item.at("inlinePolicies"))
        return [one for policy in inline for one in statements(policy.get("policy"))]
    return statements(item.at(OF_IDENTITIES[item.type]))


@each("no-public-principals", Severity.CRITICAL, [9, 25], "FSBP S3.8; CKV_AWS_33, 60, 70", *OF_RESOURCES)
def no_public_principals(item: Item) -> Iterator[str]:
    """No resource's own policy lets in everybody, unless a condition says who that is."""
    for one in statements(item.at(OF_RESOURCES[item.type])):
        principal = one.get("Principal")
        everybody = principal == "*" or (isinstance(principal, dict) and "*" in listed(principal.get("AWS")))
        if everybody and not narrows(one.get("Condition") or {}, BOUNDS_CALLERS):
            yield f"{one.get('Sid', 'a statement')} lets in everybody"


@together("iam-team-boundary", Severity.HIGH, [9], "CIS 5.2.1; CKV_AWS_286-290")
def team_boundary(stack: Stack) -> Iterator[tuple[Item, str]]:
    """There is a most that teams' roles may do, and every team's role is bound by it."""
    bounds = [policy for policy in stack.of("aws:iam/policy:Policy") if _ends(policy, "-team-boundary")]
    for cluster in stack.of("aws:eks/cluster:Cluster") if not bounds else ():
        yield cluster, "nothing bounds the roles of its teams: there is no policy …-team-boundary"
    for role in stack.of(ROLE):
        if "-team-" in str(role.at("name")) and not role.at("permissionsBoundary"):
            yield role, "it is a team's role without a permissions boundary"


def _ends(item: Item, ending: str) -> bool:
    return str(item.at("name")).endswith(ending)


@together("eks-admins-listed", Severity.HIGH, [8], "CIS 4.1.7", setting="cluster.admins")
def admins_listed(stack: Stack) -> Iterator[tuple[Item, str]]:
    """A cluster has an access entry for those who administer it, with EKS's policy for administrators."""
    for cluster in stack.of("aws:eks/cluster:Cluster"):
        entries = stack.that_use(cluster, "aws:eks/accessEntry:AccessEntry", "clusterName")
        people = [entry for entry in entries if entry.at("type") in (None, "STANDARD")]
        given = [
            one
            for one in stack.that_use(cluster, "aws:eks/accessPolicyAssociation:AccessPolicyAssociation", "clusterName")
            if str(one.at("policyArn")).endswith("/AmazonEKSClusterAdminPolicy")
        ]
        if not any(
            entry.urn in one.used("principalArn") or entry.at("principalArn") == (one.at("principalArn") or "")
            for entry in people
            for one in given
        ):
            yield cluster, "no access entry says who administers it"
