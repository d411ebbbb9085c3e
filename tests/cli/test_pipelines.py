"""modelyard pipeline: what it runs, and what it refuses."""

import json
import os
import signal
import sqlite3
from pathlib import Path

import pytest
from kfp import compiler, dsl

from components import IMAGE
from modelyard.demo import arguments, data_file
from modelyard.local import deferred, undisturbed
from modelyard.runner.state import State
from modelyard.submit import commit
from tests.cli.terminal import begin, lives, modelyard


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def hang(pipe: str):
    """Tell that it has begun, then never end."""
    import os
    import threading
    from pathlib import Path

    Path(pipe).write_text(str(os.getpid()), encoding="utf-8")
    threading.Event().wait()


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def echo(number: float, whole: int, yes: bool, words: list, pairs: dict, text: str) -> str:
    """Tell what came in."""
    return repr((number, whole, yes, words, pairs, text))


@dsl.pipeline(name="hanging")
def hanging(pipe: str):
    hang(pipe=pipe)


@dsl.pipeline(name="echoing")
def echoing(number: float, whole: int, yes: bool, words: list, pairs: dict, text: str = "unset"):
    echo(number=number, whole=whole, yes=yes, words=words, pairs=pairs, text=text)


@pytest.fixture
def package(tmp_path):
    """Compiles a pipeline of this file."""

    def make(pipeline) -> Path:
        compiler.Compiler().compile(pipeline, str(tmp_path / "package.yaml"))
        return tmp_path / "package.yaml"

    return make


def test_pipelines_are_listed_with_what_they_do(typed):
    assert {"name": "training"}.items() <= typed("pipeline", "list", "--json").json["pipelines"][0].items()
    assert "From a table to a model in service" in typed("pipeline", "list").out


def test_a_pipeline_compiles_to_the_same_package_each_time(typed, tmp_path):
    for name in ("one.yaml", "two.yaml"):
        assert typed("pipeline", "compile", "training", "-o", tmp_path / name).out == f"{tmp_path / name}\n"
    assert (tmp_path / "one.yaml").read_bytes() == (tmp_path / "two.yaml").read_bytes()


def test_a_package_is_written_only_where_and_as_it_can_be(refused, tmp_path):
    assert refused("pipeline", "compile", "training", "-o", tmp_path / "x.json") == (
        f"a package can't be written to {tmp_path / 'x.json'}: its name must end in .yaml"
    )
    assert refused("pipeline", "compile", "training", "-o", tmp_path / "no" / "x.yaml") == (
        f"a package can't be written to {tmp_path / 'no' / 'x.yaml'}: No such file or directory"
    )


@pytest.mark.parametrize("words", [("compile",), ("run",)])
def test_an_unknown_pipeline_is_refused_with_the_near_one(refused, words):
    assert refused("pipeline", *words, "trianing") == "there is no pipeline 'trianing': did you mean 'training'?"


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("tragets=deny", "pipeline 'training' has no parameter 'tragets': did you mean 'target'?"),
        ("seed=one", "parameter 'seed' is 'one'; a whole number is wanted"),
        ("seed=1.5", "parameter 'seed' is '1.5'; a whole number is wanted"),
        ("test_share=true", "parameter 'test_share' is 'true'; a number is wanted"),
        ("test_share=nan", "parameter 'test_share' is 'nan'; a number is wanted"),
        ("rules=[1]", "parameter 'rules' is '[1]'; a mapping in JSON is wanted"),
        ("seed", "'seed' gives no value: write -p seed=VALUE"),
    ],
)
def test_a_wrong_parameter_is_refused_with_what_is_wanted(refused, word, sentence):
    assert refused("pipeline", "run", "training", "-p", word) == sentence


def test_a_parameter_that_is_given_twice_is_refused(refused):
    assert refused("pipeline", "run", "training", "-p", "seed=1", "-p", "seed=2") == "parameter 'seed' is given twice"


def test_all_missing_parameters_are_named_with_their_meaning(refused):
    first, *lines = refused("pipeline", "run", "training", "-p", "target=deny", "-p", "group=").splitlines()
    assert first == "pipeline 'training' needs a value (-p NAME=VALUE) for:"
    assert [line.split()[0] for line in lines] == ["data", "model_name", "positive", "schema"]
    assert "the table, CSV or Parquet, by absolute path or URL" in lines[0]


