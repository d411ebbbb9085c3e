"""A private bucket."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pulumi
import pulumi_aws as aws

from infra.aws import iam
from infra.aws.key import Key, KeyArgs
from infra.aws.options import kept
from infra.settings.base import Lifetime

Rule = dict[str, Any]
DataClass = Literal["public", "internal", "confidential"]


@dataclass(frozen=True, kw_only=True)
class BucketArgs:
    """`part` ends the bucket's name, and `statements` and `key_statements` come after the ones that all have.

    Without a `log_bucket` it is the one that others log to. That has no key of its own: S3 delivers access logs only to
    a bucket that is encrypted with SSE-S3 and has no object lock (API reference, LoggingEnabled; read 2026-11-21).
    """

    part: str
    environment: str
    account_id: str
    region: str
    lifetime: Lifetime
    data_class: DataClass
    rules: Sequence[Rule]
    log_bucket: pulumi.Input[str] | None
    statements: Sequence[iam.Statement] = ()
    key_statements: Sequence[iam.Statement] = ()
    object_lock: bool = False


class Bucket(pulumi.ComponentResource):
    """A bucket that is versioned, encrypted, logged and closed to the public.

    - its KMS key, unless others log to it
    - the bucket: versioned, encrypted with that key, ACLs off, public access blocked, old versions expiring
    - its access logs in `log_bucket`
    - its policy, which refuses requests without TLS
    """

    name: pulumi.Output[str]
    """Known once the policy is there, so that what uses the name waits for the policy."""
    arn: pulumi.Output[str]
    key_arn: pulumi.Output[str] | None

    def __init__(self, name: str, args: BucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("modelyard:aws:Bucket", name, {}, opts)
        guard = kept(self, args.lifetime)  # a bucket that stays is as closed as before
        self.key_arn = None
        if args.log_bucket is not None:
            key = KeyArgs(
                purpose=f"objects in the {args.part} bucket",
                environment=args.environment,
                account_id=args.account_id,
                lifetime=args.lifetime,
                statements=args.key_statements,
            )
            self.key_arn = Key(name, key, pulumi.ResourceOptions(parent=self)).arn
        bucket = aws.s3.Bucket(
            f"{name}-bucket",
            bucket=bucket_name(args.environment, args.account_id, args.region, args.part),
            force_destroy=not args.lifetime.durable,
            object_lock_enabled=args.object_lock,
            tags={"data-class": args.data_class},
            opts=guard,
        )
        versioning = aws.s3.BucketVersioning(
            f"{name}-versioning", bucket=bucket.id, versioning_configuration={"status": "Enabled"}, opts=guard
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            f"{name}-encryption", bucket=bucket.id, rules=[encryption(self.key_arn)], opts=guard
        )
        aws.s3.BucketOwnershipControls(
            f"{name}-ownership", bucket=bucket.id, rule={"object_ownership": "BucketOwnerEnforced"}, opts=guard
        )
        private = aws.s3.BucketPublicAccessBlock(
            f"{name}-private",
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=guard,
        )
        aws.s3.BucketLifecycleConfiguration(
            f"{name}-lifecycle",
            bucket=bucket.id,
            rules=[for_all_objects(rule) for rule in args.rules],
            opts=pulumi.ResourceOptions.merge(guard, pulumi.ResourceOptions(depends_on=[versioning])),
        )
        if args.log_bucket is not None:
            aws.s3.BucketLogging(
                f"{name}-logging",
                bucket=bucket.id,
                target_bucket=args.log_bucket,
                target_prefix=f"{args.part}/",
                target_object_key_format={"partitioned_prefix": {"partition_date_source": "EventTime"}},
                opts=guard,
            )
        arn = bucket_arn(args.environment, args.account_id, args.region, args.part)
        policy = aws.s3.BucketPolicy(
            f"{name}-policy",
            bucket=bucket.id,
            policy=pulumi.Output.json_dumps(iam.document(tls_only(arn), *args.statements)),
            opts=pulumi.ResourceOptions.merge(guard, pulumi.ResourceOptions(depends_on=[private])),
        )
        self.name = policy.bucket
        self.arn = bucket.arn
        self.register_outputs({"name": self.name, "arn": self.arn})


def bucket_name(environment: str, account_id: str, region: str, part: str) -> str:
    """The name is global, so it carries the account and the region; 63 characters are allowed."""
    return f"{environment}-{account_id}-{region}-{part}"


def bucket_arn(environment: str, account_id: str, region: str, part: str) -> str:
    """Where policies need it before the bucket is there."""
    return f"arn:aws:s3:::{bucket_name(environment, account_id, region, part)}"


def encryption(key_arn: pulumi.Output[str] | None) -> Any:
    """With the key, by way of a bucket key that saves most calls to KMS, or with S3's own."""
    if key_arn is None:
        return {"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}
    by_key = {"sse_algorithm": "aws:kms", "kms_master_key_id": key_arn}
    return {"apply_server_side_encryption_by_default": by_key, "bucket_key_enabled": True}


def tls_only(bucket_arn: str) -> iam.Statement:
    """Refuses requests without TLS, for the bucket and for what is in it (AWS FSBP S3.5)."""
    conditions = {"Bool": {"aws:SecureTransport": "false"}}
    return iam.deny_everybody("TlsOnly", ["s3:*"], [bucket_arn, f"{bucket_arn}/*"], conditions)


def for_all_objects(rule: Rule) -> Any:
    """The rule, switched on and for the whole bucket."""
    return {"filter": {}, "status": "Enabled", **rule}


def old_versions(days: int) -> list[Rule]:
    """Overwritten and deleted objects go after so many days, uploads that were never finished after seven."""
    return [
        {
            "id": "old-versions",
            "noncurrent_version_expiration": {"noncurrent_days": days},
            "expiration": {"expired_object_delete_marker": True},
            "abort_incomplete_multipart_upload": {"days_after_initiation": 7},
        }
    ]
