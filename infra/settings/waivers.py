"""What may be written in stacks/waivers.yaml: which findings are accepted, why, and until when."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import Field

from infra.settings.base import Settings
from infra.settings.files import Document, SettingsError, read
from infra.settings.sentences import near, validate

CHECKOV = re.compile(r"CKV2?_AWS_\d+")


class Waiver(Settings):
    """One finding, on some resources, that is accepted for a time."""

    policy: Annotated[str, Field(min_length=1)]
    """A policy of infra/policy, or a check of Checkov, as CKV_AWS_144."""
    resources: Annotated[str, Field(min_length=1)]
    """The resources' logical name or URN; `*` stands for anything, `urn:pulumi:dev::*` for all of one stack."""
    reason: Annotated[str, Field(min_length=20, max_length=400)]
    """Why it is acceptable, so that a reviewer can judge it."""
    expires: date
    """The first day on which it counts no more, in quotes."""

    def covers(self, policy: str, urn: str) -> bool:
        """Whether it is about this policy on this resource; an expired one still is."""
        return policy == self.policy and (
            fnmatchcase(urn, self.resources) or fnmatchcase(urn.rpartition("::")[2], self.resources)
        )

    def expired(self, today: date) -> bool:
        """Whether it counts no more."""
        return today >= self.expires

    @property
    def lapsed(self) -> str:
        """What is said of it once it has expired."""
        return f"its waiver expired on {self.expires}"


class WaiverSettings(Settings):
    """`stacks/waivers.yaml`."""

    waivers: tuple[Waiver, ...]


@dataclass(frozen=True)
class Waivers:
    """All waivers, in the file's order."""

    granted: tuple[Waiver, ...]
    document: Document

    def covering(self, policy: str, urn: str) -> Waiver | None:
        """The waiver for a finding: of several the one that lasts longest."""
        found = [waiver for waiver in self.granted if waiver.covers(policy, urn)]
        return max(found, key=lambda waiver: waiver.expires, default=None)

    def line(self, waiver: Waiver) -> int:
        """Where it stands."""
        return self.document.line(("waivers", self.granted.index(waiver)))


def load(folder: Path, policies: Collection[str]) -> Waivers:
    """Read stacks/waivers.yaml; a waiver names one of these policies or a check of Checkov. Raises SettingsError."""
    path = folder / "waivers.yaml"
    if not path.exists():
        return Waivers((), Document(path, {}, {(): 1}))
    document = read(path)
    granted = validate(WaiverSettings, document.data, document).waivers
    problems = [
        document.problem(
            ("waivers", index, "policy"), f"there is no policy {waiver.policy}; {near(waiver.policy, policies)}"
        )
        for index, waiver in enumerate(granted)
        if waiver.policy not in policies and not CHECKOV.fullmatch(waiver.policy)
    ]
    if problems:
        raise SettingsError(problems)
    return Waivers(granted, document)
