"""When an object of Kubernetes is ready, as Pulumi's provider documents it for each kind."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.cluster.standins.kubernetes.api import Api

Object = Mapping[str, Any]


class FailedError(Exception):
    """It won't become ready; the message says why."""


def missing(api: Api, live: Object) -> str:
    """What it waits for, or nothing."""
    group = live["apiVersion"].rpartition("/")[0]
    wait = KINDS.get((group, live["kind"]))
    return wait(api, live) if wait else _custom(live)


def may_be_ready(api: Api, live: Object) -> bool:
    """Whether a controller may give a custom resource conditions that it hasn't given yet."""
    group, _, version = live["apiVersion"].rpartition("/")
    kind = api.kind(live["apiVersion"], live["kind"])
    if (group, live["kind"]) in KINDS or kind is None or "." not in group or _conditions(live):
        return False
    name = f"{kind.plural}.{group}"
    crd = {"apiVersion": CRDS, "kind": "CustomResourceDefinition", "metadata": {"name": name}}
    definition = api.get(crd) or {"spec": {"versions": []}}
    schemas = [one["schema"]["openAPIV3Schema"] for one in definition["spec"]["versions"] if one["name"] == version]
    statuses = [schema.get("properties", {}).get("status", {}).get("properties", {}) for schema in schemas]
    return any("conditions" in status for status in statuses)


def _deployment(_api: Api, live: Object) -> str:
    wanted, status = live["spec"].get("replicas", 1), live.get("status", {})
    progress = _conditions(live).get("Progressing", {})
    if progress.get("reason") == "ProgressDeadlineExceeded":
        raise FailedError(str(progress.get("message", "it makes no progress")))
    return (
        _unseen(live)
        or _few("updated", status.get("updatedReplicas", 0), wanted)
        or _few("available", status.get("availableReplicas", 0), wanted)
        or _old(status.get("replicas", 0), wanted)
    )


def _stateful_set(_api: Api, live: Object) -> str:
    wanted, status = live["spec"].get("replicas", 1), live.get("status", {})
    rolls = live["spec"].get("updateStrategy", {}).get("type") != "OnDelete"
    if rolls and status.get("currentRevision") != status.get("updateRevision"):
        return _few("updated", status.get("updatedReplicas", 0), wanted) or "its revision is not current yet"
    return _unseen(live) or _few("ready", status.get("readyReplicas", 0), wanted)


def _daemon_set(_api: Api, live: Object) -> str:
    status = live.get("status", {})
    wanted = status.get("desiredNumberScheduled", 0)
    return (
        _unseen(live)
        or _few("updated", status.get("updatedNumberScheduled", 0), wanted)
        or _few("available", status.get("numberAvailable", 0), wanted)
    )


def _job(_api: Api, live: Object) -> str:
    found = _conditions(live)
    failed = found.get("Failed", {})
    if failed.get("status") == "True":
        raise FailedError(f"it failed: {failed.get('message', failed.get('reason'))}")
    done = found.get("Complete", {}).get("status") == "True" or live["spec"].get("suspend")
    return "" if done else "it is not complete"


def _pod(_api: Api, live: Object) -> str:
    phase = live.get("status", {}).get("phase")
    if phase == "Failed":
        raise FailedError(f"it failed: {live['status'].get('message', 'it gives no reason')}")
    ready = phase == "Succeeded" or _conditions(live).get("Ready", {}).get("status") == "True"
    return "" if ready else f"it is {phase}"


def _service(api: Api, live: Object) -> str:
    spec = live["spec"]
    if spec.get("type") == "LoadBalancer" and not live.get("status", {}).get("loadBalancer", {}).get("ingress"):
        return "it has no address of a load balancer"
    if not spec.get("selector") or spec.get("type") == "ExternalName" or spec.get("clusterIP") == "None":
        return ""
    about = live["metadata"]
    named = f"kubernetes.io/service-name={about['name']}"
    slices = api.matching("discovery.k8s.io/v1", "EndpointSlice", about["namespace"], named)
    endpoints = [endpoint for one in slices for endpoint in one.get("endpoints") or ()]
    if not endpoints:
        return "no pod is behind it"
    return "" if all(one["conditions"].get("ready") for one in endpoints) else "a pod behind it is not ready"


def _definition(api: Api, live: Object) -> str:
    if _conditions(live).get("Established", {}).get("status") != "True":
        return "it is not established"
    spec = live["spec"]
    served = (f"{spec['group']}/{one['name']}" for one in spec["versions"] if one["served"])
    return "" if all(api.kind(version, spec["names"]["kind"]) for version in served) else "it is not served"


def _custom(live: Object) -> str:
    ready = _conditions(live).get("Ready")
    if ready is None:
        return ""
    about = live["metadata"].get("generation", 0)
    if ready.get("observedGeneration", live["status"].get("observedGeneration", about)) < about:
        return "its controller hasn't seen it"
    if ready["status"] == "True":
        return ""
    return f"its condition Ready is {ready['status']}: {ready.get('message') or ready.get('reason') or 'no reason'}"


def _conditions(live: Object) -> dict[str, dict[str, Any]]:
    return {one["type"]: one for one in live.get("status", {}).get("conditions") or () if "type" in one}


def _unseen(live: Object) -> str:
    seen = live.get("status", {}).get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
    return "" if seen else "its controller hasn't seen it"


def _few(what: str, have: int, wanted: int) -> str:
    return f"{have} of {wanted} replicas are {what}" if have < wanted else ""


def _old(have: int, wanted: int) -> str:
    return f"{have - wanted} replicas of before are still there" if have > wanted else ""


CRDS = "apiextensions.k8s.io/v1"
KINDS: Mapping[tuple[str, str], Callable[[Api, Object], str]] = {
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("batch", "Job"): _job,
}
