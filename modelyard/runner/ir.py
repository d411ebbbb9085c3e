"""Reading a compiled package: the IR by its own protobuf schema, refused where this runner can't do what it asks."""

import graphlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from components.spelling import did_you_mean

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]
"""What a parameter may hold: JSON."""

TYPES: dict[int, tuple[str, tuple[type[Any], ...]]] = {
    pb.ParameterType.NUMBER_DOUBLE: ("a number", (float, int)),
    pb.ParameterType.NUMBER_INTEGER: ("a whole number", (int,)),
    pb.ParameterType.STRING: ("a text", (str,)),
    pb.ParameterType.BOOLEAN: ("true or false", (bool,)),
    pb.ParameterType.LIST: ("a list", (list,)),
    pb.ParameterType.STRUCT: ("a mapping", (dict,)),
}
"""What each parameter type is called in a message, and what it is in Python."""

CLUSTER_ONLY = {
    "secretAsVolume": "a secret as a volume",
    "secretAsEnv": "a secret as an environment variable",
    "configMapAsVolume": "a config map as a volume",
    "configMapAsEnv": "a config map as an environment variable",
    "pvcMount": "a persistent volume",
    "fieldPathAsEnv": "a pod field as an environment variable",
    "genericEphemeralVolume": "an ephemeral volume",
    "emptyDirMounts": "an empty-dir volume",
}
"""kfp-kubernetes settings that hand content to a step; placement and labels mean nothing here and pass."""


class PackageError(ValueError):
    """A package or its arguments can't be run; the message says what, where and what is allowed."""


@dataclass(frozen=True)
class Package:
    """A compiled pipeline: the `PipelineSpec`, its executors by label, and the document that it was read from."""

    spec: Any
    executors: Mapping[str, Any]
    document: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The pipeline's name, as its author gave it."""
        return str(self.spec.pipeline_info.name)

    def component(self, task: Any) -> Any:
        """The `ComponentSpec` behind a task."""
        return self.spec.components[task.component_ref.name]

    def executor(self, component: Any) -> Any:
        """The `ExecutorSpec` of a component that is not a DAG."""
        return self.executors[component.executor_label]


def read_file(path: Path) -> Package:
    """The package in a compiled YAML file.

    Raises:
        PackageError: it can't be read, or `read_package` refuses it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PackageError(f"{path}: can't be read: {error}") from error
    return read_text(text, str(path))


def read_text(text: str, where: str) -> Package:
    """The package in compiled YAML: the pipeline's document and, after `---`, its platform's."""
    try:
        documents = [d for d in yaml.load_all(text, Loader=yaml.CSafeLoader) if d is not None]
    except yaml.YAMLError as error:
        raise PackageError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    if not documents or len(documents) > 2 or not all(isinstance(d, dict) for d in documents):
        raise PackageError(f"{where}: not a compiled KFP pipeline; make one with `modelyard pipeline compile`")
    return read_package(documents[0] if len(documents) == 1 else _joined(*documents))


def read_package(document: Mapping[str, Any]) -> Package:
    """The package in a document: a `PipelineSpec`, or a mapping of `pipeline_spec` and `platform_spec`.

    Raises:
        PackageError: not a KFP v2 pipeline, broken inside, or in need of something that only a cluster has.
    """
    spec_document = document.get("pipeline_spec", document)
    try:
        spec = json_format.ParseDict(spec_document, pb.PipelineSpec())
        deployment = json_format.ParseDict(
            json_format.MessageToDict(spec.deployment_spec), pb.PipelineDeploymentConfig(), ignore_unknown_fields=True
        )
    except (json_format.ParseError, AttributeError, TypeError) as error:
        raise PackageError(f"not a compiled KFP v2 pipeline: {error}") from error
    if not spec.schema_version.startswith("2.1.") or not spec.root.dag.tasks:
        raise PackageError("not a compiled KFP v2 pipeline: no tasks under root.dag, or no schemaVersion 2.1")
    package = Package(spec=spec, executors=deployment.executors, document=document)
    for name, component in _components(spec):
        _check_component(package, name, component)
    _check_nesting(spec)
    _check_platform(document.get("platform_spec", {}))
    return package


def upstream(task: Any) -> set[str]:
    """The tasks of the same DAG that a task waits for."""
    names = set(task.dependent_tasks)
    for parameter in task.inputs.parameters.values():
        names.add(parameter.task_output_parameter.producer_task)
        names.add(parameter.task_final_status.producer_task)
    for artifact in task.inputs.artifacts.values():
        names.add(artifact.task_output_artifact.producer_task)
    return names - {""}


def in_order(dag: Any) -> list[str]:
    """The names of a DAG's tasks, each after those that it waits for."""
    return list(graphlib.TopologicalSorter({name: upstream(task) for name, task in dag.tasks.items()}).static_order())


