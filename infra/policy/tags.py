"""Whose it is, who pays for it, and what data it holds."""

from collections.abc import Iterator

from pulumi_policy import Severity

from infra.policy.control import ENVIRONMENT, Item, Stack, each, together

REQUIRED = ("owner", "cost-center")
HOLDS_DATA = (
    "aws:efs/fileSystem:FileSystem",
    "aws:fsx/lustreFileSystem:LustreFileSystem",
    "aws:rds/instance:Instance",
    "aws:s3/bucket:Bucket",
)
CLASSES = ("public", "internal", "confidential")


@together("owner-tags", Severity.MEDIUM, [39], "FSBP", setting="owner")
def owner_tags(stack: Stack) -> Iterator[tuple[Item, str]]:
    """Every resource says whose it is and who pays for it: its provider gives it these tags."""
    wanted = (*REQUIRED, "environment") if stack.of(ENVIRONMENT) else REQUIRED
    for item in stack.one_a_provider("aws:"):
        tags = item.provider_tags()
        if missing := [tag for tag in wanted if not tags.get(tag)]:
            yield item, f"its provider gives it no tag {', '.join(missing)}"


@each("data-class", Severity.LOW, [39], "FSBP", *HOLDS_DATA)
def data_class(item: Item) -> Iterator[str]:
    """What holds data says of what kind it is."""
    if item.at("tags", "data-class") not in CLASSES:
        yield f"its tag data-class has to be one of {', '.join(CLASSES)}"
