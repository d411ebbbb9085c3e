"""Whole stacks, as `pulumi up` would register them.

`python -m tests.program.test_environments` writes the golden trees again.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.settings.base import Lifetime, Security
from infra.settings.files import SettingsError
from infra.settings.stacks import load, names
from modelyard.plan.graph import Graph
from modelyard.plan.plan import graph_of

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
STACKS = names(ROOT / "stacks")


def planned(name: str, **changes: object) -> Graph:
    """The graph of a stack that is shipped, with some of its settings changed."""
    stack = load(ROOT / "stacks", name)
    config = stack.document.data["config"]
    (key,) = config
    config[key] = {**config[key], **changes}
    return graph_of(ROOT, stack)


def tree(graph: Graph) -> str:
    """Each resource's type chain and name, a line each."""
    return "".join(sorted(f"{resource.urn.split('::', 2)[2]}\n" for resource in graph.resources))


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_has_the_resources_that_it_had_so_that_a_rename_which_replaces_live_things_is_seen(name):
    assert tree(planned(name)) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8"), (
        "if this is meant: python -m tests.program.test_environments; a live resource under another URN is replaced"
    )


@pytest.fixture(scope="module")
def throwaway():
    return planned("prod", lifetime="throwaway")


@pytest.fixture(scope="module")
def durable():
    return planned("prod", lifetime="durable")


def of(graph, kind):
    """Resources of AWS by the last part of their type."""
    return [one for one in graph.resources if one.type.startswith("aws:") and one.type.endswith(f":{kind}")]


def test_a_throwaway_environment_can_be_destroyed_to_nothing(throwaway):
    assert not [resource.urn for resource in throwaway.resources if resource.protect or resource.retain_on_delete]
    assert all(bucket.inputs["forceDestroy"] for bucket in of(throwaway, "Bucket"))
    assert all(repository.inputs["forceDelete"] for repository in of(throwaway, "Repository"))
    for database in throwaway.resources:
        if database.type == "aws:rds/instance:Instance":
            assert database.inputs["skipFinalSnapshot"]
            assert not database.inputs["deletionProtection"]
    assert not of(throwaway, "Cluster")[0].inputs["deletionProtection"]
    assert {key.inputs["deletionWindowInDays"] for key in of(throwaway, "Key") if "aws:kms" in key.type} == {7}


HOLDS_DATA = (
    "aws:backup/vault:Vault",
    "aws:cloudwatch/logGroup:LogGroup",
    "aws:ecr/repository:Repository",
    "aws:eks/cluster:Cluster",
    "aws:fsx/lustreFileSystem:LustreFileSystem",
    "aws:kms/key:Key",
    "aws:rds/instance:Instance",
    "aws:s3/bucket:Bucket",
)


@pytest.mark.parametrize("kind", HOLDS_DATA)
def test_what_holds_data_in_a_durable_environment_is_protected_and_outlives_its_stack(durable, kind):
    found = [resource for resource in durable.resources if resource.type == kind]
    assert found
    assert all(resource.protect and resource.retain_on_delete for resource in found)


def test_every_resource_hangs_under_a_component_so_that_it_moves_and_dies_with_it(durable):
    components = {resource.urn for resource in durable.resources if not resource.custom}
    for resource in durable.resources:
        if resource.custom:
            assert resource.parent in components, resource.urn


def test_every_resource_goes_to_the_environments_own_account_and_region_and_is_tagged_with_its_owner(durable):
    (provider,) = [resource for resource in durable.resources if resource.type == "pulumi:providers:aws"]
    assert provider.inputs["region"] == "us-east-1"
    assert "123456789012" in str(provider.inputs["allowedAccountIds"])
    assert all(tag in str(provider.inputs["defaultTags"]) for tag in ("owner", "cost-center", "environment"))
    used = {resource.provider for resource in durable.resources if resource.type.startswith("aws:")}
    assert used == {provider.urn}, used


@pytest.fixture
def checkout(tmp_path):
    """The shipped stacks, to be changed, beside the program."""
    shutil.copytree(ROOT / "stacks", tmp_path / "stacks")
    (tmp_path / "infra").symlink_to(ROOT / "infra")
    return tmp_path


def test_a_placement_group_and_a_reservation_which_brings_its_own_are_refused_together(checkout):
    hardware = checkout / "stacks" / "hardware.yaml"
    text = hardware.read_text(encoding="utf-8")
    hardware.write_text(text.replace("    efa: true", "    placement_group: true\n    efa: true"), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"hardware\.h100x8-efa\.max: a reservation brings its own placement group"):
        load(checkout / "stacks", "prod")


def test_two_environments_of_one_account_share_no_physical_name_even_where_one_name_begins_with_the_other(checkout):
    """What a person can name has to differ by environment, or the second `up` fails half way."""
    stacks = checkout / "stacks"
    hardware = stacks / "hardware.yaml"
    text = hardware.read_text(encoding="utf-8")
    (a10g,) = re.findall(r"^  a10g:\n(?:    .+\n)+", text, re.MULTILINE)
    near = f"{a10g}    placement_group: true\n"
    hardware.write_text(text.replace(a10g, near + near.replace("a10g:", "system-a10g:", 1)), encoding="utf-8")
    dev = (stacks / "Pulumi.dev.yaml").read_text(encoding="utf-8")
    (line,) = re.findall(r"^      a10g: .+\n", dev, re.MULTILINE)
    both = dev.replace(line, line + line.replace("a10g:", "system-a10g:"))
    named = {}
    for environment in ("dev", "dev-system"):
        (stacks / f"Pulumi.{environment}.yaml").write_text(both, encoding="utf-8")
        named[environment] = {
            (resource.type, resource.inputs[key])
            for resource in graph_of(checkout, load(stacks, environment)).resources
            for key in ("name", "bucket", "identifier")
            if resource.type.startswith("aws:")
            and isinstance(resource.inputs.get(key), str)
            and resource.type not in INNER
        }
    assert not named["dev"] & named["dev-system"]
    assert {"aws:iam/role:Role", "aws:ec2/placementGroup:PlacementGroup"} <= {kind for kind, _ in named["dev"]}


INNER = {"aws:iam/rolePolicy:RolePolicy"}
"""Named within something that has the environment's name."""


def test_no_secret_is_in_a_plan(durable):
    assert not [resource.urn for resource in durable.resources if resource.secrets]
    passwords = [
        resource.urn
        for resource in durable.resources
        for key in ("password", "masterPassword", "secretString")
        if key in resource.inputs
    ]
    assert passwords == [], "a password that the program knows is in the state"


def test_a_wrong_setting_stops_the_program_itself_with_the_sentence_and_no_traceback():
    """`pulumi up` runs the program without anything of modelyard before it."""
    code = (
        "import pulumi, runpy\n"
        "pulumi.runtime.set_mocks(object(), project='modelyard', stack='dev')\n"
        "pulumi.runtime.set_all_config({'modelyard:environment': '{\"securty\": 1}'})\n"
        f"main = runpy.run_path({str(ROOT / 'infra' / '__main__.py')!r}, run_name='program')['main']\n"
        "try:\n    main()\n"
        "except pulumi.RunError as error:\n    print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "securty: there is no such setting; did you mean security?" in told.stdout, told.stderr


def test_the_switches_are_the_two_that_are_documented():
    text = (ROOT / "docs" / "environments.md").read_text(encoding="utf-8")
    assert all(f"`{value}`" in text for value in (*Security, *Lifetime))


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name in STACKS:
        (GOLDEN / f"{name}.txt").write_text(tree(planned(name)), encoding="utf-8")
