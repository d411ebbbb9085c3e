"""Train, evaluate, judge, gate, register, deploy."""

import json
from pathlib import Path

import pytest
from kfp import dsl

from components.deploy_model import deploy_model
from components.gate import gate
from components.register_model import register_model
from components.science.table import digest
from components.services.registry import DigestMismatch, Registry
from pipelines.training import RULES
from tests.components.conftest import DATA

STRICT = RULES | {"floors": {"roc_auc": 0.99}}


@pytest.fixture
def register(tracking_uri, table, model, evaluated, judged):
    """Register the model; returns the version."""

    def register(model=model):
        return register_model.python_func(
            model=model,
            table=table,
            evaluation=evaluated["evaluation"],
            report=judged(),
            model_name="mortgage",
            tracking_uri=tracking_uri,
            commit="abc123",
            run_id="run-1",
        )

    return register


def deploy(version: str, tracking_uri: str, serving_url: str = "") -> str:
    told: str = deploy_model.python_func(
        version=version, model_name="mortgage", tracking_uri=tracking_uri, serving_url=serving_url
    )
    return told


def aliases(tracking_uri: str) -> dict[str, tuple[str, ...]]:
    return {version.version: version.aliases for version in Registry(tracking_uri).versions("mortgage")}


def test_the_model_says_by_what_it_was_made_and_that_it_was_proven_equal(model):
    raw = Path(model.path).read_bytes()
    assert model.metadata["digest"] == digest(raw)
    assert model.metadata["parameters"] == {
        "trees": 100,
        "learning_rate": 0.05,
        "seed": 0,
        "test_share": 0.25,
        "split_seed": 0,
    }
    assert 0 <= model.metadata["largest_difference"] < 1e-5


def test_the_evaluation_shows_metrics_a_roc_curve_and_a_confusion_matrix(evaluated):
    metrics = evaluated["metrics"].metadata
    assert metrics["roc_auc"] == pytest.approx(0.883, abs=0.01)
    assert {"recall/afam:no", "recall/afam:yes", "equal_opportunity_difference"} <= set(metrics)
    curve = evaluated["roc_curve"].metadata["confidenceMetrics"]
    assert curve[0] == {"confidenceThreshold": 1.0, "recall": 0.0, "falsePositiveRate": 0.0}
    matrix = evaluated["confusion_matrix"].metadata["confusionMatrix"]
    assert [spec["displayName"] for spec in matrix["annotationSpecs"]] == ["no", "yes"]
    assert sum(sum(row["row"]) for row in matrix["rows"]) == 595


def test_the_evaluation_is_kept_whole_as_json(evaluated):
    found = json.loads(Path(evaluated["evaluation"].path).read_text())
    assert found["metrics"]["roc_auc"] == evaluated["metrics"].metadata["roc_auc"]
    assert sum(part["rows"] for part in found["calibration"]) == found["rows"] == 595


def test_a_model_that_keeps_every_rule_passes_the_gate(judged):
    report = judged()
    assert report.metadata == {"passed": True, "rules": 8}
    gate.python_func(report=report)


def test_a_broken_rule_stops_the_gate_and_not_the_report(judged):
    report = judged(STRICT)
    assert report.metadata["passed"] is False
    (broken,) = [rule for rule in json.loads(Path(report.path).read_text())["rules"] if not rule["passed"]]
    assert (broken["rule"], broken["limit"], broken["compare"]) == ("roc_auc floor", 0.99, ">=")
    with pytest.raises(ValueError, match=r"^the model is refused: roc_auc floor: 0.88\d is not >= 0.990$"):
        gate.python_func(report=report)


def test_wrong_rules_are_refused_in_a_sentence(judged):
    with pytest.raises(ValueError, match=r"^the rules are wrong: unknown metric floors.roc: did you mean 'roc_auc'\?$"):
        judged({"floors": {"roc": 0.7}})


