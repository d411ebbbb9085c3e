"""What is really there of a resource whose creation was interrupted: by its name, or by the tag that it was given.

How each type is named for an import is from the section "Import" of its class in pulumi-aws 7.51.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import boto3
import botocore.exceptions

from infra.aws.tags import MARK
from infra.settings.account import AccountSettings
from modelyard.errors import FailedError, RefusedError

Resource = Mapping[str, Any]
"""An entry of a checkpoint."""

NAMED = {
    "aws:accessanalyzer/analyzer:Analyzer": "{analyzerName}",
    "aws:autoscaling/group:Group": "{name}",
    "aws:backup/vault:Vault": "{name}",
    "aws:backup/vaultLockConfiguration:VaultLockConfiguration": "{backupVaultName}",
    "aws:budgets/budget:Budget": "{account}:{name}",
    "aws:cloudtrail/trail:Trail": "arn:aws:cloudtrail:{region}:{account}:trail/{name}",
    "aws:cloudwatch/eventRule:EventRule": "{name}",
    "aws:cloudwatch/eventTarget:EventTarget": "{rule}/{targetId}",
    "aws:cloudwatch/logGroup:LogGroup": "{name}",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "{name}",
    "aws:ebs/encryptionByDefault:EncryptionByDefault": "default",
    "aws:ebs/snapshotBlockPublicAccess:SnapshotBlockPublicAccess": "default",
    "aws:ec2/placementGroup:PlacementGroup": "{name}",
    "aws:ec2/route:Route": "{routeTableId}_{destinationCidrBlock|destinationIpv6CidrBlock|destinationPrefixListId}",
    "aws:ec2/routeTableAssociation:RouteTableAssociation": "{subnetId|gatewayId}/{routeTableId}",
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": "{repository}",
    "aws:ecr/pullThroughCacheRule:PullThroughCacheRule": "{ecrRepositoryPrefix}",
    "aws:ecr/registryPolicy:RegistryPolicy": "{account}",
    "aws:ecr/registryScanningConfiguration:RegistryScanningConfiguration": "{account}",
    "aws:ecr/repository:Repository": "{name}",
    "aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate": "{prefix}",
    "aws:ecr/repositoryPolicy:RepositoryPolicy": "{repository}",
    "aws:efs/backupPolicy:BackupPolicy": "{fileSystemId}",
    "aws:efs/fileSystemPolicy:FileSystemPolicy": "{fileSystemId}",
    "aws:eks/accessEntry:AccessEntry": "{clusterName}:{principalArn}",
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": "{clusterName}#{principalArn}#{policyArn}",
    "aws:eks/addon:Addon": "{clusterName}:{addonName}",
    "aws:eks/cluster:Cluster": "{name}",
    "aws:iam/instanceProfile:InstanceProfile": "{name}",
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": "arn:aws:iam::{account}:oidc-provider/{url}",
    "aws:iam/policy:Policy": "arn:aws:iam::{account}:policy/{name}",
    "aws:iam/role:Role": "{name}",
    "aws:iam/rolePolicy:RolePolicy": "{role}:{name}",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "{role}/{policyArn}",
    "aws:kms/alias:Alias": "{name}",
    "aws:rds/instance:Instance": "{identifier}",
    "aws:rds/parameterGroup:ParameterGroup": "{name}",
    "aws:rds/subnetGroup:SubnetGroup": "{name}",
    "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock": "{account}",
    "aws:s3/bucket:Bucket": "{bucket}",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": "{bucket}",
    "aws:s3/bucketLogging:BucketLogging": "{bucket}",
    "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration": "{bucket}",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": "{bucket}",
    "aws:s3/bucketPolicy:BucketPolicy": "{bucket}",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": "{bucket}",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": "{bucket}",
    "aws:s3/bucketVersioning:BucketVersioning": "{bucket}",
    "aws:sns/topic:Topic": "arn:aws:sns:{region}:{account}:{name}",
    "aws:sns/topicPolicy:TopicPolicy": "{arn}",
    "aws:sqs/queuePolicy:QueuePolicy": "{queueUrl}",
}
"""What has a name of ours: the id that it is imported by, from its inputs."""

EC2 = {
    "aws:ec2/eip:Eip": "eipalloc-",
    "aws:ec2/flowLog:FlowLog": "fl-",
    "aws:ec2/internetGateway:InternetGateway": "igw-",
    "aws:ec2/launchTemplate:LaunchTemplate": "lt-",
    "aws:ec2/natGateway:NatGateway": "nat-",
    "aws:ec2/routeTable:RouteTable": "rtb-",
    "aws:ec2/securityGroup:SecurityGroup": "sg-",
    "aws:ec2/subnet:Subnet": "subnet-",
    "aws:ec2/vpc:Vpc": "vpc-",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "vpce-",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "sgr-",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "sgr-",
}
"""What AWS names itself and EC2 finds by tag: how those names begin."""

TAGGED = {
    "aws:backup/plan:Plan": (r"^arn:aws:backup:[^:]+:\d+:backup-plan:([^:]+)$", r"\1"),
    "aws:costexplorer/anomalyMonitor:AnomalyMonitor": (r"^(arn:aws:ce::\d+:anomalymonitor/.+)$", r"\1"),
    "aws:costexplorer/anomalySubscription:AnomalySubscription": (r"^(arn:aws:ce::\d+:anomalysubscription/.+)$", r"\1"),
    "aws:efs/fileSystem:FileSystem": (r"^arn:aws:elasticfilesystem:[^:]+:\d+:file-system/(.+)$", r"\1"),
    "aws:eks/nodeGroup:NodeGroup": (r"^arn:aws:eks:[^:]+:\d+:nodegroup/([^/]+)/([^/]+)/.+$", r"\1:\2"),
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": (
        r"^arn:aws:eks:[^:]+:\d+:podidentityassociation/([^/]+)/(.+)$",
        r"\1,\2",
    ),
    "aws:fsx/dataRepositoryAssociation:DataRepositoryAssociation": (
        r"^arn:aws:fsx:[^:]+:\d+:association/(?:.+/)?(dra-.+)$",
        r"\1",
    ),
    "aws:fsx/lustreFileSystem:LustreFileSystem": (r"^arn:aws:fsx:[^:]+:\d+:file-system/(.+)$", r"\1"),
    "aws:guardduty/detector:Detector": (r"^arn:aws:guardduty:[^:]+:\d+:detector/(.+)$", r"\1"),
    "aws:kms/key:Key": (r"^arn:aws:kms:[^:]+:\d+:key/(.+)$", r"\1"),
}
"""What AWS names itself and the Tagging API finds: its ARN, and the id in it."""

REPEATABLE = {
    "aws:ec2/defaultNetworkAcl:DefaultNetworkAcl",
    "aws:ec2/defaultRouteTable:DefaultRouteTable",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    "aws:ec2/imageBlockPublicAccess:ImageBlockPublicAccess",
    "aws:ec2/instanceMetadataDefaults:InstanceMetadataDefaults",
    "aws:guardduty/detectorFeature:DetectorFeature",
}
"""What is there anyway and is only set: to make it a second time makes nothing twice."""


class Finder:
    """Looks in an account, and at names for what is in Kubernetes."""

    def __init__(self, stack: str, account: AccountSettings | None) -> None:
        self._stack = stack
        self._account = account

    def find(self, resource: Resource) -> list[str]:
        """The ids that what was being made may have; the provider knows which of them are there."""
        kind = str(resource["type"])
        if not resource.get("custom") or kind.startswith("pulumi:"):
            return []
        if kind.startswith("kubernetes:"):
            return list(_in_kubernetes(resource.get("inputs") or {}))
        if self._account is None:
            return []
        try:
            return list(self._on_aws(kind, resource.get("inputs") or {}, resource["urn"].rpartition("::")[2]))
        except (botocore.exceptions.NoCredentialsError, botocore.exceptions.ProfileNotFound) as error:
            raise RefusedError("there are no AWS credentials; sign in (`aws sso login`) or set AWS_PROFILE") from error
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise FailedError(f"AWS can't say what the interruption left: {error}") from error

    def ours(self, found: Resource, made: Resource) -> bool:
        """Whether what was found bears the tag that it was being made with, if it can have one."""
        wanted = ((made.get("inputs") or {}).get("tags") or {}).get(MARK)
        return wanted is None or (_tags(found).get(MARK) == wanted)

    def doubt(self, resource: Resource) -> str:
        """What has to be said of a resource that can't be looked up, else ""."""
        kind = str(resource["type"])
        known = kind in NAMED or kind in EC2 or kind in TAGGED or kind in LISTED or kind in REPEATABLE
        if known or not resource.get("custom") or kind.startswith(("kubernetes:", "pulumi:")):
            return ""
        return "; nobody knows how to look such a one up, so see that it is not there before the next `up`"

    def _on_aws(self, kind: str, inputs: Mapping[str, Any], name: str) -> Iterator[str]:
        assert self._account is not None  # noqa: S101 find() asked
        session = boto3.Session(region_name=self._account.region)
        if kind in NAMED:
            facts = {**inputs, "account": self._account.account_id, "region": self._account.region}
            if isinstance(url := facts.get("url"), str):
                facts["url"] = url.removeprefix("https://")
            if identity := _filled(NAMED[kind], facts):
                yield identity
        elif kind in EC2:
            asked = [{"Name": f"tag:{MARK}", "Values": [f"{self._stack}/{name}"]}]
            for page in session.client("ec2").get_paginator("describe_tags").paginate(Filters=asked):
                ids = (tag["ResourceId"] for tag in page["Tags"])
                yield from (identity for identity in ids if identity.startswith(EC2[kind]))
        elif kind in TAGGED:
            pattern, template = TAGGED[kind]
            pages = session.client("resourcegroupstaggingapi").get_paginator("get_resources")
            for page in pages.paginate(TagFilters=[{"Key": MARK, "Values": [f"{self._stack}/{name}"]}]):
                arns = (found["ResourceARN"] for found in page["ResourceTagMappingList"])
                yield from (match.expand(template) for arn in arns if (match := re.match(pattern, arn)))
        elif kind in LISTED:
            yield from LISTED[kind](session, inputs)


