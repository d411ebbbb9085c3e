"""The stand-in for the Kubernetes provider, between Pulumi's own engine and a real control plane."""

import gc
import json
from collections.abc import Callable

import pulumi
import pulumi_kubernetes as k8s
import pytest
from pulumi import automation as auto

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""An inline program that the engine gives up leaves its event loop and sockets to Python's collector."""
CORES = {"requests": {"cpu": "0.1"}}


class Stack:
    """A stack of a test's own; what is run says how many resources were created, updated and so on."""

    def __init__(self) -> None:
        self.stack = auto.create_stack("test", project_name="standin", program=lambda: None)

    def preview(self, program: Callable[[], None]) -> dict[str, int]:
        self.stack.workspace.program = program
        found = self.stack.preview().change_summary
        return {getattr(kind, "value", kind): count for kind, count in found.items()}

    def up(self, program: Callable[[], None]) -> dict[str, int]:
        self.stack.workspace.program = program
        result = self.stack.up()
        self.outputs = {name: output.value for name, output in result.outputs.items()}
        return result.summary.resource_changes or {}

    def refresh(self) -> dict[str, int]:
        return self.stack.refresh().summary.resource_changes or {}

    def destroy(self) -> dict[str, int]:
        return self.stack.destroy().summary.resource_changes or {}

    def refused(self, run: Callable[..., object], *arguments: object) -> str:
        """What the engine says of a run that has to fail, without its decoration."""
        with pytest.raises(auto.CommandError) as error:
            run(*arguments)
        return str(error.value)

    def resources(self, kind: str) -> list[dict]:
        """What the state holds of a type."""
        held = self.stack.export_stack().deployment["resources"]
        return [one for one in held if one["type"] == kind]


@pytest.fixture
def stack(backend, plane, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
    made = Stack()
    yield made
    made.destroy()
    gc.collect()


@pytest.fixture
def get(api, namespace):
    """An object of the test's namespace, or None."""

    def read(kind, name, root="/api/v1"):
        answer = api.get(f"{root}/namespaces/{namespace}/{kind}/{name}")
        return answer.json() if answer.is_success else None

    return read


def by_hand(api, path, patch):
    """A change as somebody makes it beside Pulumi."""
    answer = api.patch(
        path,
        content=json.dumps(patch),
        headers={"Content-Type": "application/merge-patch+json"},
        params={"fieldManager": "by-hand"},
    )
    assert answer.is_success, answer.text


def config(namespace, data, name="settings", **opts):
    return lambda: k8s.core.v1.ConfigMap(
        "settings",
        metadata={"name": name, "namespace": namespace} if name else {"namespace": namespace},
        data=data,
        opts=pulumi.ResourceOptions(**opts),
    )


def pod(annotations=None, **spec):
    return {
        "metadata": {"labels": {"app": "web"}, "annotations": annotations or {}},
        "spec": {"containers": [{"name": "main", "image": "image", "resources": CORES}], **spec},
    }


def test_a_namespace_and_what_is_in_it_come_up_once_and_go(stack, api, prefix):
    name = f"{prefix}-own"

    def program():
        own = k8s.core.v1.Namespace("own", metadata={"name": name})
        settings = k8s.core.v1.ConfigMap("settings", metadata={"namespace": own.metadata.name}, data={"a": "1"})
        k8s.core.v1.ResourceQuota(
            "quota", metadata={"name": "quota", "namespace": own.metadata.name}, spec={"hard": {"cpu": "1000m"}}
        )
        pulumi.export("uid", own.metadata.uid)
        pulumi.export("settings", settings.metadata.name)

    path = f"/api/v1/namespaces/{name}"
    assert stack.preview(program) == {"create": 4}
    assert api.get(path).status_code == 404, "a preview makes nothing"
    assert stack.up(program) == {"create": 4}
    assert stack.outputs["uid"] == api.get(path).json()["metadata"]["uid"]
    drawn = stack.outputs["settings"]
    assert drawn.startswith("settings-"), "who has no name is given one"
    assert api.get(f"{path}/configmaps/{drawn}").json()["data"] == {"a": "1"}
    assert stack.up(program) == {"same": 4}, "1000m that the server calls 1 is no change"
    assert stack.refresh() == {"same": 4}
    stack.destroy()
    assert api.get(path).status_code == 404, "it waits until it is gone"


@pytest.mark.parametrize("exists", [True, False])
def test_a_field_that_the_kind_does_not_have_is_refused_in_the_preview(stack, namespace, exists):
    within = namespace if exists else f"{namespace}-later"

    def program():
        k8s.apiextensions.CustomResource(
            "limits",
            api_version="v1",
            kind="LimitRange",
            metadata={"name": "limits", "namespace": within},
            spec={"limits": [{"type": "Container", "defaults": {"cpu": "1"}}]},
        )

    said = stack.refused(stack.preview, program)
    assert "kubernetes:v1:LimitRange 'limits': " in said
    assert ".spec.limits[0].defaults: field not declared in schema" in said
    assert "Traceback" not in said


def test_a_value_that_the_server_does_not_take_is_refused_in_the_preview(stack, namespace):
    said = stack.refused(stack.preview, config(namespace, {"not a key": "1"}))
    assert "kubernetes:core/v1:ConfigMap 'settings': the API server refuses it" in said
    assert "not a key" in said


def test_drift_by_hand_is_found_by_refresh_and_put_right_by_force_alone(stack, api, get, namespace):
    def program(**annotations):
        metadata = {"name": "quota", "namespace": namespace, "annotations": annotations}
        return lambda: k8s.core.v1.ResourceQuota("quota", metadata=metadata, spec={"hard": {"pods": "3"}})

    stack.up(program())
    path = f"/api/v1/namespaces/{namespace}/resourcequotas/quota"
    by_hand(api, path, {"metadata": {"labels": {"somebody": "else"}}})
    assert stack.refresh() == {"same": 2}, "a field that others added is theirs"
    by_hand(api, path, {"spec": {"hard": {"pods": "4"}}})
    assert stack.preview(program()) == {"same": 1, "update": 1}, "a preview compares with what is there"
    assert stack.refresh() == {"same": 1, "update": 1}
    said = stack.refused(stack.up, program())
    assert 'conflict with "by-hand"' in said
    assert "pulumi.com/patchForce" in said
    assert stack.up(program(**{"pulumi.com/patchForce": "true"})) == {"same": 1, "update": 1}
    found = get("resourcequotas", "quota")
    assert (found["spec"]["hard"], found["metadata"]["labels"]) == ({"pods": "3"}, {"somebody": "else"})
