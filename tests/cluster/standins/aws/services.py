"""IAM, KMS, SQS, EventBridge, Secrets Manager, logs, EKS and RDS, by their APIs."""

from collections.abc import Mapping
from typing import Any

from tests.cluster.standins.aws.api import Api, Kind, Op, Tagging


def _tagging(put: str, take: str, key: Mapping[str, str], keys: str = "TagKeys", tags: str = "Tags") -> Tagging:
    return Tagging(Op(put, {**key, tags: "{tags}"}), Op(take, {**key, keys: "{gone}"}))


def _old_versions(api: Api, values: Mapping[str, Any]) -> None:
    for version in api.client("iam").list_policy_versions(PolicyArn=values["id"])["Versions"]:
        if not version["IsDefaultVersion"]:
            api.client("iam").delete_policy_version(PolicyArn=values["id"], VersionId=version["VersionId"])


ROLE = {"RoleName": "{role}"}

IAM: dict[str, Kind] = {
    "aws:iam/role:Role": Kind(
        service="iam",
        id="{name}",
        create=Op("create_role", {"*": "{*}"}),
        read=(Op("get_role", {"RoleName": "{id}"}, "merge(Role, {permissionsBoundary: null, uniqueId: Role.RoleId})"),),
        change={
            "assumeRolePolicy": (
                Op("update_assume_role_policy", {"RoleName": "{id}", "PolicyDocument": "{assumeRolePolicy}"}),
            )
        },
        update=Op(
            "update_role",
            {"RoleName": "{id}", "Description": "{description}", "MaxSessionDuration": "{maxSessionDuration}"},
        ),
        delete=(Op("delete_role", {"RoleName": "{id}"}),),
        names={"name": "RoleName", "assumeRolePolicy": "AssumeRolePolicyDocument"},
        tagging=_tagging("tag_role", "untag_role", {"RoleName": "{id}"}),
    ),
    "aws:iam/rolePolicy:RolePolicy": Kind(
        service="iam",
        id="{role}:{name}",
        create=Op("put_role_policy", {**ROLE, "PolicyName": "{name}", "PolicyDocument": "{policy}"}),
        update=Op("put_role_policy", {**ROLE, "PolicyName": "{name}", "PolicyDocument": "{policy}"}),
        read=(Op("get_role_policy", {**ROLE, "PolicyName": "{name}"}, "{policy: PolicyDocument}"),),
        delete=(Op("delete_role_policy", {**ROLE, "PolicyName": "{name}"}),),
    ),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": Kind(
        service="iam",
        id="{role}/{policyArn}",
        create=Op("attach_role_policy", {"*": "{*}"}),
        read=(
            Op(
                "list_attached_role_policies",
                ROLE,
                "AttachedPolicies[?PolicyArn=='{policyArn}'] | [0].{policyArn: PolicyArn}",
            ),
        ),
        delete=(Op("detach_role_policy", {**ROLE, "PolicyArn": "{policyArn}"}),),
        names={"role": "RoleName"},
    ),
    "aws:iam/policy:Policy": Kind(
        service="iam",
        id="{id}",
        create=Op("create_policy", {"*": "{*}"}, "Policy.Arn"),
        read=(
            Op("get_policy", {"PolicyArn": "{id}"}, "merge(Policy, {name: Policy.PolicyName})"),
            Op(
                "list_policy_versions",
                {"PolicyArn": "{id}"},
                "{policy: Versions[?IsDefaultVersion] | [0].Document}",
            ),
        ),
        change={
            "policy": (
                Op("create_policy_version", {"PolicyArn": "{id}", "PolicyDocument": "{policy}", "SetAsDefault": True}),
            )
        },
        delete=(Op("delete_policy", {"PolicyArn": "{id}"}),),
        emptied=_old_versions,
        names={"name": "PolicyName", "policy": "PolicyDocument"},
        tagging=_tagging("tag_policy", "untag_policy", {"PolicyArn": "{id}"}),
    ),
    "aws:iam/instanceProfile:InstanceProfile": Kind(
        service="iam",
        id="{name}",
        create=Op("create_instance_profile", {"*": "{*}"}),
        after=(Op("add_role_to_instance_profile", {"InstanceProfileName": "{id}", "RoleName": "{role}"}),),
        read=(
            Op(
                "get_instance_profile",
                {"InstanceProfileName": "{id}"},
                "InstanceProfile.{arn: Arn, name: InstanceProfileName, role: Roles[0].RoleName, tags: Tags, "
                "uniqueId: InstanceProfileId}",
            ),
        ),
        delete=(
            Op("remove_role_from_instance_profile", {"InstanceProfileName": "{id}", "RoleName": "{role}"}),
            Op("delete_instance_profile", {"InstanceProfileName": "{id}"}),
        ),
        names={"name": "InstanceProfileName"},
        tagging=_tagging("tag_instance_profile", "untag_instance_profile", {"InstanceProfileName": "{id}"}),
    ),
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": Kind(
        service="iam",
        id="{id}",
        create=Op("create_open_id_connect_provider", {"*": "{*}"}, "OpenIDConnectProviderArn"),
        read=(
            Op(
                "get_open_id_connect_provider",
                {"OpenIDConnectProviderArn": "{id}"},
                "merge(@, {arn: '{id}', url: Url && join('', ['https://', Url])})",
            ),
        ),
        delete=(Op("delete_open_id_connect_provider", {"OpenIDConnectProviderArn": "{id}"}),),
        tagging=_tagging(
            "tag_open_id_connect_provider", "untag_open_id_connect_provider", {"OpenIDConnectProviderArn": "{id}"}
        ),
    ),
}

