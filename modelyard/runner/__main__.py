"""The process of a local runner: the API, the parent of the steps and the model server, until SIGTERM or Ctrl-C."""

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import uvicorn

from modelyard.runner.api import make_app
from modelyard.runner.packages import Environments
from modelyard.runner.runs import Runs
from modelyard.runner.state import Running, State, StateError
from modelyard.runner.store import Store
from modelyard.runner.workers import Workers
from modelyard.runner.zygote import end_with_parent

HOST = "127.0.0.1"
SECONDS_TO_ANSWER = 60.0
LOST = "the runner ended while this ran"


def main() -> int:
    """Run until told to end; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m modelyard.runner")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--serving-port", type=int, default=0)
    parser.add_argument("--ready-fd", type=int, default=1, help="where the addresses are written as a line of JSON")
    options = parser.parse_args()
    state = State(options.state.absolute())
    os.umask(0o077)  # data, models and logs are for their owner alone, also in a folder that was there before
    try:
        state.create()
        with state.held():
            asyncio.run(_serve(state, options.port, options.serving_port, options.ready_fd))
    except StateError as error:
        _tell(options.ready_fd, {"error": str(error)})
        print(f"modelyard: {error}", file=sys.stderr)  # noqa: T201 (its log)
        return 1
    return 0


async def _serve(state: State, port: int, serving_port: int, ready_fd: int) -> None:
    listener = listen(port, "--port")
    if serving_port:
        listen(serving_port, "--serving-port").close()
    async with _workers() as workers, _model_server(state, serving_port) as serving_url:
        store = Store(state.database_url)
        store.end_lost_runs(LOST)
        runs = Runs(store, workers, Environments(state.environments), state.artifacts, state.logs)
        app = make_app(runs, [HOST, "localhost"])
        # kept alive for longer than the 5 s between two looks of kfp.Client
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", timeout_keep_alive=75, timeout_graceful_shutdown=2)
        )
        running = Running(os.getpid(), f"http://{HOST}:{listener.getsockname()[1]}", serving_url, state.tracking_uri)
        for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn takes them over while it serves
            signal.signal(number, lambda *_: setattr(server, "should_exit", True))
        state.announce(running)
        _tell(ready_fd, asdict(running))
        await server.serve(sockets=[listener])
        await runs.stop()
        store.close()


@asynccontextmanager
async def _workers() -> AsyncIterator[Workers]:
    """The workers while the runner runs."""
    workers = Workers(limit=max(2, os.cpu_count() or 1))
    try:
        await workers.start()
        yield workers
    finally:
        await workers.stop()


def listen(port: int, option: str) -> socket.socket:
    """A socket that listens on loopback.

    Raises:
        StateError: the port is taken.
    """
    # named TCP, or asyncio leaves Nagle on and every answer waits 40 ms
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise StateError(f"port {port} can't be used: {error.strerror}; give another with {option}, or 0") from error
    listener.listen(128)
    return listener


@asynccontextmanager
async def _model_server(state: State, port: int) -> AsyncIterator[str]:
    """The model server while the runner runs; gives its address."""
    state.serving_info.unlink(missing_ok=True)
    words = [sys.executable, "-P", "-m", "modelyard.serving", "--tracking-uri", state.tracking_uri]
    words += ["--host", HOST, "--port", str(port), "--ready-file", str(state.serving_info)]
    with state.serving_log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=end_with_parent
        )
    try:
        yield await _address(state, process)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _address(state: State, process: Process) -> str:
    """The model server's address, once it answers."""
    ended = asyncio.create_task(process.wait())
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    while not state.serving_info.exists():
        if ended.done():
            raise StateError(f"the model server ended while it started; see {state.serving_log}")
        if time.monotonic() > deadline:
            raise StateError(f"the model server doesn't answer after {SECONDS_TO_ANSWER:g} s; see {state.serving_log}")
        await asyncio.wait([ended], timeout=0.02)
    ended.cancel()
    return str(json.loads(state.serving_info.read_text(encoding="utf-8"))["url"])


def _tell(ready_fd: int, message: dict[str, object]) -> None:
    with os.fdopen(ready_fd, "w", encoding="utf-8", closefd=ready_fd > 2) as ready:
        ready.write(json.dumps(message) + "\n")


if __name__ == "__main__":
    sys.exit(main())
