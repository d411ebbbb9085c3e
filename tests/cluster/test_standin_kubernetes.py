"""The stand-in for the Kubernetes provider, between Pulumi's own engine and a real control plane."""

import base64
import gc
import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest
from pulumi import automation as auto

from tests.cluster.cloud import until
from tests.cluster.standins.kubernetes.tools import tool
from tests.cluster.standins.serve import RefusedError

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""An inline program that the engine gives up leaves its event loop and sockets to Python's collector."""
CORES = {"requests": {"cpu": "0.1"}}


class Stack:
    """A stack of a test's own; what is run says how many resources were created, updated and so on."""

    def __init__(self, backend: Path) -> None:
        self.file = backend / ".pulumi/stacks/standin/test.json"
        self.stack = auto.create_stack("test", project_name="standin", program=lambda: None)

    def preview(self, program: Callable[[], None]) -> dict[str, int]:
        self.stack.workspace.program = program
        found = self.stack.preview().change_summary
        return {getattr(kind, "value", kind): count for kind, count in found.items()}

    def up(self, program: Callable[[], None]) -> dict[Any, int]:
        self.stack.workspace.program = program
        result = self.stack.up()
        self.outputs = {name: output.value for name, output in result.outputs.items()}
        return dict(result.summary.resource_changes or {})

    def refresh(self) -> dict[Any, int]:
        return dict(self.stack.refresh().summary.resource_changes or {})

    def destroy(self) -> dict[Any, int]:
        return dict(self.stack.destroy().summary.resource_changes or {})

    def refused(self, run: Callable[..., object], *arguments: object) -> str:
        """What the engine says of a run that has to fail, without its decoration."""
        with pytest.raises(auto.CommandError) as error:
            run(*arguments)
        return str(error.value)

    def resources(self, kind: str = "") -> list[dict]:
        """What the state holds, of one type or of all."""
        held = json.loads(self.file.read_text())["checkpoint"]["latest"].get("resources", [])
        return [one for one in held if kind in ("", one["type"])]