def test_what_is_no_package_is_refused(refused, tmp_path):
    file = tmp_path / "x.yaml"
    assert refused("pipeline", "run", file) == (
        f"there is no package {file}; make one with `modelyard pipeline compile NAME`"
    )
    file.write_text("a: 1")
    assert refused("pipeline", "run", file).startswith("not a compiled KFP v2 pipeline: ")


def test_a_state_folder_that_cannot_be_written_is_refused(refused, tmp_path, package):
    (tmp_path / "file").touch()
    state = tmp_path / "file" / "x"
    sentence = f"state folder {state} can't be written: Not a directory; choose another with --state"
    assert refused("pipeline", "run", package(hanging), "-p", "pipe=x", "--state", state) == sentence
    assert refused("demo", "--state", state) == sentence


def test_parameters_arrive_in_the_types_that_the_package_declares(kept, package):
    words = ["number=1e-3", "whole=7", "yes=True", 'words=["a", 1]', 'pairs={"a": null}', "text=5"]
    given = [part for word in words for part in ("-p", word)]
    said = modelyard("pipeline", "run", package(echoing), *given, "--json", "--state", kept.state)
    assert said.code == 0, said.err
    database = sqlite3.connect(kept.state / "runner.db")
    ((parameters,),) = database.execute("select parameters from runs where id = ?", [said.json["run_id"]]).fetchall()
    database.close()
    wanted = {"number": 0.001, "whole": 7, "yes": True, "words": ["a", 1], "pairs": {"a": None}, "text": "5"}
    assert json.loads(parameters) == wanted


def test_a_failed_run_ends_with_its_sentence_and_the_log_of_the_step(kept):
    given = arguments(data_file()) | {"data": "/no/such.csv"}
    words = [part for name, value in given.items() for part in ("-p", f"{name}={value}")]
    said = modelyard("pipeline", "run", "training", *words, "--json", "--state", kept.state)
    assert said.code == 1
    sentence, log = said.err.splitlines()[-2:]
    assert sentence.startswith("modelyard: Ingest data: ")
    assert "/no/such.csv" in sentence
    assert Path(log.removeprefix("log: ")).exists()
    assert "Traceback" not in said.err
    assert (said.json["state"], said.json["steps"][0]["state"]) == ("FAILED", "FAILED")
    assert said.json["error"] in sentence


def test_ctrl_c_cancels_the_run_and_ends_the_servers(tmp_path, package):
    pipe, state = tmp_path / "pipe", State(tmp_path / "state")
    os.mkfifo(pipe)
    process = begin("pipeline", "run", package(hanging), "-p", f"pipe={pipe}", "--state", state.root)
    step = int(pipe.read_text())  # waits until the step writes
    running = state.running()
    assert running
    assert lives(step)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    *_, last = err.splitlines()
    database = sqlite3.connect(state.root / "runner.db")
    ((run_id, run_state),) = database.execute("select id, state from runs").fetchall()
    database.close()
    assert run_state == "CANCELED"
    assert last == f"modelyard: stopped: run {run_id} is CANCELED"
    assert "Traceback" not in err
    assert state.running() is None
    assert not lives(running.pid)
    assert not lives(step)


def test_ctrl_c_leaves_a_runner_that_was_there_before(kept, tmp_path, package):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = begin("pipeline", "run", package(hanging), "-p", f"pipe={pipe}", "--state", kept.state)
    step = int(pipe.read_text())
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1].endswith(" is CANCELED")
    assert not lives(step)
    assert State(kept.state).running()


def test_the_commit_of_a_folder_tells_when_its_files_were_changed(tmp_path):
    assert commit(tmp_path) == ""
    git = f"git -C {tmp_path} -c user.name=a -c user.email=a@example.com"
    (tmp_path / "file").write_text("1")
    assert os.system(f"{git} init -q && {git} add file && {git} commit -qm one") == 0
    clean = commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "file").write_text("2")
    assert commit(tmp_path) == f"{clean}-dirty"


def test_ctrl_c_waits_for_what_must_not_be_cut_short():
    done = []

    def work():
        with deferred():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all of it"]
    with undisturbed():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
