"""Plans as Terraform's own JSON, by the names that judges of Terraform plans know."""

import json

import pulumi
import pulumi_aws as aws
import pytest

from modelyard.plan.graph import record
from modelyard.plan.terraform import snake, terraform_plan


def export(program):
    plan = terraform_plan(record(program, project="modelyard", stack="dev", config={}))
    json.dumps(plan)
    return plan


def only(program):
    """Values, what is unknown and expressions of the last resource of a program."""
    plan = export(program)
    planned = plan["planned_values"]["root_module"]["resources"][-1]
    change = plan["resource_changes"][-1]
    assert change["change"]["after"] == planned["values"]
    configuration = plan["configuration"]["root_module"]["resources"][-1]
    return planned["values"], change["change"]["after_unknown"], configuration["expressions"]


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: aws.ec2.Vpc("x"), "aws_vpc"),
        (lambda: aws.ec2.VpcEndpoint("x", vpc_id="v"), "aws_vpc_endpoint"),
        (
            lambda: aws.vpc.SecurityGroupEgressRule("x", security_group_id="s", ip_protocol="-1"),
            "aws_vpc_security_group_egress_rule",
        ),
        (
            lambda: aws.eks.NodeGroup(
                "x",
                cluster_name="c",
                node_role_arn="r",
                subnet_ids=["s"],
                scaling_config={"desired_size": 1, "max_size": 1, "min_size": 1},
            ),
            "aws_eks_node_group",
        ),
        (
            lambda: aws.iam.OpenIdConnectProvider("x", url="u", client_id_lists=["sts"]),
            "aws_iam_openid_connect_provider",
        ),
        (lambda: aws.s3.Bucket("x"), "aws_s3_bucket"),
        (lambda: aws.s3.AccountPublicAccessBlock("x"), "aws_s3_account_public_access_block"),
        (lambda: aws.rds.Instance("x", instance_class="i"), "aws_db_instance"),
        (lambda: aws.rds.SubnetGroup("x", subnet_ids=["s"]), "aws_db_subnet_group"),
        (lambda: aws.cloudwatch.LogGroup("x"), "aws_cloudwatch_log_group"),
        (lambda: aws.cloudtrail.Trail("x", s3_bucket_name="b"), "aws_cloudtrail"),
        (lambda: aws.costexplorer.CostAllocationTag("x", status="Active", tag_key="t"), "aws_ce_cost_allocation_tag"),
        (lambda: aws.efs.MountTarget("x", file_system_id="f", subnet_id="s"), "aws_efs_mount_target"),
        (lambda: aws.lambda_.Function("x", role="r"), "aws_lambda_function"),
    ],
)
def test_types_have_the_names_that_terraform_knows(make, kind):
    plan = export(make)
    assert plan["unmapped"] == []
    assert [one["address"] for one in plan["planned_values"]["root_module"]["resources"]] == [f"{kind}.x"]
    assert [one["type"] for one in plan["resource_changes"]] == [kind]


def test_blocks_are_lists_named_in_the_singular_and_maps_stay_maps():
    def program():
        aws.s3.BucketLifecycleConfiguration(
            "x",
            bucket="b",
            rules=[
                {
                    "id": "old",
                    "status": "Enabled",
                    "filter": {"and_": {"prefix": "a/", "tags": {"keepFor": "ever"}}},
                    "transitions": [{"days": 30, "storage_class": "GLACIER"}],
                }
            ],
        )

    assert only(program)[0] == {
        "bucket": "b",
        "rule": [
            {
                "id": "old",
                "status": "Enabled",
                "filter": [{"and": [{"prefix": "a/", "tags": {"keepFor": "ever"}}]}],
                "transition": [{"days": 30, "storage_class": "GLACIER"}],
            }
        ],
    }


def test_attributes_that_pulumi_renames_have_terraforms_names():
    alarm = only(lambda: aws.cloudwatch.MetricAlarm("x", name="a", comparison_operator="o", evaluation_periods=1))[0]
    assert alarm == {"alarm_name": "a", "comparison_operator": "o", "evaluation_periods": 1}
    assert only(lambda: aws.ec2.Subnet("x", vpc_id="v", enable_resource_name_dns_a_record_on_launch=True))[0] == {
        "vpc_id": "v",
        "enable_resource_name_dns_a_record_on_launch": True,
    }


