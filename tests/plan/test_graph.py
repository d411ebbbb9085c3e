"""Programs, run by the recorder, with real AWS resources."""

import asyncio
import gc
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pulumi
import pulumi_aws as aws
import pytest

from modelyard.plan.graph import SECRET, UNKNOWN, record

PLACE = {"aws:region": "eu-west-1", "aws:allowedAccountIds": ["111122223333"]}


class Storage(pulumi.ComponentResource):
    def __init__(self, name, opts=None):
        super().__init__("modelyard:aws:Storage", name, {}, opts)
        self.key = aws.kms.Key(f"{name}-key", enable_key_rotation=True, opts=pulumi.ResourceOptions(parent=self))
        self.bucket = aws.s3.Bucket(
            f"{name}-data", tags={"team": "vision"}, opts=pulumi.ResourceOptions(parent=self, protect=True)
        )
        self.register_outputs({})


def plan(program, **changes):
    return record(program, **{"project": "modelyard", "stack": "dev", "config": PLACE} | changes)


def by_name(graph):
    return {resource.name: resource for resource in graph.resources}


def test_a_component_and_its_children_have_the_urns_that_the_engine_gives_them():
    class Outer(pulumi.ComponentResource):
        def __init__(self):
            super().__init__("modelyard:aws:Environment", "dev", {})
            Storage("dev-storage", pulumi.ResourceOptions(parent=self))

    prefix = "urn:pulumi:dev::modelyard::modelyard:aws:Environment"
    assert [(r.urn, r.parent, r.custom) for r in plan(Outer).resources] == [
        (f"{prefix}::dev", "", False),
        (f"{prefix}$modelyard:aws:Storage::dev-storage", f"{prefix}::dev", False),
        (
            f"{prefix}$modelyard:aws:Storage$aws:kms/key:Key::dev-storage-key",
            f"{prefix}$modelyard:aws:Storage::dev-storage",
            True,
        ),
        (
            f"{prefix}$modelyard:aws:Storage$aws:s3/bucket:Bucket::dev-storage-data",
            f"{prefix}$modelyard:aws:Storage::dev-storage",
            True,
        ),
    ]


def test_inputs_are_in_camel_case_with_whole_numbers_as_such():
    def program():
        aws.sqs.Queue("jobs", visibility_timeout_seconds=30, tags={"a": "b"})
        aws.s3.BucketVersioning("v", bucket="b", versioning_configuration={"status": "Enabled", "mfa_delete": None})

    queue, versioning = plan(program).resources
    assert queue.inputs == {"visibilityTimeoutSeconds": 30, "tags": {"a": "b"}}
    assert type(queue.inputs["visibilityTimeoutSeconds"]) is int
    assert versioning.inputs == {"bucket": "b", "versioningConfiguration": {"status": "Enabled"}}


def test_policies_made_from_outputs_are_readable():
    def program():
        storage = Storage("dev")
        role = aws.iam.Role("reader", name="dev-reader", assume_role_policy="{}")
        statement = {"Resource": [storage.bucket.arn, pulumi.Output.concat(storage.bucket.arn, "/*")]}
        aws.iam.RolePolicy("read", role=role.id, policy=pulumi.Output.json_dumps({"Statement": [statement]}))
        pulumi.export("role", role.arn)
        pulumi.export("key", storage.key.arn)

    graph = plan(program)
    read = by_name(graph)["read"]
    assert read.inputs["role"] == "dev-reader"
    assert json.loads(read.inputs["policy"]) == {
        "Statement": [{"Resource": ["arn:aws:s3:::dev-data", "arn:aws:s3:::dev-data/*"]}]
    }
    assert graph.outputs == {
        "role": "arn:aws:iam::111122223333:role/dev-reader",
        "key": "arn:aws:kms:eu-west-1:111122223333:key/dev-key",
    }


