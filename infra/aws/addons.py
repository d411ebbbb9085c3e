"""What EKS itself installs in a cluster."""

from __future__ import annotations  # a name like aws.eks.Addon loads all of EKS when it is read

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

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

EFS_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEFSCSIDriverPolicy"
"""It makes and deletes access points of its own (EKS user guide, "Amazon EFS CSI driver"; read 2026-11-21)."""


@dataclass(frozen=True, kw_only=True)
class SharedFiles:
    """The file system whose driver there is to be."""

    kind: Literal["efs", "lustre"]
    arn: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class AddonsArgs:
    """Give the component `depends_on` the system's nodes: these add-ons are ready when their pods run."""

    environment: str
    account_id: str
    lifetime: Lifetime
    cluster_name: pulumi.Input[str]
    cluster_arn: pulumi.Input[str]
    files: SharedFiles | None


class Addons(pulumi.ComponentResource):
    """The add-ons that need nodes; those that nodes need are the cluster's own.

    - CoreDNS and the metrics server
    - the EBS CSI driver, its role by pod identity, and the key by which the volumes of pods are encrypted
    - the CSI driver of the shared file system, where there is one, with its roles
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

        if args.files is not None:
            self._files(name, args, args.files)
        self.volume_key_arn = key.arn
        self.register_outputs({"volume_key_arn": self.volume_key_arn})

    def _files(self, name: str, args: AddonsArgs, files: SharedFiles) -> None:
        driver = "efs" if files.kind == "efs" else "fsx"
        policies: dict[str, Callable[[str], iam.Document] | None] = {"controller": finds_files}
        if files.kind == "efs":
            policies = {"controller": None, "node": mounts_files}
        identities = [
            PodIdentity(
                f"{name}-{driver}-csi-{part}",
                PodIdentityArgs(
                    role_name=f"modelyard-{args.environment}-{driver}-csi-{part}",
                    purpose=f"The {part} of the CSI driver of the shared file system",
                    account_id=args.account_id,
                    cluster_arn=args.cluster_arn,
                    managed_policy=None if policy else EFS_POLICY,
                    policy=pulumi.Output.from_input(files.arn).apply(policy) if policy else None,
                    service_account=f"{driver}-csi-{part}-sa",
                ),
                opts=pulumi.ResourceOptions(parent=self),
            )
            for part, policy in policies.items()
        ]
        install(name, f"aws-{driver}-csi-driver", args.cluster_name, pulumi.ResourceOptions(parent=self), *identities)


@dataclass(frozen=True, kw_only=True)
class PodIdentityArgs:
    """`service_account` is the add-on's own name for it."""

    role_name: str
    purpose: str
    account_id: str
    cluster_arn: pulumi.Input[str]
    service_account: str
    managed_policy: str | None = None
    policy: pulumi.Input[iam.Document] | None = None


class PodIdentity(pulumi.ComponentResource):
    """The role of an add-on's pods.

    - the role, for pods of one cluster alone
    - AWS's policy for that add-on, or one of ours
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
        if args.managed_policy is not None:
            aws.iam.RolePolicyAttachment(f"{name}-policy", role=role.name, policy_arn=args.managed_policy, opts=child)
        if args.policy is not None:
            aws.iam.RolePolicy(
                f"{name}-own-policy", role=role.name, policy=pulumi.Output.json_dumps(args.policy), opts=child
            )

        self.service_account = args.service_account
        self.role_arn = role.arn
        self.role_name = role.name
        self.register_outputs({"role_arn": self.role_arn, "role_name": self.role_name})


def install(
    name: str,
    addon: str,
    cluster_name: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
    *identities: PodIdentity,
) -> aws.eks.Addon:
    """An add-on of the pinned version, whose settings are ours and nobody else's."""
    return aws.eks.Addon(
        f"{name}-{addon}",
        cluster_name=cluster_name,
        addon_name=addon,
        addon_version=ADDONS[addon],
        resolve_conflicts_on_create="OVERWRITE",
        resolve_conflicts_on_update="OVERWRITE",
        configuration_values=json.dumps(VALUES[addon]) if addon in VALUES else None,
        pod_identity_associations=[
            aws.eks.AddonPodIdentityAssociationArgs(role_arn=each.role_arn, service_account=each.service_account)
            for each in identities
        ]
        or None,
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=list(identities))),
    )


def finds_files(file_system_arn: str) -> iam.Document:
    """What Lustre's controller needs where volumes are of the file system that is there: nothing but to find it."""
    return iam.document(iam.allow("Find", ["fsx:DescribeFileSystems"], [file_system_arn]))


def mounts_files(file_system_arn: str) -> iam.Document:
    """What a mount by role needs, which EFS asks for by its policy; Lustre asks for none (EFS User Guide)."""
    mount = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    return iam.document(
        iam.allow("Mount", mount, [file_system_arn]),
        iam.allow("Find", ["elasticfilesystem:DescribeMountTargets"], [file_system_arn]),
        iam.allow("Zones", ["ec2:DescribeAvailabilityZones"], ["*"]),
    )


def encrypts_volumes(key_arn: str) -> iam.Document:
    """With one key; grants only to EBS, for volumes (EKS user guide, "Amazon EBS CSI driver")."""
    grants = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    uses = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    return iam.document(
        iam.allow("Grant", ["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"], [key_arn], grants),
        iam.allow("Use", uses, [key_arn]),
    )
