import json
from fnmatch import fnmatchcase
from typing import Any

import pytest

from infra.account import Account, AccountArgs
from infra.settings.account import AccountSettings
from infra.settings.base import Lifetime
from tests.program.test_environments import planned

SETTINGS: dict[str, Any] = {
    "account_id": "123456789012",
    "region": "us-east-1",
    "owner": "ana@example.com",
    "cost_center": "ml",
    "notify": ("ana@example.com", "ben@example.com"),
}


@pytest.fixture
def build(deploy):
    def run(**settings):
        args = AccountArgs(settings=AccountSettings(**SETTINGS, **settings))
        return deploy(lambda: Account("account", args))

    return run


def test_another_account_is_refused(build):
    provider = build().inputs["aws"]
    assert json.loads(provider["allowedAccountIds"]) == ["123456789012"]
    assert provider["region"] == "us-east-1"


def test_guardduty_watches_buckets_volumes_databases_and_what_runs_on_the_clusters(build):
    inputs = build().inputs
    assert inputs["account-detector"]["enable"] is True
    features = {
        each["name"]: each for name, each in inputs.items() if name.startswith("account-detector-") and "name" in each
    }
    assert {each["status"] for each in features.values()} == {"ENABLED"}
    assert set(features) == {
        "S3_DATA_EVENTS",
        "EKS_AUDIT_LOGS",
        "EBS_MALWARE_PROTECTION",
        "RDS_LOGIN_EVENTS",
        "RUNTIME_MONITORING",
    }
    agents = {each["name"]: each["status"] for each in features["RUNTIME_MONITORING"]["additionalConfigurations"]}
    assert agents == {
        "EC2_AGENT_MANAGEMENT": "DISABLED",
        "ECS_FARGATE_AGENT_MANAGEMENT": "DISABLED",
        "EKS_ADDON_MANAGEMENT": "ENABLED",
    }, "what isn't named, GuardDuty adds, and the feature is replaced by every up"


def test_where_the_organisation_runs_guardduty_there_is_no_second_detector(build):
    assert not any("detector" in urn for urn in build(threat_detection=False).urns)


def test_nothing_in_the_account_gets_public_by_mistake(build):
    inputs = build().inputs
    private = {key: value for key, value in inputs["account-private-buckets"].items() if key != "accountId"}
    assert (set(private.values()), len(private)) == ({True}, 4)
    assert inputs["account-private-snapshots"]["state"] == "block-all-sharing"
    assert inputs["account-private-images"]["state"] == "block-new-sharing"


def test_volumes_are_encrypted_and_instances_guard_their_credentials_unless_told_otherwise(build):
    inputs = build().inputs
    assert inputs["account-encrypted-volumes"]["enabled"] is True
    metadata = inputs["account-metadata"]
    assert (metadata["httpTokens"], metadata["httpPutResponseHopLimit"]) == ("required", 1)


def test_severe_findings_and_only_these_are_mailed_to_everybody(build):
    inputs = build().inputs
    pattern = json.loads(inputs["account-severe-findings"]["eventPattern"])
    assert pattern["source"] == ["aws.guardduty"]
    assert pattern["detail"]["severity"] == [{"numeric": [">=", 7]}]
    assert inputs["account-severe-findings-mail"]["arn"] == "arn:aws:test:::account-alerts"
    mailed = {each["endpoint"] for name, each in inputs.items() if name.startswith("account-alerts-") and "@" in name}
    assert mailed == set(SETTINGS["notify"])


def test_the_topic_is_encrypted_with_a_key_that_eventbridge_may_use(build):
    inputs = build().inputs
    assert inputs["account-alerts"]["kmsMasterKeyId"] == "arn:aws:test:::account-key"
    statements = {each["Sid"]: each for each in json.loads(inputs["account-key"]["policy"])["Statement"]}
    assert statements["Alerts"]["Principal"] == {"Service": "events.amazonaws.com"}
    assert "Condition" not in statements["Alerts"], "EventBridge names no source to KMS: alerts would be lost"


