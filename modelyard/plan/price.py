"""What a plan costs a month: at its smallest, as expected, and at its ceilings."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from infra import catalog
from infra.settings.base import Rung
from infra.settings.environment import AwsEnvironment, Capacity, Estimate
from infra.settings.hardware import Profile
from infra.settings.stacks import AccountStack, EnvironmentStack, Stack
from modelyard.plan.graph import Graph, Resource
from modelyard.plan.tree import components

TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
HOURS = 730
"""Of a month, as AWS's price pages count them."""


@dataclass(frozen=True)
class Sizes:
    """A number at the smallest size, as expected, and at the ceiling."""

    minimum: float
    expected: float
    maximum: float

    def __add__(self, other: "Sizes") -> "Sizes":
        return Sizes(self.minimum + other.minimum, self.expected + other.expected, self.maximum + other.maximum)

    def __mul__(self, factor: float) -> "Sizes":
        return Sizes(self.minimum * factor, self.expected * factor, self.maximum * factor)


@dataclass(frozen=True, kw_only=True)
class Charge:
    """So much a month of something that the catalog may have a price of."""

    component: str
    profile: str = ""
    what: str
    item: str
    quantity: Sizes


@dataclass(frozen=True, kw_only=True)
class Line:
    """A charge with its price."""

    charge: Charge
    unit: catalog.Price

    @property
    def usd(self) -> Sizes:
        """A month's."""
        return self.charge.quantity * self.unit.usd


@dataclass(frozen=True, order=True)
class Unpriced:
    """What costs money too, and why it is not in the sum."""

    component: str
    what: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What is known of a stack's price."""

    region: str
    lines: tuple[Line, ...]
    unpriced: tuple[Unpriced, ...]
    unknown: tuple[str, ...]
    """Types of resources of which not even is known whether they cost anything."""
    budget_usd: float | None

    @property
    def total(self) -> Sizes:
        return total(self.lines)

    @property
    def by_component(self) -> dict[str, Sizes]:
        """Everything but the nodes of hardware profiles."""
        names = dict.fromkeys(line.charge.component for line in self.lines if not line.charge.profile)
        return {name: total(line for line in self.of(component=name) if not line.charge.profile) for name in names}

    @property
    def by_profile(self) -> dict[str, Sizes]:
        """The nodes of each hardware profile, with their disks."""
        names = dict.fromkeys(line.charge.profile for line in self.lines if line.charge.profile)
        return {name: total(line for line in self.lines if line.charge.profile == name) for name in names}

    @property
    def over_budget(self) -> bool:
        """Whether the expected month is above the budget."""
        return self.budget_usd is not None and self.total.expected > self.budget_usd

    def of(self, *, component: str) -> Iterator[Line]:
        """A component's lines."""
        return (line for line in self.lines if line.charge.component == component)


def total(lines: Iterable[Line]) -> Sizes:
    """What lines add up to."""
    return sum((line.usd for line in lines), Sizes(0, 0, 0))


def price(graph: Graph, stack: Stack) -> Bill:
    """Price every resource, and the nodes that Karpenter adds up to the ceilings."""
    desk = Desk(graph, stack)
    found: list[Charge | Unpriced] = []
    unknown = set()
    for resource in graph.resources:
        if rule := RULES.get(resource.type):
            found += rule(resource, desk)
        elif resource.custom and resource.type not in FREE:
            unknown.add(resource.type)
    if isinstance(stack, EnvironmentStack) and isinstance(stack.settings, AwsEnvironment):
        for name, capacity in stack.settings.hardware.items():
            found += nodes(name, stack.profiles[name], capacity, desk.region, watched=desk.watched)
    elif isinstance(stack, EnvironmentStack):
        found.append(Unpriced("cluster", "the cluster and its nodes", "they are there already, and paid elsewhere"))
    priced = [_priced(charge, desk.region) for charge in _merged(found)]
    unpriced = [one for one in [*priced, *found] if isinstance(one, Unpriced)]
    return Bill(
        region=desk.region,
        lines=tuple(line for line in priced if isinstance(line, Line)),
        unpriced=tuple(dict.fromkeys(unpriced)),
        unknown=tuple(sorted(unknown)),
        budget_usd=stack.settings.budget.usd_per_month if isinstance(stack.settings, AwsEnvironment) else None,
    )


