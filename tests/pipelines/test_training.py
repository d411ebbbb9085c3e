from pathlib import Path

import pytest
import yaml
from kfp import compiler

import pipelines

GOLDEN = Path(__file__).with_name("training.yaml")
RENEW = ".venv/bin/kfp dsl compile --py pipelines/training.py --output tests/pipelines/training.yaml"


@pytest.fixture
def compiled(tmp_path):
    compiler.Compiler().compile(pipelines.load("training"), str(tmp_path / "training.yaml"))
    return yaml.safe_load((tmp_path / "training.yaml").read_text())


def test_the_compiled_pipeline_is_the_one_that_was_reviewed(compiled):
    assert compiled == yaml.safe_load(GOLDEN.read_text()), f"if the change is meant, review the difference of: {RENEW}"


def test_what_reads_or_changes_the_world_outside_is_never_cached(compiled):
    tasks = compiled["root"]["dag"]["tasks"]
    cached = {name for name, task in tasks.items() if task["cachingOptions"].get("enableCache")}
    assert cached == {"split-data", "train-model", "evaluate-model", "gate"}


def test_nothing_is_registered_before_the_gate_has_passed(compiled):
    assert "gate" in compiled["root"]["dag"]["tasks"]["register-model"]["dependentTasks"]


def test_no_address_is_compiled_in(compiled):
    parameters = compiled["root"]["inputDefinitions"]["parameters"]
    assert "defaultValue" not in parameters["tracking_uri"]
    assert parameters["serving_url"]["defaultValue"] == ""


def test_all_steps_run_in_the_one_image_and_install_nothing(compiled):
    for name, executor in compiled["deploymentSpec"]["executors"].items():
        assert executor["container"]["image"] == "modelyard/components:dev", name
        assert "pip" not in " ".join(executor["container"]["command"]), f"{name} would install packages when it runs"
