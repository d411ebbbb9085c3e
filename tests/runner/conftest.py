"""A real runner in this process: its API on a loopback socket, its zygote and its store in a temporary folder."""

import asyncio
import threading
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import kfp
import pytest
import uvicorn
from kfp import compiler
from kfp_server_api import V2beta1Run

from modelyard.runner.__main__ import listen
from modelyard.runner.api import make_app
from modelyard.runner.packages import Environments
from modelyard.runner.runs import Runs
from modelyard.runner.state import State
from modelyard.runner.store import Store, Task
from modelyard.runner.workers import Workers

SECONDS = 60.0


@dataclass(frozen=True)
class Runner:
    """What a test needs of a running runner."""

    url: str
    state: State
    client: kfp.Client
    runs: Runs
    loop: asyncio.AbstractEventLoop
    packages: Path

    def submit(self, pipeline: Any, **arguments: Any) -> str:
        """Compile a pipeline and start a run of it; its id."""
        package = self.packages / f"{pipeline.name}.yaml"
        compiler.Compiler().compile(pipeline, str(package))
        with redirect_stdout(StringIO()):
            return str(self.client.create_run_from_pipeline_package(str(package), arguments).run_id)

    def finished(self, run_id: str) -> V2beta1Run:
        """The run, once it has ended."""
        asyncio.run_coroutine_threadsafe(self.runs.finished(run_id), self.loop).result(SECONDS)
        return self.client.get_run(run_id)

    def run(self, pipeline: Any, **arguments: Any) -> V2beta1Run:
        """Run a pipeline to its end."""
        return self.finished(self.submit(pipeline, **arguments))

    def artifact(self, run: V2beta1Run, task: str, output: str) -> dict[str, Any]:
        """One artifact that a task of a run made."""
        (artifact_id,) = tasks(run)[task].outputs[output].artifact_ids
        answer: dict[str, Any] = httpx.get(f"{self.url}/apis/v2beta1/artifacts/{artifact_id}").json()
        return answer

    def result(self, run: V2beta1Run, task: str, output: str = "Output") -> Any:
        """A parameter that a task of a run put out."""
        assert tasks(run)[task].state == "SUCCEEDED", (run.error and run.error.message, states(run))
        with self.runs.store.session() as session:
            return session.get_one(Task, tasks(run)[task].task_id).results[output]

    def log(self, run: V2beta1Run, task: str) -> str:
        """What a task printed."""
        return (self.state.logs / run.run_id / tasks(run)[task].task_id / "log").read_text()


def tasks(run: V2beta1Run) -> dict[str, Any]:
    """A run's tasks by display name."""
    return {task.display_name: task for task in run.run_details.task_details}


def states(run: V2beta1Run) -> dict[str, str]:
    """The state of each task by display name."""
    return {name: task.state for name, task in tasks(run).items()}


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """One runner for all tests of this folder."""
    state = State(tmp_path_factory.mktemp("state"))
    listener = listen(0, "--port")
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    started: dict[str, Any] = {}
    answers = threading.Event()

    async def serve() -> None:
        workers = Workers(2)
        await workers.start()
        store = Store(state.database_url)
        runs = Runs(store, workers, Environments(state.environments), state.artifacts, state.logs)
        app = make_app(runs, ["127.0.0.1"])
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        started.update(server=server, runs=runs, loop=asyncio.get_running_loop())
        answers.set()
        await server.serve(sockets=[listener])
        await runs.stop()
        await workers.stop()
        store.close()

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    answers.wait(SECONDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        client = kfp.Client(host=url)
    packages = tmp_path_factory.mktemp("packages")
    yield Runner(url, state, client, started["runs"], started["loop"], packages)
    started["server"].should_exit = True
    thread.join(SECONDS)
