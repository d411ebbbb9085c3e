"""Filling placeholders such as `{{$.inputs.parameters['x']}}`, in one pass, so that a value is never read again."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.runner.ir import PackageError, Value

PLACEHOLDER = re.compile(r"\{\{\$(?:\.(?P<path>.*?))?\}\}")
KEYED = re.compile(r"(?P<side>inputs|outputs)\.(?P<kind>parameters|artifacts)\['(?P<name>[^']+)'\](?:\.(?P<part>.+))?")


@dataclass(frozen=True)
class Names:
    """What a placeholder may say of the run and the task around it."""

    pipeline_job_name: str
    pipeline_job_resource_name: str
    pipeline_job_uuid: str
    pipeline_job_create_time_utc: str
    pipeline_job_schedule_time_utc: str
    pipeline_root: str
    pipeline_task_name: str
    pipeline_task_uuid: str


def fill_constant(constant: Value, parameters: Mapping[str, Value], names: Names) -> Value:
    """A constant of the IR with the placeholders in its texts filled from the task's other parameters."""
    if isinstance(constant, list):
        return [fill_constant(item, parameters, names) for item in constant]
    if isinstance(constant, dict):
        return {key: fill_constant(item, parameters, names) for key, item in constant.items()}
    if not isinstance(constant, str) or "{{$" not in constant:
        return constant
    return _fill(constant, {"inputs": {"parameterValues": dict(parameters)}}, names)


def fill_command(words: list[str], executor_input: Mapping[str, Any], names: Names) -> list[str]:
    """A container's command line: placeholders filled, `IfPresent` and `Concat` worked out."""
    given = {*executor_input["inputs"]["parameterValues"], *executor_input["inputs"]["artifacts"]}
    filled: list[str] = []
    for word in words:
        filled += [_fill(part, executor_input, names) for part in _structure(word, given)]
    return filled


def _structure(word: str, given: set[str]) -> list[str]:
    """The words that a word stands for: kfp writes `IfPresent` and `Concat` as JSON."""
    if not word.startswith(('{"IfPresent"', '{"Concat"')):
        return [word]
    return _expand(json.loads(word), given)


def _expand(node: Any, given: set[str]) -> list[str]:
    if isinstance(node, list):
        return [word for item in node for word in _expand(item, given)]
    if isinstance(node, str):
        return [node]
    if "Concat" in node:
        return ["".join(_expand(node["Concat"], given))]
    branch = node["IfPresent"]
    return _expand(branch["Then"] if branch["InputName"] in given else branch.get("Else", []), given)


def _fill(text: str, executor_input: Mapping[str, Any], names: Names) -> str:
    def value(match: re.Match[str]) -> str:
        path = match["path"]
        if path is None:
            return json.dumps(executor_input)
        if path.startswith("json_escape"):
            raise PackageError(f"placeholder {match[0]!r} is of an older KFP; compile the pipeline again")
        if keyed := KEYED.fullmatch(path):
            return _text(_keyed(keyed, executor_input))
        try:
            return str(getattr(names, path))
        except AttributeError:
            raise PackageError(f"placeholder {match[0]!r} is unknown") from None

    return PLACEHOLDER.sub(value, text)


def _keyed(match: re.Match[str], executor_input: Mapping[str, Any]) -> Any:
    side, kind, name, part = match["side"], match["kind"], match["name"], match["part"]
    try:
        if kind == "parameters":
            if side == "inputs":
                return executor_input["inputs"]["parameterValues"][name]
            return executor_input["outputs"]["parameters"][name]["outputFile"]
        artifact = executor_input[side]["artifacts"][name]["artifacts"][0]
        if part in ("uri", "path"):
            return artifact["uri"]
        if part and part.startswith("metadata['"):
            return artifact["metadata"][part[len("metadata['") : -len("']")]]
        return artifact.get("metadata", {}) if part == "metadata" else artifact["name"]
    except (KeyError, IndexError):
        raise PackageError(f"placeholder {match[0]!r} names something that the task doesn't have") from None


def _text(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value)
