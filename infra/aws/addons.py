"""What EKS itself installs in a cluster."""

from __future__ import annotations  # a name like aws.eks.Addon loads all of EKS when it is read

import json
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.aws import iam
from infra.aws.key import Key, KeyArgs
from infra.settings.base import Lifetime
from infra.versions import ADDONS

VALUES: dict[str, dict[str, Any]] = {
    "vpc-cni": {"enableNetworkPolicy": "true"},
    "metrics-server": {"tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}]},
}
"""Network policies are only enforced where this says so (CIS 4.3.1), and the metrics server tolerates no taint by
itself, so that on system nodes alone the add-on would never be ready."""
EBS_POLICY = "arn:aws:iam::aws:policy/AmazonEBSCSIDriverPolicyV2"
"""Unlike its first version it reaches only volumes that the driver made (AWS managed policy reference, 2026-04-16)."""


@dataclass(frozen=True, kw_only=True)
class AddonsArgs:
    """Give the component `depends_on` the system's nodes: these add-ons are ready when their pods run."""

    environment: str
    account_id: str
    lifetime: Lifetime
    cluster_name: pulumi.Input[str]
    cluster_arn: pulumi.Input[str]


class Addons(pulumi.ComponentResource):
    """The add-ons that need nodes; those that nodes need are the cluster's own.

    - CoreDNS and the metrics server
    - the EBS CSI driver, its role by pod identity, and the key by which the volumes of pods are encrypted
    """

    volume_key_arn: pulumi.Output[str]

    def __init__(self, name: str, args: AddonsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("modelyard:aws:Addons", name, {}, opts)
        for addon in ("coredns", "metrics-server"):
            install(name, addon, args.cluster_name, pulumi.ResourceOptions(parent=self))

        key = Key(
            f"{name}-volumes",
            KeyArgs(
                purpose="volumes of pods",
                environment=args.environment,
                account_id=args.account_id,
                lifetime=args.lifetime,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        identity = PodIdentity(
            f"{name}-ebs-csi",
            PodIdentityArgs(
                role_name=f"modelyard-{args.environment}-ebs-csi",
                purpose="The EBS CSI driver makes and attaches volumes",
                account_id=args.account_id,
                cluster_arn=args.cluster_arn,
                managed_policy=EBS_POLICY,
                service_account="ebs-csi-controller-sa",
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        policy = aws.iam.RolePolicy(
            f"{name}-ebs-csi-key",
            role=identity.role_name,
            policy=pulumi.Output.json_dumps(key.arn.apply(encrypts_volumes)),
            opts=pulumi.ResourceOptions(parent=self),
        )
        install(
            name,
            "aws-ebs-csi-driver",
            args.cluster_name,
            pulumi.ResourceOptions(parent=self, depends_on=[policy]),
            identity,
        )

        self.volume_key_arn = key.arn
        self.register_outputs({"volume_key_arn": self.volume_key_arn})


@dataclass(frozen=True, kw_only=True)
class PodIdentityArgs:
    """`service_account` is the add-on's own name for it."""

    role_name: str
    purpose: str
    account_id: str
    cluster_arn: pulumi.Input[str]
    managed_policy: str
    service_account: str


class PodIdentity(pulumi.ComponentResource):
    """The role of an add-on's pods.

    - the role, for pods of one cluster alone
    - AWS's policy for that add-on
    """

    role_arn: pulumi.Output[str]
    role_name: pulumi.Output[str]

    def __init__(self, name: str, args: PodIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("modelyard:aws:PodIdentity", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        trust = pulumi.Output.from_input(args.cluster_arn).apply(lambda arn: iam.trust_pods(arn, args.account_id))
        role = aws.iam.Role(
            f"{name}-role",
            name=args.role_name,
            description=args.purpose,
            assume_role_policy=pulumi.Output.json_dumps(trust),
            opts=child,
        )
        aws.iam.RolePolicyAttachment(f"{name}-policy", role=role.name, policy_arn=args.managed_policy, opts=child)

        self.service_account = args.service_account
        self.role_arn = role.arn
        self.role_name = role.name
        self.register_outputs({"role_arn": self.role_arn, "role_name": self.role_name})


def install(
    name: str,
    addon: str,
    cluster_name: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
    identity: PodIdentity | None = None,
) -> aws.eks.Addon:
    """An add-on of the pinned version, whose settings are ours and nobody else's."""
    identities: list[aws.eks.AddonPodIdentityAssociationArgs] = []
    if identity:
        identities.append(
            aws.eks.AddonPodIdentityAssociationArgs(
                role_arn=identity.role_arn, service_account=identity.service_account
            )
        )
        opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[identity]))
    return aws.eks.Addon(
        f"{name}-{addon}",
        cluster_name=cluster_name,
        addon_name=addon,
        addon_version=ADDONS[addon],
        resolve_conflicts_on_create="OVERWRITE",
        resolve_conflicts_on_update="OVERWRITE",
        configuration_values=json.dumps(VALUES[addon]) if addon in VALUES else None,
        pod_identity_associations=identities or None,
        opts=opts,
    )


def encrypts_volumes(key_arn: str) -> iam.Document:
    """With one key; grants only to EBS, for volumes (EKS user guide, "Amazon EBS CSI driver")."""
    grants = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    uses = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    return iam.document(
        iam.allow("Grant", ["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"], [key_arn], grants),
        iam.allow("Use", uses, [key_arn]),
    )
