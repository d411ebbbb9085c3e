"""What goes wrong in a step or around it, and what is left then."""

import asyncio
import os
import signal
import zipfile
from typing import Optional

import pytest
from google.protobuf import json_format
from kfp import dsl
from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from components import IMAGE
from components.step import step
from modelyard.runner import ir, packages
from modelyard.runner.store import Experiment, Run, Store, Task
from modelyard.runner.workers import SPARE
from tests.runner.conftest import SECONDS, states, tasks


@step
def wait(mine: str) -> None:
    """Say which process this is, start one more, and wait for ever."""
    import os
    import subprocess

    child = subprocess.Popen(["sleep", "1000"])
    with open(f"{mine}.draft", "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    os.rename(f"{mine}.draft", mine)
    child.wait()


@dsl.pipeline
def waiting(mine: str):
    wait(mine=mine)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


async def comes_true(fact) -> None:
    async with asyncio.timeout(SECONDS):
        while not fact():
            await asyncio.sleep(0.005)


def ends(pid: int) -> None:
    asyncio.run(comes_true(lambda: not alive(pid)))


@pytest.fixture
def begun(runner, tmp_path):
    """A run whose one step waits for ever: its id, and the processes of the step."""
    run_id = runner.submit(waiting, mine=str(tmp_path / "pids"))
    asyncio.run(comes_true((tmp_path / "pids").exists))
    return run_id, [int(pid) for pid in (tmp_path / "pids").read_text().split()]


def test_a_terminated_run_is_cancelled_and_leaves_no_process(runner, begun):
    run_id, pids = begun
    runner.client.terminate_run(run_id)
    run = runner.finished(run_id)
    assert (run.state, states(run)) == ("CANCELED", {"wait": "CANCELED"})
    assert not any(alive(pid) for pid in pids)


def test_terminating_a_run_that_has_ended_changes_nothing(runner):
    @dsl.pipeline
    def short():
        add(number=1)

    run = runner.run(short)
    runner.client.terminate_run(run.run_id)
    assert runner.client.get_run(run.run_id).state == "SUCCEEDED"


def test_a_step_killed_from_outside_fails_by_the_signals_number(runner, begun):
    run_id, pids = begun
    os.kill(pids[0], signal.SIGKILL)
    run = runner.finished(run_id)
    assert run.state == "FAILED"
    assert run.error.message.startswith("wait: ended by signal 9; its output is in ")
    ends(pids[1])


def test_a_deleted_run_is_ended_first_and_then_gone(runner, begun):
    run_id, pids = begun
    runner.client.delete_run(run_id)
    assert not any(alive(pid) for pid in pids)
    assert run_id not in [run.run_id for run in runner.client.list_runs(page_size=100).runs]


def test_when_the_parent_of_the_steps_dies_its_run_fails_and_the_next_one_works(runner, begun):
    run_id, pids = begun
    os.kill(runner.runs.workers.zygote_pid, signal.SIGKILL)
    run = runner.finished(run_id)
    assert run.error.message == "wait: the process that starts steps ended; is memory short?"
    for pid in pids:
        ends(pid)

    @dsl.pipeline
    def next_one():
        add(number=1)

    assert runner.run(next_one).state == "SUCCEEDED"


def test_a_process_that_a_step_leaves_behind_ends_with_it(runner):
    @step
    def leave() -> int:
        import subprocess

        return subprocess.Popen(["sleep", "1000"]).pid

    @dsl.pipeline
    def leaving():
        leave()

    ends(runner.result(runner.run(leaving), "leave"))


def test_a_killed_step_is_not_waited_for_by_way_of_a_process_that_it_forked(runner):
    @step
    def fork() -> None:
        import os
        import signal

        if os.fork() == 0:
            signal.pause()  # it holds all that the step had open
        print("forked")
        os.kill(os.getpid(), signal.SIGKILL)

    @dsl.pipeline
    def forking():
        fork()

    run = runner.run(forking)
    assert run.error.message.startswith("fork: ended by signal 9; its output is in ")
    assert "forked" in runner.log(run, "fork"), "what a step has printed is not lost with it"


def test_a_step_has_no_input_to_read(runner):
    @step
    def ask() -> str:
        import sys

        return sys.stdin.read()

    @dsl.pipeline
    def asking():
        ask()

    assert runner.result(runner.run(asking), "ask") == ""


def test_a_parent_that_takes_anothers_place_keeps_no_more_children_ready(runner):
    workers = runner.runs.workers
    before = workers.zygote_pid
    os.kill(before, signal.SIGKILL)
    asyncio.run(comes_true(lambda: workers.zygote_pid != before))

    @dsl.pipeline
    def next_one():
        add(number=1)

    assert runner.run(next_one).state == "SUCCEEDED"
    with open(f"/proc/{workers.zygote_pid}/task/{workers.zygote_pid}/children") as children:
        assert len(children.read().split()) <= workers.limit + SPARE + 1, "those ahead of their jobs, and one that ends"


@step
def add(number: int) -> int:
    return number + 1


@step
def not_a_number() -> float:
    return float("nan")


@step
def silent(said: dsl.OutputPath(str)) -> None:  # type: ignore[valid-type]  # kfp's form
    pass


@step
def broken() -> None:
    raise RuntimeError("the disk said no")


@step
def unspeakable() -> None:
    raise ValueError("no file \udcff")


@step
def leaves() -> None:
    import sys

    sys.exit("I have had enough")


@pytest.mark.parametrize(
    ("component", "sentence"),
    [
        (not_a_number, "not-a-number: an output holds NaN, which JSON and so Kubeflow can't carry"),
        (silent, "silent: output 'said' was not written"),
        (broken, "broken: RuntimeError: the disk said no"),
        (unspeakable, "unspeakable: no file \\udcff"),
        (leaves, "leaves: ended with exit status 1; its output is in "),
    ],
)
def test_a_step_that_fails_says_why_in_one_sentence(runner, component, sentence):
    @dsl.pipeline
    def failing():
        component()

    run = runner.run(failing)
    assert run.state == "FAILED"
    assert run.error.message.startswith(sentence)
    assert "Traceback" not in run.error.message


@pytest.mark.parametrize(
    ("command", "sentence"), [("printf '\\377' >", "no text in UTF-8"), ("mkdir", "Is a directory")]
)
def test_an_output_that_can_not_be_read_fails_its_step_and_not_the_runner(runner, command, sentence):
    @dsl.container_component
    def spoil(said: dsl.OutputPath(str)):  # type: ignore[valid-type]
        return dsl.ContainerSpec(image=IMAGE, command=["sh", "-c", f'{command} "$0"', said])

    @dsl.pipeline
    def spoiling():
        spoil()
        add(number=1)

    run = runner.run(spoiling)
    assert run.error.message.startswith("spoil: output 'said' is no text in UTF-8")
    assert sentence in run.error.message
    assert states(run)["add"] == "SUCCEEDED"


def test_a_condition_on_a_number_too_large_fails_its_task_and_not_the_runner(runner):
    @dsl.pipeline
    def comparing(number: int):
        with dsl.If(number == 1):
            add(number=number)

    run = runner.run(comparing, number=2**70)
    assert states(run) == {"condition-1": "FAILED"}
    assert "can't be decided: " in run.error.message


def test_an_input_that_nobody_gave_is_not_blamed_on_another_task(runner):
    @dsl.pipeline
    def lacking(number: Optional[int] = None):  # noqa: UP045
        add(number=number)

    assert runner.run(lacking).error.message == "task 'add': input 'number' has no value: none was given"


def test_the_whole_traceback_is_in_the_log(runner):
    @dsl.pipeline
    def failing():
        broken()

    run = runner.run(failing)
    assert 'raise RuntimeError("the disk said no")' in runner.log(run, "broken")


def test_a_step_leaves_nothing_but_its_log_and_its_artifacts(runner):
    @dsl.pipeline
    def tidy():
        add(number=1)

    run = runner.run(tidy)
    folder = runner.state.logs / run.run_id / tasks(run)["add"].task_id
    assert [path.name for path in folder.iterdir()] == ["log"]


def test_the_parent_of_the_steps_has_one_thread(runner):
    threads = os.listdir(f"/proc/{runner.runs.workers.zygote_pid}/task")
    assert len(threads) == 1, "a fork of a process with threads can hang"


def test_runs_that_a_dead_runner_left_are_failed_by_the_next(tmp_path):
    url = f"sqlite:///{tmp_path}/runner.db"
    store = Store(url)
    with store.session() as session, session.begin():
        experiment = Experiment(name="e")
        session.add(experiment)
        session.flush()
        run = Run(name="r", experiment_id=experiment.id, document={}, given={}, parameters={}, state="RUNNING")
        session.add(run)
        session.flush()
        session.add(Task(run_id=run.id, name="t", display_name="t", state="RUNNING"))
    store.close()

    again = Store(url)
    assert again.end_lost_runs("the runner ended") == [run.id]
    with again.session() as session:
        lost = session.get_one(Run, run.id)
        assert (lost.state, lost.error, lost.tasks[0].state) == ("FAILED", "the runner ended", "FAILED")
    again.close()


def test_a_step_with_packages_that_are_here_runs_without_installing(runner):
    @dsl.component(packages_to_install=["pandas>=2"], base_image="python:3.11")
    def shape() -> int:
        import pandas as pd

        return len(pd.DataFrame({"a": [1, 2]}))

    @dsl.pipeline
    def ready():
        shape()

    assert runner.result(runner.run(ready), "shape") == 2
    assert not runner.state.environments.exists()


def test_a_step_with_packages_of_its_own_has_them_on_top_of_the_image_and_they_are_installed_once(runner, tmp_path):
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr("tiny.py", "SIZE = 7")
        made.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        made.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr("tiny-1.0.dist-info/RECORD", "")

    @dsl.component(packages_to_install=[f"tiny @ {wheel.as_uri()}"], base_image=IMAGE, install_kfp_package=False)
    def size() -> str:
        import tiny  # type: ignore[import-not-found]  # installed for this step alone

        from components import IMAGE

        return f"{tiny.SIZE} on {IMAGE}"

    @dsl.pipeline
    def sizing():
        size()

    for _ in range(2):
        assert runner.result(runner.run(sizing), "size") == f"7 on {IMAGE}"
        wheel.unlink(missing_ok=True)


def test_a_package_that_can_not_be_installed_is_a_sentence(runner, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "1")

    @dsl.component(packages_to_install=["modelyard-has-no-such-package==9"], base_image="python:3.11")
    def hopeless() -> int:
        return 1

    @dsl.pipeline
    def installing():
        hopeless()

    message = runner.run(installing).error.message
    assert message.startswith("hopeless: packages_to_install: uv can't install ")
    assert "modelyard-has-no-such-package==9" in message


def test_an_installation_ends_with_its_run(runner, monkeypatch, tmp_path):
    uv = tmp_path / "uv"
    uv.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/draft\nmv {tmp_path}/draft {tmp_path}/pid\nexec sleep 1000\n")
    uv.chmod(0o700)
    monkeypatch.setattr(packages, "find_uv_bin", lambda: str(uv))

    @dsl.component(packages_to_install=["modelyard-installs-for-ever"], base_image="python:3.11")
    def endless() -> int:
        return 1

    @dsl.pipeline
    def installing():
        endless()

    run_id = runner.submit(installing)
    asyncio.run(comes_true((tmp_path / "pid").exists))
    runner.client.terminate_run(run_id)
    assert runner.finished(run_id).state == "CANCELED"
    assert not alive(int((tmp_path / "pid").read_text()))


def test_whole_numbers_stay_whole_on_their_way_through_protobuf():
    document = {"root": {"inputDefinitions": {"parameters": {"d": {"defaultValue": {"a": [1, 2.5]}}}}}}
    spec = json_format.ParseDict(document, pb.PipelineSpec())
    assert ir.plain(spec.root.input_definitions.parameters["d"].default_value) == {"a": [1, 2.5]}
