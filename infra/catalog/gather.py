"""How the EC2 tables were first made: `python -m infra.catalog.gather`, from two Go modules and moto's package.

What they hold is AWS's own answer of their day; `modelyard prices refresh` asks AWS itself.
"""

import gzip
import json
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from infra.catalog import HERE, REGIONS, tables

FACTS = "moto-5.2.5"  # EC2's describe-instance-types and describe-instance-type-offerings
NEWER = "karpenter-1.15.1"  # us-east-1 on demand
OLDER = "ec2instances-20250528"  # all regions on demand, and spot
MODULES = {
    NEWER: "github.com/aws/karpenter-provider-aws@v1.15.1",
    OLDER: "github.com/cristim/ec2-instances-info@v0.0.0-20250528091325-32acf84f42eb",
}
HOME = "us-east-1"  # the region of the newer prices
ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}


def main() -> None:
    """Write the instance types and a table for each region."""
    moto = Path(str(files("moto"))) / "ec2" / "resources"
    types = [made for facts in _gunzip(moto / "instance_types.json.gz").values() for made in _type(facts)]
    known = {row["name"] for row in types}
    tables.write(HERE / "instance_types.csv", tables.TYPES, types)

    newer, older = dict(_karpenter()), _ec2instances()
    changed = {name for name, usd in newer.items() if older[HOME].get(name, {}).get("on_demand", usd) != usd}
    for path in (moto / "instance_type_offerings" / "availability-zone-id").glob("*.json.gz"):
        region = path.name.removesuffix(".json.gz")
        zones = defaultdict(set)
        for offer in _gunzip(path):
            zones[offer["InstanceType"]].add(offer["Location"])
        rows = []
        for name in zones.keys() & known:
            prices = older[region].get(name, {})
            on_demand, source = prices.get("on_demand"), OLDER
            if region == HOME:
                on_demand, source = newer.get(name), NEWER
            elif name in changed:  # AWS has changed it since: known to be wrong is worse than not known
                on_demand = None
            rows.append(
                {
                    "instance_type": name,
                    "zones": " ".join(sorted(zones[name])),
                    "zones_source": FACTS,
                    "on_demand": tables.number(on_demand) if on_demand else "",
                    "on_demand_source": source if on_demand else "",
                    "spot": tables.number(prices["spot"]) if "spot" in prices else "",
                    "spot_source": OLDER if "spot" in prices else "",
                }
            )
        tables.write(REGIONS / f"{region}.csv", tables.REGION, rows)


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


def _ec2instances() -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    for facts in json.loads(_read(OLDER, "data/instances.json")):
        for region, systems in facts["pricing"].items():
            linux = systems.get("linux", {})
            prices = {"on_demand": linux.get("ondemand"), "spot": linux.get("spot_avg")}
            found[region][facts["instance_type"]] = {
                what: float(usd) for what, usd in prices.items() if usd not in {None, "N/A"} and float(usd) > 0
            }
    return found


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
