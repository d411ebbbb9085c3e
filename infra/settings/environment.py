"""What may be written about an environment."""

import ipaddress
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from infra.settings.base import (
    CostCenter,
    DatabaseClass,
    Email,
    InstanceTypeName,
    Lifetime,
    ProfileName,
    Range,
    ReservationId,
    RoleArn,
    Rung,
    Security,
    Settings,
    SourceRange,
    StackName,
    SubnetId,
    VpcId,
    VpcRange,
    ZoneId,
)

Share = Annotated[int, Field(ge=1, le=1000)]


class Estimate(Settings):
    """How much of something is used: for the price in a plan, and for nothing else."""

    expected: Annotated[float, Field(ge=0)]
    """In a usual month."""
    max: Annotated[float, Field(ge=0)]
    """In the month that you plan for."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.expected > self.max:
            raise ValueError(f"expected {self.expected:g} is above max {self.max:g}")
        return self


class NewNetwork(Settings):
    """A VPC of the environment's own."""

    cidr: VpcRange = "10.64.0.0/16"
    """Its private range, /16 to /20; environments that are to be peered need ranges that don't overlap."""
    zones: Annotated[
        Annotated[int, Field(ge=2, le=6), Tag("number")]
        | Annotated[tuple[ZoneId, ...], Field(min_length=2, max_length=6), Tag("list")],
        Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "number"),
    ] = 3
    """How many zones, or which (by id: `use1-az1`); a number takes those that offer the wanted GPU types."""
    nat: Literal["one", "per-zone"] | None = None
    """NAT gateways; left out: one where throwaway, one a zone where durable."""
    peers: tuple[Range, ...] = ()
    """Ranges of networks that this one will be connected to: none may overlap with it."""

    @model_validator(mode="after")
    def _overlaps_nothing(self) -> Self:
        own = ipaddress.IPv4Network(self.cidr)
        for peer in self.peers:
            if own.overlaps(ipaddress.IPv4Network(peer)):
                raise ValueError(f"cidr {self.cidr} overlaps with the peer {peer}; take a range that lies apart")
        if isinstance(self.zones, tuple) and len(set(self.zones)) < len(self.zones):
            raise ValueError("zones has a zone twice")
        return self


class ExistingNetwork(Settings):
    """A VPC that is there already."""

    vpc: VpcId
    private_subnets: Annotated[tuple[SubnetId, ...], Field(min_length=2)]
    """Where nodes and pods go: in at least two zones, with a way out."""
    public_subnets: tuple[SubnetId, ...] = ()
    """Where load balancers for the outside go; none: there are none."""
    intra_subnets: tuple[SubnetId, ...] = ()
    """Where databases and the control plane's interfaces go; none: into the private ones."""

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        for name in ("private_subnets", "public_subnets", "intra_subnets"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} has a subnet twice")
        if both := set(self.private_subnets) & set(self.public_subnets):
            raise ValueError(f"{', '.join(sorted(both))} is named as private and as public")
        return self


def _network_kind(value: Any) -> str:
    existing = "vpc" in value if isinstance(value, dict) else isinstance(value, ExistingNetwork)
    return "existing" if existing else "new"


class EksSettings(Settings):
    """The Kubernetes control plane on AWS."""

    admins: Annotated[tuple[RoleArn, ...], Field(min_length=1)]
    """IAM roles of the people who administer the cluster; nobody else has rights in it from the start."""
    public_access_from: tuple[SourceRange, ...] = ()
    """Addresses that may reach the API server over the internet; none: it is private, and `up` runs in the VPC."""
    runner: bool = False
    """A small machine in the VPC, reached by Session Manager, on which `up` can run where the API server is private."""

    @model_validator(mode="after")
    def _names_each_admin_once(self) -> Self:
        names = [arn.partition(":role/")[2] for arn in self.admins]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"admins has two roles called {', '.join(twice)}; the cluster knows them by their names")
        return self


