"""A stack's settings: its own file, its account's and the hardware profiles, read and held against one another."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from infra import catalog
from infra.settings.account import OPEN_UPSTREAMS, AccountSettings
from infra.settings.base import SLUG
from infra.settings.environment import AwsEnvironment, ExistingEnvironment, NewNetwork
from infra.settings.files import Document, Key, Problem, SettingsError, read, shown, validate
from infra.settings.hardware import HardwareSettings, Profile

ENVIRONMENT = "modelyard:environment"
ACCOUNT = "modelyard:account"
AROUND = ("config", "encryptionsalt", "secretsprovider", "encryptedkey", "environment")
"""What a Pulumi stack file may hold at its top."""


@dataclass(frozen=True, kw_only=True)
class AccountStack:
    """The stack of an AWS account and region, `account.NAME`."""

    name: str
    settings: AccountSettings
    document: Document


@dataclass(frozen=True, kw_only=True)
class EnvironmentStack:
    """The stack of an environment."""

    name: str
    settings: AwsEnvironment | ExistingEnvironment
    profiles: dict[str, Profile]
    """The hardware profiles that it offers, in the order of its file."""
    account: AccountStack | None
    """None on an existing cluster."""
    document: Document
    hardware: Document


Stack = AccountStack | EnvironmentStack


def load(folder: Path, name: str, config: Any = None) -> Stack:
    """Read a stack's settings from stacks/. Raises SettingsError with everything that is wrong.

    `config` is what Pulumi says that the stack's configuration is, where Pulumi runs; without it the file's own is taken.
    """
    if name.startswith("account."):
        return _account(folder, name, config)
    if not SLUG.fullmatch(name):
        sentence = f"{name!r} can't name an environment: 2 to 20 lower-case letters, digits and hyphens, a letter first"
        raise SettingsError([Problem(shown(folder), 1, "", sentence)])
    return _environment(folder, name, config)


def names(folder: Path) -> list[str]:
    """The stacks that have a file."""
    return sorted(path.name[len("Pulumi.") : -len(".yaml")] for path in folder.glob("Pulumi.*.yaml"))


def stack_file(folder: Path, name: str) -> Path:
    """Where a stack's settings are."""
    return folder / f"Pulumi.{name}.yaml"


def _account(folder: Path, name: str, config: Any) -> AccountStack:
    document = read(stack_file(folder, name))
    data, within = _config(document, ACCOUNT, config)
    settings = validate(AccountSettings, data, document, within)
    _raise(_account_problems(settings, document))
    return AccountStack(name=name, settings=settings, document=document)


def _environment(folder: Path, name: str, config: Any) -> EnvironmentStack:
    document = read(stack_file(folder, name))
    problems: list[Problem] = []
    within: Key = ("config", ENVIRONMENT)
    try:
        data, _ = _config(document, ENVIRONMENT, config)
        existing = isinstance(data, dict) and "kubeconfig" in (data.get("cluster") or {})
        settings = validate(ExistingEnvironment if existing else AwsEnvironment, data, document, within)
    except SettingsError as error:
        problems += error.problems
    try:
        hardware = read(folder / "hardware.yaml")
        profiles = validate(HardwareSettings, hardware.data, hardware).profiles
        problems += _profile_problems(profiles, hardware)
    except SettingsError as error:
        problems += error.problems
    _raise(problems)

    account = None
    if isinstance(settings, AwsEnvironment):
        if not stack_file(folder, f"account.{settings.account}").exists():
            there = ", ".join(stack.removeprefix("account.") for stack in names(folder) if stack.startswith("account."))
            sentence = f"there is no Pulumi.account.{settings.account}.yaml; there is {there or 'none yet'}"
            _raise([document.problem((*within, "account"), sentence, within=len(within))])
        account = _account(folder, f"account.{settings.account}", None)
    offered = {}
    for wanted in settings.hardware:
        if wanted in profiles:
            offered[wanted] = profiles[wanted]
        else:
            sentence = f"hardware.yaml has no such profile; it has {', '.join(profiles)}"
            problems.append(document.problem((*within, "hardware", wanted), sentence, within=len(within)))
    if account and isinstance(settings, AwsEnvironment):
        for key, sentence in _aws_problems(settings, offered, account.settings.region):
            problems.append(document.problem((*within, *key), sentence, within=len(within)))
    _raise(problems)
    return EnvironmentStack(
        name=name, settings=settings, profiles=offered, account=account, document=document, hardware=hardware
    )


def _config(document: Document, key: str, config: Any) -> tuple[Any, Key]:
    data = document.data
    if not isinstance(data, dict):
        raise SettingsError([document.problem((), "a stack file is keys and values; see the other ones in stacks/")])
    problems = [
        document.problem((name,), f"a stack file has no such key; allowed: {', '.join(AROUND)}")
        for name in data
        if name not in AROUND
    ]
    inner = data.get("config")
    if not isinstance(inner, dict) or key not in inner:
        problems.append(document.problem(("config",), f"it has to hold the settings under {key}"))
    else:
        problems += [
            document.problem(("config", name), f"there is no such setting; all of them stand under {key}")
            for name in inner
            if name.startswith("modelyard:") and name != key
        ]
    _raise(problems)
    return (data["config"][key] if config is None else config), ("config", key)


