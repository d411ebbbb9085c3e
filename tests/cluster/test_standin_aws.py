"""The stand-in for the AWS provider, called as the engine calls it."""

import json
import threading
from pathlib import Path

import boto3
import moto
import pytest
from pulumi.runtime.proto import provider_pb2

from infra.settings import stacks
from modelyard.plan.graph import UNKNOWN as SOMETHING
from modelyard.plan.imports import by_need
from modelyard.plan.plan import graph_of
from tests.cluster.standins.aws.provider import KINDS, Aws
from tests.cluster.standins.aws.schema import refuse
from tests.cluster.standins.serve import UNKNOWN, Fault, Faults, Secret, from_wire, to_wire

ROOT = Path(__file__).parents[2]
TAGS = {"tags": {"owner": "platform@example.com"}}
SETTINGS = {"region": "us-east-1", "allowedAccountIds": '["123456789012"]', "defaultTags": json.dumps(TAGS)}
SERVICES = ("ec2", "events", "eks", "iam", "kms", "rds", "s3", "secretsmanager", "sqs")


class RefusedError(Exception):
    """What the engine would be told."""


class Context:
    """Of a call."""

    def set_trailing_metadata(self, _metadata):
        """Where the engine finds what was made before something went wrong."""

    def abort(self, _code, sentence):
        raise RefusedError(sentence)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def aws(kept):
    environment = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "MODELYARD_STANDIN_AWS": str(kept),
    }
    with pytest.MonkeyPatch.context() as patch, moto.mock_aws():
        for name, value in environment.items():
            patch.setenv(name, value)
        yield started()


@pytest.fixture
def provider(aws):
    """The stand-in in one AWS for all tests, whose resources have names of their own."""
    aws.faults = Faults()
    return aws


def started():
    by_need()
    made = Aws()
    made.Configure(provider_pb2.ConfigureRequest(args=to_wire(SETTINGS)), Context())
    return made


def urn(kind, name="part"):
    return f"urn:pulumi:dev::modelyard::modelyard:aws:Network${kind}::{name}"


def check(provider, kind, inputs, old=None):
    request = provider_pb2.CheckRequest(
        urn=urn(kind), news=to_wire(inputs), olds=to_wire(old or {}), randomSeed=b"seed"
    )
    answer = provider.Check(request, Context())
    return [failure.reason for failure in answer.failures], from_wire(answer.inputs)


def create(provider, kind, inputs, *, preview=False):
    """Check and create; the id, the inputs and the outputs."""
    problems, checked = check(provider, kind, inputs)
    assert not problems
    request = provider_pb2.CreateRequest(urn=urn(kind), properties=to_wire(checked), preview=preview)
    answer = provider.Create(request, Context())
    return answer.id, checked, from_wire(answer.properties)


def read(provider, kind, id_, inputs=None, state=None):
    request = provider_pb2.ReadRequest(
        urn=urn(kind), id=id_, inputs=to_wire(inputs or {}), properties=to_wire(state or {})
    )
    answer = provider.Read(request, Context())
    return answer.id, from_wire(answer.inputs)


def diff(provider, kind, old, new):
    """What differs: `!` stands before what the resource is replaced for; and whether it goes first."""
    answer = provider.Diff(
        provider_pb2.DiffRequest(urn=urn(kind), id="x", old_inputs=to_wire(old), news=to_wire(new)), Context()
    )
    found = {f"!{path}" if "REPLACE" in kind_of(change) else path for path, change in answer.detailedDiff.items()}
    return found, answer.deleteBeforeReplace


def kind_of(change):
    return provider_pb2.PropertyDiff.Kind.Name(change.kind)


@pytest.mark.parametrize(
    ("kind", "inputs", "sentence"),
    [
        ("aws:ec2/vpc:Vpc", {"cidrBlok": "10.0.0.0/16"}, "there is no property cidrBlok, but cidrBlock"),
        ("aws:ec2/subnet:Subnet", {"cidrBlock": "10.0.0.0/24"}, "property vpcId is missing"),
        ("aws:ec2/vpc:Vpc", {"cidrBlock": 10}, "property cidrBlock has to be text, not 10"),
        (
            "aws:ec2/vpc:Vpc",
            {"enableDnsSupport": "yes"},
            "property enableDnsSupport has to be true or false, not 'yes'",
        ),
        (
            "aws:s3/bucketVersioning:BucketVersioning",
            {"bucket": "b", "versioningConfiguration": {"state": "Enabled"}},
            "there is no property versioningConfiguration.state, but status",
        ),
        (
            "aws:s3/bucketVersioning:BucketVersioning",
            {"bucket": "b", "versioningConfiguration": {}},
            "property versioningConfiguration.status is missing",
        ),
        (
            "aws:eks/nodeGroup:NodeGroup",
            {
                "clusterName": "c",
                "nodeRoleArn": "r",
                "subnetIds": ["s"],
                "scalingConfig": {"minSize": 1, "maxSize": 1.5, "desiredSize": 1},
            },
            "property scalingConfig.maxSize has to be a whole number, not 1.5",
        ),
        ("aws:sqs/queue:Queue", {"tags": {"size": 3}}, "property tags.size has to be text, not 3"),
        ("aws:sqs/queueing:Queueing", {}, "the SDK has no such type"),
    ],
)
def test_inputs_that_the_sdk_does_not_allow_are_refused_in_one_sentence(provider, kind, inputs, sentence):
    problems, _ = check(provider, kind, inputs)
    assert problems == [f"{kind} 'part': {sentence}"]


