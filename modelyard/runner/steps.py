"""Executing one step: its folder, its executor input, a worker, and what it left behind."""

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components import IMAGE
from modelyard.runner import ir
from modelyard.runner.ir import Package, PackageError, Value
from modelyard.runner.outcome import Artifact, Outcome, RuntimeState, Values
from modelyard.runner.packages import PROGRAM, Environments, missing, python_program
from modelyard.runner.placeholders import Names, fill_command, fill_constant
from modelyard.runner.schedule import Place
from modelyard.runner.workers import WorkerLostError, Workers
from modelyard.runner.zygote import ERROR_FILE

PROJECT = Path(__file__).parents[2]
"""Where `components` is imported from: what the one image holds."""


@dataclass(frozen=True)
class LocalSteps:
    """Executes the containers and importers of one run on this machine.

    `artifacts` is the run's folder for what steps make, `logs` the one for what they print.
    """

    package: Package
    workers: Workers
    environments: Environments
    names: Names
    artifacts: Path
    logs: Path

    async def execute(self, place: Place, component: Any, inputs: Values) -> Outcome:
        """Run one step to its end; a failure's error starts with the step's name."""
        executor = self.package.executor(component)
        try:
            if executor.WhichOneof("spec") == "importer":
                return self._import(component, executor.importer, inputs)
            return await self._contain(place, component, executor.container, inputs)
        except (PackageError, WorkerLostError) as error:
            return Outcome(RuntimeState.FAILED, error=f"{place.display_name}: {error}")

    def _import(self, component: Any, importer: Any, inputs: Values) -> Outcome:
        parameter = importer.artifact_uri.runtime_parameter
        uri = inputs.parameters[parameter] if parameter else importer.artifact_uri.constant.string_value
        if not isinstance(uri, str) or not uri:
            uri = str(inputs.parameters.get("uri", ""))
        ((name, output),) = component.output_definitions.artifacts.items()
        told = ir.plain(importer.metadata)
        metadata = {key: fill_constant(value, inputs.parameters, self.names) for key, value in told.items()}
        artifact = Artifact(str(uuid.uuid4()), name, output.artifact_type.schema_title, uri, metadata)
        return Outcome(RuntimeState.SUCCEEDED, Values(artifacts={name: artifact}))

    async def _contain(self, place: Place, component: Any, container: Any, inputs: Values) -> Outcome:
        folder = self.logs / place.task_id
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.artifacts / place.name / place.task_id, ignore_errors=True)  # of an earlier attempt
        made = self._outputs(place, component)
        executor_input = _executor_input(component, inputs, made, folder)
        try:
            status = await self.workers.run(await self._job(place, container, executor_input, folder))
            if status != 0:
                return Outcome(RuntimeState.FAILED, error=f"{place.display_name}: {_error(folder, status)}")
            return Outcome(RuntimeState.SUCCEEDED, _made(component, made, executor_input))
        finally:
            _keep_only_the_log(folder)

    async def _job(self, place: Place, container: Any, executor_input: dict[str, Any], folder: Path) -> dict[str, Any]:
        names = replace(self.names, pipeline_task_name=place.name, pipeline_task_uuid=place.task_id)
        environment = {variable.name: variable.value for variable in container.env}
        job = {"folder": str(folder), "log": str(log_file(folder)), "environment": environment}
        program = python_program(container)
        if program is None:
            for file in _files(executor_input):
                Path(file).parent.mkdir(parents=True, exist_ok=True)
            command = fill_command([*container.command, *container.args], executor_input, names)
            environment["PYTHONPATH"] = str(PROJECT)
            return {**job, "command": command}
        if not missing(program.requirements):
            return {**job, "source": program.source, "function": program.function, "executor_input": executor_input}
        python = await self.environments.python(
            program.requirements, log_file(folder), on_image=container.image == IMAGE
        )
        source = folder / "ephemeral_component.py"
        source.write_text(program.source, encoding="utf-8")
        environment["_KFP_RUNTIME"] = "true"
        command = [str(python), "-m", PROGRAM, "--component_module_path", str(source)]
        command += ["--function_to_execute", program.function, "--executor_input", json.dumps(executor_input)]
        return {**job, "command": command}

    def _outputs(self, place: Place, component: Any) -> dict[str, Artifact]:
        """An artifact for each output: where the step is to write it."""
        return {
            name: Artifact(
                artifact_id=str(uuid.uuid4()),
                name=name,
                type=output.artifact_type.schema_title,
                uri=str(self.artifacts / place.name / place.task_id / name),
                metadata=ir.plain(output.metadata),
            )
            for name, output in component.output_definitions.artifacts.items()
        }


