"""What AWS offers, where and at what price: dated tables beside this file, read when they are asked for.

Every price, offering and quota names its source; `sources.csv` says what that is and of which day.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType

HERE = Path(__file__).parent
REGIONS = HERE / "regions"
PRICES = HERE / "prices"

# A cluster's subnets can't be in these: Amazon EKS User Guide, network_reqs.html#network-requirements-subnets, and
# repost.aws/knowledge-center/eks-cluster-creation-errors, as quoted in public repositories on 2026-11-21.
UNUSABLE_ZONES = frozenset({"use1-az3", "usw1-az2", "cac1-az3"})

# Amazon EC2 Instance Types Guide, "Amazon EC2 instance type quotas": by the letters that a type's name begins with,
# on demand and on spot; P on spot has a quota for P5 and one for those before it.
_STANDARD, _G = ("L-1216C47A", "L-34B43A08"), ("L-DB2E81BA", "L-3819A6DF")
VCPU_QUOTAS: Mapping[str, tuple[str, str | None]] = {
    **dict.fromkeys(("a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z"), _STANDARD),
    **dict.fromkeys(("g", "gr", "vt"), _G),
    "p": ("L-417A185B", None),
    "trn": ("L-2C3B7624", "L-6B0D517C"),
    "inf": ("L-1945791B", "L-B5D1601B"),
    "dl": ("L-6E869C2A", "L-85EED4F7"),
    "f": ("L-74FC7D96", "L-88CF9481"),
    "x": ("L-7295265B", "L-E3A00192"),
    "u": ("L-43DA4232", None),
    "hpc": ("L-F7808C92", None),
}
SPOT_P_QUOTAS = {"2": "L-7212CCBC", "3": "L-7212CCBC", "4": "L-7212CCBC", "5": "L-C4BD4855"}


@dataclass(frozen=True, slots=True)
class InstanceType:
    """An EC2 instance type."""

    name: str
    vcpus: int
    memory_gib: float
    architecture: str  # amd64 or arm64
    gpu: str  # the model in lower case as EC2's API calls it: "a10g", "h100"; "" without one
    gpus: int  # as Kubernetes counts them: a type with a part of a GPU has one
    gpu_memory_gib: float  # of all GPUs together
    local_disk_gb: int
    efa_interfaces: int


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit of AWS Service Quotas as a new account has it."""

    code: str
    service: str
    name: str
    default: float
    counts: str  # what: "vCPUs", "clusters", …
    per: str  # region, account, vpc, zone, cluster or node group
    source: str


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a unit, as its source had it on a day."""

    usd: float
    unit: str
    source: str
    date: date


@dataclass(frozen=True, slots=True)
class Source:
    """Where facts are from."""

    name: str
    date: date
    what: str


@dataclass(frozen=True, slots=True)
class Offering:
    """An instance type in a region."""

    zones: frozenset[str]
    zones_source: str
    on_demand: Price | None
    spot: Price | None  # the mean of the zones


@cache
def sources() -> Mapping[str, Source]:
    """Every source by name."""
    return MappingProxyType(
        {row["name"]: Source(row["name"], date.fromisoformat(row["date"]), row["what"]) for row in rows("sources.csv")}
    )


@cache
def instance_types() -> Mapping[str, InstanceType]:
    """Every known instance type by name."""
    return MappingProxyType(
        {
            row["name"]: InstanceType(
                name=row["name"],
                vcpus=int(row["vcpus"]),
                memory_gib=float(row["memory_gib"]),
                architecture=row["architecture"],
                gpu=row["gpu"],
                gpus=int(row["gpus"]),
                gpu_memory_gib=float(row["gpu_memory_gib"]),
                local_disk_gb=int(row["local_disk_gb"]),
                efa_interfaces=int(row["efa_interfaces"]),
            )
            for row in rows("instance_types.csv")
        }
    )


@cache
def regions() -> tuple[str, ...]:
    """The regions with a table, sorted."""
    return tuple(sorted(path.stem for path in REGIONS.glob("*.csv")))


@cache
def offerings(region: str) -> Mapping[str, Offering]:
    """What a region offers by instance type; KeyError for an unknown region."""
    if region not in regions():
        raise KeyError(region)
    return MappingProxyType(
        {
            row["instance_type"]: Offering(
                frozenset(row["zones"].split()) - UNUSABLE_ZONES,
                row["zones_source"],
                _hourly(row["on_demand"], row["on_demand_source"]),
                _hourly(row["spot"], row["spot_source"]),
            )
            for row in rows(f"regions/{region}.csv")
        }
    )


@cache
def zones(region: str) -> tuple[str, ...]:
    """The ids of the zones that EKS can use, sorted; KeyError for an unknown region."""
    return tuple(sorted(frozenset().union(*(offering.zones for offering in offerings(region).values()))))


def offered_in(region: str, instance_type: str) -> frozenset[str]:
    """The ids of the zones with that type that EKS can use; empty for an unknown type, KeyError for a region."""
    offering = offerings(region).get(instance_type)
    return offering.zones if offering else frozenset()


def hourly_price(region: str, instance_type: str, capacity: str = "on-demand") -> Price | None:
    """The price of an hour with Linux, on demand or "spot"; None if not known, KeyError for an unknown region."""
    if capacity not in {"on-demand", "spot"}:
        raise ValueError(f"capacity is '{capacity}', not 'on-demand' or 'spot'")
    if (offering := offerings(region).get(instance_type)) is None:
        return None
    return offering.spot if capacity == "spot" else offering.on_demand


def hourly_usd(region: str, instance_type: str, capacity: str = "on-demand") -> float | None:
    """The same as a number."""
    price = hourly_price(region, instance_type, capacity)
    return price.usd if price else None


@cache
def unit_prices(region: str) -> Mapping[str, Price]:
    """What other things cost in a region by item; KeyError for an unknown region."""
    if region not in regions():
        raise KeyError(region)
    return MappingProxyType(
        {
            row["item"]: Price(float(row["usd"]), row["unit"], row["source"], sources()[row["source"]].date)
            for row in rows(f"prices/{region}.csv")
        }
    )


def unit_price(region: str, item: str) -> Price | None:
    """The price of an item such as "nat-gateway-hour"; None if not known there, KeyError for an unknown region."""
    return unit_prices(region).get(item)


def prices(region: str) -> dict[str, Price]:
    """Every price of a region: items, and instance types by name on demand and with "-spot" behind it."""
    known = dict(unit_prices(region))
    for name, offering in offerings(region).items():
        known |= {name: offering.on_demand} if offering.on_demand else {}
        known |= {f"{name}-spot": offering.spot} if offering.spot else {}
    return known


@cache
def quotas() -> Mapping[str, Quota]:
    """The quotas that a plan counts, by code."""
    return MappingProxyType(
        {
            row["code"]: Quota(
                row["code"],
                row["service"],
                row["name"],
                float(row["default"]),
                row["counts"],
                row["per"],
                row["source"],
            )
            for row in rows("quotas.csv")
        }
    )


def vcpu_quota(instance_type: str, capacity: str = "on-demand") -> str | None:
    """The code of the quota that an instance type's vCPUs count on; None where AWS documents none (P6 on spot)."""
    family = instance_type.split(".", maxsplit=1)[0]
    letters = "".join(takewhile(str.isalpha, family))
    if letters not in VCPU_QUOTAS:
        raise KeyError(instance_type)
    on_demand, spot = VCPU_QUOTAS[letters]
    if capacity == "on-demand":
        return on_demand
    if capacity != "spot":
        raise ValueError(f"capacity is '{capacity}', not 'on-demand' or 'spot'")
    return SPOT_P_QUOTAS.get(family[1:2]) if letters == "p" else spot


def rows(name: str) -> Iterator[dict[str, str]]:
    """The lines of a table as they are written."""
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _hourly(usd: str, source: str) -> Price | None:
    return Price(float(usd), "hour", source, sources()[source].date) if usd else None
