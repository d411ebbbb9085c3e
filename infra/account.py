"""What exists once an AWS account and region, and would collide if two environments made it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pulumi
import pulumi_aws as aws

from infra.aws import iam
from infra.aws.audit import Audit, AuditArgs, trail_may_encrypt, trail_may_write
from infra.aws.bucket import Bucket, BucketArgs, bucket_arn
from infra.aws.key import Key, KeyArgs
from infra.aws.registry import RepositoryTemplates, RepositoryTemplatesArgs
from infra.aws.storage import lifecycle, lock_mode, logs_may_be_delivered
from infra.settings.account import AccountSettings, AccountWide
from infra.settings.base import Security
from infra.settings.environment import StorageSettings

FEATURES: dict[str, dict[str, bool]] = {
    "S3_DATA_EVENTS": {},
    "EKS_AUDIT_LOGS": {},
    "EBS_MALWARE_PROTECTION": {},
    "RDS_LOGIN_EVENTS": {},
    "RUNTIME_MONITORING": {
        "EC2_AGENT_MANAGEMENT": False,
        "ECS_FARGATE_AGENT_MANAGEMENT": False,
        "EKS_ADDON_MANAGEMENT": True,
    },
}
"""What GuardDuty looks at, and which agents it installs itself.

All of them are named: what isn't comes back as a change with every `up` (terraform-provider-aws issue 36695).
"""
SEVERE = 7
"""From here a finding is of high severity (GuardDuty User Guide)."""
SEVERE_FINDINGS = "modelyard-severe-findings"
"""The rule's name, which the topic's policy names too."""
TAGS = ("cost-center", "environment", "owner", "project", "team")
"""By which costs are told apart."""
UPSTREAM_URLS = {"docker.io": "registry-1.docker.io"}
"""Where a registry's name isn't its address."""
CACHED_IMAGES = 50
"""The newest ones of each pulled-through repository; what goes is pulled again when it is needed."""


@dataclass(frozen=True, kw_only=True)
class AccountArgs:
    """What the account's file says."""

    settings: AccountSettings


