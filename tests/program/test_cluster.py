import json
from functools import cache

import pulumi
import pulumi_aws as aws
import pytest

from infra.aws.cluster import Cluster, ClusterArgs
from infra.settings.base import Lifetime, Security
from infra.settings.environment import EksSettings
from infra.versions import ADDONS, KUBERNETES
from modelyard.plan.graph import record

ACCOUNT = "123456789012"
ADMIN = f"arn:aws:iam::{ACCOUNT}:role/platform-admin"
SSO = f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0a1b"


def build(security=Security.STANDARD, lifetime=Lifetime.THROWAWAY, **settings):
    return Cluster(
        "cluster",
        ClusterArgs(
            environment="dev",
            region="us-east-1",
            account_id=ACCOUNT,
            settings=EksSettings(**{"admins": (ADMIN,), **settings}),
            security=security,
            lifetime=lifetime,
            tags={"owner": "platform@example.com"},
            vpc_id="vpc-1",
            private_subnet_ids=["subnet-private-a", "subnet-private-b"],
            intra_subnet_ids=["subnet-intra-a", "subnet-intra-b"],
        ),
    )


def graph_of(program):
    return record(program, project="modelyard", stack="dev", config={"aws:region": "us-east-1"})


@cache
def cluster(*switches, **settings):
    return {resource.name: resource for resource in graph_of(lambda: build(*switches, **settings)).resources}


def control_plane(*switches, **settings):
    return cluster(*switches, **settings)["cluster-control-plane"]


def before(resources, name):
    """What has to be there before it."""
    return {urn.rpartition("::")[2] for urn in resources[name].dependencies}


def test_the_api_server_is_private_and_public_for_the_listed_addresses_alone():
    closed = control_plane().inputs["vpcConfig"]
    assert (closed["endpointPrivateAccess"], closed["endpointPublicAccess"]) == (True, False)
    opened = control_plane(public_access_from=("203.0.113.0/24",)).inputs["vpcConfig"]
    assert (opened["endpointPrivateAccess"], opened["endpointPublicAccess"]) == (True, True)
    assert opened["publicAccessCidrs"] == ["203.0.113.0/24"], "EKS takes no list for everybody"


def test_the_control_plane_is_in_the_intra_subnets():
    assert control_plane().inputs["vpcConfig"]["subnetIds"] == ["subnet-intra-a", "subnet-intra-b"]


def test_only_the_admins_have_access_and_whoever_makes_the_cluster_has_none():
    resources = cluster(admins=(ADMIN, SSO))
    assert control_plane().inputs["accessConfig"] == {
        "authenticationMode": "API",
        "bootstrapClusterCreatorAdminPermissions": False,
    }
    entries, policies = (
        [one.inputs for one in resources.values() if one.type == f"aws:eks/{kind}"]
        for kind in ("accessEntry:AccessEntry", "accessPolicyAssociation:AccessPolicyAssociation")
    )
    assert {entry["principalArn"] for entry in entries} == {ADMIN, SSO}
    assert {policy["principalArn"] for policy in policies} == {ADMIN, SSO}
    assert {policy["policyArn"].rpartition("/")[2] for policy in policies} == {"AmazonEKSClusterAdminPolicy"}
    assert not any(entry.get("kubernetesGroups") for entry in entries)