class Desk:
    """What a rule needs beside the resource itself."""

    def __init__(self, graph: Graph, stack: Stack) -> None:
        self.region = region_of(stack)
        self.usage = stack.settings.usage if isinstance(stack.settings, AwsEnvironment) else None
        account = stack.account if isinstance(stack, EnvironmentStack) else stack
        self.watched = account is not None and account.settings.threat_detection
        """Whether GuardDuty looks at what runs on the nodes."""
        self._templates = {one.id: one for one in graph.resources if one.type == TEMPLATE}
        self._numbers = Counter(one.type for one in graph.resources)
        self._components = components(graph)

    def component(self, resource: Resource) -> str:
        """The part of the architecture that a resource belongs to."""
        return self._components[resource.urn]

    def template(self, resource: Resource) -> Resource | None:
        """The launch template that a group's machines are made from."""
        return self._templates.get(resource.inputs.get("launchTemplate", {}).get("id"))

    def share(self, resource: Resource, estimate: Estimate) -> Sizes:
        """An estimate for all resources of a type, divided by their number."""
        return used(estimate) * (1 / self._numbers[resource.type])

    def charge(self, resource: Resource, what: str, item: str, quantity: Sizes | float) -> Charge:
        """A charge for a resource; a mere number is the same at all sizes."""
        sizes = quantity if isinstance(quantity, Sizes) else Sizes(quantity, quantity, quantity)
        return Charge(component=self.component(resource), what=what, item=item, quantity=sizes)

    def by_use(self, resource: Resource, what: str) -> Unpriced:
        """What no setting estimates."""
        return Unpriced(self.component(resource), what, "it is paid by use, which no setting estimates")


def region_of(stack: Stack) -> str:
    """The region that a stack is in; "" without a cloud."""
    account = stack if isinstance(stack, AccountStack) else stack.account
    return account.settings.region if account else ""


def nodes(
    name: str, profile: Profile, capacity: Capacity, region: str, *, watched: bool
) -> Iterator[Charge | Unpriced]:
    """A hardware profile's nodes: expected ones are the cheapest of its types, those at the ceiling the dearest.

    Reserved nodes are paid whether they run or not, so they are the smallest size; a Capacity Block's own price is
    known when it is bought, so the on-demand price stands for it.
    """

    def charge(what: str, item: str, quantity: Sizes) -> Charge:
        return Charge(component="nodes", profile=name, what=what, item=item, quantity=quantity)

    expected = expected_nodes(profile.capacity, capacity)
    for rung, most in capacity.max.items():
        bought = "spot" if rung is Rung.SPOT else "on-demand"
        found = {one: catalog.hourly_usd(region, one, bought) for one in profile.instance_types}
        prices = {one: usd for one, usd in found.items() if usd is not None}
        for one in sorted(found.keys() - prices.keys()):
            yield Unpriced("nodes", f"{name}: {rung} {one}", f"no {bought} price is known in {region}")
        if not prices:
            continue
        cheapest = min(prices, key=lambda one: (prices[one], one))
        dearest = max(prices, key=lambda one: (prices[one], one))
        least = most if rung is Rung.RESERVED else 0
        for one, hours in (
            (cheapest, Sizes(least, expected[rung], 0) * HOURS),
            (dearest, Sizes(0, 0, most) * HOURS),
        ):
            yield charge(f"{rung} {one}", f"ec2/{one}/{bought}", hours)
            if watched:
                vcpus = hours * (catalog.instance_types()[one].vcpus / HOURS)
                yield charge("GuardDuty runtime monitoring", "guardduty-runtime-vcpu-month", vcpus)
    disks = Sizes(capacity.max.get(Rung.RESERVED, 0), sum(expected.values()), capacity.ceiling) * profile.disk_gb
    yield charge("root volumes", "ebs-gp3-gb-month", disks)