QUEUE = {"MessageRetentionPeriod": "{messageRetentionSeconds}", "SqsManagedSseEnabled": "{sqsManagedSseEnabled}"}

SERVICES: dict[str, Kind] = {
    "aws:kms/key:Key": Kind(
        service="kms",
        id="{id}",
        create=Op("create_key", {"*": "{*}"}, "KeyMetadata.KeyId"),
        read=(
            Op(
                "describe_key",
                {"KeyId": "{id}"},
                "[KeyMetadata][?KeyState!='PendingDeletion'] | [0].{arn: Arn, keyId: KeyId, description: Description}",
            ),
            Op("get_key_policy", {"KeyId": "{id}", "PolicyName": "default"}, "{policy: Policy}"),
            Op("get_key_rotation_status", {"KeyId": "{id}"}, "{enableKeyRotation: KeyRotationEnabled}"),
            Op("list_resource_tags", {"KeyId": "{id}"}, "{tags: Tags}"),
        ),
        change={
            "enableKeyRotation": (
                Op("enable_key_rotation", {"KeyId": "{id}"}, when=True),
                Op("disable_key_rotation", {"KeyId": "{id}"}, when=False),
            ),
            "description": (Op("update_key_description", {"KeyId": "{id}", "Description": "{description}"}),),
        },
        update=Op("put_key_policy", {"KeyId": "{id}", "PolicyName": "default", "Policy": "{policy}"}),
        delete=(Op("schedule_key_deletion", {"KeyId": "{id}", "PendingWindowInDays": "{deletionWindowInDays}"}),),
        tagging=_tagging("tag_resource", "untag_resource", {"KeyId": "{id}"}),
        own=("deletionWindowInDays",),
    ),
    "aws:kms/alias:Alias": Kind(
        service="kms",
        id="{name}",
        create=Op("create_alias", {"AliasName": "{name}", "TargetKeyId": "{targetKeyId}"}),
        update=Op("update_alias", {"AliasName": "{id}", "TargetKeyId": "{targetKeyId}"}),
        read=(Op("list_aliases", {}, "Aliases[?AliasName=='{id}'] | [0].{targetKeyId: TargetKeyId, arn: AliasArn}"),),
        delete=(Op("delete_alias", {"AliasName": "{id}"}),),
    ),
    "aws:sqs/queue:Queue": Kind(
        service="sqs",
        id="{id}",
        create=Op("create_queue", {"QueueName": "{name}", "Attributes": QUEUE, "tags": "{tags}"}, "QueueUrl"),
        update=Op("set_queue_attributes", {"QueueUrl": "{id}", "Attributes": QUEUE}),
        read=(
            Op(
                "get_queue_attributes",
                {"QueueUrl": "{id}", "AttributeNames": ["All"]},
                "Attributes.{messageRetentionSeconds: MessageRetentionPeriod, arn: QueueArn, url: '{id}', "
                "sqsManagedSseEnabled: SqsManagedSseEnabled}",
            ),
            Op("list_queue_tags", {"QueueUrl": "{id}"}, "{tags: Tags}"),
        ),
        delete=(Op("delete_queue", {"QueueUrl": "{id}"}),),
        tagging=_tagging("tag_queue", "untag_queue", {"QueueUrl": "{id}"}),
    ),
    "aws:sqs/queuePolicy:QueuePolicy": Kind(
        service="sqs",
        id="{queueUrl}",
        create=Op("set_queue_attributes", {"QueueUrl": "{queueUrl}", "Attributes": {"Policy": "{policy}"}}),
        update=Op("set_queue_attributes", {"QueueUrl": "{queueUrl}", "Attributes": {"Policy": "{policy}"}}),
        read=(
            Op(
                "get_queue_attributes",
                {"QueueUrl": "{queueUrl}", "AttributeNames": ["Policy"]},
                "Attributes.{policy: Policy}",
            ),
        ),
        delete=(Op("set_queue_attributes", {"QueueUrl": "{queueUrl}", "Attributes": {"Policy": ""}}),),
    ),
    "aws:cloudwatch/eventRule:EventRule": Kind(
        service="events",
        id="{name}",
        create=Op("put_rule", {"*": "{*}"}),
        update=Op("put_rule", {"Name": "{id}", "Description": "{description}", "EventPattern": "{eventPattern}"}),
        read=(
            Op("describe_rule", {"Name": "{id}"}),
            Op(
                "list_tags_for_resource",
                {"ResourceARN": "arn:aws:events:{region}:{account}:rule/{id}"},
                "{tags: Tags}",
            ),
        ),
        delete=(Op("delete_rule", {"Name": "{id}"}),),
        tagging=_tagging(
            "tag_resource", "untag_resource", {"ResourceARN": "arn:aws:events:{region}:{account}:rule/{id}"}
        ),
    ),
    "aws:cloudwatch/eventTarget:EventTarget": Kind(
        service="events",
        id="{rule}/{targetId}",
        create=Op("put_targets", {"Rule": "{rule}", "Targets": [{"Id": "{targetId}", "Arn": "{arn}"}]}),
        update=Op("put_targets", {"Rule": "{rule}", "Targets": [{"Id": "{targetId}", "Arn": "{arn}"}]}),
        read=(Op("list_targets_by_rule", {"Rule": "{rule}"}, "Targets[?Id=='{targetId}'] | [0]"),),
        delete=(Op("remove_targets", {"Rule": "{rule}", "Ids": ["{targetId}"]}),),
        fresh={"targetId": "pulumi-{drawn}"},
    ),
    "aws:cloudwatch/logGroup:LogGroup": Kind(
        service="logs",
        id="{name}",
        create=Op("create_log_group", {"logGroupName": "{name}", "kmsKeyId": "{kmsKeyId}", "tags": "{tags}"}),
        read=(
            Op(
                "describe_log_groups",
                {"logGroupNamePrefix": "{id}"},
                "logGroups[?logGroupName=='{id}'] | [0].{retentionInDays: retentionInDays, kmsKeyId: kmsKeyId, "
                "name: logGroupName}",
            ),
            Op("list_tags_log_group", {"logGroupName": "{id}"}, "{tags: tags}"),
        ),
        change={
            "retentionInDays": (
                Op("put_retention_policy", {"logGroupName": "{id}", "retentionInDays": "{retentionInDays}"}),
            )
        },
        delete=(Op("delete_log_group", {"logGroupName": "{id}"}),),
        tagging=_tagging("tag_log_group", "untag_log_group", {"logGroupName": "{id}"}, "tags", "tags"),
        own=("skipDestroy",),
    ),
    "aws:secretsmanager/secret:Secret": Kind(
        service="secretsmanager",
        id="{id}",
        create=Op("create_secret", {"*": "{*}"}, "ARN"),
        update=Op("update_secret", {"SecretId": "{id}", "Description": "{description}", "KmsKeyId": "{kmsKeyId}"}),
        read=(Op("describe_secret", {"SecretId": "{id}"}, "[@][?!DeletedDate] | [0]"),),
        delete=(Op("delete_secret", {"SecretId": "{id}", "ForceDeleteWithoutRecovery": True}),),
        tagging=_tagging("tag_resource", "untag_resource", {"SecretId": "{id}"}),
        own=("recoveryWindowInDays", "forceOverwriteReplicaSecret"),
    ),
    "aws:secretsmanager/secretVersion:SecretVersion": Kind(
        service="secretsmanager",
        id="{secretId}|{id}",
        create=Op("put_secret_value", {"*": "{*}"}, "VersionId"),
        read=(
            Op("get_secret_value", {"SecretId": "{secretId}"}, "{secretString: SecretString, versionId: VersionId}"),
        ),
    ),
}

