from typing import Any

import pandas as pd
import pytest

from components.science.validation import read_schema, validate_table

SCHEMA = read_schema(
    """
columns:
  deny: {type: text, allowed: ["no", "yes"]}
  ratio: {type: number, least: 0, most: 4}
  history: {type: whole, least: 1, most: 6}
  note: {type: text, nullable: true}
""",
    "schema.yaml",
)


def table(**columns: Any) -> pd.DataFrame:
    good = {"deny": ["no", "yes", "no"], "ratio": [0.1, 0.2, 0.3], "history": [1, 2, 6], "note": ["a", None, "b"]}
    return pd.DataFrame(good | columns)


def refused(rows: pd.DataFrame, positive: str = "yes", group: str = "") -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011  the caller looks at the sentence
        validate_table(rows, SCHEMA, "deny", positive, group)
    return str(error.value)


def wrong_schema(text: str) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011  the caller looks at the sentence
        read_schema(text, "schema.yaml")
    return str(error.value)


def test_each_broken_rule_is_named_and_its_rows_are_counted():
    assert refused(table(deny=["no", "maybe", None], ratio=[0.1, 9.0, 5.0], history=[0, 2, 3])) == (
        "the data breaks 4 rules of its schema: "
        "column 'deny', rule `not missing`: 1 row (first row 3); "
        "column 'deny', rule `allowed no, yes`: 1 row (first row 2: 'maybe'); "
        "column 'ratio', rule `most 4`: 2 rows (first row 2: 9.0); "
        "column 'history', rule `least 1`: 1 row (first row 1: 0)"
    )


def test_a_value_of_another_type_is_refused_and_not_rounded():
    assert refused(table(ratio=["0.1", "high", "inf"], history=[1, 2.5, 3])) == (
        "the data breaks 2 rules of its schema: "
        "column 'ratio', rule `number`: 2 rows (first row 2: 'high'); "
        "column 'history', rule `whole`: 1 row (first row 2: 2.5)"
    )


def test_a_column_that_is_missing_or_unknown_is_named():
    rows = table().rename(columns={"ratio": "ration"})
    assert refused(rows) == (
        "the data breaks 2 rules of its schema: column 'ration' is not in it (did you mean 'ratio'?); "
        "column 'ratio' is missing"
    )


def test_a_column_without_any_value_is_refused_even_where_values_may_be_missing():
    assert refused(table(note=[None] * 3)) == (
        "the data breaks a rule of its schema: column 'note' is missing in all 3 rows"
    )


def test_one_class_is_nothing_to_learn_and_three_are_too_many():
    assert refused(table(deny=["no"] * 3)) == (
        "the target 'deny' has only the class 'no'; a model that tells two classes apart needs two"
    )
    with pytest.raises(ValueError, match="the target 'note' is missing in 1 of 3 rows"):
        validate_table(table(), SCHEMA, "note", "a", "")
    with pytest.raises(ValueError, match="the target 'history' has 3 classes"):
        validate_table(table(), SCHEMA, "history", "1", "")


def test_a_class_group_or_target_that_is_not_there_is_refused_with_the_near_one():
    assert refused(table(), positive="Yes") == "the target 'deny' has no class 'Yes': did you mean 'yes'?"
    assert refused(table(), group="notes") == "the data has no group column 'notes': did you mean 'note'?"
    assert refused(table().drop(columns="deny")).startswith("the data has no target column 'deny'")


def test_values_come_out_in_the_schemas_types_and_the_columns_in_its_order():
    rows = table(ratio=[1, 2, 3], history=["1", "2", "3"], note=[1, None, 2])[["note", "history", "ratio", "deny"]]
    valid = validate_table(rows, SCHEMA, "deny", "yes", "")
    assert {name: str(kind) for name, kind in valid.dtypes.items()} == {
        "deny": "object",
        "ratio": "float64",
        "history": "int64",
        "note": "object",
    }
    assert valid.note.dropna().tolist() == ["1", "2"]


def test_rows_are_counted_from_one_whatever_the_index_of_the_table():
    rows = table(ratio=[0.1, 0.2, 9.0])
    rows.index = pd.Index([70, 80, 90])
    assert "first row 3" in refused(rows)


def test_a_slip_in_the_schema_is_refused_with_the_right_name():
    assert wrong_schema("colums: {}") == (
        "the schema schema.yaml is wrong: columns: Field required; unknown key colums: did you mean 'columns'?"
    )
    assert wrong_schema("columns: {a: {type: number, min: 1}}").startswith(
        "the schema schema.yaml is wrong: unknown key columns.a.min: there is "
    )
    assert "columns.a.type: Input should be 'number', 'whole' or 'text'" in wrong_schema("columns: {a: {type: float}}")


def test_a_bare_yes_in_the_schema_is_explained():
    assert "columns.a.allowed.0: write the value in quotes" in wrong_schema("columns: {a: {type: text, allowed: [no]}}")


def test_a_rule_that_does_not_fit_its_type_is_refused():
    assert "a text column takes `allowed`" in wrong_schema("columns: {a: {type: text, least: 1}}")
    assert "a number takes `least` and `most`" in wrong_schema('columns: {a: {type: whole, allowed: ["1"]}}')


@pytest.mark.parametrize("text", ["", "[1, 2]", "columns: {}", "a: ["])
def test_a_file_that_is_no_schema_is_refused_in_a_sentence(text):
    assert wrong_schema(text).startswith("the schema schema.yaml is ")
    assert "\n" not in wrong_schema(text)
