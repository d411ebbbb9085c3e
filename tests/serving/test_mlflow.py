"""The server on the real registry, with a model as scikit-learn makes them, asked by the client that pipelines use."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from components.services import model_server
from components.services.registry import Facts, Registry

ROWS: dict[str, list[Any]] = {"age": [20.0, 30.0, 40.0, 50.0], "city": ["Rome", "Oslo", "Rome", "Oslo"]}
TABLE = pd.DataFrame(ROWS)


def trained(labels: list[str]) -> Pipeline:
    """A classifier of rows with a number and a category."""
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough")
    return make_pipeline(columns, LogisticRegression()).fit(TABLE, labels)


def as_onnx(model: Pipeline) -> bytes:
    """One input a column, and no zipmap."""
    columns = [("age", FloatTensorType([None, 1])), ("city", StringTensorType([None, 1]))]
    return bytes(to_onnx(model, initial_types=columns, options={"zipmap": False}).SerializeToString())


def register(registry: Registry, content: bytes) -> str:
    """A new version; its number."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    facts = Facts(digest=digest, data_digest="", data_uri="", code_commit="", run_id="")
    return registry.register("loans", content, facts).version


@pytest.fixture
def registry(tracking_uri: str) -> Registry:
    """Has `loans` in version 1, its champion."""
    registry = Registry(tracking_uri)
    registry.promote("loans", register(registry, as_onnx(trained(["no", "yes", "yes", "no"]))))
    return registry


@pytest.fixture
def url(tracking_uri: str, registry: Registry) -> Iterator[str]:
    """A server of its own process."""
    command = [sys.executable, "-m", "modelyard.serving", "--tracking-uri", tracking_uri]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        try:
            yield next(line for line in server.stderr if " ready at " in line).rpartition(" ")[2].strip()
        finally:
            server.terminate()
            server.communicate(timeout=30)
    assert server.returncode == 0


def test_a_registered_champion_answers_as_the_original_until_a_sound_version_is_loaded(
    url: str, registry: Registry, tmp_path: Path
) -> None:
    original = trained(["no", "yes", "yes", "no"])
    answer = model_server.infer(url, "loans", ROWS)
    assert answer["label"] == list(original.predict(TABLE))
    np.testing.assert_allclose(answer["probabilities"], original.predict_proba(TABLE), atol=1e-5)

    another = trained(["no", "no", "yes", "yes"])
    version = register(registry, as_onnx(another))
    files = {file: file.read_bytes() for file in tmp_path.rglob("model.onnx")}
    for file, content in files.items():
        file.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match=r"was changed on disk.*version 1 goes on answering"):
        model_server.load(url, "loans", version)
    assert model_server.infer(url, "loans", ROWS) == answer

    for file, content in files.items():
        file.write_bytes(content)
    model_server.load(url, "loans", version)
    assert model_server.infer(url, "loans", ROWS)["label"] == list(another.predict(TABLE))