def _account_problems(settings: AccountSettings, document: Document) -> Iterator[Problem]:
    if settings.region not in catalog.regions():
        yield document.problem(
            ("config", ACCOUNT, "region"),
            f"{settings.region} is not a region that is known here; {_regions()}",
            within=2,
        )
    for upstream in settings.pull_through:
        if upstream not in OPEN_UPSTREAMS and upstream not in settings.pull_through_credentials:
            sentence = f"{upstream} wants credentials: name their secret under pull_through_credentials"
            yield document.problem(("config", ACCOUNT, "pull_through"), sentence, within=2)


def _regions() -> str:
    return f"known: {', '.join(catalog.regions())}"


def _profile_problems(profiles: dict[str, Profile], hardware: Document) -> Iterator[Problem]:
    types = catalog.instance_types()
    for name, profile in profiles.items():
        key: Key = ("profiles", name, "instance_types")
        known = [types[wanted] for wanted in profile.instance_types if wanted in types]
        for index, wanted in enumerate(profile.instance_types):
            if wanted not in types:
                yield hardware.problem((*key, index), f"{wanted} is no EC2 instance type{_near(wanted, types)}")
        if len({one.architecture for one in known}) > 1:
            yield hardware.problem(
                key, "its types have different architectures, so that an image would run on some only"
            )
        for index, wanted in enumerate(profile.instance_types):
            if not (one := types.get(wanted)):
                continue
            if (one.gpu, one.gpus) != (profile.gpu, profile.gpus):
                has = f"{one.gpus} {one.gpu}" if one.gpus else "no GPU"
                said = f"{profile.gpus} {profile.gpu}" if profile.gpus else "none"
                yield hardware.problem((*key, index), f"{wanted} has {has}, and the profile says {said}")
            if profile.efa and not one.efa_interfaces:
                yield hardware.problem(
                    (*key, index), f"{wanted} has no EFA interface; leave efa out or take another type"
                )


def _near(wanted: str, types: Any) -> str:
    near = get_close_matches(wanted, types, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _aws_problems(settings: AwsEnvironment, profiles: dict[str, Profile], region: str) -> Iterator[tuple[Key, str]]:
    """What an environment asks for that its region doesn't have."""
    zones = catalog.zones(region)
    network = settings.network
    if isinstance(network, NewNetwork):
        if isinstance(network.zones, int) and network.zones > len(zones):
            yield ("network", "zones"), f"{region} has {len(zones)} zones that EKS can use: {', '.join(zones)}"
        if isinstance(network.zones, tuple):
            for index, zone in enumerate(network.zones):
                if zone not in zones:
                    yield (
                        ("network", "zones", index),
                        f"EKS can't use {zone} in {region}; it can use {', '.join(zones)}",
                    )
    for name in settings.system_nodes.instance_types:
        if name not in catalog.instance_types():
            yield (
                ("system_nodes", "instance_types"),
                f"{name} is no EC2 instance type{_near(name, catalog.instance_types())}",
            )
        elif not catalog.offered_in(region, name):
            yield ("system_nodes", "instance_types"), f"{region} doesn't offer {name}"
    wanted = network.zones if isinstance(network, NewNetwork) and isinstance(network.zones, tuple) else zones
    for name, profile in profiles.items():
        capacity = settings.hardware[name]
        offered = {zone for one in profile.instance_types for zone in catalog.offered_in(region, one)}
        for zone in capacity.zones:
            if zone not in wanted:
                yield ("hardware", name, "zones"), f"{zone} is not among the network's zones: {', '.join(wanted)}"
        if not offered & set(capacity.zones or wanted):
            where = f"only in {', '.join(sorted(offered))}" if offered else f"nowhere in {region}"
            yield (
                ("hardware", name),
                f"{', '.join(profile.instance_types)} is offered {where}, which is no zone of the network",
            )
        for rung in capacity.max:
            if rung not in profile.capacity:
                allowed = ", ".join(profile.capacity)
                yield ("hardware", name, "max"), f"the profile's capacity doesn't have {rung}; it has {allowed}"
        prices = {one: catalog.hourly_usd(region, one) for one in profile.instance_types}
        for one, usd in prices.items():
            if usd and usd > profile.max_usd_per_hour:
                sentence = (
                    f"{one} costs {usd:g} USD an hour in {region}, above the profile's max_usd_per_hour"
                    f" {profile.max_usd_per_hour:g}; raise that or drop the type"
                )
                yield ("hardware", name), sentence


def _raise(problems: Any) -> None:
    if found := list(problems):
        raise SettingsError(found)
