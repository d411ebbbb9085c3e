"""Machines: the system's node group, the runner, and what Karpenter needs of AWS."""

import re
from collections.abc import Iterator

from pulumi_policy import Severity

from infra import catalog
from infra.policy.control import Item, Stack, each, listed, parsed, statements, together

NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
INSTANCE = "aws:ec2/instance:Instance"
MACHINES = "aws:autoscaling/group:Group"
SUBNET = "aws:ec2/subnet:Subnet"
ROLE = "aws:iam/role:Role"
ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
INLINE = "aws:iam/rolePolicy:RolePolicy"
EVENT_RULE = "aws:cloudwatch/eventRule:EventRule"
EVENT_TARGET = "aws:cloudwatch/eventTarget:EventTarget"
QUEUE = "aws:sqs/queue:Queue"
QUEUE_POLICY = "aws:sqs/queuePolicy:QueuePolicy"
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
UNREAD = "ApproximateAgeOfOldestMessage"
NODE_POLICIES = (
    "AmazonEKSWorkerNodePolicy",
    "AmazonEKSWorkerNodeMinimalPolicy",
    "AmazonEC2ContainerRegistryReadOnly",
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonEKS_CNI_Policy",
    "AmazonSSMManagedInstanceCore",
)
INTERRUPTIONS = (
    "EC2 Spot Instance Interruption Warning",
    "EC2 Instance Rebalance Recommendation",
    "EC2 Instance State-change Notification",
    "EC2 Capacity Reservation Instance Interruption Warning",
    "AWS Health Event",
)
"""The detail types that Karpenter 1.15 acts on; on purpose not the list by which the rules are made."""


@together("nodes-private-subnets", Severity.HIGH, [2], "CIS 5.4.3; CKV_AWS_88", setting="network")
def private_subnets(stack: Stack) -> Iterator[tuple[Item, str]]:
    """Nodes and other machines stand in private subnets, without public addresses."""
    public = _public_subnets(stack)
    for subnet in stack.of(SUBNET):
        if subnet.urn in public and subnet.at("tags", "karpenter.sh/discovery"):
            yield subnet, "Karpenter would start nodes in this public subnet"
    for item, key in [
        *((item, "subnetIds") for item in stack.of(NODE_GROUP)),
        *((item, "subnetId") for item in stack.of(INSTANCE)),
        *((item, "vpcZoneIdentifiers") for item in stack.of(MACHINES)),
    ]:
        if item.used(key) & public:
            yield item, "it stands in a public subnet"
    for template in stack.of(TEMPLATE):
        for interface in listed(template.at("networkInterfaces")):
            if str(interface.get("associatePublicIpAddress")).lower() == "true":
                yield template, "its machines get public addresses"
    for instance in stack.of(INSTANCE):
        if instance.at("associatePublicIpAddress") is True:
            yield instance, "it gets a public address"


def _public_subnets(stack: Stack) -> set[str]:
    """Those with addresses from the outside, or whose route table leads to an internet gateway."""
    tables = {
        table
        for route in stack.of("aws:ec2/route:Route")
        if route.used("gatewayId")
        for table in route.used("routeTableId")
    }
    routed = {
        subnet
        for association in stack.of("aws:ec2/routeTableAssociation:RouteTableAssociation")
        if association.used("routeTableId") & tables
        for subnet in association.used("subnetId")
    }
    return routed | {subnet.urn for subnet in stack.of(SUBNET) if subnet.at("mapPublicIpOnLaunch") is True}


@each("imdsv2-required", Severity.HIGH, [6], "EBP; CKV_AWS_79, CKV_AWS_341", TEMPLATE, INSTANCE, NODE_GROUP)
def imdsv2(item: Item) -> Iterator[str]:
    """The metadata service wants a session token and answers the machine itself, not its containers."""
    if item.type == NODE_GROUP:
        if not item.at("launchTemplate"):
            yield "it has no launch template, so that containers reach the node's metadata"
        return
    if item.at("metadataOptions", "httpTokens") != "required":
        yield "its metadata service answers without a session token (IMDSv1)"
    if item.at("metadataOptions", "httpPutResponseHopLimit") != 1:
        yield "its metadata service answers further than one hop, thus containers too"


