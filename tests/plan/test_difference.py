"""A plan beside an earlier plan, and beside the states that Pulumi writes."""

import dataclasses
import json
from dataclasses import asdict

import pulumi
import pulumi_aws as aws
import pytest

from modelyard.plan.difference import Change, difference, read
from modelyard.plan.graph import SECRET, record

URN = "urn:pulumi:dev::modelyard::"
ENVELOPE = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}


def plan(retention=7, password="old", extra=()):
    def program():
        network = aws.ec2.Vpc("net", cidr_block="10.0.0.0/16")
        aws.ec2.Subnet("a", vpc_id=network.id, cidr_block="10.0.0.0/24")
        role = aws.iam.Role("role", assume_role_policy="{}")
        document = {"Statement": [{"Action": "s3:GetObject", "Resource": role.arn}]}
        aws.iam.RolePolicy("policy", role=role.id, policy=pulumi.Output.json_dumps(document))
        aws.cloudwatch.LogGroup("logs", retention_in_days=retention)
        aws.rds.Instance("db", instance_class="db.t4g.micro", password=password)
        for name in extra:
            aws.sqs.Queue(name)

    return record(program, project="modelyard", stack="dev", config={})


def state_of(graph, **changes):
    """What the engine would keep of it: drawn ids, envelopes, defaults, providers, the stack."""
    drawn = {"net": "vpc-0f00", "role": "role-93ab2c1"}
    real_arn = "arn:aws:iam::999988887777:role/role-93ab2c1"
    provider = {"urn": f"{URN}pulumi:providers:aws::default", "type": "pulumi:providers:aws", "inputs": {}}
    resources = [{"urn": f"{URN}pulumi:pulumi:Stack::modelyard-dev", "type": "pulumi:pulumi:Stack"}, provider]
    for resource in graph.resources:
        inputs = json.loads(json.dumps(resource.inputs))
        if resource.name == "a":
            inputs["vpcId"] = "vpc-0f00"
        if resource.name == "policy":
            inputs["role"] = "role-93ab2c1"
            document = json.loads(inputs["policy"])
            document["Statement"][0]["Resource"] = real_arn
            inputs["policy"] = json.dumps(document, indent=1)
        if resource.name == "db":
            inputs["password"] = {**ENVELOPE, "ciphertext": "v1:abc"}
        entry = {
            "urn": resource.urn,
            "type": resource.type,
            "custom": True,
            "id": drawn.get(resource.name, resource.id),
            "inputs": {"__defaults": ["region"], "region": "eu-west-1", **inputs, **changes.get(resource.name, {})},
            "outputs": {"arn": real_arn} if resource.name == "role" else {},
            "dependencies": list(resource.dependencies),
        }
        resources.append(entry)
    return {"version": 3, "deployment": {"resources": resources}}


def written(tmp_path, document):
    path = tmp_path / "before.json"
    path.write_text(json.dumps(document))
    return path


def saved(tmp_path, graph):
    resources = [{**asdict(resource), "secrets": sorted(resource.secrets)} for resource in graph.resources]
    return written(tmp_path, {"resources": resources})


def test_a_saved_plan_does_not_differ_from_itself(tmp_path):
    result = difference(read(saved(tmp_path, plan())), plan())
    assert (result.created, result.deleted, result.changed) == ((), (), {})


def test_a_byte_order_mark_says_nothing(tmp_path):
    path = saved(tmp_path, plan())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert difference(read(path), plan()).changed == {}


def test_what_is_new_gone_and_changed_is_named_by_urn(tmp_path):
    result = difference(read(saved(tmp_path, plan(extra=["old"]))), plan(retention=30, extra=["new"]))
    assert result.created == (f"{URN}aws:sqs/queue:Queue::new",)
    assert result.deleted == (f"{URN}aws:sqs/queue:Queue::old",)
    logs = f"{URN}aws:cloudwatch/logGroup:LogGroup::logs"
    assert result.changed == {logs: (Change("retentionInDays", 7, 30),)}


@pytest.mark.parametrize("checkpoint", [False, True])
def test_what_the_engine_and_aws_add_to_a_state_is_no_difference(tmp_path, checkpoint):
    state = state_of(plan())
    if checkpoint:
        state = {"version": 3, "checkpoint": {"stack": "dev", "latest": state["deployment"]}}
    result = difference(read(written(tmp_path, state)), plan())
    assert (result.created, result.deleted, result.changed) == ((), (), {})


