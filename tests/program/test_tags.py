"""The tag by which an interrupted run's resources are found again."""

import pulumi
import pulumi_aws as aws
import pytest

from infra.aws.tags import marked


@pytest.fixture
def inputs(deploy):
    class Part(pulumi.ComponentResource):
        def __init__(self) -> None:
            super().__init__("modelyard:aws:Part", "part", {}, pulumi.ResourceOptions(transformations=[marked]))
            below = pulumi.ResourceOptions(parent=self)
            vpc = aws.ec2.Vpc("part-vpc", cidr_block="10.0.0.0/16", tags={"Name": "test"}, opts=below)
            aws.ec2.Subnet("part-subnet", vpc_id=vpc.id, tags=vpc.tags, opts=below)
            aws.kms.Key("part-key", opts=below)
            aws.sqs.QueuePolicy("part-policy", queue_url="url", policy="{}", opts=below)
            aws.autoscaling.Group("part-group", min_size=1, max_size=1, opts=below)

    return deploy(Part).inputs


def test_what_can_have_tags_says_its_stack_and_logical_name_beside_its_own_tags(inputs):
    assert inputs["part-vpc"]["tags"] == {"Name": "test", "modelyard:resource": "test/part-vpc"}
    assert inputs["part-key"]["tags"] == {"modelyard:resource": "test/part-key"}


def test_tags_that_are_known_later_are_kept_too(inputs):
    assert inputs["part-subnet"]["tags"] == {"Name": "test", "modelyard:resource": "test/part-subnet"}


def test_what_has_no_tags_or_tags_of_another_form_is_left_alone(inputs):
    assert "tags" not in inputs["part-policy"]
    assert "tags" not in inputs["part-group"]
