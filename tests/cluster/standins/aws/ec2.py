"""The network and launch templates, by EC2's API."""

from collections.abc import Mapping
from typing import Any

from tests.cluster.standins.aws.api import Kind, Op, Rules, Tagging

TAGGING = Tagging(
    Op("create_tags", {"Resources": ["{id}"], "Tags": "{tags}"}),
    Op("delete_tags", {"Resources": ["{id}"], "Tags": [{"Key": "{gone}"}]}),
)


def permission(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule that stands in its group, as EC2 takes it."""
    about = {"Description": rule["description"]} if rule.get("description") else {}
    ports = {"FromPort": rule["fromPort"], "ToPort": rule["toPort"]} if rule["protocol"] != "-1" else {}
    return {
        "IpProtocol": rule["protocol"],
        **ports,
        "IpRanges": [{"CidrIp": cidr, **about} for cidr in rule.get("cidrBlocks") or []],
        "UserIdGroupPairs": [{"GroupId": group, **about} for group in rule.get("securityGroups") or []],
    }


def entry(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule of a network's access list."""
    ports = {"From": rule["fromPort"], "To": rule["toPort"]} if rule["protocol"] != "-1" else None
    protocol = {"tcp": "6", "udp": "17", "6": "6", "17": "17"}.get(rule["protocol"], "-1")
    found = {"number": rule["ruleNo"], "protocol": protocol, "action": rule["action"], "cidr": rule["cidrBlock"]}
    return {**found, "ports": ports}


def route(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A route that stands in its table."""
    return {"cidr": rule["cidrBlock"], "gateway": rule.get("gatewayId"), "nat": rule.get("natGatewayId")}


def _rules(way: str) -> str:
    return (
        f"{way}[].{{protocol: IpProtocol, fromPort: FromPort || `0`, toPort: ToPort || `0`, "
        "cidrBlocks: IpRanges[].CidrIp, securityGroups: UserIdGroupPairs[].GroupId, "
        "description: [IpRanges, UserIdGroupPairs][][].Description | [0]}"
    )


GROUP = Op(
    "describe_security_groups",
    {"GroupIds": ["{id}"]},
    "SecurityGroups[0].{name: GroupName, description: Description, vpcId: VpcId, tags: Tags, "
    f"ingress: {_rules('IpPermissions')}, egress: {_rules('IpPermissionsEgress')}}}",
)
GROUP_RULES = {
    way: Rules(
        Op(f"authorize_security_group_{way}", {"GroupId": "{id}", "IpPermissions": ["{item}"]}),
        Op(f"revoke_security_group_{way}", {"GroupId": "{id}", "IpPermissions": ["{item}"]}),
        permission,
    )
    for way in ("ingress", "egress")
}
EVERYWHERE = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


def _group_rule(way: str) -> Kind:
    return Kind(
        service="ec2",
        id="{id}",
        create=Op(
            f"authorize_security_group_{way}",
            {
                "GroupId": "{securityGroupId}",
                "IpPermissions": [
                    {
                        "IpProtocol": "{ipProtocol}",
                        "FromPort": "{fromPort}",
                        "ToPort": "{toPort}",
                        "UserIdGroupPairs": [
                            {"GroupId": "{referencedSecurityGroupId}", "Description": "{description}"}
                        ],
                    }
                ],
            },
            "SecurityGroupRules[-1].SecurityGroupRuleId",
        ),
        read=(
            Op(
                "describe_security_group_rules",
                {"SecurityGroupRuleIds": ["{id}"]},
                "SecurityGroupRules[0].{securityGroupId: GroupId, ipProtocol: IpProtocol, fromPort: FromPort, "
                "toPort: ToPort, referencedSecurityGroupId: ReferencedGroupInfo.GroupId, cidrIpv4: CidrIpv4, "
                "securityGroupRuleId: SecurityGroupRuleId, tags: Tags, "
                "arn: join('/', ['arn:aws:ec2:{region}:{account}:security-group-rule', SecurityGroupRuleId])}",
            ),
        ),
        update=Op(
            "modify_security_group_rules",
            {
                "GroupId": "{securityGroupId}",
                "SecurityGroupRules": [
                    {
                        "SecurityGroupRuleId": "{id}",
                        "SecurityGroupRule": {
                            "IpProtocol": "{ipProtocol}",
                            "FromPort": "{fromPort}",
                            "ToPort": "{toPort}",
                            "ReferencedGroupId": "{referencedSecurityGroupId}",
                            "Description": "{description}",
                        },
                    }
                ],
            },
        ),
        delete=(
            Op(
                f"revoke_security_group_{way}",
                {"GroupId": "{securityGroupId}", "SecurityGroupRuleIds": ["{id}"]},
            ),
        ),
        tagging=TAGGING,
        tagged_as="security-group-rule",
    )


def _acl(way: str) -> Rules:
    egress = way == "egress"
    place = {"NetworkAclId": "{id}", "Egress": egress, "RuleNumber": "{number}"}
    return Rules(
        Op(
            "create_network_acl_entry",
            {
                **place,
                "Protocol": "{protocol}",
                "RuleAction": "{action}",
                "CidrBlock": "{cidr}",
                "PortRange": "{ports}",
            },
        ),
        Op("delete_network_acl_entry", place),
        entry,
    )


def _entries(egress: str) -> str:
    return (
        f"Entries[?Egress==`{egress}` && RuleNumber<`32767`].{{ruleNo: RuleNumber, action: RuleAction, "
        "protocol: (Protocol=='6' && 'tcp') || (Protocol=='17' && 'udp') || Protocol, "
        "cidrBlock: CidrBlock, fromPort: PortRange.From || `0`, toPort: PortRange.To || `0`}"
    )


def _routes(table: str) -> Rules:
    place = {"RouteTableId": table, "DestinationCidrBlock": "{cidr}"}
    return Rules(
        Op("create_route", {**place, "GatewayId": "{gateway}", "NatGatewayId": "{nat}"}),
        Op("delete_route", place),
        route,
    )


def _attribute(name: str) -> tuple[Op, ...]:
    title = name[0].upper() + name[1:]
    return (Op("modify_vpc_attribute", {"VpcId": "{id}", title: {"Value": f"{{{name}}}"}}),)


def _attribute_of(name: str) -> Op:
    title = name[0].upper() + name[1:]
    return Op("describe_vpc_attribute", {"VpcId": "{id}", "Attribute": name}, f"{{{name}: {title}.Value}}")


def _default(operation: str, name: str, value: str, answer: str) -> Op:
    filters = [{"Name": "vpc-id", "Values": ["{id}"]}, {"Name": name, "Values": [value]}]
    return Op(operation, {"Filters": filters}, answer)


TABLE_READ = Op(
    "describe_route_tables",
    {"RouteTableIds": ["{id}"]},
    "RouteTables[0].{vpcId: VpcId, tags: Tags, routes: Routes[?GatewayId!='local'].{cidrBlock: DestinationCidrBlock, "
    "gatewayId: GatewayId, natGatewayId: NatGatewayId}}",
)

KINDS: dict[str, Kind] = {
    "aws:ec2/vpc:Vpc": Kind(
        service="ec2",
        id="{id}",
        create=Op("create_vpc", {"*": "{*}"}, "Vpc.VpcId"),
        read=(
            Op("describe_vpcs", {"VpcIds": ["{id}"]}, "Vpcs[0]"),
            _attribute_of("enableDnsSupport"),
            _attribute_of("enableDnsHostnames"),
            _default(
                "describe_security_groups",
                "group-name",
                "default",
                "SecurityGroups[0].{defaultSecurityGroupId: GroupId}",
            ),
            _default("describe_network_acls", "default", "true", "NetworkAcls[0].{defaultNetworkAclId: NetworkAclId}"),
            _default(
                "describe_route_tables",
                "association.main",
                "true",
                "RouteTables[0].{defaultRouteTableId: RouteTableId, mainRouteTableId: RouteTableId}",
            ),
        ),
        change={name: _attribute(name) for name in ("enableDnsSupport", "enableDnsHostnames")},
        delete=(Op("delete_vpc", {"VpcId": "{id}"}),),
        tagging=TAGGING,
        tagged_as="vpc",
    ),
    "aws:ec2/subnet:Subnet": Kind(
        service="ec2",
        id="{id}",
        create=Op("create_subnet", {"*": "{*}"}, "Subnet.SubnetId"),
        read=(Op("describe_subnets", {"SubnetIds": ["{id}"]}, "Subnets[0]"),),
        change={
            "mapPublicIpOnLaunch": (
                Op(
                    "modify_subnet_attribute",
                    {"SubnetId": "{id}", "MapPublicIpOnLaunch": {"Value": "{mapPublicIpOnLaunch}"}},
                ),
            )
        },
        delete=(Op("delete_subnet", {"SubnetId": "{id}"}),),
        tagging=TAGGING,
        tagged_as="subnet",
    ),
    "aws:ec2/internetGateway:InternetGateway": Kind(
        service="ec2",
        id="{id}",
        create=Op("create_internet_gateway", {"*": "{*}"}, "InternetGateway.InternetGatewayId"),
        after=(Op("attach_internet_gateway", {"InternetGatewayId": "{id}", "VpcId": "{vpcId}"}),),
        read=(
            Op(
                "describe_internet_gateways",
                {"InternetGatewayIds": ["{id}"]},
                "InternetGateways[0].{vpcId: Attachments[0].VpcId, tags: Tags}",
            ),
        ),
        delete=(
            Op("detach_internet_gateway", {"InternetGatewayId": "{id}", "VpcId": "{vpcId}"}),
            Op("delete_internet_gateway", {"InternetGatewayId": "{id}"}),
        ),
        tagging=TAGGING,
        tagged_as="internet-gateway",
    ),
    "aws:ec2/eip:Eip": Kind(
        service="ec2",
        id="{id}",
        create=Op("allocate_address", {"*": "{*}"}, "AllocationId"),
        read=(Op("describe_addresses", {"AllocationIds": ["{id}"]}, "Addresses[0]"),),
        delete=(Op("release_address", {"AllocationId": "{id}"}),),
        tagging=TAGGING,
        tagged_as="elastic-ip",
    ),
    "aws:ec2/natGateway:NatGateway": Kind(
        service="ec2",
        id="{id}",
        create=Op("create_nat_gateway", {"*": "{*}"}, "NatGateway.NatGatewayId"),
        read=(
            Op(
                "describe_nat_gateways",
                {"NatGatewayIds": ["{id}"]},
                "NatGateways[?State!='deleted'] | [0].{allocationId: NatGatewayAddresses[0].AllocationId, "
                "subnetId: SubnetId, tags: Tags, publicIp: NatGatewayAddresses[0].PublicIp}",
            ),
        ),
        delete=(Op("delete_nat_gateway", {"NatGatewayId": "{id}"}),),
        tagging=TAGGING,
        tagged_as="natgateway",
    ),
    "aws:ec2/routeTable:RouteTable": Kind(
        service="ec2",
        id="{id}",
        create=Op("create_route_table", {"*": "{*}"}, "RouteTable.RouteTableId"),
        read=(TABLE_READ,),
        change={"routes": _routes("{id}")},
        delete=(Op("delete_route_table", {"RouteTableId": "{id}"}),),
        tagging=TAGGING,
        tagged_as="route-table",
    ),
    "aws:ec2/defaultRouteTable:DefaultRouteTable": Kind(
        service="ec2",
        id="{defaultRouteTableId}",
        read=(Op(TABLE_READ.name, {"RouteTableIds": ["{defaultRouteTableId}"]}, TABLE_READ.answer),),
        change={"routes": _routes("{defaultRouteTableId}")},
        tagging=TAGGING,
    ),
    "aws:ec2/route:Route": Kind(
        service="ec2",
        id="{routeTableId}_{destinationCidrBlock}",
        create=Op("create_route", {"*": "{*}"}),
        read=(
            Op(
                "describe_route_tables",
                {"RouteTableIds": ["{routeTableId}"]},
                "RouteTables[0].Routes[?DestinationCidrBlock=='{destinationCidrBlock}'] | [0].{gatewayId: GatewayId, "
                "natGatewayId: NatGatewayId, state: State}",
            ),
        ),
        update=Op("replace_route", {"*": "{*}"}),
        delete=(
            Op("delete_route", {"RouteTableId": "{routeTableId}", "DestinationCidrBlock": "{destinationCidrBlock}"}),
        ),
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": Kind(
        service="ec2",
        id="{id}",
        create=Op("associate_route_table", {"*": "{*}"}, "AssociationId"),
        read=(
            Op(
                "describe_route_tables",
                {"Filters": [{"Name": "association.route-table-association-id", "Values": ["{id}"]}]},
                "RouteTables[].Associations[] | [?RouteTableAssociationId=='{id}'] | [0]",
            ),
        ),
        delete=(Op("disassociate_route_table", {"AssociationId": "{id}"}),),
    ),
    "aws:ec2/securityGroup:SecurityGroup": Kind(
        service="ec2",
        id="{id}",
        create=Op("create_security_group", {"*": "{*}"}, "GroupId"),
        after=(Op("revoke_security_group_egress", {"GroupId": "{id}", "IpPermissions": [EVERYWHERE]}),),
        read=(GROUP,),
        change=GROUP_RULES,
        delete=(Op("delete_security_group", {"GroupId": "{id}"}),),
        names={"name": "GroupName"},
        tagging=TAGGING,
        tagged_as="security-group",
        fresh={"description": "Managed by Pulumi"},
        own=("revokeRulesOnDelete",),
    ),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": Kind(
        service="ec2",
        id="{id}",
        create=Op(
            "describe_security_groups",
            {
                "Filters": [
                    {"Name": "vpc-id", "Values": ["{vpcId}"]},
                    {"Name": "group-name", "Values": ["default"]},
                ]
            },
            "SecurityGroups[0].GroupId",
        ),
        after=(Op("create_tags", {"Resources": ["{id}"], "Tags": "{tags}"}),),
        read=(GROUP,),
        change=GROUP_RULES,
        tagging=TAGGING,
    ),
    "aws:ec2/defaultNetworkAcl:DefaultNetworkAcl": Kind(
        service="ec2",
        id="{defaultNetworkAclId}",
        read=(
            Op(
                "describe_network_acls",
                {"NetworkAclIds": ["{defaultNetworkAclId}"]},
                f"NetworkAcls[0].{{vpcId: VpcId, tags: Tags, "
                f"ingress: {_entries('false')}, egress: {_entries('true')}}}",
            ),
        ),
        change={way: _acl(way) for way in ("ingress", "egress")},
        tagging=TAGGING,
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _group_rule("ingress"),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _group_rule("egress"),
    "aws:ec2/vpcEndpoint:VpcEndpoint": Kind(
        service="ec2",
        id="{id}",
        create=Op("create_vpc_endpoint", {"*": "{*}"}, "VpcEndpoint.VpcEndpointId"),
        read=(Op("describe_vpc_endpoints", {"VpcEndpointIds": ["{id}"]}, "VpcEndpoints[0]"),),
        update=Op("modify_vpc_endpoint", {"VpcEndpointId": "{id}", "PolicyDocument": "{policy}"}),
        delete=(Op("delete_vpc_endpoints", {"VpcEndpointIds": ["{id}"]}),),
        names={"policy": "PolicyDocument"},
        tagging=TAGGING,
        tagged_as="vpc-endpoint",
    ),
    "aws:ec2/launchTemplate:LaunchTemplate": Kind(
        service="ec2",
        id="{id}",
        create=Op(
            "create_launch_template",
            {"LaunchTemplateName": "{name}", "VersionDescription": "{description}", "LaunchTemplateData": "{*}"},
            "LaunchTemplate.LaunchTemplateId",
        ),
        read=(
            Op(
                "describe_launch_templates",
                {"LaunchTemplateIds": ["{id}"]},
                "LaunchTemplates[0].{name: LaunchTemplateName, latestVersion: LatestVersionNumber, tags: Tags, "
                "defaultVersion: DefaultVersionNumber}",
            ),
            Op(
                "describe_launch_template_versions",
                {"LaunchTemplateId": "{id}", "Versions": ["$Latest"]},
                # moto puts the template's own tags there too.
                "LaunchTemplateVersions[0].LaunchTemplateData.merge(@, {tagSpecifications: "
                "TagSpecifications[?ResourceType!='launch-template']})",
            ),
        ),
        update=Op(
            "create_launch_template_version",
            {"LaunchTemplateId": "{id}", "VersionDescription": "{description}", "LaunchTemplateData": "{*}"},
        ),
        delete=(Op("delete_launch_template", {"LaunchTemplateId": "{id}"}),),
        tagging=TAGGING,
        tagged_as="launch-template",
        own=("updateDefaultVersion",),
    ),
}