def test_what_refers_to_another_resource_is_unknown_and_says_to_which():
    def program():
        key = aws.kms.Key("key")
        bucket = aws.s3.Bucket("data")
        aws.s3.BucketServerSideEncryptionConfiguration(
            "x",
            bucket=bucket.id,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms",
                        "kms_master_key_id": key.arn,
                    }
                }
            ],
        )

    values, unknown, expressions = only(program)
    assert values == {"rule": [{"apply_server_side_encryption_by_default": [{"sse_algorithm": "aws:kms"}]}]}
    assert unknown["bucket"] is True
    assert unknown["rule"] == [{"apply_server_side_encryption_by_default": [{"kms_master_key_id": True}]}]
    assert expressions["bucket"] == {"references": ["aws_s3_bucket.data.id", "aws_s3_bucket.data"]}
    default = expressions["rule"][0]["apply_server_side_encryption_by_default"][0]
    assert default["kms_master_key_id"] == {"references": ["aws_kms_key.key.arn"]}


def test_a_policy_stays_readable_and_still_says_what_it_refers_to():
    def program():
        bucket = aws.s3.Bucket("data")
        document = {"Statement": [{"Effect": "Deny", "Resource": [pulumi.Output.concat(bucket.arn, "/*")]}]}
        aws.s3.BucketPolicy("x", bucket=bucket.id, policy=pulumi.Output.json_dumps(document))

    values, _, expressions = only(program)
    assert json.loads(values["policy"])["Statement"][0]["Resource"] == ["arn:aws:s3:::data/*"]
    assert "aws_s3_bucket.data" in expressions["policy"]["references"]


def test_a_list_keeps_what_is_known_of_it():
    def program():
        group = aws.ec2.SecurityGroup("sg")
        aws.ec2.Instance("x", ami="a", vpc_security_group_ids=[group.id, "sg-1"])

    values, unknown, _ = only(program)
    assert sorted(values["vpc_security_group_ids"], key=str) == [None, "sg-1"]
    assert unknown["vpc_security_group_ids"] is True


def test_secrets_are_left_out_and_marked():
    def program():
        aws.rds.Instance("x", instance_class="i", password="hunter2")

    plan = export(program)
    assert "hunter2" not in json.dumps(plan)
    resource = plan["planned_values"]["root_module"]["resources"][0]
    assert resource["values"] == {"instance_class": "i"}
    assert resource["sensitive_values"] == {"password": True}


def test_two_resources_of_one_name_have_two_addresses():
    class Part(pulumi.ComponentResource):
        def __init__(self, name):
            super().__init__(f"modelyard:aws:{name}", name, {})
            aws.sqs.Queue("jobs.v1", opts=pulumi.ResourceOptions(parent=self))

    plan = export(lambda: (Part("A"), Part("B")))
    addresses = [one["address"] for one in plan["planned_values"]["root_module"]["resources"]]
    assert addresses == ["aws_sqs_queue.jobs_v1", "aws_sqs_queue.jobs_v1_2"]


def test_what_terraform_has_no_name_for_is_listed():
    def program():
        aws.route53.Zone("zone", name="example.com")
        aws.Provider("elsewhere", region="eu-west-1")

    plan = export(program)
    assert plan["unmapped"] == [
        {"urn": "urn:pulumi:dev::modelyard::aws:route53/zone:Zone::zone", "type": "aws:route53/zone:Zone"}
    ]


@pytest.mark.parametrize(
    ("camel", "snaked"),
    [("ipv6CidrBlock", "ipv6_cidr_block"), ("dnsARecord", "dns_a_record"), ("IPSet", "ip_set"), ("tags", "tags")],
)
def test_camel_case_becomes_snake_case_as_terraform_spells_it(camel, snaked):
    assert snake(camel) == snaked
