"""The local runner beside kfp's own, and beside the science that it runs.

    python bench/local_run.py [--rounds N] [--json]

Two questions, each answered by alternating both sides in one run on one machine, medians over the rounds:
- what does a step cost here, and what on `kfp.local` without and with (its default) virtual environments?
- how long is the whole `training` pipeline, next to its science by itself: the same components called as functions in
  one process, once counted as the whole script and once from the moment that everything is imported?

With virtual environments kfp.local installs kfp into each step's, so that side needs the package registry.
"""

import argparse
import contextlib
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import kfp
from kfp import compiler, dsl, local

import pipelines
from components import IMAGE
from modelyard.runner.state import Running, State, start, stop

STEPS = 5
MORTGAGE = Path(__file__).parents[1] / "data" / "mortgage"
DATA = {
    "data": str(MORTGAGE / "applications.csv"),
    "schema": str(MORTGAGE / "schema.yaml"),
    "target": "deny",
    "positive": "yes",
    "group": "afam",
    "model_name": "mortgage",
}


@dataclass(frozen=True)
class Figure:
    """One measured number and what it should be."""

    value: float
    unit: str
    goal: float | None
    higher_is_better: bool


def add(a: int, b: int) -> int:
    """What each of the five steps does."""
    return a + b


def chain(component: Callable[..., Any], name: str) -> Any:
    """A pipeline of five steps, each waiting for the one before."""

    def steps(first: int = 1) -> int:
        task = component(a=first, b=1)
        for _ in range(STEPS - 1):
            task = component(a=task.output, b=1)
        return task.output  # type: ignore[no-any-return]

    return dsl.pipeline(steps, name=name)


# The same function twice: kfp's default form makes sure of kfp by pip in each step, which a virtual environment needs;
# the plain form is how this project's own components are written.
PLAIN = chain(dsl.component(add, base_image=IMAGE, install_kfp_package=False), "plain")
DEFAULT = chain(dsl.component(add, base_image="python:3.11"), "default")


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description="The local runner beside kfp.local, and beside its science.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side but the virtual environments (2)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    for name in ("kfp", "root"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        state = State(Path(folder) / "state")
        running = start(state)
        try:
            figures = measure(running, Path(folder), options.rounds)
        finally:
            stop(state)
    if options.json:
        print(json.dumps({name: asdict(figure) for name, figure in figures.items()}))
    else:
        for name, figure in figures.items():
            goal = "" if figure.goal is None else f"goal {'≥' if figure.higher_is_better else '≤'} {figure.goal:g}"
            print(f"{name:32} {figure.value:10.2f} {figure.unit:6} {goal}")


def measure(running: Running, folder: Path, rounds: int) -> dict[str, Figure]:
    """Both questions; the first round of each side warms up and isn't counted."""
    client = kfp.Client(host=running.url)
    packages = {}
    for pipeline in (PLAIN, DEFAULT, pipelines.load("training")):
        packages[pipeline.name] = str(folder / f"{pipeline.name}.yaml")
        compiler.Compiler().compile(pipeline, packages[pipeline.name])
    addresses = {"tracking_uri": running.tracking_uri, "serving_url": running.serving_url}

    here, submission, bare, no_venv, venv, whole = [], [], [], [], [], []
    script: list[float] = []
    warm: list[float] = []

    def note(seconds: tuple[float, float]) -> None:
        here.append(seconds[1] / STEPS)
        submission.append(seconds[0] - seconds[1])

    for turn in range(rounds + 1):
        note(on_runner(client, packages["default"], {}))
        no_venv.append(on_kfp_local(DEFAULT, use_venv=False) / STEPS)
        note(on_runner(client, packages["plain"], {}))
        bare.append(on_kfp_local(PLAIN, use_venv=False) / STEPS)
        if turn < 2:
            venv.append(on_kfp_local(DEFAULT, use_venv=True) / STEPS)
        whole.append(on_runner(client, packages["training"], DATA | addresses)[0])
        for side, seconds in zip((script, warm), science_alone(running, folder / f"alone-{turn}"), strict=True):
            side.append(seconds)
    step, plain, caller, default = (statistics.median(side[1:]) for side in (here[1:], bare, no_venv, venv))
    training, as_script, in_warm = (statistics.median(side[1:]) for side in (whole, script, warm))
    return {
        "step_here": Figure(step * 1e3, "ms", None, higher_is_better=False),
        "submission_here": Figure(statistics.median(submission[2:]) * 1e3, "ms", None, higher_is_better=False),
        "step_kfp_local_no_venv_plain": Figure(plain * 1e3, "ms", None, higher_is_better=False),
        "step_kfp_local_no_venv": Figure(caller * 1e3, "ms", None, higher_is_better=False),
        "step_kfp_local_default": Figure(default * 1e3, "ms", None, higher_is_better=False),
        "step_ratio_to_no_venv_plain": Figure(plain / step, "x", None, higher_is_better=True),
        "step_ratio_to_no_venv": Figure(caller / step, "x", 30, higher_is_better=True),
        "step_ratio_to_default": Figure(default / step, "x", 500, higher_is_better=True),
        "training_here": Figure(training, "s", None, higher_is_better=False),
        "science_as_a_script": Figure(as_script, "s", None, higher_is_better=False),
        "science_in_a_warm_process": Figure(in_warm, "s", None, higher_is_better=False),
        "training_ratio_to_script": Figure(training / as_script, "x", 1.5, higher_is_better=False),
        "training_ratio_to_warm_process": Figure(training / in_warm, "x", 1.5, higher_is_better=False),
    }


def on_runner(client: Any, package: str, arguments: dict[str, Any]) -> tuple[float, float]:
    """Seconds as a client sees it, and from the moment that the runner has the run to the end of its last step.

    The difference is once a run: kfp's client reads the package, sends it, and looks again for the end.
    """
    started = time.perf_counter()
    with contextlib.redirect_stdout(StringIO()):
        run_id = client.create_run_from_pipeline_package(package, arguments, enable_caching=False).run_id
    while (run := client.get_run(run_id)).state not in ("SUCCEEDED", "FAILED"):
        time.sleep(0.005)
    seconds = time.perf_counter() - started
    if run.state != "SUCCEEDED":
        raise RuntimeError(f"{package}: {run.error.message}")
    return seconds, (run.finished_at - run.created_at).total_seconds()


def on_kfp_local(pipeline: Any, *, use_venv: bool) -> float:
    """Seconds of the same on kfp's own local runner."""
    with tempfile.TemporaryDirectory() as root, contextlib.redirect_stdout(StringIO()):
        local.init(local.SubprocessRunner(use_venv=use_venv), pipeline_root=root)
        started = time.perf_counter()
        task = pipeline()
        seconds = time.perf_counter() - started
    if task.output != 1 + STEPS:
        raise RuntimeError(f"kfp.local gave {task.output}")
    return seconds


def science_alone(running: Running, folder: Path) -> tuple[float, float]:
    """Seconds of the training pipeline's functions in a fresh process: all of it, and what follows the imports.

    It has the same registry and model server, so that it does all that the pipeline does.
    """
    words = [sys.executable, str(Path(__file__).with_name("science_alone.py")), str(folder)]
    words += [running.tracking_uri, running.serving_url, json.dumps(DATA)]
    started = time.perf_counter()
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return time.perf_counter() - started, float(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
