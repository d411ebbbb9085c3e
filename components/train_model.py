"""The step that learns."""

from kfp import dsl

from components.step import step


@step
def train_model(
    train: dsl.Input[dsl.Dataset],
    test: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    target: str,
    positive: str,
    group: str,
    trees: int,
    learning_rate: float,
    seed: int,
) -> None:
    """Learn the target from all other columns but the group's, and prove the ONNX file equal on the test rows."""
    from pathlib import Path

    import pandas as pd

    from components.science.table import digest
    from components.science.training import describe, learn

    rows = pd.read_parquet(train.path)
    trained = learn(
        rows,
        pd.read_parquet(test.path),
        describe(rows, target, positive, group),
        trees=trees,
        learning_rate=learning_rate,
        seed=seed,
    )
    Path(model.path).write_bytes(trained.onnx)
    parameters = {"trees": trees, "learning_rate": learning_rate, "seed": seed}
    parameters |= {name: train.metadata[name] for name in ("test_share", "split_seed")}
    model.metadata.update(
        digest=digest(trained.onnx), parameters=parameters, largest_difference=trained.largest_difference
    )
