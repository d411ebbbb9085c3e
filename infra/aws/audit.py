"""Who touched which object, and who changed what in the account."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.aws import iam
from infra.aws.key import Key, KeyArgs, used_by_logs
from infra.aws.options import kept
from infra.settings.base import Lifetime, Security

CLOUDTRAIL = {"Service": "cloudtrail.amazonaws.com"}


@dataclass(frozen=True, kw_only=True)
class AuditArgs:
    """`audit_bucket` and `audit_key_arn` let the trail write (`trail_may_write`, `trail_may_encrypt`)."""

    environment: str
    region: str
    account_id: str
    security: Security
    lifetime: Lifetime
    audit_bucket: pulumi.Input[str]
    audit_key_arn: pulumi.Input[str]
    bucket_arns: Mapping[str, pulumi.Input[str]] | None
    """The buckets whose objects are watched, by part; `logs` and `audit` would only watch the watcher.

    None: what changes in the account is, once for all of its environments, since AWS charges for a second copy.
    """


class Audit(pulumi.ComponentResource):
    """A CloudTrail trail.

    - every reading and writing of objects in the buckets of the region, or every change in the account
    - files in the audit bucket, encrypted and with digests by which a change would show
    - the same in a log group, for alarms and queries
    """

    trail_arn: pulumi.Output[str]
    log_group_name: pulumi.Output[str]

    def __init__(self, name: str, args: AuditArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("modelyard:aws:Audit", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        key = KeyArgs(
            purpose="CloudTrail's logs in CloudWatch",
            environment=args.environment,
            account_id=args.account_id,
            lifetime=args.lifetime,
            statements=[used_by_logs(args.account_id, args.region)],
        )
        log_group = aws.cloudwatch.LogGroup(
            f"{name}-logs",
            name=f"/modelyard/{args.environment}/audit",
            retention_in_days=args.security.log_days,
            kms_key_id=Key(name, key, child).arn,
            tags={"data-class": "confidential"},
            opts=kept(self, args.lifetime),
        )
        role = aws.iam.Role(
            f"{name}-role",
            name=f"modelyard-{args.environment}-audit",
            assume_role_policy=pulumi.Output.json_dumps(trust_trail()),
            opts=child,
        )
        rights = aws.iam.RolePolicy(
            f"{name}-role-policy",
            role=role.name,
            policy=pulumi.Output.json_dumps(log_group.arn.apply(log_writer)),
            opts=child,
        )
        of_account = args.bucket_arns is None
        trail = aws.cloudtrail.Trail(
            f"{name}-trail",
            name=trail_name(args.environment),
            s3_bucket_name=args.audit_bucket,
            kms_key_id=args.audit_key_arn,
            enable_log_file_validation=True,
            include_global_service_events=of_account,
            is_multi_region_trail=of_account,
            cloud_watch_logs_group_arn=log_group.arn.apply(lambda arn: f"{arn}:*"),
            cloud_watch_logs_role_arn=role.arn,
            advanced_event_selectors=changes()
            if args.bucket_arns is None
            else pulumi.Output.all(**args.bucket_arns).apply(objects),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rights]),  # CloudTrail tries the role at once
        )
        self.trail_arn = trail.arn
        self.log_group_name = log_group.name
        self.register_outputs({"trail_arn": self.trail_arn, "log_group_name": self.log_group_name})


def trail_name(environment: str) -> str:
    """At least three characters, which an environment's own name may lack."""
    return f"modelyard-{environment}"


def trail_arn(environment: str, region: str, account_id: str) -> str:
    """Known before the trail is, so that the bucket's and the key's policies can name it."""
    return f"arn:aws:cloudtrail:{region}:{account_id}:trail/{trail_name(environment)}"


def trail_may_write(bucket_arn: str, environment: str, region: str, account_id: str) -> list[iam.Statement]:
    """What the audit bucket's policy needs: this trail alone may write, and only under this account's prefix."""
    this_trail = {"aws:SourceArn": trail_arn(environment, region, account_id)}
    return [
        iam.allow_principal("TrailLooks", CLOUDTRAIL, ["s3:GetBucketAcl"], [bucket_arn], {"StringEquals": this_trail}),
        iam.allow_principal(
            "TrailWrites",
            CLOUDTRAIL,
            ["s3:PutObject"],
            [f"{bucket_arn}/AWSLogs/{account_id}/*"],
            {"StringEquals": {**this_trail, "s3:x-amz-acl": "bucket-owner-full-control"}},
        ),
    ]


def trail_may_encrypt(environment: str, region: str, account_id: str) -> list[iam.Statement]:
    """What the audit bucket's key needs: decryption because a bucket key is in use (CloudTrail User Guide)."""
    actions = ["kms:GenerateDataKey*", "kms:Decrypt", "kms:DescribeKey"]
    conditions = {"StringEquals": {"aws:SourceArn": trail_arn(environment, region, account_id)}}
    return [iam.allow_principal("TrailEncrypts", CLOUDTRAIL, actions, ["*"], conditions)]


def trust_trail() -> iam.Document:
    """CloudTrail, for its log group: without the account, which it doesn't name to this role.

    CloudTrail User Guide, role policy document for CloudWatch Logs; github.com/prowler-cloud/prowler issue 4714.
    """
    return iam.document(iam.allow_principal("Trail", CLOUDTRAIL, ["sts:AssumeRole"]))


def log_writer(log_group_arn: str) -> iam.Document:
    """Writing streams into one log group."""
    actions = ["logs:CreateLogStream", "logs:PutLogEvents"]
    return iam.document(iam.allow("Write", actions, [f"{log_group_arn}:log-stream:*"]))


def changes() -> Any:
    """Changes in the account, in all regions."""
    return [
        {
            "name": "Changes in the account",
            "field_selectors": [
                {"field": "eventCategory", "equals": ["Management"]},
                {"field": "readOnly", "equals": ["false"]},
            ],
        }
    ]


def objects(bucket_arns: Mapping[str, str]) -> Any:
    """All that happens to objects; the trailing slash keeps other buckets out."""
    return [
        {
            "name": "Objects of the environment",
            "field_selectors": [
                {"field": "eventCategory", "equals": ["Data"]},
                {"field": "resources.type", "equals": ["AWS::S3::Object"]},
                {"field": "resources.ARN", "starts_withs": [f"{bucket_arns[part]}/" for part in sorted(bucket_arns)]},
            ],
        }
    ]
