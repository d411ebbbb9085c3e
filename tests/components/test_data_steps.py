"""Ingest, validate, split."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kfp import dsl

from components.ingest_data import ingest_data
from components.split_data import split_data
from components.validate_data import validate_data
from tests.components.conftest import COLUMNS, DATA, SCHEMA

DIGEST = "sha256:f3fc4072a77b05bedf36168dec3edbf38ab4b19a8238c3d8f6064bbfeeab734b"


@pytest.fixture
def output(tmp_path):
    return dsl.Dataset(uri=str(tmp_path / "output"))


def changed(tmp_path: Path, **columns: Any) -> dsl.Dataset:
    """The mortgage table with some columns set, as a step's input."""
    path = tmp_path / "changed"
    pd.read_csv(DATA).assign(**columns).to_parquet(path)
    return dsl.Dataset(uri=str(path))


def test_the_tables_version_is_the_digest_of_the_files_bytes(table):
    assert table.metadata == {"digest": DIGEST, "rows": 2380, "uri": DATA}
    assert pd.read_parquet(table.path).shape == (2380, 14)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", "the file {path} is empty"),
        (b"deny,a\n", "{path} has a header and no row"),
        (b"deny,a\nno,\xff\n", "{path} is not UTF-8: byte 0xff at offset 10, line 2; save it as UTF-8"),
        (b"deny,a\nno,1\nye", "{path} is truncated or ragged: line 3 has 1 field, the header has 2"),
        (b"PAR1 and no more", "the Parquet file {path} is truncated: its footer is missing after 16 bytes"),
        (b"denied,a\nno,1\n", "the data has no target column 'deny': did you mean 'denied'?"),
    ],
    ids=["empty", "no row", "not UTF-8", "truncated CSV", "truncated Parquet", "no target"],
)
def test_a_bad_file_is_refused_in_one_sentence_and_nothing_is_written(tmp_path, output, raw, sentence):
    path = tmp_path / "bad.csv"
    path.write_bytes(raw)
    with pytest.raises(ValueError) as error:  # noqa: PT011  compared below
        ingest_data.python_func(table=output, data=str(path), target="deny")
    assert str(error.value) == sentence.format(path=path)
    assert [file.name for file in tmp_path.iterdir()] == ["bad.csv"]


def test_a_file_that_is_missing_is_refused(tmp_path, output):
    with pytest.raises(ValueError, match=f"^there is no file at {tmp_path}/gone.csv$"):
        ingest_data.python_func(table=output, data=f"{tmp_path}/gone.csv", target="deny")


def test_a_valid_table_passes_with_its_version(table, valid):
    assert valid.metadata == table.metadata
    assert pd.read_parquet(valid.path).equals(pd.read_csv(DATA, float_precision="round_trip"))


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"deny": "no"}, "the target 'deny' has only the class 'no'; a model that tells two classes apart needs two"),
        ({"pirat": None}, "the data breaks a rule of its schema: column 'pirat' is missing in all 2380 rows"),
        (
            {"mhist": [9, 8] + [1] * 2378},
            "the data breaks a rule of its schema: column 'mhist', rule `most 4`: 2 rows (first row 1: 9)",
        ),
        (
            {"income": 1},
            "the data breaks a rule of its schema: column 'income' is not in it (there is 'afam', 'chist', 'condomin', "
            "'deny', 'hirat', 'hschool', 'insurance', 'lvrat' and 6 more)",
        ),
    ],
    ids=["one class", "all missing", "out of range", "unknown column"],
)
def test_a_table_that_breaks_a_rule_is_refused_and_nothing_is_written(tmp_path, output, columns, sentence):
    with pytest.raises(ValueError) as error:  # noqa: PT011  compared below
        validate_data.python_func(table=changed(tmp_path, **columns), valid=output, schema=SCHEMA, **COLUMNS)
    assert str(error.value) == sentence
    assert not (tmp_path / "output").exists()


def test_a_schema_file_that_is_missing_or_wrong_is_refused(tmp_path, table, output):
    with pytest.raises(ValueError, match=f"^there is no file at {tmp_path}/schema.yaml$"):
        validate_data.python_func(table=table, valid=output, schema=f"{tmp_path}/schema.yaml", **COLUMNS)
    (tmp_path / "schema.yaml").write_text("columns: {deny: {typ: text}}")
    with pytest.raises(ValueError, match=r"schema.yaml is wrong: .*unknown key columns.deny.typ: did you mean 'type'"):
        validate_data.python_func(table=table, valid=output, schema=f"{tmp_path}/schema.yaml", **COLUMNS)


def test_both_halves_say_how_they_were_split_and_of_what_data(halves):
    train, test = halves
    split = {"digest": DIGEST, "uri": DATA, "test_share": 0.25, "split_seed": 0}
    assert (train.metadata, test.metadata) == (split | {"rows": 1785}, split | {"rows": 595})
    assert len(pd.read_parquet(test.path)) == 595


def test_a_share_out_of_range_is_refused(valid, output):
    with pytest.raises(ValueError, match="test_share is 2; it has to lie between 0 and 1"):
        split_data.python_func(table=valid, train=output, test=output, target="deny", test_share=2.0, seed=0)
