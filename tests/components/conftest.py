"""The steps on real files: each fixture is what the steps before it left, and an empty registry."""

from pathlib import Path

import pytest
from kfp import dsl

from components.evaluate_model import evaluate_model
from components.ingest_data import ingest_data
from components.judge_model import judge_model
from components.split_data import split_data
from components.train_model import train_model
from components.validate_data import validate_data
from pipelines.training import RULES
from tests.services.loopback import serving

MORTGAGE = Path(__file__).parents[2] / "data" / "mortgage"
DATA = str(MORTGAGE / "applications.csv")
SCHEMA = str(MORTGAGE / "schema.yaml")
COLUMNS = {"target": "deny", "positive": "yes", "group": "afam"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="session")
def table(folder):
    table = dsl.Dataset(uri=str(folder / "table"))
    ingest_data.python_func(table=table, data=DATA, target="deny")
    return table


@pytest.fixture(scope="session")
def valid(folder, table):
    valid = dsl.Dataset(uri=str(folder / "valid"))
    validate_data.python_func(table=table, valid=valid, schema=SCHEMA, **COLUMNS)
    return valid


@pytest.fixture(scope="session")
def halves(folder, valid):
    train, test = dsl.Dataset(uri=str(folder / "train")), dsl.Dataset(uri=str(folder / "test"))
    split_data.python_func(table=valid, train=train, test=test, target="deny", test_share=0.25, seed=0)
    return train, test


@pytest.fixture(scope="session")
def model(folder, halves):
    train, test = halves
    model = dsl.Model(uri=str(folder / "model"))
    settings = {"trees": 100, "learning_rate": 0.05, "seed": 0}
    train_model.python_func(train=train, test=test, model=model, **COLUMNS, **settings)
    return model


@pytest.fixture(scope="session")
def evaluated(folder, halves, model):
    """The outputs of the evaluation by name."""
    outputs = {
        "metrics": dsl.Metrics(uri=str(folder / "metrics")),
        "roc_curve": dsl.ClassificationMetrics(uri=str(folder / "roc_curve")),
        "confusion_matrix": dsl.ClassificationMetrics(uri=str(folder / "confusion_matrix")),
        "evaluation": dsl.Artifact(uri=str(folder / "evaluation")),
    }
    evaluate_model.python_func(model=model, test=halves[1], group="afam", **outputs)
    return outputs


@pytest.fixture
def judged(tmp_path, halves, evaluated, tracking_uri):
    """Judge the model by some rules, beside the champion that the registry has now."""

    def judge(rules=RULES):
        report = dsl.Artifact(uri=str(tmp_path / "report"))
        judge_model.python_func(
            evaluation=evaluated["evaluation"],
            test=halves[1],
            report=report,
            rules=rules,
            group="afam",
            model_name="mortgage",
            tracking_uri=tracking_uri,
        )
        return report

    return judge


@pytest.fixture
def loopback():
    """A model server that answers as it is told to."""
    with serving() as server:
        yield server
