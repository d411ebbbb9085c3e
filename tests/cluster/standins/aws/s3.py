"""Buckets and what is set on them, by S3's API."""

from collections.abc import Mapping
from typing import Any

from tests.cluster.standins.aws.api import Api, Kind, Op, Tagging

BUCKET = {"Bucket": "{bucket}"}


def _emptied(api: Api, values: Mapping[str, Any]) -> None:
    if not values.get("forceDestroy"):
        return
    client = api.client("s3")
    for page in client.get_paginator("list_object_versions").paginate(Bucket=values["id"]):
        for one in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            client.delete_object(Bucket=values["id"], Key=one["Key"], VersionId=one["VersionId"])


def _set(what: str, parameter: str, value: Any, answer: str, *, deletable: bool = True) -> Kind:
    """What is set on a bucket as a whole: putting it again changes it."""
    put = Op(f"put_{what}", {**BUCKET, parameter: value})
    return Kind(
        service="s3",
        id="{bucket}",
        create=put,
        update=put,
        read=(Op(f"get_{what}", BUCKET, answer),),
        delete=(Op(f"delete_{what.removesuffix('_configuration')}", BUCKET),) if deletable else (),
    )


BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")

KINDS: dict[str, Kind] = {
    "aws:s3/bucket:Bucket": Kind(
        service="s3",
        id="{bucket}",
        create=Op(
            "create_bucket",
            {**BUCKET, "ObjectLockEnabledForBucket": "{objectLockEnabled}", "CreateBucketConfiguration": "{location}"},
        ),
        after=(Op("put_bucket_tagging", {"Bucket": "{id}", "Tagging": {"TagSet": "{tags}"}}),),
        read=(
            Op("head_bucket", {"Bucket": "{id}"}, "{bucketRegion: BucketRegion}"),
            Op("get_bucket_tagging", {"Bucket": "{id}"}, "{tags: TagSet}"),
        ),
        delete=(Op("delete_bucket", {"Bucket": "{id}"}),),
        emptied=_emptied,
        tagging=Tagging(
            Op("put_bucket_tagging", {"Bucket": "{id}", "Tagging": {"TagSet": "{tags}"}}),
            Op("delete_bucket_tagging", {"Bucket": "{id}"}),
        ),
        own=("forceDestroy",),
    ),
    "aws:s3/bucketVersioning:BucketVersioning": _set(
        "bucket_versioning",
        "VersioningConfiguration",
        "{versioningConfiguration}",
        "{versioningConfiguration: {status: Status}}",
        deletable=False,
    ),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": _set(
        "bucket_encryption",
        "ServerSideEncryptionConfiguration",
        {"Rules": "{rules}"},
        "ServerSideEncryptionConfiguration.{rules: Rules}",
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": _set(
        "bucket_lifecycle_configuration", "LifecycleConfiguration", {"Rules": "{rules}"}, "{rules: Rules}"
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": _set(
        "bucket_ownership_controls",
        "OwnershipControls",
        {"Rules": ["{rule}"]},
        "{rule: OwnershipControls.Rules[0]}",
    ),
    "aws:s3/bucketPolicy:BucketPolicy": _set("bucket_policy", "Policy", "{policy}", "{policy: Policy}"),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": _set(
        "public_access_block",
        "PublicAccessBlockConfiguration",
        {name: f"{{{name}}}" for name in BLOCKS},
        "PublicAccessBlockConfiguration",
    ),
    "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration": _set(
        "object_lock_configuration",
        "ObjectLockConfiguration",
        {"ObjectLockEnabled": "Enabled", "Rule": "{rule}"},
        "{rule: ObjectLockConfiguration.Rule}",
        deletable=False,
    ),
}
