"""A plan: what a stack would be, cost and need, and what is wrong with it, from its files alone."""

import json
import runpy
import sys
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pulumi

from infra.policy import CONTROLS
from infra.settings import stacks, waivers
from infra.settings.stacks import EnvironmentStack, Stack
from infra.settings.waivers import Waivers
from modelyard.errors import RefusedError
from modelyard.plan.difference import Difference, difference, read
from modelyard.plan.findings import Finding, findings
from modelyard.plan.graph import Graph, Resource, record
from modelyard.plan.imports import by_need
from modelyard.plan.price import Bill, Line, Sizes, price
from modelyard.plan.quotas import Need, needs

PROJECT = "modelyard"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that is known of a stack before it is there."""

    stack: Stack
    graph: Graph
    bill: Bill
    quotas: tuple[Need, ...]
    findings: tuple[Finding, ...]
    waivers: Waivers
    against: Path | None
    """The earlier plan or the state that `difference` is against."""
    difference: Difference | None
    notes: tuple[str, ...] = ()
    """What to know of the difference, or of why there is none."""

    def json(self) -> dict[str, Any]:
        """The whole plan as plain data, the same for the same files."""
        return {
            "stack": self.stack.name,
            "resources": [_resource(resource) for resource in self.graph.resources],
            "price": _bill(self.bill),
            "quotas": [{**asdict(need), "suffices": need.suffices} for need in self.quotas],
            "findings": [_finding(finding) for finding in self.findings],
            "difference": self.difference and _difference(self.difference),
        }


def plan(root: Path, name: str, *, today: date, against: Path | None = None) -> Plan:
    """Plan a stack of the project. Raises SettingsError, or RefusedError for what its program refuses.

    The difference is against a file, or else against the plan that was saved last, if any was.
    """
    stack = stacks.load(root / "stacks", name)
    granted = waivers.load(root / "stacks", [control.name for control in CONTROLS])
    before, earlier, notes = _earlier(root, name, against)
    graph = graph_of(root, stack)
    return Plan(
        stack=stack,
        graph=graph,
        bill=price(graph, stack),
        quotas=tuple(needs(graph, stack)),
        findings=tuple(findings(graph, stack, granted, today)),
        waivers=granted,
        against=before,
        difference=difference(earlier, graph) if earlier else None,
        notes=notes,
    )


def _earlier(root: Path, name: str, against: Path | None) -> tuple[Path | None, Graph | None, tuple[str, ...]]:
    """What to compare with, and what to say of it. A saved plan that can't be read keeps nobody from a new one."""
    before = against or saved(root, name)
    if not against and not before.exists():
        return None, None, ()
    try:
        earlier = _read(before, name)
    except ValueError as error:
        if against:
            raise RefusedError(str(error)) from error
        return None, None, (f"not compared with the plan that was saved last: {error}; --save writes it anew",)
    if against and not earlier.resources:
        return before, earlier, (f"{before} holds no resources, so everything is new",)
    return before, earlier, ()


def _read(file: Path, name: str) -> Graph:
    earlier = read(file)
    if earlier.stack not in ("", name):
        raise ValueError(f"{file} is of the stack {earlier.stack}, and this is {name}")
    return earlier


def graph_of(root: Path, stack: Stack) -> Graph:
    """What the program of `pulumi up` registers for a stack."""
    references = {}
    if isinstance(stack, EnvironmentStack) and stack.account:
        references[stack.account.name] = graph_of(root, stack.account).outputs
    if "pulumi_aws" not in sys.modules:
        by_need()
    try:
        return record(
            lambda: runpy.run_path(str(root / "infra" / "__main__.py"), run_name="__main__"),
            project=PROJECT,
            stack=stack.name,
            config=stack.document.data["config"],
            references=references,
        )
    except (ValueError, LookupError, pulumi.RunError) as error:
        raise RefusedError(f"{stack.name}: {error}") from error


def saved(root: Path, name: str) -> Path:
    """Where a stack's plan is kept."""
    return root / ".modelyard" / "plans" / f"{name}.json"


def save(root: Path, made: Plan) -> Path:
    """Keep a plan, for later ones to be held against."""
    file = saved(root, made.stack.name)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        (root / ".modelyard" / ".gitignore").write_text("*\n", encoding="utf-8")
        part = file.with_suffix(".part")
        part.write_text(json.dumps(made.json(), indent=1) + "\n", encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise RefusedError(f"{file} can't be written: {error.strerror}") from error
    return file


def _resource(resource: Resource) -> dict[str, Any]:
    return {
        "urn": resource.urn,
        "type": resource.type,
        "name": resource.name,
        "parent": resource.parent,
        "custom": resource.custom,
        "id": resource.id,
        "inputs": resource.inputs,
        "dependencies": list(resource.dependencies),
        "protect": resource.protect,
        "retain_on_delete": resource.retain_on_delete,
        "provider": resource.provider,
        "secrets": sorted(resource.secrets),
    }


def _bill(bill: Bill) -> dict[str, Any]:
    return {
        "currency": "USD",
        "per": "month of 730 hours",
        "region": bill.region,
        "total": _usd(bill.total),
        "budget": bill.budget_usd,
        "over_budget": bill.over_budget,
        "components": {name: _usd(sizes) for name, sizes in bill.by_component.items()},
        "profiles": {name: _usd(sizes) for name, sizes in bill.by_profile.items()},
        "lines": [_line(line) for line in bill.lines],
        "unpriced": [asdict(one) for one in bill.unpriced],
        "unknown": list(bill.unknown),
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "component": line.charge.component,
        "profile": line.charge.profile,
        "what": line.charge.what,
        "item": line.charge.item,
        "quantity": {name: round(value, 2) for name, value in asdict(line.charge.quantity).items()},
        "unit": line.unit.unit,
        "unit_usd": line.unit.usd,
        "usd": _usd(line.usd),
        "source": line.unit.source,
        "date": str(line.unit.date),
    }


def _usd(sizes: Sizes) -> dict[str, float]:
    return {name: round(value, 2) for name, value in asdict(sizes).items()}


def _finding(finding: Finding) -> dict[str, Any]:
    waiver = finding.waived
    return {
        "policy": finding.policy,
        "severity": finding.severity.value,
        "control": list(finding.control),
        "urn": finding.urn,
        "message": finding.message,
        "setting": finding.setting,
        "file": finding.file,
        "line": finding.line,
        "waived": waiver and {"reason": waiver.reason, "expires": str(waiver.expires)},
    }


def _difference(found: Difference) -> dict[str, Any]:
    return {
        "created": list(found.created),
        "deleted": list(found.deleted),
        "changed": {urn: [asdict(change) for change in changes] for urn, changes in found.changed.items()},
    }
