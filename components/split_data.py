"""The step that sets test rows aside."""

from kfp import dsl

from components.step import step


@step
def split_data(
    table: dsl.Input[dsl.Dataset],
    train: dsl.Output[dsl.Dataset],
    test: dsl.Output[dsl.Dataset],
    target: str,
    test_share: float,
    seed: int,
) -> None:
    """Set aside a share of the rows for the test, with the classes in equal shares."""
    import pandas as pd

    from components.science.split import split_table

    for artifact, rows in zip(
        (train, test), split_table(pd.read_parquet(table.path), target, test_share, seed), strict=True
    ):
        rows.to_parquet(artifact.path, index=False)
        artifact.metadata.update(table.metadata, rows=len(rows), test_share=test_share, split_seed=seed)
