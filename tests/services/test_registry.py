import hashlib
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from components.services.registry import DigestMismatch, Facts, ModelVersion, Registry


@pytest.fixture
def registry(tracking_uri):
    return Registry(tracking_uri)


def facts(model: bytes = b"model", **changes: object) -> Facts:
    known: dict[str, object] = {
        "digest": f"sha256:{hashlib.sha256(model).hexdigest()}",
        "data_digest": "sha256:data",
        "data_uri": "/data/a.csv",
        "code_commit": "abc123",
        "run_id": "run-1",
        "parameters": {"seed": 0, "trees": 100},
        "metrics": {"roc_auc": 0.9, "recall/afam:yes": 0.5},
        "report": {"passed": True, "rules": []},
    }
    return Facts(**known | changes)  # type: ignore[arg-type]  # of the types above


def registered(registry: Registry, count: int) -> list[ModelVersion]:
    models = [f"model {number}".encode() for number in range(count)]
    return [registry.register("mortgage", model, facts(model)) for model in models]


def test_a_version_keeps_all_that_is_known_of_it(registry):
    before = datetime.now(UTC) - timedelta(seconds=1)
    version = registry.register("mortgage", b"model", facts())
    assert (version.name, version.version, version.aliases) == ("mortgage", "1", ("challenger",))
    assert {name: getattr(version, name) for name in vars(facts())} == vars(facts())
    assert before < version.created < datetime.now(UTC) + timedelta(seconds=1)
    assert version.promoted is None
    assert registry.get("mortgage", "1") == version


def test_the_run_in_mlflow_has_the_parameters_metrics_and_files(registry, tracking_uri):
    registry.register("mortgage", b"model", facts(metrics={"recall/town:Åre & co=1": 0.5}))
    client = MlflowClient(tracking_uri, tracking_uri)
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert run.data.params == {"seed": "0", "trees": "100"}
    assert run.data.metrics == {"recall/town:Åre _ co_1": 0.5}, "MLflow takes no & and no ="
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"model.onnx", "report.json"}
    assert run.info.status == "FINISHED"