class Account(pulumi.ComponentResource):
    """What the environments of an account and region share.

    - GuardDuty with EKS runtime monitoring, and mail about severe findings
    - no public buckets, snapshots or machine images; volumes encrypted and IMDSv2 required unless told otherwise
    - a trail of what is changed in the account, in all regions, with a bucket of its own
    - an analyser of what is open to other accounts
    - mail about unusual spending, and the tags by which costs are told apart
    - pull-through caches of other registries, and how their repositories are made
    """

    outputs: dict[str, Any]
    """`account_id`, `region`, `pull_through` (prefixes by registry), `detector_id` and `alerts_topic_arn`."""

    def __init__(self, name: str, args: AccountArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        settings = args.settings
        about = {"lifetime": settings.lifetime.value}
        super().__init__("modelyard:index:Account", name, about, opts)
        provider = aws.Provider(
            "aws",
            region=settings.region,
            allowed_account_ids=[settings.account_id],
            default_tags={"tags": tags_of(settings)},
            opts=pulumi.ResourceOptions(parent=self),
        )
        child = pulumi.ResourceOptions(parent=self, provider=provider)
        key_arn = Key(
            name,
            KeyArgs(
                purpose="alerts and cached images",
                environment=name,
                account_id=settings.account_id,
                lifetime=settings.lifetime,
                statements=[events_may_encrypt()],
            ),
            pulumi.ResourceOptions(parent=self, providers={"aws": provider}),
        ).arn
        self.outputs = {**about, "account_id": settings.account_id, "region": settings.region}
        self._defaults(name, settings, child)
        if "management-events" not in settings.leave_to_others:
            self._trail(name, settings, child)
        self.outputs["alerts_topic_arn"] = self._alerts(name, settings, key_arn, child)
        self.outputs["detector_id"] = self._threat_detection(name, child) if settings.threat_detection else None
        self._spending(name, args, child)
        self.outputs["pull_through"] = self._pull_through(name, settings, key_arn, child)
        self.register_outputs(self.outputs)

    def _defaults(self, name: str, settings: AccountSettings, child: pulumi.ResourceOptions) -> None:
        ours = set(get_args(AccountWide)) - set(settings.leave_to_others)
        if "public-buckets" in ours:
            aws.s3.AccountPublicAccessBlock(
                f"{name}-private-buckets",
                account_id=settings.account_id,
                block_public_acls=True,
                block_public_policy=True,
                ignore_public_acls=True,
                restrict_public_buckets=True,
                opts=child,
            )
        if "public-snapshots" in ours:
            aws.ebs.SnapshotBlockPublicAccess(f"{name}-private-snapshots", state="block-all-sharing", opts=child)
        if "public-images" in ours:
            aws.ec2.ImageBlockPublicAccess(f"{name}-private-images", state="block-new-sharing", opts=child)
        if "volume-encryption" in ours:
            aws.ebs.EncryptionByDefault(f"{name}-encrypted-volumes", enabled=True, opts=child)
        if "instance-metadata" in ours:
            aws.ec2.InstanceMetadataDefaults(
                f"{name}-metadata", http_tokens="required", http_put_response_hop_limit=1, opts=child
            )
        if "access-analyser" in ours:
            aws.accessanalyzer.Analyzer(f"{name}-analyser", analyzer_name="modelyard", type="ACCOUNT", opts=child)

    def _trail(self, name: str, settings: AccountSettings, child: pulumi.ResourceOptions) -> None:
        region, account_id = settings.region, settings.account_id
        place = {"environment": f"account-{region}", "region": region, "account_id": account_id}
        logs_arn, audit_arn = (bucket_arn(**place, part=part) for part in ("logs", "audit"))
        logs = Bucket(
            f"{name}-logs",
            BucketArgs(
                part="logs",
                data_class="internal",
                rules=lifecycle("logs", StorageSettings()),
                log_bucket=None,
                statements=[logs_may_be_delivered(logs_arn, audit_arn, account_id)],
                lifetime=settings.lifetime,
                environment=place["environment"],
                region=region,
                account_id=account_id,
            ),
            child,
        )
        audit = Bucket(
            f"{name}-audit",
            BucketArgs(
                part="audit",
                data_class="confidential",
                rules=lifecycle("audit", StorageSettings()),
                log_bucket=logs.name,
                statements=trail_may_write(audit_arn, **place),
                key_statements=trail_may_encrypt(**place),
                object_lock=True,
                lifetime=settings.lifetime,
                **place,
            ),
            child,
        )
        if settings.lifetime.durable:
            aws.s3.BucketObjectLockConfiguration(
                f"{name}-audit-lock",
                bucket=audit.name,
                rule={"default_retention": {"mode": lock_mode(Security.STANDARD), "days": StorageSettings().lock_days}},
                opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(retain_on_delete=True)),
            )
        Audit(
            f"{name}-trail",
            AuditArgs(
                security=Security.HARDENED,  # it is kept for as long as the most careful environment wants it
                audit_bucket=audit.name,
                audit_key_arn=pulumi.Output.from_input(audit.key_arn).apply(str),
                bucket_arns=None,
                lifetime=settings.lifetime,
                **place,
            ),
            child,
        )

    def _alerts(
        self, name: str, settings: AccountSettings, key_arn: pulumi.Output[str], child: pulumi.ResourceOptions
    ) -> pulumi.Output[str]:
        topic = aws.sns.Topic(f"{name}-alerts", name="modelyard-alerts", kms_master_key_id=key_arn, opts=child)
        aws.sns.TopicPolicy(
            f"{name}-alerts-policy",
            arn=topic.arn,
            policy=pulumi.Output.json_dumps(topic.arn.apply(lambda arn: alerts_policy(arn, settings))),
            opts=child,
        )
        for address in settings.notify:
            aws.sns.TopicSubscription(
                f"{name}-alerts-{address}", topic=topic.arn, protocol="email", endpoint=address, opts=child
            )
        rule = aws.cloudwatch.EventRule(
            f"{name}-severe-findings",
            name=SEVERE_FINDINGS,
            description="GuardDuty's findings of high severity",
            event_pattern=json.dumps(severe_findings()),
            opts=child,
        )
        aws.cloudwatch.EventTarget(f"{name}-severe-findings-mail", rule=rule.name, arn=topic.arn, opts=child)
        return topic.arn

    def _threat_detection(self, name: str, child: pulumi.ResourceOptions) -> pulumi.Output[str]:
        detector = aws.guardduty.Detector(
            f"{name}-detector", enable=True, finding_publishing_frequency="FIFTEEN_MINUTES", opts=child
        )
        for feature, agents in FEATURES.items():
            aws.guardduty.DetectorFeature(
                f"{name}-detector-{feature.lower().replace('_', '-')}",
                detector_id=detector.id,
                name=feature,
                status="ENABLED",
                additional_configurations=[
                    {"name": agent, "status": "ENABLED" if wanted else "DISABLED"} for agent, wanted in agents.items()
                ],
                opts=child,
            )
        return detector.id

    def _spending(self, name: str, args: AccountArgs, child: pulumi.ResourceOptions) -> None:
        # by service, and not by tag: monitors by tag are for the account that pays in an organisation
        monitor_arn: pulumi.Input[str] | None = args.settings.anomaly_monitor
        if monitor_arn is None:
            monitor_arn = aws.costexplorer.AnomalyMonitor(
                f"{name}-spending",
                name=f"modelyard-{args.settings.region}",
                monitor_type="DIMENSIONAL",
                monitor_dimension="SERVICE",
                opts=child,
            ).arn
        aws.costexplorer.AnomalySubscription(
            f"{name}-spending-mail",
            name=f"modelyard-{args.settings.region}",
            frequency="DAILY",
            monitor_arn_lists=[monitor_arn],
            subscribers=[{"type": "EMAIL", "address": address} for address in args.settings.notify],
            threshold_expression={
                "dimension": {
                    "key": "ANOMALY_TOTAL_IMPACT_ABSOLUTE",
                    "match_options": ["GREATER_THAN_OR_EQUAL"],
                    "values": [f"{args.settings.anomaly_usd:g}"],
                }
            },
            opts=child,
        )
        for tag in TAGS if args.settings.activate_cost_tags else ():
            aws.costexplorer.CostAllocationTag(f"{name}-cost-tag-{tag}", tag_key=tag, status="Active", opts=child)

    def _pull_through(
        self, name: str, settings: AccountSettings, key_arn: pulumi.Output[str], child: pulumi.ResourceOptions
    ) -> dict[str, str]:
        if "image-scanning" not in settings.leave_to_others:
            aws.ecr.RegistryScanningConfiguration(
                f"{name}-image-scanning",
                scan_type="BASIC",
                rules=[
                    {
                        "scan_frequency": "SCAN_ON_PUSH",
                        "repository_filters": [{"filter": "*", "filter_type": "WILDCARD"}],
                    }
                ],
                opts=child,
            )
        templates = RepositoryTemplates(
            f"{name}-image-cache",
            RepositoryTemplatesArgs(
                region=settings.region,
                account_id=settings.account_id,
                role_name=f"modelyard-{settings.region}-image-cache",
                prefixes=sorted(settings.pull_through),
                made_for="PULL_THROUGH_CACHE",
                key_arn=key_arn,
                keep_images=CACHED_IMAGES,
            ),
            child,
        )
        for upstream in sorted(settings.pull_through):
            aws.ecr.PullThroughCacheRule(
                f"{name}-from-{upstream}",
                ecr_repository_prefix=templates.prefixes[upstream],
                upstream_registry_url=UPSTREAM_URLS.get(upstream, upstream),
                credential_arn=settings.pull_through_credentials.get(upstream),
                opts=child,
            )
        if settings.pull_through and "registry-policy" not in settings.leave_to_others:
            policy = may_pull_through(settings.account_id, settings.region, sorted(settings.pull_through))
            aws.ecr.RegistryPolicy(f"{name}-image-cache-policy", policy=json.dumps(policy), opts=child)
        return {upstream: upstream for upstream in sorted(settings.pull_through)}


