"""The step that keeps a model for good."""

from kfp import dsl

from components.step import step


@step
def register_model(
    model: dsl.Input[dsl.Model],
    table: dsl.Input[dsl.Dataset],
    evaluation: dsl.Input[dsl.Artifact],
    report: dsl.Input[dsl.Artifact],
    model_name: str,
    tracking_uri: str,
    commit: str,
    run_id: str,
) -> str:
    """Register the model as a new version and the challenger, with all that is known of it; returns the version."""
    import json
    from pathlib import Path

    from components.science.evaluation import Evaluation
    from components.services.registry import Facts, Registry

    facts = Facts(
        digest=model.metadata["digest"],
        data_digest=table.metadata["digest"],
        data_uri=table.metadata["uri"],
        code_commit=commit,
        run_id=run_id,
        parameters=model.metadata["parameters"],
        metrics=Evaluation.model_validate_json(Path(evaluation.path).read_text()).flat(),
        report=json.loads(Path(report.path).read_text()),
    )
    return Registry(tracking_uri).register(model_name, Path(model.path).read_bytes(), facts).version
