"""How the tables are written: sorted, whole or not at all."""

import csv
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

SOURCES = ("name", "date", "what")
TYPES = (
    "name", "vcpus", "memory_gib", "architecture", "gpu", "gpus", "gpu_memory_gib", "local_disk_gb", "efa_interfaces",
)  # fmt: skip
REGION = ("instance_type", "zones", "zones_source", "on_demand", "on_demand_source", "spot", "spot_source")
PRICES = ("item", "usd", "unit", "source")

Row = Mapping[str, object]


def write(path: Path, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
    """Put a table in a file's place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, columns, lineterminator="\n")
            table.writeheader()
            table.writerows(sorted(rows, key=lambda row: [str(row[column]) for column in columns[:2]]))
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def number(value: float) -> str:
    """A price without the digits that only floats have."""
    return f"{value:.10f}".rstrip("0").rstrip(".")
