"""The builder on small programs, and what the repository says about the real ones."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from infra import versions
from tests.cluster import build as builder
from tests.cluster.build import PROGRAMS, BuildError, Program, binary, build, module_version, published

ROOT = Path(__file__).parents[2]
MAIN = 'package main\n\nfunc main() {\n\tprintln("one")\n}\n'
CHILD = """
import os, pathlib, signal, sys
from tests.cluster import build as builder
builder.SOURCES = pathlib.Path(sys.argv[1])
builder.PROGRAMS.clear()
builder.PROGRAMS["one"] = builder.Program("example.com/lib", ".")
def tell(line):
    print(line, flush=True)
    if sys.argv[2:] == ["die"]:
        os.kill(os.getpid(), signal.SIGKILL)
builder.build(["one"], tell)
print(builder.binary("one"))
"""


def silent(_: str) -> None:
    """Nobody listens."""


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Two programs of a few lines, in place of the real ones, and an empty cache."""
    for name in ("one", "two"):
        folder = tmp_path / "programs" / name
        folder.mkdir(parents=True)
        (folder / "main.go").write_text(MAIN)
        (folder / "go.mod").write_text(f"module {name}\n\ngo 1.26.0\n\nrequire example.com/lib v1.2.3\n")
    monkeypatch.setattr(builder, "SOURCES", tmp_path / "programs")
    monkeypatch.setattr(builder, "PROGRAMS", dict.fromkeys(("one", "two"), Program("example.com/lib", ".")))
    if not shutil.which("go"):
        pytest.skip("Go isn't on PATH")
    warm = subprocess.run(["go", "env", "GOCACHE"], capture_output=True, check=True, text=True).stdout.strip()
    monkeypatch.setenv("GOCACHE", warm)  # which lies in the user's cache, where it is not set
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "programs"


def test_one_program_is_built_alone_and_tells_its_version_and_its_seconds(sources):
    told: list[str] = []
    build(["one"], told.append)

    assert subprocess.run([binary("one")], capture_output=True, check=True, text=True).stderr == "one\n"
    assert told[0] == "one: building 1.2.3"
    assert re.fullmatch(r"one: built in \d+ s", told[-1])
    with pytest.raises(BuildError, match="two isn't built: python -m tests.cluster build two"):
        binary("two")


def test_a_program_that_takes_long_says_that_it_lives(sources, monkeypatch):
    monkeypatch.setattr(builder, "TICK", 0.01)
    told: list[str] = []
    build(["one"], told.append)
    assert "one: 0 s" in told


def test_a_second_call_does_nothing(sources):
    build(["one"], silent)
    before = binary("one").stat().st_mtime_ns

    told: list[str] = []
    began = time.perf_counter()
    build(["one"], told.append)

    assert told == []
    assert time.perf_counter() - began < 0.2
    assert binary("one").stat().st_mtime_ns == before


@pytest.mark.parametrize("changed", ["main.go", "go.mod", "recipe"])
def test_a_change_of_anything_that_a_program_is_made_of_builds_it_again(changed, sources, monkeypatch):
    build(["one"], silent)
    before = binary("one")
    if changed == "recipe":
        monkeypatch.setitem(builder.PROGRAMS, "one", Program("example.com/lib", ".", tags="other"))
    else:
        with (sources / "one" / changed).open("a") as file:
            file.write("\n// changed\n")
    with pytest.raises(BuildError, match="isn't built"):
        binary("one")
    build(["one"], silent)
    assert binary("one") != before
    assert before.exists(), "a checkout of another state may use it"


def test_a_compile_error_is_one_line_that_names_file_and_line(sources):
    (sources / "one" / "main.go").write_text(MAIN.replace('println("one")', "nothing()\n\tneither()"))
    with pytest.raises(BuildError) as caught:
        build(["one"], silent)
    path = os.path.relpath(sources / "one" / "main.go")
    assert str(caught.value) == f"one doesn't build: {path}:4:2: undefined: nothing (and 1 line more)"
    assert not list((sources.parent / "cache" / "modelyard" / "cluster").glob("one-*/")), "nothing half made stays"


def test_an_unknown_program_is_answered_with_the_known_ones(sources):
    with pytest.raises(BuildError, match="there is no program three; there is one, two"):
        build(["three"], silent)


