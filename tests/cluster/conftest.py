"""The test cluster for tests: what needs a program that isn't built is skipped and says how to build it."""

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

import tests.cluster.build
from tests.cluster.build import BuildError
from tests.cluster.plane import Plane

ROOT = Path(__file__).parents[2]
REQUIRED = "MODELYARD_CLUSTER"
"""Set to `required`, a program that isn't built is a failure."""


@pytest.fixture(scope="session")
def binary() -> Callable[[str], Path]:
    """The path of a program by its name."""
    return partial(_had, tests.cluster.build.binary)


@pytest.fixture(scope="session")
def publisher() -> Callable[[str], Path]:
    """The folder with a publisher's charts and CRDs by its name in tests/cluster/programs."""
    return partial(_had, tests.cluster.build.published)


def _had(find: Callable[[str], Path], name: str) -> Path:
    try:
        return find(name)
    except BuildError as error:
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def plane(binary, tmp_path_factory) -> Iterator[Plane]:
    """A control plane with a few nodes without GPUs, which all tests share."""
    for name in ("etcd", "kube", "kwok"):
        binary(name)
    with Plane(tmp_path_factory.mktemp("plane")) as running:
        with running.client() as client:
            for number in range(3):
                node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"plain-{number}"}}
                client.post("/api/v1/nodes", json=node).raise_for_status()
        yield running


@pytest.fixture
def api(plane) -> Iterator[httpx.Client]:
    """HTTP to the shared control plane."""
    with plane.client() as client:
        yield client


@pytest.fixture
def prefix() -> str:
    """What starts the names of a test's own namespaces and of whatever else it makes in the cluster."""
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture
def namespace(api, prefix) -> Iterator[str]:
    """A namespace of the test's own."""
    made = api.post("/api/v1/namespaces", json={"metadata": {"name": prefix}})
    assert made.status_code == 201, made.text
    yield prefix
    api.delete(f"/api/v1/namespaces/{prefix}").raise_for_status()


@pytest.fixture(scope="session")
def engine(binary, tmp_path_factory) -> Path:
    """A folder with Pulumi's engine and the stand-ins for the providers that it starts, to be put on PATH."""
    folder = tmp_path_factory.mktemp("engine")
    (folder / "pulumi").symlink_to(binary("pulumi"))
    for provider in ("aws", "kubernetes"):
        plugin = folder / f"pulumi-resource-{provider}"
        plugin.write_text(
            f"#!{sys.executable}\n"
            f'"""A stand-in for Pulumi\'s {provider} provider."""\n'
            "import runpy, sys\n"
            f"sys.path.insert(0, {str(ROOT)!r})\n"
            f'runpy.run_module("tests.cluster.standins.{provider}", run_name="__main__", alter_sys=True)\n'
        )
        plugin.chmod(0o755)
    return folder


@pytest.fixture
def backend(engine, tmp_path, monkeypatch) -> Path:
    """A Pulumi backend of the test's own, found by every program that the test starts."""
    folder = tmp_path / "backend"
    folder.mkdir()
    for name, value in {
        "PATH": f"{engine}{os.pathsep}{os.environ['PATH']}",
        "PULUMI_BACKEND_URL": folder.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "loopback",
        "PULUMI_HOME": str(tmp_path / "pulumi"),
        "PULUMI_SKIP_UPDATE_CHECK": "1",
    }.items():
        monkeypatch.setenv(name, value)
    return folder
