"""A stand-in for a Pulumi provider plugin: what the engine sees of it. Only tests use it.

A subclass of `StandIn` says what happens in plain Python; this file speaks the engine's protocol, keeps secrets and
unknown values what they are, and makes faults where a test asks for them.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent import futures
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import any_pb2, empty_pb2, struct_pb2
from google.rpc import status_pb2
from pulumi.runtime import rpc
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, resource_pb2, resource_pb2_grpc

UNKNOWN = rpc.UNKNOWN
"""Stands for a value that a preview can't know."""
FAULTS = "MODELYARD_STANDIN_FAULTS"
"""A JSON list of `Fault`s."""
KILLED = 137


@dataclass(frozen=True)
class Secret:
    """A value that the engine keeps encrypted."""

    value: Any


@dataclass(frozen=True)
class Urn:
    """Which resource is meant."""

    text: str

    @property
    def type(self) -> str:
        """The type token."""
        return self.text.split("::")[2].rpartition("$")[2]

    @property
    def name(self) -> str:
        """The logical name."""
        return self.text.split("::", 3)[3]


@dataclass(frozen=True)
class Change:
    """A property that differs; `replace` where the resource can't live on with it."""

    kind: str
    """add, update or delete"""
    replace: bool = False


@dataclass(frozen=True)
class Live:
    """A resource as it is. Without inputs the ones that the engine has stay."""

    id: str
    properties: dict[str, Any]
    inputs: dict[str, Any] | None = None


@dataclass(frozen=True)
class Child:
    """A resource that a component is made of."""

    type: str
    name: str
    inputs: dict[str, Any]


class RefusedError(Exception):
    """Why something can't be done, in one sentence."""


class UnfinishedError(Exception):
    """It was made, and something after that went wrong: the engine remembers it."""

    def __init__(self, made: Live, reason: str) -> None:
        super().__init__(reason)
        self.made = made


@dataclass(frozen=True)
class Fault:
    """What goes wrong, for tests of what comes after.

    `fault` is `error` or `hang` before the operation is done, or `kill` after it was done and before the engine hears
    of it: SIGKILL for the engine, which is this process's parent, and with `program` for its parent too.
    """

    fault: str
    match: str = "*"
    """A glob of the type or of the URN."""
    operation: str = "create"
    nth: int = 1
    """The first such operation of this process that it happens to; it goes on happening after."""
    program: bool = False
    message: str = "a fault that a test asked for"


@dataclass
class Faults:
    """The faults that are asked for, and how often each could have happened."""

    asked: list[Fault] = field(default_factory=list)
    seen: dict[int, int] = field(default_factory=dict)
    cancelled: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of_environment(cls) -> "Faults":
        """Those that the environment variable names."""
        return cls([Fault(**fault) for fault in json.loads(os.environ.get(FAULTS, "[]"))])

    def before(self, urn: Urn, operation: str) -> bool:
        """Raise or hang, or say that the engine has to die after the operation."""
        kill = False
        for index, fault in enumerate(self.asked):
            if fault.operation != operation or not (
                fnmatchcase(urn.type, fault.match) or fnmatchcase(urn.text, fault.match)
            ):
                continue
            with self.lock:
                self.seen[index] = self.seen.get(index, 0) + 1
                due = self.seen[index] >= fault.nth
            if due and fault.fault == "error":
                raise RefusedError(fault.message)
            if due and fault.fault == "hang":
                self.cancelled.wait()
                raise RefusedError("cancelled while it hung")
            kill |= due and fault.fault == "kill"
        return kill

    def kill(self) -> None:
        """End the engine, and the program if a fault says so, as a machine that loses its power would."""
        engine = os.getppid()
        program = _parent(engine)
        os.kill(engine, signal.SIGKILL)
        if any(fault.program for fault in self.asked):
            os.kill(program, signal.SIGKILL)
        os._exit(KILLED)


