"""The state folder of a local runner: what lies where, who holds it, and starting and stopping that holder."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import platformdirs
from sqlalchemy import URL

SECONDS_TO_END = 20.0
SECONDS_OF_A_LOOK = 0.2
"""How long a mere look, as `status` takes it, may hold the lock at most."""


class StateError(ValueError):
    """The state folder can't be used as asked; the message says why and what to do."""


@dataclass(frozen=True)
class Running:
    """A local runner that answers: its process, the addresses of its API and model server, and its model registry."""

    pid: int
    url: str
    serving_url: str
    tracking_uri: str


@dataclass(frozen=True)
class State:
    """A state folder; everything that a local runner keeps is in it."""

    root: Path

    @property
    def lock(self) -> Path:
        """Held by the running runner."""
        return self.root / "runner.lock"

    @property
    def info(self) -> Path:
        """Where the running runner says who and where it is."""
        return self.root / "runner.json"

    @property
    def runner_log(self) -> Path:
        """What the runner prints."""
        return self.root / "runner.log"

    @property
    def serving_log(self) -> Path:
        """What the model server prints."""
        return self.root / "serving.log"

    @property
    def serving_info(self) -> Path:
        """Where the model server says that it answers."""
        return self.root / "serving.json"

    @property
    def database_url(self) -> str:
        """The runner's own database."""
        return _sqlite(self.root / "runner.db")

    @property
    def tracking_uri(self) -> str:
        """The MLflow registry."""
        return _sqlite(self.root / "mlflow.db")

    @property
    def artifacts(self) -> Path:
        """What steps make."""
        return self.root / "artifacts"

    @property
    def logs(self) -> Path:
        """What steps print: a folder a run, in it one a step."""
        return self.root / "logs"

    @property
    def environments(self) -> Path:
        """Virtual environments of steps that bring packages."""
        return self.root / "environments"

    def create(self) -> None:
        """Make the folder, for its owner alone.

        Raises:
            StateError: it can't be made or written to.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe = self.root / f".{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise StateError(
                f"state folder {self.root} can't be written: {error.strerror}; choose another with --state"
            ) from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder against every other runner.

        Raises:
            StateError: another runner holds it.
        """
        with self.lock.open("a") as lock:
            deadline = time.monotonic() + SECONDS_OF_A_LOOK
            while not _taken(lock):
                if time.monotonic() > deadline:
                    raise StateError(
                        f"a runner works on {self.root} already; stop it with "
                        f"`modelyard runner stop --state {self.root}`, or choose another folder with --state"
                    )
                time.sleep(0.01)
            self.info.unlink(missing_ok=True)  # of one that was killed
            try:
                yield
            finally:
                self.info.unlink(missing_ok=True)

    def announce(self, running: Running) -> None:
        """Say who and where the runner is."""
        draft = self.info.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(running)), encoding="utf-8")
        draft.replace(self.info)

    def running(self) -> Running | None:
        """The runner that holds this folder and answers, or None."""
        if not self.lock.exists() or self._free():
            return None
        try:
            return Running(**json.loads(self.info.read_text(encoding="utf-8")))
        except FileNotFoundError:  # it is starting, or ending
            return None

    def _free(self) -> bool:
        with self.lock.open("a") as lock:
            return _taken(lock)


def default_state() -> Path:
    """The state folder of a user who names none."""
    return Path(platformdirs.user_data_dir("modelyard")) / "local"


def start(state: State, port: int = 0, serving_port: int = 0) -> Running:
    """Start a runner in the background and wait until it answers; port 0 is any free one.

    Raises:
        StateError: it can't start; the message is the runner's own.
    """
    state.create()
    read, write = os.pipe()
    command = [sys.executable, "-P", "-m", "modelyard.runner", "--state", str(state.root), "--port", str(port)]
    command += ["--serving-port", str(serving_port), "--ready-fd", str(write)]
    with open(state.runner_log, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
        process = subprocess.Popen(  # noqa: S603 (our own module)
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, pass_fds=[write]
        )
    os.close(write)
    try:
        with os.fdopen(read, encoding="utf-8") as ready:
            told = ready.readline()
    except BaseException:  # Ctrl-C while waiting
        process.terminate()
        process.wait()
        raise
    answer = json.loads(told or "{}")
    if "url" in answer:
        return Running(**answer)
    process.wait()
    raise StateError(answer.get("error") or f"the runner ended while it started; see {state.runner_log}")


def stop(state: State) -> Running | None:
    """End the runner of a state folder and wait until it has ended; None if there was none.

    Raises:
        StateError: it doesn't end.
    """
    running = state.running()
    if running is None:
        return None
    with suppress(ProcessLookupError):  # it ended by itself meanwhile
        os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + SECONDS_TO_END
    while _lives(running.pid) or not state._free():
        if time.monotonic() > deadline:
            raise StateError(f"the runner (process {running.pid}) doesn't end; see {state.runner_log}")
        time.sleep(0.02)
    return running


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:  # another process started it
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _sqlite(path: Path) -> str:
    return URL.create("sqlite", database=str(path)).render_as_string()
