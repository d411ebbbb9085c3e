"""What is kept."""

from collections.abc import Iterator

from pulumi_policy import Severity

from infra.policy.control import Item, Stack, together

CLUSTER = "aws:eks/cluster:Cluster"
DATABASE = "aws:rds/instance:Instance"
HOLDS_DATA = (
    CLUSTER,
    DATABASE,
    "aws:backup/vault:Vault",
    "aws:efs/fileSystem:FileSystem",
    "aws:fsx/lustreFileSystem:LustreFileSystem",
    "aws:kms/key:Key",
    "aws:s3/bucket:Bucket",
)


@together("durable-protected", Severity.HIGH, [34], "Pulumi docs", setting="lifetime")
def protected(stack: Stack) -> Iterator[tuple[Item, str]]:
    """Where durable, Pulumi deletes no key, bucket, database, file system, backup or cluster."""
    for item in stack.of(*HOLDS_DATA) if stack.durable() else ():
        if not item.protected:
            yield item, "Pulumi may delete it: it isn't protected"


@together("durable-deletion-protection", Severity.HIGH, [35], "AWS; CKV_AWS_293", setting="lifetime")
def deletion_protection(stack: Stack) -> Iterator[tuple[Item, str]]:
    """Where durable, AWS itself refuses to delete the cluster and the databases."""
    for item in stack.of(CLUSTER, DATABASE) if stack.durable() else ():
        if item.at("deletionProtection") != True:  # noqa: E712 an unknown is equal to everything
            yield item, "AWS would delete it at once: set deletionProtection"
        if item.type == DATABASE and item.at("skipFinalSnapshot") is True:
            yield item, "nothing is left of it when it is deleted: it makes no final snapshot"
