"""Waived violations under `pulumi up`: they are not told, until the waiver expires."""

from datetime import date

from pulumi_policy import ReportViolation

from infra.policy.control import Control, Through
from infra.settings.waivers import Waivers


def honouring(waivers: Waivers, today: date) -> Through:
    """Tell only what no waiver covers, and say where one has expired."""

    def through(control: Control, report: ReportViolation) -> ReportViolation:
        def told(message: str, urn: str | None = None) -> None:
            waiver = waivers.covering(control.name, urn or "")
            if waiver is None:
                report(message, urn)
            elif waiver.expired(today):
                report(f"{message}; {waiver.lapsed}", urn)

        return told

    return through
