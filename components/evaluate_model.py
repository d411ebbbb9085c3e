"""The step that says how good a model is."""

from kfp import dsl

from components.step import step


@step
def evaluate_model(
    model: dsl.Input[dsl.Model],
    test: dsl.Input[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    roc_curve: dsl.Output[dsl.ClassificationMetrics],
    confusion_matrix: dsl.Output[dsl.ClassificationMetrics],
    evaluation: dsl.Output[dsl.Artifact],
    group: str,
) -> None:
    """Score the test rows with the ONNX file, over all and for each group."""
    from pathlib import Path

    import pandas as pd

    from components.science.evaluation import evaluate
    from components.science.onnx_model import OnnxModel

    found = evaluate(OnnxModel(Path(model.path).read_bytes()), pd.read_parquet(test.path), group)
    Path(evaluation.path).write_text(found.model_dump_json(indent=2))
    evaluation.metadata.update(rows=found.rows, positive=found.positive)
    for name, value in found.flat().items():
        metrics.log_metric(name, value)
    if found.roc:
        roc_curve.log_roc_curve(found.roc.false_positive_rate, found.roc.true_positive_rate, found.roc.threshold)
    confusion_matrix.log_confusion_matrix(found.confusion.classes, found.confusion.matrix)