def expected_nodes(ladder: Iterable[Rung], capacity: Capacity) -> dict[Rung, float]:
    """The nodes of each rung that are paid on average: all reserved ones, the rest as the ladder is climbed."""
    paid = dict.fromkeys(capacity.max, 0.0)
    left = capacity.expected
    if Rung.RESERVED in capacity.max:
        paid[Rung.RESERVED] = capacity.max[Rung.RESERVED]
        left = max(0.0, left - paid[Rung.RESERVED])
    for rung in ladder:
        if rung in capacity.max and rung is not Rung.RESERVED:
            paid[rung] = min(left, capacity.max[rung])
            left -= paid[rung]
    return paid


def _merged(found: Iterable[Charge | Unpriced]) -> Iterator[Charge]:
    """Charges of the same thing as one."""
    merged: dict[tuple[str, str, str, str], Charge] = {}
    for one in found:
        if isinstance(one, Charge):
            key = (one.component, one.profile, one.what, one.item)
            merged[key] = replace(one, quantity=merged[key].quantity + one.quantity) if key in merged else one
    order = list(dict.fromkeys(charge.component for charge in merged.values()))
    real = (charge for charge in merged.values() if charge.quantity != Sizes(0, 0, 0))
    return iter(sorted(real, key=lambda charge: (order.index(charge.component), bool(charge.profile))))


def _priced(charge: Charge, region: str) -> Line | Unpriced:
    if charge.item.startswith("ec2/"):
        _, instance_type, bought = charge.item.split("/")
        unit = catalog.hourly_price(region, instance_type, bought)
    else:
        unit = catalog.unit_price(region, charge.item)
    if unit is None:
        what = f"{charge.profile}: {charge.what}" if charge.profile else charge.what
        return Unpriced(charge.component, what, f"no price of {charge.item} is known in {region}")
    return Line(charge=charge, unit=unit)


Rule = Callable[[Resource, Desk], Iterator[Charge | Unpriced]]


def _cluster(resource: Resource, desk: Desk) -> Iterator[Charge | Unpriced]:
    yield desk.charge(resource, "control plane", "eks-cluster-hour", HOURS)


def _node_group(resource: Resource, desk: Desk) -> Iterator[Charge | Unpriced]:
    scaling = resource.inputs["scalingConfig"]
    size = Sizes(scaling["minSize"], scaling.get("desiredSize", scaling["minSize"]), scaling["maxSize"])
    first = resource.inputs["instanceTypes"][0]  # a managed group of on-demand nodes takes them in this order
    yield desk.charge(resource, f"system nodes {first}", f"ec2/{first}/on-demand", size * HOURS)
    if desk.watched:
        vcpus = size * catalog.instance_types()[first].vcpus
        yield desk.charge(resource, "GuardDuty runtime monitoring", "guardduty-runtime-vcpu-month", vcpus)
    if template := desk.template(resource):
        yield from _disks(resource, desk, template, size)
    else:
        yield Unpriced(
            desk.component(resource), "root volumes of the system nodes", "no launch template says their size"
        )


def _scaling_group(resource: Resource, desk: Desk) -> Iterator[Charge | Unpriced]:
    least, most = resource.inputs["minSize"], resource.inputs["maxSize"]
    size = Sizes(least, resource.inputs.get("desiredCapacity", least), most)
    if template := desk.template(resource):
        name = template.inputs["instanceType"]
        yield desk.charge(resource, f"machines {name}", f"ec2/{name}/on-demand", size * HOURS)
        yield from _disks(resource, desk, template, size)


def _instance(resource: Resource, desk: Desk) -> Iterator[Charge | Unpriced]:
    name = resource.inputs["instanceType"]
    yield desk.charge(resource, f"machines {name}", f"ec2/{name}/on-demand", HOURS)
    if root := resource.inputs.get("rootBlockDevice"):
        yield from _volumes(resource, desk, [root], Sizes(1, 1, 1))