@pytest.mark.parametrize("stack", stacks.names(ROOT / "stacks"))
def test_everything_that_a_shipped_stack_asks_aws_for_is_allowed(stack):
    graph = graph_of(ROOT, stacks.load(ROOT / "stacks", stack))
    for resource in graph.resources:
        if resource.custom and resource.type.startswith("aws:"):
            inputs = json.loads(json.dumps(resource.inputs).replace(json.dumps(SOMETHING), json.dumps(UNKNOWN)))
            refuse(resource.type, inputs)


def test_what_the_issue_names_is_really_made():
    assert {kind.service for kind in KINDS.values()} >= set(SERVICES)


def test_default_tags_get_on_everything_that_can_have_tags_as_the_real_provider_puts_them(provider):
    id_, inputs, _ = create(provider, "aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/16", "tags": {"Name": "dev"}})
    assert inputs["tags"] == {"Name": "dev"}
    [vpc] = boto3.client("ec2").describe_vpcs(VpcIds=[id_])["Vpcs"]
    assert {tag["Key"]: tag["Value"] for tag in vpc["Tags"]} == {"Name": "dev", **TAGS["tags"]}
    assert "tagsAll" not in check(provider, "aws:ec2/route:Route", {"routeTableId": "r"})[1]


def test_a_name_that_nobody_gave_is_drawn_once(provider):
    _, first = check(provider, "aws:sqs/queue:Queue", {})
    assert first["name"].startswith("part-")
    assert check(provider, "aws:sqs/queue:Queue", {}, old={**first, "name": "part-before"})[1]["name"] == "part-before"


def test_a_preview_makes_nothing_and_does_not_know_what_aws_will_answer(provider):
    id_, _, outputs = create(provider, "aws:sqs/queue:Queue", {"name": "seen-before"}, preview=True)
    assert (id_, outputs["arn"], outputs["name"]) == ("", UNKNOWN, "seen-before")
    assert "QueueUrls" not in boto3.client("sqs").list_queues(QueueNamePrefix="seen-before")


@pytest.mark.parametrize(
    ("kind", "old", "new", "found", "first"),
    [
        (
            "aws:sqs/queue:Queue",
            {"name": "q"},
            {"name": "q", "messageRetentionSeconds": 60},
            "messageRetentionSeconds",
            0,
        ),
        ("aws:sqs/queue:Queue", {"name": "q"}, {"name": "r"}, "!name", 1),
        ("aws:sqs/queue:Queue", {"name": "part-1"}, {"name": "part-2"}, "!name", 0),
        ("aws:ec2/subnet:Subnet", {"cidrBlock": "10.0.0.0/24"}, {"cidrBlock": "10.0.1.0/24"}, "!cidrBlock", 1),
        ("aws:ec2/subnet:Subnet", {"tags": {"a.b/c": "1"}}, {"tags": {"a.b/c": "2"}}, 'tags["a.b/c"]', 0),
        ("aws:iam/role:Role", {"assumeRolePolicy": "{}"}, {"assumeRolePolicy": '{"a":1}'}, "assumeRolePolicy", 0),
        ("aws:rds/instance:Instance", {"multiAz": False}, {"multiAz": True}, "multiAz", 0),
        ("aws:rds/instance:Instance", {"storageEncrypted": False}, {"storageEncrypted": True}, "!storageEncrypted", 1),
        ("aws:rds/instance:Instance", {"allocatedStorage": 20}, {"allocatedStorage": UNKNOWN}, "allocatedStorage", 0),
        ("aws:budgets/budget:Budget", {"limitAmount": "1"}, {"limitAmount": "2"}, "limitAmount", 0),
        ("aws:backup/vault:Vault", {"kmsKeyArn": "a"}, {"kmsKeyArn": "b"}, "!kmsKeyArn", 1),
    ],
)
def test_a_difference_is_named_and_replaces_what_aws_can_not_change(provider, kind, old, new, found, first):
    assert diff(provider, kind, old, new) == ({found}, bool(first))


def test_the_same_inputs_do_not_differ(provider):
    assert diff(provider, "aws:sqs/queue:Queue", {"name": "q"}, {"name": "q"}) == (set(), False)


