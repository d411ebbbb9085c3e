"""modelyard env: environments and the accounts that they are in."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli.options import JsonOption
from modelyard.cli.output import Screen, command, short, table
from modelyard.errors import RefusedError
from modelyard.project import project

if TYPE_CHECKING:
    from modelyard.plan.plan import Plan

app = typer.Typer(
    help="Plan environments and accounts, make them, and take them down.", no_args_is_help=True, rich_markup_mode=None
)


def stack_names(incomplete: str) -> list[str]:
    """What the shell may complete a stack's name to."""
    from infra.settings.stacks import names

    return [name for name in names(project() / "stacks") if name.startswith(incomplete)]


class Format(StrEnum):
    """What else a plan can be written as."""

    TERRAFORM_PLAN = "terraform-plan"
    CHECKOV_BASELINE = "checkov-baseline"


class Threshold(StrEnum):
    """From which severity on findings fail a plan."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"
    NEVER = "never"


class On(StrEnum):
    """What an environment stands on."""

    AWS = "aws"
    EXISTING = "existing"


def _page_file(text: str) -> Path:
    """A file's path: what is printed is the plan, so that the page needs a place of its own."""
    if text in ("", "-"):
        raise typer.BadParameter(f"{text!r} is no file; name one, as plan.html")
    return Path(text)


Env = Annotated[
    str,
    typer.Argument(
        metavar="ENV", help="A stack of `modelyard env list`, such as dev or account.main.", autocompletion=stack_names
    ),
]


@app.command(epilog="Example: modelyard env plan dev --html plan.html")
def plan(  # noqa: PLR0913, PLR0917 each is an option of the command
    env: Env,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Compare with this plan (--json) or state (pulumi stack export); by default with the plan saved last.",
            show_default=False,
        ),
    ] = None,
    save: Annotated[bool, typer.Option("--save", help="Keep the plan for later ones to be held against.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", parser=_page_file, help="Write a page with a picture too.", show_default=False),
    ] = None,
    output: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="Print the plan as Terraform's, for tools that judge those, or what `checkov --baseline` takes of the"
            " waivers.",
            show_default=False,
        ),
    ] = None,
    fail_on: Annotated[Threshold, typer.Option(help="The least severity of a finding that fails.")] = Threshold.HIGH,
    full: Annotated[bool, typer.Option("--full", help="Show every resource and every line of the price.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what an environment would be, cost and need, and what is wrong with it: no cloud, no credentials.

    Exit code 1 if there are findings at or above --fail-on, 2 if the settings are wrong.
    """
    if output and as_json:
        raise RefusedError("--json and --format both print the plan; take one of them")
    from datetime import UTC, datetime

    root, today = project(), datetime.now(UTC).date()
    with without_collection(), settings_sentences():
        from modelyard.plan import plan as plans

        made = plans.plan(root, env, today=today, against=against)
    screen = Screen(as_json=as_json or output is not None)
    for note in made.notes:
        screen.note(note)
    if html:
        from modelyard.plan.page import page

        _write(html, page(made))
        screen.note(f"page: {short(html.absolute())}")
    if save:
        screen.note(f"saved: {short(plans.save(root, made))}")
    if output is Format.CHECKOV_BASELINE:
        from modelyard.plan.checkov import baseline, without_effect

        for waiver in without_effect(made.graph, made.waivers):
            screen.note(f"the waiver of {waiver.policy} on {waiver.resources} matches nothing in {made.stack.name}")
        screen.finish(baseline(made.graph, made.waivers, today))
    elif output:
        from modelyard.plan.terraform import terraform_plan

        screen.finish(terraform_plan(made.graph))
    else:
        from modelyard.cli.plan import show

        show(screen, made, full=full)
        screen.finish(made.json())
    if fails(made, fail_on):
        raise typer.Exit(1)


@app.command("list", epilog="Example: modelyard env list")
def list_stacks(as_json: JsonOption = False) -> None:
    """List the environments and accounts that have a file in stacks/."""
    from infra.settings import stacks
    from infra.settings.files import SettingsError

    folder = project() / "stacks"
    rows, found = [], []
    for name in stacks.names(folder):
        try:
            facts = _facts(stacks.load(folder, name))
        except SettingsError as error:
            number = len(error.problems)
            facts = {"problems": list(map(str, error.problems))}
            problems = "1 problem" if number == 1 else f"{number} problems"
            rows.append((name, f"{problems}; see {command('env', 'plan', name)}", "", "", ""))
        else:
            rows.append((name, *(facts[key] for key in ("on", "security", "lifetime")), ", ".join(facts["hardware"])))
        found.append({"name": name, **facts})
    screen = Screen(as_json=as_json)
    screen.show(table(["stack", "on", "security", "lifetime", "hardware"], rows))
    screen.finish({"stacks": found})


@app.command(epilog="Example: modelyard env new research --like dev")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name: it starts the names of what it has.")],
    on: Annotated[
        On | None,
        typer.Option(
            help="AWS, which is the default, or a Kubernetes cluster that is there already.", show_default=False
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="ENV",
            help="Begin with another environment's settings.",
            autocompletion=stack_names,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the settings of a new environment into stacks/, commented and ready to be planned."""
    from modelyard import environments

    if like and on:
        raise RefusedError(f"a new environment stands on what {like} stands on; take one of --like and --on")
    folder = project() / "stacks"
    with settings_sentences():
        file = environments.new(folder, name, like) if like else environments.begin(folder, name, (on or On.AWS).value)
    screen = Screen()
    screen.show(short(file))
    screen.note(f"look it over, then: {command('env', 'plan', name)}")


def fails(made: "Plan", threshold: Threshold) -> bool:
    """Whether a plan has findings that are severe enough and that nobody waived."""
    if threshold is Threshold.NEVER:
        return False
    from modelyard.plan.findings import RANKS

    least = [rank.value for rank in RANKS].index(threshold.value)
    return any(finding.rank >= least for finding in made.findings if not finding.waived)


@contextmanager
def without_collection() -> Iterator[None]:
    """What a plan imports and makes lives to the command's end: to look for garbage in it takes long and finds none."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def settings_sentences() -> Iterator[None]:
    """Everything that is wrong with settings is told at once, a line each."""
    from infra.settings.files import SettingsError

    try:
        yield
    except SettingsError as error:
        number = len(error.problems)
        head = f"the settings have {number} problems\n" if number > 1 else ""
        raise RefusedError(f"{head}{error}") from error


def _facts(stack: Any) -> dict[str, Any]:
    from infra.settings.stacks import AccountStack

    settings = stack.settings
    facts = {"security": "", "lifetime": settings.lifetime.value, "hardware": []}
    account = stack if isinstance(stack, AccountStack) else stack.account
    place = (
        f"{account.settings.region}, account {account.settings.account_id}" if account else settings.cluster.kubeconfig
    )
    if not isinstance(stack, AccountStack):
        facts |= {"security": settings.security.value, "hardware": list(settings.hardware)}
    return {"on": place, **facts}


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RefusedError(f"{file} can't be written: {error.strerror}") from error
