import json
from typing import Any

import pytest

from infra.aws.bucket import bucket_name
from infra.aws.storage import PARTS, Storage, StorageArgs, lifecycle
from infra.settings.base import Lifetime, Security
from infra.settings.environment import Efs, Lustre, StorageSettings
from modelyard.plan.graph import record

ACCOUNT = "123456789012"
LUSTRE = Lustre(kind="lustre", size_gb=2400, throughput=250)
EFS = Efs(kind="efs")


@pytest.fixture
def build(deploy):
    return lambda **settings: deploy(lambda: Storage("storage", arguments(**settings)))


def arguments(lifetime: str = "durable", security: str = "hardened", **settings: Any) -> StorageArgs:
    return StorageArgs(
        environment="dev",
        region="us-east-1",
        account_id=ACCOUNT,
        settings=StorageSettings(**settings),
        security=Security(security),
        lifetime=Lifetime(lifetime),
        vpc_id="vpc-1",
        mount_subnet_ids={"az1": "subnet-a", "az4": "subnet-b"},
        cluster_security_group_id="sg-nodes",
    )


def statements(inputs: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    return {statement["Sid"]: statement for statement in json.loads(inputs[name]["policy"])["Statement"]}


def test_every_part_hangs_under_the_component(build):
    for urn in build(file_system=LUSTRE).urns:
        assert "modelyard:aws:" in urn
        assert urn.rpartition("::")[2].startswith("storage")


def test_every_bucket_is_versioned_private_and_refuses_acls_and_plain_http(build):
    inputs = build().inputs
    for part in PARTS:
        name = f"storage-{part}"
        assert inputs[f"{name}-versioning"]["versioningConfiguration"] == {"status": "Enabled"}
        private = {key: value for key, value in inputs[f"{name}-private"].items() if key != "bucket"}
        assert set(private.values()) == {True}
        assert len(private) == 4, "each of the four ways to the public is blocked"
        assert inputs[f"{name}-ownership"]["rule"] == {"objectOwnership": "BucketOwnerEnforced"}
        refused = statements(inputs, f"{name}-policy")["TlsOnly"]
        arn = f"arn:aws:s3:::dev-{ACCOUNT}-us-east-1-{part}"
        assert refused["Resource"] == [arn, f"{arn}/*"], "objects are a resource of their own"
        assert (refused["Effect"], refused["Principal"], refused["Action"]) == ("Deny", "*", ["s3:*"])
        assert refused["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_objects_are_encrypted_with_their_buckets_own_key_but_access_logs_with_that_of_s3(build):
    inputs = build().inputs
    for part in PARTS:
        (rule,) = inputs[f"storage-{part}-encryption"]["rules"]
        by_default = rule["applyServerSideEncryptionByDefault"]
        if part == "logs":
            assert by_default == {"sseAlgorithm": "AES256"}, "S3 delivers no access logs to a bucket with SSE-KMS"
        else:
            assert by_default["kmsMasterKeyId"] == f"arn:aws:test:::storage-{part}-key"
            assert rule["bucketKeyEnabled"]


def test_the_logs_bucket_takes_the_logs_of_this_environments_buckets_and_no_others(build):
    inputs = build().inputs
    logs = f"dev-{ACCOUNT}-us-east-1-logs"
    logged = {part for part in PARTS if inputs.get(f"storage-{part}-logging", {}).get("targetBucket") is not None}
    assert logged == set(PARTS) - {"logs"}, "a bucket that logs to itself never stops"
    delivery = statements(inputs, "storage-logs-policy")["AccessLogs"]
    assert delivery["Principal"] == {"Service": "logging.s3.amazonaws.com"}
    assert delivery["Resource"] == [f"arn:aws:s3:::{logs}/*"]
    assert delivery["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
    assert delivery["Condition"]["ArnLike"] == {"aws:SourceArn": f"arn:aws:s3:::dev-{ACCOUNT}-us-east-1-*"}


def test_a_throwaway_environment_can_be_emptied_and_locks_nothing(build):
    inputs = build(lifetime="throwaway").inputs
    assert all(inputs[f"storage-{part}-bucket"]["forceDestroy"] for part in PARTS)
    assert "storage-audit-lock" not in inputs
    assert "ApprovedStay" not in statements(inputs, "storage-models-policy"), "or destroy would fail on them"


def test_a_durable_environment_keeps_its_objects_and_locks_audit_records(build):
    inputs = build(lock_days=400).inputs
    assert not any(inputs[f"storage-{part}-bucket"]["forceDestroy"] for part in PARTS)
    assert inputs["storage-audit-lock"]["rule"]["defaultRetention"] == {"mode": "COMPLIANCE", "days": 400}
    assert "storage-models-lock" not in inputs, "a model is locked when it is approved, not when it is tried"


def test_audit_records_and_models_can_be_locked_whatever_the_lifetime_because_that_cant_change_later(build):
    for lifetime in Lifetime:
        inputs = build(lifetime=lifetime.value).inputs
        lockable = {part for part in PARTS if inputs[f"storage-{part}-bucket"]["objectLockEnabled"]}
        assert lockable == {"audit", "models"}, "S3 delivers no access logs to a bucket with object lock"


def test_only_a_hardened_environments_lock_holds_against_everybody(build):
    inputs = build(security="standard").inputs
    assert inputs["storage-audit-lock"]["rule"]["defaultRetention"]["mode"] == "GOVERNANCE"


def test_approved_models_are_closed_to_deletion_and_other_models_are_not(build):
    stay = statements(build().inputs, "storage-models-policy")["ApprovedStay"]
    assert stay["Effect"] == "Deny"
    assert {"s3:DeleteObject", "s3:DeleteObjectVersion"} < set(stay["Action"])
    assert stay["Resource"] == [f"arn:aws:s3:::dev-{ACCOUNT}-us-east-1-models/approved/*"]


def test_an_approved_model_is_written_once_because_what_is_overwritten_goes_with_the_old_versions(build):
    once = statements(build().inputs, "storage-models-policy")["ApprovedOnce"]
    assert (once["Effect"], once["Principal"], once["Action"]) == ("Deny", "*", ["s3:PutObject"])
    assert once["Resource"] == [f"arn:aws:s3:::dev-{ACCOUNT}-us-east-1-models/approved/*"]
    assert once["Condition"] == {
        "Null": {"s3:if-none-match": "true"},
        "Bool": {"s3:ObjectCreationOperation": "true"},
    }, "parts of an upload can't say If-None-Match"
    assert "ApprovedOnce" not in statements(build(lifetime="throwaway").inputs, "storage-models-policy")


def test_the_trail_alone_may_write_into_the_audit_bucket_and_use_its_key(build):
    inputs = build().inputs
    trail = f"arn:aws:cloudtrail:us-east-1:{ACCOUNT}:trail/modelyard-dev"
    writes = statements(inputs, "storage-audit-policy")["TrailWrites"]
    assert writes["Resource"] == [f"arn:aws:s3:::dev-{ACCOUNT}-us-east-1-audit/AWSLogs/{ACCOUNT}/*"]
    assert writes["Condition"]["StringEquals"]["aws:SourceArn"] == trail
    encrypts = statements(inputs, "storage-audit-key")["TrailEncrypts"]
    assert "kms:Decrypt" in encrypts["Action"], "CloudTrail needs it where a bucket key is in use"
    assert encrypts["Condition"]["StringEquals"]["aws:SourceArn"] == trail


@pytest.mark.parametrize("part", PARTS)
def test_old_versions_and_unfinished_uploads_go(part):
    first, *_ = lifecycle(part, StorageSettings(keep_old_versions_days=30))
    assert first["noncurrent_version_expiration"] == {"noncurrent_days": 1 if part == "logs" else 30}
    assert first["abort_incomplete_multipart_upload"] == {"days_after_initiation": 7}


def test_access_logs_expire_and_nothing_else_does():
    settings = StorageSettings(keep_logs_days=200)
    expiring = {
        part: rule["expiration"]["days"]
        for part in PARTS
        for rule in lifecycle(part, settings)
        if "days" in rule.get("expiration", {})
    }
    assert expiring == {"logs": 200}


def test_rules_hold_for_all_objects(build):
    for rule in build().inputs["storage-data-lifecycle"]["rules"]:
        assert (rule["status"], rule["filter"]) == ("Enabled", {})


def test_the_longest_name_fits_into_what_s3_allows():
    assert all(len(bucket_name("e" * 20, ACCOUNT, "ap-southeast-1", part)) <= 63 for part in PARTS)


def test_without_a_file_system_there_is_no_key_and_no_group_for_one(build):
    assert not any("files" in urn for urn in build().urns)


def test_lustre_is_joined_with_the_data_bucket_and_never_deletes_in_it(build):
    inputs = build(file_system=LUSTRE).inputs
    files = inputs["storage-files"]
    assert (files["deploymentType"], files["storageCapacity"], files["perUnitStorageThroughput"]) == (
        "PERSISTENT_2",
        2400,
        250,
    )
    assert files["kmsKeyId"] == "arn:aws:test:::storage-files-key"
    joined = inputs["storage-files-data"]
    assert joined["dataRepositoryPath"] == "s3://storage-data-bucket-id"
    assert "DELETED" in joined["s3"]["autoImportPolicy"]["events"]
    assert "DELETED" not in joined["s3"]["autoExportPolicy"]["events"]


@pytest.mark.parametrize(("lifetime", "stays"), [("durable", True), ("throwaway", False)])
def test_what_stays_when_its_stack_goes_stays_as_closed_as_it_was(lifetime, stays):
    graph = record(
        lambda: Storage("storage", arguments(lifetime, file_system=EFS)), project="modelyard", stack="dev", config={}
    )
    guards = [
        each for each in graph.resources if each.type.startswith("aws:s3/") or each.name == "storage-files-policy"
    ]
    assert len(guards) > len(PARTS) * 6
    assert {each.retain_on_delete for each in guards} == {stays}
    assert {each.name for each in guards if each.protect != stays} <= {"storage-audit-lock"}, "which may leave alone"


def test_lustre_waits_for_its_ports_because_fsx_looks_for_them_first():
    graph = record(
        lambda: Storage("storage", arguments(file_system=LUSTRE)), project="modelyard", stack="dev", config={}
    )
    rules = {resource.urn for resource in graph.resources if "SecurityGroupIngressRule" in resource.type}
    (files,) = (resource for resource in graph.resources if resource.type.endswith(":LustreFileSystem"))
    assert rules
    assert rules <= set(files.dependencies)


def test_access_logs_are_switched_on_when_their_bucket_takes_them():
    graph = record(lambda: Storage("storage", arguments()), project="modelyard", stack="dev", config={})
    resources = {resource.name: resource for resource in graph.resources}
    assert resources["storage-logs-policy"].urn in resources["storage-data-logging"].dependencies


def test_fsx_may_use_the_data_buckets_key_only_by_way_of_s3_and_only_where_lustre_is(build):
    grant = statements(build(file_system=LUSTRE).inputs, "storage-data-key")["Lustre"]
    assert set(grant["Condition"]) == {"StringEquals", "ArnLike"}, "the principal is everybody but for these"
    assert grant["Condition"]["StringEquals"]["kms:ViaService"] == "s3.us-east-1.amazonaws.com"
    assert grant["Condition"]["ArnLike"]["aws:PrincipalArn"].startswith(
        f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/"
    )
    assert "Lustre" not in statements(build(file_system=EFS).inputs, "storage-data-key")


@pytest.mark.parametrize(("file_system", "ports"), [(LUSTRE, {(988, 988), (1018, 1023)}), (EFS, {(2049, 2049)})])
def test_only_nodes_and_the_file_system_itself_reach_it_and_only_at_its_ports(build, file_system, ports):
    deployed = build(file_system=file_system)
    rules = {
        urn.rpartition("::")[2]: deployed.inputs[urn.rpartition("::")[2]]
        for urn in deployed.urns
        if "SecurityGroupIngressRule" in urn
    }
    assert {(rule["fromPort"], rule["toPort"]) for rule in rules.values()} == ports
    let_in = {rule["referencedSecurityGroupId"] for rule in rules.values() if rule["securityGroupId"] != "sg-nodes"}
    assert let_in == {"sg-nodes", "storage-files-group-id"}


@pytest.mark.parametrize(("file_system", "ports"), [(LUSTRE, {(988, 988), (1018, 1023)}), (EFS, set())])
def test_nodes_let_in_lustres_servers_which_call_back_and_nothing_for_efs(build, file_system, ports):
    rules = [one for one in build(file_system=file_system).inputs.values() if one.get("securityGroupId") == "sg-nodes"]
    assert {(rule["fromPort"], rule["toPort"]) for rule in rules} == ports
    assert {rule["referencedSecurityGroupId"] for rule in rules} <= {"storage-files-group-id"}


def test_efs_has_a_mount_target_in_every_zone_named_by_it_and_refuses_mounts_without_tls(build):
    inputs = build(file_system=EFS).inputs
    assert {inputs[f"storage-files-{place}"]["subnetId"] for place in ("az1", "az4")} == {"subnet-a", "subnet-b"}
    assert inputs["storage-files-az1"]["securityGroups"] == ["storage-files-group-id"]
    policy = statements(inputs, "storage-files-policy")
    assert policy["TlsOnly"]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert policy["Account"]["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "a mount needs a role"
    assert "elasticfilesystem:ClientRootAccess" not in policy["Account"]["Action"]


def test_only_efs_is_backed_up_because_aws_backs_up_no_lustre_that_is_joined_with_a_bucket(deploy):
    def arns(file_system: Any) -> int:
        made: list[Storage] = []
        deploy(lambda: made.append(Storage("storage", arguments(file_system=file_system))))
        return len(made[0].backed_up_arns)

    assert (arns(EFS), arns(LUSTRE), arns(None)) == (1, 0, 0)
