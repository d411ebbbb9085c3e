"""Runs from submission to end: the schedule at work, each event kept in the store."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.runner import ir, store
from modelyard.runner.ir import Package
from modelyard.runner.outcome import Artifact, Artifacts, Outcome, RuntimeState, Values
from modelyard.runner.packages import Environments
from modelyard.runner.placeholders import Names
from modelyard.runner.schedule import Place, Schedule
from modelyard.runner.steps import LocalSteps, refuse_containers
from modelyard.runner.store import Run, Store, Task, change_state
from modelyard.runner.workers import Workers


@dataclass
class Runs:
    """The runs of one runner; what steps make goes below `artifacts`, what they print below `logs`."""

    store: Store
    workers: Workers
    environments: Environments
    artifacts: Path
    logs: Path
    _active: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def submit(self, run: Run, package: Package) -> None:
        """Start a run that the store holds; `run.parameters` are complete."""
        self._active[run.id] = asyncio.create_task(self._run(run, package))

    def terminate(self, run_id: str) -> None:
        """Ask a run to end; it is CANCELED once its steps are dead. One that has ended stays as it is."""
        active = self._active.get(run_id)
        if active is None or active.done():
            return
        with self.store.session() as session, session.begin():
            change_state(store.get(session, Run, run_id), RuntimeState.CANCELING)
        active.cancel()

    async def finished(self, run_id: str) -> None:
        """Wait for a run's end."""
        if active := self._active.get(run_id):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(active)

    async def stop(self) -> None:
        """End every run, marked as cancelled."""
        for run_id in list(self._active):
            self.terminate(run_id)
        await asyncio.gather(*self._active.values(), return_exceptions=True)

    async def _run(self, run: Run, package: Package) -> None:
        self._mark(run.id, RuntimeState.RUNNING)
        try:
            outcome = await self._schedule(run, package).run(run.parameters)
        except asyncio.CancelledError:
            outcome = Outcome(RuntimeState.CANCELED, error="terminated")
        except Exception as error:
            cause = error
            while isinstance(cause, ExceptionGroup):
                cause = cause.exceptions[0]
            outcome = Outcome(RuntimeState.FAILED, error=f"the runner failed: {type(cause).__name__}: {cause}")
            self._mark(run.id, outcome.state, outcome.error)
            raise
        finally:
            self._active.pop(run.id, None)
        self._mark(run.id, outcome.state, outcome.error)

    def _schedule(self, run: Run, package: Package) -> Schedule:
        root = self.artifacts / _safe(package.name) / run.id
        created = str(store.stamp(run.created_at))
        names = Names(
            pipeline_job_name=run.name,
            pipeline_job_resource_name=run.name,
            pipeline_job_uuid=run.id,
            pipeline_job_create_time_utc=created,
            pipeline_job_schedule_time_utc=created,
            pipeline_root=str(root),
            pipeline_task_name="",
            pipeline_task_uuid="",
        )
        steps = LocalSteps(package, self.workers, self.environments, names, root, self.logs / run.id)
        return Schedule(package, TaskJournal(self.store, run.id), steps, names)

    def _mark(self, run_id: str, state: RuntimeState, error: str = "") -> None:
        with self.store.session() as session, session.begin():
            change_state(store.get(session, Run, run_id), state, error)


@dataclass(frozen=True)
class TaskJournal:
    """Writes what happens to a run's tasks into the store."""

    store: Store
    run_id: str

    def started(self, place: Place, inputs: Values) -> None:
        """It runs, with these inputs."""
        with self.store.session() as session, session.begin():
            session.add(
                self._task(
                    place,
                    state=RuntimeState.RUNNING,
                    started_at=store.now(),
                    parameters=dict(inputs.parameters),
                    inputs=_ids(inputs.artifacts),
                )
            )

    def ended(self, place: Place, outcome: Outcome) -> None:
        """It came to this, with or without having run; the artifacts that it made are kept."""
        with self.store.session() as session, session.begin():
            task = session.get(Task, place.task_id)
            if task is None:
                task = self._task(place)
                session.add(task)
            task.state = outcome.state
            task.error = outcome.error
            task.ended_at = store.now()
            task.results = dict(outcome.outputs.parameters)
            task.outputs = _ids(outcome.outputs.artifacts)
            for artifact in _each(outcome.outputs.artifacts):
                if session.get(store.Artifact, artifact.artifact_id) is None:
                    session.add(
                        store.Artifact(
                            id=artifact.artifact_id,
                            run_id=self.run_id,
                            name=artifact.name,
                            type=artifact.type,
                            uri=artifact.uri,
                            details=dict(artifact.metadata),
                        )
                    )

    def _task(self, place: Place, **known: Any) -> Task:
        return Task(
            id=place.task_id,
            run_id=self.run_id,
            parent_id=place.parent_id,
            name=place.name,
            display_name=place.display_name,
            **known,
        )


def prepare(document: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[Package, dict[str, Any]]:
    """A submission's package and complete parameters.

    Raises:
        PackageError: either is refused.
    """
    package = ir.read_package(document)
    refuse_containers(package)
    return package, dict(ir.arguments(package, given))


def _each(artifacts: Artifacts) -> list[Artifact]:
    return [one for value in artifacts.values() for one in (value if isinstance(value, list) else [value])]


def _ids(artifacts: Artifacts) -> dict[str, Any]:
    return {name: [one.artifact_id for one in _each({name: value})] for name, value in artifacts.items()}


def _safe(name: str) -> str:
    """A pipeline's name as a folder's."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name) or "pipeline"