@pytest.fixture
def stack(backend, plane, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
    monkeypatch.setattr(logging.getLogger("grpc._server"), "disabled", True)  # pytest would keep what it logs
    made = Stack(backend)
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


def test_a_config_map_is_replaced_and_one_with_a_name_of_its_own_goes_first(stack, get, namespace):
    def program(value):
        def run():
            config(namespace, {"a": value})()
            drawn = k8s.core.v1.ConfigMap("drawn", metadata={"namespace": namespace}, data={"a": value})
            mutable = k8s.Provider("mutable", enable_config_map_mutable=True)
            k8s.core.v1.ConfigMap(
                "kept",
                metadata={"name": "kept", "namespace": namespace},
                data={"a": value},
                opts=pulumi.ResourceOptions(provider=mutable),
            )
            pulumi.export("drawn", drawn.metadata.name)

        return run

    stack.up(program("1"))
    first, kept = stack.outputs["drawn"], get("configmaps", "kept")["metadata"]["uid"]
    assert stack.preview(program("2")) == {"same": 2, "replace": 2, "update": 1}
    stack.up(program("2"))
    assert [get("configmaps", name)["data"]["a"] for name in ("settings", "kept", stack.outputs["drawn"])] == ["2"] * 3
    assert stack.outputs["drawn"] != first
    assert get("configmaps", first) is None
    assert get("configmaps", "kept")["metadata"]["uid"] == kept


def test_what_the_server_calls_immutable_is_replaced(stack, api, prefix):
    def program(mode):
        return lambda: k8s.storage.v1.StorageClass(
            "disks", metadata={"name": prefix}, provisioner="example.com/disks", volume_binding_mode=mode
        )

    stack.up(program("Immediate"))
    assert stack.preview(program("WaitForFirstConsumer")) == {"same": 1, "replace": 1}
    stack.up(program("WaitForFirstConsumer"))
    assert api.get(f"/apis/storage.k8s.io/v1/storageclasses/{prefix}").json()["volumeBindingMode"] != "Immediate"


def test_what_is_there_already_is_not_taken_over_but_imported(stack, api, get, namespace):
    by_hands = {"metadata": {"name": "settings"}, "data": {"a": "1"}}
    api.post(f"/api/v1/namespaces/{namespace}/configmaps", json=by_hands)
    said = stack.refused(stack.up, config(namespace, {"a": "1"}))
    assert f"'settings': {namespace}/settings is there already: import it" in said
    id_ = f"{namespace}/settings"
    assert stack.up(config(namespace, {"a": "1"}, import_=id_)) == {"same": 1, "import": 1}
    (held,) = stack.resources("kubernetes:core/v1:ConfigMap")
    assert (held["id"], held["inputs"]["data"]) == (id_, {"a": "1"})
    assert stack.up(config(namespace, {"a": "1"})) == {"same": 2}


def test_workloads_are_waited_for_until_they_are_ready(stack, get, namespace):
    def program():
        within = {"namespace": namespace, "name": "web"}
        labels = {"match_labels": {"app": "web"}}
        web = k8s.apps.v1.Deployment(
            "web", metadata=within, spec={"replicas": 2, "selector": labels, "template": pod()}
        )
        k8s.core.v1.Service("web", metadata=within, spec={"selector": {"app": "web"}, "ports": [{"port": 80}]})
        store = {"namespace": namespace, "name": "store"}
        kept = {"match_labels": {"app": "store"}}
        template = pod() | {"metadata": {"labels": {"app": "store"}}}
        spec = {"replicas": 2, "selector": kept, "template": template, "service_name": "store"}
        k8s.apps.v1.StatefulSet("store", metadata=store, spec=spec)
        job = k8s.batch.v1.Job(
            "job",
            metadata={"namespace": namespace, "name": "job"},
            spec={"template": pod({"test.modelyard.dev/succeeds-after": "1s"}, restart_policy="Never")},
        )
        pulumi.export("ready", [web.status.ready_replicas, job.status.succeeded])

    assert stack.up(program) == {"create": 5}
    assert stack.outputs["ready"] == [2, 1]
    assert get("statefulsets", "store", "/apis/apps/v1")["status"]["readyReplicas"] == 2
    assert stack.up(program) == {"same": 5}
    assert stack.refresh() == {"same": 5}


def test_what_does_not_become_ready_is_said_and_remembered(stack, get, namespace):
    def program(**annotations):
        notes = {f"pulumi.com/{name}": value for name, value in annotations.items()}
        metadata = {"namespace": namespace, "name": "web", "annotations": notes}
        spec = {"selector": {"match_labels": {"app": "web"}}, "template": pod(node_selector={"no": "where"})}
        return lambda: k8s.apps.v1.Deployment("web", metadata=metadata, spec=spec)

    said = stack.refused(stack.up, program(timeoutSeconds="1"))
    assert "kubernetes:apps/v1:Deployment (web)" in said
    assert "it was made, but is not ready after 1 s: 0 of 1 replicas are" in said
    (held,) = stack.resources("kubernetes:apps/v1:Deployment")
    assert held["id"] == f"{namespace}/web"
    assert stack.up(program(skipAwait="true")) == {"same": 1, "update": 1}


def test_a_job_that_fails_is_not_waited_for(stack, namespace):
    template = pod(restart_policy="Never", node_selector={"no": "where"})
    spec = {"active_deadline_seconds": 1, "template": template}
    metadata = {"namespace": namespace, "name": "job"}
    said = stack.refused(stack.up, lambda: k8s.batch.v1.Job("job", metadata=metadata, spec=spec))
    assert "it was made, but it failed: Job was active longer than specified deadline" in said


def test_a_custom_resource_is_waited_for_until_its_controller_calls_it_ready(stack, api, prefix, namespace):
    group, quick = f"{prefix}.example.com", {"pulumi.com/deletionPropagationPolicy": "background"}
    path = f"/apis/{group}/v1/namespaces/{namespace}/parts/part"
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"properties": {"spec": free, "status": {**free, "properties": {"conditions": {
        "type": "array", "items": free}}}}}  # fmt: skip

    def program():
        names = {"kind": "Part", "plural": "parts"}
        version = {"name": "v1", "served": True, "storage": True, "schema": {"open_apiv3_schema": {
            "type": "object", **schema}}, "subresources": {"status": {}}}  # fmt: skip
        kind = k8s.apiextensions.v1.CustomResourceDefinition(
            "kind",
            metadata={"name": f"parts.{group}", "annotations": quick},
            spec={"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
        )
        k8s.apiextensions.CustomResource(
            "part",
            api_version=f"{group}/v1",
            kind="Part",
            metadata={"name": "part", "namespace": namespace, "annotations": quick},
            spec={"size": 1},
            opts=pulumi.ResourceOptions(depends_on=[kind]),
        )

    def control():
        until(lambda: api.get(path).is_success)
        for status in ("False", "True"):
            body = {"status": {"conditions": [{"type": "Ready", "status": status}]}}
            merge = {"Content-Type": "application/merge-patch+json"}
            api.patch(f"{path}/status", content=json.dumps(body), headers=merge).raise_for_status()

    assert stack.preview(program) == {"create": 3}, "its kind comes with it"
    controller = threading.Thread(target=control)
    controller.start()
    assert stack.up(program) == {"create": 3}
    controller.join()
    (held,) = stack.resources(f"kubernetes:{group}/v1:Part")
    assert held["outputs"]["status"]["conditions"] == [{"type": "Ready", "status": "True"}]


def test_a_deletion_is_waited_for_and_says_what_holds_it(stack, api, get, namespace):
    metadata = {"name": "held", "namespace": namespace, "annotations": {"pulumi.com/timeoutSeconds": "1"}}
    stack.up(lambda: k8s.core.v1.ConfigMap("held", metadata=metadata))
    path = f"/api/v1/namespaces/{namespace}/configmaps/held"
    by_hand(api, path, {"metadata": {"finalizers": ["example.com/hold"]}})
    said = stack.refused(stack.destroy)
    assert "ConfigMap 'held': it is not gone after 1 s: it is held by example.com/hold" in said
    by_hand(api, path, {"metadata": {"finalizers": None}})
    stack.destroy()
    assert get("configmaps", "held") is None


def test_the_values_of_a_secret_are_encrypted_in_the_state(stack, get, namespace):
    metadata = {"name": "login", "namespace": namespace}
    stack.up(lambda: k8s.core.v1.Secret("login", metadata=metadata, string_data={"password": "correct horse"}))
    encoded = base64.b64encode(b"correct horse").decode()
    assert get("secrets", "login")["data"] == {"password": encoded}
    (held,) = stack.resources("kubernetes:core/v1:Secret")
    assert "data" in held["outputs"]
    assert encoded not in stack.file.read_text()
    assert "correct horse" not in stack.file.read_text()


def test_a_provider_of_its_own_has_its_namespace_and_a_list_is_no_resource(stack, get, plane, namespace):
    def provider(**settings):
        made = k8s.Provider("own", kubeconfig=plane.kubeconfig.read_text(), context="test", **settings)
        return pulumi.ResourceOptions(provider=made)

    stack.up(lambda: k8s.core.v1.ConfigMap("a", metadata={"name": "a"}, opts=provider(namespace=namespace)))
    assert get("configmaps", "a") is not None
    said = stack.refused(stack.preview, lambda: k8s.core.v1.ConfigMapList("list", items=[]))
    assert "the stand-in makes no ConfigMapList: name each object by its own type" in said
    said = stack.refused(
        stack.preview, lambda: k8s.core.v1.ConfigMap("a", opts=provider(render_yaml_to_directory="rendered"))
    )
    assert "the stand-in has no setting renderYamlToDirectory" in said


@pytest.fixture(scope="session")
def tools():
    """helm and kubectl."""
    try:
        return tool("helm"), tool("kubectl")
    except RefusedError as error:
        pytest.skip(str(error))


@pytest.fixture
def chart(tools, tmp_path, namespace):
    """A chart with a ConfigMap, a hook and a Deployment that is there if wanted."""
    folder = tmp_path / "chart"
    files = {
        "Chart.yaml": "{apiVersion: v2, name: little, version: 1.2.3, appVersion: '7'}",
        "values.yaml": "{colour: grey}",
        "templates/settings.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: '{{ .Release.Name }}'}, "
        "data: {colour: '{{ required \"a colour\" .Values.colour }}'}}",
        "templates/hook.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: hook, annotations: "
        "{helm.sh/hook: pre-install}}}",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_charts_kustomizations_and_yaml_are_components_of_real_objects(stack, api, get, chart, tmp_path, prefix):
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text("{resources: [one.yaml], nameSuffix: -x}")
    (overlay / "one.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: kustomized}}")
    (tmp_path / "file.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: of-a-file}}")
    listed = {"apiVersion": "v1", "kind": "ConfigMapList", "items": [{"metadata": {"name": "of-a-list"}}]}
    text = f"""
apiVersion: v1
kind: Secret
metadata: {{name: login, namespace: {prefix}-later}}
stringData: {{password: correct horse}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: {prefix}-later}}
"""

    def program(colour):
        def run():
            own = pulumi.ResourceOptions(provider=k8s.Provider("own", namespace=prefix))
            k8s.helm.v4.Chart("chart", chart=str(chart), namespace=prefix, values={"colour": colour})
            k8s.helm.v4.Chart("far", chart="oci://example.com/far", version="1.0.0", values={"colour": colour})
            k8s.kustomize.v2.Directory("overlay", directory=str(overlay), namespace=prefix, skip_await=True)
            k8s.yaml.v2.ConfigFile("file", file=str(tmp_path / "file.yaml"), opts=own)
            group = k8s.yaml.v2.ConfigGroup("group", yaml=text, objs=[listed], resource_prefix="g", opts=own)
            config(prefix, {}, name="after", depends_on=[group])()

        return run

    stack.preview(program("red"))
    assert get("configmaps", "chart") is None
    made = stack.up(program("red"))
    assert get("configmaps", "chart")["data"] == {"colour": "red"}
    assert get("configmaps", "hook") is None, "hooks are no part of a chart that is rendered"
    assert get("configmaps", "kustomized-x")["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}
    assert get("configmaps", "of-a-file")
    assert get("configmaps", "of-a-list")
    assert api.get(f"/api/v1/namespaces/{prefix}-later/secrets/login").is_success, "its namespace comes first"
    held = {one["urn"].partition("::kubernetes:")[2].replace(prefix, "NS"): one for one in stack.resources()}
    assert "helm.sh/v4:Chart$kubernetes:core/v1:ConfigMap::chart:NS/chart" in held
    assert "yaml/v2:ConfigGroup$kubernetes:core/v1:Secret::g:NS-later/login" in held
    far = held["helm.sh/v4:Chart::far"]["inputs"]
    assert (far["chart"], far["version"], far["values"]) == ("oci://example.com/far", "1.0.0", {"colour": "red"})
    (secret,) = stack.resources("kubernetes:core/v1:Secret")
    assert "correct horse" not in json.dumps(secret), "what a text holds in plain sight is a secret all the same"
    assert stack.up(program("red")) == {"same": made["create"]}
    assert stack.up(program("blue")) == {"same": made["create"] - 3, "update": 2, "replace": 1}
    stack.destroy()
    assert get("configmaps", "of-a-list") is None


def test_a_release_is_installed_upgraded_and_removed_by_helm(stack, get, chart, namespace):
    def program(folder, **values):
        def run():
            release = k8s.helm.v3.Release("little", name="little", namespace=namespace, chart=folder, values=values)
            pulumi.export("status", release.status)

        return run

    near = str(chart)
    assert "a colour" in stack.refused(stack.preview, program(near, colour=""))
    stack.up(program(near, colour="red"))
    assert get("configmaps", "little")["data"] == {"colour": "red"}
    assert get("configmaps", "hook"), "a release runs its hooks"
    assert stack.outputs["status"]["revision"] == "1"
    assert stack.up(program(near, colour="red")) == {"same": 2}
    assert stack.up(program(near, colour="blue")) == {"same": 1, "update": 1}
    assert get("configmaps", "little")["data"] == {"colour": "blue"}
    assert stack.refresh() == {"same": 2}
    stack.destroy()
    assert get("configmaps", "little") is None


def test_a_release_of_a_chart_that_is_not_here_is_recorded(stack, namespace):
    def program():
        k8s.helm.v3.Release("far", namespace=namespace, chart="far", version="1.0.0", values={"a": 1})

    stack.up(program)
    (held,) = stack.resources("kubernetes:helm.sh/v3:Release")
    assert held["outputs"]["status"] == {"status": "recorded"}
    assert (held["outputs"]["chart"], held["outputs"]["version"], held["outputs"]["values"]) == (
        "far", "1.0.0", {"a": 1},
    )  # fmt: skip
    assert stack.up(program) == {"same": 2}
