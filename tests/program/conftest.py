"""Runs a program under mocks and shows what it registered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pulumi
import pytest
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks


@dataclass(frozen=True)
class Deployed:
    """What a program registered: inputs by resource name, and the URNs."""

    inputs: dict[str, dict[str, Any]]
    urns: list[str]


class Recorder(Mocks):
    """Accepts every resource and remembers its inputs."""

    def __init__(self) -> None:
        self.inputs: dict[str, dict[str, Any]] = {}

    def new_resource(self, args: MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.inputs[args.name] = args.inputs
        return f"{args.name}-id", {"arn": f"arn:aws:test:::{args.name}", **args.inputs}

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], None]:
        raise AssertionError(f"{args.token} looks something up: pass an Output instead")


@pytest.fixture
def deploy() -> Callable[[Callable[[], object]], Deployed]:
    """Run a program to its end under mocks, then hand back what it registered."""

    def run(program: Callable[[], object]) -> Deployed:
        recorder = Recorder()
        monitor = MockMonitor(recorder)
        pulumi.runtime.set_mocks(recorder, project="modelyard", stack="test", preview=False, monitor=monitor)
        pulumi.runtime.test(program)()
        urns = (r.urn for r in monitor.get_registered_resources().values())
        return Deployed(recorder.inputs, sorted(urn for urn in urns if "::pulumi:pulumi:Stack::" not in urn))

    return run
