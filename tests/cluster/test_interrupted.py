"""SIGKILL at many points of an `up` and of a `destroy`, and what the next command makes of it."""

import time

import pytest

from tests.cluster.cloud import PROJECT, Project, kill, moto, there

POINTS = 20
NOT_FOUND_HERE = {
    "aws:backup/plan:Plan",
    "aws:backup/selection:Selection",
    "aws:ec2/flowLog:FlowLog",
    "aws:eks/podIdentityAssociation:PodIdentityAssociation",
}
"""AWS names them, and its APIs find them by tag; the stand-in only keeps them, where no API looks."""
pytestmark = [
    pytest.mark.timeout(1500),
    pytest.mark.skipif(
        "marked" not in (PROJECT / "infra" / "__main__.py").read_text(),
        reason="infra/__main__.py doesn't tag resources with their logical names",
    ),
]


@pytest.fixture
def kept(tmp_path, monkeypatch):
    folder = tmp_path / "kept"
    folder.mkdir()
    monkeypatch.setenv("MODELYARD_STANDIN_AWS", str(folder))
    return folder


@pytest.fixture
def project(backend, kept, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with moto(tmp_path, managed_policies=True) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        made = Project(tmp_path / "project")
        made.initialise("account.main", "dev")
        said = made.env("up", "account.main", "--yes")
        assert said.code == 0, said.err
        yield made


def interrupt(project, point, *words, each):
    """Kill the command at a point: by turns right after a real operation, before the engine hears of it, and from
    outside after so many lines about resources. What it had said, or None if it came to its end first.
    """
    operation = "create" if words[0] == "up" else "delete"
    nth = each * (1 + point % 3)
    if point % 2:
        faults = [{"fault": "kill", "match": "aws:*", "operation": operation, "nth": nth, "program": True}]
        process = project.start(*words, faults=faults)
        _, err = process.communicate(timeout=300)
        assert process.returncode in (0, -9), err
        return err if process.returncode else None
    process = project.start(*words)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if sum(operation in line for line in lines) >= nth:
            kill(process)
            return "".join(lines)
    process.communicate()
    assert process.returncode == 0, "".join(lines)
    return None


def report(what, began, interrupted, project, kept):
    """Print the numbers that docs/reliability.md tells."""
    state, real = project.ids("account.main", "dev"), there(kept)
    known = {kind for kind, _ in real} - NOT_FOUND_HERE
    lost = {one for one in real if one[0] in known and one not in state}
    missing = {one for one in state if one[0] in known and one not in real}
    hidden = {one for one in real if one[0] in NOT_FOUND_HERE and one not in state}
    print(
        f"\n{what}: {len(interrupted)} interruptions, {time.monotonic() - began:.0f} s,"
        f" {sum(state.values())} resources in the states, {len(lost)} lost, {len(missing)} missing,"
        f" {len(hidden)} that the stand-in hides"
    )
    return lost, missing


def test_what_is_killed_twenty_times_on_its_way_up_and_down_loses_nothing(project, kept):
    began, interrupted, heard = time.monotonic(), [], []
    for point in range(POINTS):
        said = interrupt(project, point, "up", "dev", "--yes", each=4)
        if said is None:
            break
        interrupted.append(point)
        heard.append(said)
    said = project.env("up", "dev", "--yes")
    assert said.code == 0, said.err
    lost, missing = report("up", began, interrupted, project, kept)
    print("\n".join(line for one in heard for line in one.splitlines() if "taken over" in line or "look at" in line))
    assert len(interrupted) == POINTS
    assert sum("released the lock of process" in one for one in heard[1:]) >= POINTS // 2
    assert any("found and taken over" in one for one in heard)
    assert "pending_operations" not in project.deployment("dev")
    assert not lost, "made and in no state: an orphan that nobody would ever delete"
    assert not missing
    again = project.env("up", "dev", "--yes", "--json")
    assert set(again.json["changes"]) == {"same"}, "after all that the next up has nothing to do"

    began, interrupted = time.monotonic(), []
    for point in range(POINTS):
        said = interrupt(project, point, "destroy", "dev", "--yes", each=4)
        if said is None:
            break
        interrupted.append(point)
    said = project.env("destroy", "dev", "--yes")
    assert said.code == 0, said.err
    lost, missing = report("destroy", began, interrupted, project, kept)
    assert len(interrupted) == POINTS
    assert not lost
    assert not missing
    assert not project.deployment("dev").get("resources")
