"""The server as a process of its own, over a real loopback socket."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from modelyard.serving.__main__ import listen, without_passwords
from tests.serving.folder_registry import FolderRegistry
from tests.serving.graphs import house, rows

ROOT = Path(__file__).parents[2]
SECONDS = 30


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    """A server over a folder of models."""
    command = [sys.executable, "-m", "tests.serving.folder_registry", "--tracking-uri", str(folder), *more]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def end(server: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and what it said."""
    _, said = server.communicate(timeout=SECONDS)
    return server.returncode, said


@contextmanager
def running(folder: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """A server that is gone afterwards, whatever the test does."""
    server = start(folder, *more)
    try:
        yield server
    finally:
        server.kill()
        end(server)


def wait_until_ready(server: subprocess.Popen[str]) -> str:
    """Its URL, from the line that it logs once the ready file is there."""
    assert server.stderr
    for line in server.stderr:
        if " ready at " in line:
            return line.rpartition(" ")[2].strip()
    raise AssertionError("the server ended before it was ready")


@pytest.fixture
def ready_file(tmp_path: Path) -> Path:
    return tmp_path / "ready.json"


@pytest.fixture
def served(registry: FolderRegistry, ready_file: Path) -> Iterator[httpx.Client]:
    """A client of a server over `registry`."""
    with (
        running(registry.folder, "--ready-file", str(ready_file), "--max-request-bytes", "5000") as server,
        httpx.Client(base_url=wait_until_ready(server), timeout=SECONDS) as client,
    ):
        yield client


def factor(client: httpx.Client) -> float:
    """What tells the versions of `house` apart, taken from an answer that must be good."""
    answer = client.post("/v2/models/house/infer", json=rows([1], ["Rome"]))
    assert answer.status_code == 200, answer.text
    return float(answer.json()["outputs"][1]["data"][0])


def test_no_answer_fails_while_another_version_is_loaded_and_takes_over(
    served: httpx.Client, registry: FolderRegistry
) -> None:
    content = house(2)
    file = registry.add("house", "2", content)
    file.unlink()
    os.mkfifo(file)  # whoever reads it waits until it was written: the load takes as long as the test likes
    taken_over = Event()

    def infer_until_taken_over() -> list[float]:
        seen = []
        with httpx.Client(base_url=served.base_url, timeout=SECONDS) as client:
            while not taken_over.is_set():
                seen.append(factor(client))
            return [*seen, factor(client)]

    with ThreadPoolExecutor() as threads:
        asking = threads.submit(infer_until_taken_over)
        loading = threads.submit(served.post, "/v2/repository/models/house/load")
        try:
            with file.open("wb") as pipe:  # opens when the server has begun to read
                assert [factor(served) for _ in range(20)] == [1.0] * 20, "the old version answers during the load"
                assert not loading.done()
                pipe.write(content)
            assert loading.result(SECONDS).json()["version"] == "2"
            assert factor(served) == 2.0
        finally:
            taken_over.set()
        seen = asking.result(SECONDS)
    assert seen == sorted(seen), "once the new version answers, the old one never does again"
    assert seen[-1] == 2.0


def chunks(count: int) -> Iterator[bytes]:
    yield from (b" " * 1000 for _ in range(count))


def test_a_body_that_does_not_tell_its_length_is_counted_too(served: httpx.Client) -> None:
    for content in (chunks(6), chunks(15), b" " * 6000):
        answer = served.post("/v2/models/house/infer", content=content)
        assert (answer.status_code, "more than 5000 bytes" in answer.text) == (413, True)
    good = json.dumps(rows([1], ["Rome"])).encode()
    assert served.post("/v2/models/house/infer", content=iter([good[:20], good[20:]])).status_code == 200


def test_the_host_header_is_checked_on_a_real_socket(served: httpx.Client) -> None:
    assert served.get("/v2", headers={"host": "evil.example"}).status_code == 403


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_0(registry: FolderRegistry, ready_file: Path, number: int) -> None:
    ready_file.write_text("from a server before")
    with running(registry.folder, "--ready-file", str(ready_file)) as server:
        url = wait_until_ready(server)
        assert json.loads(ready_file.read_text()) == {"url": url, "pid": server.pid}
        assert list(ready_file.parent.glob("ready.json*")) == [ready_file], "no half of it stays behind"
        httpx.get(f"{url}/v2/health/ready").raise_for_status()
        server.send_signal(number)
        code, said = end(server)
    assert (code, "Traceback" in said) == (0, False), said


def test_a_signal_ends_it_while_a_champion_is_still_loading_and_nobody_was_told_it_is_ready(
    registry: FolderRegistry, ready_file: Path
) -> None:
    file = registry.add("house", "2", house(2))
    file.unlink()
    os.mkfifo(file)
    with running(registry.folder, "--ready-file", str(ready_file)) as server, file.open("wb"):
        assert not ready_file.exists()
        server.send_signal(signal.SIGTERM)
        assert end(server) == (0, "")


def refused(*arguments: Any) -> str:
    """The one sentence of a server that did not start."""
    code, said = end(start(*arguments))
    assert (code, said.count("\n")) == (1, 1), said
    return said.strip()


def test_an_answer_does_not_wait_for_the_clients_acknowledgement() -> None:
    with closing(listen("127.0.0.1", 0)) as listener:
        assert listener.proto == socket.IPPROTO_TCP, "or asyncio leaves Nagle's algorithm on: 40 ms more an answer"


def test_a_port_in_use_is_one_sentence(registry: FolderRegistry) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        assert refused(registry.folder, "--port", port) == (
            f"can't listen on port {port} of 127.0.0.1: Address already in use; "
            "choose another with --port, or 0 for a free one"
        )


def test_a_registry_that_can_not_be_read_is_one_sentence(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert refused(gone).startswith(f"can't read the registry at {gone}: [Errno 2]")


def test_a_ready_file_that_can_not_be_written_is_one_sentence(registry: FolderRegistry, tmp_path: Path) -> None:
    for file in (tmp_path / "gone" / "ready.json", tmp_path):
        assert refused(registry.folder, "--ready-file", str(file)).startswith(f"can't write {file}: ")


def test_no_password_is_shown_with_a_registry() -> None:
    shown = without_passwords("can't read postgresql+psycopg://ana:s3cret:x@y@db:5432/mlflow: no route to db:5432")
    assert shown == "can't read postgresql+psycopg://ana:***@db:5432/mlflow: no route to db:5432"


def test_it_starts_without_what_only_training_needs() -> None:
    heavy = "{'sklearn', 'pandas', 'skl2onnx', 'onnx', 'mlflow', 'kfp', 'fastapi'}"
    code = f"import sys, modelyard.serving.__main__; print({heavy} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_a_wrong_argument_is_told_with_what_is_allowed(tmp_path: Path) -> None:
    for arguments, reason in (
        (("--port", "65536"), "'65536' is not a port; it goes from 0 (any free one) to 65535"),
        (("--max-request-bytes", "0"), "'0' is not a number of bytes"),
        (("--tracking-uri", ""), "it is empty"),
    ):
        code, said = end(start(tmp_path, *arguments))
        assert (code, reason in said) == (2, True), said