def _selections(session: Any, inputs: Mapping[str, Any]) -> Iterator[str]:
    plan = inputs["planId"]
    pages = session.client("backup").get_paginator("list_backup_selections").paginate(BackupPlanId=plan)
    for one in (one for page in pages for one in page["BackupSelectionsList"]):
        if one["SelectionName"] == inputs["name"]:
            yield f"{plan}|{one['SelectionId']}"


def _mount_targets(session: Any, inputs: Mapping[str, Any]) -> Iterator[str]:
    pages = session.client("efs").get_paginator("describe_mount_targets").paginate(FileSystemId=inputs["fileSystemId"])
    for one in (one for page in pages for one in page["MountTargets"]):
        if one["SubnetId"] == inputs["subnetId"]:
            yield str(one["MountTargetId"])


def _subscriptions(session: Any, inputs: Mapping[str, Any]) -> Iterator[str]:
    pages = session.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=inputs["topic"])
    for one in (one for page in pages for one in page["Subscriptions"]):
        if (one["Protocol"], one["Endpoint"]) == (inputs["protocol"], inputs["endpoint"]):
            yield from [one["SubscriptionArn"]] if one["SubscriptionArn"].startswith("arn:") else []


def _queues(session: Any, inputs: Mapping[str, Any]) -> Iterator[str]:
    sqs = session.client("sqs")
    try:
        yield str(sqs.get_queue_url(QueueName=inputs["name"])["QueueUrl"])
    except sqs.exceptions.QueueDoesNotExist:
        return


