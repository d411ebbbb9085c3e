"""What an environment needs of the cloud, held against what the cloud says; only ever reads."""

import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
import botocore.parsers

from infra.settings.environment import AwsEnvironment, ExistingNetwork, Reservation
from infra.settings.stacks import AccountStack, EnvironmentStack
from modelyard.checks import Check
from modelyard.plan.plan import Plan

SECONDS = 5
LEAST_ADDRESSES = 64
"""Free ones in a private subnet: each pod takes one."""
ROLES = {"private_subnets": "kubernetes.io/role/internal-elb", "public_subnets": "kubernetes.io/role/elb"}
"""The tags by which load balancers find the subnets of an existing network."""
COST_TAGS = ("environment", "project")
"""By which budgets and the monitor of unusual spending count."""
ASK = "sign in (`aws sso login`) or set AWS_PROFILE"


def check_cloud(plan: Plan) -> Iterator[Check]:
    """Every check of a planned stack, each after those that it rests on."""
    yield engine()
    stack = plan.stack
    account = stack if isinstance(stack, AccountStack) else stack.account
    if account is None:
        return
    session = boto3.Session(region_name=account.settings.region)
    credentials = identity(session, account.settings.account_id)
    yield credentials
    if not credentials.ok:
        return
    yield from quotas(session, plan)
    yield cost_tags(session)
    if isinstance(stack, EnvironmentStack) and isinstance(stack.settings, AwsEnvironment):
        yield from network(session, stack.settings)
        yield from offerings(session, stack, zones(plan) or zones_there(session, stack.settings))
        yield from reservations(session, stack.settings)
        yield from api_server(session, cluster(plan), stack.settings)