def test_the_champion_is_scored_on_the_same_rows(judged, register, tracking_uri):
    deploy(register(), tracking_uri)
    report = json.loads(Path(judged().path).read_text())
    (rule,) = [rule for rule in report["rules"] if rule["rule"] == "roc_auc against champion 1"]
    assert rule["value"] == pytest.approx(rule["limit"] + 0.01), "the champion is this very model"
    assert rule["note"] == ""
    assert report["champion"] == {"version": "1"}


def test_a_champion_from_another_split_of_the_same_data_is_noted(judged, register, tracking_uri, halves, monkeypatch):
    deploy(register(), tracking_uri)
    monkeypatch.setitem(halves[1].metadata, "split_seed", 1)
    report = json.loads(Path(judged().path).read_text())
    assert any(rule["note"].startswith("the champion learned from some of these rows") for rule in report["rules"])


def test_a_champion_that_was_changed_on_disk_judges_nothing(judged, register, tracking_uri, tmp_path):
    deploy(register(), tracking_uri)
    (file,) = (tmp_path / "models").rglob("model.onnx")
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(DigestMismatch, match="model 'mortgage' version 1 was changed on disk"):
        judged()


def test_the_version_carries_what_made_it(register, tracking_uri, model, table):
    assert register() == "1"
    version = Registry(tracking_uri).get("mortgage", "1")
    assert (version.digest, version.data_digest) == (model.metadata["digest"], table.metadata["digest"])
    assert (version.data_uri, version.code_commit, version.run_id) == (DATA, "abc123", "run-1")
    assert version.parameters == model.metadata["parameters"]
    assert version.metrics["recall/afam:yes"] == pytest.approx(0.52)
    assert version.report["passed"] is True
    assert version.aliases == ("challenger",)


def test_a_model_that_was_changed_after_training_is_not_registered(register, model, tmp_path):
    other = dsl.Model(uri=str(tmp_path / "other"), metadata=model.metadata)
    Path(other.path).write_bytes(Path(model.path).read_bytes() + b" ")
    with pytest.raises(DigestMismatch, match="the model to be registered as 'mortgage' has digest"):
        register(other)


def test_without_a_server_the_model_is_promoted_and_the_answer_says_so(register, tracking_uri):
    assert deploy(register(), tracking_uri) == (
        "mortgage version 1 is promoted; no server was told, since none was named"
    )
    assert aliases(tracking_uri) == {"1": ("champion",)}


def test_the_server_loads_the_version_and_then_it_is_promoted(register, tracking_uri, loopback):
    loopback.answers["/v2/repository/models/mortgage/load"] = (200, b"")
    told = deploy(register(), tracking_uri, loopback.url)
    assert told == f"mortgage version 1 answers at {loopback.url}"
    assert loopback.asked == [("/v2/repository/models/mortgage/load", {"parameters": {"version": "1"}})]
    assert aliases(tracking_uri) == {"1": ("champion",)}


def test_when_the_server_refuses_it_nothing_is_promoted_and_its_sentence_is_the_steps(register, tracking_uri, loopback):
    loopback.answers["/v2/repository/models/mortgage/load"] = (422, {"error": "the file was changed on disk"})
    with pytest.raises(ValueError, match=r"^the file was changed on disk$"):
        deploy(register(), tracking_uri, loopback.url)
    assert aliases(tracking_uri) == {"1": ("challenger",)}


def test_when_no_server_answers_nothing_is_promoted(register, tracking_uri):
    deploy(register(), tracking_uri)
    second = register()
    with pytest.raises(ValueError, match=r"^no model server answers at http://127.0.0.1:1"):
        deploy(second, tracking_uri, "http://127.0.0.1:1")
    assert aliases(tracking_uri) == {"1": ("champion",), "2": ("challenger",)}


def test_a_version_that_is_not_registered_is_not_deployed(register, tracking_uri):
    register()
    with pytest.raises(ValueError, match=r"^model 'mortgage' has no version '7': there is '1'$"):
        deploy("7", tracking_uri)
