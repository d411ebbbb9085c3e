"""Changing what is in service, on the servers that the demo kept."""

import httpx

from components.services.registry import Registry
from modelyard.demo import arguments, data_file
from modelyard.runner.state import State
from tests.cli.terminal import modelyard


def test_rollback_and_promote_are_followed_by_the_server_and_refuse_a_changed_file(kept):
    state = State(kept.state)
    registry = Registry(state.tracking_uri)
    url = kept.result["endpoint"]["url"].removesuffix("/infer")

    def in_service() -> tuple[str, list[str]]:
        champion = registry.champion("mortgage")
        return champion.version if champion else "", httpx.get(url).json()["versions"]

    before, _ = in_service()
    given = [word for name, value in arguments(data_file()).items() for word in ("-p", f"{name}={value}")]
    said = modelyard("pipeline", "run", "training", *given, "-p", "trees=110", "--state", kept.state)
    assert said.code == 0, said.err
    after, _ = in_service()
    assert int(after) == int(before) + 1

    said = modelyard("model", "rollback", "mortgage", "--state", kept.state)
    assert said.code == 0, said.err
    assert f"the champion of mortgage is version {before}\n" in said.out
    assert "answers with it" in said.out
    assert in_service() == (before, [before])

    said = modelyard("model", "promote", "mortgage", after, "--state", kept.state, "--json")
    assert said.json["champion"] == after
    assert in_service() == (after, [after])

    file = model_file(kept.state, registry, before)
    real = file.read_bytes()
    file.write_bytes(real + b" and more")
    said = modelyard("model", "rollback", "mortgage", "--state", kept.state)
    assert said.code == 2
    assert f"model 'mortgage' version {before} was changed on disk: its digest is" in said.err
    assert f"version {after} goes on answering" in said.err
    assert "Traceback" not in said.err
    assert in_service() == (after, [after])

    file.write_bytes(real)
    assert modelyard("model", "rollback", "mortgage", "--state", kept.state).code == 0
    assert in_service() == (before, [before])


def model_file(state, registry, version):
    """Where the registry keeps a version's bytes."""
    wanted = registry.model_bytes(registry.get("mortgage", version))
    (found,) = [path for path in (state / "models").rglob("model.onnx") if path.read_bytes() == wanted]
    return found


def test_models_are_listed_and_shown_with_all_that_is_known_of_them(kept, typed):
    listed = typed("model", "list", "--state", kept.state)
    assert listed.out.splitlines()[1].split()[0] == "mortgage"
    (model,) = typed("model", "list", "--json", "--state", kept.state).json["models"]
    assert model["versions"][-1]["digest"] == kept.result["versions"][0]["digest"]
    shown = typed("model", "show", "mortgage", "1", "--state", kept.state).out
    for wanted in ("roc_auc floor", ">= 0.700", kept.result["versions"][0]["digest"], kept.result["runs"][0]["run_id"]):
        assert wanted in shown


def test_unknown_models_and_versions_are_refused_with_the_near_one(kept, refused):
    where = ("--state", kept.state)
    assert refused("model", "show", "mortgag", *where) == (
        "no model is registered as 'mortgag': did you mean 'mortgage'?"
    )
    assert refused("model", "promote", "mortgage", "77", *where).startswith("model 'mortgage' has no version '77': ")


def test_a_folder_without_models_is_told_and_left_alone(tmp_path, typed, refused):
    state = tmp_path / "state"
    assert typed("model", "list", "--state", state).out == f"no model is registered in {state}\n"
    assert typed("model", "list", "--state", state, "--json").json == {"models": []}
    assert refused("model", "rollback", "mortgage", "--state", state) == (
        f"no model is registered in {state}; name another folder with --state, or train one"
    )
    assert not state.exists()
