"""Settings and graphs that plans are made of in tests."""

from pathlib import Path
from typing import Any

import yaml

from infra.settings.stacks import Stack, load
from modelyard.plan.graph import Graph, Resource

ACCOUNT = {
    "account_id": "123456789012",
    "region": "us-east-1",
    "owner": "platform@example.com",
    "cost_center": "ml",
    "notify": ["platform@example.com"],
}
ENVIRONMENT = {
    "owner": "platform@example.com",
    "cost_center": "ml",
    "security": "standard",
    "lifetime": "throwaway",
    "cluster": {"admins": ["arn:aws:iam::123456789012:role/admin"]},
    "hardware": {"cpu": {"expected": 0, "max": {"on-demand": 1}}},
    "budget": {"usd_per_month": 1000, "notify": ["platform@example.com"]},
}
CPU = {"description": "CPU", "instance_types": ["m7i.xlarge"], "capacity": ["on-demand"], "max_usd_per_hour": 50}


def stack(folder: Path, *, profiles: dict[str, Any] | None = None, region: str = "us-east-1", **changes: Any) -> Stack:
    """The stack `dev` with these settings, without those that are None; `account` ones are the account's."""
    account = {**ACCOUNT, "region": region, **changes.pop("account", {})}
    settings = {key: value for key, value in {**ENVIRONMENT, **changes}.items() if value is not None}
    files = {
        "hardware": {"profiles": profiles or {"cpu": CPU}},
        "Pulumi.account.main": {"config": {"modelyard:account": account}},
        "Pulumi.dev": {"config": {"modelyard:environment": settings}},
    }
    for name, data in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    return load(folder, "dev")


def resource(kind: str, name: str, parent: str = "", **inputs: Any) -> Resource:
    """A resource of the cloud, or a component where the type is one of ours; `parent` is a name."""
    return Resource(
        urn=f"urn:{name}",
        type=kind,
        name=name,
        parent=f"urn:{parent}" if parent else "",
        inputs=inputs,
        dependencies=(),
        property_dependencies={},
        protect=False,
        retain_on_delete=False,
        provider="",
        custom=not kind.startswith("modelyard:"),
        secrets=frozenset(),
        id=f"{name}-id",
    )


def graph(*resources: Resource) -> Graph:
    """A graph of the stack `dev`."""
    return Graph("dev", resources, {})


ENVIRONMENT_COMPONENT = resource("modelyard:aws:Environment", "environment")


def component(name: str) -> Resource:
    """A part of the environment."""
    return resource(f"modelyard:aws:{name.title()}", name, "environment")
