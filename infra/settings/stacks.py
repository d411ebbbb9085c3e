"""A stack's settings: its own file, its account's and the hardware profiles, read and held against one another."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra import catalog
from infra.settings.account import OPEN_UPSTREAMS, AccountSettings
from infra.settings.base import SLUG, Rung
from infra.settings.environment import AwsEnvironment, Capacity, ExistingEnvironment, ExistingNetwork, NewNetwork
from infra.settings.files import Document, Key, Problem, SettingsError, read, shown
from infra.settings.hardware import HardwareSettings, Profile
from infra.settings.sentences import near, validate

ENVIRONMENT = "modelyard:environment"
ACCOUNT = "modelyard:account"
AROUND = ("config", "encryptionsalt", "secretsprovider", "encryptedkey")
"""What a Pulumi stack file may hold at its top."""
LEAST_SYSTEM_GIB = 4


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

    `config` is what Pulumi takes for the stack's configuration; without it the file's own is taken.
    """
    if name.startswith("account."):
        return _account(folder, name, config)
    if not SLUG.fullmatch(name):
        sentence = (
            f"{name!r} can't name an environment: 2 to 20 lower-case letters, digits and single hyphens, a letter first"
        )
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
    data = _config(document, ACCOUNT, config)
    settings = validate(AccountSettings, data, document, ("config", ACCOUNT))
    _raise(_account_problems(settings, document))
    return AccountStack(name=name, settings=settings, document=document)


def _environment(folder: Path, name: str, config: Any) -> EnvironmentStack:
    document = read(stack_file(folder, name))
    hardware = read(folder / "hardware.yaml")
    here: Key = ("config", ENVIRONMENT)
    problems: list[Problem] = []
    settings: AwsEnvironment | ExistingEnvironment | None = None
    profiles: dict[str, Profile] | None = None
    kind: type[AwsEnvironment | ExistingEnvironment]
    try:
        data = _config(document, ENVIRONMENT, config)
        cluster = data.get("cluster") if isinstance(data, dict) else None
        existing = isinstance(cluster, dict) and "kubeconfig" in cluster
        kind = ExistingEnvironment if existing else AwsEnvironment
        settings = validate(kind, data, document, here)
    except SettingsError as error:
        problems += error.problems
    try:
        profiles = validate(HardwareSettings, hardware.data, hardware).profiles
        _raise(_profile_problems(profiles, hardware))
    except SettingsError as error:
        problems += error.problems
    if problems or settings is None or profiles is None:
        raise SettingsError(problems)

    account = _account_of(settings, folder, document) if isinstance(settings, AwsEnvironment) else None
    offered = {wanted: profiles[wanted] for wanted in settings.hardware if wanted in profiles}
    for wanted in settings.hardware.keys() - offered.keys():
        sentence = f"hardware.yaml has no such profile; {near(wanted, profiles)}"
        problems.append(document.problem((*here, "hardware", wanted), sentence))
    if account and isinstance(settings, AwsEnvironment):
        for key, sentence in _aws_problems(settings, offered, account.settings.region):
            problems.append(document.problem((*here, *key), sentence))
    _raise(problems)
    return EnvironmentStack(
        name=name, settings=settings, profiles=offered, account=account, document=document, hardware=hardware
    )


def _account_of(settings: AwsEnvironment, folder: Path, document: Document) -> AccountStack:
    stack = f"account.{settings.account}"
    if stack not in names(folder):
        there = [one.removeprefix("account.") for one in names(folder) if one.startswith("account.")]
        sentence = f"there is no {stack_file(folder, stack).name}; {near(settings.account, there)}"
        raise SettingsError([document.problem(("config", ENVIRONMENT, "account"), sentence)])
    return _account(folder, stack, None)


def _config(document: Document, key: str, config: Any) -> Any:
    data = document.data
    if not isinstance(data, dict):
        raise SettingsError([document.problem((), "a stack file is keys and values; see the other ones in stacks/")])
    problems = [
        document.problem((name,), f"a stack file has no such key; {near(name, AROUND)}")
        for name in data
        if name not in AROUND
    ]
    inner = data.get("config")
    strange = [name for name in inner if name != key] if isinstance(inner, dict) else []
    problems += [
        document.problem(("config", name), f"there is no such setting; all of them stand under {key}")
        for name in strange
    ]
    if not isinstance(inner, dict) or key not in inner:
        problems.append(document.problem(("config",), f"it has to hold the settings under {key}"))
    _raise(problems)
    return data["config"][key] if config is None else config


def _account_problems(settings: AccountSettings, document: Document) -> Iterator[Problem]:
    here: Key = ("config", ACCOUNT)
    if settings.region not in catalog.regions():
        sentence = f"{settings.region} is not known here; {near(settings.region, catalog.regions())}"
        yield document.problem((*here, "region"), sentence)
    for upstream in settings.pull_through:
        if upstream not in OPEN_UPSTREAMS and upstream not in settings.pull_through_credentials:
            sentence = f"{upstream} wants credentials: name their secret under pull_through_credentials"
            yield document.problem((*here, "pull_through"), sentence)


