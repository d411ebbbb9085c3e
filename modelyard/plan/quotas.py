"""The AWS service quotas that a stack's ceilings need, held against what a new account has."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from infra import catalog
from infra.settings.base import Rung
from infra.settings.environment import AwsEnvironment
from infra.settings.stacks import EnvironmentStack, Stack
from modelyard.plan.graph import Graph, Resource
from modelyard.plan.price import TEMPLATE

ON_DEMAND = {
    "standard": "L-1216C47A",
    "g": "L-DB2E81BA",
    "vt": "L-DB2E81BA",
    "p": "L-417A185B",
    "trn": "L-2C3B7624",
    "inf": "L-1945791B",
    "dl": "L-6E869C2A",
    "f": "L-74FC7D96",
    "x": "L-7295265B",
    "u": "L-43DA4232",
    "hpc": "L-F7808C92",
}
SPOT = {
    "standard": "L-34B43A08",
    "g": "L-3819A6DF",
    "vt": "L-3819A6DF",
    **dict.fromkeys(("p2", "p3", "p4"), "L-7212CCBC"),
    "p5": "L-C4BD4855",
    "trn": "L-6B0D517C",
    "inf": "L-B5D1601B",
    "dl": "L-85EED4F7",
    "f": "L-88CF9481",
    "x": "L-E3A00192",
}
STANDARD = frozenset("acdhimrtz")
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
            needed=round(number, 1),
            default=known[code].default,
        )
        for code, number in wanted.items()
    ]
    return sorted(found, key=lambda need: (need.suffices, need.service, need.name))


def vcpus(instance_types: Iterable[str], number: float, *, spot: bool = False) -> Iterator[tuple[str, float]]:
    """What so many instances take of the quotas of their families, each being the largest of its types."""
    largest: dict[str, int] = {}
    for name in instance_types:
        if code := quota_of(name, spot=spot):
            largest[code] = max(largest.get(code, 0), catalog.instance_types()[name].vcpus)
    for code, each in largest.items():
        yield code, each * number


def quota_of(instance_type: str, *, spot: bool = False) -> str | None:
    """The code of the quota on an instance type's vCPUs; None for one that isn't known, as of P6 by spot."""
    _, letters, generation, _ = re.split(r"^([a-z]+)(\d*)", instance_type, maxsplit=1)
    codes = SPOT if spot else ON_DEMAND
    families = (f"{letters}{generation}", letters, "standard" if letters[0] in STANDARD else letters[0])
    return next((codes[family] for family in families if family in codes), None)


def _taken(resource: Resource, graph: Graph) -> Iterator[tuple[str, float]]:
    if resource.type == "aws:eks/nodeGroup:NodeGroup":
        yield from vcpus(resource.inputs["instanceTypes"], resource.inputs["scalingConfig"]["maxSize"])
    elif resource.type == "aws:ec2/instance:Instance":
        yield from vcpus([resource.inputs["instanceType"]], 1)
    elif resource.type == "aws:autoscaling/group:Group":
        wanted = resource.inputs.get("launchTemplate", {}).get("id")
        types = [one.inputs["instanceType"] for one in graph.resources if one.type == TEMPLATE and one.id == wanted]
        yield from vcpus(types, resource.inputs["maxSize"])
    elif resource.type == "aws:ec2/vpcEndpoint:VpcEndpoint":
        yield ENDPOINTS[resource.inputs.get("vpcEndpointType", "Gateway")], 1


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
