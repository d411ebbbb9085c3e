"""New environments: their settings, begun so that they are valid."""

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path

from infra.settings import stacks
from infra.settings.base import SLUG, Rung
from infra.settings.environment import AwsEnvironment, NewNetwork
from infra.settings.files import Document, SettingsError, read, shown
from infra.settings.hardware import HardwareSettings
from infra.settings.sentences import validate
from infra.settings.stacks import ENVIRONMENT, AccountStack, EnvironmentStack
from modelyard.errors import RefusedError

RANGES = [ipaddress.IPv4Network(f"10.{second}.0.0/16") for second in range(64, 256)]
HEAD = """\
# yaml-language-server: $schema=schemas/environment.json
#
# {about}
# docs/environments.md says what each setting does; `modelyard env plan {name}` says what comes of them.
"""
AWS = """\
config:
  modelyard:environment:
    owner: {owner}
    cost_center: {cost_center}
    security: standard # or hardened
    lifetime: throwaway # or durable: what holds data is protected and kept
    account: {account} # the account and region of Pulumi.account.{account}.yaml

    network:
      cidr: {cidr} # overlaps with no other environment's
      zones: 2

    cluster:
      admins: ["arn:aws:iam::{account_id}:role/platform-admin"] # your administrators' IAM role
      # public_access_from: [203.0.113.0/24] # your office and VPN; without it the API server is private
      runner: true # a machine in the VPC on which `up` can run, since the API server is private

    hardware: # nodes of each profile in hardware.yaml: on average for the price, and the ceiling
      {profile}: {{expected: 1, max: {{{rung}: 4}}}}

    budget:
      usd_per_month: 2000
      notify: [{owner}]
"""
EXISTING = """\
config:
  modelyard:environment:
    owner: {owner}
    cost_center: {cost_center}
    security: standard # or hardened
    lifetime: throwaway # or durable: what holds data is protected and kept

    cluster:
      kubeconfig: ~/.kube/config
      # context: its name, where it isn't the current one

    hardware: # which profiles its nodes are; they are known by the label modelyard.dev/profile
      {profile}: {{nodes: 3}}
"""


def begin(folder: Path, name: str, on: str) -> Path:
    """Write the settings of a new environment on AWS ("aws") or on an "existing" cluster. Raises SettingsError."""
    file = _free(folder, name)
    account = next((stack for stack in stacks.names(folder) if stack.startswith("account.")), None)
    if on == "aws" and account is None:
        raise RefusedError(
            f"an environment on AWS needs an account: write {shown(folder)}/Pulumi.account.main.yaml first"
        )
    known = stacks.load(folder, account) if account else None
    facts = {"owner": "you@example.com", "cost_center": "none", "account": "", "account_id": ""}
    if isinstance(known, AccountStack):
        settings = known.settings
        facts = {
            "owner": settings.owner,
            "cost_center": settings.cost_center,
            "account": known.name.removeprefix("account."),
            "account_id": settings.account_id,
        }
    profile, rung = _a_profile(folder)
    text = (AWS if on == "aws" else EXISTING).format(
        **facts, cidr=free_range(folder), profile=profile, rung=rung, name=name
    )
    about = "An environment on AWS." if on == "aws" else "An environment on a Kubernetes cluster that is there already."
    return _write(folder, name, file, HEAD.format(about=about, name=name) + text)


def new(folder: Path, name: str, like: str) -> Path:
    """Write the settings of a new environment that are another's, but for the network's range. Raises SettingsError."""
    file = _free(folder, name)
    stack = stacks.load(folder, like)
    if not isinstance(stack, EnvironmentStack):
        raise RefusedError(f"{like} is no environment; take one of {', '.join(_environments(folder))}")
    lines = stack.document.path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    if isinstance(stack.settings, AwsEnvironment) and isinstance(stack.settings.network, NewNetwork):
        _set_range(lines, stack.document, free_range(folder))
    start = stack.document.lines["config",]
    after = [line for key, line in stack.document.lines.items() if len(key) == 1 and line > start]
    about = f"An environment that began with the settings of {like}."
    return _write(
        folder,
        name,
        file,
        HEAD.format(about=about, name=name) + "".join(lines[start - 1 : min(after, default=len(lines) + 1) - 1]),
    )


def free_range(folder: Path) -> str:
    """A range that overlaps with no environment's network, as far as their files can be read."""
    taken = [ipaddress.IPv4Network(cidr) for name in _environments(folder) for cidr in _ranges(folder, name)]
    free = (network for network in RANGES if not any(network.overlaps(other) for other in taken))
    if found := next(free, None):
        return str(found)
    raise RefusedError(f"no /16 from {RANGES[0]} to {RANGES[-1]} is left; write the settings by hand")


def _environments(folder: Path) -> list[str]:
    return [name for name in stacks.names(folder) if SLUG.fullmatch(name)]


def _ranges(folder: Path, name: str) -> Iterator[str]:
    try:
        stack = stacks.load(folder, name)
    except SettingsError:
        return
    network = getattr(stack.settings, "network", None)
    if isinstance(network, NewNetwork):
        yield from (network.cidr, *network.peers)


def _free(folder: Path, name: str) -> Path:
    """Where a new environment's file goes."""
    if not SLUG.fullmatch(name):
        raise RefusedError(
            f"{name!r} can't name an environment: 2 to 20 lower-case letters, digits and hyphens, a letter first"
        )
    file = stacks.stack_file(folder, name)
    if file.exists():
        raise RefusedError(f"{shown(file)} is there already; choose another name, or edit it")
    return file


def _a_profile(folder: Path) -> tuple[str, str]:
    """A hardware profile to begin with, cheap rather than not, and the capacity that it tries first."""
    hardware = read(folder / "hardware.yaml")
    profiles = validate(HardwareSettings, hardware.data, hardware).profiles
    name = next((name for name, profile in profiles.items() if not profile.gpus), next(iter(profiles)))
    return name, next((rung for rung in profiles[name].capacity if rung is not Rung.RESERVED), Rung.ON_DEMAND)


def _set_range(lines: list[str], document: Document, cidr: str) -> None:
    """Put a range in the place of the one that a file has, or where it would stand."""
    network = ("config", ENVIRONMENT, "network")
    if document.has((*network, "cidr")):
        at = document.line((*network, "cidr")) - 1
        lines[at] = re.sub(r"(\bcidr[\"']?\s*:\s*)[^\s,}#]+", rf"\g<1>{cidr}", lines[at])
        return
    if document.has(network):
        at = document.line(network) - 1
        if "{" in lines[at]:
            lines[at] = lines[at].replace("{", f"{{cidr: {cidr}, ", 1)
            return
        lines.insert(at + 1, f"{_indent(lines[at + 1])}cidr: {cidr}\n")
        return
    at = document.line(network[:2])  # the line after it
    lines.insert(at, f"{_indent(lines[at])}network: {{cidr: {cidr}}}\n")


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _write(folder: Path, name: str, file: Path, text: str) -> Path:
    """Write a stack's file, and keep it only if it is valid."""
    try:
        with file.open("x", encoding="utf-8") as new_file:
            new_file.write(text)
    except OSError as error:
        raise RefusedError(f"{shown(file)} can't be written: {error.strerror}") from error
    try:
        stacks.load(folder, name)
    except SettingsError:
        file.unlink()
        raise
    return file
