"""What a control is: a rule, where it comes from, and the setting that decides it.

The same control runs as a policy under `pulumi up --policy-pack infra/policy` and in a plan.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Severity,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

Through = Callable[["Control", ReportViolation], ReportViolation]
"""What stands between a control and the one who is told, such as waivers."""


ENVIRONMENT = "modelyard:index:Environment"
ACCOUNT = "modelyard:index:Account"
"""The components that a stack is made of; their properties `security` and `lifetime` decide some rules."""

PASSED_ON = {
    "aws:ec2/route:Route": "routeTableId",
    "aws:ec2/routeTableAssociation:RouteTableAssociation": "subnetId",
    "aws:s3/bucketPolicy:BucketPolicy": "bucket",
}
"""Resources whose output stands for one of their inputs, so that whatever uses it waits for them."""


class Unknown:
    """A value that only AWS will know; it is taken for the right one, until it is known and judged."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __contains__(self, _: object) -> bool:
        return True

    def get(self, _key: str, _default: Any = None) -> "Unknown":
        return self


UNKNOWN = Unknown()


class Item:
    """A resource as rules see it: plain inputs in Pulumi's camel case."""

    def __init__(self, raw: PolicyResource | ResourceValidationArgs, today: date) -> None:
        self._raw = raw
        self.urn = raw.urn
        self.type = raw.resource_type
        self.name = raw.name
        self.protected = bool(raw.opts.protect)
        self.provider = raw.provider.urn if raw.provider else ""
        self.today = today

    @cached_property
    def props(self) -> dict[str, Any]:
        return {key: _plain(self._raw.props, key) for key in self._raw.props}

    def at(self, *path: str) -> Any:
        """A nested value; None where there is nothing."""
        value: Any = self.props
        for key in path:
            value = value.get(key) if isinstance(value, Mapping | Unknown) else None
        return value

    def provider_tags(self) -> Any:
        """The tags that its provider gives to everything."""
        provider = self._raw.provider
        given = parsed(_plain(provider.props, "defaultTags")) if provider and "defaultTags" in provider.props else None
        return (given.get("tags") or {}) if isinstance(given, Mapping | Unknown) else {}

    def used(self, key: str) -> set[str]:
        """URNs of the resources that one of its inputs is made from."""
        return {one.urn for one in _sources(self._raw, key)}


class Stack:
    """All resources of a stack as rules see them."""

    def __init__(self, raw: Sequence[PolicyResource], today: date) -> None:
        self._items: dict[str, list[Item]] = {}
        self._users: dict[tuple[str, str], dict[str, list[Item]]] = {}
        for one in raw:
            self._items.setdefault(one.resource_type, []).append(Item(one, today))

    def of(self, *types: str) -> list[Item]:
        """The resources of these types."""
        return [item for kind in types for item in self._items.get(kind, ())]

    def that_use(self, item: Item, kind: str, key: str) -> list[Item]:
        """The resources of a type that one of its inputs joins to this one."""
        if (kind, key) not in self._users:
            users = self._users[kind, key] = {}
            for one in self.of(kind):
                for urn in one.used(key):
                    users.setdefault(urn, []).append(one)
        return self._users[kind, key].get(item.urn, [])

    def one_a_provider(self, start: str) -> list[Item]:
        """A resource of each provider, of the types that start like this."""
        items = [item for kind, found in self._items.items() if kind.startswith(start) for item in found]
        return list({item.provider: item for item in reversed(items)}.values())

    def root(self) -> Item | None:
        """The environment or the account that the stack is."""
        return next(iter(self.of(ENVIRONMENT, ACCOUNT)), None)

    def durable(self) -> bool:
        """Whether what holds data is kept here."""
        return (root := self.root()) is not None and root.at("lifetime") == "durable"

    def hardened(self) -> bool:
        """Whether the environment is a closed one."""
        return (root := self.root()) is not None and root.at("security") == "hardened"


ResourceRule = Callable[[Item], Iterator[str]]
StackRule = Callable[[Stack], Iterator[tuple[Item, str]]]


