"""A KMS key of a part's own."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.aws import iam
from infra.aws.options import kept
from infra.settings.base import Lifetime


@dataclass(frozen=True, kw_only=True)
class KeyArgs:
    """`statements` come after the one that lets the account's own IAM policies decide."""

    purpose: str
    environment: str
    account_id: str
    lifetime: Lifetime
    statements: Sequence[iam.Statement] = ()


class Key(pulumi.ComponentResource):
    """A key that rotates every year.

    - the key, with its policy
    - an alias, by which people know it
    """

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: KeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("modelyard:aws:Key", name, {}, opts)
        key = aws.kms.Key(
            f"{name}-key",
            description=f"{args.environment}: {args.purpose}",
            enable_key_rotation=True,
            deletion_window_in_days=args.lifetime.key_deletion_days,
            policy=pulumi.Output.json_dumps(key_policy(args.account_id, args.statements)),
            opts=kept(self, args.lifetime),
        )
        aws.kms.Alias(
            f"{name}-alias",
            name=f"alias/modelyard/{args.environment}/{name}",
            target_key_id=key.id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn = key.arn
        self.register_outputs({"arn": self.arn})


def key_policy(account_id: str, statements: Sequence[iam.Statement]) -> iam.Document:
    """The account's IAM decides who may use the key, as AWS advises, and the statements add services.

    In a key's policy the resource * means the key itself.
    """
    return iam.document(
        iam.allow_principal("Account", {"AWS": f"arn:aws:iam::{account_id}:root"}, ["kms:*"], ["*"]), *statements
    )


def used_by_logs(account_id: str, region: str) -> iam.Statement:
    """CloudWatch Logs may use the key for the account's log groups."""
    return iam.allow_principal(
        "CloudWatchLogs",
        {"Service": f"logs.{region}.amazonaws.com"},
        ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
        ["*"],
        {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": f"arn:aws:logs:{region}:{account_id}:log-group:*"}},
    )


def used_by(sid: str, service: str, account_id: str) -> iam.Statement:
    """An AWS service may use the key on behalf of this account."""
    return iam.allow_principal(
        sid,
        {"Service": service},
        ["kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey"],
        ["*"],
        {"StringEquals": {"aws:SourceAccount": account_id}},
    )