CLUSTER_GROUP = {"Filters": [{"Name": "group-name", "Values": ["eks-cluster-sg-{name}"]}]}


def _cluster_group(api: Api, values: Mapping[str, Any]) -> None:
    """EKS takes the security group that it made for a cluster with it."""
    filters = [{"Name": "group-name", "Values": [f"eks-cluster-sg-{values['name']}"]}]
    for group in api.client("ec2").describe_security_groups(Filters=filters)["SecurityGroups"]:
        api.client("ec2").delete_security_group(GroupId=group["GroupId"])


def _vpc(api: Api, wanted: Mapping[str, Any]) -> dict[str, Any]:
    subnets = api.client("ec2").describe_subnets(SubnetIds=wanted["vpcConfig"]["subnetIds"][:1])["Subnets"]
    return {"vpc": subnets[0]["VpcId"]}


NODE_GROUP = {"clusterName": "{clusterName}", "nodegroupName": "{nodeGroupName}"}

EKS: dict[str, Kind] = {
    "aws:eks/cluster:Cluster": Kind(
        service="eks",
        id="{name}",
        create=Op("create_cluster", {"*": "{*}"}),
        after=(
            # As EKS itself does; moto doesn't.
            Op(
                "create_security_group",
                {"GroupName": "eks-cluster-sg-{id}", "Description": "EKS created it", "VpcId": "{vpc}"},
                service="ec2",
            ),
        ),
        read=(
            Op(
                "describe_cluster",
                {"name": "{name}"},
                "merge(cluster, {version: null, vpcConfig: cluster.resourcesVpcConfig, clusterId: cluster.name, "
                "identities: [{oidcs: [{issuer: cluster.identity.oidc.issuer}]}]})",
            ),
            Op(
                "describe_security_groups",
                CLUSTER_GROUP,
                "{vpcConfig: {clusterSecurityGroupId: SecurityGroups[0].GroupId, vpcId: SecurityGroups[0].VpcId}}",
                service="ec2",
            ),
        ),
        change={
            "vpcConfig": (Op("update_cluster_config", {"name": "{id}", "resourcesVpcConfig": "{vpcConfig}"}),),
        },
        update=Op("update_cluster_config", {"*": "{*}"}),
        delete=(Op("delete_cluster", {"name": "{id}"}),),
        emptied=_cluster_group,
        derived=_vpc,
        names={"vpcConfig": "resourcesVpcConfig"},
        tagging=_tagging(
            "tag_resource",
            "untag_resource",
            {"resourceArn": "arn:aws:eks:{region}:{account}:cluster/{id}"},
            "tagKeys",
            "tags",
        ),
        # The last three moto 5.2.5 has no call for.
        own=("bootstrapSelfManagedAddons", "deletionProtection", "enabledClusterLogTypes", "version"),
    ),
    "aws:eks/nodeGroup:NodeGroup": Kind(
        service="eks",
        id="{clusterName}:{nodeGroupName}",
        create=Op("create_nodegroup", {"*": "{*}"}),
        read=(
            Op(
                "describe_nodegroup",
                NODE_GROUP,
                "merge(nodegroup, {arn: nodegroup.nodegroupArn, resources: [nodegroup.resources], version: null, "
                "launchTemplate: null})",
            ),
        ),
        change={
            "labels": (Op("update_nodegroup_config", {**NODE_GROUP, "labels": {"addOrUpdateLabels": "{labels}"}}),),
            "taints": (Op("update_nodegroup_config", {**NODE_GROUP, "taints": {"addOrUpdateTaints": "{taints}"}}),),
        },
        update=Op(
            "update_nodegroup_config",
            {**NODE_GROUP, "scalingConfig": "{scalingConfig}", "updateConfig": "{updateConfig}"},
        ),
        delete=(Op("delete_nodegroup", NODE_GROUP),),
        names={"nodeRoleArn": "nodeRole", "subnetIds": "subnets", "nodeGroupName": "nodegroupName"},
        fresh={"nodeGroupName": "{nodeGroupNamePrefix}{drawn}"},
        own=("version", "launchTemplate"),  # moto 5.2.5 has no UpdateNodegroupVersion
    ),
}

