"""Releases of charts. One whose chart has no local folder is recorded and installs nothing."""

import hashlib
from collections.abc import Mapping
from typing import Any

from tests.cluster.standins.kubernetes import helm
from tests.cluster.standins.kubernetes.api import Api
from tests.cluster.standins.serve import (
    UNKNOWN,
    Diff,
    Live,
    RefusedError,
    UnfinishedError,
    Urn,
    changes,
    has_unknown,
)

RELEASE = "kubernetes:helm.sh/v3:Release"
LONGEST_NAME = 53
RECORDED = {"status": "recorded"}


def checked(api: Api, urn: Urn, old: Mapping[str, Any], new: dict[str, Any], seed: bytes) -> dict[str, Any]:
    """The inputs with a name and a namespace."""
    start = f"{urn.name[: LONGEST_NAME - 9].rstrip('-')}-"
    before = str(old.get("name", ""))
    drawn = before if before.startswith(start) else start + hashlib.sha256(seed + urn.text.encode()).hexdigest()[:8]
    return {**new, "name": new.get("name") or drawn, "namespace": new.get("namespace") or api.namespace}


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> Diff:
    """By the inputs; those that are read have the values that the release has."""
    return Diff(changes(old, new, ("name", "namespace")))


def deploy(api: Api, inputs: dict[str, Any], preview: bool, seconds: float) -> Live:
    """Install or upgrade it."""
    if preview:
        chart = None if has_unknown(inputs) else helm.folder(inputs)
        if chart:
            helm.rendered(api, chart, inputs["name"], inputs)
        return Live("", {**inputs, "status": UNKNOWN})
    id_ = f"{inputs['namespace']}/{inputs['name']}"
    chart = helm.folder(inputs)
    if chart is None:
        return Live(id_, {**inputs, "status": RECORDED})
    try:
        helm.install(api, chart, inputs["name"], inputs, seconds)
    except RefusedError as error:
        if helm.status(api, inputs["name"], inputs["namespace"]) is None:
            raise
        raise UnfinishedError(_live(api, id_, inputs), f"it was made, but {error}") from error
    return _live(api, id_, inputs)


def read(api: Api, id_: str, inputs: dict[str, Any], state: dict[str, Any]) -> Live | None:
    """As helm knows it."""
    namespace, _, name = id_.rpartition("/")
    if state.get("status") == RECORDED:
        return Live(id_, state)
    found = helm.status(api, name, namespace)
    if found is None:
        return None
    known = inputs or {"name": name, "namespace": namespace, "chart": found["chart"]}
    now = {**known, "values": found["values"]} if found["values"] or "values" in known else known
    return Live(id_, _outputs(now, found), now)


def delete(api: Api, id_: str, state: Mapping[str, Any], seconds: float) -> None:
    """Uninstall it and wait."""
    namespace, _, name = id_.rpartition("/")
    if state.get("status") != RECORDED:
        helm.uninstall(api, name, namespace, seconds)


def _live(api: Api, id_: str, inputs: dict[str, Any]) -> Live:
    found = helm.status(api, inputs["name"], inputs["namespace"])
    return Live(id_, _outputs(inputs, found or {}))


def _outputs(inputs: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: found[key] for key in ("name", "namespace", "revision", "status", "chart") if key in found}
    return {**inputs, "status": {**told, "appVersion": found.get("app_version", "")}}