def test_what_is_not_built_is_skipped_and_where_the_cluster_is_required_it_fails(sources, binary, monkeypatch):
    monkeypatch.delenv("MODELYARD_CLUSTER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="one isn't built: python -m tests.cluster build one"):
        binary("one")
    monkeypatch.setenv("MODELYARD_CLUSTER", "required")
    with pytest.raises(pytest.fail.Exception, match="one isn't built"):
        binary("one")


def test_without_go_the_message_says_where_to_get_it(sources, monkeypatch):
    builder._go.cache_clear()
    monkeypatch.setenv("PATH", str(sources))
    with pytest.raises(BuildError, match="Go isn't on PATH"):
        build(["one"], silent)


def test_what_was_being_built_when_the_builder_was_killed_is_never_found(sources):
    killed = _child(sources, "die")
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(BuildError, match="isn't built"):
        binary("one")
    build(["one"], silent)
    assert not list(binary("one").parents[1].glob("*.partial"))


def test_two_who_build_the_same_wait_for_each_other_and_it_is_built_once(sources):
    children = [_child(sources) for _ in range(2)]
    said = [child.communicate(timeout=60)[0].splitlines() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert {lines[-1] for lines in said} == {str(binary("one"))}
    assert sum("built in" in line for lines in said for line in lines) == 1


def _child(sources, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(sources), *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_of_a_publishers_module_the_files_that_tests_read_are_kept(sources, monkeypatch, tmp_path):
    _publish(monkeypatch, tmp_path, {"crds/a.yaml": "a", "crds/deep/b.yaml": "b", "crds/c.go": "package c\n"})
    with pytest.raises(BuildError, match=r"go.sum that lacked something"):
        build(["one"], silent)
    build(["one"], silent)
    kept = published("one")
    assert {str(path.relative_to(kept)) for path in kept.rglob("*.*")} == {"crds/a.yaml", "crds/deep/b.yaml"}


def test_a_module_that_is_not_what_its_sum_says_is_refused(sources, monkeypatch, tmp_path):
    _publish(monkeypatch, tmp_path, {"crds/a.yaml": "a"})
    (sources / "one" / "go.sum").write_text(f"example.com/lib v1.2.3 h1:{'A' * 43}=\n")
    with pytest.raises(BuildError, match=r"one can't be had: .*example.com/lib@v1.2.3: checksum mismatch"):
        build(["one"], silent)


def test_charts_of_a_module_for_a_newer_go_are_had_too(sources, monkeypatch, tmp_path):
    _publish(monkeypatch, tmp_path, {"crds/a.yaml": "a"}, go="1.999.0")
    monkeypatch.setenv("GOTOOLCHAIN", "local")
    with pytest.raises(BuildError, match=r"go.sum that lacked something"):
        build(["one"], silent)
    build(["one"], silent)
    assert (published("one") / "crds" / "a.yaml").read_text() == "a"


def test_a_module_that_no_proxy_has_is_named(sources, monkeypatch, tmp_path):
    _publish(monkeypatch, tmp_path, {})
    shutil.rmtree(tmp_path / "proxy" / "example.com")
    with pytest.raises(BuildError, match=r"one can't be had: .*example.com/lib@v1.2.3"):
        build(["one"], silent)


def _publish(monkeypatch, tmp_path, files, go="1.20"):
    """Have example.com/lib 1.2.3, of which program one is made, on a Go module proxy in a folder."""
    folder = tmp_path / "proxy" / "example.com" / "lib" / "@v"
    folder.mkdir(parents=True)
    (folder / "v1.2.3.info").write_text('{"Version": "v1.2.3"}')
    module = f"module example.com/lib\n\ngo {go}\n"
    (folder / "v1.2.3.mod").write_text(module)
    with zipfile.ZipFile(folder / "v1.2.3.zip", "w") as archive:
        for name, text in {"go.mod": module, **files}.items():
            archive.writestr(f"example.com/lib@v1.2.3/{name}", text)
    monkeypatch.setenv("GOPROXY", (tmp_path / "proxy").as_uri())
    monkeypatch.setenv("GONOSUMDB", "example.com")
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modules"))
    monkeypatch.setenv("GOFLAGS", "-modcacherw")
    monkeypatch.setitem(builder.PROGRAMS, "one", Program("example.com/lib", files=("crds/*.yaml",)))


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_module_comes_from_the_proxy_alone_and_every_line_of_its_sums_is_one(name):
    folder = builder.SOURCES / name
    text = (folder / "go.mod").read_text()
    assert text.startswith(f"module {name}\n")
    targets = re.findall(r"=> (\S+) ?(\S*)", text)
    assert all(re.match(r"[a-z0-9-]+\.", target) and version for target, version in targets), "no folder of a machine"
    for line in (folder / "go.sum").read_text().splitlines():
        assert re.fullmatch(r"\S+ v[\w.+-]+(/go\.mod)? h1:[\w+/]{43}=", line), line
    assert re.fullmatch(r"\d+\.\d+\.\d+", module_version(name))


def test_the_control_plane_is_of_the_kubernetes_version_that_environments_get():
    assert module_version("kube").startswith(f"{versions.KUBERNETES}.")


@pytest.mark.parametrize("name", [name for name, program in PROGRAMS.items() if program.package])
def test_what_is_built_starts(name, binary):
    """Controllers have no --version; each at least tells its flags."""
    command = [binary(name), *(["kube-apiserver"] if name == "kube" else []), "--help"]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert (ran.stdout + ran.stderr).count("-") > 10, "its flags"
    assert ran.returncode in {0, 2}


@pytest.mark.parametrize(
    ("name", "arguments"), [("pulumi", ["version"]), ("etcd", ["--version"]), ("kube", ["kube-apiserver", "--version"])]
)
def test_a_program_says_the_version_that_its_module_has(name, arguments, binary):
    said = subprocess.run([binary(name), *arguments], capture_output=True, check=True, text=True).stdout
    assert module_version(name) in said


def test_once_everything_is_built_a_call_takes_no_time(binary):
    for name, program in PROGRAMS.items():
        if program.package:
            binary(name)
    began = time.perf_counter()
    build(PROGRAMS, pytest.fail)
    assert time.perf_counter() - began < 0.2