@together("node-role-minimal", Severity.HIGH, [7], "CIS 5.2.1; EBP")
def node_role(stack: Stack) -> Iterator[tuple[Item, str]]:
    """The node role has what a node needs and no rights of what runs on it: those come by pod identity."""
    roles = {urn for group in stack.of(NODE_GROUP) for urn in group.used("nodeRoleArn")}
    for role in stack.of(ROLE):
        if role.urn not in roles:
            continue
        if listed(role.at("inlinePolicies")) or stack.that_use(role, INLINE, "role"):
            yield role, "the node role has a policy of its own, which every pod on the node could use"
        attached = [one.at("policyArn") for one in stack.that_use(role, ATTACHMENT, "role")]
        for arn in [*attached, *listed(role.at("managedPolicyArns"))]:
            if isinstance(arn, str) and arn.rpartition("/")[2] not in NODE_POLICIES:
                yield role, f"the node role has {arn}, which every pod on the node could use"


@each("gpu-nodes-tainted", Severity.MEDIUM, [41], "NVIDIA docs", NODE_GROUP, setting="system_nodes.instance_types")
def gpu_nodes_tainted(group: Item) -> Iterator[str]:
    """Nodes with GPUs are kept for what asks for GPUs."""
    types = catalog.instance_types()
    names = [name for name in listed(group.at("instanceTypes")) if isinstance(name, str)]
    gpus = [name for name in names if name in types and types[name].gpus]
    if gpus and not any(taint.get("key") == "nvidia.com/gpu" for taint in listed(group.at("taints"))):
        yield f"{', '.join(gpus)} has GPUs and no taint nvidia.com/gpu: anything would run there"


@together("interruption-queue-wired", Severity.HIGH, [42], "Karpenter; eksctl 7697")
def interruption_queue(stack: Stack) -> Iterator[tuple[Item, str]]:
    """Every warning that EC2 gives before it takes a node reaches Karpenter's queue."""
    heard: set[str] = set()
    for rule in stack.of(EVENT_RULE):
        kinds = {
            kind for kind in INTERRUPTIONS if kind in ((parsed(rule.at("eventPattern")) or {}).get("detail-type") or ())
        }
        if not kinds:
            continue
        queues = {urn for target in stack.that_use(rule, EVENT_TARGET, "rule") for urn in target.used("arn")}
        reached = [queue for queue in stack.of(QUEUE) if queue.urn in queues]
        if not reached:
            yield rule, "its events reach no queue"
        for queue in reached:
            if _takes_events(stack, queue):
                heard |= kinds
            else:
                yield queue, "it refuses EventBridge: its policy lets events.amazonaws.com send no messages"
    for group in stack.of(NODE_GROUP)[:1]:
        if missing := [kind for kind in INTERRUPTIONS if kind not in heard]:
            yield group, f"no queue is told of: {', '.join(missing)}"


def _takes_events(stack: Stack, queue: Item) -> bool:
    documents = [policy.at("policy") for policy in stack.that_use(queue, QUEUE_POLICY, "queueUrl")]
    documents += [queue.at("policy")] if queue.at("policy") else []
    return any(
        not isinstance(document, str | dict)
        or any(
            "events.amazonaws.com" in listed((one.get("Principal") or {}).get("Service"))
            and any(re.fullmatch(r"sqs:(SendMessage|\*)", action) for action in listed(one.get("Action")))
            for one in statements(document)
        )
        for document in documents
    )


@together("interruption-queue-alarm", Severity.MEDIUM, [42], "Karpenter; eksctl 7697")
def interruption_alarm(stack: Stack) -> Iterator[tuple[Item, str]]:
    """Somebody is told when nobody reads the interruption queue."""
    queues = {urn for target in stack.of(EVENT_TARGET) for urn in target.used("arn")}
    for queue in stack.of(QUEUE):
        if queue.urn not in queues:
            continue
        alarms = [one for one in stack.that_use(queue, ALARM, "dimensions") if one.at("metricName") == UNREAD]
        if not alarms:
            yield queue, "no alarm is raised when its messages stay unread"
        elif not any(one.at("alarmActions") and one.at("actionsEnabled") is not False for one in alarms):
            yield queue, "its alarm tells nobody: set alarmActions"