def _disks(resource: Resource, desk: Desk, template: Resource, machines: Sizes) -> Iterator[Charge | Unpriced]:
    yield from _volumes(
        resource, desk, [mapping["ebs"] for mapping in template.inputs.get("blockDeviceMappings", ())], machines
    )


def _volumes(
    resource: Resource, desk: Desk, volumes: Iterable[Mapping[str, Any]], machines: Sizes
) -> Iterator[Charge | Unpriced]:
    for volume in volumes:
        item = f"ebs-{volume.get('volumeType', 'gp2')}-gb-month"
        yield desk.charge(resource, "root volumes", item, machines * volume["volumeSize"])


def _nat_gateway(resource: Resource, desk: Desk) -> Iterator[Charge | Unpriced]:
    yield desk.charge(resource, "NAT gateways", "nat-gateway-hour", HOURS)
    if desk.usage:
        yield desk.charge(resource, "NAT traffic", "nat-gateway-gb", desk.share(resource, desk.usage.nat_gb))


def _endpoint(resource: Resource, desk: Desk) -> Iterator[Charge | Unpriced]:
    if resource.inputs.get("vpcEndpointType", "Gateway") == "Interface":
        zones = len(resource.inputs["subnetIds"])
        yield desk.charge(resource, "interface endpoints", "interface-endpoint-hour", zones * HOURS)
        yield desk.by_use(resource, "traffic through interface endpoints")


def _address(resource: Resource, desk: Desk) -> Iterator[Charge | Unpriced]:
    yield desk.charge(resource, "public addresses", "public-ipv4-hour", HOURS)


def _key(resource: Resource, desk: Desk) -> Iterator[Charge | Unpriced]:
    yield desk.charge(resource, "KMS keys", "kms-key-month", 1)
    yield desk.by_use(resource, "KMS requests")


def _bucket(resource: Resource, desk: Desk) -> Iterator[Charge | Unpriced]:
    purpose = resource.inputs.get("bucket", resource.name).rpartition("-")[2]
    estimates = (
        {
            "data": desk.usage.data_gb,
            "artifacts": desk.usage.artifacts_gb,
            "models": desk.usage.models_gb,
        }
        if desk.usage
        else {}
    )
    if purpose in estimates:
        yield desk.charge(resource, f"objects: {purpose}", "s3-standard-gb-month", used(estimates[purpose]))
    else:
        yield desk.by_use(resource, f"objects: {purpose}")
    yield desk.by_use(resource, "S3 requests and old versions of objects")


def _repository(resource: Resource, desk: Desk) -> Iterator[Charge | Unpriced]:
    if desk.usage:
        yield desk.charge(resource, "container images", "ecr-gb-month", desk.share(resource, desk.usage.images_gb))


def _scanning(resource: Resource, desk: Desk) -> Iterator[Charge | Unpriced]:
    if resource.inputs.get("scanType") == "ENHANCED":
        yield desk.by_use(resource, "images scanned by Inspector")


def _log_group(resource: Resource, desk: Desk) -> Iterator[Charge | Unpriced]:
    if not desk.usage:
        yield desk.by_use(resource, "logs")
        return
    written = desk.share(resource, desk.usage.logs_gb)
    yield replace(desk.charge(resource, "logs written", "cloudwatch-logs-gb", written), component="logs")
    if days := resource.inputs.get("retentionInDays"):
        what = "logs kept, once the retention is reached"
        kept = desk.charge(resource, what, "cloudwatch-logs-stored-gb-month", written * (days / (HOURS / 24)))
        yield replace(kept, component="logs")
    else:
        yield Unpriced("logs", resource.name, "its logs are kept for ever, and cost more each month")


def _alarm(resource: Resource, desk: Desk) -> Iterator[Charge | Unpriced]:
    yield desk.charge(resource, "alarms", "cloudwatch-alarm-month", 1)


