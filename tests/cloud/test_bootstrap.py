"""modelyard env bootstrap."""

import json
import shutil

import pytest
from pulumi import automation

from infra.settings.stacks import load
from modelyard.bootstrap import backend_url, bootstrap, initialise
from modelyard.errors import RefusedError

BUCKET = "modelyard-state-123456789012-us-east-1"
needs_pulumi = pytest.mark.skipif(
    shutil.which("pulumi") is None, reason="there is no `pulumi` on PATH, which makes the stack's entry"
)


@pytest.fixture
def account(checkout):
    return load(checkout / "stacks", "account.main").settings


@pytest.fixture
def without_pulumi(monkeypatch, tmp_path):
    """As if `pulumi` did what it is asked to: what it does itself has a test of its own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "pulumi"
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "  version*) echo v3.259.0 ;;\n"
        '  *"stack ls"*) if [ -e initialised ]; then echo \'[{"name":"dev","current":true}]\'; else echo "[]"; fi ;;\n'
        '  *"stack init"*) touch initialised; echo "$PULUMI_BACKEND_URL $*" > asked;\n'
        "    echo 'secretsprovider: awskms:///alias/modelyard/state?region=us-east-1' >> stacks/Pulumi.dev.yaml;\n"
        "    echo 'encryptedkey: AAAA' >> stacks/Pulumi.dev.yaml ;;\n"
        "esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_the_state_gets_a_closed_versioned_encrypted_bucket_and_a_key_that_rotates(
    cloud, checkout, account, without_pulumi
):
    told: list[str] = []
    assert bootstrap("dev", account, checkout, told.append)
    s3, kms = cloud.client("s3"), cloud.client("kms")
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values())
    statement = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"][0]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    (rule,) = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    key = kms.describe_key(KeyId="alias/modelyard/state")["KeyMetadata"]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == key["Arn"]
    assert kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"]
    assert told[-1] == "stack dev"


def test_a_second_time_nothing_is_changed(cloud, checkout, account, without_pulumi):
    assert bootstrap("dev", account, checkout, lambda _: None)
    file = (checkout / "stacks" / "Pulumi.dev.yaml").read_bytes()
    told: list[str] = []
    assert not bootstrap("dev", account, checkout, told.append)
    assert told == []
    assert (checkout / "stacks" / "Pulumi.dev.yaml").read_bytes() == file
    assert len(cloud.client("kms").list_keys()["Keys"]) == 1


def test_a_policy_as_s3_tells_it_is_the_same_and_a_weaker_one_is_put_right(cloud, checkout, account, without_pulumi):
    """S3 gives back a list of one as that one, and a list in an order of its own."""
    bootstrap("dev", account, checkout, lambda _: None)
    s3 = cloud.client("s3")
    told: list[str] = []
    policy = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])
    (statement,) = policy["Statement"]
    (action,) = statement["Action"]
    as_told = statement | {"Action": action, "Resource": statement["Resource"][::-1]}
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy | {"Statement": [as_told]}))
    assert not bootstrap("dev", account, checkout, told.append)
    weaker = as_told | {"Resource": statement["Resource"][0]}
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy | {"Statement": [weaker]}))
    assert bootstrap("dev", account, checkout, told.append)
    assert told == ["TLS only"]


def test_what_was_switched_off_by_hand_is_put_right_again(cloud, checkout, account, without_pulumi):
    bootstrap("dev", account, checkout, lambda _: None)
    cloud.client("s3").delete_public_access_block(Bucket=BUCKET)
    told: list[str] = []
    assert bootstrap("dev", account, checkout, told.append)
    assert told == ["no public access"]


def test_the_stack_file_keeps_its_comments_and_gets_what_encrypts_its_secrets(cloud, checkout, account, without_pulumi):
    before = (checkout / "stacks" / "Pulumi.dev.yaml").read_text(encoding="utf-8")
    bootstrap("dev", account, checkout, lambda _: None)
    after = (checkout / "stacks" / "Pulumi.dev.yaml").read_text(encoding="utf-8")
    assert after.startswith(before)
    assert "secretsprovider: awskms:///alias/modelyard/state?region=us-east-1" in after
    assert load(checkout / "stacks", "dev"), "it is still a valid stack file"
    asked = (checkout / "asked").read_text()
    assert asked.startswith(backend_url(account))
    assert "--secrets-provider awskms:///alias/modelyard/state?region=us-east-1" in asked


@needs_pulumi
def test_pulumi_itself_takes_the_backend_and_encrypts_with_the_key(cloud, checkout, account, monkeypatch):
    monkeypatch.setenv("PULUMI_HOME", str(checkout / "home"))
    cloud.client("s3").create_bucket(Bucket=BUCKET)  # without the policy: loopback has no TLS
    key = cloud.client("kms").create_key()["KeyMetadata"]["KeyId"]
    cloud.client("kms").create_alias(AliasName="alias/modelyard/state", TargetKeyId=key)
    assert initialise(automation.PulumiCommand(), "dev", account, checkout)
    after = (checkout / "stacks" / "Pulumi.dev.yaml").read_text(encoding="utf-8")
    assert "encryptedkey:" in after
    assert load(checkout / "stacks", "dev"), "it is still a valid stack file"
    assert not initialise(automation.PulumiCommand(), "dev", account, checkout)
    keys = {found["Key"] for found in cloud.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert ".pulumi/stacks/modelyard/dev.json" in keys


def test_another_accounts_credentials_are_refused_before_anything_is_made(cloud, checkout, account, without_pulumi):
    other = account.model_copy(update={"account_id": "999999999999"})
    with pytest.raises(RefusedError, match="those of account 123456789012, and the stack's is 999999999999"):
        bootstrap("dev", other, checkout, lambda _: None)
    assert cloud.client("s3").list_buckets()["Buckets"] == []


def test_without_pulumi_nothing_is_made(cloud, checkout, account, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RefusedError, match="install Pulumi"):
        bootstrap("dev", account, checkout, lambda _: None)
    assert cloud.client("s3").list_buckets()["Buckets"] == []


def test_without_credentials_it_says_how_to_sign_in(cloud, checkout, account, without_pulumi, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(checkout / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(checkout / "none"))
    with pytest.raises(RefusedError, match="no AWS credentials for account 123456789012"):
        bootstrap("dev", account, checkout, lambda _: None)
