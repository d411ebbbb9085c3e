"""The step that takes in a table."""

from kfp import dsl

from components.step import step


@step
def ingest_data(table: dsl.Output[dsl.Dataset], data: str, target: str) -> None:
    """Read a CSV or Parquet file by absolute path or URL; the digest of its bytes is the data's version."""
    from components.science.table import digest, need_column, parse_table, read_bytes, without_secrets

    raw = read_bytes(data)
    rows = parse_table(raw, data)
    need_column(rows, target, "target")
    rows.to_parquet(table.path, index=False)
    table.metadata.update(digest=digest(raw), rows=len(rows), uri=without_secrets(data))