def test_what_a_cluster_only_knows_once_made_can_be_passed_on():
    def program():
        cluster = aws.eks.Cluster("c", role_arn="arn:aws:iam::111122223333:role/c", vpc_config={"subnet_ids": ["s-1"]})
        aws.iam.OpenIdConnectProvider("oidc", url=cluster.identities[0].oidcs[0].issuer, client_id_lists=["sts"])
        aws.vpc.SecurityGroupIngressRule(
            "https", security_group_id=cluster.vpc_config.cluster_security_group_id, ip_protocol="tcp"
        )
        pulumi.export("subnets", cluster.vpc_config.subnet_ids)

    graph = plan(program)
    assert by_name(graph)["oidc"].inputs["url"] == "https://oidc.eks.eu-west-1.amazonaws.com/id/c"
    assert by_name(graph)["oidc"].id == "arn:aws:iam::111122223333:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/c"
    assert by_name(graph)["https"].inputs["securityGroupId"] == "c-cluster"
    assert graph.outputs["subnets"] == ["s-1"]


def test_a_value_that_nobody_can_know_is_marked_and_no_apply_runs_on_it():
    def program():
        detail = aws.ec2.NetworkInterface("eni", subnet_id="s-1").mac_address
        aws.sqs.Queue("jobs", name=detail.apply(lambda mac: mac.lower()))

    assert by_name(plan(program))["jobs"].inputs == {"name": UNKNOWN}


def test_dependencies_are_kept_by_property():
    def program():
        storage = Storage("dev")
        aws.s3.BucketVersioning("v", bucket=storage.bucket.id, versioning_configuration={"status": "Enabled"})
        aws.sqs.Queue("later", opts=pulumi.ResourceOptions(depends_on=[storage.key]))

    graph = by_name(plan(program))
    assert graph["v"].property_dependencies["bucket"] == (graph["dev-data"].urn,)
    assert graph["later"].dependencies == (graph["dev-key"].urn,)


def test_no_secret_is_left_in_the_graph():
    def program():
        password = pulumi.Output.secret("hunter2")
        aws.rds.Instance("db", instance_class="db.t4g.micro", password="hunter2", tags={"hint": password})
        aws.ssm.Parameter("p", type="SecureString", value=password.apply(lambda word: f"={word}"))
        aws.secretsmanager.SecretVersion("v", secret_id="s", secret_string=pulumi.Output.json_dumps({"is": password}))
        aws.sqs.Queue("named", name=password)
        pulumi.export("password", password)
        pulumi.export("all", {"nested": [password]})

    graph = plan(program)
    assert "hunter2" not in repr(graph)
    assert by_name(graph)["db"].secrets == {"password", "tags"}
    assert by_name(graph)["db"].inputs["tags"] == {"hint": SECRET}
    assert by_name(graph)["p"].inputs["value"] == SECRET
    assert graph.outputs == {"password": SECRET, "all": {"nested": [SECRET]}}


def test_a_secret_stays_one_when_it_is_passed_on_as_an_output():
    def program():
        database = aws.rds.Instance("db", instance_class="db.t4g.micro", password="hunter2")
        aws.sqs.Queue("p", name=database.password)
        hidden = aws.sqs.Queue("hidden", opts=pulumi.ResourceOptions(additional_secret_outputs=["arn"]))
        aws.sqs.Queue("q", name=hidden.arn)

    graph = by_name(plan(program))
    assert graph["p"].inputs["name"] == SECRET
    assert graph["q"].inputs["name"] == SECRET


def test_protection_comes_down_from_the_parent():
    def program():
        Storage("dev", pulumi.ResourceOptions(protect=True, retain_on_delete=True))
        Storage("other")

    graph = by_name(plan(program))
    assert graph["dev-key"].protect
    assert graph["dev-key"].retain_on_delete
    assert not graph["other-key"].protect
    assert graph["other-data"].protect