DB_NAMES = {
    "identifier": "DBInstanceIdentifier",
    "instanceClass": "DBInstanceClass",
    "username": "MasterUsername",
    "parameterGroupName": "DBParameterGroupName",
    "caCertIdentifier": "CACertificateIdentifier",
    "iamDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
    "performanceInsightsEnabled": "EnablePerformanceInsights",
    "performanceInsightsKmsKeyId": "PerformanceInsightsKMSKeyId",
    "backupWindow": "PreferredBackupWindow",
    "maintenanceWindow": "PreferredMaintenanceWindow",
}
DB = {"DBInstanceIdentifier": "{id}"}


def _rds_tagging(arn: str) -> Tagging:
    name = {"ResourceName": f"arn:aws:rds:{{region}}:{{account}}:{arn}"}
    return _tagging("add_tags_to_resource", "remove_tags_from_resource", name)


def _rds_tags(arn: str) -> Op:
    name = {"ResourceName": f"arn:aws:rds:{{region}}:{{account}}:{arn}"}
    return Op("list_tags_for_resource", name, "{tags: TagList}")


def _parameters(_api: Api, wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "dbParameters": [
            {
                "ParameterName": one["name"],
                "ParameterValue": one["value"],
                "ApplyMethod": one.get("applyMethod", "immediate"),
            }
            for one in wanted.get("parameters") or []
        ]
    }


