"""Training a classifier and turning it into an ONNX file that answers the same."""

import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype, is_object_dtype, is_string_dtype
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no types

from components.science.onnx_model import METADATA_KEY, OUTPUTS, About, OnnxModel, to_tensors

Kind = Literal["float", "string"]

OPSET = 18
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Trained:
    """A model file, and by how much its probabilities differ from the original's on the test rows."""

    onnx: bytes
    largest_difference: float


def learn(
    train: pd.DataFrame, test: pd.DataFrame, about: About, *, trees: int, learning_rate: float, seed: int
) -> Trained:
    """Learn `about.target` from the training rows, and prove the ONNX file equal to the original on the test rows.

    The same rows and the same seed give the same bytes.

    Raises:
        ValueError: a setting is out of range, or the ONNX file answers differently.
    """
    if trees < 1 or learning_rate <= 0:
        raise ValueError(
            f"trees is {trees} and learning_rate {learning_rate:g}; trees has to be at least 1, the rate above 0"
        )
    model = _pipeline(about.features, trees, learning_rate, seed)
    # The order in which threads add up would show in the last bits.
    with threadpool_limits(limits=1):
        model.fit(_frame(train, about.features), train[about.target].astype(str))
        onnx = convert(model, about)
        return Trained(onnx, prove_equal(model, onnx, test))


def describe(train: pd.DataFrame, target: str, positive: str, group: str) -> About:
    """What the model is to be: every column is a feature but the target and the protected group.

    Raises:
        ValueError: nothing is left, or a column is neither a number nor a text, has no value, or is named as an output.
    """
    names = [str(name) for name in train.columns if name not in {target, group}]
    if not names:
        raise ValueError(f"the data has no feature column beside {target!r}")
    if taken := sorted(OUTPUTS.intersection(names)):
        raise ValueError(f"a feature can't be named {taken[0]!r}, as an output of every model is: rename the column")
    classes = sorted(train[target].astype(str).unique())
    return About(
        target=target, classes=classes, positive=positive, features={name: _kind(train[name]) for name in names}
    )


def convert(model: Pipeline, about: About) -> bytes:
    """The model as an ONNX file with one input a feature, named as its column is, and `about` in its metadata."""
    types = {"float": FloatTensorType, "string": StringTensorType}
    proto = to_onnx(
        model,
        name=about.target,
        initial_types=[(name, types[kind]([None, 1])) for name, kind in about.features.items()],
        options={id(model): {"zipmap": False}},
        target_opset=OPSET,
    )
    _name_inputs(proto.graph, list(about.features))
    opsets = sorted(proto.opset_import, key=lambda opset: opset.domain)  # skl2onnx has them in a set's order
    del proto.opset_import[:]
    proto.opset_import.extend(opsets)
    entry = proto.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(about.model_dump(), sort_keys=True)
    raw: bytes = proto.SerializeToString(deterministic=True)
    return raw


def _name_inputs(graph: Any, features: list[str]) -> None:
    """The converter turns a name like `loan amount` into `loan_amount`; a caller knows the column's name only."""
    names = dict(zip((given.name for given in graph.input), features, strict=True))
    for given in graph.input:
        given.name = names[given.name]
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]


def prove_equal(model: Pipeline, onnx: bytes, rows: pd.DataFrame) -> float:
    """The largest difference of a probability between model and ONNX file over `rows`.

    Raises:
        ValueError: a label differs, or a probability by more than 1e-5.
    """
    twin = OnnxModel(onnx)
    scores = twin.score(rows)
    frame = _frame(rows, twin.about.features)
    place = list(model.classes_).index(twin.about.positive)
    difference = np.abs(model.predict_proba(frame)[:, place] - scores.positive)
    labels = int((model.predict(frame) != scores.labels).sum())
    off = int((~(difference <= TOLERANCE)).sum())
    if labels or off:
        raise ValueError(
            f"the ONNX model is not the trained one: of {len(rows)} test rows, {labels} get another label and {off} a "
            f"probability that differs by more than {TOLERANCE:g} (at most {np.max(difference):.2g})"
        )
    return float(np.max(difference))


def _kind(column: "pd.Series[Any]") -> Kind:
    if column.isna().all():
        raise ValueError(f"column {column.name!r} has no value in the {len(column)} training rows: leave it out")
    if is_numeric_dtype(column) or is_bool_dtype(column):
        return "float"
    if is_object_dtype(column) or is_string_dtype(column):
        return "string"
    raise ValueError(f"column {column.name!r} is of type {column.dtype}; a feature has to be a number or a text")


def _pipeline(features: dict[str, Kind], trees: int, learning_rate: float, seed: int) -> Pipeline:
    """Unscaled numbers and one-hot categories: with a scaler or native categories the conversion is not faithful."""
    numbers = [name for name, kind in features.items() if kind == "float"]
    texts = [name for name, kind in features.items() if kind == "string"]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = [("numbers", "passthrough", numbers), ("texts", encoder, texts)]
    return Pipeline(
        [
            ("columns", ColumnTransformer([column for column in columns if column[2]])),
            (
                "trees",
                HistGradientBoostingClassifier(
                    max_iter=trees,
                    learning_rate=learning_rate,
                    max_leaf_nodes=8,
                    early_stopping=False,
                    random_state=seed,
                ),
            ),
        ]
    )


def _frame(table: pd.DataFrame, features: dict[str, Kind]) -> pd.DataFrame:
    """The features just as the ONNX file will get them, so that training sees the same 32-bit numbers."""
    return pd.DataFrame({name: values[:, 0] for name, values in to_tensors(table, features).items()})
