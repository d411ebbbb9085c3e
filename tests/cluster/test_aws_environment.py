"""The shipped `dev` environment on Pulumi's engine and moto, from nothing to nothing: one `up` for all tests."""

import json
import os
import runpy
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pulumi
import pulumi_aws
import pytest
from pulumi import automation

from tests.cluster.cloud import Project, moto, there

pytestmark = pytest.mark.timeout(600)


@dataclass
class Cloud:
    """A project on an AWS of its own, and what the engine did to its stacks."""

    project: Project
    kept: Path
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each command took, the first time."""

    def program(self) -> None:
        runpy.run_path(str(self.project.root / "infra" / "__main__.py"), run_name="__main__")

    def stack(self, name: str, program: Callable[[], None] | None = None) -> automation.Stack:
        options = automation.LocalWorkspaceOptions(work_dir=str(self.project.root))
        return automation.create_or_select_stack(name, "modelyard", program or self.program, opts=options)

    def run(self, command: str, stack: str = "dev", **options: Any) -> "Done":
        """A command of the engine, and all that it said about resources."""
        steps: list[Any] = []
        began = time.monotonic()
        result = getattr(self.stack(stack), command)(on_event=steps.append, **options)
        self.seconds.setdefault(f"{command} {stack}", time.monotonic() - began)
        changes = result.change_summary if command == "preview" else result.summary.resource_changes
        return Done({getattr(key, "value", key): number for key, number in changes.items()}, steps)

    def state(self, stack: str = "dev") -> str:
        return (self.project.root.parent / f"backend/.pulumi/stacks/modelyard/{stack}.json").read_text()


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    changes: dict[str, int]
    events: list[Any]

    def changed(self) -> dict[str, set[str]]:
        """The properties that differ, by the name of their resource."""
        found: dict[str, set[str]] = {}
        for event in self.events:
            step = (event.resource_pre_event or event.res_outputs_event or None) and (
                event.resource_pre_event or event.res_outputs_event
            ).metadata
            if step and step.op.value not in {"same", "read", "refresh"}:
                name = step.urn.rpartition("::")[2]
                found.setdefault(name, set()).update(step.detailed_diff or {})
        return found


@pytest.fixture(scope="module")
def cloud(engine, tmp_path_factory):
    """AWS with the account's stack, where the environment isn't yet."""
    folder = tmp_path_factory.mktemp("cloud")
    (folder / "backend").mkdir()
    environment = {
        "PATH": f"{engine}{os.pathsep}{os.environ['PATH']}",
        "PULUMI_BACKEND_URL": (folder / "backend").as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "loopback",
        "PULUMI_HOME": str(folder / "pulumi"),
        "PULUMI_SKIP_UPDATE_CHECK": "1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "MODELYARD_STANDIN_AWS": str(folder / "kept"),
    }
    with pytest.MonkeyPatch.context() as patch, moto(folder, managed_policies=True) as url:
        for name, value in {**environment, "AWS_ENDPOINT_URL": url}.items():
            patch.setenv(name, value)
        made = Cloud(Project(folder / "project"), folder / "kept")
        made.run("up", "account.main")
        yield made


@pytest.fixture(scope="module")
def before(cloud):
    """What was there before the environment."""
    return there(cloud.kept)


@pytest.fixture(scope="module")
def preview(cloud, before):
    return cloud.run("preview")


@pytest.fixture(scope="module")
def up(cloud, before, preview):
    return cloud.run("up")


def test_a_preview_counts_everything_and_makes_nothing(cloud, before, preview):
    assert preview.changes["create"] > 200
    assert set(preview.changes) == {"create"}
    assert there(cloud.kept) == before


def test_up_makes_what_the_preview_said(cloud, before, preview, up):
    assert up.changes == preview.changes
    made = there(cloud.kept) - before
    kinds = Counter(kind for kind, _ in made)
    assert kinds["aws:eks/cluster:Cluster"] == 1
    assert kinds["aws:rds/instance:Instance"] == 2
    assert kinds["aws:s3/bucket:Bucket"] == 6
    state = Counter(cloud.project.ids("dev"))
    [(_, group)] = made - state  # all else that was made is in the state
    [group] = boto3.client("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert group["Description"] == "EKS created it"


def test_nothing_has_drifted_after_up_and_a_second_one_changes_nothing(cloud, up):
    assert set(cloud.run("up", refresh=True).changes) == {"same"}


def test_one_changed_setting_changes_only_what_hangs_on_it(cloud, up):
    with setting(cloud, "usd_per_month: 2000", "usd_per_month: 2500"):
        done = cloud.run("up")
    assert done.changes["update"] == 1
    assert done.changed() == {"budget-monthly": {"limitAmount"}}


def test_a_replacement_is_foretold_with_all_that_hangs_on_it(cloud, up):
    with setting(cloud, "cidr: 10.64.0.0/16", "cidr: 10.72.0.0/16"):
        done = cloud.run("preview")
    changed = done.changed()
    assert "cidrBlock" in changed["network-vpc"]
    assert done.changes["replace"] > 20
    assert not [name for name in changed if name.startswith(("registry", "storage"))]


def test_what_was_altered_by_hand_is_found_and_named_and_put_right(cloud, up):
    ec2, kms, iam = (boto3.client(name) for name in ("ec2", "kms", "iam"))
    [group] = ec2.describe_security_groups(Filters=[{"Name": "tag:Name", "Values": ["dev-endpoints"]}])[
        "SecurityGroups"
    ]
    ec2.authorize_security_group_ingress(
        GroupId=group["GroupId"], IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0"
    )
    [key] = [one for one in kms.list_aliases()["Aliases"] if one["AliasName"] == "alias/modelyard/dev/network-logs"]
    kms.disable_key_rotation(KeyId=key["TargetKeyId"])
    iam.delete_role_policy(RoleName="modelyard-dev-flow-logs", PolicyName=flow_logs_policy(iam))
    kept = next(file for file in cloud.kept.glob("Budget-*.json"))
    budget = json.loads(kept.read_text())
    budget["inputs"]["limitAmount"] = "99999.00"
    kept.write_text(json.dumps(budget))

    drift = cloud.run("refresh")
    assert drift.changed() == {
        "network-endpoints": {"ingress[1]"},
        "network-logs-key": {"enableKeyRotation"},
        "network-flow-logs-policy": set(),
        "budget-monthly": {"limitAmount"},
    }
    cloud.run("up")
    [group] = ec2.describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"]
    assert [rule["FromPort"] for rule in group["IpPermissions"]] == [443]
    assert kms.get_key_rotation_status(KeyId=key["TargetKeyId"])["KeyRotationEnabled"]
    assert flow_logs_policy(iam)
    assert json.loads(kept.read_text())["inputs"]["limitAmount"] == "2000.00"


def test_secrets_are_encrypted_in_the_state(cloud, up):
    def program() -> None:
        provider = pulumi_aws.Provider("aws", region="us-east-1")
        opts = pulumi.ResourceOptions(provider=provider)
        secret = pulumi_aws.secretsmanager.Secret("secret", name="standing-in", opts=opts)
        pulumi_aws.secretsmanager.SecretVersion(
            "value", secret_id=secret.id, secret_string=pulumi.Output.secret("correct horse"), opts=opts
        )

    stack = cloud.stack("secret", program)
    stack.up()
    assert "correct horse" not in cloud.state("secret")
    assert "ciphertext" in cloud.state("secret")
    said = boto3.client("secretsmanager").get_secret_value(SecretId="standing-in")["SecretString"]
    assert said == "correct horse"
    stack.destroy()
    passwords = [one["Name"] for one in boto3.client("secretsmanager").list_secrets()["SecretList"]]
    assert len(passwords) == 2, "the databases' passwords, which AWS made"
    for name in passwords:
        assert boto3.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"] not in cloud.state()


def test_destroy_leaves_nothing(cloud, before, up):
    kms = boto3.client("kms")
    used = [identity for kind, identity in cloud.project.ids("dev") if kind == "aws:kms/key:Key"]
    done = cloud.run("destroy")
    assert done.changes["delete"] == up.changes["create"]
    assert there(cloud.kept) == before
    assert {kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] for key in used} == {"PendingDeletion"}
    assert not boto3.client("secretsmanager").list_secrets()["SecretList"]
    assert not cloud.project.deployment("dev").get("resources")
    print(f"\n{up.changes['create']} resources; seconds: { ({k: round(v, 1) for k, v in cloud.seconds.items()}) }")


def flow_logs_policy(iam):
    [name] = iam.list_role_policies(RoleName="modelyard-dev-flow-logs")["PolicyNames"]
    return name


@contextmanager
def setting(cloud, old, new):
    """Change a setting, and put it back."""
    cloud.project.change("dev", old, new)
    yield
    cloud.project.change("dev", new, old)
