"""Where data, models and records lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.aws import iam
from infra.aws.audit import trail_may_encrypt, trail_may_write
from infra.aws.bucket import Bucket, BucketArgs, DataClass, Rule, bucket_arn, old_versions
from infra.aws.key import Key, KeyArgs
from infra.aws.options import kept
from infra.settings.base import Lifetime, Security
from infra.settings.environment import Efs, Lustre, StorageSettings

PARTS: dict[str, DataClass] = {
    "logs": "internal",
    "data": "confidential",
    "artifacts": "confidential",
    "models": "confidential",
    "audit": "confidential",
}
"""The buckets in the order of their making: the others log to the first."""
APPROVED = "approved/"
"""The prefix in the models bucket under which approved models lie."""
LUSTRE_PORTS = ((988, 988), (1018, 1023))
"""FSx for Lustre User Guide, File system access control with Amazon VPC: for servers and clients; read 2026-11-21."""
NFS_PORTS = ((2049, 2049),)


@dataclass(frozen=True, kw_only=True)
class StorageArgs:
    """`cluster_security_group_id` is that of the nodes, which mount the file system in `mount_subnet_ids`.

    These are private subnets by what the place is called, one a zone.
    """

    environment: str
    region: str
    account_id: str
    settings: StorageSettings
    security: Security
    lifetime: Lifetime
    vpc_id: pulumi.Input[str]
    mount_subnet_ids: Mapping[str, pulumi.Input[str]]
    cluster_security_group_id: pulumi.Input[str]


class Storage(pulumi.ComponentResource):
    """Buckets, and a file system where asked.

    - a bucket for data, artifacts, models and audit, each with its own key, and one for their access logs
    - where durable: the audit records locked, approved models written once and closed to deletion
    - FSx for Lustre, joined with the data bucket, or EFS with a mount target in every zone
    """

    buckets: dict[str, pulumi.Output[str]]
    bucket_arns: dict[str, pulumi.Output[str]]
    key_arns: dict[str, pulumi.Output[str]]
    """Of the buckets but `logs`, which S3's own key encrypts, and of the file system as `files`."""
    file_system_id: pulumi.Output[str] | None
    file_system_arn: pulumi.Output[str] | None
    backed_up_arns: list[pulumi.Output[str]]
    """File systems for AWS Backup: EFS. It can't back up a Lustre that is joined with a bucket."""

    def __init__(self, name: str, args: StorageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("modelyard:aws:Storage", name, {}, opts)
        buckets: dict[str, Bucket] = {}
        for part in PARTS:
            log_bucket = buckets["logs"].name if buckets else None
            buckets[part] = Bucket(
                f"{name}-{part}", bucket_args(part, args, log_bucket), pulumi.ResourceOptions(parent=self)
            )
        if args.lifetime.durable:
            aws.s3.BucketObjectLockConfiguration(
                f"{name}-audit-lock",
                bucket=buckets["audit"].name,
                rule={"default_retention": {"mode": lock_mode(args.security), "days": args.settings.lock_days}},
                # not protected: with another lifetime it leaves the program, and what is locked by then stays locked
                opts=pulumi.ResourceOptions(parent=self, retain_on_delete=True),
            )
        self.buckets = {part: bucket.name for part, bucket in buckets.items()}
        self.bucket_arns = {part: bucket.arn for part, bucket in buckets.items()}
        self.key_arns = {part: bucket.key_arn for part, bucket in buckets.items() if bucket.key_arn is not None}
        self.file_system_id = self.file_system_arn = None
        self.backed_up_arns = []
        if args.settings.file_system is not None:
            self._file_system(name, args, args.settings.file_system)
        self.register_outputs(
            {"buckets": self.buckets, "bucket_arns": self.bucket_arns, "file_system_id": self.file_system_id}
        )

    def _file_system(self, name: str, args: StorageArgs, settings: Lustre | Efs) -> None:
        key = KeyArgs(
            purpose="the shared file system",
            environment=args.environment,
            account_id=args.account_id,
            lifetime=args.lifetime,
        )
        self.key_arns["files"] = Key(f"{name}-files", key, pulumi.ResourceOptions(parent=self)).arn
        if isinstance(settings, Lustre):
            self._lustre(name, args, settings)
        else:
            self._efs(name, args)

    def _lustre(self, name: str, args: StorageArgs, settings: Lustre) -> None:
        group, rules = self._mountable(name, args, LUSTRE_PORTS)
        files = aws.fsx.LustreFileSystem(
            f"{name}-files",
            deployment_type="PERSISTENT_2",
            storage_type="SSD",
            storage_capacity=settings.size_gb,
            per_unit_storage_throughput=settings.throughput,
            data_compression_type="LZ4",
            kms_key_id=self.key_arns["files"],
            subnet_ids=next(iter(args.mount_subnet_ids.values())),
            security_group_ids=[group],
            tags={"Name": f"{args.environment}-files", "data-class": "confidential"},
            opts=pulumi.ResourceOptions.merge(
                kept(self, args.lifetime),
                pulumi.ResourceOptions(depends_on=rules),  # FSx looks for its ports before it makes the file system
            ),
        )
        aws.fsx.DataRepositoryAssociation(
            f"{name}-files-data",
            file_system_id=files.id,
            file_system_path="/data",
            data_repository_path=pulumi.Output.concat("s3://", self.buckets["data"]),
            batch_import_meta_data_on_create=True,
            s3={
                "auto_import_policy": {"events": ["NEW", "CHANGED", "DELETED"]},
                # a file deleted here stays in the bucket: clearing scratch space must not clear the data
                "auto_export_policy": {"events": ["NEW", "CHANGED"]},
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.file_system_id, self.file_system_arn = files.id, files.arn

    def _efs(self, name: str, args: StorageArgs) -> None:
        files = aws.efs.FileSystem(
            f"{name}-files",
            encrypted=True,
            kms_key_id=self.key_arns["files"],
            throughput_mode="elastic",
            lifecycle_policies=[
                {"transition_to_ia": "AFTER_30_DAYS"},
                {"transition_to_primary_storage_class": "AFTER_1_ACCESS"},
            ],
            tags={"Name": f"{args.environment}-files", "data-class": "confidential"},
            opts=kept(self, args.lifetime),
        )
        aws.efs.FileSystemPolicy(
            f"{name}-files-policy",
            file_system_id=files.id,
            policy=pulumi.Output.json_dumps(files.arn.apply(lambda arn: mount_policy(arn, args.account_id))),
            opts=kept(self, args.lifetime),
        )
        group, _ = self._mountable(name, args, NFS_PORTS)
        for place, subnet_id in args.mount_subnet_ids.items():
            aws.efs.MountTarget(
                f"{name}-files-{place}",
                file_system_id=files.id,
                subnet_id=subnet_id,
                security_groups=[group],
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.file_system_id, self.file_system_arn = files.id, files.arn
        self.backed_up_arns = [files.arn]

    def _mountable(
        self, name: str, args: StorageArgs, ports: Sequence[tuple[int, int]]
    ) -> tuple[pulumi.Output[str], list[pulumi.Resource]]:
        group = aws.ec2.SecurityGroup(
            f"{name}-files-group",
            description="The shared file system, for the nodes",
            vpc_id=args.vpc_id,
            tags={"Name": f"{args.environment}-files"},
            opts=pulumi.ResourceOptions(parent=self),
        )
        rules: list[pulumi.Resource] = [
            rule(
                f"{name}-files-{first}-{way}-{who}",
                description=f"Traffic of the file system {way} {who}",
                security_group_id=group.id,
                referenced_security_group_id=group_id,
                ip_protocol="tcp",
                from_port=first,
                to_port=last,
                opts=pulumi.ResourceOptions(parent=self),
            )
            for first, last in ports
            for who, group_id in (("nodes", args.cluster_security_group_id), ("itself", group.id))
            for way, rule in (("from", aws.vpc.SecurityGroupIngressRule), ("to", aws.vpc.SecurityGroupEgressRule))
        ]
        if ports == LUSTRE_PORTS:  # its servers call their clients back
            rules += [
                aws.vpc.SecurityGroupIngressRule(
                    f"{name}-nodes-{first}-from-files",
                    description="Servers of the shared file system",
                    security_group_id=args.cluster_security_group_id,
                    referenced_security_group_id=group.id,
                    ip_protocol="tcp",
                    from_port=first,
                    to_port=last,
                    opts=pulumi.ResourceOptions(parent=self),
                )
                for first, last in ports
            ]
        return group.id, rules


def bucket_args(part: str, args: StorageArgs, log_bucket: pulumi.Input[str] | None) -> BucketArgs:
    """What each bucket has of its own."""
    arn = bucket_arn(args.environment, args.account_id, args.region, part)
    statements: list[iam.Statement] = []
    key_statements: list[iam.Statement] = []
    if part == "logs":
        sources = bucket_arn(args.environment, args.account_id, args.region, "*")
        statements.append(logs_may_be_delivered(arn, sources, args.account_id))
    if part == "audit":
        trail = (args.environment, args.region, args.account_id)
        statements += trail_may_write(arn, *trail)
        key_statements += trail_may_encrypt(*trail)
    if part == "models" and args.lifetime.durable:
        statements += [nobody_deletes_approved(arn, args.account_id), nobody_overwrites_approved(arn)]
    if part == "data" and isinstance(args.settings.file_system, Lustre):
        key_statements.append(lustre_may_encrypt(arn, args.region, args.account_id))
    return BucketArgs(
        part=part,
        environment=args.environment,
        account_id=args.account_id,
        region=args.region,
        lifetime=args.lifetime,
        data_class=PARTS[part],
        rules=lifecycle(part, args.settings),
        log_bucket=log_bucket,
        statements=statements,
        key_statements=key_statements,
        object_lock=part in {"audit", "models"},  # whatever the lifetime, which would else replace them
    )


def lifecycle(part: str, settings: StorageSettings) -> list[Rule]:
    """When objects go, and when they move to where they cost less.

    S3 moves nothing under 128 KB, which would cost more there. Delivered logs are never overwritten, so theirs go a day
    after they expire.
    """
    if part == "logs":
        return [*old_versions(1), {"id": "expiry", "expiration": {"days": settings.keep_logs_days}}]
    rules = old_versions(settings.keep_old_versions_days)
    if part == "audit":
        return [*rules, {"id": "tiering", "transitions": [{"days": 90, "storage_class": "GLACIER_IR"}]}]
    return [*rules, {"id": "tiering", "transitions": [{"days": 30, "storage_class": "INTELLIGENT_TIERING"}]}]


def lock_mode(security: Security) -> str:
    """Nobody lifts a compliance lock, not even the account's root; a governance lock needs a right of its own."""
    return "COMPLIANCE" if security.hardened else "GOVERNANCE"


def logs_may_be_delivered(bucket_arn: str, source_arns: str, account_id: str) -> iam.Statement:
    """S3 may write the access logs of the environment's buckets."""
    return iam.allow_principal(
        "AccessLogs",
        {"Service": "logging.s3.amazonaws.com"},
        ["s3:PutObject"],
        [f"{bucket_arn}/*"],
        {"ArnLike": {"aws:SourceArn": source_arns}, "StringEquals": {"aws:SourceAccount": account_id}},
    )


def nobody_deletes_approved(bucket_arn: str, account_id: str) -> iam.Statement:
    """Approved models stay, and so do their locks; only the account's root, kept for emergencies, gets past this."""
    return iam.deny_everybody(
        "ApprovedStay",
        ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"],
        [f"{bucket_arn}/{APPROVED}*"],
        {"ArnNotEquals": {"aws:PrincipalArn": f"arn:aws:iam::{account_id}:root"}},
    )


def nobody_overwrites_approved(bucket_arn: str) -> iam.Statement:
    """An approved model is written once: what is overwritten would go with the old versions.

    The parts of an upload can't ask for it, so that it holds for what makes the object; and a copy can't, so that a
    model is uploaded there (S3 User Guide, Enforce conditional writes; read 2026-11-21).
    """
    conditions = {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}
    return iam.deny_everybody("ApprovedOnce", ["s3:PutObject"], [f"{bucket_arn}/{APPROVED}*"], conditions)


def lustre_may_encrypt(bucket_arn: str, region: str, account_id: str) -> iam.Statement:
    """The roles by which FSx reads and writes this bucket, by way of S3 alone.

    AWS makes one for each file system, after the key; that is why a condition names them and not the principal
    (FSx for Lustre User Guide, Working with server-side encrypted Amazon S3 buckets; read 2026-11-21).
    """
    role = "s3.data-source.lustre.fsx.amazonaws.com/AWSServiceRoleForFSxS3Access_fs-*"
    return {
        "Sid": "Lustre",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
        "Resource": ["*"],
        "Condition": {
            "StringEquals": {
                "kms:CallerAccount": account_id,
                "kms:ViaService": f"s3.{region}.amazonaws.com",
                "kms:EncryptionContext:aws:s3:arn": bucket_arn,
            },
            "ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{account_id}:role/aws-service-role/{role}"},
        },
    }


def mount_policy(file_system_arn: str, account_id: str) -> iam.Document:
    """Who mounts it needs a role that allows it, and TLS; without this policy anybody in reach could."""
    clients = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    return iam.document(
        iam.allow_principal("Account", {"AWS": f"arn:aws:iam::{account_id}:root"}, clients, [file_system_arn]),
        iam.deny_everybody(
            "TlsOnly", ["elasticfilesystem:*"], [file_system_arn], {"Bool": {"aws:SecureTransport": "false"}}
        ),
    )