@dataclass(frozen=True, kw_only=True)
class Control:
    """One rule; `numbers` are those of the list of controls, `setting` is the key in a stack's file that decides."""

    name: str
    says: str
    severity: Severity
    numbers: tuple[int, ...]
    source: str
    setting: str
    types: tuple[str, ...]
    resource: ResourceRule | None = None
    stack: StackRule | None = None

    @property
    def description(self) -> str:
        """What it says, and where it comes from."""
        numbers = ", ".join(map(str, self.numbers))
        return f"{self.says} (control {numbers}; {self.source})"

    def policy(self, through: Through = lambda _, report: report) -> ResourceValidationPolicy | StackValidationPolicy:
        """The control as Pulumi's engine runs it: serious ones stop an update, the others are told."""
        serious = self.severity in (Severity.HIGH, Severity.CRITICAL)
        level = EnforcementLevel.MANDATORY if serious else EnforcementLevel.ADVISORY
        if self.resource:
            return ResourceValidationPolicy(
                self.name,
                self.description,
                lambda args, report: self._judge_resource(args, through(self, report)),
                enforcement_level=level,
                severity=self.severity,
            )
        return StackValidationPolicy(
            self.name,
            self.description,
            lambda args, report: self._judge_stack(args, through(self, report)),
            enforcement_level=level,
            severity=self.severity,
        )

    def _judge_resource(self, args: ResourceValidationArgs, report: ReportViolation) -> None:
        if self.resource and args.resource_type in self.types:
            for message in self.resource(Item(args, _today(args.get_config()))):
                report(message, args.urn)

    def _judge_stack(self, args: StackValidationArgs, report: ReportViolation) -> None:
        if self.stack:
            for item, message in self.stack(Stack(args.resources, _today(args.get_config()))):
                report(message, item.urn)


def each(
    name: str, severity: Severity, numbers: Iterable[int], source: str, *types: str, setting: str = ""
) -> Callable[[ResourceRule], Control]:
    """A control of every single resource of some types; the function's docstring is what it says."""

    def control(rule: ResourceRule) -> Control:
        return Control(
            name=name, says=_said(rule), severity=severity, numbers=tuple(numbers), source=source, setting=setting,
            types=types, resource=rule,
        )  # fmt: skip

    return control


def together(
    name: str, severity: Severity, numbers: Iterable[int], source: str, setting: str = ""
) -> Callable[[StackRule], Control]:
    """A control of how a stack's resources belong together; the function's docstring is what it says."""

    def control(rule: StackRule) -> Control:
        return Control(
            name=name, says=_said(rule), severity=severity, numbers=tuple(numbers), source=source, setting=setting,
            types=(), stack=rule,
        )  # fmt: skip

    return control


def parsed(value: Any) -> Any:
    """A JSON text's value; anything else as it is."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return None


def listed(value: Any) -> list[Any]:
    """One or many, as IAM writes them, as a list."""
    if value is None or isinstance(value, str | dict):
        return [] if value is None else [value]
    return list(value)


def statements(document: Any, effect: str = "Allow") -> list[dict[str, Any]]:
    """The statements of an IAM document that allow, or that deny."""
    found = parsed(document)
    inner = listed(found.get("Statement")) if isinstance(found, dict) else []
    return [one for one in inner if one.get("Effect") == effect]


def _said(rule: Callable[..., object]) -> str:
    return (rule.__doc__ or "").rstrip(".")


def _today(config: Mapping[str, Any]) -> date:
    """A plan says which day it is judged for; an update is judged today."""
    return config.get("today") or date.today()  # noqa: DTZ011 the day of whoever runs the update


def _sources(raw: PolicyResource | ResourceValidationArgs, key: str) -> Iterator[PolicyResource]:
    for one in raw.property_dependencies.get(key, ()) if isinstance(raw, PolicyResource) else ():
        yield one
        if one.resource_type in PASSED_ON:
            yield from _sources(one, PASSED_ON[one.resource_type])


def _plain(container: Any, key: Any) -> Any:
    try:
        value = container[key]
    except UnknownValueError:
        return UNKNOWN
    if isinstance(value, Mapping):
        return {inner: _plain(value, inner) for inner in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(value, index) for index in range(len(value))]
    return value