def test_the_role_of_the_control_plane_has_one_policy_and_trusts_eks_of_this_account_alone():
    resources = cluster()
    attached = [
        one.inputs["policyArn"].rpartition("/")[2]
        for one in resources.values()
        if one.inputs.get("role") == "modelyard-dev-cluster"
    ]
    assert attached == ["AmazonEKSClusterPolicy"]
    assert "cluster-role-policy" in before(resources, "cluster-control-plane"), "gone first, EKS can't clean up"
    (trust,) = json.loads(resources["cluster-role"].inputs["assumeRolePolicy"])["Statement"]
    assert trust["Principal"] == {"Service": "eks.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_secrets_are_encrypted_by_a_key_that_nothing_else_uses_and_that_rotates():
    resources = cluster()
    encryption = resources["cluster-control-plane"].inputs["encryptionConfig"]
    key = resources["cluster-secrets-key"]
    assert encryption == {"provider": {"keyArn": key.outputs["arn"]}, "resources": ["secrets"]}
    assert key.inputs["enableKeyRotation"] is True
    assert resources["cluster-log-group"].inputs["kmsKeyId"] != key.outputs["arn"]


def test_all_five_log_types_go_to_an_encrypted_group_that_is_there_before_the_cluster():
    resources = cluster()
    assert sorted(resources["cluster-control-plane"].inputs["enabledClusterLogTypes"]) == [
        "api",
        "audit",
        "authenticator",
        "controllerManager",
        "scheduler",
    ]
    group = resources["cluster-log-group"].inputs
    assert group["name"] == f"/aws/eks/{resources['cluster-control-plane'].inputs['name']}/cluster"
    assert group["kmsKeyId"] == resources["cluster-logs-key"].outputs["arn"]
    assert "cluster-log-group" in before(resources, "cluster-control-plane"), "or EKS makes one without key and end"
    key = json.loads(resources["cluster-logs-key"].inputs["policy"])["Statement"][1]
    assert key["Principal"] == {"Service": "logs.us-east-1.amazonaws.com"}


def test_what_pods_say_has_a_group_with_an_end_and_a_key_before_anything_writes_it():
    group = cluster()["cluster-pod-logs"].inputs
    assert group["name"] == "/modelyard/dev/pods"
    assert group["kmsKeyId"] == cluster()["cluster-logs-key"].outputs["arn"]


@pytest.mark.parametrize(("security", "days"), [(Security.STANDARD, 365), (Security.HARDENED, 731)])
def test_logs_are_kept_for_a_year_and_hardened_for_two(security, days):
    for group in ("cluster-log-group", "cluster-pod-logs"):
        assert cluster(security)[group].inputs["retentionInDays"] == days


def test_the_version_is_the_pinned_one_and_ends_with_standard_support():
    assert control_plane().inputs["version"] == KUBERNETES
    assert control_plane().inputs["upgradePolicy"] == {"supportType": "STANDARD"}, "extended support costs six times"


@pytest.mark.parametrize("lifetime", list(Lifetime))
def test_a_durable_cluster_is_protected_and_a_throwaway_one_can_be_destroyed_to_nothing(lifetime):
    resources = cluster(Security.STANDARD, lifetime)
    assert resources["cluster-control-plane"].inputs["deletionProtection"] is lifetime.durable
    for part in ("control-plane", "secrets-key", "logs-key", "log-group", "pod-logs"):
        kept = resources[f"cluster-{part}"]
        assert (kept.protect, kept.retain_on_delete) == (lifetime.durable, lifetime.durable), part


def addons(resources):
    return {one.inputs["addonName"]: one for one in resources.values() if one.type == "aws:eks/addon:Addon"}


def test_what_nodes_need_comes_with_the_cluster_and_nothing_unmanaged_comes_before_it():
    assert set(addons(cluster())) == {"vpc-cni", "kube-proxy", "eks-pod-identity-agent"}
    assert control_plane().inputs["bootstrapSelfManagedAddons"] is False


def test_addons_have_pinned_versions_and_our_settings_win():
    for name, addon in addons(cluster()).items():
        assert addon.inputs["addonVersion"] == ADDONS[name]
        assert addon.inputs["resolveConflictsOnCreate"] == addon.inputs["resolveConflictsOnUpdate"] == "OVERWRITE"


def test_network_policies_are_enforced():
    values = json.loads(addons(cluster())["vpc-cni"].inputs["configurationValues"])
    assert values["enableNetworkPolicy"] == "true", "without it every NetworkPolicy is a wish (CIS 4.3.1)"


def test_the_cni_has_its_rights_by_pod_identity_before_it_starts():
    resources = cluster()
    (identity,) = resources["cluster-vpc-cni"].inputs["podIdentityAssociations"]
    role = resources["cluster-vpc-cni-role"]
    assert identity == {"serviceAccount": "aws-node", "roleArn": role.outputs["arn"]}
    assert before(resources, "cluster-vpc-cni") >= {"cluster-vpc-cni-policy", "cluster-eks-pod-identity-agent"}
    (trust,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
    assert trust["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert trust["Condition"]["ArnEquals"] == {
        "aws:SourceArn": resources["cluster-control-plane"].outputs["arn"],
    }, "pods of another cluster must not have it"


def test_service_accounts_are_vouched_for_by_the_clusters_own_issuer_to_sts_alone():
    provider = cluster()["cluster-oidc"].inputs
    assert provider["url"] == control_plane().outputs["identities"][0]["oidcs"][0]["issuer"]
    assert provider["clientIdLists"] == ["sts.amazonaws.com"]


def test_there_is_a_runner_only_where_it_is_wanted():
    assert not any("runner" in name for name in cluster())
    runner = cluster(runner=True)["cluster-runner-group"].inputs
    assert runner["vpcZoneIdentifiers"] == ["subnet-private-a", "subnet-private-b"]


def test_what_is_put_into_the_cluster_comes_after_its_network_and_its_admins_and_goes_before_them():
    def program():
        aws.eks.NodeGroup(
            "nodes",
            cluster_name=build().name,
            node_role_arn="arn",
            subnet_ids=[],
            scaling_config={"desired_size": 1, "max_size": 1, "min_size": 1},
        )

    resources = {resource.name: resource for resource in graph_of(program).resources}
    assert before(resources, "nodes") >= {
        "cluster-vpc-cni",
        "cluster-kube-proxy",
        "cluster-eks-pod-identity-agent",
        "cluster-admin-platform-admin-policy",
    }, "a node without the CNI is never ready, and one that is left behind holds its network interfaces"


def test_what_others_need_is_handed_on():
    def program():
        made = build()
        pulumi.export("found", [made.name, made.endpoint, made.certificate_authority, made.security_group_id])
        pulumi.export("oidc", [made.oidc.provider_arn, made.oidc.issuer])

    outputs = graph_of(program).outputs
    made = control_plane().outputs
    assert outputs["found"] == [
        "dev-cluster",
        made["endpoint"],
        made["certificateAuthority"]["data"],
        made["vpcConfig"]["clusterSecurityGroupId"],
    ]
    assert outputs["oidc"] == [cluster()["cluster-oidc"].outputs["arn"], made["identities"][0]["oidcs"][0]["issuer"]]
