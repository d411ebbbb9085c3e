"""What an interrupted `up` or `destroy` left: a lock, and operations of which nobody knows what came of them."""

import copy
import json
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import boto3
import botocore.exceptions

from modelyard.engine import type_of
from modelyard.errors import FailedError, RefusedError
from modelyard.found import Finder

PROJECT = "organization/modelyard"
"""Whose stacks all of these are, where a backend is a folder or a bucket."""
MEMORY = ".modelyard/interrupted/"
"""Where in the backend the pending operations are kept while it is found out what came of them."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Lock:
    """Who holds a stack's lock."""

    key: str
    """Where it is in the backend."""
    pid: int
    user: str
    host: str
    since: datetime

    def holder(self) -> str:
        """In words."""
        return f"process {self.pid} of {self.user} on {self.host}, since {self.since:%Y-%m-%d %H:%M:%S} UTC"

    def proof_of_death(self) -> str:
        """Why its process can't be running any more; "" where that isn't certain."""
        if self.host != socket.gethostname() or not Path("/proc/stat").exists():
            return ""
        boot = _boot()
        if boot > self.since.timestamp():
            return "this machine was started later"
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "there is no such process"
        fields = stat.rpartition(")")[2].split()
        if fields[0] in "ZX":
            return "it has ended"
        began = boot + int(fields[19]) / os.sysconf("SC_CLK_TCK")
        # The kernel tells both times to a second or better; a process that took a lock was there before.
        return "that process began later" if began > self.since.timestamp() + 2 else ""


@dataclass
class Recovered:
    """What was done about an interruption."""

    released: str = ""
    """Whose lock was released."""
    adopted: list[str] = field(default_factory=list)
    """URNs of what had been made and is in the state now."""
    not_made: list[str] = field(default_factory=list)
    """URNs of what had not been made."""
    looked_at: list[str] = field(default_factory=list)
    """URNs of what was being changed or deleted, and is in the state now as it really is."""
    to_remove: list[str] = field(default_factory=list)
    """What is there and belongs to nothing: for people to look at."""

    def __bool__(self) -> bool:
        return any(vars(self).values())


class Deployed(Protocol):
    """What is needed of an engine."""

    name: str
    backend: str

    def state(self) -> dict[str, Any]:
        """The checkpoint."""

    def put_state(self, state: Mapping[str, Any]) -> None:
        """Write it."""

    def refresh(self, seen: Callable[[Any], None], only: list[str] | None = None) -> Any:
        """Take what is there into the state."""


def locks(backend: str, stack: str) -> list[Lock]:
    """A stack's locks, where the backend is a folder or an S3 bucket; others keep them to themselves."""
    return [_lock(key, text) for key, text in _Place.of(backend).read(f".pulumi/locks/{PROJECT}/{stack}/")]


def release(backend: str, stack: str, tell: Tell) -> str:
    """Release a stack's locks whose holders are proven dead, and mend what they left half-written; who that was.

    Raises RefusedError if a holder may be alive.
    """
    found = locks(backend, stack)
    for lock in found:
        if not lock.proof_of_death():
            how = "or stop it (Ctrl-C)"
            if lock.host != socket.gethostname():
                how = f"or, if you know that it has ended, release the lock: `pulumi cancel --stack {stack}`"
            raise RefusedError(f"{stack} is locked by {lock.holder()}: wait for it, {how}")
    for lock in found:
        _Place.of(backend).delete(lock.key)
    _Place.of(backend).mend(stack)
    for lock in found:
        tell(f"released the lock of {lock.holder()}: {lock.proof_of_death()}")
    return "; ".join(lock.holder() for lock in found)


def recover(engine: Deployed, finder: Finder, tell: Tell) -> Recovered:
    """Release a dead process's lock, and find out what came of the operations that it left.

    What had been made is taken into the state, what had not is forgotten, so that it is made by the next `up`.
    Raises RefusedError if the lock's holder may be alive, FailedError if it can't be found out.
    """
    released = release(engine.backend, engine.name, tell)
    place, memory = _Place.of(engine.backend), f"{MEMORY}{engine.name}.json"
    # To write a state makes Pulumi forget what is pending, so that it has to be kept until all is known.
    pending = [op for key, text in place.read(MEMORY) if key == memory for op in json.loads(text)]
    pending += engine.state()["deployment"].get("pending_operations") or []
    if not pending:
        return Recovered(released=released)
    tell(f"an earlier run was interrupted in {len(pending)} operations: finding out what came of them")
    place.write(memory, json.dumps(pending))
    done = _Search(engine, finder, tell, pending, Recovered(released=released)).run()
    place.delete(memory)
    return done


