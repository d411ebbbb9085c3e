"""The architecture of a plan as a picture: what the graph holds, in the places where AWS has it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from xml.etree import ElementTree

from infra.settings.environment import AwsEnvironment
from infra.settings.stacks import AccountStack, EnvironmentStack, Stack
from modelyard.plan.graph import Graph, Resource
from modelyard.plan.tree import components

WIDTH = 1080
SIDE = 290
GAP = 12
PAD = 16
LINE = 17
HEADING = 30
SUBNET = 50
LETTER = 6.5  # the width of an average one
TIERS = ("public", "private", "intra")
MOST_LINES = 6


@dataclass(frozen=True)
class Card:
    """One thing, or several of a kind, with what is worth saying of it."""

    title: str
    lines: tuple[str, ...] = ()
    style: str = "card"

    @property
    def height(self) -> int:
        return 32 + LINE * len(self.lines) + (4 if self.lines else 0)


def picture(graph: Graph, stack: Stack) -> str:
    """An SVG element for a page whose style sheet knows its classes; "" if there is nothing to draw."""
    account = stack if isinstance(stack, AccountStack) else stack.account
    plot = Plot(graph, stack)
    if account is None or not plot.holds_anything:
        return ""
    pen = Pen()
    top = PAD + HEADING
    wide = WIDTH - 2 * PAD
    if not plot.network_side:
        low = pen.grid(plot.regional, PAD, top, wide, 3)
    else:
        left = wide - SIDE - GAP
        low = max(_network_side(pen, plot, PAD, top, left), pen.grid(plot.regional, PAD + left + GAP, top, SIDE, 1))
    where = f"AWS account {account.settings.account_id}, {account.settings.region}"
    pen.frame(Area(1, 1, WIDTH - 2, low + PAD - 1), where, "account")
    about = ", ".join(card.title for card in (*plot.pools, *plot.inside, *plot.regional))
    return pen.drawn(low + PAD + 1, f"Architecture of {stack.name}", about)


class Plot:
    """What is drawn of a graph."""

    def __init__(self, graph: Graph, stack: Stack) -> None:
        self._graph = graph
        self._components = components(graph)
        self.vpc = next(self.of("aws:ec2/vpc:Vpc"), None)
        self.cluster = next(self.of("aws:eks/cluster:Cluster"), None)
        self.pools = [*self._system(), *self._profiles(stack)] if self.cluster else []
        self.inside = [*self._databases(), *self._files(), *self._machines()]
        self.regional = list(self._regional())

    @property
    def network_side(self) -> bool:
        """Whether something is in a network."""
        return bool(self.vpc or self.cluster or self.inside)

    @property
    def holds_anything(self) -> bool:
        return self.network_side or bool(self.regional)

    def of(self, kind: str) -> Iterator[Resource]:
        """Resources of a type."""
        return (resource for resource in self._graph.resources if resource.type == kind)

    def zones(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """By zone and tier what the subnets say of themselves."""
        gates = Counter(gate.inputs.get("subnetId") for gate in self.of("aws:ec2/natGateway:NatGateway"))
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        for subnet in self.of("aws:ec2/subnet:Subnet"):
            zone = str(subnet.inputs.get("availabilityZoneId") or subnet.inputs.get("availabilityZone") or "any zone")
            tier = next((tier for tier in TIERS if tier in subnet.name), subnet.name)
            gate = ", NAT gateway" if gates[subnet.id] else ""
            found.setdefault(zone, {})[tier] = (f"{tier}{gate}", str(subnet.inputs.get("cidrBlock", "")))
        return {zone: found[zone] for zone in sorted(found)}

    def gates(self) -> str:
        """How the network reaches what is outside."""
        kinds = Counter(
            one.inputs.get("vpcEndpointType", "Gateway").lower() for one in self.of("aws:ec2/vpcEndpoint:VpcEndpoint")
        )
        words = [f"{number} {kind} endpoint{'' if number == 1 else 's'}" for kind, number in sorted(kinds.items())]
        internet = sum(1 for _ in self.of("aws:ec2/internetGateway:InternetGateway"))
        return ", ".join([*(["internet gateway"] if internet else []), *words])

    def cluster_title(self) -> str:
        """The cluster, its version, and who reaches its API server."""
        if not self.cluster:
            return ""
        inputs = self.cluster.inputs
        public = inputs.get("vpcConfig", {}).get("endpointPublicAccess")
        reach = "public endpoint with an allow-list" if public else "private endpoint"
        return f"EKS {inputs.get('name') or self.cluster.name}, Kubernetes {inputs.get('version', '')}, {reach}"

    def _system(self) -> Iterator[Card]:
        for group in self.of("aws:eks/nodeGroup:NodeGroup"):
            scaling = group.inputs.get("scalingConfig", {})
            size = f"{scaling.get('minSize')} to {scaling.get('maxSize')} nodes"
            yield Card("system nodes", (size, ", ".join(group.inputs.get("instanceTypes", ()))), "card pool")

    @staticmethod
    def _profiles(stack: Stack) -> Iterator[Card]:
        if isinstance(stack, EnvironmentStack) and isinstance(stack.settings, AwsEnvironment):
            for name, capacity in stack.settings.hardware.items():
                profile = stack.profiles[name]
                size = ", ".join(f"{most} {rung}" for rung, most in capacity.max.items())
                gpus = f"{profile.gpus} {profile.gpu}, " if profile.gpus else ""
                yield Card(name, (f"up to {size}", f"{gpus}{', '.join(profile.instance_types)}"), "card grown")

    def _databases(self) -> Iterator[Card]:
        for one in self.of("aws:rds/instance:Instance"):
            zones = "two zones" if one.inputs.get("multiAz") else "one zone"
            engine = f"{one.inputs.get('engine')} {one.inputs.get('engineVersion', '')}".strip()
            size = f"{one.inputs.get('allocatedStorage')} GB"
            lines = (engine, f"{one.inputs.get('instanceClass')}, {zones}, {size}")
            yield Card(self._components[one.urn], lines, "card data")

    def _files(self) -> Iterator[Card]:
        for one in self.of("aws:fsx/lustreFileSystem:LustreFileSystem"):
            yield Card("FSx for Lustre", (f"{one.inputs.get('storageCapacity')} GB",), "card data")
        for one in self.of("aws:efs/fileSystem:FileSystem"):
            yield Card("EFS", ("encrypted" if one.inputs.get("encrypted") else "not encrypted",), "card data")

    def _machines(self) -> Iterator[Card]:
        for one in self.of("aws:ec2/instance:Instance"):
            yield Card(one.name, (str(one.inputs.get("instanceType")),))
        templates = {one.id: one for one in self.of("aws:ec2/launchTemplate:LaunchTemplate")}
        for one in self.of("aws:autoscaling/group:Group"):
            template = templates.get(one.inputs.get("launchTemplate", {}).get("id"))
            machine = (str(template.inputs.get("instanceType")),) if template else ()
            yield Card(one.name, machine)

    def _regional(self) -> Iterator[Card]:
        for title, kind, key in (
            ("Buckets", "aws:s3/bucket:Bucket", "bucket"),
            ("Image repositories", "aws:ecr/repository:Repository", "name"),
            ("Pull-through caches", "aws:ecr/pullThroughCacheRule:PullThroughCacheRule", "upstreamRegistryUrl"),
            ("Queues", "aws:sqs/queue:Queue", "name"),
            ("CloudTrail", "aws:cloudtrail/trail:Trail", "name"),
            ("GuardDuty", "aws:guardduty/detector:Detector", ""),
            ("Backup vaults", "aws:backup/vault:Vault", "name"),
            ("Budgets", "aws:budgets/budget:Budget", "name"),
            ("Cost anomalies", "aws:costexplorer/anomalyMonitor:AnomalyMonitor", "name"),
        ):
            found = [str(one.inputs.get(key) or one.name) for one in self.of(kind)]
            if found:
                more = (f"and {len(found) - MOST_LINES + 1} more",) if len(found) > MOST_LINES else ()
                lines = (*found[: MOST_LINES - len(more)], *more)
                yield Card(title, lines, "card data" if title == "Buckets" else "card")
        for noun, kind in (
            ("KMS key", "aws:kms/key:Key"),
            ("IAM role", "aws:iam/role:Role"),
            ("log group", "aws:cloudwatch/logGroup:LogGroup"),
            ("secret", "aws:secretsmanager/secret:Secret"),
        ):
            number = sum(1 for _ in self.of(kind))
            if number:
                yield Card(f"{number} {noun}{'' if number == 1 else 's'}")


class Area(NamedTuple):
    """Where something is drawn."""

    x: float
    y: float
    width: float
    height: float


class Pen:
    """Draws; whatever is written is text and never markup."""

    def __init__(self) -> None:
        self._shapes: list[ElementTree.Element] = []

    def frame(self, area: Area, title: str, style: str) -> None:
        """A place that what was drawn before lies in."""
        words = self._text(area.x + PAD, area.y + 20, title, "heading", area.width - PAD)
        self._shapes = [self._box(area, f"place {style}"), words, *self._shapes]

    def card(self, card: Card, area: Area) -> None:
        self._shapes.append(self._box(area, card.style))
        self._shapes.append(self._text(area.x + 10, area.y + 21, card.title, "name", area.width))
        for index, line in enumerate(card.lines):
            self._shapes.append(self._text(area.x + 10, area.y + 39 + LINE * index, line, "fact", area.width))

    def grid(self, cards: Sequence[Card], x: float, y: float, width: float, columns: int) -> float:
        """Cards in rows; where the lowest one ends."""
        each = (width - GAP * (columns - 1)) / columns
        for start in range(0, len(cards), columns):
            row = cards[start : start + columns]
            height = max(card.height for card in row)
            for index, card in enumerate(row):
                self.card(card, Area(x + index * (each + GAP), y, each, height))
            y += height + GAP
        return y - GAP if cards else y

    def drawn(self, height: float, title: str, about: str) -> str:
        """The element."""
        names = {"role": "img", "aria-labelledby": "picture-title picture-about", "class": "picture"}
        made = ElementTree.Element("svg", {"viewBox": f"0 0 {WIDTH} {height:g}", **names})
        ElementTree.SubElement(made, "title", {"id": "picture-title"}).text = title
        ElementTree.SubElement(made, "desc", {"id": "picture-about"}).text = about
        made.extend(self._shapes)
        return ElementTree.tostring(made, encoding="unicode")

    @staticmethod
    def _box(area: Area, style: str) -> ElementTree.Element:
        sizes = {name: f"{value:g}" for name, value in area._asdict().items()}
        return ElementTree.Element("rect", {**sizes, "rx": "6", "class": style})

    @staticmethod
    def _text(x: float, y: float, text: str, style: str, width: float) -> ElementTree.Element:
        most = int((width - 16) / (LETTER * (1.1 if style == "heading" else 1)))
        made = ElementTree.Element("text", {"x": f"{x:g}", "y": f"{y:g}", "class": style})
        made.text = text
        if len(text) > most:
            made.text = f"{text[: most - 1]}…"
            ElementTree.SubElement(made, "title").text = text
        return made


def _network_side(pen: Pen, plot: Plot, x: float, y: float, width: float) -> float:
    """The network with its zones, and in it the cluster and what else has an address; where it ends."""
    in_x, in_y, in_width = x, y, width
    if plot.vpc:
        in_x, in_width = x + GAP, width - 2 * GAP
        in_y = _zones(pen, plot.zones(), in_x, y + HEADING, in_width)
    if plot.cluster:
        low = pen.grid(plot.pools, in_x + GAP, in_y + HEADING, in_width - 2 * GAP, 3) + GAP
        pen.frame(Area(in_x, in_y, in_width, low - in_y), plot.cluster_title(), "cluster")
        in_y = low + GAP
    low = pen.grid(plot.inside, in_x, in_y, in_width, 3) if plot.inside else in_y - GAP
    if plot.vpc:
        low += GAP
        title = ", ".join(filter(None, [f"VPC {plot.vpc.inputs.get('cidrBlock', '')}", plot.gates()]))
        pen.frame(Area(x, y, width, low - y), title, "network")
    return low


def _zones(pen: Pen, zones: dict[str, dict[str, tuple[str, ...]]], x: float, y: float, width: float) -> float:
    """A column a zone; where what follows begins."""
    if not zones:
        return y
    each = (width - GAP * (len(zones) - 1)) / len(zones)
    height = HEADING + max(len(tiers) for tiers in zones.values()) * (SUBNET + 6) + 2
    for index, (zone, tiers) in enumerate(zones.items()):
        left = x + index * (each + GAP)
        in_order = sorted(tiers, key=lambda tier: TIERS.index(tier) if tier in TIERS else len(TIERS))
        for row, tier in enumerate(in_order):
            title, cidr = tiers[tier]
            card = Card(title, (cidr,), f"subnet {tier}")
            pen.card(card, Area(left + 8, y + HEADING + row * (SUBNET + 6), each - 16, SUBNET))
        pen.frame(Area(left, y, each, height), zone, "zone")
    return y + height + GAP
