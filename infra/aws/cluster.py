"""The Kubernetes control plane."""

from __future__ import annotations  # a name like aws.eks.outputs loads all of EKS when it is read

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.aws import iam
from infra.aws.addons import PodIdentity, PodIdentityArgs, install
from infra.aws.key import Key, KeyArgs, used_by_logs
from infra.aws.options import kept
from infra.aws.runner import Runner, RunnerArgs
from infra.settings.base import Lifetime, Security
from infra.settings.environment import EksSettings
from infra.versions import KUBERNETES

LOGS = ("api", "audit", "authenticator", "controllerManager", "scheduler")
"""All types that there are (CIS 2.1)."""
ADMIN = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"


@dataclass(frozen=True, kw_only=True)
class ClusterArgs:
    """The control plane is in the intra subnets, the runner in the private ones.

    `tags` go onto the runner's machine, which a provider's don't reach.
    """

    environment: str
    region: str
    account_id: str
    settings: EksSettings
    security: Security
    lifetime: Lifetime
    tags: Mapping[str, str]
    vpc_id: pulumi.Input[str]
    private_subnet_ids: Sequence[pulumi.Input[str]]
    intra_subnet_ids: Sequence[pulumi.Input[str]]


@dataclass(frozen=True)
class Oidc:
    """Who vouches for the cluster's service accounts, for parts whose SDK has no pod identity."""

    provider_arn: pulumi.Output[str]
    issuer: pulumi.Output[str]


