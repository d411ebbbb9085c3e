"""Resources that are really made: each type is a row of calls to the AWS API, which boto3 sends to moto.

What a row says in its own words are JMESPath expressions for answers and texts such as `{vpcId}` for parameters.
Everything else follows from names: boto3's service models and the SDK's classes call most things alike.
"""

import json
import re
import secrets
import threading
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
import jmespath
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError
from pulumi import _types

from tests.cluster.standins.aws.schema import alternatives, inputs, schema
from tests.cluster.standins.serve import RefusedError

GONE = re.compile(r"NotFound|NoSuch|NotExist|NonExistent|^404$|Malformed$")
PLACEHOLDER = re.compile(r"\{(\w+|\*)\}")
ANY = object()


@dataclass(frozen=True)
class Op:
    """One call. `{*}` among the parameters stands for all inputs that the call has by name."""

    name: str
    given: Mapping[str, Any] = field(default_factory=dict)
    answer: str = "@"
    service: str = ""
    """Where it isn't the type's own."""
    when: Any = ANY
    """The value of a property for which it is called."""


@dataclass(frozen=True)
class Rules:
    """A list within a resource whose elements come and go one by one, written in AWS's way by `there`."""

    add: Op
    remove: Op
    there: Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Tagging:
    """How tags are put on and taken off."""

    put: Op
    take: Op


@dataclass(frozen=True)
class Kind:
    """How a type is made, read, changed and deleted."""

    service: str
    id: str
    """From the inputs and from `{id}`, which is what the creating call answers."""
    read: tuple[Op, ...]
    """The first has to find it; the others add to what is known."""
    create: Op | None = None
    """None for what is there already and is only adopted."""
    after: tuple[Op, ...] = ()
    update: Op | None = None
    change: Mapping[str, tuple[Op, ...] | Rules] = field(default_factory=dict)
    """How single properties are set, on creation too."""
    delete: tuple[Op, ...] = ()
    emptied: Callable[["Api", Mapping[str, Any]], None] | None = None
    """What has to go before it."""
    derived: Callable[["Api", Mapping[str, Any]], dict[str, Any]] | None = None
    """What the calls need beside the inputs."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Pulumi's names for what AWS calls otherwise."""
    fresh: Mapping[str, str] = field(default_factory=dict)
    """Properties that are made up where the inputs don't have them."""
    tagging: Tagging | None = None
    tagged_as: str = ""
    """EC2's word for the type, where tags are given on creation."""
    own: tuple[str, ...] = ()
    """Inputs that are only for the provider."""


