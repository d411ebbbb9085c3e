"""The waivers of Checkov's checks as Checkov takes them: it reads no comments in a plan, but it reads a baseline."""

from datetime import date
from typing import Any

from infra.settings.waivers import CHECKOV, Waiver, Waivers
from modelyard.plan.graph import Graph
from modelyard.plan.terraform import addresses


def baseline(graph: Graph, waivers: Waivers, today: date) -> dict[str, Any]:
    """For `checkov --baseline`: what is waived, by the resources' addresses in the plan as Terraform would have it."""
    valid = [waiver for waiver in waivers.granted if CHECKOV.fullmatch(waiver.policy) and not waiver.expired(today)]
    found = {
        address: sorted({waiver.policy for waiver in valid if waiver.covers(waiver.policy, urn)})
        for urn, address in addresses(graph).items()
    }
    findings = [{"resource": address, "check_ids": checks} for address, checks in found.items() if checks]
    return {"failed_checks": [{"file": "/plan.json", "findings": findings}]}


def without_effect(graph: Graph, waivers: Waivers) -> list[Waiver]:
    """Those whose `resources` match nothing in the plan. Whether there is such a check only Checkov knows."""
    return [
        waiver
        for waiver in waivers.granted
        if CHECKOV.fullmatch(waiver.policy) and not any(waiver.covers(waiver.policy, urn) for urn in addresses(graph))
    ]