LISTED: dict[str, Callable[[Any, Mapping[str, Any]], Iterator[str]]] = {
    "aws:backup/selection:Selection": _selections,
    "aws:efs/mountTarget:MountTarget": _mount_targets,
    "aws:sns/topicSubscription:TopicSubscription": _subscriptions,
    "aws:sqs/queue:Queue": _queues,
}
"""What AWS names itself and only a call of its service finds."""


def _in_kubernetes(inputs: Mapping[str, Any]) -> Iterator[str]:
    about = inputs.get("metadata") or {}
    name, namespace = about.get("name") or inputs.get("name"), about.get("namespace") or inputs.get("namespace")
    if name:
        yield f"{namespace}/{name}" if namespace else str(name)


def _filled(template: str, facts: Mapping[str, Any]) -> str:
    """A template with its facts, "" if one is missing; `{one|other}` takes the first that there is."""
    missing = []

    def fill(place: re.Match[str]) -> str:
        found = next((facts[name] for name in place[1].split("|") if isinstance(facts.get(name), str)), "")
        missing.extend([] if found else [place[1]])
        return str(found)

    text = re.sub(r"\{([^}]+)\}", fill, template)
    return "" if missing else text


def _tags(resource: Resource) -> Mapping[str, Any]:
    outputs = resource.get("outputs") or {}
    return {**(outputs.get("tagsAll") or {}), **(outputs.get("tags") or {})}
