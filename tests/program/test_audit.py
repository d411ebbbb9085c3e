import json

import pytest

from infra.aws.audit import Audit, AuditArgs, objects, trail_arn, trail_name
from infra.settings.base import Lifetime, Security
from modelyard.plan.graph import record

BUCKETS = {"models": "arn:aws:s3:::dev-models", "data": "arn:aws:s3:::dev-data"}


def arguments(security: str = "hardened") -> AuditArgs:
    return AuditArgs(
        environment="dev",
        region="us-east-1",
        account_id="123456789012",
        security=Security(security),
        lifetime=Lifetime.DURABLE,
        audit_bucket="dev-audit",
        audit_key_arn="arn:aws:kms:us-east-1:123456789012:key/audit",
        bucket_arns=BUCKETS,
    )


@pytest.fixture
def build(deploy):
    return lambda *security: deploy(lambda: Audit("audit", arguments(*security))).inputs


def test_the_trails_files_are_encrypted_and_a_change_to_them_shows(build):
    trail = build()["audit-trail"]
    assert trail["s3BucketName"] == "dev-audit"
    assert trail["kmsKeyId"] == "arn:aws:kms:us-east-1:123456789012:key/audit"
    assert trail["enableLogFileValidation"] is True
    assert trail["isMultiRegionTrail"] is False, "a trail of every region counts in each one's limit"


def test_reading_and_writing_of_every_watched_buckets_objects_is_recorded(build):
    (of_objects,) = build()["audit-trail"]["advancedEventSelectors"]
    fields = {each["field"]: each for each in of_objects["fieldSelectors"]}
    assert fields["eventCategory"]["equals"] == ["Data"]
    assert fields["resources.type"]["equals"] == ["AWS::S3::Object"]
    assert fields["resources.ARN"]["startsWiths"] == ["arn:aws:s3:::dev-data/", "arn:aws:s3:::dev-models/"]
    assert "readOnly" not in fields, "who read personal data matters as much as who wrote it"


def test_a_bucket_whose_name_begins_alike_isnt_watched():
    (selector,) = objects({"data": "arn:aws:s3:::dev-data"})
    (prefix,) = selector["field_selectors"][-1]["starts_withs"]
    assert not "arn:aws:s3:::dev-data-of-others/secret".startswith(prefix)


def test_the_trail_has_the_name_that_the_buckets_policy_lets_in(build):
    assert trail_arn("dev", "us-east-1", "123456789012").endswith(f":trail/{build()['audit-trail']['name']}")


def test_the_log_group_is_encrypted_and_forgets_in_time(build):
    assert build("standard")["audit-logs"]["retentionInDays"] == 365
    group = build("hardened")["audit-logs"]
    assert group["retentionInDays"] == 731
    assert group["kmsKeyId"] == "arn:aws:test:::audit-key"


def test_cloudtrail_may_write_into_its_own_log_group_and_nowhere_else(build):
    inputs = build()
    (statement,) = json.loads(inputs["audit-role-policy"]["policy"])["Statement"]
    assert statement["Resource"] == ["arn:aws:test:::audit-logs:log-stream:*"]
    assert set(statement["Action"]) == {"logs:CreateLogStream", "logs:PutLogEvents"}
    (trust,) = json.loads(inputs["audit-role"]["assumeRolePolicy"])["Statement"]
    assert trust["Principal"] == {"Service": "cloudtrail.amazonaws.com"}
    assert "Condition" not in trust, "CloudTrail names no source to this role, and could not take it"


def test_the_trail_waits_for_its_roles_rights_because_cloudtrail_tries_them_at_once():
    graph = record(lambda: Audit("audit", arguments()), project="modelyard", stack="dev", config={})
    resources = {resource.name: resource for resource in graph.resources}
    assert resources["audit-role-policy"].urn in resources["audit-trail"].dependencies


def test_an_environment_with_a_short_name_has_a_trail_with_a_name_long_enough():
    assert len(trail_name("qa")) >= 3, "CloudTrail takes three characters at least"