def _database(resource: Resource, desk: Desk) -> Iterator[Charge | Unpriced]:
    inputs = resource.inputs
    zones = "multi-az" if inputs.get("multiAz") else "single-az"
    item = f"rds-{inputs['engine']}-{zones}-{inputs['instanceClass']}-hour"
    yield desk.charge(resource, f"{inputs['instanceClass']}, {zones}", item, HOURS)
    size = inputs["allocatedStorage"]
    sizes = Sizes(size, size, inputs.get("maxAllocatedStorage", size))
    yield desk.charge(resource, f"storage, {zones}", f"rds-{inputs.get('storageType', 'gp2')}-{zones}-gb-month", sizes)
    yield desk.by_use(resource, "backups beyond the database's own size")
    if inputs.get("manageMasterUserPassword"):
        yield desk.charge(resource, "secrets", "secret-month", 1)


def _lustre(resource: Resource, desk: Desk) -> Iterator[Charge | Unpriced]:
    item = f"fsx-lustre-ssd-{resource.inputs['perUnitStorageThroughput']}-gb-month"
    yield desk.charge(resource, "FSx for Lustre", item, resource.inputs["storageCapacity"])


def _secret(resource: Resource, desk: Desk) -> Iterator[Charge | Unpriced]:
    yield desk.charge(resource, "secrets", "secret-month", 1)


def _used(what: str) -> Rule:
    def rule(resource: Resource, desk: Desk) -> Iterator[Charge | Unpriced]:
        yield desk.by_use(resource, what)

    return rule


def used(estimate: Estimate) -> Sizes:
    """What is stored starts at nothing."""
    return Sizes(0, estimate.expected, estimate.max)


RULES: Mapping[str, Rule] = {
    "aws:autoscaling/group:Group": _scaling_group,
    "aws:backup/plan:Plan": _used("backups"),
    "aws:cloudtrail/trail:Trail": _used("data events"),
    "aws:cloudwatch/logGroup:LogGroup": _log_group,
    "aws:cloudwatch/metricAlarm:MetricAlarm": _alarm,
    "aws:ec2/eip:Eip": _address,
    "aws:ec2/instance:Instance": _instance,
    "aws:ec2/natGateway:NatGateway": _nat_gateway,
    "aws:ec2/vpc:Vpc": _used("traffic to the internet and between zones"),
    "aws:ec2/vpcEndpoint:VpcEndpoint": _endpoint,
    "aws:ecr/pullThroughCacheRule:PullThroughCacheRule": _used("images pulled through"),
    "aws:ecr/registryScanningConfiguration:RegistryScanningConfiguration": _scanning,
    "aws:ecr/repository:Repository": _repository,
    "aws:efs/fileSystem:FileSystem": _used("files in EFS"),
    "aws:eks/cluster:Cluster": _cluster,
    "aws:eks/nodeGroup:NodeGroup": _node_group,
    "aws:fsx/lustreFileSystem:LustreFileSystem": _lustre,
    "aws:guardduty/detector:Detector": _used("GuardDuty"),
    "aws:kms/key:Key": _key,
    "aws:rds/instance:Instance": _database,
    "aws:s3/bucket:Bucket": _bucket,
    "aws:secretsmanager/secret:Secret": _secret,
    "aws:sns/topic:Topic": _used("notifications"),
    "aws:sqs/queue:Queue": _used("queue requests"),
}
"""How what costs money is counted, by type of resource."""

