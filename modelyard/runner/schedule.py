"""In which order, and whether: a run's DAGs, their conditions, loops and retries.

Every task is a coroutine that waits for its upstream tasks, so all that are ready run at once.
"""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from modelyard.runner import ir
from modelyard.runner.conditions import ConditionError, holds, select
from modelyard.runner.ir import Package, PackageError, Value
from modelyard.runner.outcome import Artifact, Outcome, RuntimeState, Values
from modelyard.runner.placeholders import Names, fill_constant

WHEN_COMPLETED = pb.PipelineTaskSpec.TriggerPolicy.ALL_UPSTREAM_TASKS_COMPLETED


@dataclass(frozen=True)
class Place:
    """Where a task stands in a run: its name in its DAG, what people call it, its own id and its parent's."""

    task_id: str
    name: str
    display_name: str
    parent_id: str | None


class Journal(Protocol):
    """Keeps what happens to each task."""

    def started(self, place: Place, inputs: Values) -> None:
        """It runs, with these inputs."""

    def ended(self, place: Place, outcome: Outcome) -> None:
        """It came to this, with or without having run."""


class Steps(Protocol):
    """Executes what is not a DAG."""

    async def execute(self, place: Place, component: Any, inputs: Values) -> Outcome:
        """Run one container or importer to its end; cancelling this call ends it."""


