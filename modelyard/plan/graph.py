"""The resources of a Pulumi program: it runs in this process, with no engine, no network and no credentials.

Pulumi's SDK talks to its engine through one object, the resource monitor. `Recorder` is such an object: it writes down
what is registered and answers as AWS would, as far as that can be known beforehand. Everything else is Pulumi's own.
"""

import asyncio
import gc
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, TypeVarTuple

import pulumi
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.config import set_all_config
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.rpc import UNKNOWN as WIRE_UNKNOWN

from modelyard.plan import outputs

SECRET = "[secret]"  # noqa: S105 stands where a secret was
UNKNOWN = "[unknown]"
STACK = "pulumi:pulumi:Stack"
REFERENCE = "pulumi:pulumi:StackReference"
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 how the wire marks a secret, not one


_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Resource:
    """One resource as the program registered it: inputs in Pulumi's camel case, without secrets."""

    urn: str
    type: str
    name: str
    parent: str
    inputs: dict[str, Any]
    dependencies: tuple[str, ...]
    property_dependencies: dict[str, tuple[str, ...]]
    protect: bool
    retain_on_delete: bool
    provider: str
    custom: bool
    secrets: frozenset[str]
    id: str = ""
    outputs: dict[str, Any] = field(default_factory=dict)
    """What AWS adds to the inputs, as far as it can be known."""


@dataclass(frozen=True)
class Graph:
    """All resources of a stack in the order in which its program makes them, and what the stack exports."""

    stack: str
    resources: tuple[Resource, ...]
    outputs: dict[str, Any]


def record(
    program: Callable[[], object],
    *,
    project: str,
    stack: str,
    config: Mapping[str, Any],
    references: Mapping[str, Mapping[str, Any]] | None = None,
) -> Graph:
    """Run the program to its end and return what it registered; what it raises comes out as it is.

    `references` are the outputs of other stacks, by name.
    """
    words = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    recorder = Recorder(project, stack, words, references or {})
    # Pulumi keeps its settings in context variables, so that a thread of its own leaves nothing behind.
    with _without_overhead(), ThreadPoolExecutor(max_workers=1) as thread:
        order = thread.submit(_run, program, recorder).result()
    return Graph(stack, tuple(recorder.resources[urn] for urn in order if urn in recorder.resources), recorder.outputs)


@contextmanager
def _without_overhead() -> Iterator[None]:
    """Nothing looks for garbage while all that is made is kept, and for each resource's place in the source."""
    collecting, limit = gc.isenabled(), getattr(sys, "tracebacklimit", None)
    gc.disable()
    sys.tracebacklimit = 1  # Pulumi notes the call stack with each resource
    try:
        yield
    finally:
        del sys.tracebacklimit
        if limit is not None:
            sys.tracebacklimit = limit
        if collecting:
            gc.enable()


def _run(program: Callable[[], object], recorder: "Recorder") -> list[str]:
    """The URNs in the order in which the program makes its resources: they are registered in any order."""
    pulumi.runtime.configure(
        pulumi.runtime.Settings(project=recorder.project, stack=recorder.stack, monitor=recorder, dry_run=True)
    )
    set_all_config(dict(recorder.config), [])

    made: list[pulumi.Resource] = []
    order: list[str] = []

    async def body() -> None:
        pulumi.runtime.register_stack_transformation(lambda resource: made.append(resource.resource))
        program()
        # Left to itself Pulumi goes through all unfinished outputs again each time that one of them is finished.
        while waiting := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(waiting)
        urns = await asyncio.gather(*(resource.urn.future() for resource in made), return_exceptions=True)
        order.extend(urn for urn in urns if isinstance(urn, str))

    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.get_loop().set_exception_handler(lambda *_: None)
        try:
            runner.run(pulumi.runtime.run_in_stack(body))
        except Exception as error:  # noqa: BLE001 raised again
            raise _unwrapped(error) from None
    return order


def _unwrapped(error: BaseException) -> BaseException:
    """Pulumi puts a ValueError or AssertionError into one of the same kind with words of its own."""
    while str(error).startswith("While processing ") and error.__context__ is not None:
        error = error.__context__
    return error


class _Loop(asyncio.SelectorEventLoop):
    """Pulumi sends each request from a thread of a pool; the recorder answers at once."""

    def run_in_executor(
        self, _executor: Executor | None, func: Callable[[*_Arguments], _Result], *args: *_Arguments
    ) -> asyncio.Future[_Result]:
        future: asyncio.Future[_Result] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 handed on to the one who waits
            future.set_exception(error)
        return future


