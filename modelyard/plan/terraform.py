"""A plan as `terraform show -json` would give it, so that tools that judge Terraform plans can judge ours."""

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from modelyard.plan.graph import SECRET, UNKNOWN, Graph, Resource

PROVIDER = "registry.terraform.io/hashicorp/aws"
NOTHING = object()
NOT_DRAWN = ("region", "ownerId")
"""Outputs that say where a resource is, not what was made."""


def terraform_plan(graph: Graph) -> dict[str, Any]:
    """Every AWS resource as Terraform would create it; `unmapped` lists the resources that it has no name for."""
    table = names()
    found = addresses(graph)
    by_urn = {resource.urn: resource for resource in graph.resources}
    exported = [_Exported(by_urn[urn], table[by_urn[urn].type], found, by_urn) for urn in found]
    return {
        "format_version": "1.2",
        "terraform_version": "1.13.0",
        "variables": {},
        "planned_values": {"root_module": {"resources": [one.planned() for one in exported]}},
        "resource_changes": [one.change() for one in exported],
        "configuration": {
            "provider_config": {"aws": {"name": "aws", "full_name": PROVIDER}},
            "root_module": {"resources": [one.configuration() for one in exported]},
        },
        "unmapped": [
            {"urn": resource.urn, "type": resource.type}
            for resource in graph.resources
            if resource.custom and resource.type not in table and not resource.type.startswith("pulumi:")
        ],
    }


@functools.cache
def names() -> dict[str, dict[str, Any]]:
    """By type token: Terraform's `type`, the `names` that are not just spelt otherwise, the `maps` and the `lists`."""
    found = json.loads(Path(__file__).with_name("terraform_names.json").read_text(encoding="utf-8"))
    return dict(found["types"])


def snake(name: str) -> str:
    """`ipv6CidrBlock` as `ipv6_cidr_block`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def addresses(graph: Graph) -> dict[str, str]:
    """An address by URN: Terraform has no parents in an address, so that a name may come twice."""
    table = names()
    found: dict[str, str] = {}
    taken: set[str] = set()
    for resource in graph.resources:
        if resource.type not in table:
            continue
        name = re.sub(r"[^\w-]", "_", resource.name)
        address = name = f"{table[resource.type]['type']}.{name if name[:1].isalpha() else f'_{name}'}"
        number = 1
        while address in taken:
            number += 1
            address = f"{name}_{number}"
        taken.add(address)
        found[resource.urn] = address
    return found


class _Part(NamedTuple):
    """A value as a plan holds it three times: what is known, what only AWS will know, and where it comes from."""

    known: Any
    unknown: Any
    expression: Any


class _Exported:
    """One resource."""

    def __init__(
        self,
        resource: Resource,
        words: Mapping[str, Any],
        addresses: Mapping[str, str],
        by_urn: Mapping[str, Resource],
    ) -> None:
        self._words = words
        self._address = addresses[resource.urn]
        self._sources = {
            key: [(addresses[urn], by_urn[urn]) for urn in urns if urn in addresses]
            for key, urns in resource.property_dependencies.items()
        }
        self._whole = self._block("", resource.inputs)
        self._sensitive = {self._name(key): True for key in sorted(resource.secrets)}

    def planned(self) -> dict[str, Any]:
        values = {"schema_version": 0, "values": self._whole.known, "sensitive_values": self._sensitive}
        return {**self._head(), "provider_name": PROVIDER, **values}

    def change(self) -> dict[str, Any]:
        change = {
            "actions": ["create"],
            "before": None,
            "after": self._whole.known,
            "after_unknown": {"id": True, "arn": True, **self._whole.unknown},
            "before_sensitive": False,
            "after_sensitive": self._sensitive,
        }
        return {**self._head(), "provider_name": PROVIDER, "change": change}

    def configuration(self) -> dict[str, Any]:
        return {
            **self._head(),
            "provider_config_key": "aws",
            "expressions": self._whole.expression,
            "schema_version": 0,
        }

    def _head(self) -> dict[str, Any]:
        kind, _, name = self._address.partition(".")
        return {"address": self._address, "mode": "managed", "type": kind, "name": name}

    def _name(self, path: str) -> str:
        return str(self._words.get("names", {}).get(path) or snake(path.rpartition(".")[2]))

    def _block(self, path: str, fields: Mapping[str, Any]) -> _Part:
        whole = _Part({}, {}, {})
        for key, value in fields.items():
            here = f"{path}.{key}" if path else key
            part = self._part(here, value)
            for side, there in zip(part, whole, strict=True):
                if side is not NOTHING:
                    there[self._name(here)] = side
        return whole

    def _part(self, path: str, value: Any) -> _Part:
        is_map = path in self._words.get("maps", ())
        blocks = [value] if isinstance(value, dict) and not is_map else value
        if isinstance(blocks, list) and blocks and all(isinstance(block, dict) for block in blocks):
            parts = [self._block(path, block) for block in blocks]
            known, unknown, expressions = (list(side) for side in zip(*parts, strict=True))
            return _Part(known, unknown if any(unknown) else NOTHING, expressions)
        return self._leaf(path, [value] if path in self._words.get("lists", ()) else value)

    def _leaf(self, path: str, value: Any) -> _Part:
        elements = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else [value]
        references = list(dict.fromkeys(self._references(path, elements)))
        hidden = [element for element in elements if self._is_hidden(path, element)]
        known: Any = NOTHING
        if len(hidden) < len(elements) or not elements:
            known = (
                [None if element in hidden else element for element in value]
                if isinstance(value, list)
                else {key: element for key, element in value.items() if element not in hidden}
                if isinstance(value, dict)
                else value
            )
        constant = {} if known is NOTHING else {"constant_value": known}
        expression = {"references": references} if references else constant
        return _Part(known, True if hidden else NOTHING, expression)

    def _is_hidden(self, path: str, element: Any) -> bool:
        return element in (SECRET, UNKNOWN) or any(element == made for _, made in self._made(path))

    def _references(self, path: str, elements: Iterable[Any]) -> Iterator[str]:
        """What an element is equal to, or else contains; tools take the first reference for the value."""
        made = list(self._made(path))
        for element in elements:
            equal = [reference for reference, value in made if element == value]
            within = [reference for reference, value in made if isinstance(element, str) and value in element]
            yield from equal or within
        if "." not in path:
            yield from (address for address, _ in self._sources.get(path, ()))

    def _made(self, path: str) -> Iterator[tuple[str, str]]:
        """References to what the property depends on, with the values that stand for them."""
        for address, resource in self._sources.get(path.partition(".")[0], ()):
            made = {"id": resource.id, **resource.outputs}
            # One attribute a value: the id before what merely equals it.
            by_value = {value: key for key, value in reversed(made.items()) if isinstance(value, str)}
            yield from (
                (f"{address}.{snake(key)}", value) for value, key in by_value.items() if value and key not in NOT_DRAWN
            )
