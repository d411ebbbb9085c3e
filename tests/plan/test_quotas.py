"""Which service quotas a stack's ceilings need."""

from infra import catalog
from modelyard.plan.quotas import COUNTED, ENDPOINTS, NAT_PER_ZONE, VOLUMES, needs
from tests.plan.planning import CPU, graph, resource, stack

GPU = CPU | {
    "instance_types": ["g5.2xlarge", "g5.4xlarge"],
    "gpu": "a10g",
    "gpus": 1,
    "capacity": ["on-demand", "spot"],
}
H100 = CPU | {
    "instance_types": ["p5.48xlarge"],
    "gpu": "h100",
    "gpus": 8,
    "capacity": ["reserved", "on-demand", "spot"],
    "max_usd_per_hour": 100,
}

STANDARD = catalog.vcpu_quota("m7i.xlarge")


def needed(graph, settings):
    return {need.code: need.needed for need in needs(graph, settings)}


def test_vcpus_are_counted_at_the_ceiling_with_the_largest_type(tmp_path):
    hardware = {"a10g": {"expected": 0, "max": {"on-demand": 3, "spot": 2}}}
    found = needed(graph(), stack(tmp_path, profiles={"a10g": GPU}, hardware=hardware))
    assert found[catalog.vcpu_quota("g5.xlarge")] == 3 * 16, "g5.4xlarge has 16"
    assert found[catalog.vcpu_quota("g5.xlarge", "spot")] == 2 * 16


def test_reserved_nodes_count_as_on_demand_ones(tmp_path):
    capacity = {"expected": 2, "max": {"reserved": 2, "on-demand": 1, "spot": 1}, "reservation": {"id": "cr-0a1b2c3d"}}
    found = needed(graph(), stack(tmp_path, profiles={"h100": H100}, hardware={"h100": capacity}))
    assert found[catalog.vcpu_quota("p5.48xlarge")] == 3 * 192
    assert found[catalog.vcpu_quota("p5.48xlarge", "spot")] == 192, "P5 has a spot quota of its own"


def test_system_nodes_the_runner_and_profiles_share_a_family_s_quota(tmp_path):
    group = resource(
        "aws:eks/nodeGroup:NodeGroup",
        "nodes-system",
        instanceTypes=["m7i.large", "m7i.xlarge"],
        scalingConfig={"minSize": 2, "maxSize": 4},
    )
    template = resource("aws:ec2/launchTemplate:LaunchTemplate", "runner-template", instanceType="t3.medium")
    runner = resource("aws:autoscaling/group:Group", "runner", maxSize=1, launchTemplate={"id": "runner-template-id"})
    hardware = {"cpu": {"expected": 0, "max": {"on-demand": 5}}}
    found = needed(graph(group, template, runner), stack(tmp_path, hardware=hardware))
    assert found[STANDARD] == 4 * 4 + 2 + 5 * 4


def test_nat_gateways_count_in_the_zone_that_has_most(tmp_path):
    subnets = [
        resource("aws:ec2/subnet:Subnet", name, availabilityZoneId=zone)
        for name, zone in (("a", "use1-az1"), ("b", "use1-az1"), ("c", "use1-az2"))
    ]
    gates = [resource("aws:ec2/natGateway:NatGateway", f"nat-{subnet.name}", subnetId=subnet.id) for subnet in subnets]
    assert needed(graph(*subnets, *gates), stack(tmp_path))[NAT_PER_ZONE] == 2


def test_resources_count_by_type_and_endpoints_by_kind(tmp_path):
    kind = "aws:ec2/vpcEndpoint:VpcEndpoint"
    found = needed(
        graph(
            *(resource("aws:ec2/eip:Eip", f"address-{zone}") for zone in "abc"),
            resource(kind, "sts", vpcEndpointType="Interface"),
            resource(kind, "ecr", vpcEndpointType="Interface"),
            resource(kind, "s3", vpcEndpointType="Gateway"),
        ),
        stack(tmp_path),
    )
    assert found[COUNTED["aws:ec2/eip:Eip"]] == 3
    assert (found[ENDPOINTS["Interface"]], found[ENDPOINTS["Gateway"]]) == (2, 1)


def test_disks_of_the_nodes_count_in_tib(tmp_path):
    hardware = {"cpu": {"expected": 0, "max": {"on-demand": 512}}}
    found = needed(graph(), stack(tmp_path, profiles={"cpu": CPU | {"disk_gb": 100}}, hardware=hardware))
    assert found[VOLUMES] == 50


def test_disks_of_system_nodes_and_the_runner_count_as_those_of_profiles_do(tmp_path):
    kind = "aws:ec2/launchTemplate:LaunchTemplate"
    disk = [{"ebs": {"volumeType": "gp3", "volumeSize": 64}}, {"ebs": {"volumeType": "io2", "volumeSize": 512}}]
    system = resource(kind, "system", blockDeviceMappings=disk)
    runner = resource(kind, "runner", blockDeviceMappings=disk[:1], instanceType="t3.medium")
    group = resource(
        "aws:eks/nodeGroup:NodeGroup",
        "nodes-system",
        instanceTypes=["m7i.large"],
        scalingConfig={"minSize": 2, "maxSize": 4},
        launchTemplate={"id": "system-id"},
    )
    scaled = resource("aws:autoscaling/group:Group", "runner-group", maxSize=2, launchTemplate={"id": "runner-id"})
    root = {"volumeType": "gp3", "volumeSize": 128}
    alone = resource("aws:ec2/instance:Instance", "alone", instanceType="t3.medium", rootBlockDevice=root)
    hardware = {"cpu": {"expected": 0, "max": {"on-demand": 5}}}
    settings = stack(tmp_path, profiles={"cpu": CPU | {"disk_gb": 100}}, hardware=hardware)
    found = needed(graph(system, runner, group, scaled, alone), settings)
    assert found[VOLUMES] == 1.0, "4 · 64 + 2 · 64 + 128 + 5 · 100 GiB are 0.99 TiB, to the tenth above"


def test_what_has_to_be_raised_comes_first(tmp_path):
    addresses = [resource("aws:ec2/eip:Eip", f"address-{number}") for number in range(6)]
    cluster = resource("aws:eks/cluster:Cluster", "cluster-cluster")
    found = needs(graph(cluster, *addresses), stack(tmp_path))
    verdicts = [(need.name, need.suffices) for need in found]
    assert verdicts[0] == ("Elastic IP addresses per Region", False), "a new account has five"
    assert ("Clusters", True) in verdicts
    assert [good for _, good in verdicts] == sorted(good for _, good in verdicts)


def test_every_code_is_in_the_catalog():
    codes = {*COUNTED.values(), *ENDPOINTS.values(), NAT_PER_ZONE, VOLUMES}
    assert codes <= catalog.quotas().keys()