class Recorder:
    """What Pulumi's SDK takes for the engine's resource monitor."""

    def __init__(
        self, project: str, stack: str, config: Mapping[str, str], references: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self.project = project
        self.stack = stack
        self.config = config
        self.references = references
        self.resources: dict[str, Resource] = {}
        self.outputs: dict[str, Any] = {}
        self._place = outputs.place(config)

    def GetDeploymentInfo(self, _: object) -> resource_pb2.DeploymentInfo:  # noqa: N802
        """Resources as inputs are sent as ids, and callbacks into the program are not offered."""
        return resource_pb2.DeploymentInfo(
            supportedFeatures=[
                resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
                resource_pb2.RESOURCE_MONITOR_FEATURE_ALIAS_SPECS,
                resource_pb2.RESOURCE_MONITOR_FEATURE_DELETED_WITH,
                resource_pb2.RESOURCE_MONITOR_FEATURE_REPLACE_WITH,
                resource_pb2.RESOURCE_MONITOR_FEATURE_REPLACEMENT_TRIGGER,
            ]
        )

    def RegisterResource(self, request: Any) -> resource_pb2.RegisterResourceResponse:  # noqa: N802
        """Write it down, and answer with its inputs and what AWS would add to them."""
        urn = self._urn(request)
        if request.type == STACK:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        if urn in self.resources:
            raise ValueError(f"{request.type} {request.name!r} is registered twice: give each a name of its own")
        parent = self.resources.get(request.parent)
        inputs = _fields(request.object)
        provider = request.provider.rpartition("::")[0]
        made = request.custom and outputs.made(
            request.type, request.name, inputs, self._place_of(inputs, self.resources.get(provider))
        )
        self.resources[urn] = Resource(
            urn=urn,
            type=request.type,
            name=request.name,
            parent=parent.urn if parent else "",
            inputs=inputs,
            dependencies=tuple(sorted(request.dependencies)),
            property_dependencies={
                key: tuple(sorted(value.urns)) for key, value in sorted(request.propertyDependencies.items())
            },
            protect=_own_or_inherited(request, "protect", parent.protect if parent else False),
            retain_on_delete=_own_or_inherited(request, "retainOnDelete", parent.retain_on_delete if parent else False),
            provider=provider,
            custom=request.custom,
            secrets=frozenset(key for key, value in request.object.fields.items() if _holds_secret(value)),
            id=made.id if made else "",
            outputs=made.outputs if made else {},
        )
        answer = resource_pb2.RegisterResourceResponse(urn=urn, object=request.object)
        if made:
            answer.id = made.id
            answer.object.update(made.outputs)
            for key in set(request.additionalSecretOutputs) & set(answer.object.fields):
                answer.object.fields[key].CopyFrom(_as_secret(answer.object.fields[key]))
        return answer

    def RegisterResourceOutputs(self, request: Any) -> empty_pb2.Empty:  # noqa: N802
        """Only the stack's own outputs tell anything new."""
        if request.urn.split("::")[2] == STACK:
            self.outputs = _fields(request.outputs)
        return empty_pb2.Empty()

    def ReadResource(self, request: Any) -> resource_pb2.ReadResourceResponse:  # noqa: N802
        """Another stack's outputs; nothing else may be read."""
        if request.type != REFERENCE:
            raise LookupError(
                f"{request.type} {request.name!r} reads {request.id!r} from the cloud: a plan has none, so pass its "
                "values as settings or outputs"
            )
        found = self.references.get(request.id, self.references.get(request.id.rpartition("/")[2]))
        if found is None:
            known = ", ".join(sorted(self.references)) or "none"
            raise LookupError(f"the outputs of stack {request.id!r} are not at hand (at hand: {known})")
        properties = struct_pb2.Struct()
        properties.update({"name": request.id, "outputs": dict(found)})
        properties.update({"secretOutputNames": sorted(key for key, value in found.items() if value == SECRET)})
        return resource_pb2.ReadResourceResponse(urn=self._urn(request), properties=properties)

    def Invoke(self, request: Any) -> Any:  # noqa: N802
        """A lookup would need the cloud, and would make the plan depend on the day."""
        raise LookupError(f"{request.tok} looks something up in the cloud: pass a setting or an output instead")

    Call = Invoke

    def SignalAndWaitForShutdown(self, _: object) -> empty_pb2.Empty:  # noqa: N802
        """Nothing to wait for."""
        return empty_pb2.Empty()

    def _urn(self, request: Any) -> str:
        """As the engine makes it: the types of all parents but the stack's."""
        above = request.parent.split("::")[2] if request.parent else STACK
        kind = request.type if above == STACK else f"{above}${request.type}"
        return f"urn:pulumi:{self.stack}::{self.project}::{kind}::{request.name}"

    def _place_of(self, inputs: Mapping[str, Any], provider: Resource | None) -> outputs.Place:
        place = self._place if provider is None else outputs.place_of_provider(provider.inputs, self._place)
        region = inputs.get("region")
        return place.at(region) if isinstance(region, str) else place


def _own_or_inherited(request: Any, field: str, inherited: bool) -> bool:
    return bool(getattr(request, field)) if request.HasField(field) else inherited


def _fields(struct: Any) -> dict[str, Any]:
    """By name, since the wire has its own order each time, without those that are set to nothing."""
    values = {key: _plain(struct.fields[key]) for key in sorted(struct.fields)}
    return {key: value for key, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    """A value of the wire as Python has it, whole numbers as such, without secrets."""
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value == WIRE_UNKNOWN else value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "struct_value":
        if _is_secret(value):
            return SECRET
        return _fields(value.struct_value)
    if kind == "list_value":
        return [_plain(inner) for inner in value.list_value.values]
    return value.bool_value if kind == "bool_value" else None


def _as_secret(value: Any) -> Any:
    if _is_secret(value):
        return value
    wrapped = struct_pb2.Struct()
    wrapped.update({SIGNATURE: SECRET_SIGNATURE})
    wrapped.fields["value"].CopyFrom(value)
    return struct_pb2.Value(struct_value=wrapped)


def _is_secret(value: Any) -> bool:
    fields = value.struct_value.fields
    return SIGNATURE in fields and fields[SIGNATURE].string_value == SECRET_SIGNATURE


def _holds_secret(value: Any) -> bool:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _is_secret(value) or any(_holds_secret(inner) for inner in value.struct_value.fields.values())
    return kind == "list_value" and any(_holds_secret(inner) for inner in value.list_value.values)
