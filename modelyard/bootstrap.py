"""Where stacks keep their state: one bucket and one key for an account and region, and each stack's entry there."""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
from pulumi import automation

from infra.aws import iam
from infra.aws.bucket import tls_only
from infra.aws.key import key_policy
from infra.settings.account import AccountSettings
from modelyard.errors import FailedError, RefusedError

KEY = "alias/modelyard/state"
KEEP_OLD_STATES_DAYS = 365


def bucket(account: AccountSettings) -> str:
    """The bucket that all stacks on an account and region share, or they couldn't refer to one another."""
    return f"modelyard-state-{account.account_id}-{account.region}"


def backend_url(account: AccountSettings) -> str:
    """What PULUMI_BACKEND_URL has to be; where AWS is somewhere else, buckets are known by path."""
    elsewhere = "&s3ForcePathStyle=true" if "AWS_ENDPOINT_URL" in os.environ else ""
    return f"s3://{bucket(account)}?region={account.region}{elsewhere}"


def secrets_provider(account: AccountSettings) -> str:
    """What encrypts secrets in the state."""
    return f"awskms:///{KEY}?region={account.region}"


def bootstrap(stack: str, account: AccountSettings, project: Path, tell: Callable[[str], None]) -> bool:
    """Make what is missing of a stack's home; whether anything was. `tell` hears of each thing that is made.

    Raises RefusedError without a `pulumi`, without credentials or with those of another account.
    """
    pulumi = _pulumi()
    with _sentences(account):
        session = boto3.Session(region_name=account.region)
        found = session.client("sts").get_caller_identity()["Account"]
        if found != account.account_id:
            raise RefusedError(
                f"the AWS credentials are those of account {found}, and the stack's is {account.account_id};"
                " use a profile of that account (AWS_PROFILE)"
            )
        made = [*_key(session, account), *_bucket(session, account)]
        for thing in made:
            tell(thing)
    initialised = initialise(pulumi, stack, account, project)
    if initialised:
        tell(f"stack {stack}")
    return bool(made) or initialised


def _pulumi() -> automation.PulumiCommand:
    try:
        return automation.PulumiCommand()
    except (FileNotFoundError, RuntimeError) as error:
        raise RefusedError(
            "there is no `pulumi` command, which keeps the state; install Pulumi and put it on PATH"
        ) from error


@contextmanager
def _sentences(account: AccountSettings) -> Iterator[None]:
    try:
        yield
    except (botocore.exceptions.NoCredentialsError, botocore.exceptions.ProfileNotFound) as error:
        raise RefusedError(
            f"there are no AWS credentials for account {account.account_id};"
            " sign in (`aws sso login`) or set AWS_PROFILE"
        ) from error
    except botocore.exceptions.ClientError as error:
        told = error.response["Error"]
        raise FailedError(f"AWS refused {error.operation_name}: {told.get('Message') or told['Code']}") from error
    except botocore.exceptions.BotoCoreError as error:
        raise FailedError(f"AWS can't be asked: {error}") from error


def _key(session: Any, account: AccountSettings) -> Iterator[str]:
    kms = session.client("kms")
    try:
        found = kms.describe_key(KeyId=KEY)["KeyMetadata"]
    except kms.exceptions.NotFoundException:
        found = kms.create_key(
            Description="Modelyard: state of stacks and their secrets",
            Policy=json.dumps(key_policy(account.account_id, ())),
        )["KeyMetadata"]
        kms.create_alias(AliasName=KEY, TargetKeyId=found["KeyId"])
        yield f"key {KEY}"
    if not kms.get_key_rotation_status(KeyId=found["KeyId"])["KeyRotationEnabled"]:
        kms.enable_key_rotation(KeyId=found["KeyId"])
        yield f"rotation of {KEY}"


def _bucket(session: Any, account: AccountSettings) -> Iterator[str]:
    s3, name = session.client("s3"), bucket(account)
    key = session.client("kms").describe_key(KeyId=KEY)["KeyMetadata"]["Arn"]
    if not _there(lambda: s3.head_bucket(Bucket=name, ExpectedBucketOwner=account.account_id)):
        place = {} if account.region == "us-east-1" else {"LocationConstraint": account.region}
        s3.create_bucket(Bucket=name, **({"CreateBucketConfiguration": place} if place else {}))
        yield f"bucket {name}"
    if s3.get_bucket_versioning(Bucket=name).get("Status") != "Enabled":
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        yield "versions of each state"
    rule = {
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key},
        "BucketKeyEnabled": True,
    }
    if not _there(lambda: _same(s3.get_bucket_encryption(Bucket=name), rule)):
        s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
        yield "encryption"
    closed = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    if not _there(lambda: s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"] == closed):
        s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=closed)
        yield "no public access"
    policy = iam.document(tls_only(f"arn:aws:s3:::{name}"))
    if not _there(lambda: _one_way(json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])) == _one_way(policy)):
        s3.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
        yield "TLS only"
    rules = [
        {
            "ID": "old-states",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "NoncurrentVersionExpiration": {"NoncurrentDays": KEEP_OLD_STATES_DAYS},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        }
    ]
    if not _there(lambda: [rule["ID"] for rule in s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]]):
        s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})
        yield f"old states for {KEEP_OLD_STATES_DAYS} days"


def _same(told: Any, rule: dict[str, Any]) -> bool:
    found = told["ServerSideEncryptionConfiguration"]["Rules"][0]
    return all(found.get(key) == value for key, value in rule.items())


def _one_way(value: Any) -> Any:
    """A policy with every list of one as that one, since S3 tells it like that, and lists in order."""
    if isinstance(value, dict):
        return {key: _one_way(inner) for key, inner in value.items()}
    if isinstance(value, list):
        inner = [_one_way(one) for one in value]
        return inner[0] if len(inner) == 1 else sorted(inner, key=json.dumps)
    return value


MISSING = {
    "404",
    "NoSuchBucket",
    "NoSuchBucketPolicy",
    "NoSuchLifecycleConfiguration",
    "NoSuchPublicAccessBlockConfiguration",
    "ServerSideEncryptionConfigurationNotFoundError",
}


def _there(look: Callable[[], Any]) -> bool:
    try:
        return bool(look())
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in MISSING:
            return False
        raise


def initialise(pulumi: automation.PulumiCommand, stack: str, account: AccountSettings, project: Path) -> bool:
    """Make the stack's entry in the backend, and write what encrypts its secrets into its file."""
    file = project / "stacks" / f"Pulumi.{stack}.yaml"
    before = file.read_text(encoding="utf-8")
    workspace = automation.LocalWorkspace(
        work_dir=str(project),
        env_vars={**os.environ, "PULUMI_BACKEND_URL": backend_url(account), "PULUMI_SKIP_UPDATE_CHECK": "1"},
        secrets_provider=secrets_provider(account),
        pulumi_command=pulumi,
    )
    try:
        if stack in {found.name for found in workspace.list_stacks()}:
            return False
        workspace.create_stack(stack)
    except automation.CommandError as error:
        told = re.findall(r"error: (.+)", str(error))
        raise FailedError(f"pulumi can't make the stack {stack}: {told[-1] if told else error}") from error
    # Pulumi leaves out the empty lines between the settings when it writes the file.
    provided = ("secretsprovider:", "encryptedkey:")
    added = [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith(provided)]
    kept = [line for line in before.splitlines() if not line.startswith(provided)]
    file.write_text("\n".join([*kept, *added, ""]), encoding="utf-8")
    return True
