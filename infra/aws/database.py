"""A managed database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pulumi
import pulumi_aws as aws

from infra import versions
from infra.aws import iam
from infra.aws.key import Key, KeyArgs, used_by_logs
from infra.aws.options import kept
from infra.settings.base import Lifetime, Security
from infra.settings.environment import DatabaseSettings


class Engine(StrEnum):
    """MLflow's is PostgreSQL. Kubeflow Pipelines' is MySQL.

    Its maintainers keep PostgreSQL to development until ML Metadata is gone with 3.0, because concurrent tasks can fail
    on it (github.com/kubeflow/pipelines, issues 13822 and 14353; read 2026-11-21).
    """

    POSTGRESQL = "postgres"
    MYSQL = "mysql"


@dataclass(frozen=True)
class Dialect:
    """What differs by engine."""

    version: str
    port: int
    logs: tuple[str, ...]
    parameters: Mapping[str, str]


DIALECTS = {
    Engine.POSTGRESQL: Dialect(
        version=versions.POSTGRESQL,
        port=5432,
        logs=("iam-db-auth-error", "postgresql", "upgrade"),
        parameters={
            "rds.force_ssl": "1",
            "log_connections": "1",
            "log_disconnections": "1",
            "log_lock_waits": "1",
            "log_min_duration_statement": "1000",
            "log_statement": "ddl",
        },
    ),
    Engine.MYSQL: Dialect(
        version=versions.MYSQL,
        port=3306,
        logs=("error", "iam-db-auth-error", "slowquery"),
        parameters={
            # instances know 0 and 1, clusters OFF and ON (github.com/prowler-cloud/prowler, pull request 4116)
            "require_secure_transport": "1",
            # ML Metadata, which Kubeflow Pipelines needs up to 2.x, knows no other way to log in (its own manifest for
            # MySQL sets the same; google/ml-metadata issue 178); TLS keeps the old hash off the wire
            "authentication_policy": "*:mysql_native_password",
            "character_set_server": "utf8mb4",
            "slow_query_log": "1",
            "long_query_time": "1",
            "log_output": "FILE",
        },
    ),
}


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """`client_security_group_id` is the only one let in."""

    environment: str
    account_id: str
    region: str
    engine: Engine
    settings: DatabaseSettings
    security: Security
    lifetime: Lifetime
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    client_security_group_id: pulumi.Input[str]


class Database(pulumi.ComponentResource):
    """An RDS instance.

    - a KMS key for its storage, its backups, its password and its logs
    - a security group that lets in the nodes, and nothing out
    - parameters that refuse connections without TLS
    - a log group for each log, and the role of the enhanced monitoring
    - the instance: its password is made, kept and rotated by Secrets Manager, and never in the state
    """

    address: pulumi.Output[str]
    port: pulumi.Output[int]
    secret_arn: pulumi.Output[str]
    """Of the administrator's user name and password."""
    arn: pulumi.Output[str]
    key_arn: pulumi.Output[str]

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("modelyard:aws:Database", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        dialect = DIALECTS[args.engine]
        identifier = f"{args.environment}-{name}"
        durable = args.lifetime.durable
        key = KeyArgs(
            purpose=f"the {name}",
            environment=args.environment,
            account_id=args.account_id,
            lifetime=args.lifetime,
            statements=[used_by_logs(args.account_id, args.region)],
        )
        self.key_arn = Key(name, key, child).arn
        log_groups = [
            aws.cloudwatch.LogGroup(
                f"{name}-{log}",
                name=f"/aws/rds/instance/{identifier}/{log}",
                retention_in_days=args.security.log_days,
                kms_key_id=self.key_arn,
                tags={"data-class": "confidential"},
                opts=kept(self, args.lifetime),
            )
            for log in dialect.logs
        ]
        monitoring = aws.iam.Role(
            f"{name}-monitoring",
            name=f"modelyard-{identifier}-monitoring",
            assume_role_policy=pulumi.Output.json_dumps(
                iam.trust_service("monitoring.rds.amazonaws.com", args.account_id)
            ),
            opts=child,
        )
        monitored = aws.iam.RolePolicyAttachment(
            f"{name}-monitoring-policy",
            role=monitoring.name,
            policy_arn="arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole",
            opts=child,
        )
        instance = aws.rds.Instance(
            f"{name}-instance",
            identifier=identifier,
            engine=args.engine.value,
            engine_version=dialect.version,
            port=dialect.port,
            auto_minor_version_upgrade=True,
            instance_class=args.settings.instance_class,
            multi_az=durable,
            storage_type="gp3",
            allocated_storage=args.settings.storage_gb,
            max_allocated_storage=storage_ceiling(args.settings),
            storage_encrypted=True,
            kms_key_id=self.key_arn,
            username="administrator",
            manage_master_user_password=True,
            master_user_secret_kms_key_id=self.key_arn,
            iam_database_authentication_enabled=True,
            ca_cert_identifier="rds-ca-rsa2048-g1",
            parameter_group_name=self._parameters(name, args),
            db_subnet_group_name=aws.rds.SubnetGroup(
                f"{name}-subnets",
                name=identifier,
                description=f"Where the {name} is",
                subnet_ids=args.subnet_ids,
                opts=child,
            ).name,
            vpc_security_group_ids=[self._group(name, args)],
            publicly_accessible=False,
            backup_retention_period=35 if durable else 7,
            backup_window="02:00-03:00",
            maintenance_window="sun:04:00-sun:05:00",
            copy_tags_to_snapshot=True,
            delete_automated_backups=not durable,
            deletion_protection=durable,
            skip_final_snapshot=not durable,
            final_snapshot_identifier=f"{identifier}-final",
            enabled_cloudwatch_logs_exports=list(dialect.logs),
            performance_insights_enabled=True,
            performance_insights_kms_key_id=self.key_arn,
            performance_insights_retention_period=7,
            monitoring_interval=60,
            monitoring_role_arn=monitoring.arn,
            tags={"data-class": "confidential"},
            opts=pulumi.ResourceOptions.merge(
                kept(self, args.lifetime), pulumi.ResourceOptions(depends_on=[*log_groups, monitored])
            ),
        )
        self.address = instance.address
        self.port = instance.port
        self.secret_arn = instance.master_user_secrets.apply(secret_arn)
        self.arn = instance.arn
        self.register_outputs({"address": self.address, "port": self.port, "secret_arn": self.secret_arn})

    def _parameters(self, name: str, args: DatabaseArgs) -> pulumi.Output[str]:
        dialect = DIALECTS[args.engine]
        return aws.rds.ParameterGroup(
            f"{name}-parameters",
            description=f"For the {name} of {args.environment}",
            family=f"{args.engine.value}{dialect.version}",
            parameters=[{"name": key, "value": value} for key, value in sorted(dialect.parameters.items())],
            opts=pulumi.ResourceOptions(parent=self),
        ).name

    def _group(self, name: str, args: DatabaseArgs) -> pulumi.Output[str]:
        group = aws.ec2.SecurityGroup(
            f"{name}-group",
            description=f"The {name}, for the nodes",
            vpc_id=args.vpc_id,
            tags={"Name": f"{args.environment}-{name}"},
            opts=pulumi.ResourceOptions(parent=self),
        )
        port = DIALECTS[args.engine].port
        aws.vpc.SecurityGroupIngressRule(
            f"{name}-from-nodes",
            description="Pods on the nodes",
            security_group_id=group.id,
            referenced_security_group_id=args.client_security_group_id,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return group.id


def storage_ceiling(settings: DatabaseSettings) -> int | None:
    """Up to what it grows by itself; None: not at all, which RDS wants left out."""
    return settings.max_storage_gb if settings.max_storage_gb > settings.storage_gb else None


def secret_arn(secrets: Sequence[Any] | None) -> str:
    """The secret that RDS made; a plan, which has no cloud, knows none."""
    return str(secrets[0].secret_arn) if secrets else ""
