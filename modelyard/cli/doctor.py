"""modelyard doctor: whether this machine, or the cloud, has what is needed."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.cli.env import settings_sentences, stack_names, without_collection
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
            help="Check what this environment stands on instead: credentials, quotas, offerings; or its cluster.",
            show_default=False,
            autocompletion=stack_names,
        ),
    ] = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check this machine, or what an environment stands on; say what to do about each problem; exit code 1 for any.

    Nothing is changed. `up` has to run where the environment's API server can be reached: in the VPC, if it is private.
    """
    from modelyard.checks import check_all

    screen = Screen(as_json=as_json)
    if env is None:
        checks = list(check_all(state_of(state)))
    else:
        with screen.waiting(f"looking at what {env} stands on"):
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

    from infra.settings.environment import ExistingCluster
    from modelyard.checks import kubernetes
    from modelyard.cloud_checks import check_cloud
    from modelyard.plan.plan import plan
    from modelyard.project import project

    with without_collection(), settings_sentences():
        planned = plan(project(), env, today=datetime.now(UTC).date())
    yield from check_cloud(planned)
    cluster = getattr(planned.stack.settings, "cluster", None)
    if isinstance(cluster, ExistingCluster):
        yield from kubernetes(Path(cluster.kubeconfig).expanduser(), cluster.context)
