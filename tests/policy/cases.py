"""For each control: resources that satisfy it, and ways to spoil them."""

import copy
import dataclasses
import json

from tests.policy.conftest import resource

ROLE_URN = "urn:pulumi:dev::modelyard::aws:eks/accessEntry:AccessEntry::somebody-else"
KEY = "arn:aws:kms:us-east-1:123456789012:key/k"


def spoil(name, path="", value=None, **options):
    """Change one input of one resource, given by name; without a path the resource goes, without a value the input."""

    def change(resources):
        return [made for one in resources for made in (_changed(one) if one.name == name else [one])]

    def _changed(one):
        if options:
            return [dataclasses.replace(one, **options)]
        if not path:
            return []
        inputs = copy.deepcopy(one.inputs)
        *way, last = (int(part) if part.isdecimal() else part for part in path.split("/"))
        at = inputs
        for key in way:
            at = at[key]
        if value is None:
            del at[last]
        else:
            at[last] = value
        return [dataclasses.replace(one, inputs=inputs)]

    return change


def document(**statement):
    """An IAM document of one statement, which allows unless it says otherwise."""
    return json.dumps({"Statement": [{"Effect": "Allow", "Sid": "One", **statement}]})


def environment(security="standard", lifetime="throwaway"):
    return resource("modelyard:index:Environment", "dev", {"security": security, "lifetime": lifetime})


def of_bucket(kind, name, inputs):
    return resource(f"aws:s3/{kind[0].lower()}{kind[1:]}:{kind}", name, inputs, uses={"bucket": [DATA]})


CLUSTER = resource(
    "aws:eks/cluster:Cluster",
    "cluster",
    {
        "name": "dev",
        "version": "1.35",
        "upgradePolicy": {"supportType": "STANDARD"},
        "vpcConfig": {
            "endpointPrivateAccess": True,
            "endpointPublicAccess": True,
            "publicAccessCidrs": ["203.0.113.0/24"],
        },
        "encryptionConfig": {"provider": {"keyArn": KEY}, "resources": ["secrets"]},
        "enabledClusterLogTypes": ["api", "audit", "authenticator", "controllerManager", "scheduler"],
        "accessConfig": {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False},
        "deletionProtection": True,
    },
    protect=True,
)
PRIVATE_CLUSTER = dataclasses.replace(
    CLUSTER,
    inputs=CLUSTER.inputs | {"vpcConfig": {"endpointPrivateAccess": True, "endpointPublicAccess": False}},
)
LOG_GROUP = resource(
    "aws:cloudwatch/logGroup:LogGroup",
    "logs",
    {"name": "/aws/eks/dev/cluster", "retentionInDays": 365, "kmsKeyId": KEY},
)
CNI = resource(
    "aws:eks/addon:Addon",
    "vpc-cni",
    {
        "addonName": "vpc-cni",
        "addonVersion": "v1.21.1-eksbuild.1",
        "configurationValues": json.dumps({"enableNetworkPolicy": "true"}),
    },
    uses={"clusterName": [CLUSTER]},
)
ENTRY = resource("aws:eks/accessEntry:AccessEntry", "admins", {"type": "STANDARD"}, uses={"clusterName": [CLUSTER]})
ADMINISTERS = resource(
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
    "admins-policy",
    {"policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"},
    uses={"clusterName": [CLUSTER], "principalArn": [ENTRY]},
)