class SystemNodes(Settings):
    """The small managed node group for what the platform itself runs."""

    instance_types: Annotated[tuple[InstanceTypeName, ...], Field(min_length=1)] = ("m7i.large",)
    min: Annotated[int, Field(ge=2, le=50)] = 2
    """Nodes from the start; nothing adds to them by itself, the work of others goes to Karpenter's nodes."""
    max: Annotated[int, Field(ge=2, le=100)] = 4
    """Room for raising it by hand."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class Reservation(Settings):
    """Capacity that is paid for whether it is used or not: an ODCR or a Capacity Block."""

    id: ReservationId | None = None
    """Its id, `cr-` and hexadecimal digits."""
    tags: dict[str, str] = Field(default={})
    """Or tags that it has."""

    @model_validator(mode="after")
    def _is_found_one_way(self) -> Self:
        if bool(self.id) == bool(self.tags):
            raise ValueError("a reservation is found by its id or by its tags: give one of them")
        return self


class Capacity(Settings):
    """How many nodes of a hardware profile an environment may have."""

    expected: Annotated[float, Field(ge=0)]
    """Nodes that run on average, for the price."""
    max: Annotated[dict[Rung, Share], Field(min_length=1)]
    """The most nodes of each kind of capacity; together they are the profile's ceiling."""
    reservation: Reservation | None = None
    """Where `max` has reserved nodes: which reservation they are."""
    zones: tuple[ZoneId, ...] = ()
    """Only in these zones; left out: wherever the network is."""

    @property
    def ceiling(self) -> int:
        """The most nodes, of all kinds together."""
        return sum(self.max.values())

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.expected > self.ceiling:
            raise ValueError(f"expected {self.expected:g} is above what max adds up to, {self.ceiling}")
        if (Rung.RESERVED in self.max) != (self.reservation is not None):
            raise ValueError("reserved nodes in max and a reservation go together")
        return self


class Lustre(Settings):
    """FSx for Lustre, joined with the data bucket: fast files for training."""

    kind: Literal["lustre"]
    size_gb: Annotated[int, Field(ge=1200, multiple_of=1200)] = 1200
    """1200, 2400, 3600, …"""
    throughput: Literal[125, 250, 500, 1000] = 125
    """MB/s for each TiB."""


class Efs(Settings):
    """EFS: files that many pods share, in every zone."""

    kind: Literal["efs"]
    subnets: tuple[SubnetId, ...] = ()
    """In an existing network: in which of its private subnets it is mounted, one a zone; left out: in all of them."""


class StorageSettings(Settings):
    """Buckets and file systems."""

    keep_old_versions_days: Annotated[int, Field(ge=1, le=3650)] = 90
    """Overwritten and deleted objects are kept for this long."""
    keep_logs_days: Annotated[int, Field(ge=1, le=3650)] = 365
    """Access logs are kept for this long."""
    lock_days: Annotated[int, Field(ge=1, le=36500)] = 365
    """Where durable: nobody can delete an audit record or an approved model before this."""
    file_system: Annotated[Lustre | Efs, Field(discriminator="kind")] | None = None