class Cluster(pulumi.ComponentResource):
    """An EKS cluster that nobody may enter but its admins.

    - the control plane: private, and public for the listed addresses alone; secrets encrypted by a key of their own
    - its role, with AWS's policy for it
    - log groups for all five types of its logs and for those of pods, encrypted by a key of their own
    - an access entry for each admin, and none for whoever made the cluster
    - the add-ons that nodes need: pod identity agent, VPC CNI with network policies on, kube-proxy
    - the OIDC provider for IRSA
    - the runner, where wanted

    The name's output comes from the access entries and the add-ons, so that what is put into the cluster finds them,
    and goes before them.
    """

    name: pulumi.Output[str]
    arn: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    certificate_authority: pulumi.Output[str]
    security_group_id: pulumi.Output[str]
    oidc: Oidc

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("modelyard:aws:Cluster", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        cluster_name = f"{args.environment}-cluster"
        logs = self._logs(name, args, cluster_name)
        secrets = Key(
            f"{name}-secrets",
            KeyArgs(
                purpose="Kubernetes secrets",
                environment=args.environment,
                account_id=args.account_id,
                lifetime=args.lifetime,
            ),
            opts=child,
        )
        role = aws.iam.Role(
            f"{name}-role",
            name=f"modelyard-{args.environment}-cluster",
            description="The EKS control plane",
            assume_role_policy=pulumi.Output.json_dumps(iam.trust_service("eks.amazonaws.com", args.account_id)),
            opts=child,
        )
        policy = aws.iam.RolePolicyAttachment(
            f"{name}-role-policy",
            role=role.name,
            policy_arn="arn:aws:iam::aws:policy/AmazonEKSClusterPolicy",
            opts=child,
        )
        public = args.settings.public_access_from
        cluster = aws.eks.Cluster(
            f"{name}-control-plane",
            name=cluster_name,
            version=KUBERNETES,
            upgrade_policy={"support_type": "STANDARD"},
            role_arn=role.arn,
            vpc_config={
                "subnet_ids": args.intra_subnet_ids,
                "endpoint_private_access": True,
                "endpoint_public_access": bool(public),
                "public_access_cidrs": list(public) or None,
            },
            access_config={"authentication_mode": "API", "bootstrap_cluster_creator_admin_permissions": False},
            encryption_config={"provider": {"key_arn": secrets.arn}, "resources": ["secrets"]},
            enabled_cluster_log_types=list(LOGS),
            bootstrap_self_managed_addons=False,
            deletion_protection=args.lifetime.durable,
            tags={"data-class": "confidential"},
            # The log group first, or EKS makes one of its own; the role's policy last, or what EKS made stays behind.
            opts=pulumi.ResourceOptions.merge(
                kept(self, args.lifetime), pulumi.ResourceOptions(depends_on=[logs, policy])
            ),
        )
        self.arn = cluster.arn
        self.endpoint = cluster.endpoint
        self.certificate_authority = cluster.certificate_authority.apply(lambda authority: authority.data or "")
        self.security_group_id = cluster.vpc_config.apply(lambda vpc: vpc.cluster_security_group_id or "")

        ready = [*self._admit(name, args, cluster), *self._add_ons(name, args, cluster)]
        self.name = pulumi.Output.all(*ready).apply(lambda names: str(names[0]))
        issuer = cluster.identities.apply(_issuer)
        provider = aws.iam.OpenIdConnectProvider(
            f"{name}-oidc", url=issuer, client_id_lists=["sts.amazonaws.com"], opts=child
        )
        self.oidc = Oidc(provider_arn=provider.arn, issuer=issuer)
        if args.settings.runner:
            Runner(
                f"{name}-runner",
                RunnerArgs(
                    environment=args.environment,
                    region=args.region,
                    account_id=args.account_id,
                    deployers=args.settings.admins,
                    tags=args.tags,
                    vpc_id=args.vpc_id,
                    private_subnet_ids=args.private_subnet_ids,
                    cluster_security_group_id=self.security_group_id,
                ),
                opts=child,
            )
        self.register_outputs(
            {
                "name": self.name,
                "arn": self.arn,
                "endpoint": self.endpoint,
                "certificate_authority": self.certificate_authority,
                "security_group_id": self.security_group_id,
                "oidc_provider_arn": self.oidc.provider_arn,
            }
        )

    def _logs(self, name: str, args: ClusterArgs, cluster_name: str) -> pulumi.Resource:
        key = Key(
            f"{name}-logs",
            KeyArgs(
                purpose="logs of the control plane and of pods",
                environment=args.environment,
                account_id=args.account_id,
                lifetime=args.lifetime,
                statements=[used_by_logs(args.account_id, args.region)],
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.cloudwatch.LogGroup(
            f"{name}-pod-logs",
            name=pod_logs(args.environment),
            retention_in_days=args.security.log_days,
            kms_key_id=key.arn,
            tags={"data-class": "confidential"},
            opts=kept(self, args.lifetime),
        )
        return aws.cloudwatch.LogGroup(
            f"{name}-log-group",
            name=f"/aws/eks/{cluster_name}/cluster",
            retention_in_days=args.security.log_days,
            kms_key_id=key.arn,
            tags={"data-class": "confidential"},
            opts=kept(self, args.lifetime),
        )

    def _admit(self, name: str, args: ClusterArgs, cluster: aws.eks.Cluster) -> list[pulumi.Output[str]]:
        child = pulumi.ResourceOptions(parent=self)
        admitted = []
        for admin in args.settings.admins:
            called = admin.partition(":role/")[2].replace("/", "-")
            entry = aws.eks.AccessEntry(
                f"{name}-admin-{called}",
                cluster_name=cluster.name,
                principal_arn=admin,
                type="STANDARD",
                opts=child,
            )
            policy = aws.eks.AccessPolicyAssociation(
                f"{name}-admin-{called}-policy",
                cluster_name=cluster.name,
                principal_arn=entry.principal_arn,
                policy_arn=ADMIN,
                access_scope={"type": "cluster"},
                opts=child,
            )
            admitted.append(policy.cluster_name)
        return admitted

    def _add_ons(self, name: str, args: ClusterArgs, cluster: aws.eks.Cluster) -> list[pulumi.Output[str]]:
        child = pulumi.ResourceOptions(parent=self)
        agent = install(name, "eks-pod-identity-agent", cluster.name, child)
        proxy = install(name, "kube-proxy", cluster.name, child)
        identity = PodIdentity(
            f"{name}-vpc-cni",
            PodIdentityArgs(
                role_name=f"modelyard-{args.environment}-vpc-cni",
                purpose="The VPC CNI gives pods their addresses",
                account_id=args.account_id,
                cluster_arn=cluster.arn,
                managed_policy="arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy",
                service_account="aws-node",
            ),
            opts=child,
        )
        after = pulumi.ResourceOptions(parent=self, depends_on=[agent])
        cni = install(name, "vpc-cni", cluster.name, after, identity)
        return [agent.cluster_name, proxy.cluster_name, cni.cluster_name]


def pod_logs(environment: str) -> str:
    """The log group that Fluent Bit writes: what pods say."""
    return f"/modelyard/{environment}/pods"


def _issuer(identities: Sequence[aws.eks.outputs.ClusterIdentity]) -> str:
    return (identities[0].oidcs or [])[0].issuer or ""