class Api:
    """Calls to AWS, in one account and region."""

    def __init__(self, region: str, account: str) -> None:
        self.region, self.account = region, account
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def client(self, service: str) -> Any:
        """The client of a service."""
        with self._lock:
            if service not in self._clients:
                config = Config(max_pool_connections=64, retries={"max_attempts": 2})
                self._clients[service] = boto3.client(service, region_name=self.region, config=config)
            return self._clients[service]

    def create(self, token: str, kind: Kind, wanted: dict[str, Any]) -> str:
        """Make it and return its id."""
        values = self._values(kind, wanted)
        if kind.create:
            values["id"] = self._call(kind, kind.create, values)
        values["id"] = filled(kind.id, values)
        return str(values["id"])

    def finish(self, token: str, kind: Kind, id_: str, wanted: dict[str, Any]) -> None:
        """What comes after it was made."""
        values = self._values(kind, wanted) | parsed(kind.id, id_) | {"id": id_}
        for op in kind.after:
            self._call(kind, op, values)
        for name in kind.change:
            if wanted.get(name) is not None and not self._takes(kind, kind.create, name):
                self._change(token, kind, name, values)
        if not kind.create and kind.tagging and values["tags"]:
            self._call(kind, kind.tagging.put, values)

    def read(self, token: str, kind: Kind, id_: str, known: Mapping[str, Any]) -> dict[str, Any] | None:
        """The properties that AWS tells, by Pulumi's names; None if it isn't there."""
        values = {**self._values(kind, known), **parsed(kind.id, id_), "id": id_}
        found: dict[str, Any] = {}
        for index, op in enumerate(kind.read):
            try:
                answer = self._call(kind, op, values)
            except ClientError as error:
                if not GONE.search(error.response["Error"]["Code"]):
                    raise
                answer = None
            if answer is None and index == 0:
                return None
            found = _merged(found, _named(answer or {}, token, kind.names))
        parts = {key: value for key, value in parsed(kind.id, id_).items() if key != "id"}
        return {**{key: value for key, value in parts.items() if key in schema(token).inputs}, **found}

    def update(self, token: str, kind: Kind, id_: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Change what differs in place."""
        values = {**self._values(kind, new), **parsed(kind.id, id_), "id": id_}
        differing = {name for name in {*old, *new} if old.get(name) != new.get(name)}
        for name in sorted(differing & set(kind.change)):
            self._change(token, kind, name, values)
        if kind.update and differing - set(kind.change) - {"tags", "tagsAll", *kind.own}:
            self._call(kind, kind.update, values)
        if kind.tagging and old.get("tagsAll") != new.get("tagsAll"):
            gone = sorted(set(old.get("tagsAll") or {}) - set(values["tags"]))
            if gone:
                self._call(kind, kind.tagging.take, {**values, "gone": gone})
            self._call(kind, kind.tagging.put, values)

    def delete(self, kind: Kind, id_: str, known: dict[str, Any]) -> None:
        """Delete it; no error if it is not there."""
        values = {**self._values(kind, known), **parsed(kind.id, id_), "id": id_}
        try:
            if kind.emptied:
                kind.emptied(self, values)
            for op in kind.delete:
                self._call(kind, op, values)
        except ClientError as error:
            if not GONE.search(error.response["Error"]["Code"]):
                raise

    def in_place(self, kind: Kind, name: str) -> bool:
        """Whether AWS has a call that changes this property; where it has none the resource is replaced."""
        if name in {*kind.change, *kind.own, "tags", "tagsAll"}:
            return True
        return f"{{{name}}}" not in kind.id and self._takes(kind, kind.update, name)

    def _takes(self, kind: Kind, op: Op | None, name: str) -> bool:
        """Whether a call has a parameter for the property."""
        if op is None:
            return False
        shape = self._shape(kind, op)
        for key, value in op.given.items():
            if value == "{*}" and _member(
                kind.names.get(name, name), (shape if key == "*" else shape.members[key]).members
            ):
                return True
        return f"{{{name}}}" in json.dumps(op.given)

    def _values(self, kind: Kind, wanted: Mapping[str, Any]) -> dict[str, Any]:
        drawn = {"drawn": secrets.token_hex(8), "region": self.region, "account": self.account}
        elsewhere = None if self.region == "us-east-1" else {"LocationConstraint": self.region}
        values = {**drawn, "location": elsewhere, **wanted, "tags": wanted.get("tagsAll") or {}}
        fresh = {name: filled(text, values) for name, text in kind.fresh.items() if not values.get(name)}
        if kind.derived and wanted:
            values |= kind.derived(self, wanted)
        return {**values, **fresh, "*": {**wanted, **fresh, "tags": values["tags"] or None, "tagsAll": None}}

    def _change(self, token: str, kind: Kind, name: str, values: dict[str, Any]) -> None:
        change = kind.change[name]
        if isinstance(change, Rules):
            live = self.read(token, kind, values["id"], {}) or {}
            before, after = ([change.there(one) for one in list_ or []] for list_ in (live.get(name), values.get(name)))
            for op, rules, others in ((change.remove, before, after), (change.add, after, before)):
                for rule in rules:
                    if rule not in others:
                        self._call(kind, op, {**values, "item": rule, **rule})
            return
        for op in change:
            if op.when is ANY or op.when == values.get(name):
                self._call(kind, op, values)

    def _shape(self, kind: Kind, op: Op) -> Any:
        client = self.client(op.service or kind.service)
        return client.meta.service_model.operation_model(client.meta.method_to_api_mapping[op.name]).input_shape

    def _call(self, kind: Kind, op: Op, values: Mapping[str, Any]) -> Any:
        shape = self._shape(kind, op)
        parameters: dict[str, Any] = {}
        for key, value in op.given.items():
            if value == "{*}":
                inner = shape if key == "*" else shape.members[key]
                taken = _by_name(values["*"], inner, kind)
                parameters.update(taken if key == "*" else {key: taken})
            else:
                parameters[key] = _shaped(filled(value, values), shape.members[key])
        if kind.tagged_as and op is kind.create and values["tags"]:
            tags = [{"ResourceType": kind.tagged_as, "Tags": values["tags"]}]
            parameters["TagSpecifications"] = _shaped(tags, shape.members["TagSpecifications"])
        parameters = {key: value for key, value in parameters.items() if value is not None}
        try:
            answer = getattr(self.client(op.service or kind.service), op.name)(**parameters)
        except ParamValidationError as error:
            raise RefusedError(f"{op.name}: {' '.join(str(error).split())}") from error
        return jmespath.search(filled(op.answer, values), answer)


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """The template with the values in it; a text that is nothing but one `{name}` becomes the value itself."""
    if isinstance(template, Mapping):
        return {key: filled(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [filled(value, values) for value in template]
    if not isinstance(template, str):
        return template
    if whole := PLACEHOLDER.fullmatch(template):
        return values.get(whole[1])
    return PLACEHOLDER.sub(lambda found: str(values[found[1]]) if found[1] in values else found[0], template)


def parsed(template: str, id_: str) -> dict[str, Any]:
    """What an id was made of."""
    pattern = PLACEHOLDER.sub(r"(?P<\1>.+?)", re.sub(r"([/.|])", r"\\\1", template))
    found = re.fullmatch(pattern, id_)
    return found.groupdict() if found else {}


def _by_name(wanted: Mapping[str, Any], shape: Any, kind: Kind) -> dict[str, Any]:
    found = {}
    for name, value in wanted.items():
        member = _member(kind.names.get(name, name), shape.members)
        if member and value is not None and not isinstance(kind.change.get(name), Rules):
            found[member] = _shaped(value, shape.members[member])
    return found


def _member(name: str, members: Iterable[str]) -> str | None:
    """AWS's name for a property: the same but for capitals, and for the plural if need be."""
    for same in (str, str.lower, lambda text: text.lower().removesuffix("s")):
        for member in members:
            if same(member) == same(name):
                return member
    return None


def _shaped(value: Any, shape: Any) -> Any:
    """A value with Pulumi's names as a parameter of AWS's shape."""
    if value is None:
        return None
    if shape.type_name == "structure":
        return _structure(value, shape)
    if shape.type_name == "list":
        return _list(value, shape)
    if shape.type_name == "map":
        return {key: _shaped(inner, shape.value) for key, inner in value.items() if inner is not None}
    return _scalar(value, shape.type_name)


def _structure(value: Any, shape: Any) -> dict[str, Any]:
    found = {}
    for name, inner in (value[0] if isinstance(value, list) else value).items():
        if (member := _member(name, shape.members)) is None:
            raise RefusedError(f"AWS's {shape.name} has no {name}")
        found[member] = _shaped(inner, shape.members[member])
    return {key: inner for key, inner in found.items() if inner is not None}


def _list(value: Any, shape: Any) -> list[Any]:
    if isinstance(value, Mapping) and shape.member.type_name == "structure" and _is_tag(shape.member.members):
        key, word = sorted(shape.member.members, key=lambda name: "value" in name.lower())
        return [{key: name, word: inner} for name, inner in sorted(value.items())]
    return [_shaped(inner, shape.member) for inner in (value if isinstance(value, list) else [value])]


def _scalar(value: Any, type_name: str) -> Any:
    if type_name == "string" and not isinstance(value, str):
        return json.dumps(value)
    if type_name == "boolean" and isinstance(value, str):
        return value == "true"
    return int(value) if type_name in {"integer", "long"} else value


def _is_tag(members: Iterable[str]) -> bool:
    return sorted(name.lower().removeprefix("tag") for name in members) == ["key", "value"]


def _named(answer: Mapping[str, Any], token: str, names: Mapping[str, str]) -> dict[str, Any]:
    """An answer with Pulumi's names and types; what Pulumi doesn't know is left out."""
    known = schema(token)
    found = {}
    for name in {*known.inputs, *known.outputs} - {"tagsAll"}:
        member = _member(names.get(name, name), answer) or _member(name, answer)
        if member is not None and answer[member] is not None:
            found[name] = _typed(answer[member], known.inputs[name]) if name in known.inputs else answer[member]
    return found


def _typed(value: Any, kind: Any) -> Any:
    """A value that AWS answered, as the SDK's type has it."""
    kind = alternatives(kind)[0]
    if value is not None and isinstance(kind, type) and _types.is_input_type(kind):
        return _object(value[0] if isinstance(value, list) and value else value, kind)
    if isinstance(value, list):
        arguments = typing.get_args(kind)
        if len(arguments) == 2:
            pairs = (sorted(tag.items(), key=lambda item: "value" in item[0].lower()) for tag in value)
            return {key[1]: word[1] for key, word in pairs}
        return [_typed(inner, arguments[0]) for inner in value] if arguments else value
    if kind is bool and isinstance(value, str):
        return value == "true"
    if kind is str and value is not None and not isinstance(value, str):
        return json.dumps(value)
    return int(value) if kind is int and value is not None else value


def _object(value: Mapping[str, Any], kind: type) -> dict[str, Any]:
    members = {name: _member(name, value) for name in inputs(kind)}
    found = {name: _typed(value[member], inputs(kind)[name]) for name, member in members.items() if member}
    # What is only an output: EKS and the expressions call it as Pulumi does.
    more = {key: value[key] for key in value if key not in members.values() and key[0].islower()}
    return {name: inner for name, inner in {**more, **found}.items() if inner is not None}


def _merged(one: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = {key for key in one if isinstance(one[key], dict) and isinstance(other.get(key), Mapping)}
    return {**one, **other, **{key: _merged(one[key], other[key]) for key in both}}
