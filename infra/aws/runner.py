"""A machine in the VPC, for `up` where the API server is private."""

from __future__ import annotations  # a name like aws.ec2.LaunchTemplate loads all of EC2 when it is read

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.aws import iam

IMAGE = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
"""EC2 looks it up whenever a machine starts: the newest Amazon Linux 2023, which has the Session Manager agent."""
INSTANCE_TYPE = "t3.medium"
START = """#!/bin/sh
set -eu
dnf install --assumeyes git make python3.11
"""
"""What `make setup` needs; it fetches the rest by hash."""


@dataclass(frozen=True, kw_only=True)
class RunnerArgs:
    """`deployers` are roles that it may take on; `tags` go onto the machine, which a provider's don't reach."""

    environment: str
    region: str
    account_id: str
    deployers: Sequence[str]
    tags: Mapping[str, str]
    vpc_id: pulumi.Input[str]
    private_subnet_ids: Sequence[pulumi.Input[str]]
    cluster_security_group_id: pulumi.Input[str]


class Runner(pulumi.ComponentResource):
    """One small machine, started anew when it fails; people come in by Session Manager, and by nothing else.

    - a launch template: newest Amazon Linux, IMDSv2 within one hop, encrypted disk
    - a group of one, in the private subnets; set it to none while nobody needs it
    - a security group: nothing in, HTTPS out, and leave to reach the API server
    - a role with no rights in the environment: for `up` it takes on a role of `deployers`. Two keys are needed, since
      that role has to trust it too
    """

    role_arn: pulumi.Output[str]

    def __init__(self, name: str, args: RunnerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("modelyard:aws:Runner", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        role = aws.iam.Role(
            f"{name}-role",
            name=f"modelyard-{args.environment}-runner",
            description="The machine on which up runs; it takes on another role for that",
            assume_role_policy=pulumi.Output.json_dumps(iam.trust_instances()),
            opts=child,
        )
        policy = aws.iam.RolePolicy(
            f"{name}-policy",
            role=role.name,
            policy=pulumi.Output.json_dumps(runs_up(args.account_id, args.region, args.deployers)),
            opts=child,
        )
        profile = aws.iam.InstanceProfile(
            f"{name}-profile", name=f"modelyard-{args.environment}-runner", role=role.name, opts=child
        )
        group = aws.ec2.SecurityGroup(
            f"{name}-security-group",
            description="Runner: nothing in, HTTPS out",
            vpc_id=args.vpc_id,
            ingress=[],
            egress=[
                {
                    "description": "AWS, the API server, packages and code, by HTTPS",
                    "protocol": "tcp",
                    "from_port": 443,
                    "to_port": 443,
                    "cidr_blocks": ["0.0.0.0/0"],
                }
            ],
            tags={"Name": f"{args.environment}-runner"},
            opts=child,
        )
        aws.vpc.SecurityGroupIngressRule(
            f"{name}-reaches-cluster",
            description="API server, from the runner",
            security_group_id=args.cluster_security_group_id,
            referenced_security_group_id=group.id,
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            opts=child,
        )
        tags = {**args.tags, "Name": f"{args.environment}-runner"}
        template = aws.ec2.LaunchTemplate(
            f"{name}-template",
            image_id=IMAGE,
            instance_type=INSTANCE_TYPE,
            iam_instance_profile={"arn": profile.arn},
            vpc_security_group_ids=[group.id],
            metadata_options={"http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1},
            block_device_mappings=[
                {
                    "device_name": "/dev/xvda",
                    "ebs": {
                        "encrypted": "true",
                        "volume_type": "gp3",
                        "volume_size": 30,
                        "delete_on_termination": "true",
                    },
                }
            ],
            ebs_optimized="true",
            monitoring={"enabled": True},
            user_data=base64.b64encode(START.encode()).decode(),
            tag_specifications=[{"resource_type": kind, "tags": tags} for kind in ("instance", "volume")],
            update_default_version=True,
            opts=child,
        )
        aws.autoscaling.Group(
            f"{name}-group",
            name=f"{args.environment}-runner",
            min_size=0,
            desired_capacity=1,
            max_size=1,
            vpc_zone_identifiers=args.private_subnet_ids,
            launch_template={"id": template.id, "version": template.latest_version.apply(str)},
            tags=[{"key": key, "value": value, "propagate_at_launch": False} for key, value in sorted(tags.items())],
            # People set it to none while nobody needs it.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy], ignore_changes=["desiredCapacity"]),
        )

        self.role_arn = role.arn
        self.register_outputs({"role_arn": self.role_arn})


def runs_up(account_id: str, region: str, deployers: Sequence[str]) -> iam.Document:
    """Sessions, from a machine of this account alone, and the roles that do the work.

    The actions are Session Manager's smallest set (Systems Manager user guide, "Verify or add instance permissions for
    Session Manager"); they know no resources, so a condition bounds them.
    """
    sessions = [
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    ]
    here = {"ArnLike": {"ec2:SourceInstanceARN": f"arn:aws:ec2:{region}:{account_id}:instance/*"}}
    return iam.document(
        iam.allow("Sessions", sessions, ["*"], here), iam.allow("TakeOn", ["sts:AssumeRole"], list(deployers))
    )
