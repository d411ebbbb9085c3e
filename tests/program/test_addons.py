import json
from functools import cache

import pulumi

from infra.aws.addons import Addons, AddonsArgs, encrypts_volumes
from infra.settings.base import Lifetime
from infra.versions import ADDONS
from modelyard.plan.graph import record

ACCOUNT = "123456789012"
CLUSTER = f"arn:aws:eks:us-east-1:{ACCOUNT}:cluster/dev-cluster"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/volumes"


@cache
def made():
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
            ),
            pulumi.ResourceOptions(depends_on=[nodes]),
        )

    graph = record(program, project="modelyard", stack="dev", config={"aws:region": "us-east-1"})
    return {resource.name: resource for resource in graph.resources}


def installed():
    return {one.inputs["addonName"]: one.inputs for one in made().values() if one.type == "aws:eks/addon:Addon"}


def test_with_the_clusters_own_they_are_all_that_are_pinned():
    own = {"vpc-cni", "kube-proxy", "eks-pod-identity-agent"}
    assert set(installed()) == set(ADDONS) - own
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
