"""The parent of the steps: one thread, the usual packages imported, nothing ever run; it forks a child a step.

Runs as a process of its own (`python -m modelyard.runner.zygote SOCKET`). On its standard input each byte asks for one
more child, and the end of it ends everything. A child connects to SOCKET, says its process id, takes one job, answers
with its exit status and is gone; `workers.py` is the other end. A fork of so large a process takes milliseconds, so
children are made ahead of their jobs. A fork after OpenMP or a thread pool has run can hang, so nothing may start a
thread here: that is why the environment below is set first, and why onnxruntime, which starts one when it is imported,
is not among the packages.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

THREADS = "OPENBLAS_NUM_THREADS"
"""One in each step unless its author sets more: steps run side by side, and idle BLAS threads spin for a while."""

ENVIRONMENT = {
    THREADS: "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "_KFP_RUNTIME": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
"""What keeps imports free of threads, of kfp's compiler and of telemetry."""

USUAL = (
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "pyarrow.pandas_compat",
    "pandas.core.arrays.arrow.extension_types",
    "narwhals._pandas_like.namespace",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.model_selection",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "skl2onnx",
    "pandera.pandas",
    "pandera.strategies.pandas_strategies",
    "fairlearn.metrics",
    "fsspec.implementations.local",
    "httpx",
    "kfp.dsl.executor",
    "mlflow.tracking",
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "mlflow.store.model_registry.sqlalchemy_workspace_store",
    "mlflow.store.artifact.local_artifact_repo",
    "alembic.command",
    "sqlalchemy.dialects.sqlite",
    "threadpoolctl",
)
"""Imported once, shared by every step, where they are installed; the inner ones are those that a first use imports.

Never the project's own code, which changes between runs.
"""

ERROR_FILE = "error"
"""In a step's folder: the last line of what went wrong."""

PR_SET_PDEATHSIG = 1


def main(address: str) -> None:
    """Fork on request until standard input closes, then end what still runs."""
    for name in USUAL:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    controller = importlib.import_module("threadpoolctl").ThreadpoolController()
    gc.collect()
    gc.freeze()  # or a child's first collection would write to, and so copy, every page
    children: set[int] = set()
    wakeup_read, wakeup_write = os.pipe()
    for end in (wakeup_read, wakeup_write):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wakeup_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the runner to act on
    while True:
        ready, _, _ = select.select([0, wakeup_read], [], [])
        if wakeup_read in ready:
            os.read(wakeup_read, 4096)
            for pid, status in ended_children():
                children.discard(pid)
                kill_group(pid)  # what a step leaves behind ends with it, as in a container
                tell({"pid": pid, "status": os.waitstatus_to_exitcode(status)})
        if 0 in ready:
            asked = os.read(0, 4096)
            if not asked:
                break
            children.update(fork(address, controller) for _ in asked)
    for pid in children:
        kill_group(pid)


def kill_group(pid: int) -> None:
    """Kill a child and whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: PermissionError of a dead one
        os.killpg(pid, signal.SIGKILL)


def fork(address: str, controller: Any) -> int:
    """Make one child; its process id."""
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        child(address, controller)
    return pid


def tell(message: dict[str, Any]) -> None:
    """Send one message to the runner, on standard output."""
    os.write(1, json.dumps(message).encode() + b"\n")


def ended_children() -> Iterator[tuple[int, int]]:
    """Process id and wait status of each child that has ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def child(address: str, controller: Any) -> NoReturn:
    """A child's whole life: wait for a job, run it, answer."""
    os.setpgid(0, 0)
    end_with_parent()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # or a step that reads its input would eat requests for forks
    sys.modules["numpy"].random.seed()  # or every step would draw the same numbers
    with socket.socket(socket.AF_UNIX) as link, link.makefile("rwb") as messages:
        try:
            link.connect(address)
            messages.write(b"%d\n" % os.getpid())
            messages.flush()
            line = messages.readline()
            if not line:
                os._exit(0)
        except OSError:  # the runner has ended meanwhile
            os._exit(0)
        status = run(json.loads(line), controller)
        with contextlib.suppress(OSError):
            messages.write(b"%d\n" % status)
            messages.flush()
        os._exit(status)


def run(job: dict[str, Any], controller: Any) -> int:
    """A child's whole life: execute the job with its output in the log; the exit status."""
    folder = Path(job["folder"])
    try:
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(folder)
        os.environ.update(job["environment"])
        if "command" in job:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, a command expects it
            os.execvpe(job["command"][0], job["command"], os.environ)  # noqa: S606 (the package's own command)
        if threads := job["environment"].get(THREADS):  # it was read when BLAS was loaded, so it has to be told again
            controller.limit(limits=int(threads), user_api="blas")
        python(job, folder)
    except SystemExit as end:
        return leave(end.code if isinstance(end.code, int) else int(end.code is not None))
    except BaseException as error:  # noqa: BLE001 (whatever a step raises ends the step, and is told)
        traceback.print_exc()
        sentence = str(error).strip()
        if not isinstance(error, ValueError) or not sentence:
            sentence = f"{type(error).__name__}: {sentence}"
        (folder / ERROR_FILE).write_text(sentence, encoding="utf-8", errors="backslashreplace")
        return leave(1)
    return leave(0)


def python(job: dict[str, Any], folder: Path) -> None:
    """Execute a lightweight Python component with kfp's own executor, as its container would."""
    source = folder / "ephemeral_component.py"
    source.write_text(job["source"], encoding="utf-8")
    module = types.ModuleType(source.stem)
    module.__file__ = str(source)
    sys.modules[source.stem] = module
    exec(compile(job["source"], source, "exec"), vars(module))  # noqa: S102 (executing it is the task)
    executor = sys.modules["kfp.dsl.executor"].Executor(job["executor_input"], getattr(module, job["function"]))
    executor.execute()


def leave(status: int) -> int:
    """Flush what the step printed; the process ends without the interpreter's tear-down."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return status


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, where the kernel can (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    os.environ.update(ENVIRONMENT)
    # the image's own programs come first, `python` above all
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    main(sys.argv[1])
