"""modelyard env preview, up, refresh, destroy, outputs: on the real engine, with a small program of the test's own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest

from infra.settings import stacks
from modelyard.engine import Engine, find
from modelyard.errors import FailedError
from modelyard.found import Finder
from tests.cluster.cloud import PROJECT, Project, kill, moto, until

PROGRAM = '''
"""A key, a group of logs that needs it, and a queue."""

import pulumi
import pulumi_aws as aws

from infra.aws.tags import marked

config = pulumi.Config().get_object("environment")


class Part(pulumi.ComponentResource):
    def __init__(self, name, opts):
        super().__init__("modelyard:aws:Part", name, {}, opts)
        provider = aws.Provider("aws", region="us-east-1", opts=pulumi.ResourceOptions(parent=self))
        child = pulumi.ResourceOptions(parent=self, providers={"aws": provider})
        key = aws.kms.Key("part-key", description=config["cost_center"], enable_key_rotation=True, opts=child)
        group = aws.cloudwatch.LogGroup(
            "part-logs",
            name="/dev/part",
            retention_in_days=365,
            kms_key_id=key.arn,
            tags={"data-class": "internal"},
            opts=child,
        )
        aws.sqs.Queue(
            "part-queue", name="dev-part", message_retention_seconds=300, sqs_managed_sse_enabled=True, opts=child
        )
        pulumi.export("logs", group.name)
        pulumi.export("password", pulumi.Output.secret("correct horse"))


if config:  # a plan asks for the account's stack too
    Part("part", pulumi.ResourceOptions(transformations=[marked]))
'''
KEY, LOGS, QUEUE = "aws:kms/key:Key", "aws:cloudwatch/logGroup:LogGroup", "aws:sqs/queue:Queue"


@pytest.fixture
def project(backend, tmp_path, monkeypatch):
    """The small program on an AWS of its own."""
    monkeypatch.setenv("MODELYARD_STANDIN_AWS", str(tmp_path / "kept"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing-testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with moto(tmp_path) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        made = Project(tmp_path / "project", PROGRAM)
        made.initialise("dev")
        yield made


def keys():
    kms = boto3.client("kms")
    found = [kms.describe_key(KeyId=one["KeyId"])["KeyMetadata"] for one in kms.list_keys()["Keys"]]
    return [one["KeyId"] for one in found if one["KeyState"] == "Enabled"]


def lock(backend, **about):
    folder = backend / ".pulumi/locks/organization/modelyard/dev"
    folder.mkdir(parents=True, exist_ok=True)
    content = {"pid": 1, "username": "ada", "hostname": socket.gethostname(), "timestamp": stamp()} | about
    (folder / "0d2f.json").write_text(json.dumps(content))
    return folder / "0d2f.json"


def stamp(**ago):
    return (datetime.now(UTC) - timedelta(**ago)).isoformat().replace("+00:00", "Z")


def gone():
    """The id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_an_environment_comes_up_changes_drifts_and_goes(project):
    preview = project.env("preview", "dev", "--json")
    assert preview.json["changes"]["create"] == 6
    assert keys() == [], "a preview changes nothing"

    up = project.env("up", "dev", "--yes", "--json")
    assert up.code == 0, up.err
    assert {one["name"] for one in up.json["resources"]} >= {"part-key", "part-logs", "part-queue"}
    assert up.json["price"].keys() == {"minimum", "expected", "maximum"}
    assert "created" in up.err, "each change is told while it happens"
    assert "correct horse" not in json.dumps(project.deployment("dev")), "secrets are encrypted in the state"
    told = project.env("outputs", "dev", "--json")
    assert told.json["outputs"] == {"logs": "/dev/part", "password": "[secret]"}
    assert project.env("up", "dev", "--yes", "--json").json["changes"] == {"same": 6}

    project.change("dev", "cost_center: ml-platform", "cost_center: research")
    changed = project.env("up", "dev", "--yes", "--json").json
    assert [(one["name"], one["operation"], one["properties"]) for one in changed["resources"]] == [
        ("part-key", "update", ["description"])
    ]

    boto3.client("kms").update_key_description(KeyId=keys()[0], Description="changed by hand")
    drift = project.env("refresh", "dev", "--yes")
    assert "part-key" in drift.out
    assert "description" in drift.out
    assert project.env("up", "dev", "--yes", "--json").json["changes"]["update"] == 1

    destroyed = project.env("destroy", "dev", "--yes", "--json")
    assert destroyed.json["changes"]["delete"] == 6
    assert keys() == []
    assert not project.deployment("dev").get("resources")


def test_nothing_is_done_where_nobody_can_be_asked(project):
    said = project.env("up", "dev")
    assert said.code == 2
    assert "--yes" in said.err
    assert not project.deployment("dev").get("resources")


def test_a_provider_that_refuses_is_one_sentence_and_the_next_up_goes_on(project):
    fault = {"fault": "error", "match": LOGS, "message": "the group is refused, loopback"}
    said = project.env("up", "dev", "--yes", faults=[fault])
    assert said.code == 1
    last = said.err.splitlines()[-1]
    assert last == f"modelyard: dev: part-logs ({LOGS}): the group is refused, [secret]", "loopback is a passphrase"
    assert "Traceback" not in said.err
    assert len(keys()) == 1
    deployment = project.deployment("dev")
    assert {KEY, QUEUE} <= {one["type"] for one in deployment["resources"]}, "what was done is in the state"
    assert "pending_operations" not in deployment
    again = project.env("up", "dev", "--yes", "--json")
    assert again.json["changes"] == {"create": 1, "same": 5}
    assert len(keys()) == 1


