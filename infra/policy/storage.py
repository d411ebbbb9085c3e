"""Buckets, volumes, file systems, databases and container images."""

from collections.abc import Iterator
from typing import Any

from pulumi_policy import Severity

from infra.policy.control import ACCOUNT, ENVIRONMENT, Item, Stack, each, listed, statements, together

BUCKET = "aws:s3/bucket:Bucket"
BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
ACCOUNT_BLOCK = "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock"
BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
POLICY = "aws:s3/bucketPolicy:BucketPolicy"
VERSIONING = "aws:s3/bucketVersioning:BucketVersioning"
LIFECYCLE = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
LOGGING = "aws:s3/bucketLogging:BucketLogging"
OBJECT_LOCK = "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration"
REPOSITORY = "aws:ecr/repository:Repository"
DATABASE = "aws:rds/instance:Instance"
EFS = "aws:efs/fileSystem:FileSystem"
LUSTRE = "aws:fsx/lustreFileSystem:LustreFileSystem"
JOINED = "aws:fsx/dataRepositoryAssociation:DataRepositoryAssociation"
VOLUME = "aws:ebs/volume:Volume"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
INSTANCE = "aws:ec2/instance:Instance"
QUEUE = "aws:sqs/queue:Queue"
TOPIC = "aws:sns/topic:Topic"
LOCKED = ("audit", "models")
"""Which buckets hold what nobody may delete; an account has only the first."""
APPROVED = "/approved/*"
"""Where approved models are in their bucket."""


@together("s3-public-access-block", Severity.CRITICAL, [25], "FSBP S3.1, S3.8; CKV2_AWS_6")
def public_access_block(stack: Stack) -> Iterator[tuple[Item, str]]:
    """Every bucket refuses to be made public, in all four ways."""
    for bucket in stack.of(BUCKET):
        blocks = stack.that_use(bucket, BLOCK, "bucket")
        if not blocks:
            yield bucket, "nothing keeps it from being made public: it has no BucketPublicAccessBlock"
        for block in blocks:
            if missing := _open(block):
                yield block, f"it doesn't set {', '.join(missing)}"


@together("s3-account-public-access-block", Severity.HIGH, [25], "FSBP S3.1")
def account_public_access_block(stack: Stack) -> Iterator[tuple[Item, str]]:
    """The account refuses public buckets, whoever makes them."""
    blocks = stack.of(ACCOUNT_BLOCK)
    if not blocks:
        yield from ((account, "the account lets buckets be made public") for account in stack.of(ACCOUNT))
    for block in blocks:
        if missing := _open(block):
            yield block, f"it doesn't set {', '.join(missing)}"


def _open(block: Item) -> list[str]:
    return [key for key in BLOCKS if block.at(key) != True]  # noqa: E712 an unknown is equal to everything


@together("s3-tls-only", Severity.HIGH, [26], "FSBP S3.5; CT.S3.PR.8")
def tls_only(stack: Stack) -> Iterator[tuple[Item, str]]:
    """Every bucket refuses requests without TLS, for itself and for its objects."""
    for bucket in stack.of(BUCKET):
        documents = [policy.at("policy") for policy in stack.that_use(bucket, POLICY, "bucket")]
        if not any(not isinstance(document, str | dict) or _refuses_plain(document) for document in documents):
            yield bucket, "it answers requests without TLS"


def _refuses_plain(document: Any) -> bool:
    return any(
        (one.get("Condition") or {}).get("Bool", {}).get("aws:SecureTransport") in ("false", False)
        and "s3:*" in listed(one.get("Action"))
        and len(listed(one.get("Resource"))) > 1
        and one.get("Principal") in ("*", {"AWS": "*"})
        for one in statements(document, "Deny")
    )


@together("s3-versioning", Severity.HIGH, [27], "CT.S3.PR.3; CKV_AWS_21")
def versioning(stack: Stack) -> Iterator[tuple[Item, str]]:
    """Every bucket keeps what is overwritten or deleted."""
    for bucket in stack.of(BUCKET):
        found = stack.that_use(bucket, VERSIONING, "bucket")
        if not any(one.at("versioningConfiguration", "status") == "Enabled" for one in found):
            yield bucket, "what is overwritten or deleted is lost: it has no versions"


