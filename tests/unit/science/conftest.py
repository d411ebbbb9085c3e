"""The mortgage data, and one model of it."""

from pathlib import Path

import pytest

from components.science.evaluation import evaluate
from components.science.onnx_model import OnnxModel
from components.science.split import split_table
from components.science.table import parse_table, read_bytes
from components.science.training import describe, learn
from components.science.validation import read_schema

MORTGAGE = Path(__file__).parents[3] / "data" / "mortgage"


@pytest.fixture(scope="session")
def applications():
    return parse_table(read_bytes(str(MORTGAGE / "applications.csv")), "applications.csv")


@pytest.fixture(scope="session")
def schema():
    return read_schema((MORTGAGE / "schema.yaml").read_text(), "schema.yaml")


@pytest.fixture(scope="session")
def halves(applications):
    return split_table(applications, "deny", 0.25, seed=0)


@pytest.fixture(scope="session")
def about(halves):
    return describe(halves[0], "deny", "yes", "afam")


@pytest.fixture(scope="session")
def trained(halves, about):
    return learn(halves[0], halves[1], about, trees=100, learning_rate=0.05, seed=0)


@pytest.fixture(scope="session")
def evaluation(trained, halves):
    return evaluate(OnnxModel(trained.onnx), halves[1], "afam")