def from_wire(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Properties of the wire as Python has them: whole numbers as int, secrets as `Secret`."""
    return {key: _read(value) for key, value in struct.fields.items()}


def to_wire(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """The other way; without what is None at the top."""
    struct = struct_pb2.Struct()
    for key, value in properties.items():
        if value is not None:
            struct.fields[key].CopyFrom(_write(value))
    return struct


def bare(value: Any) -> Any:
    """The value without the marks of secrets."""
    if isinstance(value, Secret):
        return bare(value.value)
    if isinstance(value, dict):
        return {key: bare(inner) for key, inner in value.items()}
    return [bare(inner) for inner in value] if isinstance(value, list) else value


def marked(value: Any, like: Any) -> Any:
    """The value, with what is a secret in `like` marked as one."""
    if isinstance(like, Secret):
        return value if isinstance(value, Secret) else Secret(value)
    if isinstance(like, dict) and isinstance(value, dict):
        return {key: marked(inner, like.get(key)) for key, inner in value.items()}
    if isinstance(like, list) and isinstance(value, list):
        return [marked(inner, other) for inner, other in zip(value, like + [None] * len(value), strict=False)]
    return value


def has_unknown(value: Any) -> bool:
    """Whether a preview doesn't know all of it."""
    if isinstance(value, dict):
        return any(has_unknown(inner) for inner in value.values())
    if isinstance(value, list):
        return any(has_unknown(inner) for inner in value)
    return bare(value) == UNKNOWN


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Where two values differ, and how: the path and `add`, `update` or `delete`."""
    if (isinstance(old, dict) and isinstance(new, dict)) or (isinstance(old, list) and isinstance(new, list)):
        before, after = _items(old), _items(new)
        for key in sorted({*before, *after}, key=str):
            inner = f"{path}[{json.dumps(key)}]" if isinstance(key, int) or "." in key else f"{path}.{key}".lstrip(".")
            yield from differences(before.get(key), after.get(key), inner)
    elif old != new:
        yield path, "add" if old is None else "delete" if new is None else "update"


def _items(value: dict[str, Any] | list[Any]) -> dict[Any, Any]:
    return value if isinstance(value, dict) else dict(enumerate(value))


class StandIn(provider_pb2_grpc.ResourceProviderServicer):
    """A provider. Subclasses have the methods in lower case; properties come and go as `from_wire` makes them."""

    package: str
    version: str

    def __init__(self) -> None:
        self.faults = Faults.of_environment()

    def configure(self, settings: dict[str, Any]) -> None:
        """Once, before anything else."""

    def check(self, urn: Urn, old: dict[str, Any], new: dict[str, Any], seed: bytes) -> dict[str, Any]:
        """The inputs with what is added to them. Raises `RefusedError`."""
        raise NotImplementedError

    def diff(self, urn: Urn, id_: str, old: dict[str, Any], state: dict[str, Any], new: dict[str, Any]) -> "Diff":
        """How new inputs differ from old ones."""
        raise NotImplementedError

    def create(self, urn: Urn, inputs: dict[str, Any], preview: bool) -> Live:
        """Make it; in a preview only say what is known."""
        raise NotImplementedError

    def update(
        self, urn: Urn, id_: str, old: dict[str, Any], state: dict[str, Any], new: dict[str, Any], preview: bool
    ) -> dict[str, Any]:
        """Change it in place."""
        raise NotImplementedError

    def read(self, urn: Urn, id_: str, inputs: dict[str, Any], state: dict[str, Any]) -> Live | None:
        """As it is; None if it isn't there. Without inputs and state it is imported."""
        raise NotImplementedError

    def delete(self, urn: Urn, id_: str, inputs: dict[str, Any], state: dict[str, Any]) -> None:
        """Let it go; no error if it has gone."""
        raise NotImplementedError

    def construct(self, type_: str, name: str, inputs: dict[str, Any]) -> list[list[Child]]:
        """What a component is made of; what stands in a later list depends on all of the earlier ones."""
        raise RefusedError("the stand-in has no such component")

    # What the engine calls

    def Handshake(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    def GetPluginInfo(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return plugin_pb2.PluginInfo(version=self.version)

    def GetSchema(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return provider_pb2.GetSchemaResponse(schema=json.dumps({"name": self.package, "version": self.version}))

    def CheckConfig(self, request: Any, _context: Any) -> Any:  # noqa: N802
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, _context: Any) -> Any:  # noqa: N802
        return _diff(
            Diff({path: Change(kind) for path, kind in differences(from_wire(request.olds), from_wire(request.news))})
        )

    def Configure(self, request: Any, context: Any) -> Any:  # noqa: N802
        with _sentences(context, self.package):
            self.configure(bare(from_wire(request.args)))
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def Check(self, request: Any, _context: Any) -> Any:  # noqa: N802
        urn, news = Urn(request.urn), from_wire(request.news)
        try:
            inputs = self.check(urn, bare(from_wire(request.olds)), bare(news), request.randomSeed)
        except RefusedError as error:
            failure = provider_pb2.CheckFailure(reason=f"{urn.type} {urn.name!r}: {error}")
            return provider_pb2.CheckResponse(inputs=request.news, failures=[failure])
        return provider_pb2.CheckResponse(inputs=to_wire(marked(inputs, news)))

    def Diff(self, request: Any, context: Any) -> Any:  # noqa: N802
        urn = Urn(request.urn)
        with _sentences(context, f"{urn.type} {urn.name!r}"):
            old, state, new = (bare(from_wire(one)) for one in (request.old_inputs, request.olds, request.news))
            return _diff(self.diff(urn, request.id, old, state, new))

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        urn, inputs = Urn(request.urn), from_wire(request.properties)
        with _sentences(context, f"{urn.type} {urn.name!r}", inputs):
            kill = not request.preview and self.faults.before(urn, "create")
            made = self.create(urn, bare(inputs), request.preview)
            if kill:
                self.faults.kill()
            return provider_pb2.CreateResponse(id=made.id, properties=to_wire(marked(made.properties, inputs)))

    def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        urn, news, state = Urn(request.urn), from_wire(request.news), from_wire(request.olds)
        with _sentences(context, f"{urn.type} {urn.name!r}", news):
            kill = not request.preview and self.faults.before(urn, "update")
            old = bare(from_wire(request.old_inputs))
            properties = self.update(urn, request.id, old, bare(state), bare(news), request.preview)
            if kill:
                self.faults.kill()
            return provider_pb2.UpdateResponse(properties=to_wire(marked(marked(properties, state), news)))

    def Read(self, request: Any, context: Any) -> Any:  # noqa: N802
        urn, inputs, state = Urn(request.urn), from_wire(request.inputs), from_wire(request.properties)
        with _sentences(context, f"{urn.type} {urn.name!r}"):
            self.faults.before(urn, "read")
            live = self.read(urn, request.id, bare(inputs), bare(state))
            if live is None:
                return provider_pb2.ReadResponse()
            return provider_pb2.ReadResponse(
                id=live.id,
                properties=to_wire(marked(marked(live.properties, state), inputs)),
                inputs=request.inputs if live.inputs is None else to_wire(marked(live.inputs, inputs)),
            )

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        urn = Urn(request.urn)
        with _sentences(context, f"{urn.type} {urn.name!r}"):
            kill = self.faults.before(urn, "delete")
            self.delete(urn, request.id, bare(from_wire(request.old_inputs)), bare(from_wire(request.properties)))
            if kill:
                self.faults.kill()
            return empty_pb2.Empty()

    def Construct(self, request: Any, context: Any) -> Any:  # noqa: N802
        inputs = from_wire(request.inputs)
        with (
            _sentences(context, f"{request.type} {request.name!r}"),
            grpc.insecure_channel(request.monitorEndpoint) as channel,
        ):
            register = _Registrar(request, resource_pb2_grpc.ResourceMonitorStub(channel))
            urn = register.component(inputs).urn
            made: list[dict[str, Any]] | str = UNKNOWN
            if not has_unknown(inputs):
                stages = self.construct(request.type, request.name, bare(inputs))
                made = register.children(urn, stages, self.package, self.version.partition("+")[0])
            state = to_wire({"resources": made})
            register.monitor.RegisterResourceOutputs(
                resource_pb2.RegisterResourceOutputsRequest(urn=urn, outputs=state)
            )
            return provider_pb2.ConstructResponse(urn=urn, state=state)

    def Cancel(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        self.faults.cancelled.set()
        return empty_pb2.Empty()


@dataclass(frozen=True)
class _Registrar:
    """Registers a component and its children at the engine, which asked for it."""

    request: Any
    monitor: Any

    def component(self, inputs: dict[str, Any]) -> Any:
        asked = self.request
        return self._register(
            resource_pb2.RegisterResourceRequest(
                type=asked.type,
                name=asked.name,
                parent=asked.parent,
                object=to_wire(inputs),
                acceptSecrets=True,
                dependencies=asked.dependencies,
                aliasURNs=asked.aliases,
                protect=asked.protect,
                providers=asked.providers,
            )
        )

    def children(self, parent: str, stages: list[list[Child]], package: str, version: str) -> list[dict[str, Any]]:
        """References to them."""
        made: list[Any] = []
        for stage in stages:
            before = [*self.request.dependencies, *(one.urn for one in made)]
            asked = [
                resource_pb2.RegisterResourceRequest(
                    type=child.type,
                    name=child.name,
                    parent=parent,
                    custom=True,
                    object=to_wire(child.inputs),
                    acceptSecrets=True,
                    dependencies=before,
                    protect=self.request.protect,
                    provider=self.request.providers.get(package, ""),
                    version=version,
                )
                for child in stage
            ]
            with futures.ThreadPoolExecutor(16) as pool:
                made += pool.map(self._register, asked)
        return [{rpc._special_sig_key: rpc._special_resource_sig, "urn": one.urn, "id": one.id} for one in made]

    def _register(self, asked: Any) -> Any:
        try:
            return self.monitor.RegisterResource(asked)
        except grpc.RpcError as error:
            raise RefusedError(f"{asked.type} {asked.name!r} was not made: {error.details()}") from error


@dataclass(frozen=True)
class Diff:
    """How a resource differs, by property path, and whether it has to go before its successor comes."""

    changes: Mapping[str, Change]
    delete_first: bool = False


def serve(stand_in: StandIn) -> None:
    """Tell the engine a port, and answer until the engine is gone."""
    server = grpc.server(futures.ThreadPoolExecutor(64), options=[("grpc.max_receive_message_length", 400 << 20)])
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(stand_in, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    engine = os.getppid()
    while os.getppid() == engine:
        time.sleep(0.2)
    os._exit(0)


class _sentences:  # noqa: N801 read as a statement
    """Turns what goes wrong into one sentence that names the resource."""

    def __init__(self, context: Any, what: str, like: Any = None) -> None:
        self.context, self.what, self.like = context, what, like

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if error is None:
            return
        sentence = f"{self.what}: {error if str(error) else type(error).__name__}"
        if isinstance(error, UnfinishedError):
            detail = any_pb2.Any()
            detail.Pack(
                provider_pb2.ErrorResourceInitFailed(
                    id=error.made.id,
                    properties=to_wire(marked(error.made.properties, self.like)),
                    inputs=to_wire(self.like or {}),
                    reasons=[str(error)],
                )
            )
            status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=sentence, details=[detail])
            self.context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        self.context.abort(grpc.StatusCode.UNKNOWN, sentence)


def _diff(found: Diff) -> Any:
    kinds: Mapping[tuple[str, bool], Any] = {
        (kind, replace): getattr(provider_pb2.PropertyDiff, f"{kind.upper()}{'_REPLACE' if replace else ''}")
        for kind in ("add", "update", "delete")
        for replace in (False, True)
    }
    answer = provider_pb2.DiffResponse
    return answer(
        changes=answer.DIFF_SOME if found.changes else answer.DIFF_NONE,
        diffs=sorted({_top(path) for path in found.changes}),
        replaces=sorted({_top(path) for path, change in found.changes.items() if change.replace}),
        deleteBeforeReplace=found.delete_first,
        hasDetailedDiff=True,
        detailedDiff={
            path: provider_pb2.PropertyDiff(kind=kinds[change.kind, change.replace], inputDiff=True)
            for path, change in found.changes.items()
        },
    )


def changes(old: Any, new: Any, replaced: Callable[[str], bool] | Collection[str]) -> dict[str, Change]:
    """The differences of inputs; `replaced` says of which properties a resource does not survive a change."""
    dies = replaced if callable(replaced) else replaced.__contains__
    return {path: Change(kind, dies(_top(path))) for path, kind in differences(old, new)}


def _top(path: str) -> str:
    return path.partition(".")[0].partition("[")[0]


def _read(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        return int(value.number_value) if value.number_value.is_integer() else value.number_value
    if kind == "struct_value":
        fields = value.struct_value.fields
        if fields and rpc._special_sig_key in fields:
            signature = fields[rpc._special_sig_key].string_value
            if signature == rpc._special_secret_sig:
                return Secret(_read(fields["value"]))
        return {key: _read(inner) for key, inner in fields.items()}
    if kind == "list_value":
        return [_read(inner) for inner in value.list_value.values]
    return None if kind == "null_value" else getattr(value, str(kind))


def _write(value: Any) -> struct_pb2.Value:
    if isinstance(value, Secret):
        return _write({rpc._special_sig_key: rpc._special_secret_sig, "value": value.value})
    if isinstance(value, dict):
        fields = {key: _write(inner) for key, inner in value.items()}
        return struct_pb2.Value(struct_value=struct_pb2.Struct(fields=fields))
    if isinstance(value, list | tuple):
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_write(inner) for inner in value]))
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=value)
    return struct_pb2.Value(null_value=0) if value is None else struct_pb2.Value(string_value=str(value))


def _parent(process: int) -> int:
    """The parent of a process, which stands after its name's closing bracket."""
    return int(Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
