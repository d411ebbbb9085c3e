"""modelyard env preview, up, refresh, destroy, outputs: Pulumi's engine at work on an environment."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli.env import Env, Threshold, fails, settings_sentences
from modelyard.cli.options import JsonOption
from modelyard.cli.output import Screen, command, table
from modelyard.errors import FailedError, RefusedError, StoppedError
from modelyard.project import project

if TYPE_CHECKING:
    from rich.console import RenderableType

    from infra.settings.stacks import Stack
    from modelyard.engine import Engine, Progress, Seen, Step
    from modelyard.recovery import Recovered

PREVIEW_EPILOG = "Example: modelyard env preview dev"
UP_EPILOG = "Example: modelyard env up dev"
REFRESH_EPILOG = "Example: modelyard env refresh dev"
DESTROY_EPILOG = "Example: modelyard env destroy dev"
OUTPUTS_EPILOG = "Example: modelyard env outputs dev --json"
MOST_RUNNING = 8
MOST_ROWS = 30
WORDS = {
    "create": ("to create", "created"),
    "update": ("to change", "changed"),
    "delete": ("to delete", "deleted"),
    "replace": ("to replace", "replaced"),
    "create-replacement": ("to replace", "replaced"),
    "delete-replaced": ("to replace", "old one deleted"),
    "import": ("to take over", "taken over"),
    "same": ("unchanged", "unchanged"),
}
INTERNAL = {"read", "refresh", "discard"}
DANGEROUS = {"delete", "replace", "create-replacement", "delete-replaced"}

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; this may download Pulumi, too.")]


def preview(env: Env, as_json: JsonOption = False) -> None:
    """Show what `up` would do to the cloud as it is recorded in the state; nothing is changed."""
    screen = Screen(as_json=as_json)
    stack, summary, price = _planned(screen, env, strict=False)
    engine = _engine(screen, stack, yes=False)
    _warn_of_interruption(screen, engine)
    with screen.waiting(f"{env}: preview"):
        found = engine.preview(_quietly)
    _show_changes(screen, found)
    screen.show(f"\n{_counts(env, found)}")
    for sentence in summary:
        screen.show(sentence)
    screen.finish(_described(env, "preview", found) | {"price": price})


def up(env: Env, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Make an environment or account what its settings say; shows what changes and costs, and asks first.

    After an interruption it goes on: what was made unnoticed is found and taken over. Exit code 1 if it fails.
    """
    screen = Screen(as_json=as_json)
    _need_answer(yes=yes, as_json=as_json)
    stack, summary, price = _planned(screen, env, strict=True)
    engine = _engine(screen, stack, yes=yes)
    recovered = _recover(screen, engine, stack)
    with screen.waiting(f"{env}: preview"):
        found = engine.preview(_quietly)
    _show_changes(screen, found)
    screen.show(f"\n{_counts(env, found)}")
    for sentence in summary:
        screen.show(sentence)
    done = found
    if found.changes:
        _ask(yes=yes)
        with _watching(screen, f"{env}: up", _total(found)) as seen:
            done = engine.up(seen)
        screen.show(f"{_counts(env, done, past=True)} in {done.seconds:.1f} s")
        screen.note(f"what others may know of it: {command('env', 'outputs', env)}")
    else:
        screen.show("nothing to do")
    screen.finish(_described(env, "up", done) | {"price": price, "recovered": _told(recovered)})


