"""modelyard doctor: whether this machine has what Modelyard needs."""

from dataclasses import asdict

import typer

from modelyard.cli.options import JsonOption, StateOption, state_of
from modelyard.cli.output import Screen, table, verdict

EPILOG = "Example: modelyard doctor --state ./state"


def doctor(state: StateOption = None, as_json: JsonOption = False) -> None:
    """Check this machine, and say what to do about each problem; exit code 1 if there is one."""
    from modelyard.checks import check_all

    screen = Screen(as_json=as_json)
    checks = list(check_all(state_of(state)))
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
