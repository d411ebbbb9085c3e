"""What AWS would answer when a resource is made, as far as it follows from the resource's own inputs.

Identifiers that AWS draws by lot are the resource's name here, so that a plan reads well and is the same each time.
ARN formats: AWS Service Authorization Reference.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

ACCOUNT = "123456789012"  # AWS's own example, where no setting names the account
REGION = "us-east-1"


@dataclass(frozen=True)
class Place:
    """Where a resource is made."""

    partition: str
    region: str
    account: str

    def at(self, region: str) -> "Place":
        """The same account in another region."""
        partition = "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
        return replace(self, region=region, partition=partition)

    def arn(self, service: str, rest: str) -> str:
        """An ARN of this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{rest}"


@dataclass(frozen=True)
class Made:
    """What becomes known when a resource is made, beside its inputs."""

    id: str
    outputs: dict[str, Any]


def place(config: Mapping[str, str]) -> Place:
    """The default provider's place, from `aws:region` and `aws:allowedAccountIds`."""
    accounts = json.loads(config.get("aws:allowedAccountIds", "[]"))
    return Place("aws", "", accounts[0] if accounts else ACCOUNT).at(config.get("aws:region", REGION))


def place_of_provider(inputs: Mapping[str, Any], default: Place) -> Place:
    """An explicit provider's place. Providers send lists as JSON."""
    accounts = inputs.get("allowedAccountIds") or []
    accounts = json.loads(accounts) if isinstance(accounts, str) and accounts.startswith("[") else accounts
    found = replace(default, account=accounts[0]) if isinstance(accounts, list) and accounts else default
    region = inputs.get("region")
    return found.at(region) if isinstance(region, str) else found


def made(kind: str, name: str, inputs: Mapping[str, Any], where: Place) -> Made:
    """The id and the outputs of a resource of that type token and logical name."""
    if not kind.startswith("aws:"):
        return Made(name, {})
    _, module, title = kind.split(":")
    service = module.partition("/")[0]
    called = _called(inputs, name)
    arn = ARNS[kind](where, called) if kind in ARNS else where.arn(service, f"{_dashed(title)}/{called}")
    known: dict[str, Any] = {"arn": arn, "region": where.region, "ownerId": where.account}
    known["name"] = called
    known.update(MORE[kind](where, called, inputs) if kind in MORE else {})
    known = {key: value for key, value in known.items() if key not in inputs or key in REPLACED.get(kind, ())}
    known["tagsAll"] = inputs.get("tags", {})
    return Made(IDS[kind](arn, known, called) if kind in IDS else called, known)


def _called(inputs: Mapping[str, Any], name: str) -> str:
    return next((inputs[key] for key in NAMES if _readable(inputs.get(key))), name)


def _readable(value: Any) -> bool:
    return isinstance(value, str) and not value.startswith("[")


def _dashed(title: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in title).strip("-")


def _without_scheme(url: str) -> str:
    return url.removeprefix("https://")