VPC = resource("aws:ec2/vpc:Vpc", "vpc")
FLOW_LOG = resource("aws:ec2/flowLog:FlowLog", "flow-log", {"trafficType": "ALL"}, uses={"vpcId": [VPC]})
DEFAULT_GROUP = resource("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", "default", uses={"vpcId": [VPC]})
GROUP = resource(
    "aws:ec2/securityGroup:SecurityGroup", "group", {"ingress": [{"cidrBlocks": ["10.0.0.0/8"], "fromPort": 443}]}
)
GROUP_RULE = resource(
    "aws:ec2/securityGroupRule:SecurityGroupRule", "old-rule", {"type": "ingress", "cidrBlocks": ["10.0.0.0/8"]}
)
RULE = resource("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "rule", {"cidrIpv4": "10.0.0.0/8"})

SUBNET = resource("aws:ec2/subnet:Subnet", "intra", uses={"vpcId": [VPC]})
STANDS = dataclasses.replace(CLUSTER, property_dependencies={"vpcConfig": (SUBNET.urn,)})

GATEWAY = resource("aws:ec2/internetGateway:InternetGateway", "gateway")
PRIVATE = resource("aws:ec2/subnet:Subnet", "private", {"tags": {"karpenter.sh/discovery": "dev"}})
PUBLIC = resource("aws:ec2/subnet:Subnet", "public", {"tags": {}})
TABLE = resource("aws:ec2/routeTable:RouteTable", "table")
ROUTE = resource("aws:ec2/route:Route", "route", uses={"routeTableId": [TABLE], "gatewayId": [GATEWAY]})
ASSOCIATION = resource(
    "aws:ec2/routeTableAssociation:RouteTableAssociation",
    "association",
    uses={"routeTableId": [ROUTE], "subnetId": [PUBLIC]},
)
TEMPLATE = resource(
    "aws:ec2/launchTemplate:LaunchTemplate",
    "template",
    {
        "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
        "blockDeviceMappings": [{"ebs": {"encrypted": "true", "kmsKeyId": KEY}}],
        "networkInterfaces": [{"associatePublicIpAddress": "false"}],
    },
)
INSTANCE = resource(
    "aws:ec2/instance:Instance",
    "runner",
    {
        "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
        "rootBlockDevice": {"encrypted": True},
        "associatePublicIpAddress": False,
    },
    uses={"subnetId": [PRIVATE]},
)
ROLE = resource(
    "aws:iam/role:Role",
    "role",
    {
        "assumeRolePolicy": document(Principal={"Service": "ec2.amazonaws.com"}, Action="sts:AssumeRole"),
        "inlinePolicies": [],
    },
)
ATTACHMENT = resource(
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    "attachment",
    {"policyArn": "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy"},
    uses={"role": [ROLE]},
)
INLINE = resource("aws:iam/rolePolicy:RolePolicy", "inline", {"policy": "{}"}, uses={"role": [ROLE]})
NODES = resource(
    "aws:eks/nodeGroup:NodeGroup",
    "nodes",
    {
        "instanceTypes": ["g5.xlarge"],
        "taints": [{"key": "nvidia.com/gpu", "effect": "NO_SCHEDULE"}],
        "launchTemplate": {"version": "1"},
    },
    uses={"nodeRoleArn": [ROLE], "subnetIds": [PRIVATE]},
)
MACHINES = resource("aws:autoscaling/group:Group", "machines", uses={"vpcZoneIdentifiers": [PRIVATE]})
NETWORK = [GATEWAY, PRIVATE, PUBLIC, TABLE, ROUTE, ASSOCIATION, TEMPLATE, INSTANCE, MACHINES, NODES]

QUEUE = resource("aws:sqs/queue:Queue", "queue", {"sqsManagedSseEnabled": True})
QUEUE_POLICY = resource(
    "aws:sqs/queuePolicy:QueuePolicy",
    "queue-policy",
    {"policy": document(Principal={"Service": ["events.amazonaws.com"]}, Action=["sqs:SendMessage"])},
    uses={"queueUrl": [QUEUE]},
)
EC2_RULE = resource(
    "aws:cloudwatch/eventRule:EventRule",
    "ec2",
    {
        "eventPattern": json.dumps(
            {
                "source": ["aws.ec2"],
                "detail-type": [
                    "EC2 Spot Instance Interruption Warning",
                    "EC2 Instance Rebalance Recommendation",
                    "EC2 Instance State-change Notification",
                    "EC2 Capacity Reservation Instance Interruption Warning",
                ],
            }
        )
    },
)
HEALTH_RULE = resource(
    "aws:cloudwatch/eventRule:EventRule", "health", {"eventPattern": '{"detail-type": ["AWS Health Event"]}'}
)
TARGETS = [
    resource("aws:cloudwatch/eventTarget:EventTarget", f"{rule.name}-target", uses={"rule": [rule], "arn": [QUEUE]})
    for rule in (EC2_RULE, HEALTH_RULE)
]
ALARM = resource(
    "aws:cloudwatch/metricAlarm:MetricAlarm",
    "alarm",
    {"metricName": "ApproximateAgeOfOldestMessage", "alarmActions": ["arn:aws:sns:us-east-1:123456789012:alerts"]},
    uses={"dimensions": [QUEUE]},
)
INTERRUPTION = [NODES, QUEUE, QUEUE_POLICY, EC2_RULE, HEALTH_RULE, *TARGETS]

GRANT = resource(
    "aws:iam/policy:Policy",
    "grant",
    {"policy": document(Action=["s3:PutObject"], Resource=["arn:aws:s3:::data/*"])},
)
ROLE_GRANT = dataclasses.replace(
    ROLE,
    name="granted",
    inputs={"inlinePolicies": [{"policy": document(Action="ec2:DescribeInstances", Resource="*")}]},
)

IMAGES = resource(
    "aws:ecr/registryPolicy:RegistryPolicy",
    "images",
    {
        "policy": document(
            Principal={"AWS": "*"},
            Action="ecr:CreateRepository",
            Resource="*",
            Condition={"StringEquals": {"aws:PrincipalAccount": "123456789012"}},
        )
    },
)
EMPTY_WORDS = (
    {"Bool": {"aws:SecureTransport": "true"}},
    {"StringLike": {"aws:PrincipalArn": "*", "aws:ResourceTag/a": "*"}},
    {"StringNotEquals": {"aws:PrincipalAccount": "999999999999", "aws:ResourceTag/a": "b"}},
    {"StringEqualsIfExists": {"aws:PrincipalAccount": "123456789012", "aws:ResourceTag/a": "b"}},
    {"StringEquals": {"aws:RequestedRegion": "us-east-1"}},
)
"""Conditions that nearly everybody meets, for nearly everything."""

BOUNDARY = resource("aws:iam/policy:Policy", "boundary", {"name": "modelyard-dev-team-boundary"})
TEAM_ROLE = resource(
    "aws:iam/role:Role",
    "vision",
    {"name": "modelyard-dev-team-vision", "permissionsBoundary": "arn:aws:iam::123456789012:policy/boundary"},
)

DATA = resource("aws:s3/bucket:Bucket", "storage-models-bucket", {"tags": {"data-class": "confidential"}}, protect=True)
LOGS = resource("aws:s3/bucket:Bucket", "storage-logs-bucket", {"tags": {"data-class": "internal"}}, protect=True)
AUDIT = resource("aws:s3/bucket:Bucket", "storage-audit-bucket", {"tags": {"data-class": "internal"}}, protect=True)
BLOCKED = {
    "blockPublicAcls": True,
    "blockPublicPolicy": True,
    "ignorePublicAcls": True,
    "restrictPublicBuckets": True,
}
BLOCK = of_bucket("BucketPublicAccessBlock", "block", BLOCKED)
ACCOUNT = resource("modelyard:index:Account", "account")
ACCOUNT_BLOCK = resource("aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock", "account-block", BLOCKED)
TLS = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": ["s3:*"],
    "Resource": ["arn:aws:s3:::data", "arn:aws:s3:::data/*"],
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}
POLICY = of_bucket("BucketPolicy", "policy", {"policy": document(**TLS)})
VERSIONING = of_bucket("BucketVersioning", "versioning", {"versioningConfiguration": {"status": "Enabled"}})
LIFECYCLE = of_bucket(
    "BucketLifecycleConfiguration",
    "lifecycle",
    {
        "rules": [
            {
                "status": "Enabled",
                "noncurrentVersionExpiration": {"noncurrentDays": 90},
                "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7},
            }
        ]
    },
)
ENCRYPTION = of_bucket(
    "BucketServerSideEncryptionConfiguration",
    "encryption",
    {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": KEY}}]},
)
LOGS_POLICY = resource("aws:s3/bucketPolicy:BucketPolicy", "logs-policy", uses={"bucket": [LOGS]})
LOGGING = resource(
    "aws:s3/bucketLogging:BucketLogging", "logging", uses={"bucket": [DATA], "targetBucket": [LOGS_POLICY]}
)
LOCK = resource(
    "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration",
    "lock",
    {"rule": {"defaultRetention": {"mode": "COMPLIANCE", "days": 365}}},
    uses={"bucket": [AUDIT]},
)
STAY = {
    "Effect": "Deny",
    "Action": ["s3:DeleteObjectVersion", "s3:PutObject"],
    "Principal": "*",
    "Resource": "arn:aws:s3:::models/approved/*",
}
STAYS = of_bucket("BucketPolicy", "stays", {"policy": document(**STAY)})
TAKES_LOGS = resource(
    "aws:s3/bucketLogging:BucketLogging", "others-logging", uses={"bucket": [LOGS], "targetBucket": [DATA]}
)
DATABASE = resource(
    "aws:rds/instance:Instance",
    "database",
    {
        "manageMasterUserPassword": True,
        "storageEncrypted": True,
        "kmsKeyId": KEY,
        "publiclyAccessible": False,
        "backupRetentionPeriod": 7,
        "deletionProtection": True,
        "skipFinalSnapshot": False,
        "tags": {"data-class": "confidential"},
    },
    protect=True,
)
EFS = resource(
    "aws:efs/fileSystem:FileSystem",
    "files",
    {"encrypted": True, "kmsKeyId": KEY, "tags": {"data-class": "internal"}},
    protect=True,
)
LUSTRE = resource(
    "aws:fsx/lustreFileSystem:LustreFileSystem",
    "lustre",
    {"kmsKeyId": KEY, "tags": {"data-class": "internal"}},
    protect=True,
)
JOINED = resource(
    "aws:fsx/dataRepositoryAssociation:DataRepositoryAssociation", "joined", uses={"fileSystemId": [LUSTRE]}
)
SELECTION = resource(
    "aws:backup/selection:Selection", "selection", {"resources": ["a", "b"]}, uses={"resources": [DATABASE, EFS]}
)
BY_TAG = resource(
    "aws:backup/selection:Selection", "by-tag", {"selectionTags": [{"key": "data-class", "value": "confidential"}]}
)
TOPIC = resource("aws:sns/topic:Topic", "topic", {"kmsMasterKeyId": KEY})
KMS_KEY = resource(
    "aws:kms/key:Key",
    "key",
    {
        "enableKeyRotation": True,
        "policy": document(Principal={"AWS": "arn:aws:iam::123456789012:root"}, Action="kms:*", Resource="*"),
    },
    protect=True,
)
TRAIL = resource(
    "aws:cloudtrail/trail:Trail",
    "trail",
    {"enableLogFileValidation": True, "kmsKeyId": KEY, "advancedEventSelectors": [{"fieldSelectors": []}]},
)
REPOSITORY = resource(
    "aws:ecr/repository:Repository",
    "steps",
    {
        "imageTagMutability": "IMMUTABLE",
        "imageScanningConfiguration": {"scanOnPush": True},
        "encryptionConfigurations": [{"encryptionType": "KMS", "kmsKey": KEY}],
    },
)
EXPIRY = resource("aws:ecr/lifecyclePolicy:LifecyclePolicy", "expiry", uses={"repository": [REPOSITORY]})
BUDGET = resource(
    "aws:budgets/budget:Budget",
    "budget",
    {
        "notifications": [
            {"notificationType": "ACTUAL", "subscriberEmailAddresses": ["a@example.com"]},
            {"notificationType": "FORECASTED", "subscriberSnsTopicArns": ["arn:aws:sns:us-east-1:123456789012:t"]},
        ]
    },
)
ANOMALIES = resource(
    "aws:costexplorer/anomalySubscription:AnomalySubscription",
    "anomalies",
    {"monitorArnLists": ["arn"], "subscribers": [{"type": "EMAIL", "address": "a@example.com"}]},
)
PROVIDER = resource(
    "pulumi:providers:aws",
    "aws",
    {"defaultTags": json.dumps({"tags": {"owner": "a@example.com", "cost-center": "ml", "environment": "dev"}})},
)
DURABLE = environment(lifetime="durable")
KEPT = [DURABLE, CLUSTER, DATA, AUDIT, DATABASE, EFS, LUSTRE, KMS_KEY]

CASES = {
    "eks-private-endpoint": (
        [CLUSTER],
        spoil("cluster", "vpcConfig/endpointPrivateAccess", False),
        spoil("cluster", "vpcConfig/publicAccessCidrs", ["0.0.0.0/0"]),
        spoil("cluster", "vpcConfig/publicAccessCidrs", ["203.0.113.0/24", "0.0.0.0/1"]),
        spoil("cluster", "vpcConfig/publicAccessCidrs"),
    ),
    "eks-hardened-endpoint": (
        [environment(security="hardened"), PRIVATE_CLUSTER],
        spoil("cluster", "vpcConfig", CLUSTER.inputs["vpcConfig"]),
        spoil("cluster", "vpcConfig/endpointPublicAccess"),
    ),
    "eks-secrets-encryption": (
        [CLUSTER],
        spoil("cluster", "encryptionConfig"),
        spoil("cluster", "encryptionConfig/resources", []),
    ),
    "eks-control-plane-logs": (
        [CLUSTER],
        spoil("cluster", "enabledClusterLogTypes/1"),
        spoil("cluster", "enabledClusterLogTypes"),
    ),
    "eks-log-group": ([CLUSTER, LOG_GROUP], spoil("logs"), spoil("logs", "name", "/aws/eks/other/cluster")),
    "eks-supported-version": (
        [CLUSTER],
        spoil("cluster", "version", "1.29"),
        spoil("cluster", "version"),
        spoil("cluster", "upgradePolicy"),
    ),
    "eks-addon-version": ([CNI], spoil("vpc-cni", "addonVersion")),
    "eks-access-entries": (
        [CLUSTER],
        spoil("cluster", "accessConfig"),
        spoil("cluster", "accessConfig/authenticationMode", "API_AND_CONFIG_MAP"),
        spoil("cluster", "accessConfig/bootstrapClusterCreatorAdminPermissions", True),
    ),
    "eks-admins-listed": (
        [CLUSTER, ENTRY, ADMINISTERS],
        spoil("admins"),
        spoil("admins", "type", "EC2_LINUX"),
        spoil("admins-policy"),
        spoil("admins-policy", "policyArn", "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"),
        spoil("admins-policy", property_dependencies={"clusterName": (CLUSTER.urn,), "principalArn": (ROLE_URN,)}),
    ),
    "eks-network-policy": (
        [CLUSTER, CNI],
        spoil("vpc-cni"),
        spoil("vpc-cni", "configurationValues"),
        spoil("vpc-cni", "configurationValues", '{"enableNetworkPolicy": "false"}'),
    ),
    "nodes-private-subnets": (
        NETWORK,
        spoil("nodes", property_dependencies={"subnetIds": (ASSOCIATION.urn,)}),
        spoil("runner", property_dependencies={"subnetId": (PUBLIC.urn,)}),
        spoil("machines", property_dependencies={"vpcZoneIdentifiers": (PUBLIC.urn,)}),
        spoil("public", "tags", {"karpenter.sh/discovery": "dev"}),
        spoil("private", "mapPublicIpOnLaunch", True),
        spoil("template", "networkInterfaces/0/associatePublicIpAddress", "true"),
        spoil("runner", "associatePublicIpAddress", True),
    ),
    "imdsv2-required": (
        [TEMPLATE, INSTANCE, NODES],
        spoil("template", "metadataOptions/httpTokens", "optional"),
        spoil("template", "metadataOptions/httpPutResponseHopLimit", 2),
        spoil("runner", "metadataOptions"),
        spoil("nodes", "launchTemplate"),
    ),
    "node-role-minimal": (
        [NODES, ROLE, ATTACHMENT],
        spoil("attachment", "policyArn", "arn:aws:iam::aws:policy/AmazonS3FullAccess"),
        spoil("role", "managedPolicyArns", ["arn:aws:iam::aws:policy/AdministratorAccess"]),
        spoil("role", "inlinePolicies", [{"policy": "{}"}]),
        lambda resources: [*resources, INLINE],
    ),
    "gpu-nodes-tainted": ([NODES], spoil("nodes", "taints"), spoil("nodes", "taints/0/key", "dedicated")),
    "interruption-queue-wired": (
        INTERRUPTION,
        spoil("ec2"),
        spoil("health-target"),
        spoil("queue-policy"),
        spoil("queue-policy", "policy", document(Principal={"Service": "sns.amazonaws.com"}, Action="sqs:SendMessage")),
        spoil("queue"),
        spoil("ec2", "eventPattern", '{"detail-type": ["EC2 Spot Instance Interruption Warning"]}'),
    ),
    "interruption-queue-alarm": (
        [*INTERRUPTION, ALARM],
        spoil("alarm"),
        spoil("alarm", "alarmActions", []),
        spoil("alarm", "alarmActions"),
        spoil("alarm", "actionsEnabled", False),
        spoil("alarm", "metricName", "NumberOfMessagesSent"),
    ),
    "network-checked": (
        [STANDS, VPC, SUBNET],
        spoil("vpc"),
        spoil("intra"),
        spoil("cluster", property_dependencies={}),
    ),
    "vpc-flow-logs": ([VPC, FLOW_LOG], spoil("flow-log"), spoil("flow-log", "trafficType", "ACCEPT")),
    "vpc-default-group-closed": (
        [VPC, DEFAULT_GROUP],
        spoil("default"),
        spoil("default", "ingress", [{"self": True}]),
    ),
    "no-open-ingress": (
        [GROUP, GROUP_RULE, RULE],
        spoil("group", "ingress/0/cidrBlocks", ["0.0.0.0/0"]),
        spoil("group", "ingress/0/ipv6CidrBlocks", ["::/0"]),
        spoil("old-rule", "cidrBlocks", ["0.0.0.0/0"]),
        spoil("rule", "cidrIpv4", "0.0.0.0/0"),
        spoil("rule", "cidrIpv6", "::/0"),
        spoil("rule", "cidrIpv4", "128.0.0.0/1"),
        spoil("group", "ingress/0/cidrBlocks", ["0.0.0.0/1", "128.0.0.0/1"]),
        spoil("group", "ingress/0/cidrBlocks", ["12.0.0.0/8", "13.0.0.0/8"]),
        spoil("group", "ingress/0/ipv6CidrBlocks", ["2000::/3"]),
    ),
    "no-access-keys": (
        [ROLE],
        *(
            lambda resources, kind=kind: [*resources, resource(f"aws:iam/{kind}", "one")]
            for kind in ("user:User", "accessKey:AccessKey", "userLoginProfile:UserLoginProfile")
        ),
    ),
    "iam-no-wildcards": (
        [GRANT, ROLE_GRANT],
        spoil("grant", "policy", document(Action="*", Resource="*")),
        spoil("grant", "policy", document(Action=["s3:*"], Resource="arn:aws:s3:::data")),
        spoil("grant", "policy", document(NotAction=["iam:*"], Resource="arn:aws:s3:::data")),
        spoil("granted", "inlinePolicies/0/policy", document(Action="ec2:*", Resource="*")),
    ),
    "iam-writes-named": (
        [GRANT, ROLE_GRANT],
        spoil("grant", "policy", document(Action=["s3:PutObject"], Resource="*")),
        spoil("granted", "inlinePolicies/0/policy", document(Action="ec2:RunInstances", Resource=["*"])),
        spoil("grant", "policy", document(Action="s3:PutObject", Resource="arn:aws:s3:::*")),
        spoil("grant", "policy", document(Action="s3:PutObject", Resource=["arn:aws:s3:::data", "arn:aws:s3:::*/*"])),
        *(
            spoil("grant", "policy", document(Action="ec2:TerminateInstances", Resource="*", Condition=condition))
            for condition in EMPTY_WORDS
        ),
    ),
    "iam-team-boundary": (
        [CLUSTER, BOUNDARY, TEAM_ROLE],
        spoil("boundary"),
        spoil("vision", "permissionsBoundary"),
    ),
    "no-public-principals": (
        [KMS_KEY, POLICY, QUEUE_POLICY, ROLE, IMAGES],
        spoil("policy", "policy", document(Principal="*", Action="s3:GetObject", Resource="*")),
        spoil("key", "policy", document(Principal={"AWS": "*"}, Action="kms:*", Resource="*")),
        spoil("role", "assumeRolePolicy", document(Principal={"AWS": ["*"]}, Action="sts:AssumeRole")),
        *(
            spoil("policy", "policy", document(Principal="*", Action="s3:GetObject", Resource="*", Condition=condition))
            for condition in EMPTY_WORDS
        ),
        spoil("images", "policy", document(Principal={"AWS": "*"}, Action="ecr:CreateRepository", Resource="*")),
    ),
    "kms-key-rotation": ([KMS_KEY], spoil("key", "enableKeyRotation"), spoil("key", "enableKeyRotation", False)),
    "log-group-kept": (
        [LOG_GROUP],
        spoil("logs", "retentionInDays"),
        spoil("logs", "retentionInDays", 30),
        spoil("logs", "kmsKeyId"),
    ),
    "audit-trail": (
        [CLUSTER, TRAIL],
        spoil("trail"),
        spoil("trail", "enableLogFileValidation"),
        spoil("trail", "kmsKeyId"),
        spoil("trail", "enableLogging", False),
        spoil("trail", "advancedEventSelectors", []),
    ),
    "no-secrets-in-state": (
        [DATABASE],
        spoil("database", "password", "[secret]"),
        spoil("database", "manageMasterUserPassword", False),
        lambda resources: [*resources, resource("aws:secretsmanager/secretVersion:SecretVersion", "version")],
    ),
    "s3-public-access-block": (
        [DATA, BLOCK],
        spoil("block"),
        *(spoil("block", key, False) for key in BLOCKED),
    ),
    "s3-account-public-access-block": (
        [ACCOUNT, ACCOUNT_BLOCK],
        spoil("account-block"),
        spoil("account-block", "restrictPublicBuckets"),
    ),
    "s3-tls-only": (
        [DATA, POLICY],
        spoil("policy"),
        spoil("policy", "policy", document(**TLS | {"Effect": "Allow"})),
        spoil("policy", "policy", document(**TLS | {"Action": ["s3:GetObject"]})),
        spoil("policy", "policy", document(**TLS | {"Resource": "arn:aws:s3:::data"})),
        spoil("policy", "policy", document(**TLS | {"Condition": {}})),
    ),
    "s3-versioning": (
        [DATA, VERSIONING],
        spoil("versioning"),
        spoil("versioning", "versioningConfiguration/status", "Suspended"),
    ),
    "s3-lifecycle": (
        [DATA, LIFECYCLE],
        spoil("lifecycle"),
        spoil("lifecycle", "rules/0/status", "Disabled"),
        spoil("lifecycle", "rules/0/noncurrentVersionExpiration"),
        spoil("lifecycle", "rules/0/abortIncompleteMultipartUpload"),
    ),
    "s3-own-key": (
        [DATA, ENCRYPTION, LOGS, LOGS_POLICY, LOGGING],
        spoil("encryption"),
        spoil("encryption", "rules/0/applyServerSideEncryptionByDefault/sseAlgorithm", "AES256"),
        spoil("encryption", "rules/0/applyServerSideEncryptionByDefault/kmsMasterKeyId"),
        lambda resources: [*spoil("encryption")(resources), TAKES_LOGS],
    ),
    "s3-access-logs": (
        [DATA, LOGS, LOGS_POLICY, LOGGING],
        spoil("logging"),
        lambda resources: [*spoil("logging")(resources), TAKES_LOGS],
        spoil("logging", property_dependencies={"bucket": (DATA.urn,), "targetBucket": (DATA.urn,)}),
    ),
    "s3-object-lock": (
        [DURABLE, DATA, AUDIT, LOCK, STAYS],
        spoil("lock"),
        spoil("lock", "rule"),
        spoil("stays"),
        spoil("stays", "policy", document(**STAY | {"Effect": "Allow"})),
        spoil("stays", "policy", document(**STAY | {"Action": ["s3:DeleteObjectVersion"]})),
        spoil("stays", "policy", document(**STAY | {"Resource": "arn:aws:s3:::models/other/*"})),
        spoil("stays", "policy", document(**STAY | {"Principal": {"AWS": "arn:aws:iam::123456789012:role/one"}})),
        spoil("stays", "policy", document(**STAY, Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}})),
        spoil("storage-audit-bucket"),
    ),
    "volumes-encrypted": (
        [TEMPLATE, INSTANCE, DATABASE, EFS, LUSTRE],
        spoil("template", "blockDeviceMappings"),
        spoil("template", "blockDeviceMappings/0/ebs/encrypted", "false"),
        spoil("runner", "rootBlockDevice"),
        spoil("database", "storageEncrypted", False),
        spoil("database", "kmsKeyId"),
        spoil("files", "encrypted"),
        spoil("lustre", "kmsKeyId"),
    ),
    "messages-encrypted": (
        [QUEUE, TOPIC],
        spoil("queue", "sqsManagedSseEnabled", False),
        spoil("topic", "kmsMasterKeyId"),
    ),
    "database-private": ([DATABASE], spoil("database", "publiclyAccessible", True)),
    "snapshots": (
        [DURABLE, DATABASE, EFS, LUSTRE, JOINED, SELECTION],
        spoil("selection"),
        spoil("joined"),
        spoil("selection", property_dependencies={"resources": (DATABASE.urn,)}),
        spoil("database", "backupRetentionPeriod", 0),
        lambda resources: [*spoil("selection")(resources), BY_TAG],
    ),
    "ecr-immutable-scanned": (
        [REPOSITORY],
        spoil("steps", "imageTagMutability", "MUTABLE"),
        spoil("steps", "imageScanningConfiguration"),
        spoil("steps", "encryptionConfigurations", [{"encryptionType": "AES256"}]),
    ),
    "ecr-lifecycle": ([REPOSITORY, EXPIRY], spoil("expiry")),
    "durable-protected": (
        KEPT,
        *(spoil(one.name, protect=False) for one in KEPT if one is not DURABLE),
    ),
    "durable-deletion-protection": (
        [DURABLE, CLUSTER, DATABASE],
        spoil("cluster", "deletionProtection"),
        spoil("database", "deletionProtection", False),
        spoil("database", "skipFinalSnapshot", True),
    ),
    "budget-alarms": (
        [environment(), PROVIDER, BUDGET],
        spoil("budget"),
        spoil("budget", "notifications/0/notificationType", "FORECASTED"),
        spoil("budget", "notifications/1/subscriberSnsTopicArns"),
    ),
    "anomaly-alarm": ([ACCOUNT, ANOMALIES], spoil("anomalies"), spoil("anomalies", "subscribers", [])),
    "owner-tags": (
        [environment(), PROVIDER, DATA],
        spoil("storage-models-bucket", provider=""),
        spoil("aws", "defaultTags", '{"tags": {"owner": "a@example.com", "cost-center": "ml"}}'),
        spoil("aws", "defaultTags"),
    ),
    "data-class": (
        [DATA, DATABASE, EFS, LUSTRE],
        spoil("storage-models-bucket", "tags"),
        spoil("database", "tags/data-class", "secret"),
    ),
}
