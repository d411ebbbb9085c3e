"""modelyard env: plans, lists and new environments, on a project of the test's own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.terminal import modelyard

PROJECT = Path(__file__).parents[2]
PROGRAM = '''
"""A bucket, its key, and what depends on a setting."""

import pulumi
import pulumi_aws as aws

config = pulumi.Config().get_object("environment") or pulumi.Config().require_object("account")


class Storage(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("modelyard:aws:Storage", name, {})
        child = pulumi.ResourceOptions(parent=self)
        self.key = aws.kms.Key("storage-key", description=config["cost_center"], opts=child)
        aws.s3.Bucket("storage-data", bucket=f"{pulumi.get_stack()}-data", opts=child)


if config["cost_center"] == "refused":
    raise ValueError("the program has its own reasons")
if "kubeconfig" not in config.get("cluster", {}):
    pulumi.export("key", Storage("storage").key.arn)
'''


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A project with the shipped stacks and a small program; commands are typed in it."""
    shutil.copy(PROJECT / "Pulumi.yaml", tmp_path)
    shutil.copytree(PROJECT / "stacks", tmp_path / "stacks")
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "__main__.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(root, name, old, new):
    file = root / "stacks" / f"Pulumi.{name}.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def settings_of(root, name):
    return yaml.safe_load((root / "stacks" / f"Pulumi.{name}.yaml").read_text())["config"]["modelyard:environment"]


def test_the_shipped_prod_is_planned_by_one_process_and_nothing_in_it_is_severe():
    said = modelyard("env", "plan", "prod", "--fail-on", "low", "--json")
    assert said.code == 0, said.err
    plan = said.json
    assert plan.keys() == {"stack", "resources", "price", "quotas", "findings", "difference"}
    assert len(plan["resources"]) > 200
    assert all(resource["urn"].startswith("urn:pulumi:prod::modelyard::") for resource in plan["resources"])
    assert {"network", "cluster", "storage"} <= plan["price"]["components"].keys()
    assert "h100x8-efa" in plan["price"]["profiles"]


def test_two_plans_of_the_same_files_are_the_same_bytes(root):
    one, other = (modelyard("env", "plan", "dev", "--json", PYTHONHASHSEED=seed) for seed in "12")
    assert one.out == other.out
    assert one.json["stack"] == "dev"
    assert [resource["name"] for resource in one.json["resources"]] == ["storage", "storage-key", "storage-data"]


def test_a_plan_tells_people_what_there_would_be_and_what_it_would_cost(root, typed):
    said = typed("env", "plan", "dev", "--fail-on", "never")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == "dev: 2 resources in us-east-1"
    assert "1 Bucket, 1 Key" in next(line for line in lines if line.startswith("storage "))
    assert any(line.startswith("nodes: a10g") for line in lines)
    assert "it is paid by use, which no setting estimates" in said.out
    assert "Running On-Demand G and VT instances" in said.out
    assert not any(line.startswith("└─ storage-key") for line in lines)
    assert any(line.startswith("├─ storage-key") for line in typed("env", "plan", "dev", "--full").out.splitlines())


def test_the_sum_says_what_it_leaves_out_and_a_small_budget_is_shown_as_it_is(root, typed):
    change(root, "dev", "usd_per_month: 2000", "usd_per_month: 0.001")
    said = typed("env", "plan", "dev", "--full", "--fail-on", "never").out.splitlines()
    assert said[1].endswith("; above the budget of 0.001; 2 things without a price are not in it")
    start = said.index("Not in the sum")
    assert len(said[start + 2 : said.index("", start)]) == 2


@pytest.mark.parametrize(("threshold", "code"), [("low", 1), ("high", 1), ("critical", 1), ("never", 0)])
def test_findings_decide_the_exit_code(root, typed, threshold, code):
    assert typed("env", "plan", "dev", "--fail-on", threshold).code == code, "the bucket is public and has no versions"


def test_a_finding_names_the_line_of_the_setting_that_decides_or_that_none_does(root, typed):
    lines = (root / "stacks" / "Pulumi.dev.yaml").read_text().splitlines()
    owner = next(number for number, line in enumerate(lines, 1) if line.strip().startswith("owner:"))
    rows = [line.split() for line in typed("env", "plan", "dev").out.splitlines()]
    places = {row[1]: row[2] for row in rows if len(row) > 3 and row[0] in {"critical", "high", "medium", "low"}}
    assert places["owner-tags"] == f"stacks/Pulumi.dev.yaml:{owner}"
    assert places["s3-tls-only"] == "default"


