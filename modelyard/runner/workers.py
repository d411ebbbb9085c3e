"""Processes for steps: each job goes to a child that the zygote has forked ahead of it."""

import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.runner.zygote import kill_group

SPARE = 4
QUIET_SECONDS = 0.02
"""A fork slows the steps that run meanwhile, so children are forked when nothing runs, or when they run short."""


class WorkerLostError(RuntimeError):
    """The zygote ended while a job ran, or can't start."""


@dataclass(frozen=True)
class Child:
    """A forked process that waits for its one job."""

    pid: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Workers:
    """The zygote and its children; at most `limit` jobs at a time, the rest wait their turn."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._turns = asyncio.Semaphore(limit)
        self._folder = Path(tempfile.mkdtemp(prefix="modelyard-"))
        self._address = str(self._folder / "steps")
        self._spare: asyncio.Queue[Child | None] = asyncio.Queue()
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._zygote: Process | None = None
        self._server: asyncio.Server | None = None
        self._reading: asyncio.Task[None] | None = None
        self._greetings: set[asyncio.Task[None]] = set()
        self._owed = 0
        self._served = False
        self._stopping = False

    @property
    def zygote_pid(self) -> int:
        """The process that forks; it changes when that one dies and another takes its place."""
        if self._zygote is None:
            raise WorkerLostError("the process that starts steps was never started")
        return self._zygote.pid

    async def start(self) -> None:
        """Start the zygote; its children answer once it has imported the usual packages."""
        self._server = await asyncio.start_unix_server(self._greet, self._address)
        await self._start_zygote()

    async def ready(self) -> None:
        """Wait until a job would start at once."""
        self._spare.put_nowait(await self._next_child())

    async def run(self, job: dict[str, Any]) -> int:
        """Run a job to its end and give its exit status; cancelling kills it, with all that it started.

        `job` has `folder`, `log`, `environment` and either `command`, or `source`, `function` and
        `executor_input`.

        Raises:
            WorkerLostError: the zygote ended meanwhile; the next job starts another.
        """
        async with self._turns:
            child = await self._next_child()
            self._owed += 1
            if self._spare.qsize() < self.limit:
                self._fork_owed()
            exited = self._exits[child.pid] = asyncio.get_running_loop().create_future()
            try:
                child.writer.write(json.dumps(job).encode() + b"\n")
                answer = await child.reader.readline()
                return int(answer) if answer else await asyncio.shield(exited)
            except asyncio.CancelledError:
                kill_group(child.pid)
                await asyncio.wait([exited])
                raise
            finally:
                await _hang_up(child.writer)
                del self._exits[child.pid]
                asyncio.get_running_loop().call_later(QUIET_SECONDS, self._catch_up)

    async def stop(self) -> None:
        """End the zygote and whatever it runs."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        if self._zygote is not None and self._zygote.stdin is not None:
            self._zygote.stdin.close()
            await self._zygote.wait()
        if self._reading is not None:
            await self._reading
        await asyncio.gather(*self._greetings)
        await self._dismiss()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _dismiss(self) -> None:
        """Let the children go that still wait for a job."""
        while not self._spare.empty():
            if child := self._spare.get_nowait():
                await _hang_up(child.writer)

    async def _next_child(self) -> Child:
        while True:
            child = await self._spare.get()
            if child is None:
                self._spare.put_nowait(None)  # for whoever else waits
                raise WorkerLostError("the process that starts steps can't start; see the runner's log")
            if not child.reader.at_eof():
                return child
            self._owed += 1  # that one died while it waited
            self._fork_owed()
            await _hang_up(child.writer)

    async def _start_zygote(self) -> None:
        self._zygote = await asyncio.create_subprocess_exec(
            sys.executable, "-uP", "-m", "modelyard.runner.zygote", self._address, stdin=PIPE, stdout=PIPE
        )
        self._owed = self.limit + SPARE
        self._fork_owed()
        self._reading = asyncio.create_task(self._read(self._zygote))

    def _fork_owed(self) -> None:
        if self._zygote is not None and self._zygote.stdin is not None:
            self._zygote.stdin.write(b"f" * self._owed)
        self._owed = 0

    def _catch_up(self) -> None:
        if not self._exits and not self._stopping:
            self._fork_owed()

    def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A new child reports for work."""
        greeting = asyncio.create_task(self._welcome(reader, writer))
        self._greetings.add(greeting)
        greeting.add_done_callback(self._greetings.discard)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            pid = int(await reader.readline())
        except (ValueError, ConnectionError):  # it died before it could
            await _hang_up(writer)
            return
        self._spare.put_nowait(Child(pid, reader, writer))
        self._served = True

    async def _read(self, zygote: Process) -> None:
        """Take the zygote's word on which children ended how; should it end itself, start another."""
        assert zygote.stdout is not None  # noqa: S101 (it was asked for)
        while line := await zygote.stdout.readline():
            message = json.loads(line)
            exited = self._exits.get(message["pid"])
            if exited is not None and not exited.done():
                exited.set_result(message["status"])
        for pid, exited in self._exits.items():
            kill_group(pid)
            if not exited.done():
                exited.set_exception(WorkerLostError("the process that starts steps ended; is memory short?"))
        if self._served and not self._stopping:
            self._served = False
            await self._dismiss()
            await self._start_zygote()
        else:
            self._spare.put_nowait(None)


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
