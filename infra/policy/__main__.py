"""Serves the controls to `pulumi up --policy-pack infra/policy`."""

import sys
from datetime import date
from pathlib import Path

from pulumi_policy import PolicyPack

from infra.policy import CONTROLS
from infra.policy.waiving import honouring
from infra.settings import waivers
from infra.settings.files import SettingsError

STACKS = Path(__file__).resolve().parents[2] / "stacks"


def main() -> None:
    """Serve, until Pulumi ends it."""
    try:
        granted = waivers.load(STACKS, [control.name for control in CONTROLS])
    except SettingsError as error:
        sys.exit(str(error))
    through = honouring(granted, date.today())  # noqa: DTZ011 the day of whoever runs the update
    PolicyPack("modelyard", [control.policy(through) for control in CONTROLS])


main()