def test_only_the_rule_publishes_to_the_topic(build):
    inputs = build().inputs
    (statement,) = json.loads(inputs["account-alerts-policy"]["policy"])["Statement"]
    rule = inputs["account-severe-findings"]["name"]
    assert statement["Condition"]["ArnEquals"]["aws:SourceArn"] == f"arn:aws:events:us-east-1:123456789012:rule/{rule}"


def test_unusual_spending_is_watched_by_service_which_an_account_may_that_another_one_pays_for(build):
    inputs = build(anomaly_usd=250).inputs
    monitor = inputs["account-spending"]
    assert (monitor["monitorType"], monitor["monitorDimension"]) == ("DIMENSIONAL", "SERVICE")
    assert "monitorSpecification" not in monitor, "monitors by tag are for the account that pays"
    mail = inputs["account-spending-mail"]
    assert mail["monitorArnLists"] == ["arn:aws:test:::account-spending"]
    assert {each["address"] for each in mail["subscribers"]} == set(SETTINGS["notify"])
    assert mail["thresholdExpression"]["dimension"]["values"] == ["250"]


def test_where_there_is_a_monitor_already_no_second_one_is_made_which_aws_would_refuse(build):
    there = "arn:aws:ce::123456789012:anomalymonitor/0a1b"
    deployed = build(anomaly_monitor=there)
    assert not any("AnomalyMonitor" in urn for urn in deployed.urns)
    assert deployed.inputs["account-spending-mail"]["monitorArnLists"] == [there]


def test_cost_tags_are_activated_only_where_asked_because_aws_refuses_unknown_ones(build):
    assert not any("CostAllocationTag" in urn for urn in build().urns)
    asked = build(activate_cost_tags=True).inputs
    assert asked["account-cost-tag-environment"] == {"tagKey": "environment", "status": "Active"}


def test_environments_learn_where_to_pull_other_publishers_images_from(deploy):
    made = []
    args = AccountArgs(settings=AccountSettings(**SETTINGS, pull_through=("quay.io", "registry.k8s.io")))
    deploy(lambda: made.append(Account("account", args)))
    assert made[0].outputs["pull_through"] == {"quay.io": "quay.io", "registry.k8s.io": "registry.k8s.io"}


def test_pulled_through_images_are_kept_like_the_environments_own(build):
    template = build().inputs["account-image-cache-quay.io"]
    assert template["prefix"] == "quay.io"
    assert template["appliedFors"] == ["PULL_THROUGH_CACHE"]
    assert template["imageTagMutability"] == "IMMUTABLE"
    assert template["encryptionConfigurations"] == [{"encryptionType": "KMS", "kmsKey": "arn:aws:test:::account-key"}]
    assert json.loads(template["lifecyclePolicy"])["rules"]


def test_ecr_may_make_repositories_under_the_prefixes_and_nowhere_else(build):
    policy = json.loads(build(pull_through=("quay.io",)).inputs["account-image-cache-role-policy"]["policy"])
    repositories, encrypt = policy["Statement"]
    assert repositories["Resource"] == ["arn:aws:ecr:us-east-1:123456789012:repository/quay.io/*"]
    assert encrypt["Resource"] == ["arn:aws:test:::account-key"]


def test_a_registry_behind_a_login_is_pulled_through_with_its_secret(build):
    secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:ecr-pullthroughcache/hub"
    inputs = build(pull_through=("docker.io",), pull_through_credentials={"docker.io": secret}).inputs
    rule = inputs["account-from-docker.io"]
    assert rule["upstreamRegistryUrl"] == "registry-1.docker.io"
    assert rule["credentialArn"] == secret
    assert "credentialArn" not in build().inputs["account-from-quay.io"]


def test_every_image_is_scanned_when_it_comes(build):
    scanning = build().inputs["account-image-scanning"]
    assert scanning["rules"] == [
        {"scanFrequency": "SCAN_ON_PUSH", "repositoryFilters": [{"filter": "*", "filterType": "WILDCARD"}]}
    ]


