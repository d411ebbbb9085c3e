"""The network, and who may reach what in it."""

import ipaddress
from collections.abc import Iterator
from typing import Any

from pulumi_policy import Severity

from infra.policy.control import Item, Stack, each, listed, together

VPC = "aws:ec2/vpc:Vpc"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
GROUP_RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
INGRESS_RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
DEFAULT_GROUP = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
FLOW_LOG = "aws:ec2/flowLog:FlowLog"
CLUSTER = "aws:eks/cluster:Cluster"
SUBNET = "aws:ec2/subnet:Subnet"
WIDEST = {4: 8, 6: 32}
"""A range with a shorter prefix isn't somebody's own: 8 for 10.0.0.0/8, 32 for what a provider gets."""


@together("network-checked", Severity.LOW, [1, 2, 4], "FSBP EC2.2, EC2.6; CIS 5.4.3", setting="network")
def network_checked(stack: Stack) -> Iterator[tuple[Item, str]]:
    """The cluster stands in a VPC of this stack, which the controls of networks can see."""
    own = {subnet.urn for vpc in stack.of(VPC) for subnet in stack.that_use(vpc, SUBNET, "vpcId")}
    for cluster in stack.of(CLUSTER):
        if not cluster.used("vpcConfig") & own:
            yield cluster, "not checked: the network is yours, with its flow logs, routes and default security group"


@together("vpc-flow-logs", Severity.MEDIUM, [4], "FSBP EC2.6; CKV2_AWS_11", setting="network")
def flow_logs(stack: Stack) -> Iterator[tuple[Item, str]]:
    """Every VPC has a flow log, of refused traffic at least."""
    for vpc in stack.of(VPC):
        logs = stack.that_use(vpc, FLOW_LOG, "vpcId")
        if not any(log.at("trafficType") in ("ALL", "REJECT") for log in logs):
            yield vpc, "it has no flow log of the traffic that was refused"


@together("vpc-default-group-closed", Severity.MEDIUM, [1], "FSBP EC2.2; CKV2_AWS_12", setting="network")
def default_group_closed(stack: Stack) -> Iterator[tuple[Item, str]]:
    """The security group that AWS puts into every VPC lets nothing in or out."""
    for vpc in stack.of(VPC):
        groups = stack.that_use(vpc, DEFAULT_GROUP, "vpcId")
        if not groups:
            yield vpc, "its default security group is as AWS made it: whatever is in it reaches everything else in it"
        for group in groups:
            if listed(group.at("ingress")) or listed(group.at("egress")):
                yield group, "it lets traffic through"


@each("no-open-ingress", Severity.HIGH, [1], "FSBP EC2.18; CKV_AWS_24, 25, 260", GROUP, GROUP_RULE, INGRESS_RULE)
def no_open_ingress(item: Item) -> Iterator[str]:
    """No security group lets in the whole internet."""
    if item.type == GROUP:
        sources = [source for rule in listed(item.at("ingress")) for source in _sources(rule)]
    elif item.type == INGRESS_RULE:
        sources = [item.at("cidrIpv4"), item.at("cidrIpv6")]
    else:
        sources = _sources(item.props) if item.at("type") == "ingress" else []
    ranges = [ipaddress.ip_network(source, strict=False) for source in sources if isinstance(source, str)]
    for version, widest in WIDEST.items():
        of_version: list[Any] = [one for one in ranges if one.version == version]
        for joined in ipaddress.collapse_addresses(of_version):
            if joined.prefixlen < widest:
                yield f"it lets in {joined}"


def _sources(rule: dict[str, object]) -> list[object]:
    return [*listed(rule.get("cidrBlocks")), *listed(rule.get("ipv6CidrBlocks"))]
