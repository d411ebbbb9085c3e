"""Machines: a small managed group for the system, and what Karpenter needs to buy all others."""

from __future__ import annotations  # a name like aws.ec2.SecurityGroup loads all of EC2 when it is read

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra import catalog
from infra.aws import iam
from infra.aws.karpenter import PROFILE, placement_group_name
from infra.aws.key import Key, KeyArgs
from infra.settings.base import Lifetime
from infra.settings.environment import Capacity, SystemNodes
from infra.settings.hardware import Profile
from infra.versions import KUBERNETES

NODE_POLICIES = {
    "worker": "arn:aws:iam::aws:policy/AmazonEKSWorkerNodeMinimalPolicy",
    "pull": "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
}
"""All that a node may do: say what it is, hand pods their own credentials, pull images (CIS 5.2.1)."""

INTERRUPTIONS = {
    "spot": ("aws.ec2", "EC2 Spot Instance Interruption Warning"),
    "rebalance": ("aws.ec2", "EC2 Instance Rebalance Recommendation"),
    "state": ("aws.ec2", "EC2 Instance State-change Notification"),
    "health": ("aws.health", "AWS Health Event"),
    "reservation": ("aws.ec2", "EC2 Capacity Reservation Instance Interruption Warning"),
}
"""Source and detail type of every event that Karpenter 1.15.1 parses (pkg/controllers/interruption/messages)."""

MADE = ("fleet", "instance", "volume", "network-interface", "launch-template", "spot-instances-request")
"""What Karpenter makes in EC2."""


@dataclass(frozen=True, kw_only=True)
class NodesArgs:
    """`hardware` says which of `profiles` there are here; `tags` go onto machines, which a provider's don't reach."""

    environment: str
    region: str
    account_id: str
    settings: SystemNodes
    profiles: Mapping[str, Profile]
    hardware: Mapping[str, Capacity]
    lifetime: Lifetime
    tags: Mapping[str, str]
    cluster_name: pulumi.Input[str]
    cluster_arn: pulumi.Input[str]
    cluster_security_group_id: pulumi.Input[str]
    vpc_id: pulumi.Input[str]
    private_subnet_ids: Sequence[pulumi.Input[str]]
    alerts_topic_arn: pulumi.Input[str]


