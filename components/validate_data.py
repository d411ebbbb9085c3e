"""The step that holds a table against its schema."""

from kfp import dsl

from components.step import step


@step
def validate_data(
    table: dsl.Input[dsl.Dataset],
    valid: dsl.Output[dsl.Dataset],
    schema: str,
    target: str,
    positive: str,
    group: str,
) -> None:
    """Pass on the table in the schema's types; refuse one that breaks a rule of the schema file."""
    import pandas as pd

    from components.science.table import decode, read_bytes, without_secrets
    from components.science.validation import read_schema, validate_table

    where = without_secrets(schema)
    wanted = read_schema(decode(read_bytes(schema), where), where)
    rows = validate_table(pd.read_parquet(table.path), wanted, target, positive, group)
    rows.to_parquet(valid.path, index=False)
    valid.metadata.update(table.metadata)
