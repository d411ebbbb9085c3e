import json
from functools import cache

import pulumi
import pytest

from infra.aws.addons import Addons, AddonsArgs, SharedFiles, encrypts_volumes
from infra.aws.storage import mount_policy
from infra.settings.base import Lifetime
from infra.versions import ADDONS
from modelyard.plan.graph import record
from tests.program.test_environments import planned

ACCOUNT = "123456789012"
CLUSTER = f"arn:aws:eks:us-east-1:{ACCOUNT}:cluster/dev-cluster"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/volumes"


FILES = f"arn:aws:elasticfilesystem:us-east-1:{ACCOUNT}:file-system/fs-1"
LUSTRE = f"arn:aws:fsx:us-east-1:{ACCOUNT}:file-system/fs-2"


@cache
def made(files=None):
    def program():
        nodes = pulumi.ComponentResource("modelyard:aws:Nodes", "nodes")
        Addons(
            "addons",
            AddonsArgs(
                environment="dev",
                account_id=ACCOUNT,
                lifetime=Lifetime.THROWAWAY,
                cluster_name="dev-cluster",
                cluster_arn=CLUSTER,
                files=files,
            ),
            pulumi.ResourceOptions(depends_on=[nodes]),
        )

    graph = record(program, project="modelyard", stack="dev", config={"aws:region": "us-east-1"})
    return {resource.name: resource for resource in graph.resources}


def installed(files=None):
    return {one.inputs["addonName"]: one.inputs for one in made(files).values() if one.type == "aws:eks/addon:Addon"}


def test_with_the_clusters_own_they_are_all_that_are_pinned():
    own = {"vpc-cni", "kube-proxy", "eks-pod-identity-agent"}
    efs, fsx = "aws-efs-csi-driver", "aws-fsx-csi-driver"
    assert set(installed()) == set(ADDONS) - own - {efs, fsx}
    assert set(installed(SharedFiles(kind="efs", arn=FILES))) == set(ADDONS) - own - {fsx}
    assert set(installed(SharedFiles(kind="lustre", arn=LUSTRE))) == set(ADDONS) - own - {efs}
    assert all(addon["addonVersion"] == ADDONS[name] for name, addon in installed().items())


def test_the_metrics_server_runs_on_the_systems_nodes_which_are_all_that_there_are_at_first():
    values = json.loads(installed()["metrics-server"]["configurationValues"])
    assert {"key": "CriticalAddonsOnly", "operator": "Exists"} in values["tolerations"]


def test_the_csi_driver_has_a_role_for_its_own_service_account_in_this_cluster():
    (identity,) = installed()["aws-ebs-csi-driver"]["podIdentityAssociations"]
    role = made()["addons-ebs-csi-role"]
    assert identity == {"serviceAccount": "ebs-csi-controller-sa", "roleArn": role.outputs["arn"]}
    (trust,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
    assert trust["Condition"]["ArnEquals"] == {"aws:SourceArn": CLUSTER}


def test_the_csi_driver_reaches_only_volumes_that_it_made():
    policy = made()["addons-ebs-csi-policy"].inputs["policyArn"]
    assert policy == "arn:aws:iam::aws:policy/AmazonEBSCSIDriverPolicyV2"


def test_the_csi_driver_uses_one_key_and_grants_it_to_aws_alone():
    statements = encrypts_volumes(KEY)["Statement"]
    assert all(statement["Resource"] == [KEY] for statement in statements)
    (granting,) = [one for one in statements if "kms:CreateGrant" in one["Action"]]
    assert granting["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    assert json.loads(made()["addons-ebs-csi-key"].inputs["policy"]) == encrypts_volumes(
        made()["addons-volumes-key"].outputs["arn"]
    )


def test_the_csi_driver_has_its_rights_before_it_starts():
    needed = {urn.rpartition("::")[2] for urn in made()["addons-aws-ebs-csi-driver"].dependencies}
    assert needed >= {"addons-ebs-csi-policy", "addons-ebs-csi-key"}


def test_nodes_mount_efs_by_a_role_that_may_as_its_policy_asks_and_only_the_controller_makes_access_points():
    efs = SharedFiles(kind="efs", arn=FILES)
    roles = made(efs)
    identities = installed(efs)["aws-efs-csi-driver"]["podIdentityAssociations"]
    assert {each["serviceAccount"]: each["roleArn"] for each in identities} == {
        f"efs-csi-{part}-sa": roles[f"addons-efs-csi-{part}-role"].outputs["arn"] for part in ("controller", "node")
    }
    mount, *rest = json.loads(roles["addons-efs-csi-node-own-policy"].inputs["policy"])["Statement"]
    asked = mount_policy(FILES, ACCOUNT)["Statement"][0]["Action"]
    assert (set(mount["Action"]), mount["Resource"]) == (set(asked), [FILES])
    assert all(action.partition(":")[2].startswith("Describe") for one in rest for action in one["Action"])
    makes = roles["addons-efs-csi-controller-policy"].inputs["policyArn"]
    assert makes == "arn:aws:iam::aws:policy/service-role/AmazonEFSCSIDriverPolicy"
    assert "addons-efs-csi-node-policy" not in roles


def test_lustres_driver_finds_the_file_system_that_is_there_and_makes_none():
    (found,) = json.loads(
        made(SharedFiles(kind="lustre", arn=LUSTRE))["addons-fsx-csi-controller-own-policy"].inputs["policy"]
    )["Statement"]
    assert (found["Action"], found["Resource"]) == (["fsx:DescribeFileSystems"], [LUSTRE])


@pytest.mark.parametrize("kind", ["efs", "lustre"])
def test_an_environment_with_a_file_system_has_its_driver_or_every_node_would_wait_for_it(kind):
    driver = {"efs": "aws-efs-csi-driver", "lustre": "aws-fsx-csi-driver"}[kind]
    graph = planned("dev", storage={"file_system": {"kind": kind}})
    assert driver in {one.inputs["addonName"] for one in graph.resources if one.type == "aws:eks/addon:Addon"}