FREE = frozenset(
    {
        "pulumi:providers:aws",
        "pulumi:providers:random",
        *(
            f"aws:{token}"
            for token in (
                "accessanalyzer/analyzer:Analyzer",  # of external access
                "backup/selection:Selection",
                "backup/vault:Vault",
                "backup/vaultLockConfiguration:VaultLockConfiguration",
                "backup/vaultPolicy:VaultPolicy",
                "budgets/budget:Budget",  # without actions
                "cloudwatch/eventRule:EventRule",  # on AWS's own events
                "cloudwatch/eventTarget:EventTarget",
                "cloudwatch/logResourcePolicy:LogResourcePolicy",
                "costexplorer/anomalyMonitor:AnomalyMonitor",
                "costexplorer/anomalySubscription:AnomalySubscription",
                "costexplorer/costAllocationTag:CostAllocationTag",
                "ebs/encryptionByDefault:EncryptionByDefault",
                "ebs/snapshotBlockPublicAccess:SnapshotBlockPublicAccess",
                "ec2/defaultNetworkAcl:DefaultNetworkAcl",
                "ec2/defaultRouteTable:DefaultRouteTable",
                "ec2/defaultSecurityGroup:DefaultSecurityGroup",
                "ec2/flowLog:FlowLog",  # what it writes counts as logs
                "ec2/imageBlockPublicAccess:ImageBlockPublicAccess",
                "ec2/instanceMetadataDefaults:InstanceMetadataDefaults",
                "ec2/internetGateway:InternetGateway",
                "ec2/launchTemplate:LaunchTemplate",
                "ec2/networkAcl:NetworkAcl",
                "ec2/networkAclRule:NetworkAclRule",
                "ec2/placementGroup:PlacementGroup",
                "ec2/route:Route",
                "ec2/routeTable:RouteTable",
                "ec2/routeTableAssociation:RouteTableAssociation",
                "ec2/securityGroup:SecurityGroup",
                "ec2/securityGroupRule:SecurityGroupRule",
                "ec2/subnet:Subnet",
                "ec2/tag:Tag",
                "ecr/lifecyclePolicy:LifecyclePolicy",
                "ecr/registryPolicy:RegistryPolicy",
                "ecr/repositoryCreationTemplate:RepositoryCreationTemplate",
                "ecr/repositoryPolicy:RepositoryPolicy",
                "efs/accessPoint:AccessPoint",
                "efs/backupPolicy:BackupPolicy",
                "efs/fileSystemPolicy:FileSystemPolicy",
                "efs/mountTarget:MountTarget",
                "eks/accessEntry:AccessEntry",
                "eks/accessPolicyAssociation:AccessPolicyAssociation",
                "eks/addon:Addon",
                "eks/podIdentityAssociation:PodIdentityAssociation",
                "fsx/dataRepositoryAssociation:DataRepositoryAssociation",
                "guardduty/detectorFeature:DetectorFeature",  # counted with the detector
                "iam/instanceProfile:InstanceProfile",
                "iam/openIdConnectProvider:OpenIdConnectProvider",
                "iam/policy:Policy",
                "iam/role:Role",
                "iam/rolePolicy:RolePolicy",
                "iam/rolePolicyAttachment:RolePolicyAttachment",
                "kms/alias:Alias",
                "kms/grant:Grant",
                "kms/keyPolicy:KeyPolicy",
                "rds/parameterGroup:ParameterGroup",
                "rds/subnetGroup:SubnetGroup",
                "s3/accountPublicAccessBlock:AccountPublicAccessBlock",
                "s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
                "s3/bucketLogging:BucketLogging",
                "s3/bucketNotification:BucketNotification",
                "s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration",
                "s3/bucketOwnershipControls:BucketOwnershipControls",
                "s3/bucketPolicy:BucketPolicy",
                "s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
                "s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
                "s3/bucketVersioning:BucketVersioning",
                "secretsmanager/secretPolicy:SecretPolicy",
                "secretsmanager/secretRotation:SecretRotation",  # of the database's own password
                "secretsmanager/secretVersion:SecretVersion",
                "sns/topicPolicy:TopicPolicy",
                "sns/topicSubscription:TopicSubscription",
                "sqs/queuePolicy:QueuePolicy",
                "ssm/document:Document",
                "vpc/securityGroupEgressRule:SecurityGroupEgressRule",
                "vpc/securityGroupIngressRule:SecurityGroupIngressRule",
            )
        ),
    }
)
"""What AWS doesn't charge for by itself."""
