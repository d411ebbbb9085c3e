"""modelyard doctor ENV: the cloud held against what an environment's plan needs."""

import socket
from datetime import date

import boto3
import pytest
from botocore.stub import Stubber

from infra.settings.environment import ExistingNetwork, Reservation
from infra.settings.stacks import EnvironmentStack, load
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


def test_an_answer_that_is_not_aws_is_told(cloud, monkeypatch):
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>no way</html")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        check = cloud_checks.identity(boto3.Session(region_name="us-east-1"), "123456789012")
        server.shutdown()
    assert (check.found, check.ok) == ("what answers is not AWS", False)


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
    assert isinstance(stack, EnvironmentStack)
    stack.profiles["h100"] = stack.profiles["h100"].model_copy(update={"instance_types": ("p4de.24xlarge",)})
    checks = {check.name: check for check in cloud_checks.offerings(cloud, stack, {"use1-az1", "use1-az2"})}
    assert checks["profile a10g"].ok
    assert "use1-az6" in checks["profile h100"].remedy


class Place:
    """A VPC as it should be, with parts that a test can spoil."""

    def __init__(self, cloud, *, size=24, zones=("us-east-1a", "us-east-1b")):
        self.ec2 = cloud.client("ec2")
        self.vpc = self.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        self.ec2.modify_vpc_attribute(VpcId=self.vpc, EnableDnsHostnames={"Value": True})
        self.private = [self.subnet(f"10.9.{n}.0/{size}", zone, "internal-elb") for n, zone in enumerate(zones)]
        self.public = self.subnet("10.9.9.0/24", zones[0], "elb")
        address = self.ec2.allocate_address(Domain="vpc")["AllocationId"]
        nat = self.ec2.create_nat_gateway(SubnetId=self.public, AllocationId=address)["NatGateway"]["NatGatewayId"]
        (main,) = self.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [self.vpc]}])["RouteTables"]
        self.main = main["RouteTableId"]
        self.ec2.create_route(RouteTableId=self.main, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat)

    def subnet(self, cidr, zone, role):
        made = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=cidr, AvailabilityZone=zone)["Subnet"]["SubnetId"]
        self.ec2.create_tags(Resources=[made], Tags=[{"Key": f"kubernetes.io/role/{role}", "Value": "1"}])
        return made

    def settings(self, **changes):
        given = {"vpc": self.vpc, "private_subnets": tuple(self.private), "public_subnets": (self.public,)}
        return ExistingNetwork(**given | changes)


@pytest.fixture
def wrong(cloud, settings):
    """What is wrong with an existing network: remedies by check."""

    def found(network):
        checks = cloud_checks.network(cloud, settings.model_copy(update={"network": network}))
        return {check.name: f"{check.found}; {check.remedy}" for check in checks if not check.ok}

    return found


def test_an_existing_network_that_is_like_one_of_ours_is_fine(cloud, wrong):
    assert wrong(Place(cloud).settings()) == {}


def test_an_existing_network_has_to_have_its_subnets_in_its_vpc_and_in_two_zones(cloud, wrong):
    place = Place(cloud)
    assert (
        "EKS wants private subnets in two zones" in wrong(Place(cloud, zones=["us-east-1a"] * 2).settings())["network"]
    )
    same = place.settings(intra_subnets=(place.private[0],))
    assert "EKS wants intra subnets in two zones" in wrong(same)["network"]
    assert "is not in vpc-00000000" in wrong(place.settings(vpc="vpc-00000000"))["network"]
    assert wrong(place.settings(private_subnets=(place.private[0], "subnet-00000000"))).keys() == {"network"}


def test_nodes_in_an_existing_network_need_a_way_out_that_wants_no_public_address(cloud, wrong):
    place = Place(cloud)
    table = place.ec2.create_route_table(VpcId=place.vpc)["RouteTable"]["RouteTableId"]
    place.ec2.associate_route_table(RouteTableId=table, SubnetId=place.private[1])
    assert f"none from {place.private[1]};" in wrong(place.settings())["network way out"]
    internet = place.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    place.ec2.attach_internet_gateway(InternetGatewayId=internet, VpcId=place.vpc)
    place.ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=internet)
    assert f"none from {place.private[1]};" in wrong(place.settings())["network way out"]


@pytest.mark.parametrize("name", ["EnableDnsSupport", "EnableDnsHostnames"])
def test_an_existing_network_resolves_names(cloud, wrong, name):
    place = Place(cloud)
    place.ec2.modify_vpc_attribute(VpcId=place.vpc, **{name: {"Value": False}})
    assert f"set e{name[1:]} on {place.vpc}" in wrong(place.settings())["network names"]


def test_an_existing_network_has_room_for_pods(cloud, wrong):
    assert "name subnets with 64 or more" in wrong(Place(cloud, size=27).settings())["network addresses"]


@pytest.mark.parametrize(("which", "role"), [("private", "internal-elb"), ("public", "elb")])
def test_load_balancers_find_the_subnets_of_an_existing_network(cloud, wrong, which, role):
    place = Place(cloud)
    subnet = place.public if which == "public" else place.private[0]
    place.ec2.delete_tags(Resources=[subnet], Tags=[{"Key": f"kubernetes.io/role/{role}"}])
    assert wrong(place.settings()).keys() == {"network tags"}
    assert f"{subnet} has no kubernetes.io/role/{role};" in wrong(place.settings())["network tags"]


def test_profiles_are_held_against_the_zones_of_an_existing_network(cloud, settings, checkout):
    zones = {
        one["ZoneName"]: one["ZoneId"] for one in cloud.client("ec2").describe_availability_zones()["AvailabilityZones"]
    }
    there = settings.model_copy(update={"network": Place(cloud).settings()})
    assert cloud_checks.zones_there(cloud, there) == {zones["us-east-1a"], zones["us-east-1b"]}
    assert cloud_checks.zones_there(cloud, settings) == set()


@pytest.mark.parametrize(
    ("statuses", "found"),
    [
        ({"environment": "Active", "project": "Active"}, "environment and project are active"),
        ({"environment": "Active", "project": "Inactive"}, "project not active"),
        ({}, "environment and project not active"),
    ],
)
def test_budgets_count_nothing_until_their_tags_are_active_and_doctor_says_so(cloud, statuses, found):
    client = cloud.client("ce")
    tags = [{"TagKey": key, "Type": "UserDefined", "Status": status} for key, status in statuses.items()]
    with Stubber(client) as stub:
        asked = {"TagKeys": ["environment", "project"], "Type": "UserDefined"}
        stub.add_response("list_cost_allocation_tags", {"CostAllocationTags": tags}, asked)
        check = cloud_checks.cost_tags(_Session(client))
    assert check.found == found
    assert check.ok == ("are active" in found)
    assert check.ok or "activate_cost_tags: true" in check.remedy


def test_a_member_account_that_may_not_read_the_cost_tags_is_sent_to_the_paying_one(cloud):
    client = cloud.client("ce")
    with Stubber(client) as stub:
        stub.add_client_error("list_cost_allocation_tags", "AccessDeniedException")
        check = cloud_checks.cost_tags(_Session(client))
    assert "ask the paying account for environment and project" in check.remedy


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
