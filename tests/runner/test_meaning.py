"""What each construct of the IR means when it runs."""

import sys
from typing import Optional

from kfp import dsl

from components.step import step
from tests.runner.conftest import states, tasks


@step
def say(text: str) -> str:
    return text


@step
def double(number: int) -> int:
    return 2 * number


@step
def write(text: str, file: dsl.Output[dsl.Dataset]) -> None:
    with open(file.path, "w") as output:
        output.write(text)
    file.metadata["letters"] = len(text)


@step
def read(file: dsl.Input[dsl.Dataset]) -> str:
    with open(file.path) as source:
        return f"{source.read()} of {file.metadata['letters']}"


@step
def read_all(files: list[dsl.Dataset]) -> str:
    return " ".join(open(file.path).read() for file in files)


@step
def join(texts: list) -> str:
    return "+".join(texts)


@step
def fail(message: str) -> str:
    raise ValueError(message)


def test_a_value_goes_from_step_to_step_with_its_type(runner):
    @dsl.pipeline
    def chain(start: int = 3) -> int:
        return double(number=double(number=start).output).output

    run = runner.run(chain, start=5)
    assert run.state == "SUCCEEDED"
    assert runner.result(run, "double-2") == 20


def test_an_artifact_arrives_with_its_file_and_its_metadata(runner):
    @dsl.pipeline
    def passing():
        read(file=write(text="hello").outputs["file"])

    run = runner.run(passing)
    assert runner.result(run, "read") == "hello of 5"
    made = runner.artifact(run, "write", "file")
    assert (made["type"], made["metadata"]) == ("system.Dataset", {"letters": 5})


def test_of_if_elif_else_one_branch_runs_and_one_of_hands_on_what_it_made(runner):
    @dsl.pipeline
    def branches(kind: str, number: int):
        with dsl.If(kind == "a"):
            first = say(text="took a")
        with dsl.Elif(number > 3):
            second = say(text="took more than three")
        with dsl.Else():
            third = say(text="took the rest")
        say(text=dsl.OneOf(first.output, second.output, third.output)).set_display_name("chosen")

    for kind, number, taken in (("a", 9, "took a"), ("b", 9, "took more than three"), ("b", 1, "took the rest")):
        run = runner.run(branches, kind=kind, number=number)
        assert runner.result(run, "chosen") == taken
        assert sorted(states(run).values()).count("SKIPPED") == 2


def test_an_output_that_looks_like_code_never_takes_a_branch(runner):
    @dsl.pipeline
    def guarded(verdict: str):
        with dsl.If(say(text=verdict).output == "accept"):
            say(text="released").set_display_name("release")

    for verdict in ("reject' != 'x' or 'z", "' == '' || true || '", "accept' || 'a' == 'a"):
        run = runner.run(guarded, verdict=verdict)
        assert "release" not in states(run)
        assert states(run)["condition-1"] == "SKIPPED"
    assert states(runner.run(guarded, verdict="accept"))["release"] == "SUCCEEDED"


def test_a_loop_runs_once_an_item_and_collects_in_the_order_of_its_items(runner):
    @dsl.pipeline
    def looping(items: list):
        with dsl.ParallelFor(items, parallelism=2) as item:
            said = say(text=item)
            made = write(text=item)
        join(texts=dsl.Collected(said.output))
        read_all(files=dsl.Collected(made.outputs["file"]))

    run = runner.run(looping, items=["c", "a", "b"])
    assert runner.result(run, "join") == "c+a+b"
    assert runner.result(run, "read-all") == "c a b"
    assert runner.result(runner.run(looping, items=[]), "join") == ""


def test_a_loop_reaches_into_its_items(runner):
    @dsl.pipeline
    def reaching():
        with dsl.ParallelFor([{"label": "x", "size": 1}, {"label": "y", "size": 2}]) as item:
            said = say(text=item.label)
        join(texts=dsl.Collected(said.output))

    assert runner.result(runner.run(reaching), "join") == "x+y"


def test_a_placeholder_in_a_constant_is_filled_once_and_a_value_is_never_read_again(runner):
    @dsl.pipeline
    def filling(name: str):
        say(text=f"for {name} in {dsl.PIPELINE_JOB_ID_PLACEHOLDER}")

    run = runner.run(filling, name="{{$.pipeline_root}}")
    assert runner.result(run, "say") == f"for {{{{$.pipeline_root}}}} in {run.run_id}"


def test_an_exit_task_runs_after_a_failure_and_is_told_of_it(runner):
    @step
    def tidy(status: dsl.PipelineTaskFinalStatus) -> str:
        return f"{status.pipeline_job_resource_name}: {status.state}: {status.error_message}"

    @dsl.pipeline
    def tidied():
        with dsl.ExitHandler(tidy()):
            fail(message="no luck")

    run = runner.run(tidied)
    assert run.state == "FAILED"
    assert runner.result(run, "tidy") == f"{run.display_name}: FAILED: fail: no luck"


def test_what_hangs_on_a_failed_step_is_skipped_and_what_does_not_still_runs(runner):
    @dsl.pipeline
    def parted():
        say(text=fail(message="broken").output).set_display_name("downstream")
        say(text="beside").set_display_name("beside")

    run = runner.run(parted)
    assert run.error.message == "fail: broken"
    assert states(run) == {"fail": "FAILED", "downstream": "SKIPPED", "beside": "SUCCEEDED"}