@dataclass(frozen=True)
class Schedule:
    """One run of one package."""

    package: Package
    journal: Journal
    steps: Steps
    names: Names

    async def run(self, parameters: Mapping[str, Value]) -> Outcome:
        """Run the package to its end."""
        return await self._dag(self.package.spec.root.dag, Values(parameters), parent_id=None)

    async def _dag(self, dag: Any, inputs: Values, parent_id: str | None) -> Outcome:
        tasks: dict[str, asyncio.Task[Outcome]] = {}
        async with asyncio.TaskGroup() as group:
            for name in ir.in_order(dag):
                waits_for = {other: tasks[other] for other in ir.upstream(dag.tasks[name])}
                tasks[name] = group.create_task(self._task(name, dag.tasks[name], inputs, waits_for, parent_id))
        return _dag_outcome(dag, {name: task.result() for name, task in tasks.items()})

    async def _task(
        self,
        name: str,
        task: Any,
        dag_inputs: Values,
        waits_for: Mapping[str, asyncio.Task[Outcome]],
        parent_id: str | None,
    ) -> Outcome:
        upstream = {other: await waiting for other, waiting in waits_for.items()}
        place = Place(str(uuid.uuid4()), name, task.task_info.name or name, parent_id)
        return await self._kept(place, self._triggered(place, task, dag_inputs, upstream))

    async def _kept(self, place: Place, work: Awaitable[Outcome]) -> Outcome:
        """What the work of a task comes to, once the journal has it."""
        try:
            outcome = await work
        except asyncio.CancelledError:
            self.journal.ended(place, Outcome(RuntimeState.CANCELED))
            raise
        except (ConditionError, PackageError) as error:
            outcome = Outcome(RuntimeState.FAILED, error=str(error))
        self.journal.ended(place, outcome)
        return outcome

    async def _triggered(self, place: Place, task: Any, dag_inputs: Values, upstream: Mapping[str, Outcome]) -> Outcome:
        if task.trigger_policy.strategy != WHEN_COMPLETED and any(
            outcome.state != RuntimeState.SUCCEEDED for outcome in upstream.values()
        ):
            return Outcome(RuntimeState.SKIPPED)
        component = self.package.component(task)
        inputs = self._inputs(place, task, component, dag_inputs, upstream)
        if task.trigger_policy.condition and not holds(task.trigger_policy.condition, inputs.parameters):
            return Outcome(RuntimeState.SKIPPED)
        self.journal.started(place, inputs)
        iterator = task.WhichOneof("iterator")
        if iterator is None:
            return await self._attempts(place, task, component, inputs)
        return await self._loop(place, task, component, inputs, getattr(task, iterator))

    async def _attempts(self, place: Place, task: Any, component: Any, inputs: Values) -> Outcome:
        policy = task.retry_policy
        pause = policy.backoff_duration.ToTimedelta().total_seconds()
        longest = policy.backoff_max_duration.ToTimedelta().total_seconds()
        outcome = await self._component(place, component, inputs)
        for _ in range(policy.max_retry_count):
            if outcome.state != RuntimeState.FAILED:
                break
            await asyncio.sleep(pause)
            pause = min(pause * (policy.backoff_factor or 1.0), longest or pause)
            outcome = await self._component(place, component, inputs)
        return outcome

    async def _component(self, place: Place, component: Any, inputs: Values) -> Outcome:
        if component.WhichOneof("implementation") == "dag":
            return await self._dag(component.dag, inputs, place.task_id)
        return await self.steps.execute(place, component, inputs)

    async def _loop(self, place: Place, task: Any, component: Any, inputs: Values, iterator: Any) -> Outcome:
        items = _items(iterator, inputs)
        limit = asyncio.Semaphore(task.iterator_policy.parallelism_limit or max(len(items), 1))

        async def one(index: int, item: Any) -> Outcome:
            async with limit:
                mine = _with_item(inputs, iterator.item_input, item)
                turn = Place(
                    str(uuid.uuid4()), f"{place.name}-{index}", f"{place.display_name} [{index}]", place.task_id
                )
                self.journal.started(turn, mine)
                return await self._kept(turn, self._component(turn, component, mine))

        async with asyncio.TaskGroup() as group:
            turns = [group.create_task(one(index, item)) for index, item in enumerate(items)]
        return _loop_outcome([turn.result() for turn in turns], component)

    def _inputs(
        self, place: Place, task: Any, component: Any, dag_inputs: Values, upstream: Mapping[str, Outcome]
    ) -> Values:
        """A task's inputs from its DAG's, its upstream tasks' outputs, constants and defaults."""
        what = f"task {place.name!r}: input"
        looped = getattr(task, task.WhichOneof("iterator") or "parameter_iterator").item_input
        parameters = self._sources(place, task, dag_inputs, upstream)
        for name, definition in component.input_definitions.parameters.items():
            if name in parameters:
                parameters[name] = ir.typed(parameters[name], definition.parameter_type, f"{what} {name!r}")
            elif definition.HasField("default_value"):
                parameters[name] = ir.default(definition)
            elif not definition.is_optional and name != looped:
                raise PackageError(f"{what} {name!r} has no value: {_absence(task.inputs.parameters.get(name))}")
        artifacts: dict[str, Artifact | list[Artifact]] = {}
        for name, source in task.inputs.artifacts.items():
            artifact = _artifact(source, dag_inputs, upstream)
            if artifact is not None:
                artifacts[name] = artifact
            elif not component.input_definitions.artifacts[name].is_optional and name != looped:
                raise PackageError(f"{what} artifact {name!r} is missing: {_absence(source)}")
        return Values(parameters, artifacts)

    def _sources(
        self, place: Place, task: Any, dag_inputs: Values, upstream: Mapping[str, Outcome]
    ) -> dict[str, Value]:
        """The parameters that have a source with a value; constants last, since their placeholders name the others."""
        parameters: dict[str, Value] = {}
        constants: dict[str, Value] = {}
        for name, source in task.inputs.parameters.items():
            if source.WhichOneof("kind") == "runtime_value":
                constants[name] = ir.plain(source.runtime_value.constant)
                continue
            value = _parameter(source, dag_inputs, upstream, self.names)
            if value is not None:
                selector = source.parameter_expression_selector
                parameters[name] = select(selector, value) if selector else value
        names = replace(self.names, pipeline_task_name=place.name, pipeline_task_uuid=place.task_id)
        return parameters | {name: fill_constant(value, parameters, names) for name, value in constants.items()}


def _parameter(source: Any, dag_inputs: Values, upstream: Mapping[str, Outcome], names: Names) -> Value:
    """A parameter's value, None where there is none."""
    match source.WhichOneof("kind"):
        case "component_input_parameter":
            return dag_inputs.parameters.get(source.component_input_parameter)
        case "task_output_parameter":
            output = source.task_output_parameter
            return upstream[output.producer_task].outputs.parameters.get(output.output_parameter_key)
        case "task_final_status":
            return _final_status(source.task_final_status.producer_task, upstream, names)
        case other:
            raise PackageError(f"input of kind {other!r}; this runner does constants, inputs and task outputs")


