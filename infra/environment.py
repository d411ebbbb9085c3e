"""An environment: its cloud, and what runs in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra import catalog
from infra.aws.addons import Addons, AddonsArgs, SharedFiles
from infra.aws.alerts import Alerts, AlertsArgs
from infra.aws.audit import Audit, AuditArgs
from infra.aws.backup import Backup, BackupArgs
from infra.aws.budget import Budget, BudgetArgs
from infra.aws.cluster import Cluster, ClusterArgs
from infra.aws.database import Database, DatabaseArgs, Engine
from infra.aws.identity import Identity, IdentityArgs
from infra.aws.network import Network, NetworkArgs, choose_zones
from infra.aws.nodes import Nodes, NodesArgs
from infra.aws.registry import Registry, RegistryArgs
from infra.aws.storage import Storage, StorageArgs
from infra.settings.account import AccountSettings
from infra.settings.environment import AwsEnvironment, Efs, NewNetwork
from infra.settings.stacks import EnvironmentStack


@dataclass(frozen=True, kw_only=True)
class EnvironmentArgs:
    """What the stack's files say."""

    stack: EnvironmentStack


class Environment(pulumi.ComponentResource):
    """Everything of one environment.

    - on AWS: a network, a cluster with its nodes, buckets, image repositories, two databases, roles, a budget,
      an audit trail, backups
      and mail about alarms
    - on an existing cluster: nothing of a cloud
    """

    outputs: dict[str, Any]

    def __init__(self, name: str, args: EnvironmentArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        settings = args.stack.settings
        about = {"security": settings.security.value, "lifetime": settings.lifetime.value}
        super().__init__("modelyard:index:Environment", name, about, opts)
        self.outputs = {**about, "hardware": sorted(args.stack.profiles)}
        if isinstance(settings, AwsEnvironment) and args.stack.account:
            self.outputs |= self._on_aws(args.stack, settings, args.stack.account.settings)
        self.register_outputs(self.outputs)

    def _on_aws(self, stack: EnvironmentStack, settings: AwsEnvironment, account: AccountSettings) -> dict[str, Any]:
        environment, region, account_id = stack.name, account.region, account.account_id
        security, lifetime = settings.security, settings.lifetime
        place = {"environment": environment, "region": region, "account_id": account_id}
        tags = tags_of(environment, settings)
        provider = aws.Provider(
            "aws",
            region=region,
            allowed_account_ids=[account_id],
            default_tags={"tags": tags},
            opts=pulumi.ResourceOptions(parent=self),
        )
        child = pulumi.ResourceOptions(parent=self, providers={"aws": provider})

        zones = zones_of(stack, settings, region)
        network = Network(
            "network",
            NetworkArgs(
                settings=settings.network,
                zones=zones,
                security=security,
                lifetime=lifetime,
                **place,
            ),
            child,
        )
        cluster = Cluster(
            "cluster",
            ClusterArgs(
                settings=settings.cluster,
                security=security,
                lifetime=lifetime,
                tags=tags,
                vpc_id=network.vpc_id,
                private_subnet_ids=network.private_subnet_ids,
                intra_subnet_ids=network.intra_subnet_ids,
                **place,
            ),
            child,
        )
        alerts = Alerts("alerts", AlertsArgs(lifetime=lifetime, notify=settings.budget.notify, **place), child)
        nodes = Nodes(
            "nodes",
            NodesArgs(
                settings=settings.system_nodes,
                profiles=stack.profiles,
                hardware=settings.hardware,
                lifetime=lifetime,
                tags=tags,
                cluster_name=cluster.name,
                cluster_arn=cluster.arn,
                cluster_security_group_id=cluster.security_group_id,
                vpc_id=network.vpc_id,
                private_subnet_ids=network.private_subnet_ids,
                alerts_topic_arn=alerts.topic_arn,
                **place,
            ),
            child,
        )
        storage = Storage(
            "storage",
            StorageArgs(
                settings=settings.storage,
                security=security,
                lifetime=lifetime,
                vpc_id=network.vpc_id,
                mount_subnet_ids=mount_subnets(settings, zones, network.private_subnet_ids),
                cluster_security_group_id=cluster.security_group_id,
                **place,
            ),
            child,
        )
        files = settings.storage.file_system
        addons = Addons(
            "addons",
            AddonsArgs(
                environment=environment,
                account_id=account_id,
                lifetime=lifetime,
                cluster_name=cluster.name,
                cluster_arn=cluster.arn,
                files=SharedFiles(kind=files.kind, arn=storage.file_system_arn)
                if files and storage.file_system_arn
                else None,
            ),
            pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[nodes])),
        )
        registry = Registry(
            "registry",
            RegistryArgs(settings=settings.registry, lifetime=lifetime, **place),
            child,
        )
        databases = {
            part: Database(
                f"{part}-database",
                DatabaseArgs(
                    engine=engine,
                    settings=wanted,
                    security=security,
                    lifetime=lifetime,
                    vpc_id=network.vpc_id,
                    subnet_ids=network.intra_subnet_ids,
                    client_security_group_id=cluster.security_group_id,
                    **place,
                ),
                child,
            )
            for part, engine, wanted in (
                ("tracking", Engine.POSTGRESQL, settings.tracking_database),
                ("pipelines", Engine.MYSQL, settings.pipelines_database),
            )
        }
        identity = Identity(
            "identity",
            IdentityArgs(
                cluster_name=cluster.name,
                cluster_arn=cluster.arn,
                cluster_security_group_id=cluster.security_group_id,
                vpc_id=network.vpc_id,
                oidc_provider_arn=cluster.oidc.provider_arn,
                oidc_issuer=cluster.oidc.issuer,
                bucket_arns=storage.bucket_arns,
                key_arns=storage.key_arns,
                secret_arns=[database.secret_arn for database in databases.values()],
                secret_key_arns=[database.key_arn for database in databases.values()],
                **place,
            ),
            child,
        )
        by_tag = account.activate_cost_tags or account.cost_tags_active
        Budget("budget", BudgetArgs(settings=settings.budget, by_tag=by_tag, **place), child)
        backup = Backup(
            "backup",
            BackupArgs(
                security=security,
                lifetime=lifetime,
                cluster_name=cluster.name,
                cluster_arn=cluster.arn,
                log_bucket=storage.buckets["logs"],
                backed_up_arns=[*storage.backed_up_arns, *(database.arn for database in databases.values())],
                **place,
            ),
            child,
        )
        Audit(
            "audit",
            AuditArgs(
                security=security,
                lifetime=lifetime,
                audit_bucket=storage.buckets["audit"],
                audit_key_arn=storage.key_arns["audit"],
                bucket_arns={
                    **{part: storage.bucket_arns[part] for part in ("data", "artifacts", "models")},
                    "backup": backup.backup_bucket_arn,
                },
                **place,
            ),
            child,
        )
        shared = pulumi.StackReference(
            f"{pulumi.get_organization()}/{pulumi.get_project()}/account.{settings.account}",
            opts=pulumi.ResourceOptions(parent=self),
        )
        return {
            **place,
            "cluster": {
                "name": cluster.name,
                "endpoint": cluster.endpoint,
                "certificate_authority": cluster.certificate_authority,
            },
            "karpenter": {
                "controller_role_arn": nodes.controller_role_arn,
                "instance_profile": nodes.instance_profile_name,
                "interruption_queue": nodes.interruption_queue_name,
                "volume_key_arn": nodes.volume_key_arn,
            },
            "volume_key_arn": addons.volume_key_arn,
            "buckets": storage.buckets,
            "file_system": storage.file_system_id,
            "images": registry.urls,
            "image_mirrors": shared.require_output("pull_through"),
            "databases": {
                part: {"address": database.address, "port": database.port, "secret_arn": database.secret_arn}
                for part, database in databases.items()
            },
            "roles": identity.role_arns,
            "team_boundary_arn": identity.boundary_arn,
            "backup": {"bucket": backup.backup_bucket, "role_arn": backup.velero_role_arn},
        }


