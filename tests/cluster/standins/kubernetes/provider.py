"""The stand-in for pulumi-resource-kubernetes."""

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

from tests.cluster.standins.kubernetes import releases
from tests.cluster.standins.kubernetes.api import CONFLICT, GONE, Access, AnswerError, Api
from tests.cluster.standins.kubernetes.components import objects, of_objects
from tests.cluster.standins.kubernetes.readiness import FailedError, may_be_ready, missing
from tests.cluster.standins.serve import (
    UNKNOWN,
    Change,
    Child,
    Diff,
    Live,
    RefusedError,
    Secret,
    StandIn,
    UnfinishedError,
    Urn,
    differences,
    has_unknown,
    serve,
)

AUTONAMED = "pulumi.com/autonamed"
FORCE = "pulumi.com/patchForce"
PROPAGATION = "pulumi.com/deletionPropagationPolicy"
SKIP_AWAIT = "pulumi.com/skipAwait"
TIMEOUT = "pulumi.com/timeoutSeconds"
PATIENCE = 600.0
"""Seconds that something may take to become ready or to go, where nobody says another time."""
GRACE = 2.0
"""Seconds in which a controller gives a custom resource its first conditions, if there is a controller."""
TICK = 0.05
LONGEST_NAME = 63
SWITCHES = ("enableConfigMapMutable", "enablePatchForce", "enableSecretMutable", "upsertExistingObjects")
SETTINGS = {"kubeconfig", "context", "namespace", *SWITCHES}
IDENTITY = ("metadata.name", "metadata.namespace")
REPLACED: Mapping[str, tuple[str, ...]] = {
    "ClusterRoleBinding": ("roleRef",),
    "ConfigMap": ("binaryData", "data"),
    "DaemonSet": ("spec.selector",),
    "Deployment": ("spec.selector",),
    "Job": ("spec.completions", "spec.parallelism", "spec.selector", "spec.template"),
    "PersistentVolumeClaim": ("spec.accessModes", "spec.selector", "spec.storageClassName", "spec.volumeName"),
    "Pod": ("spec",),
    "ResourceQuota": ("spec.scopes",),
    "RoleBinding": ("roleRef",),
    "Secret": ("data", "stringData", "type"),
    "Service": ("spec.clusterIP",),
    "StatefulSet": (
        "spec.podManagementPolicy",
        "spec.revisionHistoryLimit",
        "spec.selector",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    "StorageClass": ("parameters", "provisioner"),
}
"""What Pulumi's provider replaces a resource for, whether the API server would have to or not: the short form of
forceNewProperties in pulumi/pulumi-kubernetes, provider/pkg/provider, read in November 2026."""
MUTABLE = {"ConfigMap": "enableConfigMapMutable", "Secret": "enableSecretMutable"}
IMMUTABLE = "field is immutable"
"""The API server's words for the same."""
SERVERS = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")
"""The metadata that nobody else writes."""
COMPUTED = {"Service": ("clusterIP", "clusterIPs"), "PersistentVolumeClaim": ("volumeName",), "Pod": ("nodeName",)}
"""What the API server or a controller writes into a spec."""


class Kubernetes(StandIn):
    """Applies on the server's side, and asks it what would happen."""

    package = "kubernetes"
    version = f"{metadata.version('pulumi_kubernetes')}+standin"

    def configure(self, settings: dict[str, Any]) -> None:
        unknown = sorted(key for key in settings if key not in SETTINGS and key != "version")
        if unknown:
            raise RefusedError(f"the stand-in has no setting {unknown[0]}; it has {', '.join(sorted(SETTINGS))}")
        self.switches = {name for name in SWITCHES if settings.get(name) in (True, "true")}
        self.api = Api(Access.of(settings))
        self.patience = threading.local()

    def check(self, urn: Urn, old: dict[str, Any], new: dict[str, Any], seed: bytes) -> dict[str, Any]:
        if urn.type == releases.RELEASE:
            return releases.checked(self.api, urn, old, new, seed)
        kind = urn.type.rpartition(":")[2]
        if kind.endswith(("List", "Patch")):
            raise RefusedError(f"the stand-in makes no {kind}: name each object by its own type")
        about = dict(new.get("metadata") or {})
        if not about.get("name"):
            drawn = hashlib.sha256(seed + urn.text.encode()).hexdigest()[:8]
            before = old.get("metadata", {})
            named = before.get("annotations", {}).get(AUTONAMED) == "true"
            about["name"] = before["name"] if named else f"{urn.name[: LONGEST_NAME - 9].rstrip('-')}-{drawn}"
            about["annotations"] = {**(about.get("annotations") or {}), AUTONAMED: "true"}
        addressed = self.api.kind(new["apiVersion"], new["kind"])
        if addressed and addressed.namespaced:
            about["namespace"] = about.get("namespace") or self.api.namespace
        return {**new, "metadata": about}

    def diff(self, urn: Urn, id_: str, old: dict[str, Any], state: dict[str, Any], new: dict[str, Any]) -> Diff:
        if urn.type == releases.RELEASE:
            return releases.diff(old, new)
        dies = self._dies(new)
        written = {path: Change(kind, dies(path)) for path, kind in differences(old, new)}
        if has_unknown(new):
            return _with_order(written, new)
        if identity(new) != id_:
            return _with_order({**written, **_moved(id_, new)}, new)
        try:
            live = self.api.get(new)
            would = self.api.apply(new, force=True, dry=True)
        except AnswerError as error:
            if error.code == GONE:
                return _with_order(written, new)
            if IMMUTABLE not in str(error):
                raise
            return _with_order(_immutable(written, error.fields), new)
        found = differences(_comparable(live or {}), _comparable(would))
        return _with_order({path: Change(kind, dies(path)) for path, kind in found}, new)

    def create(self, urn: Urn, inputs: dict[str, Any], preview: bool) -> Live:
        if urn.type == releases.RELEASE:
            return releases.deploy(self.api, inputs, preview, inputs.get("timeout") or self._patience({}))
        if preview:
            return Live("", self._foreseen(inputs))
        if "upsertExistingObjects" not in self.switches and self.api.get(inputs):
            raise RefusedError(f"{identity(inputs)} is there already: import it, or let its owner remove it")
        return self._ready(self._apply(inputs))

    def update(
        self, urn: Urn, id_: str, old: dict[str, Any], state: dict[str, Any], new: dict[str, Any], preview: bool
    ) -> dict[str, Any]:
        if urn.type == releases.RELEASE:
            return releases.deploy(self.api, new, preview, new.get("timeout") or self._patience({})).properties
        if not preview:
            return self._ready(self._apply(new)).properties
        if has_unknown(new):
            return {**state, **new}
        would = self.api.apply(new, force=True, dry=True)
        would["metadata"]["resourceVersion"] = UNKNOWN
        return {**outputs(would), **({"status": UNKNOWN} if "status" in would else {})}

    def read(self, urn: Urn, id_: str, inputs: dict[str, Any], state: dict[str, Any]) -> Live | None:
        if urn.type == releases.RELEASE:
            return releases.read(self.api, id_, inputs, state)
        live = self.api.get(_addressed(urn, id_, state or inputs))
        if live is None:
            return None
        return Live(id_, outputs(live), None if inputs else outputs(_comparable(live)))

    def delete(self, urn: Urn, id_: str, inputs: dict[str, Any], state: dict[str, Any]) -> None:
        if urn.type == releases.RELEASE:
            releases.delete(self.api, id_, state, inputs.get("timeout") or self._patience({}))
            return
        there = _addressed(urn, id_, state)
        notes = annotations(inputs)
        live = self.api.get(there)
        self.api.delete(there, notes.get(PROPAGATION, "Foreground").capitalize())
        if live is None or notes.get(SKIP_AWAIT) == "true":
            return

        def remains() -> str:
            now = self.api.get(there)
            same = now and now["metadata"]["uid"] == live["metadata"]["uid"]
            return f"it is held by {', '.join(_holders(now))}" if now and same else ""

        if waits := self._wait(remains, notes):
            raise RefusedError(f"it is not gone after {self._patience(notes):g} s: {waits}")

    def construct(self, type_: str, name: str, inputs: dict[str, Any]) -> list[list[Child]]:
        return of_objects(self.api, objects(self.api, type_, name, inputs), name, inputs)

    # What customTimeouts say comes with the request

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.patience.seconds = request.timeout
        return super().Create(request, context)

    def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.patience.seconds = request.timeout
        return super().Update(request, context)

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.patience.seconds = request.timeout
        return super().Delete(request, context)

    def _foreseen(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """What a creation would give; what is already there by this name will have gone by then."""
        known = inputs
        if not has_unknown(inputs):
            name = inputs["metadata"]["name"]
            other = f"{name[: LONGEST_NAME - 2]}-0" if self._is_there(inputs) else name
            try:
                asked = {**inputs, "metadata": {**inputs["metadata"], "name": other}}
                known = self.api.apply(asked, force=True, dry=True)
            except AnswerError as error:
                if error.code != GONE:  # its namespace or its kind may come with it
                    raise
            known["metadata"]["name"] = name
        unknown = dict.fromkeys((*SERVERS, *(("namespace",) * has_unknown(identity(inputs)))), UNKNOWN)
        shown: dict[str, Any] = {**known, "metadata": {**known["metadata"], **unknown}, "status": UNKNOWN}
        shown["metadata"].pop("managedFields")
        if inputs["kind"] in COMPUTED and isinstance(shown.get("spec"), dict):
            given = inputs.get("spec") or {}
            computed = {name: UNKNOWN for name in COMPUTED[inputs["kind"]] if name not in given}
            shown["spec"] = {**shown["spec"], **computed}
        return shown

    def _is_there(self, wanted: dict[str, Any]) -> bool:
        return self.api.kind(wanted["apiVersion"], wanted["kind"]) is not None and self.api.get(wanted) is not None

    def _apply(self, wanted: dict[str, Any]) -> dict[str, Any]:
        force = "enablePatchForce" in self.switches or annotations(wanted).get(FORCE) == "true"
        try:
            return self.api.apply(wanted, force=force)
        except AnswerError as error:
            if error.code != CONFLICT:
                raise
            raise RefusedError(f"{error}; the annotation {FORCE} takes such fields over") from error

    def _ready(self, live: dict[str, Any]) -> Live:
        """It when it is ready. Raises UnfinishedError if it doesn't become so."""
        notes = annotations(live)
        if notes.get(SKIP_AWAIT) in ("true", "ready"):
            return Live(identity(live), outputs(live))
        latest = live
        patient_until = time.monotonic() + (GRACE if may_be_ready(self.api, live) else 0)

        def waits() -> str:
            nonlocal latest
            now = self.api.get(live)
            if now is None:
                raise FailedError("it has gone")
            latest = now
            early = time.monotonic() < patient_until and not now.get("status", {}).get("conditions")
            return missing(self.api, now) or ("its controller says nothing" if early else "")

        try:
            left = self._wait(waits, notes)
        except FailedError as error:
            raise UnfinishedError(Live(identity(live), outputs(latest)), f"it was made, but {error}") from error
        if left:
            reason = f"it was made, but is not ready after {self._patience(notes):g} s: {left}"
            raise UnfinishedError(Live(identity(live), outputs(latest)), reason)
        return Live(identity(live), outputs(latest))

    def _patience(self, notes: Mapping[str, str]) -> float:
        return float(notes.get(TIMEOUT) or getattr(self.patience, "seconds", 0) or PATIENCE)

    def _wait(self, waits: Callable[[], str], notes: Mapping[str, str]) -> str:
        """Wait until there is nothing to wait for; what is left when time is up."""
        latest = time.monotonic() + self._patience(notes)
        while left := waits():
            if time.monotonic() > latest or self.faults.cancelled.wait(TICK):
                return left
        return ""

    def _dies(self, new: Mapping[str, Any]) -> Callable[[str], bool]:
        """Of which paths a change replaces it."""
        kind = new["kind"]
        paths: tuple[str, ...] = REPLACED.get(kind, ())
        if MUTABLE.get(kind) in self.switches and not new.get("immutable"):
            paths = tuple(path for path in paths if path == "type")
        return lambda path: any(_within(path, other) for other in (*IDENTITY, *paths))


def identity(wanted: Mapping[str, Any]) -> str:
    """The id: namespace and name, or the name of what has no namespace."""
    about = wanted["metadata"]
    return f"{about['namespace']}/{about['name']}" if about.get("namespace") else str(about["name"])


def annotations(wanted: Mapping[str, Any]) -> Mapping[str, str]:
    """Its annotations."""
    found = (wanted.get("metadata") or {}).get("annotations")
    return found if isinstance(found, dict) else {}


def outputs(live: Mapping[str, Any]) -> dict[str, Any]:
    """What the engine remembers of it: a Secret's data as secrets."""
    about = {key: value for key, value in live["metadata"].items() if key != "managedFields"}
    hidden = {key: Secret(live[key]) for key in ("data", "stringData") if live["kind"] == "Secret" and key in live}
    return {**live, "metadata": about, **hidden}


def _comparable(live: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is the server's own."""
    kept = {key: value for key, value in live.items() if key != "status"}
    if "metadata" in kept:
        kept["metadata"] = {key: value for key, value in kept["metadata"].items() if key not in SERVERS}
    return kept


def _addressed(urn: Urn, id_: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """What the id names; the kind of what is imported is in its type."""
    _, module, kind = urn.type.split(":")
    namespace, _, name = id_.rpartition("/")
    return {
        "apiVersion": known.get("apiVersion") or module.removeprefix("core/"),
        "kind": known.get("kind") or kind,
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
    }


def _moved(id_: str, new: Mapping[str, Any]) -> dict[str, Change]:
    namespace, _, name = id_.rpartition("/")
    before = {"name": name, "namespace": namespace}
    return {
        f"metadata.{part}": Change("update", replace=True)
        for part in before
        if before[part] != (new["metadata"].get(part) or "")
    }


def _immutable(written: Mapping[str, Change], fields: tuple[str, ...]) -> dict[str, Change]:
    """The changes as the server sees them that refuses these fields."""
    found = {
        path: Change(change.kind, change.replace or any(_within(path, one) for one in fields))
        for path, change in written.items()
    }
    if any(change.replace for change in found.values()):
        return found
    return {**found, **{field: Change("update", replace=True) for field in fields or ("spec",)}}


def _with_order(found: Mapping[str, Change], new: Mapping[str, Any]) -> Diff:
    """What has a name of its own has to go before its successor of that name comes."""
    replaced = any(change.replace for change in found.values())
    moved = any(found[path].replace for path in IDENTITY if path in found)
    return Diff(found, delete_first=replaced and not moved and annotations(new).get(AUTONAMED) != "true")


def _within(path: str, other: str) -> bool:
    return path == other or path.startswith((f"{other}.", f"{other}["))


def _holders(live: Mapping[str, Any]) -> list[str]:
    return live["metadata"].get("finalizers") or ["nothing but time"]


def main() -> None:
    """What the engine starts."""
    serve(Kubernetes())
