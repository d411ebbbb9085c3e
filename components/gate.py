"""The step that a refused model does not pass."""

from kfp import dsl

from components.step import step


@step
def gate(report: dsl.Input[dsl.Artifact]) -> None:
    """Fail unless every rule in the report holds. The report is another step's, so it outlives the failure."""
    from pathlib import Path

    from components.science.judging import Report, refuse_unless_passed

    refuse_unless_passed(Report.model_validate_json(Path(report.path).read_text()))
