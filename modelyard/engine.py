"""Pulumi's engine at work on a stack: what it is doing, what came of it, and how it is stopped."""

import json
import logging
import os
import re
import runpy
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pulumi import _version, automation
from pulumi.automation.errors import create_command_error

from infra.settings.stacks import AccountStack, Stack
from modelyard.bootstrap import backend_url
from modelyard.errors import FailedError, RefusedError, StoppedError
from modelyard.plan.imports import by_need

PATIENCE = 3 * 60 * 60
"""Seconds without news of any resource after which it is given up: AWS itself takes up to two hours for some."""
GRACE = 30
"""Seconds that the engine has to come to an end in good order."""
UNCHANGED = {"same", "read", "refresh", "discard"}
SECRET_NAME = re.compile(r"SECRET|TOKEN|PASSWORD|PASSPHRASE")
COLOUR = re.compile(r"<\{%.*?%\}>|\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Step:
    """One operation on one resource."""

    urn: str
    operation: str
    started: float
    """By time.monotonic()."""
    seconds: float = 0
    failed: bool = False
    custom: bool = True
    """False for what only groups others."""
    properties: tuple[str, ...] = ()
    """Which of its properties differ."""

    @property
    def name(self) -> str:
        """The resource's logical name."""
        return self.urn.rpartition("::")[2]

    @property
    def type(self) -> str:
        """Such as `aws:kms/key:Key`."""
        return type_of(self.urn)


@dataclass
class Progress:
    """What an operation of the engine has come to so far."""

    running: dict[str, Step] = field(default_factory=dict)
    steps: dict[tuple[str, str], Step] = field(default_factory=dict)
    """What came to an end, by URN and operation."""
    problems: dict[str, list[str]] = field(default_factory=dict)
    """What went wrong, by URN; "" is for what is no resource's."""
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0

    @property
    def changes(self) -> dict[str, int]:
        """How many resources each operation changes."""
        return {name: number for name, number in self.counts.items() if name not in UNCHANGED}

    @property
    def changed(self) -> list[Step]:
        """What was changed, or would be."""
        return [
            step
            for step in self.steps.values()
            if step.operation not in UNCHANGED and not step.failed and not step.type.startswith("pulumi:providers:")
        ]

    def sentence(self) -> str:
        """What went wrong, a resource a line."""
        lines = []
        for urn, messages in self.problems.items():
            where = f"{urn.rpartition('::')[2]} ({type_of(urn)}): " if urn and type_of(urn) != STACK else ""
            told = re.sub(rf"^{re.escape(type_of(urn))} '[^']*': ", "", messages[0])
            lines.append(where + told)
        return "\n".join(dict.fromkeys(lines))


Seen = Callable[[Progress], None]
STACK = "pulumi:pulumi:Stack"


def type_of(urn: str) -> str:
    """The type of what a URN names."""
    return urn.split("::")[2].rpartition("$")[2] if urn.count("::") >= 3 else ""


def find(may_download: Callable[[str], bool]) -> automation.PulumiCommand:
    """The `pulumi` on PATH, or one that was or may be downloaded; `may_download` is told what would be.

    Raises RefusedError, or FailedError if the download fails.
    """
    version = str(_version.version)
    how = f"install Pulumi {version} or newer of its major version and put it on PATH"
    try:
        return automation.PulumiCommand()
    except FileNotFoundError:
        pass
    except (automation.InvalidVersionError, subprocess.CalledProcessError, PermissionError) as error:
        raise RefusedError(f"the `pulumi` on PATH can't be used: {str(error).split(chr(10))[0]} {how}") from error
    kept = Path.home() / ".pulumi" / "versions" / version
    try:
        return automation.PulumiCommand(root=str(kept))
    except (FileNotFoundError, PermissionError, automation.InvalidVersionError, subprocess.CalledProcessError):
        pass
    if not may_download(f"Pulumi {version} from get.pulumi.com into {kept}"):
        raise RefusedError(f"there is no `pulumi` command, which `up` needs and a plan doesn't; {how}")
    try:
        return automation.PulumiCommand.install()
    except (OSError, subprocess.CalledProcessError, automation.InvalidVersionError) as error:
        raise FailedError(f"Pulumi {version} can't be downloaded from get.pulumi.com ({error}); {how}") from error


class Engine:
    """Pulumi's engine on one stack of the project, with the program that `pulumi up` runs."""

    def __init__(
        self, root: Path, stack: Stack, command: automation.PulumiCommand, *, patience: float = PATIENCE
    ) -> None:
        """What is asked of it first raises RefusedError if the stack was never initialised."""
        self.name = stack.name
        self._patience = patience
        self._command = _Command(command)
        self._told: Progress | None = None

        def program() -> None:
            by_need()
            runpy.run_path(str(root / "infra" / "__main__.py"), run_name="__main__")

        account = stack if isinstance(stack, AccountStack) else stack.account
        environment = {"PULUMI_SKIP_UPDATE_CHECK": "1"}
        if account and "PULUMI_BACKEND_URL" not in os.environ:
            environment["PULUMI_BACKEND_URL"] = backend_url(account.settings)
        self._workspace = automation.LocalWorkspace(
            work_dir=str(root), program=program, env_vars=environment, pulumi_command=self._command
        )
        self.backend = os.environ.get("PULUMI_BACKEND_URL") or environment.get("PULUMI_BACKEND_URL", "")
        """Where the state is kept."""
        self._made_by = f"modelyard env bootstrap {stack.name}" if account else f"pulumi stack init {stack.name}"
        try:
            self.backend = self.backend or str(self._workspace.who_am_i().url)
        except automation.CommandError as error:
            raise FailedError(f"{stack.name}: {_told(error)}") from error

    @cached_property
    def _stack(self) -> automation.Stack:
        try:
            return automation.Stack.select(self.name, self._workspace)
        except automation.StackNotFoundError as error:
            raise RefusedError(f"{self.backend} knows no stack {self.name}; `{self._made_by}` makes it") from error
        except automation.CommandError as error:
            raise FailedError(f"{self.name}: {_told(error)}") from error

    def preview(self, seen: Seen) -> Progress:
        """What `up` would do."""
        return self._do(self._stack.preview, seen)

    def up(self, seen: Seen) -> Progress:
        """Make the cloud what the program says."""
        return self._do(self._stack.up, seen, show_secrets=False)

    def preview_refresh(self, seen: Seen) -> Progress:
        """What differs between the state and what is really there."""
        return self._do(self._stack.preview_refresh, seen, run_program=False)

    def refresh(self, seen: Seen, only: list[str] | None = None) -> Progress:
        """Take what is really there into the state: of all resources, or of some."""
        return self._do(self._stack.refresh, seen, target=only, show_secrets=False, run_program=False)

    def preview_destroy(self, seen: Seen) -> Progress:
        """What `destroy` would delete."""
        return self._do(self._stack.preview_destroy, seen, run_program=False)

    def destroy(self, seen: Seen) -> Progress:
        """Delete everything."""
        return self._do(self._stack.destroy, seen, show_secrets=False, run_program=False)

    def outputs(self) -> dict[str, Any]:
        """What other stacks and people may know; secrets are not told."""
        return dict(json.loads(self._ask("output", "--json")))

    def state(self) -> dict[str, Any]:
        """The stack's checkpoint; secrets in it stay encrypted."""
        return dict(json.loads(self._ask("export")))

    def put_state(self, state: Mapping[str, Any]) -> None:
        """Write the stack's checkpoint."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "state.json"
            file.write_text(json.dumps(state), encoding="utf-8")
            self._ask("import", "--file", str(file))

    def _ask(self, *words: str) -> str:
        try:
            return self._command.run(
                ["stack", *words, "--stack", self._stack.name], self._workspace.work_dir, self._workspace.env_vars
            ).stdout
        except automation.CommandError as error:
            raise FailedError(f"{self.name}: {_told(error)}") from error

    def _do(self, operation: Callable[..., Any], seen: Seen, **options: Any) -> Progress:
        """Run an operation to its end, which Ctrl-C or a long silence brings about earlier."""
        progress, watch = Progress(), _Watch()
        errors: list[BaseException] = []

        def hear(event: automation.EngineEvent) -> None:
            with watch.lock:
                watch.heard = time.monotonic()
                _note(progress, event)
                seen(progress)

        def work() -> None:
            try:
                operation(on_event=hear, color="never", **options)
            except BaseException as error:  # noqa: BLE001 it is raised again in the thread that waits
                errors.append(error)

        logging.getLogger("grpc").setLevel(logging.CRITICAL)  # it would log that an engine that was stopped is gone
        started = time.monotonic()
        thread = threading.Thread(target=work, name=f"pulumi {self.name}")
        thread.start()
        self._wait(thread, watch, progress)
        progress.seconds = time.monotonic() - started
        self._judge(progress, watch, errors)
        return progress

    def _wait(self, thread: threading.Thread, watch: "_Watch", progress: Progress) -> None:
        while thread.is_alive():
            try:
                thread.join(0.1)
                now = time.monotonic()
                silent = now - watch.heard > self._patience
                if (silent and not watch.asked_at) or (watch.silent is not None and now - watch.asked_at > GRACE):
                    watch.silent = watch.silent or list(progress.running.values())
                    watch.asked_at = now
                    self._command.interrupt()
            except KeyboardInterrupt:
                watch.stops += 1
                self._command.interrupt()

    def _judge(self, progress: Progress, watch: "_Watch", errors: list[BaseException]) -> None:
        """Raise what has to be told in place of a result."""
        for error in errors:
            if not isinstance(error, automation.CommandError):
                raise error
        if not (errors or watch.stops or watch.silent is not None):
            return
        running = progress.running.values() if watch.silent is None else watch.silent
        left = ", ".join(f"{one.name} ({one.type}, {one.operation})" for one in running if one.custom)
        done = f"{len(progress.changed)} resources were done" if progress.changed else "nothing was changed yet"
        if watch.stops:
            open_ones = f"; unknown of: {left}, which the next `up` or `destroy` finds out" if left else ""
            raise StoppedError(f"stopped {self.name}: {done}{open_ones}")
        if watch.silent is not None:
            raise FailedError(
                f"{left or 'the engine'} gave no answer in {self._patience:g} seconds and was given up; {done},"
                " and the next `up` finds out what came of it and goes on"
            )
        if any(isinstance(error, automation.ConcurrentUpdateError) for error in errors):
            raise RefusedError(f"{self.name} is being changed by somebody else just now: {_told(errors[0])}")
        if not progress.problems:
            progress.problems[""] = [_told(errors[0])]
        raise FailedError(f"{self.name}: {masked(progress.sentence())}")


@dataclass
class _Watch:
    heard: float = field(default_factory=time.monotonic)
    stops: int = 0
    silent: list[Step] | None = None
    """What was running when it was given up."""
    asked_at: float = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Command(automation.PulumiCommand):
    """A `pulumi` in a process group of its own: Ctrl-C reaches it through us, each one once."""

    def __init__(self, found: automation.PulumiCommand) -> None:
        self.command = found.command
        self.version = found.version
        self._process: subprocess.Popen[bytes] | None = None

    def interrupt(self) -> None:
        """Ask what runs to end in good order; a second time: to end."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], Any] | None = None,
        on_error: Callable[[str], Any] | None = None,
    ) -> automation.CommandResult:
        """Run `pulumi`; nothing is asked on the terminal. Raises CommandError."""
        with tempfile.TemporaryDirectory() as folder:
            # Files and no pipes: those stay open for as long as a plugin lives that the engine left behind.
            paths = [Path(folder) / "out", Path(folder) / "err"]
            with paths[0].open("w") as out, paths[1].open("w") as err:
                process = self._process = subprocess.Popen(  # noqa: S603 Pulumi's own command, with words of ours
                    [self.command, "--non-interactive", *args],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    cwd=cwd,
                    env={**os.environ, **additional_env, "PULUMI_AUTOMATION_API": "true"},
                    start_new_session=True,
                )
                code = process.wait()
            texts = [path.read_text(encoding="utf-8").rstrip("\n") for path in paths]
        for text, tell in zip(texts, (on_output, on_error), strict=True):
            if tell:
                for line in text.splitlines():
                    tell(line)
        result = automation.CommandResult(texts[0], texts[1], code)
        if code:
            raise create_command_error(result)
        return result