def _absence(source: Any) -> str:
    """Why an input has no value."""
    made = source is not None and source.WhichOneof("kind") in ("task_output_parameter", "task_output_artifact")
    return "the task that makes it didn't succeed" if made else "none was given"


def _final_status(producer: str, upstream: Mapping[str, Outcome], names: Names) -> Value:
    outcome = upstream[producer]
    status: dict[str, Value] = {"state": outcome.state.value, "pipelineTaskName": producer}
    status["pipelineJobResourceName"] = names.pipeline_job_resource_name
    status["error"] = {"code": 9, "message": outcome.error} if outcome.error else {}
    return status


def _artifact(source: Any, dag_inputs: Values, upstream: Mapping[str, Outcome]) -> Artifact | list[Artifact] | None:
    if source.WhichOneof("kind") == "component_input_artifact":
        return dag_inputs.artifacts.get(source.component_input_artifact)
    output = source.task_output_artifact
    return upstream[output.producer_task].outputs.artifacts.get(output.output_artifact_key)


def _items(iterator: Any, inputs: Values) -> list[Any]:
    items: Any
    if isinstance(iterator, pb.ArtifactIteratorSpec):
        items = inputs.artifacts.get(iterator.items.input_artifact)
    elif iterator.items.WhichOneof("kind") == "raw":
        items = json.loads(iterator.items.raw)
    else:
        items = inputs.parameters.get(iterator.items.input_parameter)
    if isinstance(items, str):
        try:
            items = json.loads(items)
        except json.JSONDecodeError:
            raise PackageError(f"a loop runs over {ir.shown(items)}; a list is wanted") from None
    if not isinstance(items, list):
        raise PackageError(f"a loop runs over {ir.shown(items)}; a list is wanted")
    return items


def _with_item(inputs: Values, name: str, item: Any) -> Values:
    if isinstance(item, Artifact):
        return Values(inputs.parameters, {**inputs.artifacts, name: item})
    return Values({**inputs.parameters, name: item}, inputs.artifacts)


def _loop_outcome(turns: list[Outcome], component: Any) -> Outcome:
    """A loop's outputs are lists, in the order of its items."""
    made = [turn.outputs for turn in turns if turn.state == RuntimeState.SUCCEEDED]
    declared = component.output_definitions
    parameters: dict[str, Value] = {
        name: [values.parameters[name] for values in made if name in values.parameters] for name in declared.parameters
    }
    artifacts: dict[str, Artifact | list[Artifact]] = {}
    for name in declared.artifacts:
        collected: list[Artifact] = []
        for values in made:
            if name in values.artifacts:
                artifact = values.artifacts[name]
                collected += artifact if isinstance(artifact, list) else [artifact]
        artifacts[name] = collected
    return _with_errors(Values(parameters, artifacts), turns)


def _dag_outcome(dag: Any, outcomes: Mapping[str, Outcome]) -> Outcome:
    """A DAG's outputs: of several producers (`dsl.OneOf`) the one that ran."""
    parameters: dict[str, Value] = {}
    for name, output in dag.outputs.parameters.items():
        one_of = output.WhichOneof("kind") == "value_from_oneof"
        selectors = output.value_from_oneof.parameter_selectors if one_of else [output.value_from_parameter]
        for selector in selectors:
            made = outcomes[selector.producer_subtask].outputs.parameters
            if selector.output_parameter_key in made:
                parameters[name] = made[selector.output_parameter_key]
                break
    artifacts: dict[str, Artifact | list[Artifact]] = {}
    for name, output in dag.outputs.artifacts.items():
        for selector in output.artifact_selectors:
            found = outcomes[selector.producer_subtask].outputs.artifacts
            if selector.output_artifact_key in found:
                artifacts[name] = found[selector.output_artifact_key]
                break
    return _with_errors(Values(parameters, artifacts), list(outcomes.values()))


def _with_errors(outputs: Values, parts: list[Outcome]) -> Outcome:
    failed = [part for part in parts if part.state == RuntimeState.FAILED]
    if failed:
        return Outcome(RuntimeState.FAILED, outputs, next((part.error for part in failed if part.error), ""))
    return Outcome(RuntimeState.SUCCEEDED, outputs)