def test_the_first_pull_of_an_image_may_make_its_repository_in_the_cache_and_nowhere_else(build):
    policy = json.loads(build(pull_through=("quay.io",)).inputs["account-image-cache-policy"]["policy"])
    (statement,) = policy["Statement"]
    assert set(statement["Action"]) == {"ecr:BatchImportUpstreamImage", "ecr:CreateRepository"}
    assert statement["Resource"] == ["arn:aws:ecr:us-east-1:123456789012:repository/quay.io/*"]


def test_the_first_pull_is_allowed_to_the_nodes_roles_of_every_environment_and_to_nobody_else(build):
    (statement,) = json.loads(build().inputs["account-image-cache-policy"]["policy"])["Statement"]
    assert statement["Principal"] == {"AWS": "*"}, "the account would leave it to the roles' own policies"
    assert statement["Condition"]["StringEquals"] == {"aws:PrincipalAccount": "123456789012"}
    allowed = statement["Condition"]["ArnLike"]["aws:PrincipalArn"]
    nodes = {
        resource.inputs["name"]
        for resource in planned("dev").resources
        if resource.type == "aws:iam/role:Role" and "ec2.amazonaws.com" in resource.inputs["assumeRolePolicy"]
    }
    assert len(nodes) == 2, "those of the system and those that Karpenter buys"
    assert all(fnmatchcase(f"arn:aws:iam::123456789012:role/{name}", allowed) for name in nodes)
    assert not fnmatchcase("arn:aws:iam::123456789012:role/modelyard-dev-steps", allowed)


OWNED_ONCE = {
    "public-buckets": "AccountPublicAccessBlock",
    "public-snapshots": "SnapshotBlockPublicAccess",
    "public-images": "ImageBlockPublicAccess",
    "volume-encryption": "EncryptionByDefault",
    "instance-metadata": "InstanceMetadataDefaults",
    "access-analyser": "Analyzer",
    "image-scanning": "RegistryScanningConfiguration",
    "registry-policy": "RegistryPolicy",
}


@pytest.mark.parametrize("setting", OWNED_ONCE)
def test_what_others_manage_in_the_account_is_left_to_them_and_nothing_else_is(build, setting):
    def kinds(urns):
        return {urn.split("::")[2].rpartition(":")[2] for urn in urns}

    assert kinds(build().urns) - kinds(build(leave_to_others=(setting,)).urns) == {OWNED_ONCE[setting]}


def test_changes_in_the_account_are_recorded_once_in_all_regions_and_not_by_each_environment(build):
    trail = build().inputs["account-trail-trail"]
    assert trail["isMultiRegionTrail"] is True
    (selector,) = trail["advancedEventSelectors"]
    assert {"field": "eventCategory", "equals": ["Management"]} in selector["fieldSelectors"]
    (of_environment,) = [one for one in planned("dev").resources if one.type == "aws:cloudtrail/trail:Trail"]
    assert of_environment.inputs["isMultiRegionTrail"] is False
    assert "Management" not in json.dumps(of_environment.inputs["advancedEventSelectors"])
    assert any("us-east-1-backup/" in one for one in watched(of_environment.inputs["advancedEventSelectors"]))


def watched(selectors):
    return [prefix for one in selectors for field in one["fieldSelectors"] for prefix in field.get("startsWiths", ())]


def test_the_accounts_trail_alone_writes_into_its_bucket_which_is_locked_where_durable(build):
    inputs = build().inputs
    statements = {one["Sid"]: one for one in json.loads(inputs["account-audit-policy"]["policy"])["Statement"]}
    trail = f"arn:aws:cloudtrail:us-east-1:123456789012:trail/{inputs['account-trail-trail']['name']}"
    assert statements["TrailWrites"]["Condition"]["StringEquals"]["aws:SourceArn"] == trail
    assert inputs["account-audit-lock"]["rule"]["defaultRetention"] == {"mode": "GOVERNANCE", "days": 365}
    assert "account-audit-lock" not in build(lifetime=Lifetime.THROWAWAY).inputs


def test_an_account_whose_organisation_has_a_trail_gets_no_second_one_and_no_bucket(build):
    kinds = {urn.split("::")[2].rpartition(":")[2] for urn in build(leave_to_others=("management-events",)).urns}
    assert not {"Trail", "Bucket"} & kinds
