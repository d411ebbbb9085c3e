"""What the SDK's classes say of a type: its inputs, which of them it needs, and its outputs."""

import collections.abc
import enum
import inspect
import re
import sys
import threading
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

import pulumi
import pulumi_aws
from pulumi import _types

from tests.cluster.standins.serve import UNKNOWN, RefusedError

IMPORTING = threading.Lock()
"""The SDK's lazy modules are empty to a second thread while the first one fills them."""
WORDS = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a map or an object",
}
LOADING = threading.RLock()
"""The SDK's modules are imported when they are asked for, which is not for several threads at once."""


@dataclass(frozen=True)
class Schema:
    """One type."""

    inputs: Mapping[str, Any]
    """The types of the properties, by Pulumi's names."""
    required: frozenset[str]
    outputs: frozenset[str]

    @property
    def taggable(self) -> bool:
        """Whether the provider's default tags get on it."""
        return "tags" in self.inputs and "tagsAll" in self.outputs


def schema(token: str) -> Schema:
    """Of a type such as `aws:ec2/vpc:Vpc`. Raises `RefusedError` where there is none."""
    with LOADING:
        return _load(token)


@cache
def _load(token: str) -> Schema:
    _, module, title = token.split(":")
    resource = getattr(getattr(pulumi_aws, module.partition("/")[0], None), title, None)
    if resource is None:
        raise RefusedError("the SDK has no such type")
    members = sys.modules[resource.__module__]
    arguments = getattr(members, f"{title}InitArgs", None) or getattr(members, f"{title}Args")
    outputs = {_camel(name) for name, value in vars(resource).items() if isinstance(value, property)}
    return Schema(inputs(arguments), required(arguments), frozenset(outputs))


@cache
def inputs(arguments: type) -> Mapping[str, Any]:
    """The properties of a class of inputs and their types."""
    return _types.input_type_types(arguments)


@cache
def required(arguments: type) -> frozenset[str]:
    """The properties that such a class can't do without."""
    names = _types.input_type_py_to_pulumi_names(arguments)
    parameters = inspect.signature(arguments.__init__).parameters.values()  # type: ignore[misc]
    return frozenset(names[one.name] for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty)


def refuse(token: str, properties: Mapping[str, Any]) -> None:
    """Raise `RefusedError` for the first input that the SDK's classes don't allow."""
    known = schema(token)
    for sentence in _wrong_properties(properties, known.inputs, known.required, ""):
        raise RefusedError(sentence)


def alternatives(kind: Any) -> list[Any]:
    """The types that a value may have, without what Pulumi adds for values that come later."""
    if typing.get_origin(kind) not in {typing.Union, types.UnionType}:
        return [kind]
    found = [inner for one in typing.get_args(kind) for inner in alternatives(one)]
    later = (collections.abc.Awaitable, pulumi.Output)
    return [one for one in found if one is not type(None) and typing.get_origin(one) not in later]


def _wrong_properties(
    properties: Mapping[str, Any], known: Mapping[str, Any], needed: frozenset[str], path: str
) -> Iterator[str]:
    for name, value in properties.items():
        if name not in known:
            near = get_close_matches(name, known, 1)
            yield f"there is no property {path}{name}" + (f", but {near[0]}" if near else "")
        elif value is not None:
            yield from _wrong(value, known[name], path + name)
    for name in sorted(needed):
        if properties.get(name) is None:
            yield f"property {path}{name} is missing"


def _wrong(value: Any, kind: Any, path: str) -> Iterator[str]:
    """What is wrong with a value; nothing if one of the types allows it."""
    if value == UNKNOWN:
        return
    found = [list(_wrong_one(value, one, path)) for one in alternatives(kind)]
    if all(found):
        yield from found[0]


def _wrong_one(value: Any, kind: Any, path: str) -> Iterator[str]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in {Any, dict} or (isinstance(kind, type) and issubclass(kind, enum.Enum)):
        return
    nested = isinstance(kind, type) and _types.is_input_type(kind)
    wanted = (
        list if origin is collections.abc.Sequence else dict if nested or origin is collections.abc.Mapping else kind
    )
    if not _fits(value, wanted):
        yield f"property {path} has to be {WORDS.get(wanted, wanted)}, not {value!r}"
    elif nested:
        yield from _wrong_properties(value, inputs(kind), required(kind), f"{path}.")
    elif wanted is list:
        for index, inner in enumerate(value):
            yield from _wrong(inner, arguments[0], f"{path}[{index}]")
    elif wanted is dict:
        for key, inner in value.items():
            yield from _wrong(inner, arguments[1], f"{path}.{key}")


def _fits(value: Any, kind: Any) -> bool:
    if kind in {int, float} and isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda found: found.group(1).upper(), name)