def test_what_was_made_by_hand_is_imported(provider):
    url = boto3.client("sqs").create_queue(QueueName="by-hand", Attributes={"MessageRetentionPeriod": "300"})[
        "QueueUrl"
    ]
    id_, inputs = read(provider, "aws:sqs/queue:Queue", url)
    assert id_ == url
    assert inputs["messageRetentionSeconds"] == 300


def test_what_has_gone_is_read_as_nothing_and_deleted_without_an_error(provider):
    assert read(provider, "aws:ec2/vpc:Vpc", "vpc-0123456789abcdef0")[0] == ""
    provider.Delete(provider_pb2.DeleteRequest(urn=urn("aws:ec2/vpc:Vpc"), id="vpc-0123456789abcdef0"), Context())


def test_an_open_port_is_drift_and_another_spelling_of_the_same_is_not(provider):
    vpc, _, _ = create(provider, "aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/16"})
    rule = {"protocol": "tcp", "fromPort": 443, "toPort": 443, "cidrBlocks": ["10.0.0.0/16"]}
    kind = "aws:ec2/securityGroup:SecurityGroup"
    id_, inputs, outputs = create(provider, kind, {"vpcId": vpc, "ingress": [rule], "egress": []})
    assert read(provider, kind, id_, inputs, outputs) == (id_, inputs)
    boto3.client("ec2").authorize_security_group_ingress(
        GroupId=id_, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0"
    )
    assert len(read(provider, kind, id_, inputs, outputs)[1]["ingress"]) == 2

    policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
    kind = "aws:iam/policy:Policy"
    id_, inputs, outputs = create(provider, kind, {"name": "p", "policy": policy.replace(" ", "\n ")})
    assert read(provider, kind, id_, inputs, outputs)[1]["policy"] == inputs["policy"]


def test_what_no_aws_stands_behind_is_kept_for_the_next_process(provider, kept):
    kind, inputs = "aws:eks/addon:Addon", {"clusterName": "dev", "addonName": "coredns"}
    id_, checked, outputs = create(provider, kind, inputs)
    assert id_ == "dev:coredns"
    assert outputs["arn"].startswith("arn:aws:eks:us-east-1:123456789012:")
    later = started()
    assert read(later, kind, id_, checked, outputs) == (id_, checked)
    with pytest.raises(RefusedError, match=r"aws:eks/addon:Addon 'part': dev:coredns exists already"):
        create(later, kind, inputs)
    later.Delete(provider_pb2.DeleteRequest(urn=urn(kind), id=id_), Context())
    assert not list(kept.iterdir())


def test_secrets_stay_secrets_and_reach_aws(provider):
    secret, _, _ = create(provider, "aws:secretsmanager/secret:Secret", {"name": "s"})
    kind = "aws:secretsmanager/secretVersion:SecretVersion"
    _, inputs, outputs = create(provider, kind, {"secretId": secret, "secretString": Secret("hush")})
    assert inputs["secretString"] == outputs["secretString"] == Secret("hush")
    assert boto3.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"] == "hush"


def test_another_account_than_the_allowed_one_is_refused(provider):
    settings = {**SETTINGS, "allowedAccountIds": '["210987654321"]'}
    with pytest.raises(RefusedError, match=r"this is account 123456789012, and only 210987654321 is allowed"):
        Aws().Configure(provider_pb2.ConfigureRequest(args=to_wire(settings)), Context())


def test_what_aws_refuses_is_said_in_one_sentence(provider):
    role = {"name": "taken", "assumeRolePolicy": '{"Version": "2012-10-17", "Statement": []}'}
    create(provider, "aws:iam/role:Role", role)
    with pytest.raises(
        RefusedError, match=r"^aws:iam/role:Role 'part': CreateRole answered EntityAlreadyExists: .* taken"
    ):
        create(provider, "aws:iam/role:Role", role)


def test_a_fault_happens_from_the_asked_operation_on_and_to_nothing_else(provider):
    provider.faults = Faults([Fault("error", match="aws:sqs/*", nth=2, message="throttled")])
    create(provider, "aws:sqs/queue:Queue", {"name": "one"})
    create(provider, "aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/16"})
    with pytest.raises(RefusedError, match=r"^aws:sqs/queue:Queue 'part': throttled$"):
        create(provider, "aws:sqs/queue:Queue", {"name": "two"})
    assert "QueueUrls" not in boto3.client("sqs").list_queues(QueueNamePrefix="two")


def test_what_hangs_ends_when_the_engine_cancels(provider):
    provider.faults = Faults([Fault("hang")])
    said = []

    def hanging():
        with pytest.raises(RefusedError, match="cancelled while it hung") as caught:
            create(provider, "aws:sqs/queue:Queue", {"name": "one"})
        said.append(str(caught.value))

    thread = threading.Thread(target=hanging)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    provider.Cancel(None, None)
    thread.join(5)
    assert said
