"""Who is told when something in an environment goes wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.aws import iam
from infra.aws.key import Key, KeyArgs, used_by
from infra.settings.base import Lifetime


@dataclass(frozen=True, kw_only=True)
class AlertsArgs:
    """`notify` are e-mail addresses; AWS asks each of them whether it wants to be told."""

    environment: str
    region: str
    account_id: str
    lifetime: Lifetime
    notify: Sequence[str]


class Alerts(pulumi.ComponentResource):
    """Mail about the environment's alarms.

    - a topic, encrypted by a key of its own, since CloudWatch can't use the one that AWS has for topics
    - its policy: the alarms of this environment publish, and nobody without TLS
    - a subscription for each address
    """

    topic_arn: pulumi.Output[str]

    def __init__(self, name: str, args: AlertsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("modelyard:aws:Alerts", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        key = Key(
            name,
            KeyArgs(
                purpose="alerts",
                environment=args.environment,
                account_id=args.account_id,
                lifetime=args.lifetime,
                statements=[used_by("Alarms", "cloudwatch.amazonaws.com", args.account_id)],
            ),
            child,
        )
        topic = aws.sns.Topic(
            f"{name}-topic", name=f"modelyard-{args.environment}-alerts", kms_master_key_id=key.arn, opts=child
        )
        policy = aws.sns.TopicPolicy(
            f"{name}-policy",
            arn=topic.arn,
            policy=pulumi.Output.json_dumps(
                topic.arn.apply(lambda arn: alerts_policy(arn, args.environment, args.region, args.account_id))
            ),
            opts=child,
        )
        for address in args.notify:
            aws.sns.TopicSubscription(
                f"{name}-{address}", topic=topic.arn, protocol="email", endpoint=address, opts=child
            )
        # From the policy, so that no alarm goes off before it may publish.
        self.topic_arn = policy.arn
        self.register_outputs({"topic_arn": self.topic_arn})


def alerts_policy(topic_arn: str, environment: str, region: str, account_id: str) -> iam.Document:
    """Only alarms whose names begin with the environment's publish."""
    return iam.document(
        iam.allow_principal(
            "Alarms",
            {"Service": "cloudwatch.amazonaws.com"},
            ["sns:Publish"],
            [topic_arn],
            {
                "StringEquals": {"aws:SourceAccount": account_id},
                "ArnLike": {"aws:SourceArn": f"arn:aws:cloudwatch:{region}:{account_id}:alarm:{environment}-*"},
            },
        ),
        iam.deny_everybody("TlsOnly", ["sns:Publish"], [topic_arn], {"Bool": {"aws:SecureTransport": "false"}}),
    )