def test_a_provider_that_hangs_is_given_up_by_name_and_the_next_up_goes_on(project, monkeypatch):
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MODELYARD_STANDIN_FAULTS", json.dumps([{"fault": "hang", "match": LOGS}]))
    stack = stacks.load(project.root / "stacks", "dev")
    engine = Engine(project.root, stack, find(lambda _: False), patience=15)
    with pytest.raises(FailedError, match=rf"part-logs \({LOGS}, create\) gave no answer in 15 seconds"):
        engine.up(lambda _: None)
    again = project.env("up", "dev", "--yes", "--json")
    assert again.code == 0, again.err
    assert len(keys()) == 1
    assert "pending_operations" not in project.deployment("dev")


def test_ctrl_c_lets_the_engine_end_in_good_order_and_says_what_is_left(project):
    process = project.start("up", "dev", "--yes", faults=[{"fault": "hang", "match": LOGS}])
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "part-queue" in line or "part-key" in line:
            break
    time.sleep(1)  # until the group's turn has come
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped dev" in rest
    assert "Traceback" not in rest
    assert not list(Path(os.environ["PULUMI_BACKEND_URL"][7:]).glob(".pulumi/locks/**/*.json"))
    again = project.env("up", "dev", "--yes", "--json")
    assert again.code == 0, again.err
    assert len(keys()) == 1


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        ({"hostname": "elsewhere"}, "pulumi cancel --stack dev"),
        ({"pid": os.getpid()}, "wait for it"),
    ],
    ids=["another host", "alive"],
)
def test_a_lock_whose_holder_may_live_is_named_and_kept(project, backend, about, sentence):
    file = lock(backend, **about)
    said = project.env("up", "dev", "--yes")
    assert said.code == 2
    assert "of ada on" in said.err
    assert sentence in said.err
    assert file.exists()


@pytest.mark.parametrize(
    "about",
    [
        lambda: {"pid": gone()},
        lambda: {"pid": os.getpid(), "timestamp": stamp(hours=1)},
        lambda: {"pid": os.getpid(), "timestamp": stamp(days=3650)},
    ],
    ids=["no such process", "the number is another process's by now", "from before this machine was started"],
)
def test_a_lock_whose_holder_is_proven_dead_is_released(project, backend, about):
    file = lock(backend, **about())
    said = project.env("up", "dev", "--yes", "--json")
    assert said.code == 0, said.err
    assert "ada" in said.json["recovered"]["released"]
    assert not file.exists()


def killed(project, kind):
    """An `up` that is killed when one resource is really there, before the engine hears of it."""
    process = project.start("up", "dev", "--yes", faults=[{"fault": "kill", "match": kind, "program": True}])
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    return project


@pytest.mark.parametrize("kind", [KEY, LOGS, QUEUE])
def test_what_was_made_unheard_is_found_and_taken_over(project, kind):
    killed(project, kind)
    said = project.env("up", "dev", "--yes", "--json")
    assert said.code == 0, said.err
    assert any(kind in urn for urn in said.json["recovered"]["adopted"])
    assert len(keys()) == 1
    assert project.env("up", "dev", "--yes", "--json").json["changes"] == {"same": 6}


def test_a_search_that_is_killed_too_is_done_again(project, backend):
    killed(project, KEY)
    process = project.start("up", "dev", "--yes")
    state = backend / ".pulumi/stacks/modelyard/dev.json"
    until(lambda: KEY in [one["type"] for one in json.loads(state.read_text())["checkpoint"]["latest"]["resources"]])
    kill(process)
    said = project.env("up", "dev", "--yes", "--json")
    assert said.code == 0, said.err
    assert any(KEY in urn for urn in said.json["recovered"]["adopted"])
    assert len(keys()) == 1
    assert project.env("up", "dev", "--yes", "--json").json["changes"] == {"same": 6}


def test_of_two_that_bear_the_same_tag_one_is_taken_and_the_other_listed(project):
    killed(project, KEY)
    boto3.client("kms").create_key(Tags=[{"TagKey": "modelyard:resource", "TagValue": "dev/part-key"}])
    said = project.env("up", "dev", "--yes", "--json")
    assert said.code == 0, said.err
    [second] = said.json["recovered"]["to_remove"]
    assert "a second part-key" in second
    assert any(key in second for key in keys())


def test_what_has_the_name_and_not_the_tag_is_listed_and_never_taken(project):
    killed(project, LOGS)
    boto3.client("logs").untag_log_group(logGroupName="/dev/part", tags=["modelyard:resource"])
    said = project.env("up", "dev", "--yes")
    assert f"{LOGS} /dev/part: it has the name of part-logs but not its tag" in said.err
    assert said.code == 1, "the provider says that it exists already"
    assert (LOGS, "/dev/part") not in project.ids("dev")


def test_without_an_engine_it_is_said_what_to_do(project, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    monkeypatch.setenv("HOME", str(project.root))
    said = project.env("preview", "dev")
    assert said.code == 2
    assert "put it on PATH" in said.err


def test_a_stack_that_nobody_initialised_is_named_with_what_makes_it(project):
    said = project.env("preview", "staging")
    assert said.code == 2
    assert "modelyard env bootstrap staging" in said.err


def test_every_type_of_the_shipped_stacks_can_be_looked_up():
    finder = Finder("dev", None)
    golden = (PROJECT / "tests/program/golden").glob("*.txt")
    types = {line.split("::")[0].rpartition("$")[2] for file in golden for line in file.read_text().splitlines()}
    doubtful = [kind for kind in types if finder.doubt({"type": kind, "custom": kind.startswith("aws:")})]
    assert len(types) > 50
    assert not doubtful, "add them to modelyard/found.py"