def test_a_step_that_ignores_upstream_failure_runs_with_its_default(runner):
    @step
    def tolerant(text: str = "nothing came") -> str:
        return text

    @dsl.pipeline
    def forgiving():
        tolerant(text=fail(message="broken").output).ignore_upstream_failure()

    run = runner.run(forgiving)
    assert runner.result(run, "tolerant") == "nothing came"
    assert run.state == "FAILED"


def test_a_step_is_tried_again_as_often_as_its_author_allows(runner, tmp_path):
    @step
    def third_time(folder: str) -> int:
        import os

        attempt = len(os.listdir(folder))
        open(f"{folder}/{attempt}", "w").close()
        if attempt < 2:
            raise ValueError(f"attempt {attempt}")
        return attempt

    @dsl.pipeline
    def trying(folder: str, tries: int = 0):
        third_time(folder=folder).set_retry(2, backoff_duration="0s")

    assert runner.result(runner.run(trying, folder=str(tmp_path)), "third-time") == 2


def test_a_pipeline_inside_a_pipeline_hands_its_output_out(runner):
    @dsl.pipeline
    def inner(number: int) -> int:
        return double(number=double(number=number).output).output

    @dsl.pipeline
    def outer() -> int:
        return double(number=inner(number=1).output).output

    run = runner.run(outer)
    assert runner.result(run, "inner") == 4
    assert {task.state for task in run.run_details.task_details} == {"SUCCEEDED"}


def test_an_importer_names_what_lies_elsewhere(runner, tmp_path):
    (tmp_path / "there").write_text("found")

    @dsl.pipeline
    def importing(uri: str, letters: str):
        found = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset, metadata={"letters": letters})
        read(file=found.output)

    assert runner.result(runner.run(importing, uri=str(tmp_path / "there"), letters="5"), "read") == "found of 5"


def test_a_command_of_the_projects_image_runs_with_its_placeholders_filled(runner):
    from components import IMAGE

    @dsl.container_component
    def shout(text: str, said: dsl.OutputPath(str), extra: Optional[str] = None):  # type: ignore[valid-type] # noqa: UP045
        return dsl.ContainerSpec(
            image=IMAGE,
            command=["sh", "-c", 'printf "%s" "$*" > "$0"', said],
            args=[dsl.ConcatPlaceholder([text, "!"]), dsl.IfPresentPlaceholder("extra", ["with", extra], ["alone"])],
        )

    @dsl.pipeline
    def shouting():
        shout(text="it's $HOME")

    run = runner.run(shouting)
    assert runner.result(run, "shout", "said") == "it's $HOME! alone"


def test_a_command_finds_the_images_own_python_and_pipes_as_commands_do(runner):
    from components import IMAGE

    @dsl.container_component
    def pipe(prefix: dsl.OutputPath(str)):  # type: ignore[valid-type]
        script = 'yes | head -n 1; python -c "import sys; print(sys.prefix, end=str())" > "$0"'
        return dsl.ContainerSpec(image=IMAGE, command=["sh", "-c", script, prefix])

    @dsl.pipeline
    def piping():
        pipe()

    run = runner.run(piping)
    assert runner.result(run, "pipe", "prefix") == sys.prefix
    assert runner.log(run, "pipe") == "y\n"


def test_metrics_are_kept_with_the_run(runner):
    @step
    def measure(metrics: dsl.Output[dsl.Metrics], curve: dsl.Output[dsl.ClassificationMetrics]) -> None:
        metrics.log_metric("accuracy", 0.9)
        curve.log_roc_curve([0.0, 1.0], [0.0, 1.0], [1.0, 0.0])

    @dsl.pipeline
    def measuring():
        measure()

    run = runner.run(measuring)
    assert runner.artifact(run, "measure", "metrics")["metadata"] == {"accuracy": 0.9}
    assert len(runner.artifact(run, "measure", "curve")["metadata"]["confidenceMetrics"]) == 2


def test_steps_that_are_ready_run_at_the_same_time(runner, tmp_path):
    @step
    def meet(mine: str, other: str) -> None:
        import os

        os.mkfifo(mine) if not os.path.exists(mine) else None
        while not os.path.exists(other):  # the other step must run meanwhile, or this one never ends
            pass

    @dsl.pipeline
    def meeting(a: str, b: str):
        meet(mine=a, other=b)
        meet(mine=b, other=a)

    assert runner.run(meeting, a=str(tmp_path / "a"), b=str(tmp_path / "b")).state == "SUCCEEDED"


def test_every_step_draws_numbers_of_its_own(runner):
    @step
    def draw() -> float:
        import random

        import numpy as np

        return float(np.random.random() + random.random())

    @dsl.pipeline
    def drawing():
        draw()
        draw()

    run = runner.run(drawing)
    assert runner.result(run, "draw") != runner.result(run, "draw-2")


def test_a_steps_output_is_in_its_log(runner):
    @step
    def talk() -> None:
        import subprocess

        print("from Python")
        subprocess.run(["echo", "from a process of its own"], check=True)

    @dsl.pipeline
    def talking():
        talk()

    run = runner.run(talking)
    assert tasks(run)["talk"].state == "SUCCEEDED"
    assert "from Python" in runner.log(run, "talk")
    assert "from a process of its own" in runner.log(run, "talk")
