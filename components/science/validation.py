"""Whether a table is what its schema file says."""

from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pandera.pandas as pa
import yaml
from pandera.errors import SchemaErrors
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from components.science.table import need_column
from components.spelling import did_you_mean


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(Strict):
    """What one column may hold."""

    type: Literal["number", "whole", "text"]
    least: float | None = None
    most: float | None = None
    allowed: Annotated[list[str], Field(min_length=1)] | None = None
    nullable: bool = False

    @model_validator(mode="after")
    def rules_fit_the_type(self) -> "Column":
        if self.type == "text" and (self.least is not None or self.most is not None):
            raise ValueError("`least` and `most` are for numbers; a text column takes `allowed`")
        if self.type != "text" and self.allowed is not None:
            raise ValueError("`allowed` is for text; a number takes `least` and `most`")
        return self


class TableSchema(Strict):
    """Every column of a table; no other is allowed in it."""

    columns: Annotated[dict[str, Column], Field(min_length=1)]


def read_schema(text: str, where: str) -> TableSchema:
    """The schema in YAML `text`; `where` names the file in errors.

    Raises:
        ValueError: the file is not YAML or not a schema.
    """
    try:
        return TableSchema.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ValueError(f"the schema {where} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        problems = "; ".join(_problem(detail["loc"], detail["type"], detail["msg"]) for detail in error.errors())
        raise ValueError(f"the schema {where} is wrong: {problems}") from error


def validate_table(table: pd.DataFrame, schema: TableSchema, target: str, positive: str, group: str) -> pd.DataFrame:
    """The table with the schema's types, if it keeps every rule.

    Args:
        positive: the class of `target` that the model is to find.
        group: the column of the protected group, or "" where the data has none.

    Raises:
        ValueError: names each broken rule, and counts the rows that break it.
    """
    need_column(table, target, "target")
    if group:
        need_column(table, group, "group")
    table = table.reset_index(drop=True)
    problems = _columns_that_differ(table, schema) or _empty_columns(table)
    if not problems:
        table, problems = _typed(table, schema)
    if not problems:
        try:
            table = _to_pandera(schema).validate(table, lazy=True)
        except SchemaErrors as error:
            problems = _broken_rules(error.failure_cases)
    if problems:
        rules = "a rule" if len(problems) == 1 else f"{len(problems)} rules"
        raise ValueError(f"the data breaks {rules} of its schema: {'; '.join(problems)}")
    _check_target(table[target], positive)
    return table


def _columns_that_differ(table: pd.DataFrame, schema: TableSchema) -> list[str]:
    found, wanted = [str(name) for name in table.columns], list(schema.columns)
    unknown = [f"column {name!r} is not in it ({did_you_mean(name, wanted)})" for name in found if name not in wanted]
    return unknown + [f"column {name!r} is missing" for name in wanted if name not in found]


def _empty_columns(table: pd.DataFrame) -> list[str]:
    return [f"column {name!r} is missing in all {len(table)} rows" for name in table if table[name].isna().all()]


def _typed(table: pd.DataFrame, schema: TableSchema) -> tuple[pd.DataFrame, list[str]]:
    """The columns in the schema's types and order, and the columns that hold something else."""
    columns, problems = {}, []
    for name, column in schema.columns.items():
        found = table[name]
        if column.type == "text":
            columns[name] = found.convert_dtypes().astype("string").astype("object").mask(found.isna(), np.nan)
            continue
        numbers = pd.to_numeric(found, errors="coerce").astype("float64")
        wrong = found.notna() & ~np.isfinite(numbers)
        if column.type == "whole":
            wrong |= numbers.notna() & (numbers % 1 != 0)
        if wrong.any():
            problems.append(_broken(name, column.type, found[wrong]))
        whole = column.type == "whole" and not problems and numbers.notna().all()
        columns[name] = numbers.astype("int64") if whole else numbers
    return pd.DataFrame(columns), problems


def _to_pandera(schema: TableSchema) -> pa.DataFrameSchema:
    columns = {}
    for name, column in schema.columns.items():
        checks = []
        if column.least is not None:
            checks.append(pa.Check.ge(column.least, error=f"least {column.least:g}"))
        if column.most is not None:
            checks.append(pa.Check.le(column.most, error=f"most {column.most:g}"))
        if column.allowed is not None:
            checks.append(pa.Check.isin(column.allowed, error=f"allowed {', '.join(column.allowed)}"))
        columns[name] = pa.Column(None, checks, nullable=column.nullable)
    return pa.DataFrameSchema(columns, strict=True)


def _broken_rules(failures: pd.DataFrame) -> list[str]:
    cases = failures.groupby(["column", "check"], sort=False)
    return [
        _broken(str(column), str(rule).replace("not_nullable", "not missing"), rows.set_index("index")["failure_case"])
        for (column, rule), rows in cases
    ]


def _broken(column: str, rule: str, cases: "pd.Series[Any]") -> str:
    rows = "1 row" if len(cases) == 1 else f"{len(cases)} rows"
    first = cases.tolist()[0]
    found = "" if pd.isna(first) else f": {first!r}"
    return f"column {column!r}, rule `{rule}`: {rows} (first row {cases.index[0] + 1}{found})"


def _check_target(target: "pd.Series[Any]", positive: str) -> None:
    if missing := int(target.isna().sum()):
        raise ValueError(f"the target {target.name!r} is missing in {missing} of {len(target)} rows; drop those rows")
    classes = sorted(target.astype(str).unique())
    if len(classes) != 2:
        found = f"only the class {classes[0]!r}" if len(classes) == 1 else f"{len(classes)} classes"
        raise ValueError(f"the target {target.name!r} has {found}; a model that tells two classes apart needs two")
    if positive not in classes:
        raise ValueError(f"the target {target.name!r} has no class {positive!r}: {did_you_mean(positive, classes)}")


def _problem(where: tuple[int | str, ...], kind: str, message: str) -> str:
    """One of pydantic's complaints, with the place and what to do about the two usual slips."""
    place = ".".join(map(str, where)) or "the file"
    if kind == "extra_forbidden":
        known = Column.model_fields if len(where) > 1 else TableSchema.model_fields
        return f"unknown key {place}: {did_you_mean(str(where[-1]), known)}"
    if kind == "string_type" and "allowed" in where:
        return f"{place}: write the value in quotes, because YAML reads a bare yes, no or number as something else"
    return f"{place}: {message}"