def test_models_lie_beside_the_database_wherever_one_stands(registry, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    registry.register("mortgage", b"model", facts())
    assert [path.read_bytes() for path in (tmp_path / "models").rglob("model.onnx")] == [b"model"]
    assert list(elsewhere.iterdir()) == []


def test_versions_come_newest_first(registry):
    registered(registry, 11)
    assert [version.version for version in registry.versions("mortgage")] == [str(n) for n in range(11, 0, -1)]


def test_the_newest_version_is_the_challenger(registry):
    registered(registry, 2)
    assert registry.challenger("mortgage").version == "2"
    assert registry.champion("mortgage") is None


def test_a_model_that_nobody_registered_has_no_champion_and_that_is_no_error(registry):
    assert registry.champion("mortgage") is None
    assert registry.models() == []


def test_promoting_the_challenger_makes_it_champion_and_challenger_no_more(registry):
    registered(registry, 2)
    registry.promote("mortgage", "1")
    assert registry.challenger("mortgage").version == "2", "another version's promotion leaves the challenger"
    version = registry.promote("mortgage", "2")
    assert version.aliases == ("champion",)
    assert version.promoted > registry.get("mortgage", "1").promoted
    assert registry.challenger("mortgage") is None
    assert registry.get("mortgage", "1").aliases == ()


def test_rolling_back_goes_one_champion_back_each_time_and_then_refuses(registry):
    registered(registry, 4)
    for version in ("1", "3", "2"):
        registry.promote("mortgage", version)
    assert registry.rollback("mortgage").version == "3"
    assert registry.rollback("mortgage").version == "1"
    with pytest.raises(ValueError, match=r"^model 'mortgage' has no champion before this one to roll back to$"):
        registry.rollback("mortgage")
    assert registry.champion("mortgage").version == "1"


def break_off(monkeypatch, write, change):
    """Make a change during which the process ends just before one of its writes."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, write, end)
        with pytest.raises(KeyboardInterrupt):
            change()


WRITES = ("set_model_version_tag", "set_registered_model_tag", "set_registered_model_alias")


@pytest.mark.parametrize("write", WRITES)
def test_a_promotion_that_was_broken_off_has_not_happened_and_can_be_done_again(registry, monkeypatch, write):
    registered(registry, 3)
    for version in ("1", "2"):
        registry.promote("mortgage", version)
    for version in ("3", "1"):
        break_off(monkeypatch, write, partial(registry.promote, "mortgage", version))
        assert registry.champion("mortgage").version == "2"
        assert registry.champion_before("mortgage").version == "1"
    registry.promote("mortgage", "3")
    assert [registry.rollback("mortgage").version for _ in range(2)] == ["2", "1"]


@pytest.mark.parametrize("write", WRITES)
def test_a_rollback_that_was_broken_off_has_not_happened_and_can_be_done_again(registry, monkeypatch, write):
    registered(registry, 2)
    for version in ("1", "2"):
        registry.promote("mortgage", version)
    break_off(monkeypatch, write, partial(registry.rollback, "mortgage"))
    assert registry.champion("mortgage").version == "2"
    assert registry.rollback("mortgage").version == "1"


def test_an_alias_that_someone_else_set_counts_as_a_promotion(registry, tracking_uri):
    registered(registry, 3)
    registry.promote("mortgage", "1")
    MlflowClient(tracking_uri, tracking_uri).set_registered_model_alias("mortgage", "champion", "2")
    assert registry.champion_before("mortgage").version == "1"
    registry.promote("mortgage", "3")
    assert registry.rollback("mortgage").version == "2"


def test_the_champion_before_is_told_without_a_change(registry):
    registered(registry, 2)
    registry.promote("mortgage", "1")
    assert registry.champion_before("mortgage") is None
    registry.promote("mortgage", "2")
    assert registry.champion_before("mortgage").version == "1"
    assert registry.champion("mortgage").version == "2"


def test_promoting_the_champion_again_is_not_a_step_to_roll_back(registry):
    registered(registry, 2)
    for version in ("1", "2", "2"):
        registry.promote("mortgage", version)
    assert registry.rollback("mortgage").version == "1"


def test_rolling_back_steps_over_a_version_that_was_deleted(registry, tracking_uri):
    registered(registry, 3)
    for version in ("1", "2", "3"):
        registry.promote("mortgage", version)
    MlflowClient(tracking_uri, tracking_uri).delete_model_version("mortgage", "2")
    assert registry.rollback("mortgage").version == "1"


def test_the_bytes_come_back_only_as_they_were_registered(registry, tmp_path):
    (version,) = registered(registry, 1)
    assert registry.model_bytes(version) == b"model 0"
    (file,) = (tmp_path / "models").rglob("model.onnx")
    file.write_bytes(b"model 0 with a door in it")
    with pytest.raises(DigestMismatch, match=r"^model 'mortgage' version 1 was changed on disk: its digest is sha256:"):
        registry.model_bytes(version)
    file.unlink()
    with pytest.raises(ValueError, match=r"^the file of model 'mortgage' version 1 is gone from the registry$"):
        registry.model_bytes(version)


def test_bytes_that_are_not_those_that_were_judged_are_not_registered(registry):
    with pytest.raises(DigestMismatch, match="the model to be registered as 'mortgage' has digest"):
        registry.register("mortgage", b"another", facts())
    assert registry.models() == []


def test_unknown_names_are_refused_with_the_near_one(registry):
    registered(registry, 1)
    with pytest.raises(ValueError, match=r"^no model is registered as 'mortage': did you mean 'mortgage'\?$"):
        registry.versions("mortage")
    with pytest.raises(ValueError, match=r"^model 'mortgage' has no version '7': there is '1'$"):
        registry.get("mortgage", "7")
    with pytest.raises(ValueError, match=r"^model 'mortgage' has no version 'x': there is '1'$"):
        registry.promote("mortgage", "x")


def test_a_model_that_another_program_named_is_listed_and_found(registry, tracking_uri):
    client = MlflowClient(tracking_uri, tracking_uri)
    for name in ("o'neil", "both\"of'them"):
        client.create_registered_model(name)
        client.create_model_version(name, "file:///nowhere")
    registered(registry, 1)
    assert [len(registry.versions(name)) for name in registry.models()] == [1, 1, 1]


@pytest.mark.parametrize("create", ["create_registered_model", "create_experiment"])
def test_two_first_runs_of_a_model_do_not_stop_each_other(registry, monkeypatch, create):
    original = getattr(MlflowClient, create)

    def overtaken(*given: object, **named: object) -> object:
        original(*given, **named)
        return original(*given, **named)

    monkeypatch.setattr(MlflowClient, create, overtaken)
    assert registry.register("mortgage", b"model", facts()).version == "1"


def test_a_registry_that_could_not_be_asked_does_not_call_a_model_unknown(registry, monkeypatch):
    registered(registry, 1)

    def fail(*_: object) -> None:
        raise MlflowException("the database is locked")

    for call in ("get_model_version", "get_registered_model"):
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, call, fail)
            with pytest.raises(ValueError, match=r"^the registry couldn't be asked for model 'mortgage': INTERNAL_ERR"):
                registry.get("mortgage", "1")


def test_the_name_of_mlflows_own_experiment_is_refused(registry):
    with pytest.raises(ValueError, match=r"^a model can't be named 'Default': MLflow has an experiment of its own"):
        registry.register("Default", b"model", facts())
    assert registry.models() == []


@pytest.mark.parametrize("group", ["a/", "a/../b", "a//b", "..", "x" * 300])
def test_a_group_of_any_name_can_be_registered(registry, group):
    metrics = {f"recall/town:{group}": 0.5, "recall": 0.9}
    assert registry.register("mortgage", b"model", facts(metrics=metrics)).metrics == metrics


@pytest.mark.parametrize("name", ["", "a/b", "o'neil", "../up", "two words", ".hidden"])
def test_a_name_that_would_not_do_in_an_address_or_a_file_name_is_refused(registry, name):
    with pytest.raises(ValueError, match=r"^a model can't be named "):
        registry.register(name, b"model", facts())
    with pytest.raises(ValueError, match=r"^no model is registered as "):
        registry.versions(name)
    assert registry.models() == []