def refresh(env: Env, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Find what was changed by hand, and take it into the state; the next `up` puts it right."""
    screen = Screen(as_json=as_json)
    _need_answer(yes=yes, as_json=as_json)
    stack = _settings(env)
    engine = _engine(screen, stack, yes=yes)
    recovered = _recover(screen, engine, stack)
    with screen.waiting(f"{env}: looking for differences"):
        found = engine.preview_refresh(_quietly)
    done = found
    if found.changed:
        screen.show("changed or deleted by hand:")
        _show_changes(screen, found)
        _ask(yes=yes, question="Take it into the state?")
        with _watching(screen, f"{env}: refresh", _total(found)) as seen:
            done = engine.refresh(seen)
        screen.note(f"what puts it right: {command('env', 'up', env)}")
    else:
        screen.show("the state is as the cloud is")
    screen.finish(_described(env, "refresh", done) | {"recovered": _told(recovered)})


def destroy(env: Env, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Delete everything that an environment or account has; shows it and asks first. There is no way back."""
    screen = Screen(as_json=as_json)
    _need_answer(yes=yes, as_json=as_json)
    stack = _settings(env)
    engine = _engine(screen, stack, yes=yes)
    recovered = _recover(screen, engine, stack)
    _refuse_protected(env, engine)
    with screen.waiting(f"{env}: preview"):
        found = engine.preview_destroy(_quietly)
    done = found
    if found.changes:
        _show_changes(screen, found)
        screen.show(f"\n{_counts(env, found)}")
        _ask(yes=yes, question=f"Delete {env}? There is no way back.")
        with _watching(screen, f"{env}: destroy", _total(found)) as seen:
            done = engine.destroy(seen)
        screen.show(f"{_counts(env, done, past=True)} in {done.seconds:.1f} s")
    else:
        screen.show("nothing to do")
    screen.finish(_described(env, "destroy", done) | {"recovered": _told(recovered)})


def outputs(env: Env, as_json: JsonOption = False) -> None:
    """Show what other stacks, people and programs may know of an environment; secrets are not shown."""
    screen = Screen(as_json=as_json)
    stack = _settings(env)
    told = _engine(screen, stack, yes=False).outputs()
    rows = [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in sorted(told.items())]
    screen.show(table(["output", "value"], rows) if rows else f"{env} has no outputs yet")
    screen.finish({"stack": env, "outputs": told})


def _settings(env: str) -> "Stack":
    from infra.settings.stacks import load

    with settings_sentences():
        return load(project() / "stacks", env)


def _planned(screen: Screen, env: str, *, strict: bool) -> tuple["Stack", list[str], dict[str, Any]]:
    """The settings, what the plan says in sentences, and the price.

    Raises RefusedError if `strict` and the plan has findings that fail one.
    """
    from datetime import UTC, datetime

    from modelyard.plan import plan as plans
    from modelyard.plan import words

    with screen.waiting(f"{env}: plan"), settings_sentences():
        made = plans.plan(project(), env, today=datetime.now(UTC).date())
    if strict and fails(made, Threshold.HIGH):
        how = command("env", "plan", env)
        raise RefusedError(f"{env} has findings that must be put right or waived before it goes up; `{how}` shows them")
    sentences = [sentence for sentence, _ in words.summary(made)]
    return made.stack, sentences, made.json()["price"]["total"]


def _engine(screen: Screen, stack: "Stack", *, yes: bool) -> "Engine":
    from modelyard.engine import Engine, find

    def may_download(what: str) -> bool:
        screen.note(f"there is no `pulumi` on PATH; it can be downloaded: {what}")
        return yes or (sys.stdin.isatty() and typer.confirm("Download it?", err=True))

    return Engine(project(), stack, find(may_download))


def _recover(screen: Screen, engine: "Engine", stack: "Stack") -> "Recovered":
    from infra.settings.stacks import AccountStack
    from modelyard.found import Finder
    from modelyard.recovery import recover

    account = stack if isinstance(stack, AccountStack) else stack.account
    return recover(engine, Finder(stack.name, account.settings if account else None), screen.note)


def _warn_of_interruption(screen: Screen, engine: "Engine") -> None:
    if pending := engine.state()["deployment"].get("pending_operations"):
        screen.note(
            f"an earlier run was interrupted in {len(pending)} operations; `up` finds out what came of them first",
            "yellow",
        )


def _refuse_protected(env: str, engine: "Engine") -> None:
    resources = engine.state()["deployment"].get("resources") or []
    if kept := sorted(one["urn"].rpartition("::")[2] for one in resources if one.get("protect")):
        names = ", ".join(kept[:5]) + (f" and {len(kept) - 5} more" if len(kept) > 5 else "")
        raise RefusedError(
            f"{env} is durable: {names} can't be deleted; change its lifetime to throwaway,"
            f" run `{command('env', 'up', env)}`, then destroy"
        )


def _need_answer(*, yes: bool, as_json: bool) -> None:
    if not yes and (as_json or not sys.stdin.isatty()):
        raise RefusedError("there is nobody to ask whether to do it; add --yes to do it without a question")


def _ask(*, yes: bool, question: str = "Do it?") -> None:
    if yes:
        return
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort as error:
        raise StoppedError("stopped; nothing was changed") from error
    if not agreed:
        raise FailedError("nothing was changed, since you said no")


def _counts(env: str, progress: "Progress", *, past: bool = False) -> str:
    """How many resources an operation changes, or has changed."""
    parts = [
        f"{number} {WORDS.get(name, (name, name))[past]}"
        for name, number in sorted(progress.counts.items())
        if number and name not in INTERNAL
    ]
    return f"{env}: {', '.join(parts) or 'nothing'}"


def _total(progress: "Progress") -> int:
    return sum(progress.counts.values())


def _show_changes(screen: Screen, progress: "Progress") -> None:
    """What changes, and above all what is lost: where there is much, new resources are only counted."""
    steps = [step for step in progress.changed if not step.type.startswith("pulumi:pulumi:")]
    shown = steps if len(steps) <= MOST_ROWS else [step for step in steps if step.operation != "create"]
    rows = [
        (_word(step, past=False), step.name, step.type, ", ".join(step.properties))
        for step in shown
        if step.operation not in ("create-replacement", "delete-replaced")
    ]
    if rows:
        screen.show(table(["", "resource", "type", "differs in"], rows))


def _word(step: "Step", *, past: bool) -> Any:
    from rich.text import Text

    word = WORDS.get(step.operation, (step.operation, step.operation))[past]
    return Text(word, "red" if step.operation in DANGEROUS else "")


def _described(env: str, operation: str, progress: "Progress") -> dict[str, Any]:
    return {
        "stack": env,
        "operation": operation,
        "changes": progress.counts,
        "resources": [
            {
                "urn": step.urn,
                "name": step.name,
                "type": step.type,
                "operation": step.operation,
                "properties": list(step.properties),
            }
            for step in progress.changed
        ],
        "seconds": round(progress.seconds, 3),
    }


def _told(recovered: "Recovered") -> dict[str, Any]:
    return asdict(recovered)


def _quietly(_: "Progress") -> None:
    """A preview's result is shown when it is whole."""


@contextmanager
def _watching(screen: Screen, title: str, total: int) -> Iterator["Seen"]:
    """Show what the engine does while it works: moving on a terminal, else a line for each change."""
    from rich.console import Console

    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    if console.is_terminal:
        with _moving(console, title, total) as seen:
            yield seen
    else:
        screen.note(title)
        yield _in_lines(screen.note)


def _in_lines(note: Callable[[str], None]) -> "Seen":
    told: set[tuple[str, str]] = set()

    def seen(progress: "Progress") -> None:
        for key in [key for key in progress.steps if key not in told]:
            told.add(key)
            step = progress.steps[key]
            if step.failed or (step in progress.changed and not step.type.startswith("pulumi:pulumi:")):
                word = "failed" if step.failed else WORDS.get(step.operation, ("", step.operation))[1]
                note(f"  {word:12} {step.name} ({step.type}) {step.seconds:.1f} s")

    return seen


@contextmanager
def _moving(console: Any, title: str, total: int) -> Iterator["Seen"]:
    from rich.live import Live
    from rich.text import Text

    latest: list[Progress] = []
    lock = threading.Lock()

    class Picture:
        def __rich__(self) -> "RenderableType":
            with lock:
                progress = latest[-1] if latest else None
                running = list(progress.running.values()) if progress else []
                done = len(progress.steps) if progress else 0
            running = [step for step in running if step.custom]
            of = f" of {total}" if total >= done > 0 else ""
            lines = [f"{title}: {done}{of}"]
            lines += [
                f"  {step.name} ({step.type}) {time.monotonic() - step.started:.0f} s"
                for step in running[:MOST_RUNNING]
            ]
            if len(running) > MOST_RUNNING:
                lines.append(f"  and {len(running) - MOST_RUNNING} more")
            return Text("\n".join(lines))

    def seen(progress: "Progress") -> None:
        with lock:
            latest[:] = [progress]

    with Live(Picture(), console=console, refresh_per_second=8, transient=True):
        yield seen
