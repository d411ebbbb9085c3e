import json
from pathlib import Path

import pytest
import yaml

from infra.aws.nodes import INTERRUPTIONS, Nodes, NodesArgs, Reach, ami_type, controller_policy, reservations
from infra.settings.base import Lifetime
from infra.settings.environment import Capacity, SystemNodes
from infra.settings.hardware import HardwareSettings
from tests.program.iam_lint import findings

ACCOUNT = "123456789012"
CLUSTER = f"arn:aws:eks:us-east-1:{ACCOUNT}:cluster/dev"
PROFILES = HardwareSettings.model_validate(
    yaml.safe_load(Path("stacks/hardware.yaml").read_text()), strict=False
).profiles


def capacity(**values) -> Capacity:
    return Capacity.model_validate({"expected": 0, "max": {"on-demand": 1}, **values}, strict=False)


TOGETHER = PROFILES["h100"].model_copy(update={"placement_group": True})


def build(**hardware: Capacity):
    return lambda: Nodes(
        "nodes",
        NodesArgs(
            environment="dev",
            region="us-east-1",
            account_id=ACCOUNT,
            settings=SystemNodes(),
            profiles=PROFILES | {"h100-together": TOGETHER},
            hardware=hardware or {"cpu-small": capacity()},
            lifetime=Lifetime.THROWAWAY,
            tags={"owner": "platform@example.com", "environment": "dev"},
            cluster_name="dev",
            cluster_arn=CLUSTER,
            cluster_security_group_id="sg-cluster",
            vpc_id="vpc-1",
            private_subnet_ids=["subnet-a", "subnet-b"],
            alerts_topic_arn="arn:aws:sns:us-east-1:123456789012:alerts",
        ),
    )


def test_every_event_that_karpenter_understands_reaches_the_one_queue_that_it_reads(deploy):
    inputs = deploy(build()).inputs
    queue = inputs["nodes-interruptions"]["name"]
    for event, (source, detail_type) in INTERRUPTIONS.items():
        rule, target = inputs[f"nodes-{event}-rule"], inputs[f"nodes-{event}-target"]
        assert json.loads(rule["eventPattern"]) == {"source": [source], "detail-type": [detail_type]}
        assert target["rule"] == rule["name"]
        assert target["arn"] == "arn:aws:test:::nodes-interruptions", "a rule without this target warns nobody"
    assert inputs["nodes-interruptions-unread"]["dimensions"] == {"QueueName": queue}
    assert len(INTERRUPTIONS) == 5


def test_somebody_is_told_when_nobody_reads_the_queue(deploy):
    alarm = deploy(build()).inputs["nodes-interruptions-unread"]
    assert alarm["alarmActions"] == ["arn:aws:sns:us-east-1:123456789012:alerts"]


def test_the_queue_takes_messages_from_those_rules_alone_and_only_over_tls(deploy):
    inputs = deploy(build()).inputs
    policy = json.loads(inputs["nodes-interruptions-policy"]["policy"])
    (allowed,) = [statement for statement in policy["Statement"] if statement["Effect"] == "Allow"]
    (denied,) = [statement for statement in policy["Statement"] if statement["Effect"] == "Deny"]

    assert allowed["Principal"] == {"Service": "events.amazonaws.com"}
    assert allowed["Action"] == ["sqs:SendMessage"]
    assert sorted(allowed["Condition"]["ArnEquals"]["aws:SourceArn"]) == sorted(
        f"arn:aws:test:::nodes-{event}-rule" for event in INTERRUPTIONS
    ), "a rule that is not named here is dropped by the queue"
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert inputs["nodes-interruptions"]["sqsManagedSseEnabled"] is True
    assert inputs["nodes-interruptions"]["messageRetentionSeconds"] == 300


def test_karpenter_may_read_the_queue_that_the_rules_send_to(deploy):
    policy = json.loads(deploy(build()).inputs["nodes-karpenter-policy"]["policy"])
    (reads,) = [statement for statement in policy["Statement"] if "sqs:ReceiveMessage" in statement["Action"]]
    assert reads["Resource"] == ["arn:aws:test:::nodes-interruptions"]


