"""The store's rows as KFP's v2beta1 API writes them."""

from typing import Any

from modelyard.runner.store import Artifact, Experiment, Pipeline, PipelineVersion, Run, Task, stamp

EXPERIMENT_FIELDS = {
    "id": "id",
    "experiment_id": "id",
    "name": "name",
    "display_name": "name",
    "created_at": "created_at",
    "last_run_created_at": "last_run_created_at",
    "storage_state": "storage_state",
}
PIPELINE_FIELDS = {
    "id": "id",
    "pipeline_id": "id",
    "name": "name",
    "display_name": "display_name",
    "description": "description",
    "created_at": "created_at",
}
RUN_FIELDS = {
    "id": "id",
    "run_id": "id",
    "name": "name",
    "display_name": "name",
    "created_at": "created_at",
    "finished_at": "finished_at",
    "state": "state",
    "storage_state": "storage_state",
    "experiment_id": "experiment_id",
}
"""The names that a filter or an order may use, and the columns behind them."""


def experiment(row: Experiment) -> dict[str, Any]:
    """`V2beta1Experiment`."""
    return {
        "experiment_id": row.id,
        "display_name": row.name,
        "description": row.description,
        "created_at": stamp(row.created_at),
        "last_run_created_at": stamp(row.last_run_created_at) or "1970-01-01T00:00:00Z",
        "storage_state": row.storage_state,
    }


def pipeline(row: Pipeline) -> dict[str, Any]:
    """`V2beta1Pipeline`."""
    return {
        "pipeline_id": row.id,
        "name": row.name,
        "display_name": row.display_name,
        "description": row.description,
        "created_at": stamp(row.created_at),
    }


def pipeline_version(row: PipelineVersion) -> dict[str, Any]:
    """`V2beta1PipelineVersion`."""
    return {
        "pipeline_id": row.pipeline_id,
        "pipeline_version_id": row.id,
        "name": row.name,
        "display_name": row.display_name,
        "description": row.description,
        "created_at": stamp(row.created_at),
        "pipeline_spec": row.document,
    }


def run(row: Run, tasks: list[Task]) -> dict[str, Any]:
    """`V2beta1Run`; the tasks are wanted for one run, not for a list."""
    view: dict[str, Any] = {
        "run_id": row.id,
        "experiment_id": row.experiment_id,
        "display_name": row.name,
        "description": row.description,
        "storage_state": row.storage_state,
        "runtime_config": {"parameters": row.given},
        "state": row.state,
        "state_history": row.history,
        "created_at": stamp(row.created_at),
        "scheduled_at": stamp(row.created_at),
        "finished_at": stamp(row.finished_at) or "1970-01-01T00:00:00Z",
        "run_details": {"task_details": [task(one) for one in tasks]},
    }
    if row.pipeline_id:
        view["pipeline_version_reference"] = {
            "pipeline_id": row.pipeline_id,
            "pipeline_version_id": row.pipeline_version_id,
        }
    else:
        view["pipeline_spec"] = row.document
    if row.error:
        view["error"] = _status(row.error)
    return view


def task(row: Task) -> dict[str, Any]:
    """`V2beta1PipelineTaskDetail`; inputs and outputs are artifact ids by name."""
    view: dict[str, Any] = {
        "run_id": row.run_id,
        "task_id": row.id,
        "display_name": row.display_name,
        "create_time": stamp(row.created_at),
        "start_time": stamp(row.started_at or row.created_at),
        "end_time": stamp(row.ended_at),
        "state": row.state,
        "inputs": {name: {"artifact_ids": ids} for name, ids in row.inputs.items()},
        "outputs": {name: {"artifact_ids": ids} for name, ids in row.outputs.items()},
    }
    if row.parent_id:
        view["parent_task_id"] = row.parent_id
    if row.error:
        view["error"] = _status(row.error)
    return view


def artifact(row: Artifact) -> dict[str, Any]:
    """An artifact, its fields named as in KFP."""
    return {"artifact_id": row.id, "name": row.name, "type": row.type, "uri": row.uri, "metadata": row.details}


def _status(message: str) -> dict[str, Any]:
    return {"code": 9, "message": message}
