"""What is wrong with an environment, by the controls of infra/policy, and which setting decides it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from pulumi_policy import (
    PolicyProviderResource,
    PolicyResource,
    ResourceValidationArgs,
    Severity,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.policy import PolicyCustomTimeouts, PolicyResourceOptions
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from infra.policy import CONTROLS
from infra.policy.control import Control
from infra.settings.files import shown
from infra.settings.stacks import ACCOUNT, ENVIRONMENT, AccountStack, EnvironmentStack
from infra.settings.waivers import CHECKOV, Waiver, Waivers
from modelyard.plan.graph import UNKNOWN, Graph, Resource

RANKS = (Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL)
UNUSED = "waiver-in-use"
EXPIRED = "waiver-not-expired"
Violation = tuple[Control, str, str]
"""Which control, the URN, the message."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One violation. Without a line the setting isn't written down: its default decides, or no setting does."""

    policy: str
    severity: Severity
    control: tuple[int, ...]
    urn: str
    message: str
    setting: str = ""
    file: str = ""
    line: int | None = None
    waived: Waiver | None = None

    @property
    def rank(self) -> int:
        """From 0, the least severe."""
        return RANKS.index(self.severity)


def findings(graph: Graph, settings: AccountStack | EnvironmentStack, waivers: Waivers, today: date) -> list[Finding]:
    """Every violation in a stack, the most severe first, the waived ones among them; then waivers without use."""
    found = [_finding(violation, settings, waivers, today) for violation in _violations(graph, today)]
    found.sort(key=lambda finding: -finding.rank)
    return [*found, *_unused(graph, found, waivers), *_expired(graph, waivers, today)]


def _violations(graph: Graph, today: date) -> Iterator[Violation]:
    resources = {resource.urn: _as_policies_see(resource) for resource in graph.resources}
    for resource in graph.resources:
        if provider := resources.get(resource.provider):
            resources[resource.urn].provider = PolicyProviderResource(
                provider.resource_type, provider.props, provider.urn, provider.name
            )
        for key, urns in resource.property_dependencies.items():
            used = [resources[urn] for urn in urns if urn in resources]
            resources[resource.urn].property_dependencies[key] = used
    config = {"today": today}
    stack = StackValidationArgs(list(resources.values()), config)
    for control in CONTROLS:
        told: list[tuple[str, str]] = []

        def report(message: str, urn: str | None = None, told: list[tuple[str, str]] = told) -> None:
            told.append((urn or "", message))

        policy = control.policy()
        if isinstance(policy, StackValidationPolicy):
            policy.validate(stack, report)
        else:
            for one in stack.resources:
                if one.resource_type in control.types:
                    policy.validate(_alone(one, config), report)
        yield from ((control, urn, message) for urn, message in told)


def _as_policies_see(resource: Resource) -> PolicyResource:
    timeouts = PolicyCustomTimeouts(0, 0, 0)
    options = PolicyResourceOptions(resource.protect, [], None, [], timeouts, sorted(resource.secrets), resource.parent)
    props = unknown_checking_proxy(_with_unknowns(resource.inputs))
    return PolicyResource(resource.type, props, resource.urn, resource.name, options, None, None, [], {})


def _alone(resource: PolicyResource, config: dict[str, Any]) -> ResourceValidationArgs:
    return ResourceValidationArgs(
        resource.resource_type, resource.props, resource.urn, resource.name, resource.opts, None, config
    )


def _with_unknowns(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_unknowns(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_unknowns(inner) for inner in value]
    return UNKNOWN_STRING_VALUE if value == UNKNOWN else value


def _finding(violation: Violation, settings: AccountStack | EnvironmentStack, waivers: Waivers, today: date) -> Finding:
    control, urn, message = violation
    waiver = waivers.covering(control.name, urn)
    expired = waiver is not None and waiver.expired(today)
    document = settings.document
    key = (
        "config",
        ACCOUNT if isinstance(settings, AccountStack) else ENVIRONMENT,
        *control.setting.split("."),
    )
    written = bool(control.setting) and document.has(key)
    return Finding(
        policy=control.name,
        severity=control.severity,
        control=control.numbers,
        urn=urn,
        message=f"{message}; {waiver.lapsed}" if waiver and expired else message,
        setting=control.setting,
        file=shown(document.path) if written else "",
        line=document.line(key) if written else None,
        waived=None if expired else waiver,
    )


def _unused(graph: Graph, found: list[Finding], waivers: Waivers) -> Iterator[Finding]:
    """Waivers that this stack could need and doesn't; those of Checkov's checks are held against its own report."""
    for waiver in _granted_here(graph, waivers):
        if CHECKOV.fullmatch(waiver.policy) or any(waiver.covers(one.policy, one.urn) for one in found):
            continue
        message = (
            f"the waiver of {waiver.policy} matches nothing in {graph.stack}: remove it, "
            "or let resources begin with the stack that it is for, as urn:pulumi:dev::*"
        )
        yield _of_waiver(UNUSED, waiver, waivers, message)


def _expired(graph: Graph, waivers: Waivers, today: date) -> Iterator[Finding]:
    """Waivers of Checkov's checks, whose findings are not here to say it."""
    for waiver in _granted_here(graph, waivers):
        if CHECKOV.fullmatch(waiver.policy) and waiver.expired(today):
            message = f"the waiver of {waiver.policy} on {waiver.resources} expired on {waiver.expires}"
            yield _of_waiver(EXPIRED, waiver, waivers, message)


def _granted_here(graph: Graph, waivers: Waivers) -> Iterator[Waiver]:
    """Those that aren't for another stack alone."""
    here = f"urn:pulumi:{graph.stack}::"
    for waiver in waivers.granted:
        if waiver.resources.startswith(here) or not waiver.resources.startswith("urn:pulumi:"):
            yield waiver


def _of_waiver(policy: str, waiver: Waiver, waivers: Waivers, message: str) -> Finding:
    return Finding(
        policy=policy,
        severity=Severity.LOW,
        control=(),
        urn="",
        message=message,
        setting="waivers",
        file=shown(waivers.document.path),
        line=waivers.line(waiver),
    )
