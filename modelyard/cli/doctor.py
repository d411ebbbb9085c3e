"""modelyard doctor: whether this machine, or the cloud, has what is needed."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.cli.env import settings_sentences, stack_names
from modelyard.cli.options import JsonOption, StateOption, state_of
from modelyard.cli.output import Screen, table, verdict

if TYPE_CHECKING:
    from modelyard.checks import Check

EPILOG = "Example: modelyard doctor dev --json"


def doctor(
    env: Annotated[
        str | None,
        typer.Argument(
            metavar="[ENV]",
            help="Check the cloud instead, for this environment: credentials, quotas, offerings.",
            show_default=False,
            autocompletion=stack_names,
        ),
    ] = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check this machine, or an environment's cloud; say what to do about each problem; exit code 1 if there is one.

    Nothing is changed. `up` has to run where the environment's API server can be reached: in the VPC, if it is private.
    """
    from modelyard.checks import check_all

    screen = Screen(as_json=as_json)
    if env is None:
        checks = list(check_all(state_of(state)))
    else:
        with screen.waiting(f"asking AWS about {env}"):
            checks = list(_cloud(env))
    rows = [
        (
            verdict(good=check.ok, no="problem"),
            check.name,
            f"{check.found}; {check.remedy}" if check.remedy else check.found,
        )
        for check in checks
    ]
    screen.show(table(["", "what", "found"], rows))
    good = all(check.ok for check in checks)
    screen.finish({"ok": good, "checks": [{**asdict(check), "ok": check.ok} for check in checks]})
    if not good:
        raise typer.Exit(1)


def _cloud(env: str) -> "Iterator[Check]":
    from datetime import UTC, datetime

    from modelyard.cloud_checks import check_cloud
    from modelyard.plan.plan import plan
    from modelyard.project import project

    with settings_sentences():
        planned = plan(project(), env, today=datetime.now(UTC).date())
    yield from check_cloud(planned)
