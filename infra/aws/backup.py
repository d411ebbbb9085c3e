"""Copies of databases, file systems and the cluster's objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.aws import iam
from infra.aws.bucket import Bucket, BucketArgs, old_versions
from infra.aws.key import Key, KeyArgs
from infra.aws.options import kept
from infra.settings.base import Lifetime, Security

VELERO = "velero"
"""Velero's namespace and its service account."""
VELERO_OLD_VERSIONS_DAYS = 30
"""What Velero deletes, or somebody in its name, can be had back for this long."""
LOCK_DAYS = 7
"""No copy can be deleted before this; and for as long, a new compliance lock can still be taken off."""


@dataclass(frozen=True, kw_only=True)
class BackupArgs:
    """`backed_up_arns` are of databases and file systems."""

    environment: str
    region: str
    account_id: str
    security: Security
    lifetime: Lifetime
    cluster_name: pulumi.Input[str]
    cluster_arn: pulumi.Input[str]
    log_bucket: pulumi.Input[str]
    backed_up_arns: Sequence[pulumi.Input[str]]


class Backup(pulumi.ComponentResource):
    """Copies that outlive what they are copies of.

    - a vault with its own key; where durable, nothing in it can be deleted early
    - a plan: daily, and where durable monthly too
    - the selection of what is copied, and the role that does it
    - the bucket and the role that Velero uses for the cluster's objects, by pod identity
    """

    vault_name: pulumi.Output[str]
    backup_bucket: pulumi.Output[str]
    backup_bucket_arn: pulumi.Output[str]
    velero_role_arn: pulumi.Output[str]

    def __init__(self, name: str, args: BackupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("modelyard:aws:Backup", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.vault_name = self._vault(name, args)
        plan = aws.backup.Plan(
            f"{name}-plan",
            name=args.environment,
            rules=schedule(args.lifetime, self.vault_name),
            opts=child,
        )
        role = aws.iam.Role(
            f"{name}-role",
            name=f"modelyard-{args.environment}-backup",
            assume_role_policy=pulumi.Output.json_dumps(trust_backup()),
            opts=child,
        )
        rights = [
            aws.iam.RolePolicyAttachment(
                f"{name}-may-{purpose}",
                role=role.name,
                policy_arn=f"arn:aws:iam::aws:policy/service-role/{policy}",
                opts=child,
            )
            for purpose, policy in (
                ("copy", "AWSBackupServiceRolePolicyForBackup"),
                ("restore", "AWSBackupServiceRolePolicyForRestores"),
            )
        ]
        aws.backup.Selection(
            f"{name}-selection",
            name=args.environment,
            plan_id=plan.id,
            iam_role_arn=role.arn,
            resources=list(args.backed_up_arns),
            opts=pulumi.ResourceOptions(parent=self, depends_on=rights),
        )
        self._velero(name, args)
        self.register_outputs({"backup_bucket": self.backup_bucket, "velero_role_arn": self.velero_role_arn})

    def _vault(self, name: str, args: BackupArgs) -> pulumi.Output[str]:
        key = KeyArgs(
            purpose="copies of databases and file systems",
            environment=args.environment,
            account_id=args.account_id,
            lifetime=args.lifetime,
        )
        vault = aws.backup.Vault(
            f"{name}-vault",
            name=args.environment,
            kms_key_arn=Key(name, key, pulumi.ResourceOptions(parent=self)).arn,
            force_destroy=not args.lifetime.durable,
            tags={"data-class": "confidential"},
            opts=kept(self, args.lifetime),
        )
        if args.lifetime.durable:
            aws.backup.VaultLockConfiguration(
                f"{name}-vault-lock",
                backup_vault_name=vault.name,
                min_retention_days=LOCK_DAYS,
                changeable_for_days=LOCK_DAYS if args.security.hardened else None,
                # not protected: with another lifetime it leaves the program; and as it was when the lock was made,
                # since a change replaces the lock, which a compliance lock forbids
                opts=pulumi.ResourceOptions(parent=self, retain_on_delete=True, ignore_changes=["changeableForDays"]),
            )
        return vault.name

    def _velero(self, name: str, args: BackupArgs) -> None:
        child = pulumi.ResourceOptions(parent=self)
        bucket = Bucket(
            f"{name}-bucket",
            BucketArgs(
                part="backup",
                environment=args.environment,
                account_id=args.account_id,
                region=args.region,
                lifetime=args.lifetime,
                data_class="confidential",
                rules=old_versions(VELERO_OLD_VERSIONS_DAYS),
                log_bucket=args.log_bucket,
            ),
            child,
        )
        role = aws.iam.Role(
            f"{name}-velero",
            name=f"modelyard-{args.environment}-velero",
            assume_role_policy=pulumi.Output.json_dumps(
                pulumi.Output.from_input(args.cluster_arn).apply(lambda arn: iam.trust_pods(arn, args.account_id))
            ),
            opts=child,
        )
        aws.iam.RolePolicy(
            f"{name}-velero-policy",
            role=role.name,
            policy=pulumi.Output.json_dumps(
                pulumi.Output.all(bucket.arn, bucket.key_arn).apply(lambda arns: velero_policy(*arns))
            ),
            opts=child,
        )
        aws.eks.PodIdentityAssociation(
            f"{name}-velero-pods",
            cluster_name=args.cluster_name,
            namespace=VELERO,
            service_account=VELERO,
            role_arn=role.arn,
            opts=child,
        )
        self.backup_bucket, self.backup_bucket_arn = bucket.name, bucket.arn
        self.velero_role_arn = role.arn


def schedule(lifetime: Lifetime, vault_name: pulumi.Input[str]) -> Any:
    """When copies are made, in UTC, after the databases' own backup window, and for how many days they are kept."""
    kept_days = {"daily": 35, "monthly": 365} if lifetime.durable else {"daily": 7}
    return [
        {
            "rule_name": name,
            "target_vault_name": vault_name,
            "schedule": "cron(0 5 * * ? *)" if name == "daily" else "cron(0 5 1 * ? *)",
            "lifecycle": {"delete_after": days},
        }
        for name, days in kept_days.items()
    ]


def trust_backup() -> iam.Document:
    """AWS Backup, as its Developer Guide has it: it is said to name the account to policies of resources alone."""
    principal = {"Service": "backup.amazonaws.com"}
    return iam.document(iam.allow_principal("Backup", principal, ["sts:AssumeRole"]))


def velero_policy(bucket_arn: str, key_arn: str) -> iam.Document:
    """Its own bucket and key; volumes are copied by the CSI driver, so that it needs no right in EC2.

    It can't delete versions, so that what it deletes is still there.
    """
    objects = [
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
    ]
    return iam.document(
        iam.allow("List", ["s3:ListBucket", "s3:GetBucketLocation"], [bucket_arn]),
        iam.allow("Objects", objects, [f"{bucket_arn}/*"]),
        iam.allow("Encrypt", ["kms:Decrypt", "kms:GenerateDataKey"], [key_arn]),
    )