class Nodes(pulumi.ComponentResource):
    """Nodes of an environment's cluster.

    - the system's managed node group, its launch template and its role
    - a role and an instance profile for Karpenter's nodes, and their access to the cluster
    - a KMS key for the volumes of Karpenter's nodes
    - Karpenter's own role, bound to its service account by pod identity
    - the interruption queue, a rule for every event that Karpenter understands, an alarm when nobody reads it
    - a cluster placement group for each profile that asks for one
    - a security group for EFA where a profile asks for it
    """

    node_role_arn: pulumi.Output[str]
    instance_profile_name: pulumi.Output[str]
    volume_key_arn: pulumi.Output[str]
    controller_role_arn: pulumi.Output[str]
    interruption_queue_name: pulumi.Output[str]
    efa_security_group_id: pulumi.Output[str] | None

    def __init__(self, name: str, args: NodesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("modelyard:aws:Nodes", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        offered = {profile: args.profiles[profile] for profile in args.hardware}

        self._system(name, args)

        role, attached = self._role(f"{name}-karpenter-node", f"modelyard-{args.environment}-karpenter-node")
        profile = aws.iam.InstanceProfile(
            f"{name}-karpenter-node-profile",
            name=f"modelyard-{args.environment}-karpenter-node",
            role=role.name,
            opts=pulumi.ResourceOptions(parent=self, depends_on=attached),
        )
        aws.eks.AccessEntry(
            f"{name}-karpenter-node-access",
            cluster_name=args.cluster_name,
            principal_arn=role.arn,
            type="EC2_LINUX",
            opts=child,
        )
        volumes = Key(
            f"{name}-volumes",
            KeyArgs(
                purpose="volumes of nodes",
                environment=args.environment,
                account_id=args.account_id,
                lifetime=args.lifetime,
            ),
            opts=child,
        )
        together = [
            aws.ec2.PlacementGroup(
                f"{name}-{profile_name}-placement",
                name=placement_group_name(args.environment, profile_name),
                strategy="cluster",
                opts=child,
            )
            for profile_name, wanted in offered.items()
            if wanted.placement_group
        ]
        efa = self._efa(name, args) if any(wanted.efa for wanted in offered.values()) else None
        queue = self._interruption_queue(name, args)

        controller = aws.iam.Role(
            f"{name}-karpenter-role",
            name=f"modelyard-{args.environment}-karpenter",
            description=f"{args.environment}: Karpenter buys and returns nodes",
            assume_role_policy=pulumi.Output.json_dumps(
                pulumi.Output.from_input(args.cluster_arn).apply(lambda arn: iam.trust_pods(arn, args.account_id))
            ),
            opts=child,
        )
        granted = aws.iam.RolePolicy(
            f"{name}-karpenter-policy",
            name="karpenter",
            role=controller.name,
            policy=pulumi.Output.json_dumps(
                pulumi.Output.all(
                    cluster_name=args.cluster_name,
                    cluster_arn=args.cluster_arn,
                    node_role_arn=role.arn,
                    instance_profile_arn=profile.arn,
                    queue_arn=queue.arn,
                    volume_key_arn=volumes.arn,
                    reservations=reservations(args.hardware),
                    placement_groups=pulumi.Output.all(*(group.name for group in together)),
                    subnet_ids=pulumi.Output.all(*args.private_subnet_ids),
                    security_group_ids=pulumi.Output.all(
                        *([args.cluster_security_group_id] + ([efa.id] if efa else []))
                    ),
                ).apply(lambda known: controller_policy(args.region, args.account_id, Reach(**known)))
            ),
            opts=child,
        )
        aws.eks.PodIdentityAssociation(
            f"{name}-karpenter-identity",
            cluster_name=args.cluster_name,
            namespace="kube-system",
            service_account="karpenter",
            role_arn=controller.arn,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[granted]),
        )

        self.node_role_arn = role.arn
        self.instance_profile_name = profile.name
        self.volume_key_arn = volumes.arn
        self.controller_role_arn = controller.arn
        self.interruption_queue_name = queue.name
        self.efa_security_group_id = efa.id if efa else None
        self.register_outputs(
            {
                "node_role_arn": self.node_role_arn,
                "instance_profile_name": self.instance_profile_name,
                "volume_key_arn": self.volume_key_arn,
                "controller_role_arn": self.controller_role_arn,
                "interruption_queue_name": self.interruption_queue_name,
                "efa_security_group_id": self.efa_security_group_id,
            }
        )

    def _role(self, name: str, physical_name: str) -> tuple[aws.iam.Role, list[aws.iam.RolePolicyAttachment]]:
        child = pulumi.ResourceOptions(parent=self)
        role = aws.iam.Role(
            f"{name}-role",
            name=physical_name,
            assume_role_policy=pulumi.Output.json_dumps(iam.trust_instances()),
            opts=child,
        )
        return role, [
            aws.iam.RolePolicyAttachment(f"{name}-{part}", role=role.name, policy_arn=arn, opts=child)
            for part, arn in NODE_POLICIES.items()
        ]

    def _system(self, name: str, args: NodesArgs) -> None:
        # A role apart from Karpenter's: EKS itself makes the access entry of a managed group's role.
        role, attached = self._role(f"{name}-system", f"modelyard-{args.environment}-system-node")
        tags = {**args.tags, "Name": f"{args.environment}-system"}
        template = aws.ec2.LaunchTemplate(
            f"{name}-system-template",
            description=f"{args.environment}: nodes of the system",
            update_default_version=True,
            # IMDSv2 that ends at the node, so that no pod gets the node's credentials (CKV_AWS_79, CKV_AWS_341).
            metadata_options={
                "http_endpoint": "enabled",
                "http_tokens": "required",
                "http_put_response_hop_limit": 1,
                "instance_metadata_tags": "disabled",
            },
            # With the account's own EBS key: Auto Scaling launches these, and a key of ours would have to name its
            # service-linked role, which a new account does not have yet.
            block_device_mappings=[
                {
                    "device_name": "/dev/xvda",
                    "ebs": {
                        "volume_size": 50,
                        "volume_type": "gp3",
                        "encrypted": "true",
                        "delete_on_termination": "true",
                    },
                }
            ],
            tag_specifications=[
                {"resource_type": "instance", "tags": tags},
                {"resource_type": "volume", "tags": tags},
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.eks.NodeGroup(
            f"{name}-system",
            cluster_name=args.cluster_name,
            node_group_name_prefix=f"{args.environment}-system-",
            node_role_arn=role.arn,
            subnet_ids=args.private_subnet_ids,
            version=KUBERNETES,
            ami_type=ami_type(args.settings.instance_types),
            instance_types=list(args.settings.instance_types),
            scaling_config={
                "min_size": args.settings.min,
                "desired_size": args.settings.min,
                "max_size": args.settings.max,
            },
            update_config={"max_unavailable": 1},
            labels={PROFILE: "system"},
            # Karpenter's chart and EKS's add-ons tolerate it from the start; what else belongs to the system says so.
            taints=[{"key": "CriticalAddonsOnly", "value": "true", "effect": "NO_SCHEDULE"}],
            launch_template={"id": template.id, "version": template.latest_version.apply(str)},
            opts=pulumi.ResourceOptions(parent=self, depends_on=attached),
        )

    def _interruption_queue(self, name: str, args: NodesArgs) -> aws.sqs.Queue:
        child = pulumi.ResourceOptions(parent=self)
        queue = aws.sqs.Queue(
            f"{name}-interruptions",
            name=f"{args.environment}-interruptions",
            message_retention_seconds=300,  # a warning that is older has come true
            sqs_managed_sse_enabled=True,
            opts=child,
        )
        rules = []
        for event, (source, detail_type) in INTERRUPTIONS.items():
            rule = aws.cloudwatch.EventRule(
                f"{name}-{event}-rule",
                name=f"{args.environment}-interruptions-{event}",
                description=f"{detail_type}, for Karpenter",
                event_pattern=pulumi.Output.json_dumps({"source": [source], "detail-type": [detail_type]}),
                opts=child,
            )
            aws.cloudwatch.EventTarget(f"{name}-{event}-target", rule=rule.name, arn=queue.arn, opts=child)
            rules.append(rule)
        aws.sqs.QueuePolicy(
            f"{name}-interruptions-policy",
            queue_url=queue.url,
            policy=pulumi.Output.json_dumps(
                pulumi.Output.all(queue.arn, *[rule.arn for rule in rules]).apply(
                    lambda arns: queue_policy(arns[0], arns[1:])
                )
            ),
            opts=child,
        )
        aws.cloudwatch.MetricAlarm(
            f"{name}-interruptions-unread",
            name=f"{args.environment}-interruptions-unread",
            alarm_description="Karpenter does not read the warnings of interruptions: spot nodes end undrained",
            namespace="AWS/SQS",
            metric_name="ApproximateAgeOfOldestMessage",
            dimensions={"QueueName": queue.name},
            statistic="Maximum",
            period=60,
            evaluation_periods=2,
            threshold=60,
            comparison_operator="GreaterThanThreshold",
            treat_missing_data="notBreaching",
            alarm_actions=[args.alerts_topic_arn],
            ok_actions=[args.alerts_topic_arn],
            opts=child,
        )
        return queue

    def _efa(self, name: str, args: NodesArgs) -> aws.ec2.SecurityGroup:
        child = pulumi.ResourceOptions(parent=self)
        group = aws.ec2.SecurityGroup(
            f"{name}-efa",
            description="EFA: all traffic between its members, and none beyond",
            vpc_id=args.vpc_id,
            revoke_rules_on_delete=True,  # it refers to itself
            tags={"Name": f"{args.environment}-efa"},
            opts=child,
        )
        for way, rule in (("in", aws.vpc.SecurityGroupIngressRule), ("out", aws.vpc.SecurityGroupEgressRule)):
            rule(
                f"{name}-efa-{way}",
                security_group_id=group.id,
                referenced_security_group_id=group.id,
                ip_protocol="-1",
                description="EFA between members",
                opts=child,
            )
        return group


def ami_type(instance_types: Sequence[str]) -> str:
    """The kind of machine image that EKS has for these types. Raises ValueError for mixed architectures."""
    known = catalog.instance_types()
    architectures = {known[name].architecture for name in instance_types if name in known}
    if len(architectures) != 1:
        raise ValueError(f"system_nodes: {', '.join(instance_types)} must be known types of one architecture")
    return {"amd64": "AL2023_x86_64_STANDARD", "arm64": "AL2023_ARM_64_STANDARD"}[architectures.pop()]


def reservations(hardware: Mapping[str, Capacity]) -> list[str]:
    """The ids of the reservations to launch into; one found by its tags can be any."""
    wanted = (capacity.reservation for capacity in hardware.values())
    return sorted({reservation.id or "*" for reservation in wanted if reservation})


def queue_policy(queue_arn: str, rule_arns: Sequence[str]) -> iam.Document:
    """Only these rules send, and nobody does anything without TLS."""
    return iam.document(
        iam.allow_principal(
            "Events",
            {"Service": "events.amazonaws.com"},
            ["sqs:SendMessage"],
            [queue_arn],
            {"ArnEquals": {"aws:SourceArn": list(rule_arns)}},
        ),
        iam.deny_everybody("TlsOnly", ["sqs:*"], [queue_arn], {"Bool": {"aws:SecureTransport": "false"}}),
    )


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What Karpenter works with, as it is known during the run."""

    cluster_name: str
    cluster_arn: str
    node_role_arn: str
    instance_profile_arn: str
    queue_arn: str
    volume_key_arn: str
    subnet_ids: Sequence[str]
    security_group_ids: Sequence[str]
    reservations: Sequence[str]
    placement_groups: Sequence[str]


def controller_policy(region: str, account_id: str, reach: Reach) -> iam.Document:
    """What Karpenter may do.

    After Karpenter's own policies (aws/karpenter-provider-aws, website/content/en/preview/getting-started/
    adding-karpenter-to-existing-eks/policies, read 2026-11-21, and the calls of v1.15.1 in pkg/aws/sdk.go), narrowed:
    subnets, security groups and placement groups are this environment's; instance profiles are not made, since
    EC2NodeClasses name ours; and its volumes' key may be used only through EC2.
    """
    ec2 = f"arn:aws:ec2:{region}:{account_id}"
    made = [f"{ec2}:{kind}/*" for kind in MADE]
    cluster = f"kubernetes.io/cluster/{reach.cluster_name}"
    requested = {f"aws:RequestTag/{cluster}": "owned", "aws:RequestTag/eks:eks-cluster-name": reach.cluster_name}
    of_any_pool: dict[str, Any] = {"StringLike": {"aws:RequestTag/karpenter.sh/nodepool": "*"}}
    owned: dict[str, Any] = {
        "StringEquals": {f"aws:ResourceTag/{cluster}": "owned"},
        "StringLike": {"aws:ResourceTag/karpenter.sh/nodepool": "*"},
    }
    through_ec2 = {"kms:ViaService": f"ec2.{region}.amazonaws.com", "kms:CallerAccount": account_id}
    launch = ["ec2:RunInstances", "ec2:CreateFleet"]
    return iam.document(
        iam.allow(
            "LaunchWith",
            launch,
            [
                f"arn:aws:ec2:{region}::image/*",
                f"arn:aws:ec2:{region}::snapshot/*",
                # Subnets and reservations may be shared with this account by their owner.
                *(f"arn:aws:ec2:{region}:*:subnet/{subnet}" for subnet in reach.subnet_ids),
                *(f"arn:aws:ec2:{region}:*:capacity-reservation/{reservation}" for reservation in reach.reservations),
                *(f"{ec2}:security-group/{group}" for group in reach.security_group_ids),
                *(f"{ec2}:placement-group/{group}" for group in reach.placement_groups),
            ],
        ),
        iam.allow("LaunchFromOwnTemplates", launch, [f"{ec2}:launch-template/*"], owned),
        iam.allow(
            "LaunchTagged", [*launch, "ec2:CreateLaunchTemplate"], made, {"StringEquals": requested, **of_any_pool}
        ),
        iam.allow(
            "TagWhatIsLaunched",
            ["ec2:CreateTags"],
            made,
            {
                "StringEquals": {
                    **requested,
                    "ec2:CreateAction": ["RunInstances", "CreateFleet", "CreateLaunchTemplate"],
                },
                **of_any_pool,
            },
        ),
        iam.allow(
            "NameOwnInstances",
            ["ec2:CreateTags"],
            [f"{ec2}:instance/*"],
            {
                **owned,
                "StringEqualsIfExists": {"aws:RequestTag/eks:eks-cluster-name": reach.cluster_name},
                "ForAllValues:StringEquals": {
                    "aws:TagKeys": ["eks:eks-cluster-name", "karpenter.sh/nodeclaim", "Name"]
                },
            },
        ),
        iam.allow(
            "EndOwn",
            ["ec2:TerminateInstances", "ec2:DeleteLaunchTemplate"],
            [f"{ec2}:instance/*", f"{ec2}:launch-template/*"],
            owned,
        ),
        iam.allow(
            "Look",
            [
                "ec2:DescribeCapacityReservations",
                "ec2:DescribeImages",
                "ec2:DescribeInstanceStatus",
                "ec2:DescribeInstanceTypeOfferings",
                "ec2:DescribeInstanceTypes",
                "ec2:DescribeInstances",
                "ec2:DescribeLaunchTemplates",
                "ec2:DescribePlacementGroups",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSpotPriceHistory",
                "ec2:DescribeSubnets",
            ],
            ["*"],
            {"StringEquals": {"aws:RequestedRegion": region}},
        ),
        iam.allow("LookAtImages", ["ssm:GetParameter"], [f"arn:aws:ssm:{region}::parameter/aws/service/*"]),
        iam.allow("LookAtPricesAndProfiles", ["pricing:GetProducts", "iam:ListInstanceProfiles"], ["*"]),
        iam.allow("LookAtOwnProfile", ["iam:GetInstanceProfile"], [reach.instance_profile_arn]),
        iam.allow("LookAtCluster", ["eks:DescribeCluster"], [reach.cluster_arn]),
        iam.allow(
            "GiveNodesTheirRole",
            ["iam:PassRole"],
            [reach.node_role_arn],
            {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
        ),
        iam.allow(
            "FirstSpotInstance",
            ["iam:CreateServiceLinkedRole"],
            [f"arn:aws:iam::{account_id}:role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"],
            {"StringEquals": {"iam:AWSServiceName": "spot.amazonaws.com"}},
        ),
        iam.allow(
            "ReadInterruptions",
            ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage"],
            [reach.queue_arn],
        ),
        iam.allow(
            "EncryptVolumes",
            ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncrypt*"],
            [reach.volume_key_arn],
            {"StringEquals": through_ec2},
        ),
        iam.allow(
            "LetInstancesDecryptVolumes",
            ["kms:CreateGrant"],
            [reach.volume_key_arn],
            {"StringEquals": through_ec2, "Bool": {"kms:GrantIsForAWSResource": "true"}},
        ),
    )
