"""A Pulumi program of any size, of the kinds of resources that an environment has.

    python bench/plan_program.py RESOURCES

records it in a process of its own and prints how long the recording took, and the types as JSON.
"""

import gc
import json
import sys
import time
from collections.abc import Callable

from modelyard.plan.imports import by_need

by_need()

import pulumi  # noqa: E402 after the imports are by need
import pulumi_aws as aws  # noqa: E402

from modelyard.plan.graph import Graph, record  # noqa: E402

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "pods.eks.amazonaws.com"}}
        ],
    }
)
SIZE = 20


class Corner(pulumi.ComponentResource):
    """Twenty resources, the component among them, that refer to one another as an environment's do."""

    def __init__(self, name: str) -> None:
        super().__init__("modelyard:bench:Corner", name, {})
        child = pulumi.ResourceOptions(parent=self)
        tags = {"environment": "bench", "part": name}
        key = aws.kms.Key(f"{name}-key", enable_key_rotation=True, tags=tags, opts=child)
        aws.kms.Alias(f"{name}-alias", name=f"alias/{name}", target_key_id=key.key_id, opts=child)
        bucket = aws.s3.Bucket(f"{name}-bucket", tags=tags, opts=child)
        aws.s3.BucketVersioning(
            f"{name}-versioning", bucket=bucket.id, versioning_configuration={"status": "Enabled"}, opts=child
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            f"{name}-encryption",
            bucket=bucket.id,
            rules=[
                {
                    "bucket_key_enabled": True,
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms",
                        "kms_master_key_id": key.arn,
                    },
                }
            ],
            opts=child,
        )
        aws.s3.BucketPublicAccessBlock(f"{name}-private", bucket=bucket.id, block_public_acls=True, opts=child)
        network = aws.ec2.Vpc(f"{name}-network", cidr_block="10.0.0.0/16", tags=tags, opts=child)
        subnet = aws.ec2.Subnet(
            f"{name}-subnet", vpc_id=network.id, cidr_block="10.0.0.0/24", availability_zone_id="euw1-az1", opts=child
        )
        table = aws.ec2.RouteTable(f"{name}-table", vpc_id=network.id, tags=tags, opts=child)
        aws.ec2.RouteTableAssociation(f"{name}-route", route_table_id=table.id, subnet_id=subnet.id, opts=child)
        group = aws.ec2.SecurityGroup(f"{name}-group", vpc_id=network.id, description=name, tags=tags, opts=child)
        aws.vpc.SecurityGroupIngressRule(
            f"{name}-https",
            security_group_id=group.id,
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            cidr_ipv4="10.0.0.0/16",
            opts=child,
        )
        role = aws.iam.Role(f"{name}-role", assume_role_policy=TRUST, tags=tags, opts=child)
        statement = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [bucket.arn.apply(lambda a: f"{a}/*")]}
        aws.iam.RolePolicy(
            f"{name}-policy",
            role=role.id,
            policy=pulumi.Output.json_dumps({"Version": "2012-10-17", "Statement": [statement]}),
            opts=child,
        )
        queue = aws.sqs.Queue(f"{name}-queue", message_retention_seconds=300, tags=tags, opts=child)
        rule = aws.cloudwatch.EventRule(f"{name}-rule", event_pattern='{"source": ["aws.ec2"]}', opts=child)
        aws.cloudwatch.EventTarget(f"{name}-target", rule=rule.name, arn=queue.arn, opts=child)
        aws.cloudwatch.LogGroup(f"{name}-logs", retention_in_days=365, kms_key_id=key.arn, tags=tags, opts=child)
        aws.ecr.Repository(
            f"{name}-images",
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration={"scan_on_push": True},
            opts=child,
        )
        self.register_outputs({"bucket": bucket.arn})


def program(resources: int) -> Callable[[], None]:
    """A program of that many resources, to the next twenty."""

    def run() -> None:
        for number in range(-(-resources // SIZE)):
            Corner(f"corner-{number}")

    return run


def graph(resources: int) -> Graph:
    """The program, recorded."""
    return record(program(resources), project="modelyard", stack="bench", config={"aws:region": "eu-west-1"})


def main() -> None:
    """Record, and print."""
    gc.disable()
    resources = int(sys.argv[1])
    graph(SIZE)
    started = time.perf_counter()
    recorded = graph(resources)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "resources": [{"type": one.type} for one in recorded.resources]}))


if __name__ == "__main__":
    main()
