"""Gets the programs of the test cluster, and publishers' charts and CRDs, from Go modules into the user's cache."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from zipfile import ZipFile

from platformdirs import user_cache_path

SOURCES = Path(__file__).parent / "programs"
TICK = 15.0
"""Seconds between two signs of life."""


@dataclass(frozen=True)
class Program:
    """How one of them is had."""

    module: str
    """The Go module whose version it has."""
    package: str = ""
    """Where its main is; nothing is built without one."""
    tags: str = ""
    variables: tuple[str, ...] = ()
    """What the linker writes into it."""
    files: tuple[str, ...] = ()
    """What is kept of the publisher's module, CRDs, charts and the like; * is anything, folders too."""


PROGRAMS = {
    "pulumi": Program(
        "github.com/pulumi/pulumi/pkg/v3",
        "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
        tags="osusergo,grpcnotrace",
        variables=("github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{version}",),
    ),
    "etcd": Program("go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3"),
    "kube": Program(
        "k8s.io/kubernetes",
        ".",
        variables=tuple(
            f"k8s.io/component-base/version.{variable}"  # without these it says v0.0.0 and clients refuse it
            for variable in ("gitVersion=v{version}", "gitMajor={major}", "gitMinor={minor}")
        ),
    ),
    "kwok": Program("sigs.k8s.io/kwok", "sigs.k8s.io/kwok/cmd/kwok", files=("kustomize/stage/*.yaml",)),
    "kueue": Program("sigs.k8s.io/kueue", "sigs.k8s.io/kueue/cmd/kueue", files=("charts/*", "config/*.yaml")),
    "karpenter": Program(
        "sigs.k8s.io/karpenter",
        "sigs.k8s.io/karpenter/kwok",
        files=("pkg/apis/crds/*.yaml", "kwok/apis/crds/*.yaml"),
    ),
    "jobset": Program("sigs.k8s.io/jobset", "sigs.k8s.io/jobset", files=("charts/*", "config/*.yaml")),
    "trainer": Program(
        "github.com/kubeflow/trainer/v2",
        "github.com/kubeflow/trainer/v2/cmd/trainer-controller-manager",
        files=("charts/*", "manifests/*.yaml"),
    ),
    "kserve": Program(
        "github.com/kserve/kserve",
        "github.com/kserve/kserve/cmd/manager",
        files=("charts/*", "config/*.yaml"),
    ),
    "karpenter-aws": Program(
        "github.com/aws/karpenter-provider-aws",
        files=("charts/karpenter/*", "charts/karpenter-crd/*", "pkg/apis/crds/*.yaml"),
    ),
    "cert-manager": Program("github.com/cert-manager/cert-manager", files=("deploy/charts/*", "deploy/crds/*.yaml")),
    "external-secrets": Program(
        "github.com/external-secrets/external-secrets", files=("deploy/charts/*", "deploy/crds/*.yaml")
    ),
}


class BuildError(Exception):
    """A program can't be had; the message says why and what to do."""


def binary(name: str) -> Path:
    """A program that is built. Raises BuildError."""
    return _found(name, name)


def published(name: str) -> Path:
    """The folder with what is kept of a publisher's module. Raises BuildError."""
    return _found(name, "module")


def _found(name: str, part: str) -> Path:
    path = _target(name) / part
    if not path.exists():
        raise BuildError(f"{name} isn't built: python -m tests.cluster build {name}")
    return path


def build(names: Iterable[str], tell: Callable[[str], None]) -> None:
    """Build what isn't built yet, one after the other; who comes second waits. Raises BuildError."""
    for name in names:
        if name not in PROGRAMS:
            raise BuildError(f"there is no program {name}; there is {', '.join(PROGRAMS)}")
        target = _target(name)
        if target.exists():
            continue
        with _alone(name, target, tell):
            if not target.exists():
                _make(name, target, tell)


