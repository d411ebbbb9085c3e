"""Charts: rendered, or installed as releases, by helm itself."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.cluster.standins.kubernetes.api import Api
from tests.cluster.standins.kubernetes.tools import run
from tests.cluster.standins.serve import RefusedError

CHARTS = "MODELYARD_STANDIN_CHARTS"
"""A JSON object with the local folders of charts by the names that programs have for them."""


def folder(inputs: Mapping[str, Any]) -> Path | None:
    """Where a chart is, if it is on this machine."""
    known = json.loads(os.environ.get(CHARTS, "{}"))
    path = Path(known.get(inputs["chart"], inputs["chart"]))
    return path.absolute() if path.is_dir() else None


def rendered(api: Api, chart: Path, name: str, inputs: Mapping[str, Any]) -> str:
    """A chart's objects as YAML, without those of hooks and tests."""
    kinds = "--skip-crds" if inputs.get("skipCrds") else "--include-crds"
    version, groups = api.capabilities()
    with _files(api, inputs) as (_, values):
        words = [inputs.get("name") or name, chart, *_where(api, inputs), *values, f"--kube-version={version}"]
        has = f"--api-versions={','.join(groups)}"
        return run("helm", ["template", *words, has, kinds, "--no-hooks", "--skip-tests"])


def install(api: Api, chart: Path, name: str, inputs: Mapping[str, Any], seconds: float) -> None:
    """Install a release or bring it to a newer revision, and wait until it is ready."""
    waits = [] if inputs.get("skipAwait") else ["--wait", f"--timeout={seconds:.0f}s"]
    if inputs.get("createNamespace"):
        waits.append("--create-namespace")
    if inputs.get("skipCrds"):
        waits.append("--skip-crds")
    with _files(api, inputs) as (access, values):
        run("helm", ["upgrade", "--install", name, chart, *_where(api, inputs), *access, *values, *waits])


def status(api: Api, name: str, namespace: str) -> dict[str, Any] | None:
    """A release as helm lists it, and its values; None if there is none."""
    words = [name, f"--namespace={namespace}", "--output=json"]
    with _files(api, {}) as (access, _):
        pattern = ["list", "--all-namespaces=false", f"--filter=^{name}$", *words[1:], *access]
        found = json.loads(run("helm", pattern))
        if not found:
            return None
        return {**found[0], "values": json.loads(run("helm", ["get", "values", *words, *access])) or {}}


def uninstall(api: Api, name: str, namespace: str, seconds: float) -> None:
    """Remove a release and wait until it is gone."""
    with _files(api, {}) as (access, _):
        words = ["uninstall", name, f"--namespace={namespace}", *access, "--ignore-not-found"]
        run("helm", [*words, "--wait", "--cascade=foreground", f"--timeout={seconds:.0f}s"])


def _where(api: Api, inputs: Mapping[str, Any]) -> list[str]:
    return [f"--namespace={inputs.get('namespace') or api.namespace}"]


@contextmanager
def _files(api: Api, inputs: Mapping[str, Any]) -> Iterator[tuple[list[str], list[str]]]:
    """Words for the cluster and for the values, which lie in files for that long."""
    with TemporaryDirectory() as place:
        access = Path(place) / "kubeconfig"
        access.write_text(json.dumps(api.kubeconfig))
        texts = [_text(asset) for asset in inputs.get("valueYamlFiles") or ()]
        paths = []
        for number, text in enumerate([*texts, json.dumps(inputs.get("values") or {})]):
            paths.append(Path(place) / f"values-{number}.yaml")
            paths[-1].write_text(text)
        yield [f"--kubeconfig={access}"], [f"--values={path}" for path in paths]


def _text(asset: Mapping[str, Any]) -> str:
    if "text" in asset:
        return str(asset["text"])
    if "path" in asset:
        return Path(asset["path"]).read_text("utf-8")
    raise RefusedError("valueYamlFiles takes files and texts of this machine")