def refuse_containers(package: Package) -> None:
    """There is no container here: a step is lightweight Python, or a command of the project's own image.

    Raises:
        PackageError: a step is something else.
    """
    for label, executor in package.executors.items():
        image = executor.container.image
        if image and image != IMAGE and python_program(executor.container) is None:
            raise PackageError(
                f"{label}: image {image!r} needs a container; the local runner runs lightweight Python components, "
                f"and commands of {IMAGE!r}"
            )


def log_file(folder: Path) -> Path:
    """Where a step's output is kept, in its folder."""
    return folder / "log"


def _executor_input(component: Any, inputs: Values, made: Mapping[str, Artifact], folder: Path) -> dict[str, Any]:
    """KFP's `ExecutorInput` as JSON."""
    artifacts = {
        name: {"artifacts": [one.runtime() for one in (value if isinstance(value, list) else [value])]}
        for name, value in inputs.artifacts.items()
    }
    files = {name: {"outputFile": str(folder / "outputs" / name)} for name in component.output_definitions.parameters}
    return {
        "inputs": {"parameterValues": dict(inputs.parameters), "artifacts": artifacts},
        "outputs": {
            "parameters": files,
            "artifacts": {name: {"artifacts": [artifact.runtime()]} for name, artifact in made.items()},
            "outputFile": str(folder / "executor_output.json"),
        },
    }


def _files(executor_input: Mapping[str, Any]) -> list[str]:
    """Where a command is to write; kfp's executor makes the folders itself, a command finds them made."""
    outputs = executor_input["outputs"]
    artifacts = [artifact["uri"] for made in outputs["artifacts"].values() for artifact in made["artifacts"]]
    return [*artifacts, *(parameter["outputFile"] for parameter in outputs["parameters"].values())]


def _made(component: Any, made: Mapping[str, Artifact], executor_input: Mapping[str, Any]) -> Values:
    """A step's outputs: what kfp's executor reported, else the files that a container wrote.

    Raises:
        PackageError: an output parameter is missing or of the wrong type, or a number is not finite.
    """
    output_file = Path(executor_input["outputs"]["outputFile"])
    reported = _strict_json(_read(output_file, "an output")) if output_file.exists() else {}
    parameters: dict[str, Value] = {}
    for name, definition in component.output_definitions.parameters.items():
        what = f"output {name!r}"
        if name in reported.get("parameterValues", {}):
            value = reported["parameterValues"][name]
        else:
            file = Path(executor_input["outputs"]["parameters"][name]["outputFile"])
            if not file.exists():
                raise PackageError(f"{what} was not written")
            value = _parse(_read(file, what), definition.parameter_type, what)
        parameters[name] = ir.typed(value, definition.parameter_type, what)
    artifacts: dict[str, Artifact | list[Artifact]] = {}
    for name, artifact in made.items():
        told = (reported.get("artifacts", {}).get(name, {}).get("artifacts") or [{}])[0]
        artifacts[name] = Artifact(
            artifact_id=artifact.artifact_id,
            name=name,
            type=artifact.type,
            uri=told.get("uri") or artifact.uri,
            metadata=told.get("metadata") or artifact.metadata,
        )
    return Values(parameters, artifacts)


def _read(file: Path, what: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PackageError(f"{what} is no text in UTF-8: {error}") from error


def _parse(text: str, parameter_type: int, what: str) -> Any:
    """A parameter's file as its type: a text is itself, everything else is JSON."""
    name, allowed = ir.TYPES[parameter_type]
    if str in allowed:
        return text
    try:
        return _strict_json(text)
    except PackageError:
        raise PackageError(f"{what} is {ir.shown(text)}; {name} is wanted") from None


def _strict_json(text: str) -> Any:
    def refuse(number: str) -> Any:
        raise PackageError(f"an output holds {number}, which JSON and so Kubeflow can't carry")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise PackageError(f"an output is not JSON: {error}") from error


def _error(folder: Path, status: int) -> str:
    error = folder / ERROR_FILE
    if error.exists():
        return error.read_text(encoding="utf-8")
    if status < 0:
        return f"ended by signal {-status}; its output is in {log_file(folder)}"
    return f"ended with exit status {status}; its output is in {log_file(folder)}"


def _keep_only_the_log(folder: Path) -> None:
    for entry in os.scandir(folder):
        if entry.name != log_file(folder).name:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink(missing_ok=True)
