"""Renew the catalogue's prices from AWS's public price list, and its zone offerings from EC2."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import httpx
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

from infra import catalog
from infra.catalog import tables
from modelyard.errors import FailedError, RefusedError

UNCHANGED = "nothing was changed"
ENGINES = {"PostgreSQL": "postgres", "MySQL": "mysql"}
DEPLOYMENTS = {"Single-AZ": "single-az", "Multi-AZ": "multi-az"}
ZONE_ID = re.compile(r"[a-z0-9]+-az[0-9]+")  # not a Local or Wavelength Zone
PREFIX = re.compile(r"([A-Z]{2,4}[0-9]*-|[a-z]+(-[a-z]+)+-[0-9]-)?")  # "EUC1-", or "eu-central-1-" with KMS

Row = dict[str, str]
Items = Iterator[tuple[str, float, str]]  # item, how many of the list's unit it is, unit
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Usage:
    """An item of the catalogue as the price list has it: a usage type behind the region's prefix."""

    item: str
    unit: str
    usage_type: str
    operation: str = ""
    times: float = 1  # of the list's unit in the item's


@dataclass
class Offer:
    """What a service's price list says of a region."""

    source: catalog.Source
    prices: dict[str, tuple[float, str]] = field(default_factory=dict)
    ambiguous: set[str] = field(default_factory=set)

    def add(self, item: str, usd: float, unit: str) -> None:
        """Take a price; two that differ for an item are none."""
        if item in self.ambiguous:
            return
        if self.prices.setdefault(item, (usd, unit)) != (usd, unit):
            del self.prices[item]
            self.ambiguous.add(item)


@dataclass(frozen=True)
class Renewed:
    """What has been renewed in a region."""

    region: str
    published: date
    instance_types: int  # with an on-demand price
    items: int
    zones: bool
    ambiguous: list[str]


@dataclass(frozen=True)
class _Made:
    renewed: Renewed
    types: list[Row]
    prices: list[Row]
    sources: list[catalog.Source]


USAGES = {
    "AmazonEC2": (
        Usage("nat-gateway-hour", "hour", "NatGateway-Hours", "NatGateway"),
        Usage("nat-gateway-gb", "gb", "NatGateway-Bytes", "NatGateway"),
        Usage("ebs-gp3-gb-month", "gb-month", "EBS:VolumeUsage.gp3"),
        Usage("ebs-gp3-iops-month", "iops-month", "EBS:VolumeP-IOPS.gp3"),
        Usage("ebs-gp3-mibps-month", "mibps-month", "EBS:VolumeP-Throughput.gp3", times=1 / 1024),
        Usage("ebs-snapshot-gb-month", "gb-month", "EBS:SnapshotUsage"),
    ),
    "AmazonVPC": (
        Usage("public-ipv4-hour", "hour", "PublicIPv4:InUseAddress"),
        Usage("interface-endpoint-hour", "hour", "VpcEndpoint-Hours", "VpcEndpoint"),
        Usage("interface-endpoint-gb", "gb", "VpcEndpoint-Bytes", "VpcEndpoint"),
    ),
    "AmazonEKS": (Usage("eks-cluster-hour", "hour", "AmazonEKS-Hours:perCluster"),),
    "AmazonRDS": (),
    "AmazonS3": (
        Usage("s3-standard-gb-month", "gb-month", "TimedStorage-ByteHrs"),
        Usage("s3-standard-ia-gb-month", "gb-month", "TimedStorage-SIA-ByteHrs"),
        Usage("s3-glacier-instant-gb-month", "gb-month", "TimedStorage-GIR-ByteHrs"),
        Usage("s3-glacier-flexible-gb-month", "gb-month", "TimedStorage-GlacierByteHrs"),
        Usage("s3-put-requests-1k", "1k requests", "Requests-Tier1", times=1000),
        Usage("s3-get-requests-1k", "1k requests", "Requests-Tier2", times=1000),
    ),
    "AmazonEFS": (Usage("efs-standard-gb-month", "gb-month", "TimedStorage-ByteHrs"),),
    "AmazonFSx": tuple(
        Usage(f"fsx-lustre-ssd-{throughput}-gb-month", "gb-month", f"Storage.SSD.{throughput}")
        for throughput in (125, 250, 500, 1000)
    ),
    "AmazonECR": (Usage("ecr-gb-month", "gb-month", "TimedStorage-ByteHrs"),),
    "AmazonCloudWatch": (
        Usage("cloudwatch-logs-gb", "gb", "DataProcessing-Bytes"),
        Usage("cloudwatch-logs-stored-gb-month", "gb-month", "TimedStorage-ByteHrs"),
        Usage("flow-logs-gb", "gb", "VendedLog-Bytes"),
    ),
    "awskms": (Usage("kms-key-month", "month", "KMS-Keys"),),
}


