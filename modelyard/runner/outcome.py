"""What a task comes to: its state, and the values and artifacts that it hands on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from modelyard.runner.ir import Value


class RuntimeState(StrEnum):
    """KFP's own names for the state of a run or a task."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"
    CANCELING = "CANCELING"
    CANCELED = "CANCELED"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (self.PENDING, self.RUNNING, self.CANCELING)


@dataclass(frozen=True)
class Artifact:
    """One artifact of a run: `type` is a schema title such as `system.Dataset`, `uri` a path or a URL."""

    artifact_id: str
    name: str
    type: str
    uri: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def runtime(self) -> dict[str, Any]:
        """As a step's executor input holds it."""
        kind = {"schemaTitle": self.type, "schemaVersion": "0.0.1"}
        return {"name": self.artifact_id, "type": kind, "uri": self.uri, "metadata": dict(self.metadata)}


Artifacts = Mapping[str, Artifact | list[Artifact]]


@dataclass(frozen=True)
class Values:
    """Parameters and artifacts by name: what goes into a task, or comes out of it."""

    parameters: Mapping[str, Value] = field(default_factory=dict)
    artifacts: Artifacts = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """A task's end; `error` is one sentence where it failed."""

    state: RuntimeState
    outputs: Values = Values()
    error: str = ""
