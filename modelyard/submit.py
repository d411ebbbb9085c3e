"""Running a pipeline: its package, its parameters, a runner to run on, and following the run to its end."""

import io
import json
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import kfp
import urllib3
from kfp import compiler
from kfp_server_api import ApiException

import pipelines
from components.spelling import did_you_mean
from modelyard.errors import FailedError, RefusedError, StoppedError
from modelyard.local import deferred, undisturbed
from modelyard.runner import ir
from modelyard.runner.state import Running, State
from modelyard.runner.steps import log_file

PROJECT = Path(pipelines.__file__).parents[1]
ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
SECONDS_TO_CANCEL = 20.0
SECONDS_BETWEEN_LOOKS = 0.08
FILLED_IN = frozenset({"tracking_uri", "serving_url", "commit"})
"""Parameters that `complete` gives a value where the caller gives none."""
IN_JSON = {"a list": "a list in JSON", "a mapping": "a mapping in JSON"}


@dataclass(frozen=True)
class Step:
    """One task of a run as it is now; `outputs` are artifact ids by name."""

    id: str
    name: str
    state: str
    seconds: float
    error: str
    outputs: Mapping[str, list[str]]

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True)
class Run:
    """A run as it is now."""

    id: str
    name: str
    state: str
    seconds: float
    error: str
    steps: tuple[Step, ...]

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def succeeded(self) -> bool:
        return self.state == "SUCCEEDED"

    def step(self, name: str) -> Step:
        """The step with that display name.

        Raises:
            FailedError: the run didn't come to it.
        """
        for step in self.steps:
            if step.name == name:
                return step
        raise FailedError(f"run {self.id} didn't come to its step {name!r}: {self.error or self.state}")


def compile_pipeline(name: str, output: Path) -> None:
    """Write a pipeline's package.

    Raises:
        RefusedError: there is none of that name, or the file can't be written.
    """
    if output.suffix not in (".yaml", ".yml"):
        raise RefusedError(f"a package can't be written to {output}: its name must end in .yaml")
    try:
        pipeline = pipelines.load(name)
    except ValueError as error:
        raise RefusedError(str(error)) from error
    try:
        compiler.Compiler().compile(pipeline, str(output))
    except OSError as error:
        raise RefusedError(f"a package can't be written to {output}: {error.strerror}") from error


@contextmanager
def packaged(name_or_file: str) -> Iterator[Path]:
    """The package file of a pipeline of ours, compiled for the moment, or the file itself."""
    if name_or_file.endswith((".yaml", ".yml")):
        if not (file := Path(name_or_file)).is_file():
            raise RefusedError(f"there is no package {file}; make one with `modelyard pipeline compile NAME`")
        yield file
        return
    with tempfile.TemporaryDirectory() as folder:
        compile_pipeline(name_or_file, file := Path(folder, "package.yaml"))
        yield file


def read_package(file: Path) -> ir.Package:
    """The package in a file.

    Raises:
        RefusedError: it is none, or can't be run.
    """
    try:
        return ir.read_file(file)
    except ir.PackageError as error:
        raise RefusedError(str(error)) from error


def read_parameters(package: ir.Package, words: Iterable[str]) -> dict[str, Any]:
    """The values in words like `seed=1`, each of the type that the package declares.

    Raises:
        RefusedError: no `=`, a name twice, an unknown name, or a value of another type.
    """
    declared = package.spec.root.input_definitions.parameters
    values: dict[str, Any] = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign:
            raise RefusedError(f"{word!r} gives no value: write -p {name or 'NAME'}=VALUE")
        if name not in declared:
            raise RefusedError(
                f"pipeline {package.name!r} has no parameter {name!r}: {did_you_mean(name, list(declared))}"
            )
        if name in values:
            raise RefusedError(f"parameter {name!r} is given twice")
        values[name] = _value(text, declared[name].parameter_type, name)
    return values


def _value(text: str, wanted: int, name: str) -> Any:
    kind, allowed = ir.TYPES.get(wanted, ("a text", (str,)))
    try:
        return ir.typed(text if str in allowed else _parsed(text, allowed), wanted, f"parameter {name!r}")
    except ir.PackageError:
        shown = ir.shown(text)
        raise RefusedError(f"parameter {name!r} is {shown}; {IN_JSON.get(kind, kind)} is wanted") from None


def _parsed(text: str, allowed: tuple[type, ...]) -> Any:
    """A number, a boolean or JSON; the text itself if it is none of them."""
    try:
        return float(text) if float in allowed else json.loads(text.lower() if bool in allowed else text)
    except ValueError:
        return text


