"""Serves the controls to `pulumi up --policy-pack infra/policy`."""

from datetime import date
from pathlib import Path

from pulumi_policy import PolicyPack

from infra.policy import CONTROLS
from infra.policy.waiving import honouring
from infra.settings import waivers

STACKS = Path(__file__).resolve().parents[2] / "stacks"

granted = waivers.load(STACKS, [control.name for control in CONTROLS])
today = date.today()  # noqa: DTZ011 the day of whoever runs the update
PolicyPack("modelyard", [control.policy(honouring(granted, today)) for control in CONTROLS])