@together("s3-lifecycle", Severity.MEDIUM, [27], "CKV2_AWS_61, CKV_AWS_300", setting="storage.keep_old_versions_days")
def lifecycle(stack: Stack) -> Iterator[tuple[Item, str]]:
    """Every bucket lets go of old versions and of uploads that never ended."""
    for bucket in stack.of(BUCKET):
        rules = [
            rule
            for one in stack.that_use(bucket, LIFECYCLE, "bucket")
            for rule in listed(one.at("rules"))
            if rule.get("status") == "Enabled"
        ]
        if not any(rule.get("noncurrentVersionExpiration") for rule in rules):
            yield bucket, "old versions stay for ever"
        if not any(rule.get("abortIncompleteMultipartUpload") for rule in rules):
            yield bucket, "uploads that never ended stay for ever"


@together("s3-own-key", Severity.HIGH, [28], "CKV_AWS_145")
def own_key(stack: Stack) -> Iterator[tuple[Item, str]]:
    """Every bucket is encrypted with a key of our own, but for the one of access logs, to which S3 can't write then."""
    for bucket in stack.of(BUCKET):
        if _is_for_logs(stack, bucket):
            continue
        rules = [rule for one in stack.that_use(bucket, ENCRYPTION, "bucket") for rule in listed(one.at("rules"))]
        defaults = [rule.get("applyServerSideEncryptionByDefault") or {} for rule in rules]
        if not any(one.get("sseAlgorithm") == "aws:kms" and one.get("kmsMasterKeyId") for one in defaults):
            yield bucket, "its objects aren't encrypted with a key of our own"


@together("s3-access-logs", Severity.MEDIUM, [28], "FSBP S3.9; CKV_AWS_18")
def access_logs(stack: Stack) -> Iterator[tuple[Item, str]]:
    """Who read what in a bucket is logged in another bucket."""
    for bucket in stack.of(BUCKET):
        if _is_for_logs(stack, bucket):
            continue
        targets = [one.used("targetBucket") for one in stack.that_use(bucket, LOGGING, "bucket")]
        if not any(target - {bucket.urn} for target in targets):
            yield bucket, "nothing tells who read what in it"


def _is_for_logs(stack: Stack, bucket: Item) -> bool:
    """The one bucket of access logs; another one doesn't become it by taking some."""
    return bucket.name.endswith("-logs-bucket") and bool(stack.that_use(bucket, LOGGING, "targetBucket"))


@together("s3-object-lock", Severity.HIGH, [31], "CT.S3.PR.9", setting="storage.lock_days")
def object_lock(stack: Stack) -> Iterator[tuple[Item, str]]:
    """Where durable, nobody deletes an audit record or an approved model: by object lock, or by the bucket's policy."""
    buckets = stack.of(BUCKET) if stack.durable() else []
    for wanted in (LOCKED if stack.of(ENVIRONMENT) else LOCKED[:1]) if buckets else ():
        found = [bucket for bucket in buckets if bucket.name.endswith(f"-{wanted}-bucket")]
        if not found:
            yield buckets[0], f"beside it there is no {wanted} bucket, whose objects nobody can delete"
        for bucket in found:
            rules = stack.that_use(bucket, OBJECT_LOCK, "bucket")
            if not any(rule.at("rule", "defaultRetention") for rule in rules) and not _refuses_deletion(stack, bucket):
                yield bucket, "its objects can be deleted: it has no object lock, and its policy lets them go"


def _refuses_deletion(stack: Stack, bucket: Item) -> bool:
    """Whether approved objects neither go nor are overwritten, which would let them go with the old versions."""
    documents = [policy.at("policy") for policy in stack.that_use(bucket, POLICY, "bucket")]
    return any(
        not isinstance(document, str | dict)
        or all(
            any(_denies(one, action) for one in statements(document, "Deny"))
            for action in ("s3:DeleteObjectVersion", "s3:PutObject")
        )
        for document in documents
    )


def _denies(statement: dict[str, Any], action: str) -> bool:
    """To everybody but an exception by name, or whatever keeps a version that is there."""
    conditions = {key for wanted in (statement.get("Condition") or {}).values() for key in wanted}
    return (
        action in listed(statement.get("Action"))
        and statement.get("Principal") in ("*", {"AWS": "*"})
        and any(str(resource).endswith(APPROVED) for resource in listed(statement.get("Resource")))
        and conditions <= {"aws:PrincipalArn", "s3:if-none-match", "s3:ObjectCreationOperation"}
    )


