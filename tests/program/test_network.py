import json
from fnmatch import fnmatchcase
from functools import cache
from ipaddress import IPv4Network
from itertools import combinations

import pulumi
import pulumi_aws as aws
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.aws.network import Network, NetworkArgs, choose_zones, passes_to_s3, subnets
from infra.settings.base import Lifetime, Security
from infra.settings.environment import ExistingNetwork, NewNetwork
from modelyard.plan.graph import record

ACCOUNT = "123456789012"
ZONES = ("use1-az1", "use1-az2", "use1-az4")
EXISTING = ExistingNetwork(vpc="vpc-0a1b2c3d", private_subnets=("subnet-0a1b2c3d", "subnet-1a1b2c3d"))

six_zones = tuple(f"use1-az{number}" for number in range(1, 7))
zone_lists = st.lists(st.sampled_from(six_zones), unique=True, min_size=1)


@st.composite
def vpcs(draw):
    length = draw(st.integers(16, 20))
    within = IPv4Network(draw(st.sampled_from(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"])))
    number = draw(st.integers(0, 2 ** (length - within.prefixlen) - 1))
    return str(IPv4Network((int(within.network_address) + number * 2 ** (32 - length), length)))


def build(settings=None, *, security=Security.STANDARD, lifetime=Lifetime.THROWAWAY):
    return Network(
        "network",
        NetworkArgs(
            environment="dev",
            region="us-east-1",
            account_id=ACCOUNT,
            settings=settings or NewNetwork(),
            zones=ZONES,
            security=security,
            lifetime=lifetime,
        ),
    )


def recorded(program):
    graph = record(program, project="modelyard", stack="dev", config={"aws:region": "us-east-1"})
    return {resource.name: resource for resource in graph.resources}


@cache
def network(settings=None, **switches):
    return recorded(lambda: build(settings, **switches))


def of_type(resources, title):
    return {name: one for name, one in resources.items() if one.type.endswith(f":{title}")}


def leads_to(resources, subnet):
    """The targets of a subnet's routes."""
    (table,) = (
        one.inputs["routeTableId"]
        for one in of_type(resources, "RouteTableAssociation").values()
        if one.inputs["subnetId"] == subnet
    )
    return [
        one.inputs.get("gatewayId") or one.inputs.get("natGatewayId")
        for one in of_type(resources, "Route").values()
        if one.inputs["routeTableId"] == table
    ]


def upstream(resources, name):
    """Everything that has to be there before it, and goes after it."""
    found, waiting = set(), [name]
    while waiting:
        for urn in resources[waiting.pop()].dependencies:
            if (other := urn.rpartition("::")[2]) not in found:
                found.add(other)
                waiting.append(other)
    return found


@given(vpcs(), zone_lists)
def test_subnets_lie_in_the_vpc_and_apart_and_leave_room(cidr, zones):
    vpc = IPv4Network(cidr)
    ranges = [IPv4Network(one.cidr) for one in subnets(cidr, zones)]
    assert all(one.subnet_of(vpc) for one in ranges)
    assert not any(one.overlaps(other) for one, other in combinations(ranges, 2))
    assert sum(one.num_addresses for one in ranges) <= vpc.num_addresses * 7 / 8, "an eighth is for what nobody foresaw"


@given(vpcs(), zone_lists)
def test_each_zone_has_a_large_private_range_and_small_ones_that_aws_accepts(cidr, zones):
    for zone in zones:
        sizes = {one.kind: IPv4Network(one.cidr).num_addresses for one in subnets(cidr, [zone])}
        assert sizes["private"] == IPv4Network(cidr).num_addresses / 8
        assert sizes["public"] == sizes["intra"] >= 32, "EKS wants 16 free addresses, a load balancer 8"


@given(vpcs(), zone_lists, st.randoms())
def test_no_zone_moves_when_others_come_go_or_change_places(cidr, zones, random):
    others = random.sample(six_zones, random.randint(0, 6))
    more = list(dict.fromkeys([*others, *zones]))
    assert set(subnets(cidr, zones)) <= set(subnets(cidr, more)), "a subnet's range can't change: it would be replaced"


@pytest.mark.parametrize("zone", ["use1-az7", "use1-bos1", "us-east-1a", "use1-az12"])
def test_a_zone_that_has_no_place_is_refused(zone):
    with pytest.raises(ValueError, match=f"{zone} has no place in the VPC: az1 to az6 have one"):
        subnets("10.0.0.0/16", [zone])


wishes = st.dictionaries(st.sampled_from(["a10g", "h100", "l4", "cpu"]), st.frozensets(st.sampled_from(six_zones)))


@given(wishes, st.integers(2, 6), st.randoms())
def test_so_many_zones_are_chosen_that_every_profile_is_offered_or_none_could_be(wanted, number, random):
    usable = random.sample(six_zones, 6)
    try:
        chosen = choose_zones(NewNetwork(zones=number), wanted, usable)
    except ValueError:
        for possible in combinations(six_zones, number):
            assert not all(set(possible) & zones for zones in wanted.values()), "it gave up too soon"
    else:
        assert len(set(chosen)) == number
        assert all(set(chosen) & zones for zones in wanted.values())
        assert choose_zones(NewNetwork(zones=number), wanted, six_zones) == chosen, "the same from the same"


@given(wishes, st.integers(2, 5))
def test_more_zones_are_the_old_ones_and_then_more(wanted, number):
    try:
        before = choose_zones(NewNetwork(zones=number), wanted, six_zones)
    except ValueError:
        return
    assert choose_zones(NewNetwork(zones=number + 1), wanted, six_zones)[:number] == before


def test_zones_that_are_named_are_taken_as_they_stand():
    named = ("use1-az4", "use1-az2")
    assert choose_zones(NewNetwork(zones=named), {"a10g": {"use1-az2"}}, six_zones) == named


@pytest.mark.parametrize(
    ("zones", "wanted", "sentence"),
    [
        (
            3,
            {"h100": set()},
            r"the profile h100 is offered in no zone that EKS can use; the network's zones are use1-az1",
        ),
        (
            ("use1-az1", "use1-az2"),
            {"cpu": {"use1-az1"}, "h100": {"use1-az5", "use1-az4"}},
            "the profile h100 is offered only in use1-az4, use1-az5; the network's zones are use1-az1, use1-az2",
        ),
        (
            2,
            {"a": {"use1-az1"}, "b": {"use1-az2"}, "c": {"use1-az3"}},
            r"2 zones can't offer every profile \(a in use1-az1; b in use1-az2; c in use1-az3\); 3 can: use1-az1, ",
        ),
    ],
)
def test_an_impossible_wish_is_named_with_where_it_is_offered(zones, wanted, sentence):
    with pytest.raises(ValueError, match=sentence):
        choose_zones(NewNetwork(zones=zones), wanted, six_zones)


def test_more_zones_than_there_are_are_refused():
    with pytest.raises(ValueError, match="3 zones are wanted; EKS can use 2: use2-az1, use2-az2"):
        choose_zones(NewNetwork(zones=3), {}, ("use2-az2", "use2-az1"))


def test_private_subnets_lead_out_by_nat_public_ones_by_the_internet_gateway_and_intra_ones_nowhere():
    resources = network(NewNetwork(nat="per-zone"))
    for zone in ("az1", "az2", "az4"):
        assert leads_to(resources, f"network-private-{zone}") == [f"network-nat-{zone}"]
        assert leads_to(resources, f"network-public-{zone}") == ["network-internet"]
        assert leads_to(resources, f"network-intra-{zone}") == []
        assert resources[f"network-nat-{zone}"].inputs["subnetId"] == f"network-public-{zone}"


@pytest.mark.parametrize(
    ("lifetime", "wanted", "number"),
    [
        (Lifetime.THROWAWAY, None, 1),
        (Lifetime.DURABLE, None, 3),
        (Lifetime.DURABLE, "one", 1),
        (Lifetime.THROWAWAY, "per-zone", 3),
    ],
)
def test_a_durable_network_outlives_a_zone_unless_told_otherwise(lifetime, wanted, number):
    resources = network(NewNetwork(nat=wanted), lifetime=lifetime)
    assert len(of_type(resources, "NatGateway")) == len(of_type(resources, "Eip")) == number
    assert all(leads_to(resources, f"network-private-{zone}") for zone in ("az1", "az2", "az4"))


def test_subnets_are_asked_for_by_zone_id_and_nothing_in_them_gets_a_public_address_by_itself():
    made = of_type(network(), "Subnet")
    assert len(made) == 9
    assert {one.inputs["availabilityZoneId"] for one in made.values()} == set(ZONES)
    assert all(one.inputs["mapPublicIpOnLaunch"] is False for one in made.values())


def test_what_is_put_into_a_private_subnet_comes_after_its_way_out_and_goes_before_it():
    def program():
        made = build(NewNetwork(nat="per-zone"))
        aws.ec2.NetworkInterface("node", subnet_id=made.private_subnet_ids[1])

    assert {"network-private-az2-out", "network-nat-az2", "network-public-out", "network-internet"} <= upstream(
        recorded(program), "node"
    ), "a node that starts without a way out never joins, and load balancers outlive a VPC that went first"


def test_load_balancers_and_karpenter_find_their_subnets_and_nothing_finds_the_intra_ones():
    resources = network()
    tags = {kind: resources[f"network-{kind}-az1"].inputs["tags"] for kind in ("private", "public", "intra")}
    assert tags["private"].items() >= {"kubernetes.io/role/internal-elb": "1", "karpenter.sh/discovery": "dev"}.items()
    assert tags["public"]["kubernetes.io/role/elb"] == "1"
    assert "karpenter.sh/discovery" not in tags["public"], "a node there would stand on the internet's side"
    assert list(tags["intra"]) == ["Name"]


def test_the_vpcs_defaults_are_closed():
    resources = network()
    group, table, acl = (resources[f"network-default-{part}"].inputs for part in ("security-group", "routes", "acl"))
    assert group["ingress"] == group["egress"] == []
    assert table["routes"] == []
    first: dict[int, str] = {}
    for rule in sorted(acl["ingress"], key=lambda rule: rule["ruleNo"]):
        if rule["cidrBlock"] == "0.0.0.0/0":
            for port in (22, 443) if rule["protocol"] == "-1" else (rule["fromPort"],):
                first.setdefault(port, rule["action"])
    assert first == {22: "deny", 443: "allow"}, "the first rule that matches decides"


def test_no_answer_to_a_nat_gateway_is_dropped_on_its_way_back():
    rules = network()["network-default-acl"].inputs["ingress"]
    denied = [rule for rule in rules if rule["action"] == "deny"]
    assert all(0 < rule["toPort"] < 1024 for rule in denied), "an ACL keeps no state: answers come to 1024 to 65535"


def test_endpoints_let_in_https_from_the_vpc_alone_and_nothing_out():
    resources = network(NewNetwork(cidr="10.70.0.0/16"))
    (rule,) = resources["network-endpoints"].inputs["ingress"]
    assert (rule["fromPort"], rule["toPort"], rule["protocol"]) == (443, 443, "tcp")
    assert rule["cidrBlocks"] == ["10.70.0.0/16"]
    assert resources["network-endpoints"].inputs["egress"] == []
    for endpoint in of_type(resources, "VpcEndpoint").values():
        if endpoint.inputs["vpcEndpointType"] == "Interface":
            assert endpoint.inputs["securityGroupIds"] == ["network-endpoints"]
            assert endpoint.inputs["privateDnsEnabled"] is True
            assert len(endpoint.inputs["subnetIds"]) == 3


def services(resources):
    endpoints = of_type(resources, "VpcEndpoint").values()
    return {one.inputs["serviceName"].removeprefix("com.amazonaws.us-east-1.") for one in endpoints}


def test_names_in_the_vpc_lead_to_the_endpoints():
    vpc = network()["network-vpc"].inputs
    assert vpc["enableDnsSupport"] is vpc["enableDnsHostnames"] is True, "private names of endpoints need both"


def test_what_every_pod_calls_is_in_the_vpc_and_more_where_hardened():
    usual = {"s3", "ecr.api", "ecr.dkr", "eks-auth", "logs", "sts"}
    assert services(network()) == usual
    hardened = services(network(security=Security.HARDENED))
    assert hardened > usual | {"ec2", "kms", "secretsmanager", "sqs", "ssm", "ssmmessages"}
    assert "eks" not in hardened, "its private name hides the OIDC issuer from the whole VPC"


def test_every_route_table_leads_to_s3_by_the_endpoint():
    resources = network()
    assert set(resources["network-endpoint-s3"].inputs["routeTableIds"]) == set(of_type(resources, "RouteTable"))


def passes(security, action, resource, **context):
    """As IAM decides: some statement allows it, and all its conditions hold."""
    return any(
        any(fnmatchcase(action, pattern) for pattern in statement["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in statement["Resource"])
        and all(
            context.get(key) == value for key, value in statement.get("Condition", {}).get("StringEquals", {}).items()
        )
        for statement in passes_to_s3(ACCOUNT, "us-east-1", security)["Statement"]
    )


OURS = {"aws:PrincipalAccount": ACCOUNT}
THEIRS = {"aws:PrincipalAccount": "999999999999"}
IN_OURS = {"aws:ResourceAccount": ACCOUNT}
IN_THEIRS = {"aws:ResourceAccount": "999999999999"}


@pytest.mark.parametrize("security", list(Security))
@pytest.mark.parametrize("caller", [OURS, THEIRS, {}], ids=["ours", "theirs", "nobody"])
@pytest.mark.parametrize("action", ["s3:PutObject", "s3:PutObjectAcl", "s3:DeleteObject", "s3:CreateBucket"])
def test_nothing_is_written_to_another_accounts_bucket(security, caller, action):
    assert not passes(security, action, "arn:aws:s3:::theirs/data", **caller, **IN_THEIRS)


@pytest.mark.parametrize("security", list(Security))
def test_our_identities_use_our_buckets_and_read_others(security):
    assert passes(security, "s3:PutObject", "arn:aws:s3:::ours/data", **OURS, **IN_OURS)
    assert passes(security, "s3:GetObject", "arn:aws:s3:::open-data/file", **OURS, **IN_THEIRS)


def test_hardened_nobody_elses_identity_reads_or_writes_but_images_and_packages_come_through():
    layer = "arn:aws:s3:::prod-us-east-1-starport-layer-bucket/layer"
    assert passes(Security.STANDARD, "s3:GetObject", "arn:aws:s3:::open-data/file", **IN_THEIRS)
    assert not passes(Security.HARDENED, "s3:GetObject", "arn:aws:s3:::open-data/file", **IN_THEIRS)
    assert not passes(Security.HARDENED, "s3:PutObject", "arn:aws:s3:::ours/data", **THEIRS, **IN_OURS)
    assert passes(Security.HARDENED, "s3:GetObject", layer, **IN_THEIRS), "without its layers no image is pulled"
    kubernetes = "arn:aws:s3:::prod-registry-k8s-io-us-east-1/containers/images/sha256:0a"
    assert passes(Security.HARDENED, "s3:GetObject", kubernetes, **IN_THEIRS), "registry.k8s.io sends everybody there"
    assert not passes(Security.HARDENED, "s3:PutObject", layer, **IN_THEIRS)


def test_the_one_bucket_of_registry_k8s_io_that_is_named_otherwise_is_read_too():
    named = [resource for one in passes_to_s3(ACCOUNT, "eu-west-2", Security.HARDENED)["Statement"]
             for resource in one["Resource"]]  # fmt: skip
    assert "arn:aws:s3:::767373bbdcb8270361b96548387bf2a9ad0d48758c35-eu-west-2/*" in named


def test_the_s3_endpoint_has_that_policy():
    policy = json.loads(network(security=Security.HARDENED)["network-endpoint-s3"].inputs["policy"])
    assert policy == passes_to_s3(ACCOUNT, "us-east-1", Security.HARDENED)


def test_all_traffic_is_logged_for_a_year_or_more_under_a_key_of_its_own():
    resources = network()
    assert resources["network-flow-log"].inputs["trafficType"] == "ALL"
    group = resources["network-flow-logs"].inputs
    assert group["retentionInDays"] >= 365
    assert group["kmsKeyId"].endswith("key/network-logs-key")
    assert network(security=Security.HARDENED)["network-flow-logs"].inputs["retentionInDays"] > 365


def test_flow_logs_may_write_their_own_group_and_no_other():
    resources = network()
    statements = json.loads(resources["network-flow-logs-policy"].inputs["policy"])["Statement"]
    group = resources["network-flow-logs"].outputs["arn"]
    for statement in statements:
        if not all(action.startswith("logs:Describe") for action in statement["Action"]):
            assert set(statement["Resource"]) == {group, f"{group}:*"}
    trust = json.loads(resources["network-flow-logs-role"].inputs["assumeRolePolicy"])["Statement"][0]
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
    assert trust["Principal"] == {"Service": "vpc-flow-logs.amazonaws.com"}
    assert "network-flow-logs-policy" in upstream(resources, "network-flow-log"), "the first flows would be lost"


def test_durable_logs_outlive_their_stack_and_throwaway_ones_go_with_it():
    for lifetime in Lifetime:
        group = network(lifetime=lifetime)["network-flow-logs"]
        assert (group.protect, group.retain_on_delete) == (lifetime.durable, lifetime.durable)


def test_of_an_existing_network_nothing_is_made_and_its_ids_are_handed_on():
    def program():
        taken = build(EXISTING)
        pulumi.export("ids", [taken.vpc_id, *taken.private_subnet_ids, *taken.public_subnet_ids])
        pulumi.export("intra", taken.intra_subnet_ids)

    graph = record(program, project="modelyard", stack="dev", config={})
    assert [resource.type for resource in graph.resources] == ["modelyard:aws:Network"]
    assert graph.outputs["ids"] == ["vpc-0a1b2c3d", "subnet-0a1b2c3d", "subnet-1a1b2c3d"]
    assert graph.outputs["intra"] == list(EXISTING.private_subnets), "without intra subnets the private ones serve"


def test_every_part_is_the_networks_own():
    for resource in network().values():
        assert resource.name.startswith("network")
        assert resource.type == "modelyard:aws:Network" or resource.parent