def refresh(regions: Iterable[str], address: str, tell: Tell) -> list[Renewed]:
    """Renew the regions' tables, all or none of them."""
    try:
        client = httpx.Client(base_url=address, timeout=60, follow_redirects=True)
    except httpx.InvalidURL as error:
        raise RefusedError(f"the address of the price list, {address}, is no URL: {error}") from error
    with client:
        made = [_region(region, client, tell) for region in regions]
    sources = {row["name"]: row for row in catalog.rows("sources.csv")}
    for one in made:
        sources |= {source.name: _row(source) for source in one.sources}
    try:
        tables.write(catalog.HERE / "sources.csv", tables.SOURCES, sources.values())
        for one in made:
            tables.write(catalog.REGIONS / f"{one.renewed.region}.csv", tables.REGION, one.types)
            tables.write(catalog.PRICES / f"{one.renewed.region}.csv", tables.PRICES, one.prices)
    except OSError as error:
        raise FailedError(f"{error.filename} can't be written: {error.strerror}") from error
    return [one.renewed for one in made]


def _region(region: str, client: httpx.Client, tell: Tell) -> _Made:
    offers = {}
    for service in USAGES:
        tell(f"{region}: the price list of {service}")
        offers[service] = read_offer(service, region, client)
    sources = [offer.source for offer in offers.values()]
    compute = offers["AmazonEC2"]
    on_demand = {item: usd for item, (usd, _) in compute.prices.items() if item in catalog.instance_types()}
    if not on_demand:
        raise FailedError(f"AWS's price list of EC2 in {region} has none of the known instance types; {UNCHANGED}")

    tell(f"{region}: the zones of EC2's instance types")
    zones, today = offered_zones(region), datetime.now(UTC).date()
    asked = catalog.Source(f"aws-offerings-{today:%Y%m%d}", today, "EC2's describe-instance-type-offerings")
    if zones is None:
        tell(f"{region}: without AWS credentials the zones stay as they are")
    else:
        sources.append(asked)

    prices = {row["item"]: row for row in catalog.rows(f"prices/{region}.csv")}
    found = 0
    for offer in offers.values():
        for item, (usd, unit) in offer.prices.items():
            if "." not in item or item.startswith("rds-"):  # not an instance type
                prices[item] = {"item": item, "usd": tables.number(usd), "unit": unit, "source": offer.source.name}
                found += 1
    ambiguous = sorted(item for offer in offers.values() for item in offer.ambiguous)
    renewed = Renewed(region, compute.source.date, len(on_demand), found, zones is not None, ambiguous)
    types = list(_types(region, on_demand, compute.source.name, zones, asked.name))
    return _Made(renewed, types, list(prices.values()), sources)


def _types(
    region: str, on_demand: dict[str, float], source: str, zones: dict[str, set[str]] | None, zones_source: str
) -> Iterator[Row]:
    before = {row["instance_type"]: row for row in catalog.rows(f"regions/{region}.csv")}
    names = before.keys() | on_demand.keys() if zones is None else zones.keys()
    for name in names & catalog.instance_types().keys():
        row = dict.fromkeys(tables.REGION, "") | {"instance_type": name} | before.get(name, {})
        if zones is not None:
            row |= {"zones": " ".join(sorted(zones[name])), "zones_source": zones_source}
        priced = name in on_demand
        row |= {"on_demand": tables.number(on_demand[name]) if priced else "", "on_demand_source": source * priced}
        yield row


def _row(source: catalog.Source) -> Row:
    return {"name": source.name, "date": source.date.isoformat(), "what": source.what}


