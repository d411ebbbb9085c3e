"""The CDK's side of bench/plan.py: an app of as many resources of the same kinds, synthesised.

    python bench/plan_cdk.py COUNTS.json FOLDER

It runs in the CDK's own environment. Each kind is CloudFormation's nearest with its required properties and little
more, so that no work is done here that the other side is spared.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import aws_cdk  # type: ignore[import-not-found]

A_STACK = 400  # CloudFormation takes 500 resources a template
DOCUMENT = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/*"}],
}
TAGS = [{"key": "environment", "value": "bench"}]
# Nested names are in camel case: the CDK hands them on as they are.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "autoscaling/group": ("aws_autoscaling.CfnAutoScalingGroup", {"max_size": "1", "min_size": "1"}),
    "backup/plan": (
        "aws_backup.CfnBackupPlan",
        {
            "backup_plan": {
                "backupPlanName": "p",
                "backupPlanRule": [{"ruleName": "daily", "targetBackupVault": "vault"}],
            }
        },
    ),
    "backup/selection": (
        "aws_backup.CfnBackupSelection",
        {"backup_plan_id": "p", "backup_selection": {"iamRoleArn": "r", "selectionName": "s"}},
    ),
    "backup/vault": ("aws_backup.CfnBackupVault", {"backup_vault_name": "v"}),
    "budgets/budget": ("aws_budgets.CfnBudget", {"budget": {"budgetType": "COST", "timeUnit": "MONTHLY"}}),
    "cloudtrail/eventDataStore": ("aws_cloudtrail.CfnEventDataStore", {"name": "s"}),
    "cloudtrail/trail": ("aws_cloudtrail.CfnTrail", {"is_logging": True, "s3_bucket_name": "b"}),
    "cloudwatch/eventRule": ("aws_events.CfnRule", {"event_pattern": {"source": ["aws.ec2"]}}),
    "cloudwatch/eventTarget": ("aws_events.CfnRule", {"targets": [{"arn": "a", "id": "t"}]}),
    "cloudwatch/logGroup": ("aws_logs.CfnLogGroup", {"retention_in_days": 365, "tags": TAGS}),
    "cloudwatch/metricAlarm": (
        "aws_cloudwatch.CfnAlarm",
        {"comparison_operator": "GreaterThanThreshold", "evaluation_periods": 1},
    ),
    "costexplorer/anomalyMonitor": ("aws_ce.CfnAnomalyMonitor", {"monitor_name": "m", "monitor_type": "CUSTOM"}),
    "costexplorer/anomalySubscription": (
        "aws_ce.CfnAnomalySubscription",
        {
            "frequency": "DAILY",
            "monitor_arn_list": ["m"],
            "subscribers": [{"address": "a@example.com", "type": "EMAIL"}],
            "subscription_name": "s",
        },
    ),
    "ec2/eip": ("aws_ec2.CfnEIP", {"tags": TAGS}),
    "ec2/flowLog": ("aws_ec2.CfnFlowLog", {"resource_id": "v", "resource_type": "VPC"}),
    "ec2/instance": ("aws_ec2.CfnInstance", {"instance_type": "t4g.small", "tags": TAGS}),
    "ec2/internetGateway": ("aws_ec2.CfnInternetGateway", {"tags": TAGS}),
    "ec2/launchTemplate": (
        "aws_ec2.CfnLaunchTemplate",
        {"launch_template_data": {"metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1}}},
    ),
    "ec2/natGateway": ("aws_ec2.CfnNatGateway", {"subnet_id": "s", "allocation_id": "e", "tags": TAGS}),
    "ec2/placementGroup": ("aws_ec2.CfnPlacementGroup", {"strategy": "cluster"}),
    "ec2/route": ("aws_ec2.CfnRoute", {"route_table_id": "t", "destination_cidr_block": "0.0.0.0/0"}),
    "ec2/routeTable": ("aws_ec2.CfnRouteTable", {"vpc_id": "v", "tags": TAGS}),
    "ec2/routeTableAssociation": (
        "aws_ec2.CfnSubnetRouteTableAssociation",
        {"route_table_id": "t", "subnet_id": "s"},
    ),
    "ec2/securityGroup": ("aws_ec2.CfnSecurityGroup", {"group_description": "d", "vpc_id": "v", "tags": TAGS}),
    "ec2/subnet": ("aws_ec2.CfnSubnet", {"vpc_id": "v", "cidr_block": "10.0.0.0/24", "tags": TAGS}),
    "ec2/vpc": ("aws_ec2.CfnVPC", {"cidr_block": "10.0.0.0/16", "tags": TAGS}),
    "ec2/vpcEndpoint": ("aws_ec2.CfnVPCEndpoint", {"vpc_id": "v", "service_name": "s3", "policy_document": DOCUMENT}),
    "ecr/lifecyclePolicy": ("aws_ecr.CfnRepository", {"lifecycle_policy": {"lifecyclePolicyText": "{}"}}),
    "ecr/pullThroughCacheRule": ("aws_ecr.CfnPullThroughCacheRule", {"ecr_repository_prefix": "quay"}),
    "ecr/repository": ("aws_ecr.CfnRepository", {"image_tag_mutability": "IMMUTABLE", "tags": TAGS}),
    "efs/fileSystem": ("aws_efs.CfnFileSystem", {"encrypted": True}),
    "efs/mountTarget": (
        "aws_efs.CfnMountTarget",
        {"file_system_id": "f", "security_groups": ["g"], "subnet_id": "s"},
    ),
    "eks/accessEntry": ("aws_eks.CfnAccessEntry", {"cluster_name": "c", "principal_arn": "p"}),
    "eks/addon": ("aws_eks.CfnAddon", {"addon_name": "coredns", "cluster_name": "c"}),
    "eks/cluster": (
        "aws_eks.CfnCluster",
        {"resources_vpc_config": {"subnetIds": ["s"], "endpointPrivateAccess": True}, "role_arn": "r"},
    ),
    "eks/nodeGroup": ("aws_eks.CfnNodegroup", {"cluster_name": "c", "node_role": "r", "subnets": ["s"]}),
    "eks/podIdentityAssociation": (
        "aws_eks.CfnPodIdentityAssociation",
        {"cluster_name": "c", "namespace": "n", "role_arn": "r", "service_account": "a"},
    ),
    "fsx/dataRepositoryAssociation": (
        "aws_fsx.CfnDataRepositoryAssociation",
        {"data_repository_path": "s3://b", "file_system_id": "f", "file_system_path": "/"},
    ),
    "fsx/lustreFileSystem": ("aws_fsx.CfnFileSystem", {"file_system_type": "LUSTRE", "subnet_ids": ["s"]}),
    "guardduty/detector": ("aws_guardduty.CfnDetector", {"enable": True}),
    "iam/instanceProfile": ("aws_iam.CfnInstanceProfile", {"roles": ["r"]}),
    "iam/openIdConnectProvider": ("aws_iam.CfnOIDCProvider", {"url": "https://example.com"}),
    "iam/policy": ("aws_iam.CfnManagedPolicy", {"policy_document": DOCUMENT}),
    "iam/role": ("aws_iam.CfnRole", {"assume_role_policy_document": DOCUMENT, "tags": TAGS}),
    "iam/rolePolicy": (
        "aws_iam.CfnRolePolicy",
        {"policy_name": "p", "role_name": "r", "policy_document": DOCUMENT},
    ),
    "iam/rolePolicyAttachment": ("aws_iam.CfnManagedPolicy", {"policy_document": DOCUMENT, "roles": ["r"]}),
    "kms/alias": ("aws_kms.CfnAlias", {"alias_name": "alias/a", "target_key_id": "k"}),
    "kms/key": ("aws_kms.CfnKey", {"enable_key_rotation": True, "key_policy": DOCUMENT, "tags": TAGS}),
    "rds/instance": ("aws_rds.CfnDBInstance", {"engine": "postgres", "db_instance_class": "db.t4g.medium"}),
    "rds/parameterGroup": ("aws_rds.CfnDBParameterGroup", {"description": "d", "family": "postgres17"}),
    "rds/subnetGroup": (
        "aws_rds.CfnDBSubnetGroup",
        {"db_subnet_group_description": "d", "subnet_ids": ["s"]},
    ),
    "s3/bucket": ("aws_s3.CfnBucket", {"tags": TAGS}),
    "s3/bucketPolicy": ("aws_s3.CfnBucketPolicy", {"bucket": "b", "policy_document": DOCUMENT}),
    "s3/bucketVersioning": ("aws_s3.CfnBucket", {"versioning_configuration": {"status": "Enabled"}}),
    "s3/": ("aws_s3.CfnBucket", {"bucket_name": "b"}),
    "secretsmanager/secret": ("aws_secretsmanager.CfnSecret", {"tags": TAGS}),
    "secretsmanager/secretPolicy": (
        "aws_secretsmanager.CfnResourcePolicy",
        {"resource_policy": DOCUMENT, "secret_id": "s"},
    ),
    "secretsmanager/secretRotation": ("aws_secretsmanager.CfnRotationSchedule", {"secret_id": "s"}),
    "sns/topic": ("aws_sns.CfnTopic", {"tags": TAGS}),
    "sns/topicPolicy": ("aws_sns.CfnTopicPolicy", {"policy_document": DOCUMENT, "topics": ["t"]}),
    "sns/topicSubscription": ("aws_sns.CfnSubscription", {"protocol": "email", "topic_arn": "t"}),
    "sqs/queue": ("aws_sqs.CfnQueue", {"message_retention_period": 300, "tags": TAGS}),
    "sqs/queuePolicy": ("aws_sqs.CfnQueuePolicy", {"policy_document": DOCUMENT, "queues": ["q"]}),
    "vpc/securityGroupEgressRule": ("aws_ec2.CfnSecurityGroupEgress", {"group_id": "g", "ip_protocol": "-1"}),
    "vpc/securityGroupIngressRule": (
        "aws_ec2.CfnSecurityGroupIngress",
        {"group_id": "g", "ip_protocol": "tcp", "from_port": 443, "to_port": 443, "cidr_ip": "10.0.0.0/16"},
    ),
}
OTHER = ("aws_sqs.CfnQueue", {"queue_name": "q"})
"""For what CloudFormation has no resource of its own: the cheapest there is."""


def main() -> None:
    """Build and synthesise."""
    counts: dict[str, int] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    app = aws_cdk.App(outdir=sys.argv[2])
    made = 0
    for kind, count in counts.items():
        place, properties = KINDS.get(kind) or KINDS.get(f"{kind.partition('/')[0]}/") or OTHER
        module, _, name = place.partition(".")
        construct = getattr(importlib.import_module(f"aws_cdk.{module}"), name)
        for _ in range(count):
            if made % A_STACK == 0:
                stack = aws_cdk.Stack(app, f"stack-{made // A_STACK}")
            construct(stack, f"resource-{made}", **properties)
            made += 1
    app.synth()


if __name__ == "__main__":
    main()