def engine() -> Check:
    """Pulumi's own command, which `up` needs and a plan doesn't."""
    if not (found := shutil.which("pulumi")):
        return Check("pulumi", "not found", "install Pulumi, and put it on PATH")
    done = subprocess.run([found, "version"], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    return Check("pulumi", done.stdout.strip() or "it doesn't say its version")


def identity(session: Any, account_id: str) -> Check:
    """Whose the credentials are."""
    try:
        told = session.client("sts").get_caller_identity()
    except (botocore.exceptions.NoCredentialsError, botocore.exceptions.ProfileNotFound):
        return Check("credentials", "none", ASK)
    except botocore.exceptions.ClientError as error:
        return Check("credentials", error.response["Error"]["Code"], ASK)
    except botocore.parsers.ResponseParserError:
        return Check("credentials", "what answers is not AWS", "look at AWS_ENDPOINT_URL and your proxy")
    except botocore.exceptions.BotoCoreError as error:
        return Check("credentials", str(error), "AWS has to be reached from here")
    if told["Account"] != account_id:
        return Check("credentials", f"account {told['Account']}", f"use those of account {account_id} (AWS_PROFILE)")
    return Check("credentials", f"{told['Arn']}")


def cluster(plan: Plan) -> str:
    """The name of the plan's cluster."""
    (found,) = (one.inputs["name"] for one in plan.graph.resources if one.type == "aws:eks/cluster:Cluster")
    return str(found)


def zones(plan: Plan) -> set[str]:
    """The zones in which the plan has private subnets, by id."""
    subnets = [one for one in plan.graph.resources if one.type == "aws:ec2/subnet:Subnet"]
    return {one.inputs["availabilityZoneId"] for one in subnets if "availabilityZoneId" in one.inputs}


def quotas(session: Any, plan: Plan) -> Iterator[Check]:
    """The account's own quotas, as far as it may read them."""
    client = session.client("service-quotas")
    for need in plan.quotas:
        name = f"quota {need.code}"
        try:
            told = client.get_service_quota(ServiceCode=need.service, QuotaCode=need.code)["Quota"]["Value"]
        except client.exceptions.NoSuchResourceException:
            told = need.default  # never raised
        except botocore.exceptions.ClientError as error:
            yield Check(name, error.response["Error"]["Code"], "allow servicequotas:GetServiceQuota")
            continue
        found = f"{need.name}: {need.needed:g} of {told:g} {need.counts}"
        ask = f"ask AWS for {need.needed:g}: aws service-quotas request-service-quota-increase"
        words = f"{ask} --service-code {need.service} --quota-code {need.code} --desired-value {need.needed:g}"
        yield Check(name, found, "" if told >= need.needed else words)


def offerings(session: Any, stack: EnvironmentStack, wanted: set[str]) -> Iterator[Check]:
    """Whether the account's zones offer what the profiles want."""
    pages = session.client("ec2").get_paginator("describe_instance_type_offerings")
    for name, profile in stack.profiles.items():
        filters = [{"Name": "instance-type", "Values": list(profile.instance_types)}]
        offered: dict[str, set[str]] = {}
        for page in pages.paginate(LocationType="availability-zone-id", Filters=filters):
            for one in page["InstanceTypeOfferings"]:
                offered.setdefault(one["Location"], set()).add(one["InstanceType"])
        here = sorted(set(offered) & wanted) if wanted else sorted(offered)
        remedy = "" if here else f"choose zones that do: {', '.join(sorted(offered)) or 'none in this region'}"
        yield Check(f"profile {name}", f"offered in {', '.join(here) or 'none of the zones'}", remedy)


def zones_there(session: Any, settings: AwsEnvironment) -> set[str]:
    """The zones of an existing network's private subnets, by id; none where they can't be asked for."""
    if not isinstance(settings.network, ExistingNetwork):
        return set()
    try:
        told = session.client("ec2").describe_subnets(SubnetIds=list(settings.network.private_subnets))["Subnets"]
    except botocore.exceptions.ClientError:
        return set()
    return {one["AvailabilityZoneId"] for one in told}


def network(session: Any, settings: AwsEnvironment) -> Iterator[Check]:
    """An existing network: whether it is as a network of ours would be, as far as nodes depend on it."""
    if not isinstance(settings.network, ExistingNetwork):
        return
    wanted, ec2 = settings.network, session.client("ec2")
    ids = list(dict.fromkeys([*wanted.private_subnets, *wanted.public_subnets, *wanted.intra_subnets]))
    try:
        subnets = {one["SubnetId"]: one for one in ec2.describe_subnets(SubnetIds=ids)["Subnets"]}
        if strange := [one for one in ids if subnets[one]["VpcId"] != wanted.vpc]:
            yield Check("network", f"{', '.join(strange)} is not in {wanted.vpc}", "name subnets of that VPC")
            return
        yield from _in_two_zones(wanted, subnets)
        yield from _room_and_roles(wanted, subnets)
        yield _names(ec2, wanted.vpc)
        yield _way_out(ec2, wanted)
    except botocore.exceptions.ClientError as error:
        remedy = "name a VPC and subnets that are there, and allow ec2:Describe* for whoever asks"
        yield Check("network", error.response["Error"]["Message"], remedy)


def _in_two_zones(wanted: ExistingNetwork, subnets: Mapping[str, Any]) -> Iterator[Check]:
    for kind, ids in (("private", wanted.private_subnets), ("intra", wanted.intra_subnets)):
        if ids:
            found = {subnets[one]["AvailabilityZoneId"] for one in ids}
            remedy = "" if len(found) > 1 else f"EKS wants {kind} subnets in two zones"
            yield Check("network", f"{kind} subnets in {', '.join(sorted(found))}", remedy)


def _room_and_roles(wanted: ExistingNetwork, subnets: Mapping[str, Any]) -> Iterator[Check]:
    free = {one: subnets[one]["AvailableIpAddressCount"] for one in wanted.private_subnets}
    small = [one for one in free if free[one] < LEAST_ADDRESSES]
    remedy = f"each pod takes one: name subnets with {LEAST_ADDRESSES} or more, not {', '.join(small)}" if small else ""
    yield Check("network addresses", f"{min(free.values())} free at least", remedy)
    for key, tag in ROLES.items():
        ids = getattr(wanted, key)
        if untagged := [one for one in ids if {"Key": tag, "Value": "1"} not in subnets[one].get("Tags", [])]:
            yield Check(
                "network tags", f"{', '.join(untagged)} has no {tag}", f"set {tag}=1, or no load balancer is made"
            )
        elif ids:
            yield Check("network tags", f"{key.replace('_', ' ')} have {tag}")


def _names(ec2: Any, vpc: str) -> Check:
    off = [
        name
        for name in ("enableDnsSupport", "enableDnsHostnames")
        if not ec2.describe_vpc_attribute(VpcId=vpc, Attribute=name)[name[0].upper() + name[1:]]["Value"]
    ]
    return Check(
        "network names", "off" if off else "on", f"set {' and '.join(off)} on {vpc}: nodes join by name" if off else ""
    )


def _way_out(ec2: Any, wanted: ExistingNetwork) -> Check:
    """Nodes have no public address, so that an internet gateway leads them nowhere."""
    filters = [{"Name": "vpc-id", "Values": [wanted.vpc]}]
    tables = [
        table
        for page in ec2.get_paginator("describe_route_tables").paginate(Filters=filters)
        for table in page["RouteTables"]
    ]
    shut = [one for one in wanted.private_subnets if not _leads_out(_table_of(one, tables))]
    remedy = "give their route table 0.0.0.0/0 by a NAT gateway or a transit gateway: nodes fetch images and join"
    return Check(
        "network way out",
        f"none from {', '.join(shut)}" if shut else "from each private subnet",
        remedy if shut else "",
    )


def _table_of(subnet: str, tables: list[Any]) -> Any:
    """The route table that is associated with it, or else the VPC's main one."""
    joined = [(one, table) for table in tables for one in table["Associations"]]
    own = [table for one, table in joined if one.get("SubnetId") == subnet]
    return next(iter([*own, *(table for one, table in joined if one.get("Main"))]), {"Routes": []})


def _leads_out(table: Any) -> bool:
    return any(
        route.get("DestinationCidrBlock") == "0.0.0.0/0"
        and route.get("State") == "active"
        and not route.get("GatewayId", "").startswith("igw-")
        for route in table["Routes"]
    )


def cost_tags(session: Any) -> Check:
    """Whether costs are told apart by the tags that budgets and anomaly alarms go by."""
    told = "until the paying account activates them (Billing, Cost allocation tags) no alarm about costs is ever raised"
    try:
        found = session.client("ce").list_cost_allocation_tags(TagKeys=list(COST_TAGS), Type="UserDefined")
    except botocore.exceptions.ClientError as error:
        remedy = f"allow ce:ListCostAllocationTags, or ask the paying account for {' and '.join(COST_TAGS)}: {told}"
        return Check("cost tags", error.response["Error"]["Code"], remedy)
    active = {one["TagKey"] for one in found["CostAllocationTags"] if one["Status"] == "Active"}
    missing = [tag for tag in COST_TAGS if tag not in active]
    if not missing:
        return Check("cost tags", f"{' and '.join(COST_TAGS)} are active")
    here = "where it is this one, activate_cost_tags: true in its file does that, a day after the first costs"
    return Check("cost tags", f"{' and '.join(missing)} not active", f"{told}; {here}")


def reservations(session: Any, settings: AwsEnvironment) -> Iterator[Check]:
    """Whether each reservation is there, and large enough."""
    for name, capacity in settings.hardware.items():
        if capacity.reservation is None:
            continue
        ec2 = session.client("ec2")
        try:
            told = ec2.describe_capacity_reservations(Filters=_filters(capacity.reservation))["CapacityReservations"]
        except botocore.exceptions.ClientError as error:
            yield Check(
                f"reservation {name}", error.response["Error"]["Code"], "allow ec2:DescribeCapacityReservations"
            )
            continue
        count = sum(one["TotalInstanceCount"] for one in told)
        wanted = sum(most for rung, most in capacity.max.items() if rung == "reserved")
        remedy = "" if count >= wanted else f"reserve {wanted}, or lower hardware.{name}.max"
        yield Check(f"reservation {name}", f"{count} of {wanted} nodes", remedy)


def _filters(reservation: Reservation) -> list[dict[str, Any]]:
    state = {"Name": "state", "Values": ["active", "scheduled"]}
    if reservation.id:
        return [state, {"Name": "capacity-reservation-id", "Values": [reservation.id]}]
    return [state, *({"Name": f"tag:{key}", "Values": [value]} for key, value in reservation.tags.items())]


def api_server(session: Any, name: str, settings: AwsEnvironment) -> Iterator[Check]:
    """Whether the Kubernetes half of `up` can reach the API server from here, if there is one yet."""
    client = session.client("eks")
    try:
        endpoint = client.describe_cluster(name=name)["cluster"].get("endpoint", "")
    except client.exceptions.ResourceNotFoundException:
        where = "" if settings.cluster.public_access_from else "; it will be private: run `up` in the VPC"
        yield Check("API server", f"there is no cluster {name} yet{where}")
        return
    except botocore.exceptions.ClientError as error:
        yield Check("API server", error.response["Error"]["Code"], "allow eks:DescribeCluster")
        return
    yield reachable(endpoint, settings)


def reachable(endpoint: str, settings: AwsEnvironment) -> Check:
    """Whether a connection to the API server can be made within seconds."""
    address = urlsplit(endpoint)
    try:
        socket.create_connection((address.hostname or "", address.port or 443), timeout=SECONDS).close()
    except OSError as error:
        return Check("API server", f"{endpoint} can't be reached: {error}", _way_in(settings))
    return Check("API server", f"{endpoint} answers")


def _way_in(settings: AwsEnvironment) -> str:
    if settings.cluster.public_access_from:
        return f"come from {', '.join(settings.cluster.public_access_from)}, or from within the VPC"
    if settings.cluster.runner:
        return "it is private: run `up` on the environment's runner (aws ssm start-session)"
    return "it is private: run `up` in the VPC; `cluster: {runner: true}` makes a machine for that"