def recipe(name: str) -> list[str]:
    """The command that builds a program, up to where it goes."""
    program = PROGRAMS[name]
    version = module_version(name)
    major, minor, _ = version.split(".", 2)
    flags = [f"-X {text.format(version=version, major=major, minor=minor)}" for text in program.variables]
    return [
        *("go", "build", "-mod=readonly", "-buildvcs=false", f"-tags={program.tags}"),
        f"-ldflags={' '.join(['-s', '-w', *flags])}",
        program.package,
    ]


def module_version(name: str) -> str:
    """The version that a program has, as its go.mod says it, without the v."""
    module = re.escape(PROGRAMS[name].module)
    found = re.search(rf"^(?:require)?\s*{module} v(\S+)", (SOURCES / name / "go.mod").read_text(), re.MULTILINE)
    if not found:
        raise BuildError(f"{SOURCES / name / 'go.mod'} doesn't require {PROGRAMS[name].module}")
    return found[1]


def _target(name: str) -> Path:
    """The folder of a program, by what it is made of."""
    digest = hashlib.sha256(f"{_go()} {recipe(name)} {PROGRAMS[name].files}".encode())
    for path in sorted((SOURCES / name).iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return user_cache_path("modelyard") / "cluster" / f"{name}-{digest.hexdigest()[:16]}"


@cache
def _go() -> str:
    try:
        return subprocess.run(["go", "version"], cwd=SOURCES, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise BuildError("Go isn't on PATH; the test cluster is built with it: https://go.dev/doc/install") from None


@contextmanager
def _alone(name: str, target: Path, tell: Callable[[str], None]) -> Iterator[None]:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"{name}: waiting for another build of it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(name: str, target: Path, tell: Callable[[str], None]) -> None:
    """Build into a folder beside the target and put it there whole; the lock is held."""
    began = time.monotonic()
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a build that was killed
    partial.mkdir()
    tell(f"{name}: building {module_version(name)}")
    try:
        _fill(name, partial, tell)
        if _target(name) == target:
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if _target(name) != target:
        raise BuildError(f"{name} has a go.sum that lacked something, which Go has added: look at it, and try again")
    tell(f"{name}: built in {time.monotonic() - began:.0f} s")


def _fill(name: str, folder: Path, tell: Callable[[str], None]) -> None:
    program = PROGRAMS[name]
    if program.package:
        *command, package = recipe(name)
        built = _run(name, [*command, "-o", str(folder / name), package], tell)
        if built.returncode:
            raise BuildError(f"{name} doesn't build: {_reason(name, built.stderr)}")
    if program.files:
        # what is only taken from may be for a newer Go, which fails after the archive is there and checked
        got = _run(name, ["go", "mod", "download", "-json", program.module], tell)
        about = json.loads(got.stdout or "{}")
        if "Zip" not in about:
            raise BuildError(f"{name} can't be had: {about.get('Error') or _reason(name, got.stderr)}")
        _keep(Path(about["Zip"]), f"{program.module}@v{module_version(name)}/", program.files, folder / "module")


def _keep(archive: Path, prefix: str, patterns: Iterable[str], target: Path) -> None:
    with ZipFile(archive) as module:
        for entry in module.namelist():
            path = entry.removeprefix(prefix)
            if any(fnmatchcase(path, pattern) for pattern in patterns):
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                (target / path).write_bytes(module.read(entry))


def _run(name: str, command: list[str], tell: Callable[[str], None]) -> subprocess.CompletedProcess[str]:
    began = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=SOURCES / name,
        env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            while True:
                try:
                    return subprocess.CompletedProcess(command, *_ended(process))
                except subprocess.TimeoutExpired:
                    tell(f"{name}: {time.monotonic() - began:.0f} s")
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            raise


def _ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=TICK)
    return process.returncode, output, errors


def _reason(name: str, errors: str) -> str:
    """The first thing that Go says is wrong, and how much more there is."""
    lines = [line.strip() for line in errors.splitlines() if not line.startswith(("#", "go: downloading"))]
    lines = [line for line in lines if line] or ["Go gives no reason"]
    first = re.sub(r"^\./", f"{os.path.relpath(SOURCES / name)}/", lines[0])
    more = len(lines) - 1
    return first + (f" (and {more} line{'s' * (more > 1)} more)" if more else "")