def arguments(package: Package, given: Mapping[str, Any]) -> dict[str, Value]:
    """A run's parameters: those given, checked against the pipeline's, and its defaults for the rest.

    Raises:
        PackageError: an unknown name, a wrong type, or one without default that wasn't given.
    """
    declared = package.spec.root.input_definitions.parameters
    for name, value in given.items():
        if name not in declared:
            raise PackageError(f"pipeline {package.name!r} has no parameter {name!r}: {did_you_mean(name, declared)}")
        try:
            json.dumps(value, allow_nan=False)
        except ValueError:
            raise PackageError(f"parameter {name!r} is {shown(value)}; JSON has no such number") from None
    values: dict[str, Value] = {}
    for name, definition in declared.items():
        if given.get(name) is not None:
            values[name] = typed(given[name], definition.parameter_type, f"parameter {name!r}")
        elif definition.HasField("default_value"):
            values[name] = default(definition)
    missing = [name for name, definition in declared.items() if name not in values and not definition.is_optional]
    if missing:
        raise PackageError(f"pipeline {package.name!r} needs a value for {', '.join(map(repr, sorted(missing)))}")
    return values


def default(definition: Any) -> Value:
    """The default value in a parameter's definition, or None."""
    if not definition.HasField("default_value"):
        return None
    return typed(plain(definition.default_value), definition.parameter_type, "a default")


def plain(message: Any) -> Any:
    """A protobuf value or struct as JSON; a whole number is an int, as Kubeflow's backend hands it to a step."""
    return _whole(json_format.MessageToDict(message))


def typed(value: Any, parameter_type: int, what: str) -> Value:
    """`value` as a parameter of that type: a whole float is a whole number, nothing else is converted.

    Raises:
        PackageError: it is of another type, or not finite.
    """
    if parameter_type not in TYPES:  # TASK_FINAL_STATUS, TASK_CONFIG: made by the runner itself
        return value  # type: ignore[no-any-return]
    name, allowed = TYPES[parameter_type]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise PackageError(f"{what} is {value}; {name} is wanted")
        if value.is_integer() and float not in allowed:
            value = int(value)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        raise PackageError(f"{what} is {shown(value)}; {name} is wanted")
    number: Value = float(value) if float in allowed else value
    return number


def shown(value: Any) -> str:
    """A value as a message shows it, cut short."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _whole(value: Any) -> Any:
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _joined(spec: Any, platform: Any) -> dict[str, Any]:
    return {"pipeline_spec": spec, "platform_spec": platform}


def _components(spec: Any) -> Iterator[tuple[str, Any]]:
    yield "root", spec.root
    yield from spec.components.items()


def _check_component(package: Package, name: str, component: Any) -> None:
    if component.WhichOneof("implementation") != "dag":
        if component.executor_label not in package.executors:
            raise PackageError(f"component {name!r} has no executor {component.executor_label!r}")
        kind = package.executor(component).WhichOneof("spec")
        if kind not in ("container", "importer"):
            raise PackageError(f"component {name!r} is of kind {kind!r}; this runner does container and importer")
        return
    for task_name, task in component.dag.tasks.items():
        if task.component_ref.name not in package.spec.components:
            raise PackageError(
                f"task {task_name!r} refers to component {task.component_ref.name!r}, which is not there"
            )
        if missing := upstream(task) - set(component.dag.tasks):
            raise PackageError(f"task {task_name!r} waits for {min(missing)!r}, which is not in its DAG")
    try:
        in_order(component.dag)
    except graphlib.CycleError as error:
        raise PackageError(f"component {name!r}: tasks wait for each other: {' -> '.join(error.args[1])}") from error


def _check_nesting(spec: Any) -> None:
    """A DAG that contains itself would never end."""
    graph = {n: {t.component_ref.name for t in c.dag.tasks.values()} for n, c in _components(spec)}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        raise PackageError(f"components contain each other: {' -> '.join(error.args[1])}") from error


def _check_platform(platform: Any) -> None:
    executors = (
        platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
        if isinstance(platform, dict)
        else {}
    )
    for label, settings in executors.items():
        for key, what in CLUSTER_ONLY.items():
            if settings.get(key):
                raise PackageError(f"{label} wants {what} ({key}), which only a cluster has")
