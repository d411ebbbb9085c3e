"""Mail about an environment's alarms."""

import json

from infra.aws.alerts import Alerts, AlertsArgs, alerts_policy
from infra.settings.base import Lifetime
from tests.program.iam_lint import findings

ACCOUNT = "123456789012"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:modelyard-dev-alerts"


def build():
    return Alerts(
        "alerts",
        AlertsArgs(
            environment="dev",
            region="us-east-1",
            account_id=ACCOUNT,
            lifetime=Lifetime.THROWAWAY,
            notify=("platform@example.com", "finance@example.com"),
        ),
    )


def test_each_address_is_told_by_mail(deploy):
    inputs = deploy(build).inputs
    told = {one["endpoint"]: one["protocol"] for one in inputs.values() if "endpoint" in one}
    assert told == {"platform@example.com": "email", "finance@example.com": "email"}


def test_the_topic_is_encrypted_with_a_key_that_cloudwatch_may_use(deploy):
    inputs = deploy(build).inputs
    assert inputs["alerts-topic"]["kmsMasterKeyId"] == "arn:aws:test:::alerts-key"
    (statement,) = [one for one in json.loads(inputs["alerts-key"]["policy"])["Statement"] if one["Sid"] == "Alarms"]
    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert {"kms:Decrypt", "kms:GenerateDataKey*"} <= set(statement["Action"]), "without both no alarm is told"
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_alarms_of_this_environment_publish_and_nothing_else():
    policy = alerts_policy(TOPIC, "dev", "us-east-1", ACCOUNT)
    assert not findings(policy)
    (allowed,) = [one for one in policy["Statement"] if one["Effect"] == "Allow"]
    assert allowed["Condition"]["ArnLike"] == {"aws:SourceArn": f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:dev-*"}
    assert allowed["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
