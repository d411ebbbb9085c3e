import json

import pulumi
import pytest

from infra.aws.backup import Backup, BackupArgs
from infra.settings.base import Lifetime, Security

CLUSTER = "arn:aws:eks:us-east-1:123456789012:cluster/dev"
COPIED = [
    "arn:aws:rds:us-east-1:123456789012:db:dev",
    "arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/fs",
]


def arguments(lifetime="durable", security="hardened"):
    return BackupArgs(
        environment="dev",
        region="us-east-1",
        account_id="123456789012",
        security=Security(security),
        lifetime=Lifetime(lifetime),
        cluster_name="dev",
        cluster_arn=CLUSTER,
        log_bucket="dev-logs",
        backed_up_arns=COPIED,
    )


@pytest.fixture
def build(deploy):
    return lambda *switches, **settings: deploy(lambda: Backup("backup", arguments(*switches, **settings))).inputs


def test_every_database_and_file_system_is_copied_and_only_these(build):
    inputs = build()
    assert inputs["backup-selection"]["resources"] == COPIED
    assert inputs["backup-selection"]["planId"] == "backup-plan-id"


def test_copies_are_encrypted_with_the_vaults_own_key(build):
    assert build()["backup-vault"]["kmsKeyArn"] == "arn:aws:test:::backup-key"


def test_a_durable_environment_keeps_a_year_of_copies_and_a_throwaway_one_a_week(build):
    def kept(lifetime):
        rules = build(lifetime)["backup-plan"]["rules"]
        return {rule["ruleName"]: rule["lifecycle"]["deleteAfter"] for rule in rules}

    assert kept("durable") == {"daily": 35, "monthly": 365}
    assert kept("throwaway") == {"daily": 7}


def test_copies_are_kept_for_longer_than_the_lock_asks(build):
    inputs = build()
    lock = inputs["backup-vault-lock"]["minRetentionDays"]
    assert all(rule["lifecycle"]["deleteAfter"] >= lock for rule in inputs["backup-plan"]["rules"]), (
        "AWS Backup refuses copies that would go before the lock allows"
    )


def test_a_throwaway_vault_goes_with_its_copies(build):
    inputs = build("throwaway")
    assert inputs["backup-vault"]["forceDestroy"] is True
    assert inputs["backup-bucket-bucket"]["forceDestroy"] is True
    assert "backup-vault-lock" not in inputs


def test_a_durable_vault_is_locked_and_only_a_hardened_one_for_everybody(build):
    hardened, standard = build()["backup-vault-lock"], build(security="standard")["backup-vault-lock"]
    assert hardened["changeableForDays"] == 7, "after that nobody takes the lock off"
    assert "changeableForDays" not in standard, "a right of its own takes it off"
    assert build()["backup-vault"]["forceDestroy"] is False


def test_an_existing_vaults_lock_is_left_as_it_was_made_when_security_changes(deploy):
    seen = {}
    watch = pulumi.ResourceOptions(transformations=[lambda one: seen.update({one.name: one.opts.ignore_changes})])
    deploy(lambda: Backup("backup", arguments(), watch))
    assert seen["backup-vault-lock"] == ["changeableForDays"], "AWS lets nobody replace a compliance lock"


def test_the_role_that_copies_asks_for_nothing_that_aws_backup_isnt_said_to_tell(build):
    (trust,) = json.loads(build()["backup-role"]["assumeRolePolicy"])["Statement"]
    assert trust["Principal"] == {"Service": "backup.amazonaws.com"}
    assert "Condition" not in trust, "or every copy fails"


def test_velero_reaches_its_own_bucket_and_key_and_nothing_else(build):
    document = json.loads(build()["backup-velero-policy"]["policy"])
    assert {resource for statement in document["Statement"] for resource in statement["Resource"]} == {
        "arn:aws:test:::backup-bucket-bucket",
        "arn:aws:test:::backup-bucket-bucket/*",
        "arn:aws:test:::backup-bucket-key",
    }


def test_what_velero_deletes_can_be_had_back(build):
    inputs = build()
    document = json.loads(inputs["backup-velero-policy"]["policy"])
    actions = {action for statement in document["Statement"] for action in statement["Action"]}
    assert "s3:DeleteObject" in actions
    assert "s3:DeleteObjectVersion" not in actions
    assert inputs["backup-bucket-versioning"]["versioningConfiguration"] == {"status": "Enabled"}
    (rule,) = inputs["backup-bucket-lifecycle"]["rules"]
    assert rule["noncurrentVersionExpiration"] == {"noncurrentDays": 30}


def test_only_veleros_pods_in_this_cluster_take_its_role(build):
    inputs = build()
    pods = inputs["backup-velero-pods"]
    assert (pods["clusterName"], pods["namespace"], pods["serviceAccount"]) == ("dev", "velero", "velero")
    (trust,) = json.loads(inputs["backup-velero"]["assumeRolePolicy"])["Statement"]
    assert trust["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert trust["Condition"]["ArnEquals"] == {"aws:SourceArn": CLUSTER}
