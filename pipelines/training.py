"""From a table to a model in service: ingest, validate, split, train, evaluate, judge, gate, register, deploy."""

from kfp import dsl

from components.deploy_model import deploy_model
from components.evaluate_model import evaluate_model
from components.gate import gate
from components.ingest_data import ingest_data
from components.judge_model import judge_model
from components.register_model import register_model
from components.split_data import split_data
from components.train_model import train_model
from components.validate_data import validate_data

# Set for the mortgage data. There, a model that only knows how many are denied has a log loss of 0.367.
RULES = {
    "floors": {"roc_auc": 0.7, "recall": 0.1},
    "ceilings": {"log_loss": 0.33, "calibration_error": 0.06},
    "champion": {"metric": "roc_auc", "tolerance": 0.01},
    "groups": {
        "least_rows": 30,
        "floors": {"roc_auc": 0.6},
        "differences": {"selection_rate": 0.25, "recall": 0.4},
    },
}


@dsl.pipeline(name="training", display_name="Training", description=__doc__)
def training(
    data: str,
    schema: str,
    target: str,
    positive: str,
    group: str,
    model_name: str,
    tracking_uri: str,
    serving_url: str = "",
    commit: str = "",
    test_share: float = 0.25,
    trees: int = 100,
    learning_rate: float = 0.05,
    seed: int = 0,
    rules: dict = RULES,  # type: ignore[type-arg]  # kfp takes a plain dict
) -> None:
    """Train a model that tells two classes apart, and put it into service if it passes the rules.

    Args:
        data: the table, CSV or Parquet, by absolute path or URL.
        schema: the schema file of the table, by absolute path or URL.
        target: the column to be predicted.
        positive: the class of the target that the model is to find.
        group: the column of the protected group, which the model never sees; "" if the data has none.
        model_name: the name in the registry and on the model server.
        tracking_uri: the registry.
        serving_url: the model server; without one the model is promoted in the registry only.
        commit: the commit of the code that runs.
        test_share: the share of the rows that is set aside for the test.
        trees: how many trees are grown.
        learning_rate: how much each tree counts.
        seed: the same seed on the same data gives the same model, to the byte.
        rules: what the model has to reach; components/science/rules.py has the shape.
    """
    ingest = ingest_data(data=data, target=target).set_display_name("Ingest data")
    valid = validate_data(
        table=ingest.outputs["table"], schema=schema, target=target, positive=positive, group=group
    ).set_display_name("Validate data")
    split = split_data(table=valid.outputs["valid"], target=target, test_share=test_share, seed=seed).set_display_name(
        "Split data"
    )
    train = train_model(
        train=split.outputs["train"],
        test=split.outputs["test"],
        target=target,
        positive=positive,
        group=group,
        trees=trees,
        learning_rate=learning_rate,
        seed=seed,
    ).set_display_name("Train model")
    evaluate = evaluate_model(model=train.outputs["model"], test=split.outputs["test"], group=group).set_display_name(
        "Evaluate model"
    )
    judge = judge_model(
        evaluation=evaluate.outputs["evaluation"],
        test=split.outputs["test"],
        rules=rules,
        group=group,
        model_name=model_name,
        tracking_uri=tracking_uri,
    ).set_display_name("Judge model")
    passed = gate(report=judge.outputs["report"]).set_display_name("Gate")
    register = register_model(
        model=train.outputs["model"],
        table=ingest.outputs["table"],
        evaluation=evaluate.outputs["evaluation"],
        report=judge.outputs["report"],
        model_name=model_name,
        tracking_uri=tracking_uri,
        commit=commit,
        run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
    ).set_display_name("Register model")
    register.after(passed)
    deploy = deploy_model(
        version=register.output, model_name=model_name, tracking_uri=tracking_uri, serving_url=serving_url
    ).set_display_name("Deploy model")

    # A file at a path or a URL can change, and so can the champion: what these three read is not in their inputs.
    for task in (ingest, valid, judge):
        task.set_caching_options(enable_caching=False)
    # These two are run for what they do, not for what they return.
    for task in (register, deploy):
        task.set_caching_options(enable_caching=False)
