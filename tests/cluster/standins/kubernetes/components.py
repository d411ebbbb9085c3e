"""What charts, kustomizations and YAML hold: objects, rendered by helm and kubectl."""

import glob
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.standins.kubernetes import helm
from tests.cluster.standins.kubernetes.api import Api
from tests.cluster.standins.kubernetes.tools import run
from tests.cluster.standins.serve import Child, RefusedError, Secret

CHART = "kubernetes:helm.sh/v4:Chart"
DIRECTORY = "kubernetes:kustomize/v2:Directory"
FILE = "kubernetes:yaml/v2:ConfigFile"
GROUP = "kubernetes:yaml/v2:ConfigGroup"
FIRST = ("CustomResourceDefinition", "Namespace")
"""What others need."""


def objects(api: Api, type_: str, name: str, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a component stands for. A chart that has no local folder stands for nothing."""
    if type_ == CHART:
        folder = helm.folder(inputs)
        return [] if folder is None else list(parsed(helm.rendered(api, folder, name, inputs)))
    if type_ == DIRECTORY:
        return list(parsed(run("kubectl", ["kustomize", inputs["directory"]])))
    if type_ == FILE:
        return list(parsed(Path(inputs["file"]).read_text("utf-8")))
    if type_ == GROUP:
        given = inputs.get("files") or []
        files = [path for one in ([given] if isinstance(given, str) else given) for path in _files(one)]
        texts = [*(path.read_text("utf-8") for path in files), inputs.get("yaml") or ""]
        wanted = [*(inputs.get("objs") or []), *(one for text in texts for one in parsed(text))]
        return [inner for one in wanted for inner in _each(one)]
    raise RefusedError("the stand-in has no such component")


def of_objects(api: Api, wanted: list[dict[str, Any]], name: str, inputs: Mapping[str, Any]) -> list[list[Child]]:
    """The children of a component; namespaces and definitions of kinds come first."""
    scopes = {
        (f"{one['spec']['group']}/{version['name']}", one["spec"]["names"]["kind"]): one["spec"]["scope"]
        for one in wanted
        if one["kind"] == "CustomResourceDefinition"
        for version in one["spec"]["versions"]
    }
    prefix = inputs.get("resourcePrefix", name)
    stages: list[list[Child]] = [[], []]
    for one in wanted:
        about = {**one["metadata"]}
        kind = api.kind(one["apiVersion"], one["kind"])
        scope = scopes.get((one["apiVersion"], one["kind"]))
        if kind.namespaced if kind else scope == "Namespaced":
            about["namespace"] = about.get("namespace") or inputs.get("namespace") or api.namespace
        if inputs.get("skipAwait"):
            about["annotations"] = {**(about.get("annotations") or {}), "pulumi.com/skipAwait": "true"}
        hidden: dict[str, Any] = {
            key: Secret(one[key]) for key in ("data", "stringData") if one["kind"] == "Secret" and key in one
        }
        within = f"{about['namespace']}/" if about.get("namespace") else ""
        child = Child(_token(one), f"{prefix}:{within}{about['name']}", {**one, "metadata": about, **hidden})
        stages[one["kind"] not in FIRST].append(child)
    return stages


def parsed(text: str) -> Iterator[dict[str, Any]]:
    """The objects of a YAML text, those of lists too."""
    for one in yaml.load_all(text, Loader=_Loader):
        yield from _each(one)


def _each(one: Any) -> Iterator[dict[str, Any]]:
    if not one:
        return
    if not isinstance(one, dict) or not one.get("kind") or not one.get("apiVersion"):
        raise RefusedError(f"an object has no kind and apiVersion: {str(one)[:100]}")
    if one["kind"].endswith("List") and "items" in one:
        for inner in one["items"]:
            alike = {"apiVersion": one["apiVersion"], "kind": one["kind"].removesuffix("List")}
            yield from _each({**(alike if alike["kind"] else {}), **inner})
    elif not (one.get("metadata") or {}).get("name"):
        raise RefusedError(f"a {one['kind']} has no metadata.name")
    else:
        yield one


def _files(pattern: str) -> list[Path]:
    found = sorted(glob.glob(pattern))
    if not found:
        raise RefusedError(f"there is no file {pattern}")
    return [Path(path) for path in found]


def _token(one: Mapping[str, Any]) -> str:
    """The type; of the core, whose group has no name, in the SDK's words."""
    version = one["apiVersion"]
    return f"kubernetes:{version if '/' in version else f'core/{version}'}:{one['kind']}"


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: dates are text, and = is."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":value"))]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