def test_a_policy_that_changed_is_shown_by_the_statement(tmp_path):
    document = {"Statement": [{"Action": "s3:*", "Resource": "arn:aws:iam::999988887777:role/role-93ab2c1"}]}
    state = state_of(plan(), policy={"policy": json.dumps(document)})
    changes = difference(read(written(tmp_path, state)), plan()).changed
    assert list(changes.values()) == [(Change("policy.Statement[0].Action", "s3:*", "s3:GetObject"),)]


def test_a_property_that_comes_or_goes_has_no_value_on_the_other_side(tmp_path):
    state = state_of(plan(), net={"enableDnsHostnames": True, "cidrBlock": None})
    changes = difference(read(written(tmp_path, state)), plan()).changed
    assert list(changes.values()) == [
        (Change("cidrBlock", None, "10.0.0.0/16"), Change("enableDnsHostnames", True, None)),
    ]


def test_a_secret_is_masked_even_if_the_earlier_state_had_it_in_clear(tmp_path):
    state = state_of(plan(), db={"password": "hunter2"})
    changes = difference(read(written(tmp_path, state)), plan()).changed
    assert list(changes.values()) == [(Change("password", SECRET, SECRET),)]
    shown = state_of(plan(), db={"password": {**ENVELOPE, "plaintext": '"hunter2"'}})
    assert "hunter2" not in repr(read(written(tmp_path, shown)))


@pytest.mark.parametrize(
    ("property_", "value", "shown"),
    [
        ("masterPassword", "hunter2", SECRET),
        ("authToken", "hunter2", SECRET),
        ("secretString", '{"user": "hunter2"}', SECRET),
        ("keyMaterial", ["hunter2"], SECRET),
        ("environment", {"DB_PASSWORD": "hunter2", "MODE": "x"}, {"DB_PASSWORD": SECRET, "MODE": "x"}),
        ("settings", '{"apiKey": "hunter2"}', f'{{"apiKey": "{SECRET}"}}'),
        ("manageMasterUserPassword", True, True),
        ("httpTokens", "required", "required"),
        ("secretArn", "arn:aws:x", "arn:aws:x"),
    ],
)
def test_what_is_called_a_secret_is_masked_though_nothing_marks_it_as_one(tmp_path, property_, value, shown):
    state = state_of(plan(), logs={property_: value})
    changes = difference(read(written(tmp_path, state)), plan()).changed
    assert list(changes.values()) == [(Change(property_, shown, None),)]


def test_what_is_called_a_secret_is_masked_where_only_a_part_of_a_block_differs(tmp_path):
    state = state_of(plan(), net={"tags": {"token": "hunter2", "mode": "x"}})
    now = dataclasses.replace(plan(), resources=tuple(tagged(one) for one in plan().resources))
    (changes,) = difference(read(written(tmp_path, state)), now).changed.values()
    assert changes == (Change("tags.token", SECRET, SECRET),)


def tagged(one):
    tags = {"tags": {"token": "hunter3", "mode": "x"}} if one.name == "net" else {}
    return dataclasses.replace(one, inputs={**one.inputs, **tags})


def test_what_a_plan_cannot_know_is_no_difference(tmp_path):
    def program():
        aws.sqs.Queue("jobs", name=aws.ec2.NetworkInterface("eni", subnet_id="s-1").mac_address)

    now = record(program, project="modelyard", stack="dev", config={})
    state = state_of(now, jobs={"name": "0a:58:a9:fe:ac:02"})
    assert difference(read(written(tmp_path, state)), now).changed == {}


def test_an_empty_stack_makes_everything_new(tmp_path):
    empty = written(tmp_path, {"version": 3, "checkpoint": {"stack": "dev", "latest": None}})
    assert len(difference(read(empty), plan()).created) == len(plan().resources)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"version": 3, "deploy', "is not JSON at line 1: perhaps only a part of it was written"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff\xfe", "is not text in UTF-8"),
        (b"[]", "is neither a plan"),
        (b"null", "is neither a plan"),
        (b'{"resources": {"a": 1}}', "is neither a plan"),
        (b'{"resources": [{"urn": "u"}]}', "is neither a plan"),
        (b'{"deployment": {"resources": [7]}}', "is neither a plan"),
        (b'{"deployment": {"resources": [{"urn": "u", "type": "t", "inputs": [1]}]}}', "is neither a plan"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_a_sentence(tmp_path, content, message):
    path = tmp_path / "state.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{path} {message}[^\n]*$"):
        read(path)


def test_a_file_that_is_missing_or_far_too_large_is_refused_unread(tmp_path):
    with pytest.raises(ValueError, match=r"none.json can't be read: No such file or directory$"):
        read(tmp_path / "none.json")
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(300 * 1024 * 1024)
    with pytest.raises(ValueError, match=r"huge.json is larger than 256 MB"):
        read(huge)