def test_an_explicit_provider_decides_region_account_and_partition():
    def program():
        china = aws.Provider("china", region="cn-north-1", allowed_account_ids=["444455556666"])
        queue = aws.sqs.Queue("jobs", opts=pulumi.ResourceOptions(provider=china))
        pulumi.export("arn", queue.arn)
        pulumi.export("elsewhere", aws.sqs.Queue("us", region="us-east-2").arn)

    graph = plan(program)
    assert graph.outputs == {
        "arn": "arn:aws-cn:sqs:cn-north-1:444455556666:jobs",
        "elsewhere": "arn:aws:sqs:us-east-2:111122223333:us",
    }
    assert by_name(graph)["jobs"].provider == by_name(graph)["china"].urn


def test_configuration_reaches_the_program_as_pulumi_gives_it():
    def program():
        pulumi.export("zones", pulumi.Config().require_object("environment")["zones"])

    assert plan(program, config={"modelyard:environment": {"zones": ["a", "b"]}}).outputs == {"zones": ["a", "b"]}


def test_another_stack_is_read_from_the_references():
    def program():
        account = pulumi.StackReference("organization/modelyard/account.main")
        aws.sqs.Queue("jobs", name=account.require_output("detector"))
        aws.sqs.Queue("p", name=account.require_output("token"))

    outputs = {"detector": "d-1", "token": SECRET}
    graph = plan(program, references={"account.main": outputs})
    assert [resource.name for resource in graph.resources] == ["jobs", "p"]
    assert by_name(graph)["jobs"].inputs == {"name": "d-1"}
    assert by_name(graph)["p"].secrets == {"name"}


def test_the_same_program_gives_the_same_graph_each_time():
    def program():
        for name in "abc":
            Storage(name)

    assert plan(program) == plan(program)


def test_resources_come_in_the_order_of_the_program_whatever_they_wait_for():
    def program():
        key = aws.kms.Key("key")
        aws.sqs.Queue("late", name=key.arn.apply(str).apply(str).apply(lambda _: "late"), tags={"b": "2", "a": "1"})
        aws.sqs.Queue("early")

    graph = plan(program)
    assert [resource.name for resource in graph.resources] == ["key", "late", "early"]
    assert list(by_name(graph)["late"].inputs["tags"]) == ["a", "b"], "a saved plan has to be the same byte for byte"


def test_a_program_can_be_recorded_where_an_event_loop_runs():
    async def somewhere():
        return plan(lambda: Storage("dev"))

    with ThreadPoolExecutor(1) as thread:  # or asyncio would take the loop of this one away from Pulumi's mocks
        assert len(thread.submit(asyncio.run, somewhere()).result().resources) == 3


def boom(_):
    raise ValueError("no such zone: use-9")


def in_an_apply():
    aws.sqs.Queue("jobs", name=aws.kms.Key("k").arn.apply(boom))


def in_an_apply_that_nobody_waits_for():
    aws.kms.Key("k").arn.apply(boom)


def in_the_program():
    Storage("dev")
    boom(None)


@pytest.mark.parametrize("program", [in_an_apply, in_an_apply_that_nobody_waits_for, in_the_program])
def test_an_error_comes_out_as_itself_and_alone(program, capfd, caplog):
    with pytest.raises(ValueError, match=r"^no such zone: use-9$"):
        plan(program)
    gc.collect()
    assert (capfd.readouterr(), caplog.records) == (("", ""), []), "asyncio has nothing to tell a user"
    assert plan(lambda: Storage("dev")).resources, "an error leaves nothing behind"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (aws.get_caller_identity, "aws:index/getCallerIdentity:getCallerIdentity looks something up"),
        (aws.get_region_output, "aws:index/getRegion:getRegion looks something up"),
        (lambda: aws.ec2.Vpc.get("net", "vpc-1"), "aws:ec2/vpc:Vpc 'net' reads 'vpc-1' from the cloud"),
        (
            lambda: pulumi.StackReference("account.main"),
            "outputs of stack 'account.main' are not at hand (at hand: none)",
        ),
        (lambda: [aws.sqs.Queue("jobs") for _ in range(2)], "aws:sqs/queue:Queue 'jobs' is registered twice"),
    ],
)
def test_what_a_plan_cannot_know_is_refused_in_a_sentence(program, message):
    with pytest.raises((LookupError, ValueError), match=re.escape(message)):
        plan(program)