def masked(text: str) -> str:
    """A text without the secrets that this process was given; the engine hides those of the stack."""
    secrets = {value for name, value in os.environ.items() if SECRET_NAME.search(name) and len(value) >= 6}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "[secret]")
    return text


def _told(error: BaseException) -> str:
    """What `pulumi` says was wrong."""
    text = COLOUR.sub("", str(error))
    found = re.findall(r"^(?:\s*stderr: |\s*stdout: )?error: (.+(?:\n  .+)*)", text, re.MULTILINE)
    return masked(found[-1] if found else text.strip())


def _note(progress: Progress, event: automation.EngineEvent) -> None:
    if event.resource_pre_event:
        step = _step(event.resource_pre_event.metadata)
        progress.running[step.urn] = step
    elif event.res_outputs_event:
        _end(progress, event.res_outputs_event.metadata, failed=False)
    elif event.res_op_failed_event:
        _end(progress, event.res_op_failed_event.metadata, failed=True)
    elif event.diagnostic_event and event.diagnostic_event.severity == "error":
        if message := _message(event.diagnostic_event.message):
            progress.problems.setdefault(event.diagnostic_event.urn or "", []).append(message)
    elif event.summary_event:
        progress.counts = {
            getattr(name, "value", str(name)): int(number)
            for name, number in event.summary_event.resource_changes.items()
        }


def _end(progress: Progress, metadata: Any, *, failed: bool) -> None:
    step = _step(metadata)
    began = progress.running.pop(step.urn, step).started
    progress.steps[step.urn, step.operation] = replace(
        step, started=began, seconds=time.monotonic() - began, failed=failed
    )


def _step(metadata: Any) -> Step:
    properties = sorted(metadata.detailed_diff or metadata.diffs or ())
    custom = bool((metadata.new or metadata.old) and (metadata.new or metadata.old).custom)
    return Step(metadata.urn, metadata.op.value, time.monotonic(), custom=custom, properties=tuple(properties))


def _message(text: str) -> str:
    """The first line that says something; what the engine adds about itself doesn't."""
    lines = [line.strip(" \t*") for line in COLOUR.sub("", text).splitlines()]
    said = [line for line in lines if line and not re.fullmatch(r"\d+ errors? occurred:?", line)]
    return said[0] if said and said[0] not in ("update failed", "preview failed", "destroy failed") else ""
