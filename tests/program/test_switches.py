"""What both switches change: nothing protected is dropped, and nothing is replaced."""

import pytest

from modelyard.plan.graph import Graph
from tests.program.test_environments import planned

IN_PLACE = {
    "aws:backup/plan:Plan": {"rules"},
    "aws:backup/vault:Vault": {"forceDestroy"},
    "aws:backup/vaultLockConfiguration:VaultLockConfiguration": {"changeableForDays"},  # ignored: see test_backup
    "aws:cloudwatch/logGroup:LogGroup": {"retentionInDays"},
    "aws:ec2/vpcEndpoint:VpcEndpoint": {"policy"},
    "aws:ecr/repository:Repository": {"forceDelete"},
    "aws:eks/cluster:Cluster": {"deletionProtection"},
    "aws:kms/key:Key": {"deletionWindowInDays"},
    "aws:rds/instance:Instance": {
        "backupRetentionPeriod",
        "deleteAutomatedBackups",
        "deletionProtection",
        "multiAz",
        "skipFinalSnapshot",
    },
    "aws:s3/bucket:Bucket": {"forceDestroy"},
    "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration": {"rule"},
    "aws:s3/bucketPolicy:BucketPolicy": {"policy"},
}
"""Inputs that change in place: without ForceNew in terraform-provider-aws, internal/service; read 2026-11-21."""


@pytest.fixture(scope="module")
def prod() -> Graph:
    return planned("prod", lifetime="durable", security="hardened")


@pytest.mark.parametrize("after", [("throwaway", "hardened"), ("durable", "standard"), ("throwaway", "standard")])
def test_both_switches_go_both_ways_with_nothing_protected_dropped_and_nothing_replaced(prod, after):
    lifetime, security = after
    one = {resource.urn: resource for resource in prod.resources}
    other = {resource.urn: resource for resource in planned("prod", lifetime=lifetime, security=security).resources}
    for old, new in ((one, other), (other, one)):
        dropped = [urn for urn in old.keys() - new.keys() if old[urn].protect]
        assert not dropped, "up refuses to delete what its state protects"
    replaced = [
        (urn, key)
        for urn in one.keys() & other.keys()
        for key in one[urn].inputs.keys() | other[urn].inputs.keys()
        if one[urn].inputs.get(key) != other[urn].inputs.get(key)
        and one[urn].custom
        and key not in IN_PLACE.get(one[urn].type, ())
    ]
    assert not replaced, "find out whether it changes in place, and say so in IN_PLACE"