def may_pull_through(account_id: str, region: str, prefixes: Sequence[str]) -> iam.Document:
    """The first pull of an image makes its repository, on behalf of the node that pulls.

    The conditions name who may: the account as principal would leave it to the policies of its roles, and those of
    nodes, which are AWS's, don't say so (ECR user guide, "IAM permissions required to sync an upstream registry", read
    2026-11-21). Environments come and go, so that their nodes' roles are named by what they end in.
    """
    return iam.document(
        {
            "Sid": "FirstPull",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": ["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"],
            "Resource": [f"arn:aws:ecr:{region}:{account_id}:repository/{prefix}/*" for prefix in prefixes],
            "Condition": {
                "StringEquals": {"aws:PrincipalAccount": account_id},
                "ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{account_id}:role/modelyard-*-node"},
            },
        }
    )


def tags_of(settings: AccountSettings) -> dict[str, str]:
    """Whose it is, and who pays."""
    return {
        "owner": settings.owner,
        "cost-center": settings.cost_center,
        "project": "modelyard",
        "managed-by": "pulumi",
    }


def severe_findings() -> dict[str, Any]:
    """Which events are mailed."""
    return {
        "source": ["aws.guardduty"],
        "detail-type": ["GuardDuty Finding"],
        "detail": {"severity": [{"numeric": [">=", SEVERE]}]},
    }


def alerts_policy(topic_arn: str, settings: AccountSettings) -> iam.Document:
    """Only the rule publishes."""
    rule = f"arn:aws:events:{settings.region}:{settings.account_id}:rule/{SEVERE_FINDINGS}"
    return iam.document(
        iam.allow_principal(
            "SevereFindings",
            {"Service": "events.amazonaws.com"},
            ["sns:Publish"],
            [topic_arn],
            {"ArnEquals": {"aws:SourceArn": rule}},
        )
    )


def events_may_encrypt() -> iam.Statement:
    """EventBridge may publish to the encrypted topic.

    Without a condition: its calls to KMS name no source, and with one every alert would be lost without a word
    (SNS Developer Guide, Key management; read 2026-11-21). The topic's policy names the rule.
    """
    return iam.allow_principal(
        "Alerts", {"Service": "events.amazonaws.com"}, ["kms:Decrypt", "kms:GenerateDataKey*"], ["*"]
    )
