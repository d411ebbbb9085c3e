"""The network that an environment lives in."""

from __future__ import annotations  # a name like aws.ec2.Vpc loads all of EC2 when it is read

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from ipaddress import IPv4Network
from itertools import combinations, cycle, islice
from typing import Literal

import pulumi
import pulumi_aws as aws

from infra.aws import iam
from infra.aws.key import Key, KeyArgs, used_by_logs
from infra.aws.options import kept
from infra.settings.base import Lifetime, Security
from infra.settings.environment import ExistingNetwork, NewNetwork

ENDPOINTS = ("ecr.api", "ecr.dkr", "eks-auth", "logs", "sts")
"""AWS services that every node and pod calls."""
HARDENED_ENDPOINTS = (
    "ec2",
    "elasticloadbalancing",
    "kms",
    "monitoring",
    "secretsmanager",
    "sqs",
    "ssm",
    "ssmmessages",
)
"""More of them, so that a hardened environment's calls stay off the internet.

Not `eks`: its private name takes oidc.eks.REGION.amazonaws.com with it, which then nobody in the VPC can find
(aws/containers-roadmap 2038).
"""
KUBERNETES_IMAGES = {"eu-west-2": "767373bbdcb8270361b96548387bf2a9ad0d48758c35-eu-west-2"}
"""The bucket of registry.k8s.io where it isn't named as its region (kubernetes/registry.k8s.io,
cmd/archeio/internal/app/buckets.go, read 2026-11-21)."""
Kind = Literal["private", "public", "intra"]


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """`zones` are ids, from `choose_zones`; an existing network has no use for them."""

    environment: str
    region: str
    account_id: str
    settings: NewNetwork | ExistingNetwork
    zones: tuple[str, ...]
    security: Security
    lifetime: Lifetime


@dataclass(frozen=True)
class SubnetRange:
    """A zone's private, public or intra part of a VPC's range."""

    zone: str
    kind: Kind
    cidr: str

    @property
    def name(self) -> str:
        """Such as `private-az1`."""
        return f"{self.kind}-{self.zone.rpartition('-')[2]}"