def test_what_is_waived_is_shown_and_fails_nothing(root, typed):
    found = typed("env", "plan", "dev", "--json").json["findings"]
    waiver = {"resources": "*", "reason": "This is only a test of waivers", "expires": "2999-01-01"}
    waivers = [{**waiver, "policy": policy} for policy in sorted({one["policy"] for one in found})]
    (root / "stacks" / "waivers.yaml").write_text(json.dumps({"waivers": waivers}))
    said = typed("env", "plan", "dev", "--fail-on", "low", "--json")
    assert said.code == 0
    assert {one["waived"]["reason"] for one in said.json["findings"]} == {"This is only a test of waivers"}
    assert len(said.json["findings"]) == len(found)
    assert f"0 findings, and {len(found)} waived" in typed("env", "plan", "dev").out


def test_an_account_is_planned_too(root, typed):
    plan = typed("env", "plan", "account.main", "--json").json
    assert (plan["stack"], plan["price"]["region"], plan["price"]["budget"]) == ("account.main", "us-east-1", None)


def test_an_existing_cluster_is_planned_too(root, typed):
    plan = typed("env", "plan", "local", "--json").json
    assert plan["price"]["lines"] == plan["quotas"] == []
    assert plan["price"]["unpriced"][0]["what"] == "the cluster and its nodes"


def test_everything_that_is_wrong_is_told_at_once(root, refused):
    change(root, "dev", "security: standard", "security: tight")
    change(root, "dev", "usd_per_month: 2000", "usd_per_month: -1")
    sentence = refused("env", "plan", "dev")
    first, *problems = sentence.splitlines()
    assert first == "the settings have 2 problems"
    assert [problem.split(": ")[1] for problem in problems] == ["security", "budget.usd_per_month"]
    assert all(problem.startswith("stacks/Pulumi.dev.yaml:") for problem in problems)


def test_a_stack_without_a_file_is_refused_with_those_that_there_are(root, refused):
    assert "Pulumi.dev.yaml" in refused("env", "plan", "devv")


def test_what_the_program_refuses_is_a_sentence(root, refused):
    change(root, "dev", "cost_center: ml-platform", "cost_center: refused")
    assert refused("env", "plan", "dev") == "dev: the program has its own reasons"


def test_a_saved_plan_is_what_the_next_one_is_held_against(root, typed):
    subprocess.run(["git", "init", "-q", root], check=True)
    assert typed("env", "plan", "dev", "--json").json["difference"] is None
    assert typed("env", "plan", "dev", "--save", "--fail-on", "never").code == 0
    nothing = typed("env", "plan", "dev", "--json").json["difference"]
    assert nothing == {"created": [], "deleted": [], "changed": {}}
    change(root, "dev", "cost_center: ml-platform", "cost_center: research")
    said = typed("env", "plan", "dev")
    assert "Different from .modelyard/plans/dev.json" in said.out
    assert 'description: "ml-platform" → "research"' in said.out
    (changes,) = typed("env", "plan", "dev", "--json").json["difference"]["changed"].values()
    assert changes == [{"path": "description", "before": "ml-platform", "after": "research"}]
    seen = subprocess.run(["git", "status", "--short"], cwd=root, capture_output=True, text=True, check=True).stdout
    assert ".modelyard" not in seen, "saved plans are nobody else's"


def test_a_plan_is_held_against_a_state(root, typed):
    urn = "urn:pulumi:dev::modelyard::modelyard:aws:Storage$aws:sqs/queue:Queue::storage-queue"
    entry = {"urn": urn, "type": "aws:sqs/queue:Queue", "custom": True, "inputs": {}}
    (root / "state.json").write_text(json.dumps({"version": 3, "deployment": {"resources": [entry]}}))
    found = typed("env", "plan", "dev", "--json", "--against", "state.json").json["difference"]
    assert found["deleted"] == [urn]
    assert [one.rpartition("::")[2] for one in found["created"]] == ["storage", "storage-key", "storage-data"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "other.json can't be read: No such file or directory"),
        ("{", "other.json is not JSON at line 1: perhaps only a part of it was written"),
        ("[]", "other.json is neither a plan (modelyard env plan --json) nor a state (pulumi stack export)"),
    ],
)
def test_what_is_no_plan_is_refused(root, refused, text, sentence):
    if text is not None:
        (root / "other.json").write_text(text)
    assert refused("env", "plan", "dev", "--against", "other.json") == sentence


def test_a_damaged_saved_plan_is_noted_and_written_anew(root, typed):
    kept = root / ".modelyard" / "plans" / "dev.json"
    kept.parent.mkdir(parents=True)
    kept.write_text('{"resources": [')
    said = typed("env", "plan", "dev", "--json", "--fail-on", "never")
    assert (said.code, said.json["difference"]) == (0, None)
    assert "not compared with the plan that was saved last" in said.err
    assert "dev.json is not JSON at line 1" in said.err
    assert typed("env", "plan", "dev", "--save", "--fail-on", "never").code == 0
    said = typed("env", "plan", "dev", "--json", "--fail-on", "never")
    assert (said.err, said.json["difference"]) == ("", {"created": [], "deleted": [], "changed": {}})