class _Search:
    """For what pending operations have really done."""

    def __init__(
        self, engine: Deployed, finder: Finder, tell: Tell, pending: list[dict[str, Any]], done: Recovered
    ) -> None:
        self._engine, self._finder, self._tell, self._done = engine, finder, tell, done
        self._creates = {op["resource"]["urn"]: op["resource"] for op in pending if op["type"] == "creating"}
        self._others = {op["resource"]["urn"] for op in pending} - self._creates.keys()
        self._adopted: dict[str, str] = {}

    def run(self) -> Recovered:
        resources = self._resources(self._engine.state())
        left = {urn: _free(resources, urn, self._finder.find(made)) for urn, made in self._creates.items()}
        # What was being made in another's place is made again by the next `up`.
        replaced = {one["urn"] for one in resources if one.get("created")} & left.keys()
        second = {urn: left.pop(urn) for urn in replaced}
        self._look({}, {resource["urn"] for resource in resources} & self._others)
        while tried := {urn: ids.pop(0) for urn, ids in left.items() if ids and urn not in self._adopted}:
            self._look(tried, set())
        for urn, ids in (left | second).items():
            self._done.to_remove += [f"{type_of(urn)} {identity}, a second {_name(urn)}" for identity in ids]
        self._complete()
        state = self._engine.state()
        state["deployment"].pop("pending_operations", None)
        self._engine.put_state(state)
        self._report()
        return self._done

    def _look(self, tried: Mapping[str, str], others: set[str]) -> None:
        """Ask the providers about what is in the state, and about candidates for what was being made."""
        if not tried and not others:
            return
        before = self._engine.state()
        state = copy.deepcopy(before)
        for urn, identity in tried.items():
            _put(self._resources(state), self._creates[urn], identity)
        self._engine.put_state(state)
        try:
            self._engine.refresh(lambda _: None, sorted({*tried, *others}))
        except FailedError as error:
            self._engine.put_state(before)
            self._look_singly(tried, others, error)
            return
        self._settle(tried)

    def _look_singly(self, tried: Mapping[str, str], others: set[str], error: FailedError) -> None:
        """One that can't be read doesn't keep the others from being found."""
        if len(tried) + len(others) > 1:
            for urn, identity in tried.items():
                self._look({urn: identity}, set())
            for urn in others:
                self._look({}, {urn})
            return
        for urn, identity in tried.items():
            self._done.to_remove.append(
                f"{type_of(urn)} {identity}: {_name(urn)} may be that, but can't be read: {error}"
            )
        for urn in others:
            raise FailedError(f"what came of {_name(urn)} can't be read: {error}") from error

    def _settle(self, tried: Mapping[str, str]) -> None:
        """Keep what is there and ours; what is somebody else's leaves the state again."""
        state = self._engine.state()
        resources = self._resources(state)
        strange = []
        for resource in resources:
            urn = resource["urn"]
            if urn not in tried or resource.get("delete"):
                continue
            if self._finder.ours(resource, self._creates[urn]):
                self._adopted[urn] = str(resource["id"])
                continue
            strange.append(resource)
            self._done.to_remove.append(
                f"{type_of(urn)} {resource['id']}: it has the name of {urn.rpartition('::')[2]} but not its tag;"
                " if it is yours, `pulumi import` takes it over"
            )
        if strange:
            state["deployment"]["resources"] = [resource for resource in resources if resource not in strange]
            self._engine.put_state(state)

    def _complete(self) -> None:
        """Say of what was taken over what the program had asked for, as far as it came: an import says everything."""
        if not self._adopted:
            return
        state = self._engine.state()
        for resource in self._resources(state):
            if resource["urn"] in self._adopted and not resource.get("delete"):
                resource["inputs"] = self._creates[resource["urn"]].get("inputs") or {}
        self._engine.put_state(state)
        self._engine.refresh(lambda _: None, sorted(self._adopted))

    def _report(self) -> None:
        self._done.looked_at = sorted(self._others)
        for urn, made in self._creates.items():
            if urn in self._adopted:
                self._done.adopted.append(urn)
                self._tell(f"found and taken over: {_name(urn)}, {self._adopted[urn]}")
            else:
                self._done.not_made.append(urn)
                self._tell(f"not made yet: {_name(urn)}{self._finder.doubt(made)}")
        for sentence in self._done.to_remove:
            self._tell(f"to look at, and to remove by hand: {sentence}")

    @staticmethod
    def _resources(state: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = state["deployment"].setdefault("resources", [])
        return found


def _put(resources: list[dict[str, Any]], made: dict[str, Any], identity: str) -> None:
    """Put a resource into the state of which only the id is known: to refresh it then is to import it."""
    if not any(old["urn"] == made["urn"] for old in resources):  # unless an earlier search was interrupted too
        resources.append({key: made[key] for key in CARRIED if key in made} | {"id": identity})


CARRIED = (
    "urn",
    "custom",
    "type",
    "parent",
    "provider",
    "dependencies",
    "propertyDependencies",
    "protect",
    "retainOnDelete",
    "additionalSecretOutputs",
    "aliases",
    "customTimeouts",
    "ignoreChanges",
    "deletedWith",
)
"""What an entry of the state says besides what the provider knows."""


def _free(resources: list[dict[str, Any]], urn: str, ids: list[str]) -> list[str]:
    """Those ids that no other resource of the same type has in the state already."""
    known = {one.get("id") for one in resources if one["urn"] != urn and type_of(one["urn"]) == type_of(urn)}
    # What an earlier, interrupted search has put there has no time of creation; what is being replaced has one.
    known |= {one.get("id") for one in resources if one["urn"] == urn and one.get("created")}
    return [identity for identity in ids if identity not in known]


def _name(urn: str) -> str:
    return f"{urn.rpartition('::')[2]} ({type_of(urn)})"


def _boot() -> float:
    """When this machine was started, in seconds."""
    found = re.search(r"^btime (\d+)$", Path("/proc/stat").read_text(encoding="utf-8"), re.MULTILINE)
    return float(found[1]) if found else 0.0


def _lock(key: str, text: str) -> Lock:
    try:
        told = json.loads(text)
        # Go writes nine digits of a second, Python reads six.
        since = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", told["timestamp"]))
        return Lock(key, int(told["pid"]), told["username"], told["hostname"], since.astimezone(UTC))
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError(f"the lock {key} can't be read; look at it, and delete it if nobody is at work") from error


class _Place(Protocol):
    """A folder or a bucket in which stacks are kept."""

    def read(self, folder: str) -> Iterator[tuple[str, str]]:
        """The files in a folder."""

    def delete(self, key: str) -> None:
        """Delete a file."""

    def write(self, key: str, text: str) -> None:
        """Write a file as a whole."""

    def mend(self, stack: str) -> None:
        """Put right what a killed process left half-written; for when nobody is at work."""

    @staticmethod
    def of(backend: str) -> "_Place":
        """By its address."""
        parts = urlsplit(backend)
        if parts.scheme == "file":
            return _Folder(Path(backend.removeprefix("file://").partition("?")[0]).expanduser())
        if parts.scheme == "s3":
            return _Bucket(backend)
        return _Elsewhere()


class _Elsewhere(_Place):
    def read(self, folder: str) -> Iterator[tuple[str, str]]:  # noqa: ARG002 it has none that can be read
        return iter(())

    def delete(self, key: str) -> None:
        """There is nothing."""

    def write(self, key: str, text: str) -> None:
        """There is no room for it."""

    def mend(self, stack: str) -> None:
        """Nor is there anything to mend."""


class _Folder(_Place):
    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, folder: str) -> Iterator[tuple[str, str]]:
        for file in sorted((self._root / folder).glob("*.json")):
            yield str(file.relative_to(self._root)), file.read_text(encoding="utf-8")

    def delete(self, key: str) -> None:
        for file in (self._root / key, self._root / f"{key}.attrs"):
            file.unlink(missing_ok=True)

    def write(self, key: str, text: str) -> None:
        file = self._root / key
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(file)

    def mend(self, stack: str) -> None:
        """Pulumi replaces a state as a whole, but writes what stands beside it, which is not needed, in place."""
        state = self._root / ".pulumi/stacks" / PROJECT.rpartition("/")[2]
        for file in (state / f"{stack}.json.attrs", state / f"{stack}.json.bak.attrs"):
            try:
                json.loads(file.read_text(encoding="utf-8"))
            except FileNotFoundError:
                continue
            except ValueError:
                file.unlink()
        for file in state.glob(f"{stack}.json*.tmp"):
            file.unlink()


class _Bucket(_Place):
    def __init__(self, backend: str) -> None:
        parts = urlsplit(backend)
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        endpoint = options.get("endpoint")
        self._bucket = parts.netloc
        self._prefix = f"{parts.path.strip('/')}/".lstrip("/")
        self._s3 = boto3.Session(profile_name=options.get("profile"), region_name=options.get("region")).client(
            "s3", endpoint_url=f"https://{endpoint}" if endpoint and "://" not in endpoint else endpoint
        )

    def read(self, folder: str) -> Iterator[tuple[str, str]]:
        try:
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + folder
            )
            for entry in (entry for page in pages for entry in page.get("Contents", ())):
                body = self._s3.get_object(Bucket=self._bucket, Key=entry["Key"])["Body"].read()
                yield entry["Key"].removeprefix(self._prefix), body.decode()
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise FailedError(f"the locks in s3://{self._bucket} can't be read: {error}") from error

    def delete(self, key: str) -> None:
        self._s3.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    def write(self, key: str, text: str) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=text.encode())

    def mend(self, stack: str) -> None:
        """S3 has an object as a whole or not at all."""
