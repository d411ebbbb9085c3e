import json

import numpy as np
import onnx
import pandas as pd
import pytest

from components.science import training
from components.science.onnx_model import About, OnnxModel, to_tensors
from components.science.training import Trained, convert, describe, learn, prove_equal


def mixed(rows: int = 120) -> pd.DataFrame:
    """Numbers with gaps, texts with gaps, a flag; the target follows the number."""
    random = np.random.default_rng(0)
    ratio = random.random(rows).astype("float64")
    return pd.DataFrame(
        {
            "ratio": np.where(random.random(rows) < 0.1, np.nan, ratio),
            "town": random.choice(np.array(["Å", "b", None], dtype=object), rows),
            "flag": random.random(rows) < 0.5,
            "deny": np.where(ratio > 0.5, "yes", "no"),
        }
    )


def quick(train: pd.DataFrame, test: pd.DataFrame, about: About) -> Trained:
    return learn(train, test, about, trees=5, learning_rate=0.1, seed=0)


def test_the_same_rows_and_seed_give_the_same_bytes_and_other_settings_other_ones(halves, about, trained):
    again = learn(halves[0], halves[1], about, trees=100, learning_rate=0.05, seed=0)
    assert again.onnx == trained.onnx
    assert learn(halves[0], halves[1], about, trees=99, learning_rate=0.05, seed=0).onnx != trained.onnx


def test_the_target_and_the_protected_group_are_no_features(halves, about):
    assert list(about.features) == [name for name in halves[0] if name not in {"deny", "afam"}]


def test_without_a_protected_group_only_the_target_is_left_out(halves):
    assert "afam" in describe(halves[0], "deny", "yes", "").features


def test_the_file_takes_one_named_column_a_feature_and_answers_labels_and_probabilities(trained):
    graph = onnx.load_from_string(trained.onnx).graph

    def shape(value: onnx.ValueInfoProto) -> tuple[str, list[int | None]]:
        kind = value.type.tensor_type
        name = onnx.TensorProto.DataType.Name(kind.elem_type)
        return name, [dimension.dim_value or None for dimension in kind.shape.dim]

    inputs = {value.name: shape(value) for value in graph.input}
    assert inputs["pirat"] == ("FLOAT", [None, 1])
    assert inputs["phist"] == ("STRING", [None, 1])
    assert len(inputs) == 12
    outputs = {value.name: shape(value) for value in graph.output}
    assert outputs == {"label": ("STRING", [None]), "probabilities": ("FLOAT", [None, 2])}


def test_the_file_says_itself_what_it_is_about(trained):
    (entry,) = onnx.load_from_string(trained.onnx).metadata_props
    about = json.loads(entry.value)
    assert entry.key == "modelyard"
    assert (about["target"], about["classes"], about["positive"]) == ("deny", ["no", "yes"], "yes")
    assert about["features"]["chist"] == "float"


def test_the_file_answers_as_the_original_does_on_gaps_and_on_texts_it_has_not_seen():
    train, test = mixed(), mixed().assign(town="never seen")
    assert quick(train, test, describe(train, "deny", "yes", "")).largest_difference < 1e-5


@pytest.fixture
def model_and_file():
    rows = mixed()
    about = describe(rows, "deny", "yes", "")
    model = training._pipeline(about.features, 5, 0.1, 0)
    model.fit(training._frame(rows, about.features), rows["deny"])
    return model, convert(model, about), rows


def test_a_file_with_another_probability_is_refused(model_and_file):
    model, raw, rows = model_and_file
    model["trees"]._baseline_prediction += 0.001
    with pytest.raises(ValueError, match="of 120 test rows, 0 get another label and 120 a probability that differs"):
        prove_equal(model, raw, rows)


def test_a_file_with_other_labels_is_refused_even_where_the_probability_is_the_same(model_and_file):
    model, raw, rows = model_and_file
    proto = onnx.load_from_string(raw)
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.name.endswith("_strings") and set(attribute.strings) == {b"no", b"yes"}:
                attribute.strings[:] = [b"yes", b"no"]
    with pytest.raises(ValueError, match="of 120 test rows, 120 get another label and 0 a probability"):
        prove_equal(model, proto.SerializeToString(), rows)


def test_a_setting_out_of_range_is_refused(halves, about):
    with pytest.raises(ValueError, match=r"trees is 0 and learning_rate 0.1; trees has to be at least 1"):
        learn(halves[0], halves[1], about, trees=0, learning_rate=0.1, seed=0)


def test_a_column_that_is_neither_number_nor_text_is_named():
    rows = mixed().assign(day=pd.Timestamp("2026-01-01"))
    with pytest.raises(ValueError, match="column 'day' is of type datetime64"):
        describe(rows, "deny", "yes", "")


@pytest.mark.parametrize("missing", [np.nan, None])
def test_a_column_whose_only_values_fell_to_the_test_rows_is_named(missing):
    with pytest.raises(ValueError, match=r"^column 'ratio' has no value in the 120 training rows: leave it out$"):
        describe(mixed().assign(ratio=missing), "deny", "yes", "")


def test_a_table_of_nothing_but_the_target_is_refused():
    with pytest.raises(ValueError, match="the data has no feature column beside 'deny'"):
        describe(mixed()[["deny"]], "deny", "yes", "")


def test_an_input_is_named_as_its_column_is_whatever_signs_are_in_it():
    rows = mixed().rename(columns={"ratio": "a b", "flag": "a_b", "town": "städte/x-1.y"})
    model = OnnxModel(quick(rows, rows, describe(rows, "deny", "yes", "")).onnx)
    assert set(model.about.features) == {"a b", "a_b", "städte/x-1.y"}
    assert len(model.score(rows).labels) == len(rows)


@pytest.mark.parametrize("name", ["label", "probabilities"])
def test_a_feature_named_as_an_output_is_refused(name):
    with pytest.raises(ValueError, match=rf"^a feature can't be named '{name}', as an output of every model is"):
        describe(mixed().rename(columns={"ratio": name}), "deny", "yes", "")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda _: b"garbage", "the model's file is no ONNX model: "),
        (lambda raw: raw.replace(b"modelyard", b"modelyurt"), "the model's file has no description of it"),
    ],
)
def test_a_file_that_is_no_model_of_ours_is_refused_in_a_sentence(trained, change, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        OnnxModel(change(trained.onnx))


def test_a_model_can_be_scored_on_rows_with_more_columns_but_not_with_fewer(trained, halves):
    model = OnnxModel(trained.onnx)
    assert len(model.score(halves[1].assign(more=1)).labels) == 595
    with pytest.raises(ValueError, match="the data has no feature column 'pirat': did you mean 'hirat'"):
        model.score(halves[1].drop(columns="pirat"))


def test_the_positive_class_is_found_by_name_and_not_by_place(halves, about):
    flipped = about.model_copy(update={"positive": "no"})
    yes, no = (OnnxModel(quick(halves[0], halves[1], what).onnx).score(halves[1]).positive for what in (about, flipped))
    assert np.allclose(yes + no, 1, atol=1e-6)


def test_a_missing_text_goes_to_the_model_as_the_empty_text():
    tensors = to_tensors(pd.DataFrame({"town": ["a", None, np.nan]}), {"town": "string"})
    assert tensors["town"].tolist() == [["a"], [""], [""]]
