import json

import pytest

from infra.aws.registry import Registry, RegistryArgs, image_lifecycle
from infra.settings.base import Lifetime
from infra.settings.environment import RegistrySettings


@pytest.fixture
def build(deploy):
    def run(lifetime="durable", **settings):
        args = RegistryArgs(
            environment="dev",
            region="us-east-1",
            account_id="123456789012",
            settings=RegistrySettings(**settings),
            lifetime=Lifetime(lifetime),
        )
        return deploy(lambda: Registry("registry", args)).inputs

    return run


def test_a_repository_is_named_after_its_environment_so_that_two_share_an_account(build):
    inputs = build(repositories=("steps", "serving/onnx"))
    assert inputs["registry-steps"]["name"] == "dev/steps"
    assert inputs["registry-serving/onnx"]["name"] == "dev/serving/onnx"


def test_tags_cant_be_moved_and_images_are_scanned_when_pushed_and_encrypted_with_the_registrys_key(build):
    repository = build()["registry-steps"]
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    assert repository["encryptionConfigurations"] == [
        {"encryptionType": "KMS", "kmsKey": "arn:aws:test:::registry-key"}
    ]


def test_only_a_throwaway_registry_goes_with_its_images(build):
    assert build("throwaway")["registry-steps"]["forceDelete"] is True
    assert build("durable")["registry-steps"]["forceDelete"] is False


def test_images_without_a_tag_go_after_two_weeks_and_the_newest_stay(build):
    lifecycle = json.loads(build(keep_images=50)["registry-steps-lifecycle"]["policy"])
    untagged, newest = (rule["selection"] for rule in lifecycle["rules"])
    assert (untagged["tagStatus"], untagged["countNumber"], untagged["countUnit"]) == ("untagged", 14, "days")
    assert (newest["tagStatus"], newest["countType"], newest["countNumber"]) == ("any", "imageCountMoreThan", 50)


def test_a_rule_for_all_images_comes_last_as_ecr_wants_it():
    rules = image_lifecycle(10)["rules"]
    last = max(rules, key=lambda rule: rule["rulePriority"])
    assert last["selection"]["tagStatus"] == "any"


def test_only_the_account_pulls_and_nobody_pushes_by_the_repositorys_policy(build):
    (statement,) = json.loads(build()["registry-steps-policy"]["policy"])["Statement"]
    assert statement["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
    assert not [action for action in statement["Action"] if "Put" in action or "Upload" in action]


def test_mirrored_images_make_their_repositories_by_themselves_under_the_environments_prefix_alone(build):
    inputs = build()
    template = inputs["registry-mirror-dev/mirror"]
    assert (template["prefix"], template["appliedFors"]) == ("dev/mirror", ["CREATE_ON_PUSH"])
    assert template["imageTagMutability"] == "IMMUTABLE"
    assert template["encryptionConfigurations"] == [{"encryptionType": "KMS", "kmsKey": "arn:aws:test:::registry-key"}]
    make, encrypt = json.loads(inputs["registry-mirror-role-policy"]["policy"])["Statement"]
    assert make["Resource"] == ["arn:aws:ecr:us-east-1:123456789012:repository/dev/mirror/*"]
    assert encrypt["Resource"] == ["arn:aws:test:::registry-key"]
