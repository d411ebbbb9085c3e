"""Resources made by hand, and what the controls say of them."""

from datetime import date
from pathlib import Path

import pytest

from infra.settings.stacks import load
from infra.settings.waivers import Waivers
from modelyard.plan.findings import findings
from modelyard.plan.graph import Graph, Resource

STACKS = Path(__file__).parents[2] / "stacks"
TODAY = date(2026, 11, 21)
PROVIDER_URN = "urn:pulumi:dev::modelyard::pulumi:providers:aws::aws"


def resource(kind, name, inputs=None, *, uses=None, protect=False):
    """`uses` names, for an input, the resources that it is made from."""
    return Resource(
        urn=f"urn:pulumi:dev::modelyard::{kind}::{name}",
        type=kind,
        name=name,
        parent="",
        inputs=inputs or {},
        dependencies=(),
        property_dependencies={key: tuple(one.urn for one in used) for key, used in (uses or {}).items()},
        protect=protect,
        retain_on_delete=protect,
        provider=PROVIDER_URN if kind.startswith("aws:") else "",
        custom=not kind.startswith("modelyard:"),
        secrets=frozenset(),
    )


@pytest.fixture(scope="session")
def dev():
    return load(STACKS, "dev")


@pytest.fixture
def judge(dev):
    """What is found in some resources; by default there are no waivers."""

    def run(resources, waivers=None, today=TODAY):
        graph = Graph("dev", tuple(resources), {})
        return findings(graph, dev, waivers or Waivers((), dev.document), today)

    return run