def complete(package: ir.Package, given: Mapping[str, Any], running: Running) -> dict[str, Any]:
    """The given values, and where the package declares them and none is given: registry, model server and commit."""
    declared = package.spec.root.input_definitions.parameters
    known = {"tracking_uri": running.tracking_uri, "serving_url": running.serving_url}
    filled = {name: value for name, value in known.items() if name in declared}
    if "commit" in declared and "commit" not in given:
        filled["commit"] = commit(PROJECT)
    return filled | dict(given)


def need_all(package: ir.Package, given: Mapping[str, Any]) -> None:
    """See that nothing is missing.

    Raises:
        RefusedError: names every parameter that is, with its meaning.
    """
    missing = {
        name: definition.description
        for name, definition in sorted(package.spec.root.input_definitions.parameters.items())
        if name not in given and name not in FILLED_IN and not definition.is_optional
    }
    if not missing:
        return
    width = max(map(len, missing))
    lines = [f"  {name:{width}}  {meaning}".rstrip() for name, meaning in missing.items()]
    raise RefusedError("\n".join([f"pipeline {package.name!r} needs a value (-p NAME=VALUE) for:", *lines]))


def commit(folder: Path) -> str:
    """The commit that a folder is at, `-dirty` if files of it were changed or added since; "" outside git."""
    if not (folder / ".git").exists():
        return ""
    try:
        at, changed = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{at}-dirty" if changed else at


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 (fixed)


class Client:
    """The ordinary `kfp.Client`, with its talk kept off the screen and its refusals as sentences."""

    def __init__(self, url: str) -> None:
        self._url = url
        with warnings.catch_warnings(), self._sentences():
            warnings.simplefilter("ignore", FutureWarning)
            self._kfp = kfp.Client(host=url)

    def execute(
        self,
        file: Path,
        parameters: Mapping[str, Any],
        seen: Callable[[Run], None],
        name: str | None = None,
    ) -> Run:
        """Start a run and watch it to its end; each look at it goes to `seen`.

        Raises:
            RefusedError: the runner's own sentence.
            StoppedError: after Ctrl-C, once the run is CANCELED.
        """
        run_id = None
        try:
            with deferred():
                run_id = self._submit(file, parameters, name)
            while not (run := self._look(run_id)).ended:
                seen(run)
                time.sleep(SECONDS_BETWEEN_LOOKS)
        except KeyboardInterrupt:
            if run_id is None:
                raise
            with undisturbed():
                run = self._cancel(run_id)
                seen(run)
            raise StoppedError(f"stopped: run {run_id} is {run.state}") from None
        seen(run)
        return run

    def _submit(self, file: Path, parameters: Mapping[str, Any], name: str | None) -> str:
        with redirect_stdout(io.StringIO()), self._sentences():
            run = self._kfp.create_run_from_pipeline_package(str(file), arguments=dict(parameters), run_name=name)
        return str(run.run_id)

    def _look(self, run_id: str) -> Run:
        with self._sentences():
            return _read(self._kfp.get_run(run_id))

    def artifact(self, step: Step, output: str) -> dict[str, Any]:
        """What a step made: `name`, `type`, `uri` and `metadata`."""
        (artifact_id,) = step.outputs[output]
        answer = httpx.get(f"{self._url}/apis/v2beta1/artifacts/{artifact_id}", timeout=10)
        return dict(answer.raise_for_status().json())

    def _cancel(self, run_id: str) -> Run:
        with self._sentences():
            self._kfp.terminate_run(run_id)
        deadline = time.monotonic() + SECONDS_TO_CANCEL
        while not (run := self._look(run_id)).ended and time.monotonic() < deadline:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return run

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except ApiException as error:
            raise RefusedError(_message(error)) from error
        except urllib3.exceptions.HTTPError as error:
            raise FailedError(f"the runner at {self._url} doesn't answer; `modelyard doctor` looks into it") from error


def log_of(state: State, run: Run, step: Step) -> Path:
    """Where the output of a step is kept."""
    return log_file(state.logs / run.id / step.id)


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"the runner answers {error.status} {error.reason}"


def _read(run: Any) -> Run:
    ended = run.state in ENDED
    tasks = (run.run_details.task_details if run.run_details else None) or []
    return Run(
        id=run.run_id,
        name=run.display_name,
        state=run.state,
        seconds=_seconds(run.created_at, run.finished_at if ended else None),
        error=run.error.message if run.error else "",
        steps=tuple(_read_step(task) for task in sorted(tasks, key=lambda task: task.create_time)),
    )


def _read_step(task: Any) -> Step:
    return Step(
        id=task.task_id,
        name=task.display_name,
        state=task.state,
        seconds=_seconds(task.start_time, task.end_time),
        error=task.error.message if task.error else "",
        outputs={name: list(made.artifact_ids or []) for name, made in (task.outputs or {}).items()},
    )


def _seconds(start: datetime, end: datetime | None) -> float:
    return max(0.0, ((end or datetime.now(UTC)) - start).total_seconds())
