"""What a plan changes: by URN, between it and an earlier plan or a Pulumi state."""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from modelyard.plan.graph import REFERENCE, SECRET, SECRET_SIGNATURE, SIGNATURE, STACK, UNKNOWN, Graph, Resource

LARGEST = 256 * 1024 * 1024
SECRET_NAME = re.compile(
    r"(?i)(passw(or)?d|passphrase|token|credentials?|secret([_-]?(string|binary|key))?"
    r"|(private|access|api|signing|encryption)[_-]?key|key[_-]?material)$"
)
"""What a property is called that holds a secret, whether or not the state marks it as one."""


@dataclass(frozen=True)
class Change:
    """One property before and after; None where it is absent, a marker where it is secret."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Difference:
    """What `after` creates, deletes and changes, in its order."""

    created: tuple[str, ...]
    deleted: tuple[str, ...]
    changed: dict[str, tuple[Change, ...]]


def difference(before: Graph, after: Graph) -> Difference:
    """Compare inputs by URN. Providers, references and the stack itself are no resources of the cloud."""
    old, new = _by_urn(before), _by_urn(after)
    changed = {}
    for urn in old.keys() & new.keys():
        inputs = _as_planned(old[urn].inputs, list(_drawn_by_lot(old[urn], old, new)))
        if changes := tuple(_changes("", inputs, new[urn].inputs)):
            changed[urn] = changes
    return Difference(
        created=tuple(urn for urn in new if urn not in old),
        deleted=tuple(urn for urn in old if urn not in new),
        changed={urn: changed[urn] for urn in new if urn in changed},
    )


def read(path: Path) -> Graph:
    """An earlier plan (`--json`), an exported stack or a file backend's checkpoint; ValueError says what is wrong."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path} is larger than {LARGEST >> 20} MB: it is no plan and no state")
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(
            f"{path} is not text in UTF-8: give a plan (--json) or a state (pulumi stack export)"
        ) from None
    except (json.JSONDecodeError, RecursionError) as error:
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"{path} is not JSON{where}: perhaps only a part of it was written") from None
    try:
        resources = tuple(_resource(entry) for entry in _entries(document))
    except (AttributeError, KeyError, TypeError):
        raise ValueError(
            f"{path} is neither a plan (modelyard env plan --json) nor a state (pulumi stack export)"
        ) from None
    return Graph(_stack(resources), resources, {})


def _stack(resources: tuple[Resource, ...]) -> str:
    """Whose they are by their URNs; "" if there are none."""
    return next((one.urn.removeprefix("urn:pulumi:").partition("::")[0] for one in resources), "")


def _entries(document: Any) -> list[Any]:
    """The list of resources in each of the forms."""
    if "deployment" in document:
        document = document["deployment"]
    elif "checkpoint" in document:
        document = document["checkpoint"]["latest"] or {}
    else:
        return list(document["resources"])
    return [entry for entry in document.get("resources") or [] if not entry.get("delete")]


def _resource(entry: Mapping[str, Any]) -> Resource:
    secrets = entry.get("secrets") or ()
    return Resource(
        urn=str(entry["urn"]),
        type=str(entry["type"]),
        name=str(entry["urn"]).rpartition("::")[2],
        parent=str(entry.get("parent") or ""),
        inputs=_plain(dict(entry.get("inputs") or {})),
        dependencies=tuple(entry.get("dependencies") or ()),
        property_dependencies={},
        protect=bool(entry.get("protect")),
        retain_on_delete=bool(entry.get("retain_on_delete", entry.get("retainOnDelete"))),
        provider=str(entry.get("provider") or ""),
        custom=bool(entry.get("custom")),
        secrets=frozenset(secrets),
        id=str(entry.get("id") or ""),
        outputs=dict(entry.get("outputs") or {}),
    )


def _plain(value: Any) -> Any:
    """Without what the engine adds: envelopes of secrets, defaults that providers chose, hashes of files."""
    if isinstance(value, dict):
        if value.get(SIGNATURE) == SECRET_SIGNATURE:
            return SECRET
        added = {"__defaults", *value.get("__defaults", ()), *(("hash",) if SIGNATURE in value else ())}
        return {key: _plain(inner) for key, inner in value.items() if key not in added}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _by_urn(graph: Graph) -> dict[str, Resource]:
    return {
        resource.urn: resource
        for resource in graph.resources
        if resource.type not in (STACK, REFERENCE) and not resource.type.startswith("pulumi:providers:")
    }


def _drawn_by_lot(
    resource: Resource, old: Mapping[str, Resource], new: Mapping[str, Resource]
) -> Iterator[tuple[str, str]]:
    """Ids and ARNs of what the resource depends on, as AWS drew them and as a plan has them."""
    for urn in resource.dependencies:
        if urn in old and urn in new:
            drawn = {"id": old[urn].id, **old[urn].outputs}
            for key, ours in {"id": new[urn].id, **new[urn].outputs}.items():
                if isinstance(ours, str) and isinstance(real := drawn.get(key), str):
                    yield real, ours


def _as_planned(value: Any, pairs: list[tuple[str, str]]) -> Any:
    if isinstance(value, dict):
        return {key: _as_planned(inner, pairs) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_planned(inner, pairs) for inner in value]
    if isinstance(value, str):
        for real, ours in sorted(pairs, key=lambda pair: -len(pair[0])):
            value = value.replace(real, ours) if real else value
    return value


def _changes(path: str, before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, str) and isinstance(after, str) and before != after:
        before, after = _documents(before, after)
    if before == after or UNKNOWN in (before, after):
        return
    if SECRET in (before, after):
        yield Change(path, before and SECRET, after and SECRET)
    elif SECRET_NAME.search(path):
        yield Change(path, _masked(before), _masked(after))
    elif isinstance(before, dict) and isinstance(after, dict):
        for key in before | after:
            yield from _changes(f"{path}.{key}" if path else key, before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list):
        for index, (one, other) in enumerate(zip_longest(before, after)):
            yield from _changes(f"{path}[{index}]", one, other)
    else:
        yield Change(path, _without_secrets(before), _without_secrets(after))


def _masked(value: Any) -> Any:
    """That a secret is there may be known, and what only says whether there is to be one."""
    return value if value is None or isinstance(value, bool) else SECRET


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _masked(inner) if SECRET_NAME.search(key) else _without_secrets(inner) for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in value]
    if isinstance(value, str) and value.startswith(("{", "[")):
        with contextlib.suppress(ValueError, RecursionError):
            document = json.loads(value)
            return value if (hidden := _without_secrets(document)) == document else json.dumps(hidden)
    return value


def _documents(before: str, after: str) -> tuple[Any, Any]:
    """Two JSON objects, as IAM policies are, or the strings themselves."""
    if before.startswith("{") and after.startswith("{"):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(before), json.loads(after)
    return before, after
