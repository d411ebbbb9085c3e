"""The control plane: up quickly, apart from others, and gone without a trace."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster.plane import Plane, PlaneError

ROOT = Path(__file__).parents[2]
PROGRAMS = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"}


def until(holds, seconds=20.0):
    latest = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < latest, f"not within {seconds:.0f} s"
        time.sleep(0.05)
    return found


def running(folder):
    """The processes that have this folder on their command line."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text()
        except OSError:
            continue
        if str(folder) in command:
            found[int(process.name)] = command.replace("\0", " ")
    return found


def pod(name, **annotations):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"containers": [{"name": "main", "image": "registry.invalid/main"}]},
    }


@pytest.fixture
def up(binary):
    """`python -m tests.cluster up`, and its folder once it is ready."""
    for name in ("etcd", "kube", "kwok"):
        binary(name)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cluster", "up"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("KUBECONFIG=")
        yield process, Path(line.removeprefix("KUBECONFIG=").strip()).parent
        process.kill()


def test_it_is_ready_in_under_15_seconds(plane):
    print(f"control plane ready in {plane.seconds:.1f} s")
    assert plane.seconds < 15


def test_a_pod_is_scheduled_and_runs_on_a_node_of_kwok(api, namespace):
    pods = f"/api/v1/namespaces/{namespace}/pods"
    assert api.post(pods, json=pod("one")).status_code == 201
    status = until(lambda: (found := api.get(f"{pods}/one").json())["status"]["phase"] == "Running" and found)
    assert status["spec"]["nodeName"].startswith("plain-")


def test_a_pod_ends_when_its_annotation_says_so_and_else_never(api, namespace):
    pods = f"/api/v1/namespaces/{namespace}/pods"
    api.post(pods, json=pod("step", **{"test.modelyard.dev/succeeds-after": "100ms"})).raise_for_status()
    api.post(pods, json=pod("server")).raise_for_status()
    until(lambda: api.get(f"{pods}/step").json()["status"]["phase"] == "Succeeded")
    until(lambda: api.get(f"{pods}/server").json()["status"]["phase"] == "Running")


def test_the_kubeconfig_is_for_its_owner_alone_and_works_with_the_kubernetes_client(plane):
    import kubernetes

    assert plane.kubeconfig.stat().st_mode & 0o077 == 0
    client = kubernetes.config.new_client_from_config(str(plane.kubeconfig))
    assert client.configuration.verify_ssl
    with client:
        version = kubernetes.client.VersionApi(client).get_code()
    assert version.major == "1"


def test_two_side_by_side_know_nothing_of_each_other(plane, api, prefix, tmp_path):
    with Plane(tmp_path) as other, other.client() as there:
        there.post("/api/v1/namespaces", json={"metadata": {"name": prefix}}).raise_for_status()
        assert api.get(f"/api/v1/namespaces/{prefix}").status_code == 404
        assert there.get("/api/v1/nodes").json()["items"] == []
        assert other.url != plane.url
    assert api.get("/readyz").is_success


def test_ctrl_c_ends_everything_and_leaves_the_logs(up):
    process, folder = up
    assert len(running(folder)) == len(PROGRAMS)

    began = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(15) == 130
    print(f"ended in {time.monotonic() - began:.1f} s")

    assert running(folder) == {}
    assert {path.name for path in folder.iterdir()} == {f"{name}.log" for name in PROGRAMS}
    assert "Traceback" not in process.stderr.read()


def test_a_starter_that_is_killed_leaves_no_process(up):
    process, folder = up
    assert len(running(folder)) == len(PROGRAMS)
    process.kill()
    process.wait()
    until(lambda: not running(folder), 2)


def test_when_a_program_ends_the_message_says_which_and_where_its_log_is(binary, tmp_path):
    for name in ("etcd", "kube", "kwok"):
        binary(name)
    with Plane(tmp_path) as plane:
        plane.processes["kube-scheduler"].kill()
        with pytest.raises(PlaneError, match=rf"kube-scheduler ended with -9: .*{re.escape(str(tmp_path))}"):
            plane.wait()


class Broken(Plane):
    """One whose first program ends at once."""

    def _start(self):
        self.start("steady", ["sleep", "1000"])
        self.start("wrong", [sys.executable, "-c", "raise SystemExit('the disk is full')"])
        self.until("wrong", lambda: False)


def test_a_program_that_does_not_start_is_one_sentence_at_once_and_the_others_end(tmp_path):
    broken = Broken(tmp_path)
    with pytest.raises(PlaneError, match=r"wrong ended with 1: the disk is full \(its log: .*/wrong.log\)"), broken:
        pass
    assert broken.processes == {}
    assert {path.name for path in tmp_path.iterdir()} == {"steady.log", "wrong.log"}