def test_another_stack_s_plan_is_refused_and_an_empty_state_is_told(root, typed, refused):
    (root / "other.json").write_text(typed("env", "plan", "prod", "--json").out)
    sentence = refused("env", "plan", "dev", "--against", "other.json")
    assert sentence == "other.json is of the stack prod, and this is dev"
    (root / "empty.json").write_text('{"version": 3, "deployment": {}}')
    said = typed("env", "plan", "dev", "--against", "empty.json")
    assert said.err == "empty.json holds no resources, so everything is new\n"


def test_the_plan_is_printed_as_terraform_s_and_nothing_else(root, typed, refused):
    said = typed("env", "plan", "dev", "--format", "terraform-plan", "--fail-on", "never")
    types = {change["type"] for change in said.json["resource_changes"]}
    assert types == {"aws_kms_key", "aws_s3_bucket"}
    assert refused("env", "plan", "dev", "--format", "terraform-plan", "--json") == (
        "--json and --format both print the plan; take one of them"
    )


def test_what_is_less_than_critical_fails_no_plan_that_asks_for_that(root, typed):
    found = typed("env", "plan", "dev", "--json").json["findings"]
    granted(root, *((one["policy"], "*", "2999-01-01") for one in found if one["severity"] == "critical"))
    assert typed("env", "plan", "dev", "--fail-on", "critical").code == 0
    assert typed("env", "plan", "dev", "--fail-on", "high").code == 1


def granted(root, *waivers):
    reason = "This is only a test of waivers"
    given = [{"policy": policy, "resources": where, "reason": reason, "expires": day} for policy, where, day in waivers]
    (root / "stacks" / "waivers.yaml").write_text(json.dumps({"waivers": given}))


def test_checkov_is_told_what_is_waived_and_valid_resource_by_resource(root, typed):
    granted(
        root,
        ("CKV_AWS_144", "storage-d*", "2999-01-01"),
        ("CKV2_AWS_62", "*", "2999-01-01"),
        ("CKV_AWS_7", "storage-key", "2020-01-01"),
        ("CKV_AWS_21", "urn:pulumi:prod::*", "2999-01-01"),
        ("s3-versioning", "*", "2999-01-01"),
    )
    said = typed("env", "plan", "dev", "--format", "checkov-baseline", "--fail-on", "never")
    (only,) = said.json["failed_checks"]
    found = {one["resource"]: one["check_ids"] for one in only["findings"]}
    assert found == {
        "aws_kms_key.storage-key": ["CKV2_AWS_62"],
        "aws_s3_bucket.storage-data": ["CKV2_AWS_62", "CKV_AWS_144"],
    }
    assert said.err == "the waiver of CKV_AWS_21 on urn:pulumi:prod::* matches nothing in dev\n"


def test_an_expired_waiver_of_checkov_is_a_finding(root, typed):
    granted(root, ("CKV_AWS_7", "storage-key", "2020-01-01"), ("CKV_AWS_7", "urn:pulumi:prod::*", "2020-01-01"))
    found = [one for one in typed("env", "plan", "dev", "--json").json["findings"] if one["setting"] == "waivers"]
    assert [(one["severity"], one["message"]) for one in found] == [
        ("low", "the waiver of CKV_AWS_7 on storage-key expired on 2020-01-01")
    ]
    assert found[0]["file"] == "stacks/waivers.yaml"


def test_a_page_is_written(root, typed, refused):
    said = typed("env", "plan", "dev", "--html", "plan.html", "--fail-on", "never")
    assert said.err == "page: plan.html\n"
    assert "<h1>Plan of dev</h1>" in (root / "plan.html").read_text()
    for name in ("-", ""):
        assert refused("env", "plan", "dev", "--html", name) == (
            f"Invalid value for '--html': '{name}' is no file; name one, as plan.html"
        )
    said = typed("env", "plan", "dev", "--html", "no/such/folder.html")
    assert (said.code, said.err) == (2, "modelyard: no/such/folder.html can't be written: No such file or directory\n")


def test_stacks_are_found_from_a_folder_below_and_without_a_project_in_the_checkout(root, typed, monkeypatch):
    (root / "stacks" / "Pulumi.staging.yaml").unlink()
    monkeypatch.chdir(root / "infra")
    here = [stack["name"] for stack in typed("env", "list", "--json").json["stacks"]]
    assert "staging" not in here
    monkeypatch.chdir("/")
    there = [stack["name"] for stack in typed("env", "list", "--json").json["stacks"]]
    assert {"staging", *here} <= set(there)