class Network(pulumi.ComponentResource):
    """A VPC, or one that is there already, of which nothing is made.

    - private subnets, large, for nodes and pods: out by NAT, never in
    - public subnets, small, for load balancers and NAT gateways
    - intra subnets, small, for databases and the control plane: neither in nor out
    - NAT gateways: one, or one a zone
    - endpoints of AWS services, open to the VPC alone; nothing is written to another account's bucket through them
    - flow logs of all traffic, encrypted by a key of their own
    - the VPC's defaults closed: its security group, its route table, and SSH from outside

    The subnets' outputs come from their route table associations, so that what is put into a subnet has its way out
    before it starts, and until it is gone.
    """

    vpc_id: pulumi.Output[str]
    private_subnet_ids: list[pulumi.Output[str]]
    public_subnet_ids: list[pulumi.Output[str]]
    intra_subnet_ids: list[pulumi.Output[str]]

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("modelyard:aws:Network", name, {}, opts)
        if isinstance(args.settings, ExistingNetwork):
            self._take(args.settings)
        else:
            self._make(name, args, args.settings)
        self.register_outputs(
            {
                "vpc_id": self.vpc_id,
                "private_subnet_ids": self.private_subnet_ids,
                "public_subnet_ids": self.public_subnet_ids,
                "intra_subnet_ids": self.intra_subnet_ids,
            }
        )

    def _take(self, settings: ExistingNetwork) -> None:
        def outputs(ids: Sequence[str]) -> list[pulumi.Output[str]]:
            return [pulumi.Output.from_input(one) for one in ids]

        self.vpc_id = pulumi.Output.from_input(settings.vpc)
        self.private_subnet_ids = outputs(settings.private_subnets)
        self.public_subnet_ids = outputs(settings.public_subnets)
        self.intra_subnet_ids = outputs(settings.intra_subnets or settings.private_subnets)

    def _make(self, name: str, args: NetworkArgs, settings: NewNetwork) -> None:
        child = pulumi.ResourceOptions(parent=self)
        vpc = aws.ec2.Vpc(
            f"{name}-vpc",
            cidr_block=settings.cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags={"Name": args.environment},
            opts=child,
        )
        self.vpc_id = vpc.id
        self._close_defaults(name, vpc)
        self._log_flows(name, args)

        internet = aws.ec2.InternetGateway(
            f"{name}-internet", vpc_id=vpc.id, tags={"Name": args.environment}, opts=child
        )
        public = self._table(name, "public", args)
        public_route = self._way_out(name, "public", public, gateway_id=internet.id)
        intra = self._table(name, "intra", args)
        places = subnets(settings.cidr, args.zones)
        self.public_subnet_ids = [
            self._subnet(name, args, place, public_route.route_table_id) for place in places if place.kind == "public"
        ]
        self.intra_subnet_ids = [self._subnet(name, args, place, intra.id) for place in places if place.kind == "intra"]

        nat = settings.nat or ("per-zone" if args.lifetime.durable else "one")
        number = len(args.zones) if nat == "per-zone" else 1
        gateways = [
            self._nat(name, args, zone.rpartition("-")[2], subnet_id)
            for zone, subnet_id in zip(args.zones[:number], self.public_subnet_ids[:number], strict=True)
        ]
        self.private_subnet_ids = []
        tables = [public, intra]
        for place, gateway in zip((one for one in places if one.kind == "private"), cycle(gateways), strict=False):
            table = self._table(name, place.name, args)
            route = self._way_out(name, place.name, table, nat_gateway_id=gateway.id)
            tables.append(table)
            self.private_subnet_ids.append(self._subnet(name, args, place, route.route_table_id))
        self._add_endpoints(name, args, settings.cidr, [table.id for table in tables])

    def _close_defaults(self, name: str, vpc: aws.ec2.Vpc) -> None:
        aws.ec2.DefaultSecurityGroup(
            f"{name}-default-security-group",
            vpc_id=vpc.id,
            ingress=[],
            egress=[],
            tags={"Name": "closed: use another one"},
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.ec2.DefaultRouteTable(
            f"{name}-default-routes",
            default_route_table_id=vpc.default_route_table_id,
            routes=[],
            tags={"Name": "leads nowhere: use another one"},
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.ec2.DefaultNetworkAcl(
            f"{name}-default-acl",
            default_network_acl_id=vpc.default_network_acl_id,
            ingress=[
                _acl_rule(100, "allow", vpc.cidr_block),
                _acl_rule(200, "deny", "0.0.0.0/0", port=22),
                # Not RDP's 3389 too: an ACL keeps no state, and NAT gateways hear answers on ports from 1024.
                _acl_rule(300, "allow", "0.0.0.0/0"),
            ],
            egress=[
                {
                    "rule_no": 100,
                    "action": "allow",
                    "protocol": "-1",
                    "cidr_block": "0.0.0.0/0",
                    "from_port": 0,
                    "to_port": 0,
                }
            ],
            tags={"Name": "no SSH from outside"},
            # AWS adds every new subnet by itself.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["subnetIds"]),
        )

    def _log_flows(self, name: str, args: NetworkArgs) -> None:
        child = pulumi.ResourceOptions(parent=self)
        key = Key(
            f"{name}-logs",
            KeyArgs(
                purpose="flow logs",
                environment=args.environment,
                account_id=args.account_id,
                lifetime=args.lifetime,
                statements=[used_by_logs(args.account_id, args.region)],
            ),
            opts=child,
        )
        group = aws.cloudwatch.LogGroup(
            f"{name}-flow-logs",
            name=f"/modelyard/{args.environment}/flow-logs",
            retention_in_days=args.security.log_days,
            kms_key_id=key.arn,
            tags={"data-class": "internal"},
            opts=kept(self, args.lifetime),
        )
        role = aws.iam.Role(
            f"{name}-flow-logs-role",
            name=f"modelyard-{args.environment}-flow-logs",
            description="VPC flow logs write their log group",
            assume_role_policy=pulumi.Output.json_dumps(
                iam.trust_service("vpc-flow-logs.amazonaws.com", args.account_id)
            ),
            opts=child,
        )
        policy = aws.iam.RolePolicy(
            f"{name}-flow-logs-policy",
            role=role.name,
            policy=pulumi.Output.json_dumps(group.arn.apply(writes_flow_logs)),
            opts=child,
        )
        aws.ec2.FlowLog(
            f"{name}-flow-log",
            vpc_id=self.vpc_id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            tags={"Name": args.environment},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
        )

    def _table(self, name: str, kind: str, args: NetworkArgs) -> aws.ec2.RouteTable:
        return aws.ec2.RouteTable(
            f"{name}-{kind}-routes",
            vpc_id=self.vpc_id,
            tags={"Name": f"{args.environment}-{kind}"},
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _way_out(
        self,
        name: str,
        kind: str,
        table: aws.ec2.RouteTable,
        gateway_id: pulumi.Input[str] | None = None,
        nat_gateway_id: pulumi.Input[str] | None = None,
    ) -> aws.ec2.Route:
        return aws.ec2.Route(
            f"{name}-{kind}-out",
            route_table_id=table.id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=gateway_id,
            nat_gateway_id=nat_gateway_id,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _subnet(
        self, name: str, args: NetworkArgs, place: SubnetRange, table_id: pulumi.Input[str]
    ) -> pulumi.Output[str]:
        subnet = aws.ec2.Subnet(
            f"{name}-{place.name}",
            vpc_id=self.vpc_id,
            availability_zone_id=place.zone,
            cidr_block=place.cidr,
            map_public_ip_on_launch=False,
            tags={"Name": f"{args.environment}-{place.name}", **found_by(place.kind, args.environment)},
            opts=pulumi.ResourceOptions(parent=self),
        )
        association = aws.ec2.RouteTableAssociation(
            f"{name}-{place.name}-association",
            subnet_id=subnet.id,
            route_table_id=table_id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return association.subnet_id.apply(lambda known: known or "")

    def _nat(self, name: str, args: NetworkArgs, zone: str, subnet_id: pulumi.Input[str]) -> aws.ec2.NatGateway:
        child = pulumi.ResourceOptions(parent=self)
        tags = {"Name": f"{args.environment}-nat-{zone}"}
        address = aws.ec2.Eip(f"{name}-nat-{zone}-address", domain="vpc", tags=tags, opts=child)
        return aws.ec2.NatGateway(
            f"{name}-nat-{zone}", allocation_id=address.id, subnet_id=subnet_id, tags=tags, opts=child
        )

    def _add_endpoints(self, name: str, args: NetworkArgs, cidr: str, tables: list[pulumi.Output[str]]) -> None:
        child = pulumi.ResourceOptions(parent=self)
        aws.ec2.VpcEndpoint(
            f"{name}-endpoint-s3",
            vpc_id=self.vpc_id,
            vpc_endpoint_type="Gateway",
            service_name=f"com.amazonaws.{args.region}.s3",
            route_table_ids=tables,
            policy=pulumi.Output.json_dumps(passes_to_s3(args.account_id, args.region, args.security)),
            tags={"Name": f"{args.environment}-s3"},
            opts=child,
        )
        group = aws.ec2.SecurityGroup(
            f"{name}-endpoints",
            description="Endpoints of AWS services: HTTPS from the VPC",
            vpc_id=self.vpc_id,
            ingress=[
                {
                    "description": "HTTPS from the VPC",
                    "protocol": "tcp",
                    "from_port": 443,
                    "to_port": 443,
                    "cidr_blocks": [cidr],
                }
            ],
            egress=[],
            tags={"Name": f"{args.environment}-endpoints"},
            opts=child,
        )
        for service in ENDPOINTS + (HARDENED_ENDPOINTS if args.security.hardened else ()):
            aws.ec2.VpcEndpoint(
                f"{name}-endpoint-{service.replace('.', '-')}",
                vpc_id=self.vpc_id,
                vpc_endpoint_type="Interface",
                service_name=f"com.amazonaws.{args.region}.{service}",
                subnet_ids=self.private_subnet_ids,
                security_group_ids=[group.id],
                private_dns_enabled=True,
                tags={"Name": f"{args.environment}-{service}"},
                opts=child,
            )


def subnets(cidr: str, zones: Sequence[str]) -> tuple[SubnetRange, ...]:
    """Each zone's ranges: from the VPC's and the zone's own number and nothing else, so that no other zone moves them.

    The VPC has eight equal slots. az1 to az6 have one each for pods and nodes; of the seventh and the eighth each zone
    has a sixteenth, public and intra, and the rest is left. Raises ValueError for a zone that is none of these.
    """
    slots = list(IPv4Network(cidr).subnets(prefixlen_diff=3))
    small = [list(slot.subnets(prefixlen_diff=4)) for slot in slots[-2:]]
    ranges: list[SubnetRange] = []
    for zone in zones:
        match = re.search(r"-az([1-6])$", zone)
        if not match:
            raise ValueError(f"{zone} has no place in the VPC: az1 to az6 have one")
        own = int(match[1]) - 1
        ranges += [
            SubnetRange(zone, "private", str(slots[own])),
            SubnetRange(zone, "public", str(small[0][own])),
            SubnetRange(zone, "intra", str(small[1][own])),
        ]
    return tuple(ranges)


def choose_zones(settings: NewNetwork, wanted: Mapping[str, Set[str]], usable: Sequence[str]) -> tuple[str, ...]:
    """The zones of a new network: those that are named, or so many that offer every hardware profile somewhere.

    `wanted` has each profile's zones, `usable` all that EKS can use. A number takes the fewest zones that will do, the
    first of them, and fills up in order: raising it later keeps the zones that there are. Raises ValueError where a
    profile is left without a zone.
    """
    allowed = settings.zones if isinstance(settings.zones, tuple) else tuple(sorted(usable))
    for profile, zones in wanted.items():
        if not set(zones) & set(allowed):
            where = f"only in {', '.join(sorted(zones))}" if zones else "in no zone that EKS can use"
            raise ValueError(f"the profile {profile} is offered {where}; the network's zones are {', '.join(allowed)}")
    if isinstance(settings.zones, tuple):
        return settings.zones
    if settings.zones > len(allowed):
        raise ValueError(f"{settings.zones} zones are wanted; EKS can use {len(allowed)}: {', '.join(allowed)}")
    fewest = next(
        chosen
        for number in range(1, len(allowed) + 1)
        for chosen in combinations(allowed, number)
        if all(set(chosen) & set(zones) for zones in wanted.values())
    )
    if len(fewest) > settings.zones:
        offered = "; ".join(f"{profile} in {', '.join(sorted(zones))}" for profile, zones in wanted.items())
        raise ValueError(
            f"{settings.zones} zones can't offer every profile ({offered}); {len(fewest)} can: {', '.join(fewest)}"
        )
    others = (zone for zone in allowed if zone not in fewest)
    return (*fewest, *islice(others, settings.zones - len(fewest)))


def found_by(kind: Kind, environment: str) -> dict[str, str]:
    """The tags by which load balancers and Karpenter find their subnets."""
    return {
        "public": {"kubernetes.io/role/elb": "1"},
        "private": {"kubernetes.io/role/internal-elb": "1", "karpenter.sh/discovery": environment},
        "intra": {},
    }[kind]


def _acl_rule(
    number: int, action: str, source: pulumi.Input[str], port: int | None = None
) -> aws.ec2.DefaultNetworkAclIngressArgs:
    """For one TCP port, or for everything."""
    return aws.ec2.DefaultNetworkAclIngressArgs(
        rule_no=number,
        action=action,
        protocol="tcp" if port else "-1",
        cidr_block=source,
        from_port=port or 0,
        to_port=port or 0,
    )


def writes_flow_logs(group_arn: str) -> iam.Document:
    """To this log group, which is there already."""
    streams = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    return iam.document(
        iam.allow("Write", streams, [group_arn, f"{group_arn}:*"]),
        iam.allow("Find", ["logs:DescribeLogGroups"], ["*"]),
    )


def passes_to_s3(account_id: str, region: str, security: Security) -> iam.Document:
    """What gets through the S3 endpoint. It gives rights to nobody: it bounds those that callers have.

    Only this account's buckets are written. Others are read by anybody or, hardened, by this account's own identities;
    image layers and Amazon Linux's packages are public and read without one.
    """
    own = {"aws:PrincipalAccount": account_id} if security.hardened else {}
    statements = [
        _lets_through("OwnBuckets", ["s3:*"], ["*"], {"aws:ResourceAccount": account_id, **own}),
        _lets_through("ReadOthers", ["s3:GetObject*", "s3:GetBucketLocation", "s3:ListBucket"], ["*"], own),
    ]
    if security.hardened:
        # Amazon ECR user guide, "Minimum Amazon S3 Bucket Permissions for Amazon ECR"; where AL2023 has its packages;
        # and where registry.k8s.io sends whoever comes from this region.
        public = [
            f"arn:aws:s3:::prod-{region}-starport-layer-bucket/*",
            f"arn:aws:s3:::al2023-repos-{region}-de612dc2/*",
            f"arn:aws:s3:::{KUBERNETES_IMAGES.get(region, f'prod-registry-k8s-io-{region}')}/*",
        ]
        statements.append(_lets_through("ReadPublic", ["s3:GetObject"], public, {}))
    return iam.document(*statements)


def _lets_through(sid: str, actions: list[str], resources: list[str], equal: Mapping[str, str]) -> iam.Statement:
    statement: iam.Statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": "*",
        "Action": actions,
        "Resource": resources,
    }
    return statement | ({"Condition": {"StringEquals": dict(equal)}} if equal else {})