class DatabaseSettings(Settings):
    """One managed database."""

    instance_class: DatabaseClass = "db.t4g.medium"
    storage_gb: Annotated[int, Field(ge=20, le=65536)] = 20
    max_storage_gb: Annotated[int, Field(ge=20, le=65536)] = 100
    """It grows by itself up to this: at least a tenth above storage_gb, or the same, and then it doesn't grow."""

    @model_validator(mode="after")
    def _can_grow(self) -> Self:
        # RDS User Guide, Managing capacity automatically with storage autoscaling; read 2026-11-21
        if self.max_storage_gb != self.storage_gb and 10 * self.max_storage_gb < 11 * self.storage_gb:
            least = -(-11 * self.storage_gb // 10)
            raise ValueError(
                f"max_storage_gb {self.max_storage_gb} leaves storage_gb {self.storage_gb} no room to grow: RDS wants "
                f"{least} at least, or {self.storage_gb} for a database that doesn't grow"
            )
        return self


class RegistrySettings(Settings):
    """Container images of the environment's own."""

    repositories: tuple[Annotated[str, Field(pattern=r"^[a-z0-9]+([._/-][a-z0-9]+)*$", max_length=200)], ...] = (
        "steps",
    )
    """Their names follow the environment's: `dev/steps`."""
    keep_images: Annotated[int, Field(ge=1, le=10000)] = 200
    """The newest ones of each repository."""


class BudgetSettings(Settings):
    """What the environment may cost, and who is told when it nears that."""

    usd_per_month: Annotated[float, Field(gt=0)]
    notify: Annotated[tuple[Email, ...], Field(min_length=1, max_length=10)]


class Usage(Settings):
    """What is used besides hours of machines: for the price in a plan, and for nothing else."""

    data_gb: Estimate = Estimate(expected=500, max=5000)
    """Objects in the data bucket."""
    artifacts_gb: Estimate = Estimate(expected=200, max=2000)
    """Objects in the artifacts bucket."""
    models_gb: Estimate = Estimate(expected=50, max=500)
    """Objects in the models bucket."""
    images_gb: Estimate = Estimate(expected=50, max=200)
    """Container images."""
    logs_gb: Estimate = Estimate(expected=50, max=500)
    """Logs written a month."""
    nat_gb: Estimate = Estimate(expected=200, max=2000)
    """Traffic through the NAT gateways a month."""


class Environment(Settings):
    """What every environment says of itself."""

    owner: Email
    """Who answers for it: the tag `owner`."""
    cost_center: CostCenter
    """Who pays for it: the tag `cost-center`."""
    security: Security
    """`standard` or `hardened`."""
    lifetime: Lifetime
    """`throwaway` can be destroyed to nothing; `durable` keeps and protects what holds data."""


class AwsEnvironment(Environment):
    """An environment on AWS."""

    account: StackName = "main"
    """`main` means the stack `account.main`, whose account and region are this environment's too."""
    network: Annotated[
        Annotated[NewNetwork, Tag("new")] | Annotated[ExistingNetwork, Tag("existing")], Discriminator(_network_kind)
    ] = NewNetwork()
    cluster: EksSettings
    system_nodes: SystemNodes = SystemNodes()
    hardware: Annotated[dict[ProfileName, Capacity], Field(min_length=1)]
    """Which profiles of hardware.yaml there are here, and how many nodes of each."""
    storage: StorageSettings = StorageSettings()
    tracking_database: DatabaseSettings = DatabaseSettings()
    """MLflow's."""
    pipelines_database: DatabaseSettings = DatabaseSettings()
    """Kubeflow Pipelines'."""
    registry: RegistrySettings = RegistrySettings()
    budget: BudgetSettings
    usage: Usage = Usage()

    @model_validator(mode="after")
    def _watches_pipelines(self) -> Self:
        # RDS User Guide, engine support for Performance Insights, by github.com/awsdocs/amazon-rds-user-guide issue 189
        if self.pipelines_database.instance_class.endswith((".micro", ".small")):
            raise ValueError(
                f"pipelines_database can't be a {self.pipelines_database.instance_class}: it is MySQL, which has "
                "Performance Insights from a medium class on, db.t4g.medium"
            )
        return self

    @model_validator(mode="after")
    def _mounts_where_nodes_are(self) -> Self:
        files, network = self.storage.file_system, self.network
        chosen = files.subnets if isinstance(files, Efs) else ()
        private = network.private_subnets if isinstance(network, ExistingNetwork) else ()
        if strange := [subnet for subnet in chosen if subnet not in private]:
            raise ValueError(
                f"file_system is mounted in {', '.join(strange)}: name subnets of network.private_subnets, or none"
            )
        return self


class ExistingCluster(Settings):
    """A Kubernetes cluster that is there already: kind, k3s, on-premises, another cloud."""

    kubeconfig: Annotated[str, Field(min_length=1)]
    """The path of its kubeconfig; `~` is your home."""
    context: str = ""
    """The context in it; left out: its current one."""


class ExistingCapacity(Settings):
    """Nodes of a hardware profile that an existing cluster has."""

    nodes: Share
    labels: dict[str, str] = Field(default={})
    """The labels by which they are known there; left out: modelyard.dev/profile."""


class ExistingEnvironment(Environment):
    """An environment on an existing cluster."""

    cluster: ExistingCluster
    hardware: Annotated[dict[ProfileName, ExistingCapacity], Field(min_length=1)]
    """Which profiles of hardware.yaml there are here."""