def read_offer(service: str, region: str, client: httpx.Client) -> Offer:
    """The prices that the catalogue wants from a service's price list, which is read line by line."""
    request = client.build_request("GET", f"/offers/v1.0/aws/{service}/current/{region}/index.csv")
    try:
        answer = client.send(request, stream=True)
        with closing(answer):
            if answer.status_code != httpx.codes.OK:
                raise FailedError(f"{request.url} answered {answer.status_code}; {UNCHANGED}")
            return _offer(service, str(request.url), csv.reader(answer.iter_lines()))
    except httpx.HTTPError as error:
        raise FailedError(f"{request.url} can't be read ({error}); {UNCHANGED}") from error


def _offer(service: str, url: str, lines: Iterator[list[str]]) -> Offer:
    head: dict[str, str] = {}
    columns: list[str] = []
    try:
        for line in lines:
            if line[:1] == ["SKU"]:
                columns = line
                break
            head |= {line[0]: line[1]} if len(line) == 2 else {}
        published, version = date.fromisoformat(head["Publication Date"][:10]), head["Version"]
        source = catalog.Source(
            f"aws-{service}-{version}", published, f"AWS's price list of {service}, version {version}"
        )
        offer = Offer(source)
        for line in lines:
            if len(line) != len(columns):
                raise FailedError(f"{url} is broken off; {UNCHANGED}")
            _take(offer, service, dict(zip(columns, line, strict=True)))
    except (KeyError, ValueError, csv.Error) as error:
        raise FailedError(f"{url} is no price list of the known form; {UNCHANGED}") from error
    return offer


def _take(offer: Offer, service: str, row: Row) -> None:
    if row["TermType"] != "OnDemand" or row["Currency"] != "USD" or row["StartingRange"] not in {"", "0"}:
        return
    if usd := float(row["PricePerUnit"] or 0):
        for item, times, unit in _items(service, row):
            offer.add(item, usd * times, unit)


def _items(service: str, row: Row) -> Items:
    if service == "AmazonEC2" and _is_linux(row):
        yield row["Instance Type"], 1, "hour"
    elif service == "AmazonRDS":
        yield from _database(row)
    usage_type, operation = row.get("usageType", ""), row.get("operation", "")
    for usage in USAGES[service]:
        prefix = usage_type.removesuffix(usage.usage_type)
        if prefix != usage_type and PREFIX.fullmatch(prefix) and usage.operation in {"", operation}:
            yield usage.item, usage.times, usage.unit


def _is_linux(row: Row) -> bool:
    return (
        row["Product Family"] in {"Compute Instance", "Compute Instance (bare metal)"}
        and row["Operating System"] == "Linux"
        and row["Tenancy"] == "Shared"
        and row["Pre Installed S/W"] in {"", "NA"}
        and row["CapacityStatus"] == "Used"
        and row["Location Type"] == "AWS Region"
        and row["Unit"] == "Hrs"
    )


def _database(row: Row) -> Items:
    engine, deployment = ENGINES.get(row["Database Engine"]), DEPLOYMENTS.get(row["Deployment Option"])
    if row["Product Family"] == "Database Instance" and engine and deployment and row["Location Type"] == "AWS Region":
        yield f"rds-{engine}-{deployment}-{row['Instance Type']}-hour", 1, "hour"
    elif (
        row["Product Family"] == "Database Storage"
        and engine
        and deployment
        and row["Volume Type"] == "General Purpose-GP3"
    ):
        yield f"rds-gp3-{deployment}-gb-month", 1, "gb-month"
    elif row["Product Family"] == "Storage Snapshot" and engine:
        yield "rds-backup-gb-month", 1, "gb-month"


def offered_zones(region: str) -> dict[str, set[str]] | None:
    """The zone ids with each instance type as EC2 says; None without credentials."""
    found: dict[str, set[str]] = {}
    try:
        session = get_session()
        if session.get_credentials() is None:
            return None
        pages = session.create_client("ec2", region_name=region).get_paginator("describe_instance_type_offerings")
        for page in pages.paginate(LocationType="availability-zone-id"):
            for offer in page["InstanceTypeOfferings"]:
                if ZONE_ID.fullmatch(offer["Location"]):
                    found.setdefault(offer["InstanceType"], set()).add(offer["Location"])
    except (BotoCoreError, ClientError) as error:
        raise FailedError(f"EC2 in {region} doesn't tell its offerings ({error}); {UNCHANGED}") from error
    return found