def test_the_list_tells_each_stack_and_what_is_wrong_with_it(root, typed):
    change(root, "staging", "security: hardened", "security: tight")
    lines = {line.split()[0]: line for line in typed("env", "list").out.splitlines()}
    assert " ".join(lines["dev"].split()) == "dev us-east-1, account 123456789012 standard throwaway cpu-small, a10g"
    assert "~/.kube/config" in lines["local"]
    assert "1 problem; see modelyard env plan staging" in lines["staging"]


def test_the_shell_completes_stack_names(root):
    words = {"COMP_WORDS": "modelyard env plan pr", "COMP_CWORD": "3"}
    said = modelyard(**words, _MODELYARD_COMPLETE="complete_bash")
    assert (said.code, said.out) == (0, "prod\n")


def test_help_imports_nothing_that_takes_long():
    code = (
        "import sys; from modelyard import cli; cli.run(['env', 'plan', '--help']);"
        "print(sorted({'pulumi', 'infra.settings.stacks', 'rich', 'jinja2', 'yaml'} & sys.modules.keys()))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("words", [("--like", "dev"), ("--like", "prod"), (), ("--on", "existing")], ids=" ".join)
def test_a_new_environment_can_be_planned_at_once(root, typed, words):
    said = typed("env", "new", "research", *words)
    assert (said.code, said.out) == (0, "stacks/Pulumi.research.yaml\n")
    assert "modelyard env plan research" in said.err
    text = (root / "stacks" / "Pulumi.research.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=schemas/environment.json\n")
    assert "#" in text.split("config:")[1], "settings are explained where they stand"
    assert typed("env", "plan", "research", "--fail-on", "never").code == 0


def test_a_new_environment_s_network_overlaps_with_no_other(root, typed):
    for name, words in (("one", ()), ("two", ("--like", "prod")), ("three", ("--like", "one"))):
        assert typed("env", "new", name, *words).code == 0
    ranges = [settings_of(root, name)["network"]["cidr"] for name in ("dev", "staging", "prod", "one", "two", "three")]
    assert ranges == [f"10.{second}.0.0/16" for second in range(64, 70)]
    assert settings_of(root, "two")["hardware"].keys() == settings_of(root, "prod")["hardware"].keys()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    network:\n      cidr: 10.64.0.0/16\n      zones: 2\n", "    network: {zones: 2, cidr: 10.64.0.0/16}\n"),
        ("    network:\n      cidr: 10.64.0.0/16\n      zones: 2\n", "    network: {zones: 2}\n"),
        ("    network:\n      cidr: 10.64.0.0/16\n      zones: 2\n", "    network:\n      zones: 2\n"),
        ("    network:\n      cidr: 10.64.0.0/16\n      zones: 2\n", ""),
        ("cidr: 10.64.0.0/16", 'cidr: "10.64.0.0/16" # ours'),
    ],
)
def test_the_range_is_set_however_the_other_s_network_is_written(root, typed, old, new):
    change(root, "dev", old, new)
    assert typed("env", "new", "twin", "--like", "dev").code == 0
    settings = settings_of(root, "twin")
    assert settings["network"]["cidr"] == "10.67.0.0/16"
    assert {**settings, "network": None} == {**settings_of(root, "dev"), "network": None}


def test_a_network_that_is_there_already_stays_the_same_one(root, typed):
    mine = "network: {vpc: vpc-0a1b2c3d, private_subnets: [subnet-0a1b2c3d, subnet-0a1b2c3e]}\n"
    change(root, "dev", "network:\n      cidr: 10.64.0.0/16\n      zones: 2\n", mine)
    assert typed("env", "new", "twin", "--like", "dev").code == 0
    assert settings_of(root, "twin") == settings_of(root, "dev")


def test_what_belongs_to_the_other_stack_alone_is_not_taken_over(root, typed):
    file = root / "stacks" / "Pulumi.dev.yaml"
    file.write_text(f"secretsprovider: awskms:///x\n{file.read_text()}encryptedkey: abc\n")
    assert typed("env", "new", "twin", "--like", "dev").code == 0
    assert yaml.safe_load((root / "stacks" / "Pulumi.twin.yaml").read_text()).keys() == {"config"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("dev",), "stacks/Pulumi.dev.yaml is there already; choose another name, or edit it"),
        (
            ("Dev.1",),
            "'Dev.1' can't name an environment: 2 to 20 lower-case letters, digits and hyphens, a letter first",
        ),
        (
            ("x1", "--like", "dev", "--on", "existing"),
            "a new environment stands on what dev stands on; take one of --like and --on",
        ),
        (("x1", "--like", "account.main"), "account.main is no environment; take one of dev, local, prod, staging"),
    ],
)
def test_a_new_environment_is_refused_where_it_would_do_harm(root, refused, words, sentence):
    before = sorted((root / "stacks").iterdir())
    assert refused("env", "new", *words) == sentence
    assert sorted((root / "stacks").iterdir()) == before
