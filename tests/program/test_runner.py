import base64
import json
from functools import cache

from infra.aws.runner import Runner, RunnerArgs, runs_up
from modelyard.plan.graph import record

ACCOUNT = "123456789012"
ADMIN = f"arn:aws:iam::{ACCOUNT}:role/platform-admin"


@cache
def made():
    def program():
        Runner(
            "runner",
            RunnerArgs(
                environment="dev",
                region="us-east-1",
                account_id=ACCOUNT,
                deployers=(ADMIN,),
                tags={"owner": "platform@example.com"},
                vpc_id="vpc-1",
                private_subnet_ids=["subnet-a", "subnet-b"],
                cluster_security_group_id="sg-cluster",
            ),
        )

    graph = record(program, project="modelyard", stack="dev", config={"aws:region": "us-east-1"})
    return {resource.name: resource for resource in graph.resources}


def template():
    return made()["runner-template"].inputs


def test_nothing_comes_in_and_only_https_goes_out():
    group = made()["runner-security-group"].inputs
    assert group["ingress"] == []
    assert [(rule["protocol"], rule["fromPort"], rule["toPort"]) for rule in group["egress"]] == [("tcp", 443, 443)]
    assert "keyName" not in template()


def test_it_reaches_the_api_server_and_nothing_else_of_the_cluster():
    rule = made()["runner-reaches-cluster"].inputs
    assert rule["securityGroupId"] == "sg-cluster"
    assert rule["referencedSecurityGroupId"] == made()["runner-security-group"].id
    assert (rule["ipProtocol"], rule["fromPort"], rule["toPort"]) == ("tcp", 443, 443)
    assert "cidrIpv4" not in rule


def test_its_credentials_stay_on_it_and_its_disk_is_encrypted():
    options = template()["metadataOptions"]
    assert (options["httpTokens"], options["httpPutResponseHopLimit"]) == ("required", 1)
    assert all(mapping["ebs"]["encrypted"] == "true" for mapping in template()["blockDeviceMappings"])


def test_its_image_is_the_newest_when_it_starts_and_is_not_looked_up_by_us():
    assert template()["imageId"].startswith("resolve:ssm:/aws/service/ami-amazon-linux-latest/")


def test_it_holds_sessions_and_takes_on_the_deployers_roles_and_has_no_other_right():
    statements = runs_up(ACCOUNT, "us-east-1", (ADMIN,))["Statement"]
    assert {action.partition(":")[0] for one in statements for action in one["Action"]} == {"ssm", "ssmmessages", "sts"}
    (takes_on,) = [one for one in statements if "sts:AssumeRole" in one["Action"]]
    assert (takes_on["Action"], takes_on["Resource"]) == (["sts:AssumeRole"], [ADMIN])
    assert json.loads(made()["runner-policy"].inputs["policy"])["Statement"] == statements
    assert not [one for one in made().values() if one.type.endswith("RolePolicyAttachment")]


def test_its_right_to_hold_sessions_is_worth_nothing_off_a_machine_of_this_account():
    (sessions,) = [one for one in runs_up(ACCOUNT, "us-east-1", ())["Statement"] if one["Sid"] == "Sessions"]
    assert sessions["Condition"] == {
        "ArnLike": {"ec2:SourceInstanceARN": f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/*"}
    }


def test_there_is_one_in_the_private_subnets_and_it_may_be_sent_home():
    group = made()["runner-group"].inputs
    assert (group["minSize"], group["desiredCapacity"], group["maxSize"]) == (0, 1, 1)
    assert any(urn.endswith("::runner-policy") for urn in made()["runner-group"].dependencies), "or it can't report"
    assert group["vpcZoneIdentifiers"] == ["subnet-a", "subnet-b"]


def test_machine_and_disk_carry_the_environments_tags():
    tagged = {one["resourceType"]: one["tags"] for one in template()["tagSpecifications"]}
    assert set(tagged) == {"instance", "volume"}
    assert all(tags["owner"] == "platform@example.com" for tags in tagged.values())


def test_at_its_start_it_installs_what_make_setup_needs_and_nothing_more():
    assert base64.b64decode(template()["userData"]).decode().splitlines()[1:] == [
        "set -eu",
        "dnf install --assumeyes git make python3.11",
    ]
