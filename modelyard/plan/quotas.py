"""The AWS service quotas that a stack's ceilings need, held against what a new account has."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra import catalog
from infra.settings.base import Rung
from infra.settings.environment import AwsEnvironment
from infra.settings.stacks import EnvironmentStack, Stack
from modelyard.plan.graph import Graph, Resource
from modelyard.plan.price import TEMPLATE

VOLUMES = "L-7A658B76"
ENDPOINTS = {"Gateway": "L-1B52E74A", "Interface": "L-29B6F2EB"}
NAT_PER_ZONE = "L-FE5A380F"
COUNTED = {
    "aws:ec2/eip:Eip": "L-0263D0A3",
    "aws:ec2/internetGateway:InternetGateway": "L-A4707A72",
    "aws:ec2/securityGroup:SecurityGroup": "L-E79EC296",
    "aws:ec2/subnet:Subnet": "L-407747CB",
    "aws:ec2/vpc:Vpc": "L-F678F1CE",
    "aws:ecr/repository:Repository": "L-CFEB8E8D",
    "aws:eks/cluster:Cluster": "L-1194D53C",
    "aws:eks/nodeGroup:NodeGroup": "L-6D54EA21",
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": "L-858F3967",
    "aws:iam/role:Role": "L-FE177D64",
    "aws:rds/instance:Instance": "L-7B6409FD",
    "aws:s3/bucket:Bucket": "L-DC2B2D3D",
    "aws:secretsmanager/secret:Secret": "L-2F66C23C",
}
"""Quotas that a resource of the type takes one of."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """How much of a quota a stack takes at its ceilings, beside what else is in the account."""

    code: str
    service: str
    name: str
    counts: str
    per: str
    needed: float
    default: float

    @property
    def suffices(self) -> bool:
        """Whether what a new account has is enough."""
        return self.needed <= self.default


def needs(graph: Graph, stack: Stack) -> list[Need]:
    """Every quota of the catalog that the stack takes of, what has to be raised first."""
    wanted: defaultdict[str, float] = defaultdict(float)
    for resource in graph.resources:
        if resource.type in COUNTED:
            wanted[COUNTED[resource.type]] += 1
        for code, number in _taken(resource, graph):
            wanted[code] += number
    if isinstance(stack, EnvironmentStack) and isinstance(stack.settings, AwsEnvironment):
        for code, number in _profiles(stack, stack.settings):
            wanted[code] += number
    if zones := Counter(_nat_zones(graph)):
        wanted[NAT_PER_ZONE] = max(zones.values())
    known = catalog.quotas()
    found = [
        Need(
            code=code,
            service=known[code].service,
            name=known[code].name,
            counts=known[code].counts,
            per=known[code].per,
            needed=_up(number),
            default=known[code].default,
        )
        for code, number in wanted.items()
    ]
    return sorted(found, key=lambda need: (need.suffices, need.service, need.name))


def _up(number: float) -> float:
    """To a tenth, never to less than it is."""
    return math.ceil(round(number * 10, 6)) / 10


def vcpus(instance_types: Iterable[str], number: float, *, spot: bool = False) -> Iterator[tuple[str, float]]:
    """What so many instances take of the quotas of their families, each being the largest of its types."""
    largest: dict[str, int] = {}
    for name in instance_types:
        if code := catalog.vcpu_quota(name, "spot" if spot else "on-demand"):
            largest[code] = max(largest.get(code, 0), catalog.instance_types()[name].vcpus)
    for code, each in largest.items():
        yield code, each * number


def _taken(resource: Resource, graph: Graph) -> Iterator[tuple[str, float]]:
    if resource.type == "aws:eks/nodeGroup:NodeGroup":
        most = resource.inputs["scalingConfig"]["maxSize"]
        yield from vcpus(resource.inputs["instanceTypes"], most)
        yield from _template_volumes(_template(resource, graph), most)
    elif resource.type == "aws:ec2/instance:Instance":
        yield from vcpus([resource.inputs["instanceType"]], 1)
        yield from _volumes([resource.inputs.get("rootBlockDevice", {})], 1)
    elif resource.type == "aws:autoscaling/group:Group":
        if template := _template(resource, graph):
            yield from vcpus([template.inputs["instanceType"]], resource.inputs["maxSize"])
            yield from _template_volumes(template, resource.inputs["maxSize"])
    elif resource.type == "aws:ec2/vpcEndpoint:VpcEndpoint":
        yield ENDPOINTS[resource.inputs.get("vpcEndpointType", "Gateway")], 1


def _template(resource: Resource, graph: Graph) -> Resource | None:
    wanted = resource.inputs.get("launchTemplate", {}).get("id")
    return next((one for one in graph.resources if one.type == TEMPLATE and one.id == wanted), None)


def _template_volumes(template: Resource | None, machines: int) -> Iterator[tuple[str, float]]:
    if template:
        yield from _volumes((one["ebs"] for one in template.inputs.get("blockDeviceMappings", ())), machines)


def _volumes(volumes: Iterable[Mapping[str, Any]], machines: int) -> Iterator[tuple[str, float]]:
    """The volumes of so many machines, in TiB."""
    for volume in volumes:
        if volume.get("volumeType") == "gp3":
            yield VOLUMES, volume["volumeSize"] * machines / 1024


def _profiles(stack: EnvironmentStack, settings: AwsEnvironment) -> Iterator[tuple[str, float]]:
    """Nodes that Karpenter adds; On-Demand Capacity Reservations count as on-demand instances."""
    for name, capacity in settings.hardware.items():
        profile = stack.profiles[name]
        for rung, most in capacity.max.items():
            yield from vcpus(profile.instance_types, most, spot=rung is Rung.SPOT)
        yield VOLUMES, profile.disk_gb * capacity.ceiling / 1024


def _nat_zones(graph: Graph) -> Iterator[str]:
    subnets = {one.id: one.inputs for one in graph.resources if one.type == "aws:ec2/subnet:Subnet"}
    for resource in graph.resources:
        if resource.type == "aws:ec2/natGateway:NatGateway":
            subnet = subnets.get(resource.inputs.get("subnetId", ""), {})
            yield subnet.get("availabilityZoneId", subnet.get("availabilityZone", ""))