def tags_of(environment: str, settings: AwsEnvironment) -> dict[str, str]:
    """What everything in an environment is tagged with: whose it is, and who pays."""
    return {
        "owner": settings.owner,
        "cost-center": settings.cost_center,
        "environment": environment,
        "project": "modelyard",
        "managed-by": "pulumi",
    }


def mount_subnets(
    settings: AwsEnvironment, zones: Sequence[str], private_subnet_ids: Sequence[pulumi.Input[str]]
) -> dict[str, pulumi.Input[str]]:
    """Where a file system is mounted, by the zone's number or, in an existing network, by the subnet's id."""
    network, files = settings.network, settings.storage.file_system
    if isinstance(network, NewNetwork):
        return {zone.rpartition("-")[2]: each for zone, each in zip(zones, private_subnet_ids, strict=True)}
    chosen = files.subnets if isinstance(files, Efs) else ()
    return {subnet: subnet for subnet in chosen or network.private_subnets}


def zones_of(stack: EnvironmentStack, settings: AwsEnvironment, region: str) -> tuple[str, ...]:
    """The zones of the network: those that offer the wanted instance types. Raises ValueError where none do."""
    if not isinstance(settings.network, NewNetwork):
        return ()
    wanted = {}
    for name, profile in stack.profiles.items():
        offered = {zone for one in profile.instance_types for zone in catalog.offered_in(region, one)}
        chosen = settings.hardware[name].zones
        wanted[name] = offered & set(chosen or offered)
    return choose_zones(settings.network, wanted, catalog.zones(region))
