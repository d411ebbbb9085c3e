"""The demo from end to end: a real process, a real runner, a real model server."""

import csv
import shlex
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from components.services import model_server
from components.services.registry import Registry
from modelyard.demo import TARGET, data_file, need_refusal, shuffle_labels
from modelyard.errors import FailedError
from modelyard.runner.state import State
from modelyard.submit import Run, Step
from tests.cli.terminal import SECONDS

STEPS = ["Ingest data", "Validate data", "Split data", "Train model", "Evaluate model", "Judge model", "Gate"]
STEPS += ["Register model", "Deploy model"]


def test_the_first_run_takes_real_data_into_service(kept):
    first = kept.result["runs"][0]
    assert (first["about"], first["state"], first["error"]) == ("real data", "SUCCEEDED", "")
    assert sorted(step["name"] for step in first["steps"]) == sorted(STEPS)
    assert all(step["state"] == "SUCCEEDED" and step["seconds"] > 0 for step in first["steps"])
    assert kept.result["gate"]["real data"]["passed"]
    assert kept.result["metrics"]["real data"]["roc_auc"] > 0.8


def test_the_second_run_is_refused_by_the_gate_for_labels_that_mean_nothing(kept):
    second = kept.result["runs"][1]
    assert (second["about"], second["state"]) == ("shuffled labels", "FAILED")
    states = {step["name"]: step["state"] for step in second["steps"]}
    assert states["Judge model"] == "SUCCEEDED"
    assert states["Gate"] == "FAILED"
    assert states["Register model"] == states["Deploy model"] == "SKIPPED"
    assert abs(kept.result["metrics"]["shuffled labels"]["roc_auc"] - 0.5) < 0.1


def test_the_screen_says_by_which_rules_with_number_and_limit(kept):
    broken = [rule for rule in kept.result["gate"]["shuffled labels"]["rules"] if not rule["passed"]]
    assert "roc_auc against champion 1" in {rule["rule"] for rule in broken}
    for rule in broken:
        line = f"  {rule['rule']}: {rule['value']:.3f} is not {rule['compare']} {rule['limit']:.3f}\n"
        assert line in kept.said.err


def test_the_champion_stays(kept):
    assert kept.result["champion"] == "1"
    assert [(one["version"], one["aliases"]) for one in kept.result["versions"]] == [("1", ["champion"])]
    assert "Version 1 is still the champion and goes on answering." in kept.said.err


def test_the_version_knows_where_it_comes_from(kept):
    version, first = kept.result["versions"][0], kept.result["runs"][0]
    assert version["run_id"] == first["run_id"]
    assert version["data_uri"] == str(data_file())
    assert version["report"] == kept.result["gate"]["real data"]
    registered = Registry(State(kept.state).tracking_uri).get("mortgage", "1")
    assert registered.digest == version["digest"]


def test_the_answers_are_those_of_real_rows_that_the_endpoint_gives_again(kept):
    with data_file().open(encoding="utf-8", newline="") as file:
        known = [{name: str(value) for name, value in row.items()} for row in csv.DictReader(file)]
    answers = kept.result["answers"]
    assert [answer["truth"] for answer in answers] == ["no"] * 3 + ["yes"] * 3
    url = kept.result["endpoint"]["url"].removesuffix("/v2/models/mortgage/infer")
    for answer in answers:
        texts = {name: value for name, value in answer["row"].items() if isinstance(value, str)}
        assert any(texts.items() <= row.items() and row[TARGET] == answer["truth"] for row in known)
        outputs = model_server.infer(url, "mortgage", {name: [value] for name, value in answer["row"].items()})
        assert outputs["label"] == [answer["answer"]]
        assert answer["probability"] in [pytest.approx(one, abs=1e-6) for one in outputs["probabilities"][0]]


def test_stdout_is_one_object_and_the_rest_is_plain_lines_without_a_terminal(kept):
    wanted = {"state", "runs", "metrics", "gate", "answers", "versions", "champion", "endpoint", "next"}
    assert set(kept.result) == wanted
    assert "\x1b" not in kept.said.err
    assert "Warning" not in kept.said.err
    assert "Traceback" not in kept.said.err
    assert kept.said.err.count("Train model          done") == 2


def test_each_step_has_its_log(kept):
    for run in kept.result["runs"]:
        assert all(Path(step["log"]).exists() for step in run["steps"] if step["state"] != "SKIPPED")


def test_what_to_try_next_works_as_it_is_printed(kept):
    *commands, last = kept.result["next"]
    assert shlex.split(last)[-4:] == ["runner", "stop", "--state", str(kept.state)]
    assert len(commands) == 3
    for words in map(shlex.split, commands):
        if words[0] == "curl" and not shutil.which("curl"):
            assert httpx.get(words[1]).is_success
            continue
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode == 0, done.stderr


def test_shuffling_moves_the_labels_alone_and_always_the_same_way(tmp_path):
    source = tmp_path / "source.csv"
    source.write_text(f"a,{TARGET},b\n" + "".join(f"{n},{'yes' if n < 5 else 'no'},x{n}\n" for n in range(20)))
    shuffle_labels(source, tmp_path / "new" / "one.csv")
    shuffle_labels(source, tmp_path / "two.csv")
    assert (tmp_path / "new" / "one.csv").read_text() == (tmp_path / "two.csv").read_text()
    before, after = (list(csv.DictReader(path.read_text().splitlines())) for path in (source, tmp_path / "two.csv"))
    assert [(row["a"], row["b"]) for row in before] == [(row["a"], row["b"]) for row in after]
    labels, shuffled = [row[TARGET] for row in before], [row[TARGET] for row in after]
    assert labels != shuffled
    assert sorted(labels) == sorted(shuffled)


def run_of(state: str, **steps: str) -> Run:
    made = tuple(Step(name, name, state, 1.0, "", {}) for name, state in steps.items())
    return Run("r1", "demo", state, 1.0, "no memory" if state == "FAILED" else "", made)


def test_a_gate_that_lets_shuffled_labels_pass_fails_the_demo():
    with pytest.raises(FailedError, match=r"^the gate let a model pass that was trained on shuffled labels: run r1$"):
        need_refusal(run_of("SUCCEEDED", Gate="SUCCEEDED"))


def test_a_run_that_fails_before_its_gate_fails_the_demo():
    with pytest.raises(FailedError, match=r"^the run on shuffled labels was to fail at its gate: no memory: run r1$"):
        need_refusal(run_of("FAILED", Train="FAILED", Gate="SKIPPED"))
    need_refusal(run_of("FAILED", Train="SUCCEEDED", Gate="FAILED"))
