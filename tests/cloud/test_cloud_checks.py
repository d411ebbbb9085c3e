"""modelyard doctor ENV: the cloud held against what an environment's plan needs."""

import socket
from datetime import date

import pytest
from botocore.stub import Stubber

from infra.settings.environment import ExistingNetwork, Reservation
from infra.settings.stacks import load
from modelyard import cloud_checks
from modelyard.plan.plan import plan


@pytest.fixture(scope="module")
def planned():
    from pathlib import Path

    return plan(Path(__file__).parents[2], "dev", today=date(2026, 11, 21))


@pytest.fixture
def settings(checkout):
    return load(checkout / "stacks", "dev").settings


def test_credentials_of_the_right_account_are_fine_and_others_are_named(cloud):
    assert cloud_checks.identity(cloud, "123456789012").ok
    wrong = cloud_checks.identity(cloud, "999999999999")
    assert (wrong.found, wrong.ok) == ("account 123456789012", False)
    assert "999999999999" in wrong.remedy


def test_without_credentials_nothing_else_is_asked(cloud, planned, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    checks = list(cloud_checks.check_cloud(planned))
    assert [check.name for check in checks] == ["pulumi", "credentials"]
    assert "aws sso login" in checks[1].remedy


def test_an_environment_is_held_against_the_accounts_quotas_and_offerings(cloud, planned):
    checks = {check.name: check for check in cloud_checks.check_cloud(planned)}
    assert {f"quota {need.code}" for need in planned.quotas} <= checks.keys()
    assert checks["profile a10g"].ok
    assert checks["API server"].found == "there is no cluster dev-cluster yet"


def test_a_quota_that_is_too_small_is_told_with_the_request_that_raises_it(cloud, planned):
    client = cloud.client("service-quotas")
    (need,) = [one for one in planned.quotas if one.name == "Running On-Demand G and VT instances"]
    with Stubber(client) as stub:
        for one in planned.quotas:
            stub.add_response("get_service_quota", {"Quota": {"Value": 1.0 if one is need else 1e6}})
        checks = list(cloud_checks.quotas(_Session(client), planned))
    (bad,) = [check for check in checks if not check.ok]
    assert bad.name == f"quota {need.code}"
    assert f"--quota-code {need.code} --desired-value {need.needed:g}" in bad.remedy


def test_a_quota_that_may_not_be_read_is_told_with_the_right_that_is_missing(cloud, planned):
    client = cloud.client("service-quotas")
    with Stubber(client) as stub:
        for _ in planned.quotas:
            stub.add_client_error("get_service_quota", "AccessDeniedException")
        assert all(
            "allow servicequotas:GetServiceQuota" in one.remedy
            for one in cloud_checks.quotas(_Session(client), planned)
        )


def test_a_profile_that_none_of_the_zones_offers_is_told_with_those_that_do(cloud, checkout):
    stack = load(checkout / "stacks", "prod")
    stack.profiles["h100"] = stack.profiles["h100"].model_copy(update={"instance_types": ("p4de.24xlarge",)})
    checks = {check.name: check for check in cloud_checks.offerings(cloud, stack, {"use1-az1", "use1-az2"})}
    assert checks["profile a10g"].ok
    assert "use1-az6" in checks["profile h100"].remedy


def test_an_existing_network_has_to_have_its_subnets_in_two_zones(cloud, settings):
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{number}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for number, zone in enumerate(("us-east-1a", "us-east-1a", "us-east-1b"))
    ]

    def found(vpc, *ids):
        network = ExistingNetwork(vpc=vpc, private_subnets=ids)
        (check,) = cloud_checks.network(cloud, settings.model_copy(update={"network": network}))
        return check

    assert found(vpc, subnets[0], subnets[2]).ok
    assert found(vpc, subnets[0], subnets[1]).remedy == "EKS wants private subnets in two zones"
    assert "is not in vpc-00000000" in found("vpc-00000000", subnets[0], subnets[2]).found
    assert not found(vpc, subnets[0], "subnet-00000000").ok


def test_a_reservation_that_is_smaller_than_the_ceiling_is_told(cloud, settings):
    client = cloud.client("ec2")
    capacity = settings.hardware["a10g"].model_copy(
        update={"max": {"reserved": 4}, "reservation": Reservation(tags={"team": "ml"})}
    )
    wanted = settings.model_copy(update={"hardware": {"a10g": capacity}})
    asked = {"Filters": [{"Name": "state", "Values": ["active", "scheduled"]}, {"Name": "tag:team", "Values": ["ml"]}]}
    with Stubber(client) as stub:
        stub.add_response(
            "describe_capacity_reservations", {"CapacityReservations": [{"TotalInstanceCount": 3}]}, asked
        )
        (check,) = cloud_checks.reservations(_Session(client), wanted)
    assert (check.found, check.remedy) == ("3 of 4 nodes", "reserve 4, or lower hardware.a10g.max")


def test_an_api_server_out_of_reach_is_one_sentence_with_the_way_in(settings):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        open_port = listener.getsockname()[1]
        assert cloud_checks.reachable(f"https://127.0.0.1:{open_port}", settings).ok
    closed = f"https://127.0.0.1:{open_port}"
    assert "203.0.113.0/24" in cloud_checks.reachable(closed, settings).remedy
    private = settings.model_copy(update={"cluster": settings.cluster.model_copy(update={"public_access_from": ()})})
    assert "`cluster: {runner: true}` makes a machine" in cloud_checks.reachable(closed, private).remedy
    assert "can't be reached" in cloud_checks.reachable("https://nowhere.invalid", private).found


class _Session:
    """A session that has one client."""

    def __init__(self, client):
        self._client = client

    def client(self, _):
        return self._client
