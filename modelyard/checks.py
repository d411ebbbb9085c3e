"""What a machine needs for Modelyard, checked one by one."""

import importlib.metadata
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import yaml
from packaging.requirements import Requirement

from modelyard.runner.state import State

PROJECT = Path(__file__).parents[1]
LEAST_PYTHON = (3, 11)
LEAST_BYTES = 1_000_000_000
MOST_NAMED = 3
SECONDS = 5


@dataclass(frozen=True)
class Check:
    """What was found, and what to do if it is not good."""

    name: str
    found: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        return not self.remedy


def check_all(state: State) -> Iterator[Check]:
    """Every check, in the order in which problems are best mended."""
    yield python(sys.version_info[:2])
    yield system(platform.system())
    yield git()
    yield packages(PROJECT / "requirements.txt", importlib.metadata.version)
    yield writable(state.root)
    yield space(state.root, LEAST_BYTES)
    yield loopback()
    yield runner(state)


def python(version: tuple[int, ...]) -> Check:
    found = ".".join(map(str, version))
    if version < LEAST_PYTHON:
        return Check("Python", found, "use Python 3.11 or newer: make setup PYTHON=python3.12")
    return Check("Python", found)


def system(name: str) -> Check:
    if name not in ("Linux", "Darwin"):
        return Check("platform", name, "use Linux or macOS; on Windows, WSL 2 is Linux")
    return Check("platform", f"{name} {platform.machine()}")


def git() -> Check:
    """Runs are marked with the commit of the code."""
    try:
        done = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return Check("git", "not found", "install git, so that runs know the commit of the code")
    return Check("git", done.stdout.split()[2])


def packages(lock: Path, installed: Callable[[str], str]) -> Check:
    """Whether what is installed is what is locked."""
    if not lock.exists():
        return Check("packages", "no lock beside the code; not compared")
    wrong, right = [], 0
    for wanted in _locked(lock):
        (version,) = (specifier.version for specifier in wanted.specifier)
        try:
            found = installed(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            found = "missing"
        if found == version:
            right += 1
        else:
            wrong.append(f"{wanted.name} is {found}, {version} is locked")
    if wrong:
        more = f" and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        return Check("packages", f"{'; '.join(wrong[:MOST_NAMED])}{more}", "make setup")
    return Check("packages", f"{right} at their locked versions")


def writable(folder: Path) -> Check:
    there = _nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Check("state folder", f"{there}: {error.strerror}", "choose another with --state")
    return Check("state folder", f"{folder} can be written")


def space(folder: Path, least: int) -> Check:
    free = shutil.disk_usage(_nearest(folder)).free
    if free < least:
        found = f"{free / 1e9:.1f} GB free at {folder}"
        return Check("disk", found, f"free {least / 1e9:.0f} GB, or choose another folder with --state")
    return Check("disk", f"{free / 1e9:.0f} GB free")


def loopback() -> Check:
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return Check("loopback", f"port {listener.getsockname()[1]} is free")
    except OSError as error:
        return Check("loopback", str(error.strerror), "let programs listen on 127.0.0.1")


def runner(state: State) -> Check:
    """None needs to run; one that runs has to answer."""
    running = state.running()
    if running is None:
        return Check("runner", "none runs; pipelines start one for the time of a run")
    for what, url in (
        ("runner", f"{running.url}/apis/v2beta1/healthz"),
        ("model server", f"{running.serving_url}/v2/health/ready"),
    ):
        try:
            httpx.get(url, timeout=5).raise_for_status()
        except httpx.HTTPError:
            return Check(
                "runner",
                f"its {what} doesn't answer at {url}",
                f"modelyard runner stop --state {state.root}, then start it again; logs: {state.root}/*.log",
            )
    return Check("runner", f"runs at {running.url}, models at {running.serving_url}")


def kubernetes(kubeconfig: Path, context: str) -> Iterator[Check]:
    """An existing cluster: whether there is a way to it, and whether it answers. "" is the current context."""
    try:
        told = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        contexts = {one["name"]: one["context"]["cluster"] for one in told["contexts"]}
        servers = {one["name"]: str(one["cluster"]["server"]) for one in told["clusters"]}
        wanted = context or str(told.get("current-context") or "")
    except OSError as error:
        yield Check("kubeconfig", f"{kubeconfig}: {error.strerror}", "set cluster.kubeconfig to where it is")
        return
    except (ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        yield Check("kubeconfig", f"{kubeconfig} is none", "write it anew, as with `kubectl config view --raw`")
        return
    yield Check("kubeconfig", str(kubeconfig))
    if not wanted:
        yield Check("context", "none is the current one", "set cluster.context")
    elif wanted not in contexts:
        known = ", ".join(sorted(contexts)) or "none"
        yield Check("context", f"{kubeconfig} has no {wanted}", f"set cluster.context to one that it has: {known}")
    elif contexts[wanted] not in servers:
        yield Check("context", f"{wanted} is of {contexts[wanted]}, of which nothing is said", "mend the kubeconfig")
    else:
        yield Check("context", wanted)
        yield api_server(servers[contexts[wanted]])


def api_server(endpoint: str) -> Check:
    """Whether a connection to it can be made within seconds."""
    try:
        address = urlsplit(endpoint)
        port = address.port or (80 if address.scheme == "http" else 443)
        socket.create_connection((address.hostname or "", port), timeout=SECONDS).close()
    except (OSError, ValueError) as error:
        return Check("API server", f"{endpoint} can't be reached: {error}", "start the cluster, or its VPN")
    return Check("API server", f"{endpoint} answers")


def _locked(lock: Path) -> Iterator[Requirement]:
    for line in lock.read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "# ":
            requirement = Requirement(line.rstrip("\\ "))
            if requirement.marker is None or requirement.marker.evaluate():
                yield requirement


def _nearest(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())