def _profile_problems(profiles: dict[str, Profile], hardware: Document) -> Iterator[Problem]:
    types = catalog.instance_types()
    for name, profile in profiles.items():
        key: Key = ("profiles", name, "instance_types")
        for index, wanted in enumerate(profile.instance_types):
            for sentence in _type_problems(profile, wanted):
                yield hardware.problem((*key, index), sentence)
        if len({types[wanted].architecture for wanted in profile.instance_types if wanted in types}) > 1:
            yield hardware.problem(key, "they have different architectures, so that an image would run on some only")


def _type_problems(profile: Profile, wanted: str) -> Iterator[str]:
    types = catalog.instance_types()
    if not (known := types.get(wanted)):
        yield f"{wanted} is no EC2 instance type; {near(wanted, types)}"
        return
    if (known.gpu, known.gpus) != (profile.gpu, profile.gpus):
        has = f"{known.gpus} {known.gpu}" if known.gpus else "no GPU"
        said = f"{profile.gpus} {profile.gpu}" if profile.gpus else "none"
        yield f"{wanted} has {has}, and the profile says {said}"
    if profile.efa and not known.efa_interfaces:
        yield f"{wanted} has no EFA interface; leave efa out or take another type"


def _aws_problems(settings: AwsEnvironment, profiles: dict[str, Profile], region: str) -> Iterator[tuple[Key, str]]:
    """What an environment asks for that its region doesn't have."""
    if wrong := list(_network_problems(settings.network, region)):
        yield from wrong
        return
    for sentence in _system_problems(settings.system_nodes.instance_types, region):
        yield ("system_nodes", "instance_types"), sentence
    for part in ("tracking_database", "pipelines_database"):
        wanted, classes = getattr(settings, part).instance_class, _database_classes(region)
        if classes and wanted not in classes:
            yield (part, "instance_class"), f"{wanted} is no RDS instance class of {region}; {near(wanted, classes)}"
    chosen = settings.network.zones if isinstance(settings.network, NewNetwork) else 0
    zones = chosen if isinstance(chosen, tuple) else catalog.zones(region)
    for name, profile in profiles.items():
        for key, sentence in _capacity_problems(settings.hardware[name], profile, region, zones):
            yield ("hardware", name, *key), sentence


def _system_problems(names: tuple[str, ...], region: str) -> Iterator[str]:
    types = catalog.instance_types()
    for name in names:
        if name not in types:
            yield f"{name} is no EC2 instance type; {near(name, types)}"
        elif not catalog.offered_in(region, name):
            yield f"{region} doesn't offer {name}"
        elif types[name].memory_gib < LEAST_SYSTEM_GIB:
            yield f"{name} is too small for what the platform runs; take {LEAST_SYSTEM_GIB} GiB of memory or more"
    if len({types[name].architecture for name in names if name in types}) > 1:
        yield "they have different architectures, so that an image would run on some only"


def _database_classes(region: str) -> set[str]:
    """What RDS has there, by its prices."""
    classes = (re.search(r"db\.[a-z0-9.]+", item) for item in catalog.unit_prices(region) if item.startswith("rds-"))
    return {found.group() for found in classes if found}


def _network_problems(network: NewNetwork | ExistingNetwork, region: str) -> Iterator[tuple[Key, str]]:
    usable = catalog.zones(region)
    wanted = network.zones if isinstance(network, NewNetwork) else ()
    if isinstance(wanted, int):
        if wanted > len(usable):
            yield ("network", "zones"), f"{region} has {len(usable)} zones that EKS can use: {', '.join(usable)}"
        return
    for index, zone in enumerate(wanted):
        if zone not in usable:
            yield ("network", "zones", index), f"EKS can't use {zone} in {region}; it can use {', '.join(usable)}"


def _capacity_problems(
    capacity: Capacity, profile: Profile, region: str, zones: tuple[str, ...]
) -> Iterator[tuple[Key, str]]:
    for zone in capacity.zones:
        if zone not in zones:
            yield ("zones",), f"{zone} is not among the network's zones: {', '.join(zones)}"
    offered = {zone for one in profile.instance_types for zone in catalog.offered_in(region, one)}
    if not offered & set(capacity.zones or zones):
        types = ", ".join(profile.instance_types)
        if offered:
            where = f"in {', '.join(sorted(offered))} only, which is no zone of the network; add such a zone or"
        else:
            where = f"nowhere in {region}; take other types, or"
        yield (), f"{types} is offered {where} drop the profile"
    for rung in capacity.max:
        if rung not in profile.capacity:
            yield ("max",), f"the profile's capacity doesn't have {rung}; it has {', '.join(profile.capacity)}"
    if profile.placement_group and Rung.RESERVED in capacity.max:
        yield (
            ("max",),
            (
                "a reservation brings its own placement group; leave placement_group out of the profile"
                " in hardware.yaml, or reserved nodes out here"
            ),
        )
    for one in profile.instance_types:
        if (usd := catalog.hourly_usd(region, one) or 0) > profile.max_usd_per_hour:
            limit = f"max_usd_per_hour {profile.max_usd_per_hour:g} in hardware.yaml"
            yield (), f"{one} costs {usd:g} USD an hour in {region}, above {limit}; raise that or drop the type"


def _raise(problems: Any) -> None:
    if found := list(problems):
        raise SettingsError(found)