def _cluster(where: Place, called: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    issuer = f"https://oidc.eks.{where.region}.amazonaws.com/id/{called}"
    return {
        "endpoint": f"https://{called}.eks.{where.region}.amazonaws.com",
        "certificateAuthority": {"data": "cGxhbg=="},
        "identities": [{"oidcs": [{"issuer": issuer}]}],
        "vpcConfig": {**inputs.get("vpcConfig", {}), "clusterSecurityGroupId": f"{called}-cluster", "vpcId": called},
        "clusterId": called,
        "platformVersion": "eks.1",
        "status": "ACTIVE",
    }


def _database(where: Place, called: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    address = f"{called}.{where.region}.rds.amazonaws.com"
    port = inputs.get("port") or (5432 if "postgres" in str(inputs.get("engine")) else 3306)
    secret = where.arn("secretsmanager", f"secret:rds!{called}")
    return {
        "identifier": called,
        "address": address,
        "port": port,
        "endpoint": f"{address}:{port}",
        "resourceId": f"db-{called}",
        "masterUserSecrets": [
            {"secretArn": secret, "secretStatus": "active", "kmsKeyId": inputs.get("masterUserSecretKmsKeyId", "")}
        ],
    }


ARNS: Mapping[str, Callable[[Place, str], str]] = {
    "aws:backup/plan:Plan": lambda p, n: p.arn("backup", f"backup-plan:{n}"),
    "aws:backup/vault:Vault": lambda p, n: p.arn("backup", f"backup-vault:{n}"),
    "aws:budgets/budget:Budget": lambda p, n: f"arn:{p.partition}:budgets::{p.account}:budget/{n}",
    "aws:cloudtrail/eventDataStore:EventDataStore": lambda p, n: p.arn("cloudtrail", f"eventdatastore/{n}"),
    "aws:cloudwatch/eventRule:EventRule": lambda p, n: p.arn("events", f"rule/{n}"),
    "aws:cloudwatch/logGroup:LogGroup": lambda p, n: p.arn("logs", f"log-group:{n}"),
    "aws:cloudwatch/metricAlarm:MetricAlarm": lambda p, n: p.arn("cloudwatch", f"alarm:{n}"),
    "aws:costexplorer/anomalyMonitor:AnomalyMonitor": lambda p, n: (
        f"arn:{p.partition}:ce::{p.account}:anomalymonitor/{n}"
    ),
    "aws:costexplorer/anomalySubscription:AnomalySubscription": lambda p, n: (
        f"arn:{p.partition}:ce::{p.account}:anomalysubscription/{n}"
    ),
    "aws:ec2/eip:Eip": lambda p, n: p.arn("ec2", f"elastic-ip/{n}"),
    "aws:ec2/flowLog:FlowLog": lambda p, n: p.arn("ec2", f"vpc-flow-log/{n}"),
    "aws:efs/fileSystem:FileSystem": lambda p, n: p.arn("elasticfilesystem", f"file-system/{n}"),
    "aws:fsx/lustreFileSystem:LustreFileSystem": lambda p, n: p.arn("fsx", f"file-system/{n}"),
    "aws:iam/instanceProfile:InstanceProfile": lambda p, n: f"arn:{p.partition}:iam::{p.account}:instance-profile/{n}",
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": lambda p, n: (
        f"arn:{p.partition}:iam::{p.account}:oidc-provider/{_without_scheme(n)}"
    ),
    "aws:iam/policy:Policy": lambda p, n: f"arn:{p.partition}:iam::{p.account}:policy/{n}",
    "aws:iam/role:Role": lambda p, n: f"arn:{p.partition}:iam::{p.account}:role/{n}",
    "aws:kms/alias:Alias": lambda p, n: p.arn("kms", n if n.startswith("alias/") else f"alias/{n}"),
    "aws:lambda/function:Function": lambda p, n: p.arn("lambda", f"function:{n}"),
    "aws:rds/instance:Instance": lambda p, n: p.arn("rds", f"db:{n}"),
    "aws:rds/parameterGroup:ParameterGroup": lambda p, n: p.arn("rds", f"pg:{n}"),
    "aws:rds/subnetGroup:SubnetGroup": lambda p, n: p.arn("rds", f"subgrp:{n}"),
    "aws:s3/bucket:Bucket": lambda p, n: f"arn:{p.partition}:s3:::{n}",
    "aws:secretsmanager/secret:Secret": lambda p, n: p.arn("secretsmanager", f"secret:{n}"),
    "aws:sns/topic:Topic": lambda p, n: p.arn("sns", n),
    **{
        f"aws:vpc/securityGroup{way}Rule:SecurityGroup{way}Rule": lambda p, n: p.arn("ec2", f"security-group-rule/{n}")
        for way in ("Ingress", "Egress")
    },
    "aws:sqs/queue:Queue": lambda p, n: p.arn("sqs", n),
    "aws:ssm/parameter:Parameter": lambda p, n: p.arn("ssm", f"parameter/{n.lstrip('/')}"),
}
"""By type; all other types have `arn:aws:SERVICE:REGION:ACCOUNT:TYPE/NAME`."""

MORE: Mapping[str, Callable[[Place, str, Mapping[str, Any]], dict[str, Any]]] = {
    "aws:ec2/eip:Eip": lambda _p, n, _i: {"allocationId": n, "publicIp": "192.0.2.1"},
    "aws:ec2/launchTemplate:LaunchTemplate": lambda _p, _n, _i: {"latestVersion": 1, "defaultVersion": 1},
    "aws:ec2/vpc:Vpc": lambda _p, n, _i: {
        "defaultSecurityGroupId": f"{n}-default",
        "defaultRouteTableId": f"{n}-default",
        "defaultNetworkAclId": f"{n}-default",
        "mainRouteTableId": f"{n}-default",
    },
    "aws:ec2/vpcEndpoint:VpcEndpoint": lambda _p, n, _i: {"prefixListId": f"{n}-prefixes"},
    "aws:ecr/repository:Repository": lambda p, n, _i: {
        "registryId": p.account,
        "repositoryUrl": f"{p.account}.dkr.ecr.{p.region}.amazonaws.com/{n}",
    },
    "aws:efs/fileSystem:FileSystem": lambda p, n, _i: {"dnsName": f"{n}.efs.{p.region}.amazonaws.com"},
    "aws:eks/cluster:Cluster": _cluster,
    "aws:fsx/lustreFileSystem:LustreFileSystem": lambda p, n, _i: {
        "dnsName": f"{n}.fsx.{p.region}.amazonaws.com",
        "mountName": "fsx",
    },
    "aws:guardduty/detector:Detector": lambda p, _n, _i: {"accountId": p.account},
    "aws:iam/instanceProfile:InstanceProfile": lambda _p, n, _i: {"uniqueId": n},
    "aws:iam/role:Role": lambda _p, n, _i: {"uniqueId": n},
    "aws:kms/key:Key": lambda _p, n, _i: {"keyId": n},
    "aws:rds/instance:Instance": _database,
    "aws:s3/bucket:Bucket": lambda p, n, _i: {
        "bucket": n,
        "bucketDomainName": f"{n}.s3.amazonaws.com",
        "bucketRegionalDomainName": f"{n}.s3.{p.region}.amazonaws.com",
    },
    "aws:sqs/queue:Queue": lambda p, n, _i: {"url": f"https://sqs.{p.region}.amazonaws.com/{p.account}/{n}"},
}

IDS: Mapping[str, Callable[[str, Mapping[str, Any], str], str]] = {
    "aws:costexplorer/anomalyMonitor:AnomalyMonitor": lambda arn, _k, _n: arn,
    "aws:costexplorer/anomalySubscription:AnomalySubscription": lambda arn, _k, _n: arn,
    "aws:cloudtrail/eventDataStore:EventDataStore": lambda arn, _k, _n: arn,
    "aws:cloudtrail/trail:Trail": lambda arn, _k, _n: arn,
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": lambda arn, _k, _n: arn,
    "aws:iam/policy:Policy": lambda arn, _k, _n: arn,
    "aws:secretsmanager/secret:Secret": lambda arn, _k, _n: arn,
    "aws:sns/topic:Topic": lambda arn, _k, _n: arn,
    "aws:sqs/queue:Queue": lambda _a, known, _n: known["url"],
}
"""Where the id is not the name."""

NAMES = ("name", "bucket", "identifier", "url")
REPLACED: Mapping[str, tuple[str, ...]] = {"aws:eks/cluster:Cluster": ("vpcConfig",)}
