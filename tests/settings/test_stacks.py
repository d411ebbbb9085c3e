"""The shipped stack files, and every way to get one wrong."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies

from infra.settings.files import SettingsError, read
from infra.settings.schemas import FOLDER, schemas
from infra.settings.stacks import AccountStack, EnvironmentStack, load, names

STACKS = Path(__file__).parents[2] / "stacks"
DEV, HARDWARE, ACCOUNT = "Pulumi.dev.yaml", "hardware.yaml", "Pulumi.account.main.yaml"


@pytest.fixture
def stacks(tmp_path):
    return Path(shutil.copytree(STACKS, tmp_path / "stacks", ignore=shutil.ignore_patterns("schemas")))


def environment(name):
    stack = load(STACKS, name)
    assert isinstance(stack, EnvironmentStack)
    return stack.settings


def problems(folder, name="dev"):
    with pytest.raises(SettingsError) as refused:
        load(folder, name)
    return refused.value.problems


def line_of(part, text):
    return text.split(part)[0].count("\n") + 1


@pytest.mark.parametrize("name", names(STACKS))
def test_every_stack_file_that_is_shipped_is_valid_and_names_its_schema_for_editors(name):
    kind = AccountStack if name.startswith("account.") else EnvironmentStack
    assert isinstance(load(STACKS, name), kind)
    first = (STACKS / f"Pulumi.{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    schema = first.removeprefix("# yaml-language-server: $schema=")
    assert (STACKS / schema).is_file(), "an editor would show an error instead of help"


def test_production_is_hardened_and_durable_and_dev_can_be_destroyed_to_nothing():
    prod, dev = environment("prod"), environment("dev")
    assert prod.security.hardened
    assert prod.lifetime.durable
    assert not dev.lifetime.durable


def test_the_schemas_for_editors_are_those_of_the_models():
    shipped = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert shipped == schemas(), "run `make schemas`"


def test_the_schemas_take_every_file_that_is_shipped():
    import json

    import jsonschema

    for path in STACKS.glob("*.yaml"):
        schema = path.read_text(encoding="utf-8").splitlines()[0].rpartition("=")[2]
        jsonschema.validate(read(path).data, json.loads((STACKS / schema).read_text(encoding="utf-8")))


def test_settings_import_neither_pulumi_nor_a_pipeline_tool():
    code = "import sys, infra.settings.stacks; print(sorted({'pulumi', 'kfp', 'pandas', 'rich'} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]", "pipelines import settings to place their steps"


WRONG = [
    # file, what stands there, what is written instead, its key, what has to be said
    (DEV, "security: standard", "securty: standard", "securty", "did you mean security?"),
    (DEV, "security: standard", "security: secure", "security", '"secure" is not allowed; there is hardened, standard'),
    (DEV, "security: standard", "security:", "security", "it has no value"),
    (DEV, "    owner: platform@example.com\n", "", "owner", "it is missing"),
    (DEV, "      cidr:", "      cdir:", "network.cdir", "did you mean cidr?"),
    (DEV, "lifetime: throwaway", "lifetime: throwaway\n    lifetime: durable", "lifetime", "twice, first on line"),
    (DEV, "zones: 2", "zones: no", "network.zones", 'write false, or "no" for the word'),
    (DEV, "zones: 2", 'zones: "2"', "network.zones", "write a whole number"),
    (DEV, "zones: 2", "zones: 7", "network.zones", "less than or equal to 6"),
    (DEV, "zones: 2", "zones: 0x2", "network.zones", "plain decimal number"),
    (DEV, "zones: 2", "zones: [use1-az3, use1-az1]", "network.zones[0]", "EKS can't use use1-az3"),
    (DEV, "zones: 2", "zones: [use1-az1, use1-az1]", "network", "a zone twice"),
    (DEV, "zones: 2", "zones: 2\n      peers: [10.64.128.0/17]", "network", "overlaps with the peer 10.64.128.0/17"),
    (DEV, "10.64.0.0/16", "10.64.0.0/26", "network.cidr", "/26 is too small"),
    (DEV, "10.64.0.0/16", "10.0.0.0/8", "network.cidr", "/8 is too large"),
    (DEV, "10.64.0.0/16", "10.64.5.0/16", "network.cidr", "10.64.0.0/16 is the range that it lies in"),
    (DEV, "10.64.0.0/16", "8.8.0.0/16", "network.cidr", "within 10.0.0.0/8"),
    (DEV, "10.64.0.0/16", "10.64.0.0.0/16", "network.cidr", "isn't an IPv4 range"),
    (DEV, "cidr: 10.64.0.0/16", "vpc: vpc-1", "network.vpc", "not a VPC's id"),
    (DEV, "10.64.0.0/16", "10.64.0.0/255.255.0.0", "network.cidr", "with its prefix"),
    (DEV, "203.0.113.0/24", "203.0.113.5", "cluster.public_access_from[0]", "with its prefix"),
    (DEV, "203.0.113.0/24", "10.1.0.0/16", "cluster.public_access_from[0]", "no public range"),
    (DEV, "203.0.113.0/24", "3.0.0.0/8", "cluster.public_access_from[0]", "each /16 or longer"),
    (DEV, "config:", "config:\n  aws:region: eu-west-1", "config.aws:region", "all of them stand under"),
    (DEV, "config:", "config:\n  modelyard:acount: x", "config.modelyard:acount", "all of them stand under"),
    (DEV, "expected: 0.5,", "expectd: 0.5,", "hardware.a10g.expectd", "did you mean expected?"),
    (HARDWARE, "disk_gb: 200", "disk_gbs: 200", "profiles.cpu-large.disk_gbs", "did you mean disk_gb?"),
    (
        DEV,
        "    budget:",
        "    tracking_database: {instance_class: db.t4g.lrge}\n    budget:",
        "tracking_database.instance_class",
        "did you mean db.t4g.large?",
    ),
    (
        DEV,
        "    budget:",
        "    system_nodes: {instance_types: [t3.nano]}\n    budget:",
        "system_nodes.instance_types",
        "too small",
    ),
    (
        DEV,
        "    budget:",
        "    system_nodes: {instance_types: [m7g.large, m7i.large]}\n    budget:",
        "system_nodes.instance_types",
        "different architectures",
    ),
    (DEV, "zones: 2", "zones: [us-east-1a, us-east-1b]", "network.zones[0]", "a zone's id like use1-az1"),
    (DEV, "zones: 2", "zones: 2026-01-01", "network.zones", 'write "2026-01-01"'),
    (DEV, "usd_per_month: 2000", "usd_per_month: 99999999999999999999", "budget.usd_per_month", "too large a number"),
    (DEV, "203.0.113.0/24", "0.0.0.0/0", "cluster.public_access_from[0]", "too much of the internet"),
    (DEV, "arn:aws:iam::123456789012:role/", "arn:aws:iam::1:user/", "cluster.admins[0]", "not an IAM role's ARN"),
    (
        DEV,
        'admins: ["arn',
        'admins: ["arn:aws:iam::123456789013:role/platform-admin", "arn',
        "cluster",
        "two roles called platform-admin",
    ),
    (DEV, "    budget:", "    system_nodes: {min: 5, max: 3}\n    budget:", "system_nodes", "min 5 is above max 3"),
    (
        DEV,
        "    budget:",
        "    system_nodes: {instance_types: [m7i.lrge]}\n    budget:",
        "system_nodes.instance_types",
        "did you mean m7i.large?",
    ),
    (DEV, "expected: 0.5", "expected: 50", "hardware.a10g", "above what max adds up to, 4"),
    (DEV, "a10g: {exp", "a1g: {exp", "hardware.a1g", "did you mean a10g?"),
    (DEV, "spot: 2}}", "spto: 2}}", "hardware.a10g.max.spto", "did you mean spot?"),
    (DEV, "spot: 2}}", "reserved: 2}}", "hardware.a10g", "reserved nodes in max and a reservation go together"),
    (
        DEV,
        "spot: 2}}",
        "reserved: 2}, reservation: {id: cr-xyz}}",
        "hardware.a10g.reservation.id",
        "not a capacity reservation's id",
    ),
    (DEV, "spot: 2}}", "spot: 2}, zones: [use1-az9]}", "hardware.a10g.zones", "not among the network's zones"),
    (DEV, "usd_per_month: 2000", "usd_per_month: -5", "budget.usd_per_month", "greater than 0"),
    (DEV, "usd_per_month: 2000", "usd_per_month: 2e3", "budget.usd_per_month", 'write 2000, or "2e3"'),
    (DEV, "usd_per_month: 2000", "usd_per_month: .inf", "budget.usd_per_month", "disagree about a plain .inf"),
    (DEV, "notify: [platform@example.com]", "notify: platform@example.com", "budget.notify", "write a list"),
    (DEV, "account: main", "account: man", "account", "did you mean main?"),
    (DEV, "    security:", "    usage: {data_gb: {expected: 9, max: 1}}\n    security:", "usage.data_gb", "9 is above"),
    (DEV, "  modelyard:environment:", "  modelyard:enviroment:", "config", "under modelyard:environment"),
    (DEV, "config:", "cofig: {}\nconfig:", "cofig", "a stack file has no such key"),
    (DEV, "owner: platform@example.com", "owner: &me a@b.example\n    cost: *me", "cost", "aliases are not taken"),
    (DEV, "owner: platform@example.com", "owner: !!python/name:os.system x", "owner", "the YAML tag"),
    (DEV, "    owner: platform", "\towner: platform", "", "it isn't YAML"),
    (ACCOUNT, "us-east-1", "us-esat-1", "region", "us-esat-1 is not known here"),
    (ACCOUNT, '"123456789012"', "123456789012", "account_id", "in quotes"),
    (ACCOUNT, "anomaly_usd: 100", "pull_through: [ghcr.io]", "pull_through", "ghcr.io wants credentials"),
    (HARDWARE, "m7i.xlarge", "m77i.xlarge", "profiles.cpu-small.instance_types[0]", "did you mean m7i.xlarge?"),
    (HARDWARE, "m6i.xlarge", "m7g.xlarge", "profiles.cpu-small.instance_types", "different architectures"),
    (
        HARDWARE,
        "g5.4xlarge",
        "g5.12xlarge",
        "profiles.a10g.instance_types[1]",
        "has 4 a10g, and the profile says 1 a10g",
    ),
    (HARDWARE, "  cpu-large:", "  cpu-small:", "profiles.cpu-small", "it is there twice"),
    (HARDWARE, "    gpu: a10g\n", "", "profiles.a10g", "gpu and gpus go together"),
    (HARDWARE, "    gpu: l4", "    efa: true\n    gpu: l4", "profiles.l4.instance_types[0]", "no EFA interface"),
]


@pytest.mark.parametrize(("file", "there", "instead", "key", "sentence"), WRONG, ids=[f"{w[3]}: {w[4]}" for w in WRONG])
def test_a_mistake_is_told_with_its_file_its_line_its_key_and_what_to_do(stacks, file, there, instead, key, sentence):
    path = stacks / file
    text = path.read_text(encoding="utf-8")
    assert there in text
    path.write_text(text.replace(there, instead, 1), encoding="utf-8")
    found = [problem for problem in problems(stacks) if problem.key == key and sentence in problem.sentence]
    assert found, problems(stacks)
    assert found[0].file == str(path)
    assert "\n" not in str(found[0])
    first = line_of(there, text)
    assert first - 3 <= found[0].line <= first + instead.count("\n"), "the line of the key, or of what it belongs to"


def test_all_mistakes_of_a_file_are_told_at_once_in_the_order_of_its_lines(stacks):
    path = stacks / DEV
    text = path.read_text(encoding="utf-8")
    text = text.replace("security: standard", "securty: standard").replace("zones: 2", "zones: 99")
    path.write_text(text.replace("usd_per_month: 2000", "usd_per_month: -1"), encoding="utf-8")
    told = problems(stacks)
    assert {problem.key for problem in told} == {"securty", "security", "network.zones", "budget.usd_per_month"}
    assert [problem.line for problem in told] == sorted(problem.line for problem in told)


def test_a_gpu_type_that_no_wanted_zone_offers_is_refused_with_the_zones_that_do(stacks):
    hardware, prod = stacks / HARDWARE, stacks / "Pulumi.prod.yaml"
    a100 = hardware.read_text(encoding="utf-8").replace(
        "[p5.48xlarge]\n    gpu: h100", "[p4de.24xlarge]\n    gpu: a100", 1
    )
    hardware.write_text(a100, encoding="utf-8")
    prod.write_text(prod.read_text(encoding="utf-8").replace("zones: 3", "zones: [use1-az1, use1-az2]"))
    (told,) = problems(stacks, "prod")
    assert told.key == "hardware.h100"
    assert "p4de.24xlarge is offered in use1-az4, use1-az6 only" in told.sentence


def test_a_profile_above_its_own_hourly_ceiling_is_refused(stacks):
    path = stacks / HARDWARE
    path.write_text(path.read_text(encoding="utf-8").replace("max_usd_per_hour: 0.30", "max_usd_per_hour: 0.10", 1))
    assert any("above max_usd_per_hour 0.1 in hardware.yaml" in problem.sentence for problem in problems(stacks))


SECRETS = [
    "AKIA" + "IOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY",
    "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
    "xoxb-" + "1234567890-abcdefghij",
    "dckr_pat_" + "abcdefghij0123456789",
    "sk-ant-api03-" + "abcdefghij0123456789",
    "https://hooks.slack.com/services/" + "T000/B000/XXXXXXXX",
    "postgres://mlflow:" + "hunter2hunter2@db.example.com/mlflow",
]
PLACES = {
    "a value": ("cost_center: ml-platform", 'cost_center: "{}"'),
    "a key": ("cost_center: ml-platform", '"{}": x'),
    "in a list": ("notify: [platform@example.com]", 'notify: ["{}"]'),
    "in place of settings": ("cidr: 10.64.0.0/16", 'cidr: {{a: ["{}"]}}'),
    "an alias": ("cost_center: ml-platform", 'cost_center: *a # "{}"'),
    "in a comment": ("cost_center: ml-platform", 'cost_center: ml-platform # was "{}"'),
    "beside the settings": ("config:", 'encryptionsalt: "{}"\nconfig:'),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_in_plain_text_is_refused_wherever_it_stands_and_never_repeated(stacks, secret, place):
    if secret == SECRETS[1] and place == "beside the settings":
        pytest.skip("Pulumi's own cipher texts look the same")
    path, (there, instead) = stacks / DEV, PLACES[place]
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(there, instead.format(secret), 1), encoding="utf-8")
    told = problems(stacks)
    assert told
    assert all("in plain text; take it out, revoke it" in problem.sentence for problem in told)
    assert told[0].line == line_of(there, text)
    assert not any(secret[6:] in str(problem) for problem in told), "a message goes into the log of a CI run"


@pytest.mark.parametrize(
    "line", ["dbPassword: hunter2", "password: 123456", "api_key: [hunter2]", "token: {a: hunter2}"]
)
def test_what_is_called_a_password_is_one(stacks, line):
    path = stacks / HARDWARE
    path.write_text(path.read_text(encoding="utf-8") + f"    {line}\n", encoding="utf-8")
    (told,) = problems(stacks)
    assert (told.key, "a password or key" in told.sentence) == (line.partition(":")[0], True)


def test_pulumis_own_cipher_texts_are_no_secrets_in_plain_text(stacks):
    path = stacks / DEV
    cipher = "AQICAHh" + "aB3" * 50
    added = f"secretsprovider: awskms:///alias/x\nencryptedkey: {cipher}\nencryptionsalt: v1:{cipher[:40]}=:v1\n"
    path.write_text(path.read_text(encoding="utf-8") + added, encoding="utf-8")
    assert load(stacks, "dev")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a: " + b"x" * 300_000, "larger than 256 KiB"),
        (b"config:\n  a: \xff", "isn't UTF-8"),
        (b"config: \x00", "control character"),
        (b"", "it is empty"),
        (b"[" * 20_000, "nested too deeply"),
        (b"- 1\n- 2\n", "keys and values"),
        (b"config: 3\n", "under modelyard:environment"),
        (b"config:\n  modelyard:environment: 3\n", "write keys and values"),
        (b"? [a]\n: b\n", "a key is a plain word"),
    ],
)
def test_a_file_that_holds_no_settings_is_told_in_one_sentence(stacks, content, sentence):
    (stacks / DEV).write_bytes(content)
    (told,) = problems(stacks)
    assert sentence in told.sentence


@pytest.mark.parametrize("wrong", ["5", "true", "1.5", "[]", '"x"'])
def test_a_plain_value_where_settings_belong_is_told(stacks, wrong):
    path = stacks / DEV
    text = path.read_text(encoding="utf-8")
    start, end = text.index("    cluster:"), text.index("    hardware:")
    path.write_text(f"{text[:start]}    cluster: {wrong}\n\n{text[end:]}", encoding="utf-8")
    (told,) = problems(stacks)
    assert (told.key, told.line) == ("cluster", line_of("    cluster:", text))
    assert "write keys and values" in told.sentence


def test_what_is_no_file_is_told_and_not_waited_for(stacks):
    import os

    (stacks / DEV).unlink()
    os.mkfifo(stacks / DEV)
    (told,) = problems(stacks)
    assert told.sentence == "it isn't a file"


def test_ordinary_peers_of_any_size_and_kind_are_taken(stacks):
    path = stacks / DEV
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("zones: 2", "zones: 2\n      peers: [10.65.0.0/22, 100.64.0.0/10]"), encoding="utf-8")
    assert load(stacks, "dev")


def test_a_wrong_entry_is_told_once_and_not_also_as_one_too_few(stacks):
    path = stacks / DEV
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("arn:aws:iam::123456789012:role/", "arn:aws:iam::1:user/"), encoding="utf-8")
    assert [problem.key for problem in problems(stacks)] == ["cluster.admins[0]"]


def test_without_waivers_there_are_none(stacks):
    from infra.settings import waivers

    (stacks / "waivers.yaml").unlink()
    assert waivers.load(stacks, []).granted == ()


def test_a_stack_without_a_file_is_told_with_those_that_have_one(stacks):
    (told,) = problems(stacks, "dve")
    assert "Pulumi.dev.yaml" in told.sentence


@pytest.mark.parametrize(
    "name", ["../dev", "Dev", "d", "a" * 21, "dev env", "a--b", "dev-", "account-eu", "dev-team", ""]
)
def test_a_name_that_can_not_start_a_buckets_name_is_refused(stacks, name):
    (told,) = problems(stacks, name)
    assert "can't name an environment" in told.sentence


def test_what_pulumi_says_of_the_configuration_counts_more_than_the_file(stacks):
    wanted = read(stacks / DEV).data["config"]["modelyard:environment"] | {"cost_center": "other"}
    assert load(stacks, "dev", wanted).settings.cost_center == "other"


@settings(max_examples=200, deadline=None)
@given(strategies.text(max_size=200))
def test_no_text_whatever_makes_a_traceback(text):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        stacks = Path(folder)
        shutil.copy(STACKS / HARDWARE, stacks)
        (stacks / DEV).write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(SettingsError):
            load(stacks, "dev")
