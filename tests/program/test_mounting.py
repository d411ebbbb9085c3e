from typing import Any

from infra.environment import mount_subnets
from infra.settings.environment import AwsEnvironment
from tests.settings.test_environment import SUBNETS, environment

EXISTING = {"vpc": "vpc-0aaaaaaa", "private_subnets": SUBNETS}


def mounted(settings: AwsEnvironment, zones: tuple[str, ...] = ()) -> dict[str, Any]:
    return mount_subnets(settings, zones, [f"subnet-of-{zone}" for zone in zones] or SUBNETS)


def test_a_new_network_is_mounted_in_once_a_zone_and_called_by_the_zone_so_that_another_zone_moves_none():
    both = mounted(environment(), ("use1-az1", "use1-az4"))
    assert both == {"az1": "subnet-of-use1-az1", "az4": "subnet-of-use1-az4"}
    assert mounted(environment(), ("use1-az4", "use1-az6"))["az4"] == both["az4"]


def test_an_existing_network_is_mounted_in_where_it_is_told_because_efs_takes_one_subnet_a_zone():
    one_a_zone = {"file_system": {"kind": "efs", "subnets": SUBNETS[:2]}}
    assert mounted(environment(network=EXISTING, storage=one_a_zone)) == {each: each for each in SUBNETS[:2]}
    assert set(mounted(environment(network=EXISTING))) == set(SUBNETS)