def test_a_pod_on_a_system_node_can_not_get_the_nodes_credentials(deploy):
    options = deploy(build()).inputs["nodes-system-template"]["metadataOptions"]
    assert (options["httpTokens"], options["httpPutResponseHopLimit"]) == ("required", 1)


def test_nodes_have_no_rights_but_those_of_a_node(deploy):
    inputs = deploy(build()).inputs
    granted: dict[str, set[str]] = {}
    for resource in inputs.values():
        if "policyArn" in resource:
            granted.setdefault(resource["role"], set()).add(resource["policyArn"].rpartition("/")[2])
    of_a_node = {"AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly"}
    assert granted == {"modelyard-dev-karpenter-node": of_a_node, "modelyard-dev-system-node": of_a_node}
    written = {resource["role"] for name, resource in inputs.items() if name.endswith("-policy") and "role" in resource}
    assert written == {"modelyard-dev-karpenter"}, "what pods may do is never the node's role's"


def test_volumes_of_system_nodes_are_encrypted(deploy):
    (disk,) = deploy(build()).inputs["nodes-system-template"]["blockDeviceMappings"]
    assert disk["ebs"]["encrypted"] == "true"


def test_machines_and_volumes_carry_the_environments_tags_which_a_provider_does_not_give_them(deploy):
    specifications = deploy(build()).inputs["nodes-system-template"]["tagSpecifications"]
    assert {s["resourceType"]: s["tags"]["owner"] for s in specifications} == {
        "instance": "platform@example.com",
        "volume": "platform@example.com",
    }


def test_only_what_belongs_to_the_system_lands_on_its_nodes(deploy):
    group = deploy(build()).inputs["nodes-system"]
    assert group["labels"] == {"modelyard.dev/profile": "system"}
    assert group["taints"] == [{"key": "CriticalAddonsOnly", "value": "true", "effect": "NO_SCHEDULE"}]


def test_nodes_are_in_private_subnets_only(deploy):
    assert deploy(build()).inputs["nodes-system"]["subnetIds"] == ["subnet-a", "subnet-b"]


def test_nodes_of_karpenter_may_join_the_cluster_and_a_managed_groups_role_is_left_to_eks(deploy):
    entries = [i for i in deploy(build()).inputs.values() if "principalArn" in i]
    assert entries == [
        {"clusterName": "dev", "principalArn": "arn:aws:test:::nodes-karpenter-node-role", "type": "EC2_LINUX"}
    ]


