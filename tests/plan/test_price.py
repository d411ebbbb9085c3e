"""What a month costs, by the catalog's own prices."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from infra import catalog
from infra.settings.base import Rung
from infra.settings.environment import Capacity
from infra.settings.stacks import load, names
from modelyard.plan.plan import graph_of
from modelyard.plan.price import FREE, RULES, Sizes, expected_nodes, price
from tests.plan.planning import CPU, ENVIRONMENT_COMPONENT, component, graph, resource, stack

PROJECT = Path(__file__).parents[2]
REGION = "us-east-1"
QUIET = {"threat_detection": False}


def usd(item):
    found = catalog.unit_price(REGION, item)
    assert found is not None, f"the catalog has no {item} in {REGION}"
    return found.usd


def hour(instance_type, capacity="on-demand"):
    return catalog.hourly_usd(REGION, instance_type, capacity)


def sizes(minimum, expected, maximum):
    return pytest.approx((minimum, expected, maximum))


def seen(sizes):
    return (sizes.minimum, sizes.expected, sizes.maximum)


def line(bill, what):
    (found,) = [line for line in bill.lines if line.charge.what == what]
    return found


def test_what_runs_costs_the_same_at_every_size_and_lines_of_a_kind_are_one(tmp_path):
    nats = [resource("aws:ec2/natGateway:NatGateway", f"network-nat-{zone}", "network") for zone in "ab"]
    bill = price(graph(ENVIRONMENT_COMPONENT, component("network"), *nats), stack(tmp_path))
    found = line(bill, "NAT gateways")
    assert seen(found.charge.quantity) == (1460, 1460, 1460), "two gateways for 730 hours"
    assert seen(found.usd) == sizes(*[1460 * usd("nat-gateway-hour")] * 3)
    assert found.charge.component == "network"


def test_an_estimate_is_counted_once_however_many_resources_share_it(tmp_path):
    nats = [resource("aws:ec2/natGateway:NatGateway", f"network-nat-{zone}", "network") for zone in "abc"]
    settings = stack(tmp_path, usage={"nat_gb": {"expected": 300, "max": 900}})
    bill = price(graph(ENVIRONMENT_COMPONENT, component("network"), *nats), settings)
    assert seen(line(bill, "NAT traffic").usd) == sizes(0, 300 * usd("nat-gateway-gb"), 900 * usd("nat-gateway-gb"))


def test_interface_endpoints_cost_in_each_zone_and_gateways_nothing(tmp_path):
    kind = "aws:ec2/vpcEndpoint:VpcEndpoint"
    bill = price(
        graph(
            resource(kind, "network-sts", vpcEndpointType="Interface", subnetIds=["a", "b", "c"]),
            resource(kind, "network-s3", vpcEndpointType="Gateway"),
        ),
        stack(tmp_path, account=QUIET),
    )
    assert line(bill, "interface endpoints").charge.quantity == Sizes(2190, 2190, 2190)


def test_system_nodes_cost_from_their_least_to_their_most_with_their_disks(tmp_path):
    group = resource(
        "aws:eks/nodeGroup:NodeGroup",
        "nodes-system",
        instanceTypes=["m7i.large", "m7i.xlarge"],
        scalingConfig={"minSize": 2, "desiredSize": 3, "maxSize": 5},
        launchTemplate={"id": "nodes-template-id"},
    )
    template = resource(
        "aws:ec2/launchTemplate:LaunchTemplate",
        "nodes-template",
        blockDeviceMappings=[{"ebs": {"volumeSize": 40, "volumeType": "gp3"}}],
    )
    bill = price(graph(template, group), stack(tmp_path, account=QUIET))
    nodes = [730 * number * hour("m7i.large") for number in (2, 3, 5)]
    assert seen(line(bill, "system nodes m7i.large").usd) == sizes(*nodes)
    disks = next(one for one in bill.lines if one.charge.what == "root volumes" and not one.charge.profile)
    assert seen(disks.usd) == sizes(*[40 * number * usd("ebs-gp3-gb-month") for number in (2, 3, 5)])


def test_a_machine_of_a_scaling_group_costs_what_its_launch_template_says(tmp_path):
    template = resource(
        "aws:ec2/launchTemplate:LaunchTemplate",
        "runner-template",
        instanceType="t3.medium",
        blockDeviceMappings=[{"ebs": {"volumeSize": 30, "volumeType": "gp3"}}],
    )
    machines = resource(
        "aws:autoscaling/group:Group",
        "runner-group",
        minSize=0,
        desiredCapacity=1,
        maxSize=1,
        launchTemplate={"id": "runner-template-id"},
    )
    bill = price(graph(template, machines), stack(tmp_path, account=QUIET))
    each = 730 * hour("t3.medium") + 30 * usd("ebs-gp3-gb-month")
    assert seen(bill.by_component["runner-group"]) == sizes(0, each, each)


def test_a_profile_is_expected_at_its_cheapest_type_and_ends_at_its_dearest(tmp_path):
    types = ["m7i.2xlarge", "m7i.xlarge", "m7i.4xlarge"]
    bill = price(
        graph(),
        stack(
            tmp_path,
            account=QUIET,
            profiles={"cpu": CPU | {"instance_types": types, "disk_gb": 100}},
            hardware={"cpu": {"expected": 1.5, "max": {"on-demand": 4}}},
        ),
    )
    disk = 100 * usd("ebs-gp3-gb-month")
    expected = 730 * 1.5 * hour("m7i.xlarge") + 1.5 * disk
    assert seen(bill.by_profile["cpu"]) == sizes(0, expected, 730 * 4 * hour("m7i.4xlarge") + 4 * disk)
    assert seen(bill.total) == seen(bill.by_profile["cpu"])


def test_spot_nodes_cost_the_spot_price(tmp_path):
    bill = price(
        graph(),
        stack(
            tmp_path,
            account=QUIET,
            profiles={"cpu": CPU | {"capacity": ["spot", "on-demand"]}},
            hardware={"cpu": {"expected": 3, "max": {"spot": 2, "on-demand": 2}}},
        ),
    )
    spot = [one for one in bill.lines if one.charge.item == "ec2/m7i.xlarge/spot"]
    assert sum(one.usd.expected for one in spot) == pytest.approx(2 * 730 * hour("m7i.xlarge", "spot"))
    on_demand = [one for one in bill.lines if one.charge.item == "ec2/m7i.xlarge/on-demand"]
    assert sum(one.usd.expected for one in on_demand) == pytest.approx(730 * hour("m7i.xlarge"))


def test_reserved_nodes_are_paid_even_when_none_is_wanted(tmp_path):
    h100 = CPU | {"instance_types": ["p5.48xlarge"], "gpu": "h100", "gpus": 8, "capacity": ["reserved", "on-demand"]}
    capacity = {"expected": 0, "max": {"reserved": 2, "on-demand": 1}, "reservation": {"tags": {"team": "ml"}}}
    bill = price(
        graph(),
        stack(
            tmp_path,
            account=QUIET,
            profiles={"h100": h100 | {"max_usd_per_hour": 100, "disk_gb": 100}},
            hardware={"h100": capacity},
        ),
    )
    node = 730 * hour("p5.48xlarge") + 100 * usd("ebs-gp3-gb-month")
    assert seen(bill.total) == sizes(2 * node, 2 * node, 3 * node)


@pytest.mark.parametrize(
    ("ladder", "expected", "most", "paid"),
    [
        (["spot", "on-demand"], 5, {"on-demand": 4, "spot": 3}, {"on-demand": 2, "spot": 3}),
        (["on-demand", "spot"], 5, {"on-demand": 4, "spot": 3}, {"on-demand": 4, "spot": 1}),
        (["on-demand", "reserved"], 3, {"on-demand": 4, "reserved": 2}, {"on-demand": 1, "reserved": 2}),
        (["reserved", "on-demand"], 1, {"on-demand": 4, "reserved": 2}, {"on-demand": 0, "reserved": 2}),
    ],
)
def test_the_expected_nodes_climb_the_ladder(ladder, expected, most, paid):
    reservation = {"id": "cr-0a1b2c3d"} if "reserved" in most else None
    capacity = Capacity.model_validate({"expected": expected, "max": most, "reservation": reservation}, strict=False)
    assert expected_nodes([Rung(rung) for rung in ladder], capacity) == paid


def test_watched_nodes_cost_guardduty_by_the_vcpu(tmp_path):
    hardware = {"cpu": {"expected": 2, "max": {"on-demand": 3}}}
    bill = price(graph(), stack(tmp_path, hardware=hardware))
    each = 4 * usd("guardduty-runtime-vcpu-month")
    assert seen(line(bill, "GuardDuty runtime monitoring").usd) == sizes(0, 2 * each, 3 * each)
    scaling = {"minSize": 2, "maxSize": 4}
    group = resource("aws:eks/nodeGroup:NodeGroup", "nodes", instanceTypes=["m7i.xlarge"], scalingConfig=scaling)
    bill = price(graph(group), stack(tmp_path, hardware=hardware))
    system = next(one for one in bill.lines if one.charge.what == "GuardDuty runtime monitoring")
    assert seen(system.usd) == sizes(2 * each, 2 * each, 4 * each)
    assert all(line.charge.quantity != Sizes(0, 0, 0) for line in bill.lines), "what nobody gets is no line"


def test_buckets_cost_by_the_estimate_of_what_they_hold(tmp_path):
    buckets = [
        resource("aws:s3/bucket:Bucket", f"storage-{name}", "storage", bucket=f"dev-123456789012-us-east-1-{name}")
        for name in ("data", "models", "audit")
    ]
    settings = stack(tmp_path, usage={"data_gb": {"expected": 100, "max": 200}, "models_gb": {"expected": 7, "max": 9}})
    bill = price(graph(ENVIRONMENT_COMPONENT, component("storage"), *buckets), settings)
    each = usd("s3-standard-gb-month")
    assert seen(bill.by_component["storage"]) == sizes(0, 107 * each, 209 * each)
    told = [(one.component, one.what) for one in bill.unpriced]
    assert ("storage", "objects: audit") in told, "nobody estimates it, so it is named and not counted as nothing"


def test_logs_cost_when_they_are_written_and_while_they_are_kept(tmp_path):
    groups = [
        resource("aws:cloudwatch/logGroup:LogGroup", "network-flow-logs", retentionInDays=365),
        resource("aws:cloudwatch/logGroup:LogGroup", "cluster-logs", retentionInDays=365),
    ]
    bill = price(graph(*groups), stack(tmp_path, usage={"logs_gb": {"expected": 10, "max": 40}}, account=QUIET))
    kept = 12 * usd("cloudwatch-logs-stored-gb-month")
    each = usd("cloudwatch-logs-gb") + kept
    assert seen(bill.by_component["logs"]) == sizes(0, 10 * each, 40 * each)


def test_logs_that_are_kept_for_ever_have_no_price_that_would_hold(tmp_path):
    group = resource("aws:cloudwatch/logGroup:LogGroup", "endless")
    bill = price(graph(group), stack(tmp_path, account=QUIET))
    assert [one.reason for one in bill.unpriced if one.what == "endless"] == [
        "its logs are kept for ever, and cost more each month"
    ]


def test_a_database_costs_by_its_class_and_zones_and_grows_to_its_most_storage(tmp_path):
    database = resource(
        "aws:rds/instance:Instance",
        "tracking-database-instance",
        engine="postgres",
        instanceClass="db.m7g.large",
        multiAz=True,
        allocatedStorage=100,
        maxAllocatedStorage=500,
        storageType="gp3",
        manageMasterUserPassword=True,
    )
    bill = price(graph(database), stack(tmp_path, account=QUIET))
    hours = 730 * usd("rds-postgres-multi-az-db.m7g.large-hour")
    secret, storage = usd("secret-month"), usd("rds-gp3-multi-az-gb-month")
    priced = bill.by_component["tracking-database-instance"]
    assert seen(priced) == sizes(
        hours + secret + 100 * storage, hours + secret + 100 * storage, hours + secret + 500 * storage
    )


def test_what_has_no_price_in_the_region_is_named_and_not_counted(tmp_path):
    assert catalog.unit_price("af-south-1", "nat-gateway-hour") is None, "the test needs a region without it"
    nat = resource("aws:ec2/natGateway:NatGateway", "network-nat")
    bill = price(graph(nat), stack(tmp_path, region="af-south-1"))
    reasons = {one.what: one.reason for one in bill.unpriced}
    assert reasons["NAT gateways"] == "no price of nat-gateway-hour is known in af-south-1"
    assert "network-nat" not in bill.by_component


def test_a_type_without_a_price_is_named_and_the_others_stand_for_the_profile(tmp_path, monkeypatch):
    known = catalog.hourly_usd

    def without(region, instance_type, capacity="on-demand"):
        return None if instance_type == "m7i.2xlarge" else known(region, instance_type, capacity)

    settings = stack(
        tmp_path,
        account=QUIET,
        profiles={"cpu": CPU | {"instance_types": ["m7i.xlarge", "m7i.2xlarge"]}},
    )
    monkeypatch.setattr(catalog, "hourly_usd", without)
    bill = price(graph(), settings)
    assert [(one.what, one.reason) for one in bill.unpriced] == [
        ("cpu: on-demand m7i.2xlarge", "no on-demand price is known in us-east-1")
    ]
    assert bill.total.maximum > 730 * hour("m7i.xlarge")


def test_a_type_of_resource_that_nobody_thought_of_is_told(tmp_path):
    bill = price(graph(resource("aws:sagemaker/domain:Domain", "x")), stack(tmp_path, account=QUIET))
    assert bill.unknown == ("aws:sagemaker/domain:Domain",)


def test_the_budget_is_held_against_the_expected_month(tmp_path):
    hardware = {"cpu": {"expected": 1, "max": {"on-demand": 10}}}
    expected = 730 * hour("m7i.xlarge") + 100 * usd("ebs-gp3-gb-month")
    for dollars, over in ((expected + 1, False), (expected - 1, True)):
        budget = {"usd_per_month": dollars, "notify": ["a@example.com"]}
        bill = price(graph(), stack(tmp_path, account=QUIET, hardware=hardware, budget=budget))
        assert bill.over_budget is over


def test_an_existing_cluster_is_paid_elsewhere(tmp_path):
    settings = stack(
        tmp_path,
        cluster={"kubeconfig": "~/.kube/config"},
        hardware={"cpu": {"nodes": 3}},
        budget=None,
    )
    bill = price(graph(), settings)
    assert (bill.lines, bill.budget_usd) == ((), None)
    assert [one.what for one in bill.unpriced] == ["the cluster and its nodes"]


def test_every_type_in_the_tables_is_one_of_the_provider():
    provider = find_spec("pulumi_aws")
    assert provider is not None
    text = Path(str(provider.origin)).read_text()
    known = set(re.findall(r'"(aws:[a-z0-9]+/[A-Za-z0-9]+:[A-Za-z0-9]+)"', text))
    tables = {kind for kind in FREE | RULES.keys() if kind.startswith("aws:")}
    assert tables - known == set()
    assert FREE & RULES.keys() == frozenset(), "what is free has no price"


@pytest.mark.parametrize("name", names(PROJECT / "stacks"))
def test_every_resource_of_the_shipped_stacks_is_priced_named_or_known_to_be_free(name):
    settings = load(PROJECT / "stacks", name)
    bill = price(graph_of(PROJECT, settings), settings)
    assert bill.unknown == ()
    assert not bill.over_budget, "an example whose budget is too small is a bad one"