def _final_snapshot(_api: Api, wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {"final": None if wanted.get("skipFinalSnapshot") else wanted.get("finalSnapshotIdentifier")}


RDS: dict[str, Kind] = {
    "aws:rds/subnetGroup:SubnetGroup": Kind(
        service="rds",
        id="{name}",
        create=Op("create_db_subnet_group", {"*": "{*}"}),
        update=Op("modify_db_subnet_group", {"DBSubnetGroupName": "{id}", "SubnetIds": "{subnetIds}"}),
        read=(
            Op(
                "describe_db_subnet_groups",
                {"DBSubnetGroupName": "{id}"},
                "DBSubnetGroups[0].{name: DBSubnetGroupName, description: DBSubnetGroupDescription, "
                "subnetIds: Subnets[].SubnetIdentifier, arn: DBSubnetGroupArn}",
            ),
            _rds_tags("subgrp:{id}"),
        ),
        delete=(Op("delete_db_subnet_group", {"DBSubnetGroupName": "{id}"}),),
        names={"name": "DBSubnetGroupName", "description": "DBSubnetGroupDescription"},
        tagging=_rds_tagging("subgrp:{id}"),
    ),
    "aws:rds/parameterGroup:ParameterGroup": Kind(
        service="rds",
        id="{name}",
        create=Op("create_db_parameter_group", {"*": "{*}"}),
        change={
            "parameters": (
                Op("modify_db_parameter_group", {"DBParameterGroupName": "{id}", "Parameters": "{dbParameters}"}),
            )
        },
        read=(
            Op(
                "describe_db_parameter_groups",
                {"DBParameterGroupName": "{id}"},
                "DBParameterGroups[0].{name: DBParameterGroupName, family: DBParameterGroupFamily, "
                "description: Description, arn: DBParameterGroupArn}",
            ),
            Op(
                "describe_db_parameters",
                {"DBParameterGroupName": "{id}"},
                "{parameters: Parameters[].{name: ParameterName, value: ParameterValue, applyMethod: ApplyMethod}}",
            ),
            _rds_tags("pg:{id}"),
        ),
        delete=(Op("delete_db_parameter_group", {"DBParameterGroupName": "{id}"}),),
        names={"name": "DBParameterGroupName", "family": "DBParameterGroupFamily"},
        derived=_parameters,
        tagging=_rds_tagging("pg:{id}"),
    ),
    "aws:rds/instance:Instance": Kind(
        service="rds",
        id="{identifier}",
        create=Op("create_db_instance", {"*": "{*}"}),
        update=Op("modify_db_instance", {"*": "{*}", "ApplyImmediately": True}),
        read=(
            Op(
                "describe_db_instances",
                DB,
                "DBInstances[0].merge(@, {address: Endpoint.Address, port: Endpoint.Port, "
                "endpoint: join(':', [Endpoint.Address, to_string(Endpoint.Port)]), arn: DBInstanceArn, "
                "resourceId: DbiResourceId, vpcSecurityGroupIds: VpcSecurityGroups[].VpcSecurityGroupId, "
                "dbSubnetGroupName: DBSubnetGroup.DBSubnetGroupName, tags: TagList, "
                "parameterGroupName: DBParameterGroups[0].DBParameterGroupName, "
                "masterUserSecrets: MasterUserSecret && [{secretArn: MasterUserSecret.SecretArn, "
                "secretStatus: MasterUserSecret.SecretStatus, kmsKeyId: MasterUserSecret.KmsKeyId}]})",
            ),
        ),
        delete=(
            Op(
                "delete_db_instance",
                {
                    **DB,
                    "SkipFinalSnapshot": "{skipFinalSnapshot}",
                    "DeleteAutomatedBackups": "{deleteAutomatedBackups}",
                    "FinalDBSnapshotIdentifier": "{final}",
                },
            ),
        ),
        change={
            "port": (Op("modify_db_instance", {**DB, "DBPortNumber": "{port}"}),),
            "enabledCloudwatchLogsExports": (
                Op(
                    "modify_db_instance",
                    {**DB, "CloudwatchLogsExportConfiguration": {"EnableLogTypes": "{enabledCloudwatchLogsExports}"}},
                ),
            ),
        },
        names=DB_NAMES,
        derived=_final_snapshot,
        tagging=_rds_tagging("db:{id}"),
        own=("skipFinalSnapshot", "finalSnapshotIdentifier", "deleteAutomatedBackups", "applyImmediately"),
    ),
}

KINDS: dict[str, Kind] = {**IAM, **SERVICES, **EKS, **RDS}