def test_karpenter_gets_its_role_by_pod_identity(deploy):
    inputs = deploy(build()).inputs
    assert inputs["nodes-karpenter-identity"] == {
        "clusterName": "dev",
        "namespace": "kube-system",
        "serviceAccount": "karpenter",
        "roleArn": "arn:aws:test:::nodes-karpenter-role",
    }
    (trust,) = json.loads(inputs["nodes-karpenter-role"]["assumeRolePolicy"])["Statement"]
    assert trust["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert trust["Condition"]["ArnEquals"] == {"aws:SourceArn": CLUSTER}


def test_a_profile_gets_a_placement_group_and_efa_only_if_it_asks(deploy):
    plain = deploy(build(a10g=capacity())).inputs
    assert not [name for name in plain if "efa" in name or "placement" in name]

    joined = deploy(build(**{"a10g": capacity(), "h100-together": capacity(), "h100x8-efa": capacity()})).inputs
    assert [i for name, i in joined.items() if name.endswith("-placement")] == [
        {"name": "dev--h100-together", "strategy": "cluster"}
    ]
    assert "nodes-efa" in joined


def test_efa_lets_all_traffic_flow_between_its_members_and_none_beyond(deploy):
    inputs = deploy(build(**{"h100x8-efa": capacity()})).inputs
    rules = {name: inputs[name] for name in ("nodes-efa-in", "nodes-efa-out")}
    for rule in rules.values():
        assert rule["ipProtocol"] == "-1"
        assert rule["securityGroupId"] == rule["referencedSecurityGroupId"] == "nodes-efa-id"
        assert not {"cidrIpv4", "cidrIpv6", "prefixListId"} & set(rule)


def test_every_part_hangs_under_the_component_and_is_named_after_it(deploy):
    urns = deploy(build()).urns
    parts = [urn for urn in urns if not urn.endswith("modelyard:aws:Nodes::nodes")]
    assert len(parts) == len(urns) - 1
    assert not [urn for urn in parts if "::modelyard:aws:" not in urn or "$" not in urn or "::nodes-" not in urn]


REACH = Reach(
    cluster_name="dev",
    cluster_arn=CLUSTER,
    node_role_arn=f"arn:aws:iam::{ACCOUNT}:role/modelyard-dev-karpenter-node",
    instance_profile_arn=f"arn:aws:iam::{ACCOUNT}:instance-profile/modelyard-dev-karpenter-node",
    queue_arn=f"arn:aws:sqs:us-east-1:{ACCOUNT}:dev-interruptions",
    volume_key_arn=f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1",
    subnet_ids=["subnet-a"],
    security_group_ids=["sg-1"],
    reservations=["cr-1"],
    placement_groups=["dev--h100x8-efa"],
)
CONTROLLER = controller_policy("us-east-1", ACCOUNT, REACH)


def test_aws_knows_every_action_resource_and_condition_of_karpenters_policy():
    assert not findings(CONTROLLER)


def test_karpenters_policy_fits_into_a_role():
    size = len(json.dumps(CONTROLLER, separators=(",", ":")))
    assert size < 10_240, "the IAM limit of a role's inline policies together"


@pytest.mark.parametrize(
    ("action", "key"),
    [
        ("ec2:TerminateInstances", "aws:ResourceTag/kubernetes.io/cluster/dev"),
        ("ec2:DeleteLaunchTemplate", "aws:ResourceTag/kubernetes.io/cluster/dev"),
        ("ec2:CreateLaunchTemplate", "aws:RequestTag/kubernetes.io/cluster/dev"),
        ("iam:PassRole", "iam:PassedToService"),
        ("kms:CreateGrant", "kms:GrantIsForAWSResource"),
        ("kms:Decrypt", "kms:ViaService"),
        ("iam:CreateServiceLinkedRole", "iam:AWSServiceName"),
    ],
)
def test_karpenter_touches_only_what_is_its_clusters(action, key):
    allowing = [statement for statement in CONTROLLER["Statement"] if action in statement["Action"]]
    assert allowing
    for statement in allowing:
        assert key in {k for operator in statement["Condition"].values() for k in operator}, statement["Sid"]


def test_karpenter_makes_no_identity_and_passes_on_only_its_nodes_role():
    writes = {
        action
        for statement in CONTROLLER["Statement"]
        for action in statement["Action"]
        if action.startswith("iam:") and not action.startswith(("iam:Get", "iam:List"))
    }
    assert writes == {"iam:PassRole", "iam:CreateServiceLinkedRole"}
    (passing,) = [statement for statement in CONTROLLER["Statement"] if "iam:PassRole" in statement["Action"]]
    assert passing["Resource"] == [REACH.node_role_arn]


def test_karpenter_launches_only_into_this_environments_subnets_groups_and_reservations():
    (launch,) = [s for s in CONTROLLER["Statement"] if s["Sid"] == "LaunchWith"]
    named = {arn.rpartition(":")[2] for arn in launch["Resource"]}
    assert named == {
        "image/*",
        "snapshot/*",
        "subnet/subnet-a",
        "security-group/sg-1",
        "placement-group/dev--h100x8-efa",
        "capacity-reservation/cr-1",
    }


def test_a_reservation_that_is_found_by_tags_can_be_any_and_without_one_there_is_none():
    by_id = capacity(max={"reserved": 1}, reservation={"id": "cr-0a1b2c3d4e5f67890"})
    by_tags = capacity(max={"reserved": 1}, reservation={"tags": {"team": "ml"}})
    assert reservations({"a": capacity()}) == []
    assert reservations({"a": by_id, "b": by_id}) == ["cr-0a1b2c3d4e5f67890"]
    assert reservations({"a": by_tags}) == ["*"]


def test_system_nodes_get_the_image_of_their_architecture_and_mixed_ones_are_refused():
    assert ami_type(["m7i.large"]) == "AL2023_x86_64_STANDARD"
    assert ami_type(["m7g.large"]) == "AL2023_ARM_64_STANDARD"
    with pytest.raises(ValueError, match="one architecture"):
        ami_type(["m7i.large", "m7g.large"])
