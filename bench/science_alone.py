"""The training pipeline's components called as functions, in one process: what `local_run.py` compares with.

    python bench/science_alone.py FOLDER TRACKING_URI SERVING_URL DATA

Prints the seconds from the first component's start to the last one's end.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from modelyard.runner.zygote import ENVIRONMENT, USUAL


def main() -> None:
    """Import everything that the zygote does and what it must not, then run the nine components once."""
    os.environ.update({name: value for name, value in ENVIRONMENT.items() if name != "_KFP_RUNTIME"})
    for name in (*USUAL, "onnxruntime", "components.services.registry", "components.services.model_server"):
        importlib.import_module(name)
    folder, tracking_uri, serving_url = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    data = json.loads(sys.argv[4])
    from kfp import dsl  # after the environment is set

    from components import (
        deploy_model,
        evaluate_model,
        gate,
        ingest_data,
        judge_model,
        register_model,
        split_data,
        train_model,
        validate_data,
    )
    from pipelines.training import RULES

    def made(name: str, kind: Any = dsl.Artifact) -> Any:
        return kind(name=name, uri=str(folder / name))

    folder.mkdir()
    table, valid, train, test = (made(name, dsl.Dataset) for name in ("table", "valid", "train", "test"))
    model, evaluation, report = made("model", dsl.Model), made("evaluation"), made("report")
    columns = {name: data[name] for name in ("target", "positive", "group")}
    registry = {"model_name": data["model_name"], "tracking_uri": tracking_uri}

    started = time.perf_counter()
    ingest_data.ingest_data.python_func(table=table, data=data["data"], target=data["target"])
    validate_data.validate_data.python_func(table=table, valid=valid, schema=data["schema"], **columns)
    split_data.split_data.python_func(
        table=valid, train=train, test=test, target=data["target"], test_share=0.25, seed=0
    )
    train_model.train_model.python_func(
        train=train, test=test, model=model, trees=100, learning_rate=0.05, seed=0, **columns
    )
    evaluate_model.evaluate_model.python_func(
        model=model,
        test=test,
        group=data["group"],
        metrics=made("metrics", dsl.Metrics),
        roc_curve=made("roc_curve", dsl.ClassificationMetrics),
        confusion_matrix=made("confusion_matrix", dsl.ClassificationMetrics),
        evaluation=evaluation,
    )
    judge_model.judge_model.python_func(
        evaluation=evaluation, test=test, report=report, rules=RULES, group=data["group"], **registry
    )
    gate.gate.python_func(report=report)
    version = register_model.register_model.python_func(
        model=model, table=table, evaluation=evaluation, report=report, commit="", run_id="alone", **registry
    )
    deploy_model.deploy_model.python_func(version=version, serving_url=serving_url, **registry)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
