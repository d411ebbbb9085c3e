"""modelyard doctor: what it finds, and what it says to do."""

import importlib.metadata
import shutil
import socket
from pathlib import Path

import pytest
import yaml

from modelyard import checks
from modelyard.runner.state import Running, State


def test_this_machine_is_fine(kept, typed):
    said = typed("doctor", "--json", "--state", kept.state)
    assert said.code == 0, said.out
    assert said.json["ok"] is True
    names = [check["name"] for check in said.json["checks"]]
    assert names == ["Python", "platform", "git", "packages", "state folder", "disk", "loopback", "runner"]
    assert said.json["checks"][-1]["found"].startswith("runs at http://127.0.0.1:")


def test_a_problem_is_told_with_what_to_do_and_exit_code_1(tmp_path, typed):
    (tmp_path / "file").touch()
    said = typed("doctor", "--state", tmp_path / "file" / "x")
    assert said.code == 1
    assert f"problem  state folder  {tmp_path / 'file'}: Not a directory; choose another with --state" in said.out


def test_an_old_python_and_a_strange_platform_are_problems():
    assert checks.python((3, 10)).remedy == "use Python 3.11 or newer: make setup PYTHON=python3.12"
    assert checks.python((3, 14)).ok
    assert checks.system("Windows").remedy == "use Linux or macOS; on Windows, WSL 2 is Linux"


def test_git_that_is_missing_is_a_problem(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert checks.git().found == "not found"
    assert not checks.git().ok


def test_packages_are_compared_with_the_lock(tmp_path):
    lock = tmp_path / "requirements.txt"
    lock.write_text(
        "# made by uv\n"
        "rich==1.0 \\\n    --hash=sha256:00\n    # via modelyard\n"
        "absent==2.0 \\\n    --hash=sha256:00\n"
        "right==3.0 \\\n    --hash=sha256:00\n"
        "elsewhere==4.0 ; sys_platform == 'plan9' \\\n    --hash=sha256:00\n"
    )

    def installed(name: str) -> str:
        if name == "absent":
            raise importlib.metadata.PackageNotFoundError
        return "3.0"

    check = checks.packages(lock, installed)
    assert check.found == "rich is 3.0, 1.0 is locked; absent is missing, 2.0 is locked"
    assert check.remedy == "make setup"


def test_a_full_disk_is_a_problem(tmp_path):
    assert not checks.space(tmp_path, 10**18).ok
    assert checks.space(tmp_path / "not" / "there", 1).ok


def test_a_runner_that_holds_its_state_and_does_not_answer_is_a_problem(tmp_path):
    state = State(tmp_path)
    with state.held():
        state.announce(Running(1, "http://127.0.0.1:1", "http://127.0.0.1:1", ""))
        check = checks.runner(state)
    assert check.found == "its runner doesn't answer at http://127.0.0.1:1/apis/v2beta1/healthz"
    assert "modelyard runner stop" in check.remedy


def kubeconfig(folder, server, current="kind"):
    file = folder / "kubeconfig"
    told = {
        "contexts": [{"name": "kind", "context": {"cluster": "kind-cluster"}}],
        "clusters": [{"name": "kind-cluster", "cluster": {"server": server}}],
        "current-context": current,
    }
    file.write_text(yaml.safe_dump(told))
    return file


def test_an_existing_cluster_is_looked_for_where_its_kubeconfig_says(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = f"https://127.0.0.1:{listener.getsockname()[1]}"
        found = list(checks.kubernetes(kubeconfig(tmp_path, server), ""))
        assert [(one.name, one.ok) for one in found] == [("kubeconfig", True), ("context", True), ("API server", True)]
    *_, gone = checks.kubernetes(kubeconfig(tmp_path, server), "kind")
    assert gone.found.startswith(f"{server} can't be reached: ")
    assert gone.remedy


@pytest.mark.parametrize(
    ("text", "context", "sentence"),
    [
        (None, "", "No such file or directory"),
        ("contexts: 7", "", "is none"),
        ("{", "", "is none"),
        ("", "", "is none"),
        ("{contexts: [], clusters: []}", "", "none is the current one"),
        ("{contexts: [], clusters: []}", "kind", "has no kind"),
        ("{contexts: [{name: a, context: {cluster: b}}], clusters: []}", "a", "a is of b, of which nothing is said"),
        (
            "{contexts: [{name: a, context: {cluster: b}}], clusters: [{name: b, cluster: {server: 'http://h:x'}}]}",
            "a",
            "http://h:x can't be reached",
        ),
    ],
)
def test_what_is_wrong_with_the_way_to_a_cluster_is_a_sentence(tmp_path, text, context, sentence):
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    *_, last = checks.kubernetes(file, context)
    assert sentence in last.found
    assert last.remedy


def test_the_doctor_asks_no_cloud_about_an_environment_without_one(tmp_path, monkeypatch, typed):
    project = Path(__file__).parents[2]
    shutil.copy(project / "Pulumi.yaml", tmp_path)
    shutil.copytree(project / "stacks", tmp_path / "stacks")
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "__main__.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    said = typed("doctor", "local", "--json")
    assert said.code == 1
    assert [check["name"] for check in said.json["checks"]] == ["pulumi", "kubeconfig"]
    assert "AWS" not in said.err