@each(
    "volumes-encrypted", Severity.HIGH, [32], "EBP; CKV_AWS_8, 16, 42, 184, 190",
    TEMPLATE, INSTANCE, VOLUME, DATABASE, EFS, LUSTRE,
)  # fmt: skip
def volumes_encrypted(item: Item) -> Iterator[str]:
    """Every volume, database and file system is encrypted, and what holds data with a key of our own."""
    if item.type == TEMPLATE:
        disks = [disk.get("ebs") or {} for disk in listed(item.at("blockDeviceMappings"))]
        if not disks or any(str(disk.get("encrypted")).lower() != "true" for disk in disks if isinstance(disk, dict)):
            yield "its volumes aren't encrypted"
    elif item.type == INSTANCE:
        if item.at("rootBlockDevice", "encrypted") != True:  # noqa: E712
            yield "its volume isn't encrypted"
    else:
        switch = {DATABASE: "storageEncrypted", EFS: "encrypted", VOLUME: "encrypted"}.get(item.type)
        if switch and item.at(switch) != True:  # noqa: E712
            yield f"it isn't encrypted: set {switch}"
        elif not item.at("kmsKeyId"):
            yield "it isn't encrypted with a key of our own"


@each("messages-encrypted", Severity.MEDIUM, [32], "FSBP SQS.1; CKV_AWS_26, 27", QUEUE, TOPIC)
def messages_encrypted(item: Item) -> Iterator[str]:
    """Queues and topics are encrypted."""
    if not item.at("kmsMasterKeyId") and not item.at("sqsManagedSseEnabled"):
        yield "its messages aren't encrypted"


@each("database-private", Severity.CRITICAL, [2], "FSBP RDS.2; CKV_AWS_17", DATABASE)
def database_private(database: Item) -> Iterator[str]:
    """No database has a public address."""
    if database.at("publiclyAccessible") is True:
        yield "it can be reached from the internet"


@together("snapshots", Severity.HIGH, [32], "EBP; CKV_AWS_133", setting="lifetime")
def snapshots(stack: Stack) -> Iterator[tuple[Item, str]]:
    """Where durable, databases and file systems are backed up, but for a Lustre whose files are a bucket's."""
    plans = stack.of("aws:backup/selection:Selection")
    for item in stack.of(DATABASE, EFS, LUSTRE) if stack.durable() else ():
        if item.type == LUSTRE and stack.that_use(item, JOINED, "fileSystemId"):
            continue
        if not any(item.urn in plan.used("resources") or _chosen(plan, item) for plan in plans):
            yield item, "no backup plan has it"
        if item.type == DATABASE and not item.at("backupRetentionPeriod"):
            yield item, "it can't be restored to a moment: set backupRetentionPeriod"


def _chosen(plan: Item, item: Item) -> bool:
    """Whether one of the tags by which a selection takes resources is on this one."""
    provided, own = item.provider_tags(), item.at("tags") or {}
    return any(
        one.get("value") in (own.get(one.get("key")), provided.get(one.get("key")))
        for one in listed(plan.at("selectionTags"))
    )


@each("ecr-immutable-scanned", Severity.HIGH, [23], "CIS 5.1.1; CKV_AWS_51, 136, 163", REPOSITORY)
def images(repository: Item) -> Iterator[str]:
    """A tag of an image stays what it is, every image is scanned, and all are encrypted with a key of our own."""
    if repository.at("imageTagMutability") != "IMMUTABLE":
        yield "somebody could put another image under a tag: its tags are mutable"
    if repository.at("imageScanningConfiguration", "scanOnPush") != True:  # noqa: E712
        yield "its images aren't scanned"
    kinds = listed(repository.at("encryptionConfigurations"))
    if not any(one.get("encryptionType") == "KMS" and one.get("kmsKey") for one in kinds):
        yield "its images aren't encrypted with a key of our own"


@together("ecr-lifecycle", Severity.MEDIUM, [23], "FSBP ECR.3", setting="registry.keep_images")
def images_expire(stack: Stack) -> Iterator[tuple[Item, str]]:
    """Every repository lets go of old images."""
    for repository in stack.of(REPOSITORY):
        if not stack.that_use(repository, "aws:ecr/lifecyclePolicy:LifecyclePolicy", "repository"):
            yield repository, "its images stay for ever"
