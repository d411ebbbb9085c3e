"""Who on the platform may do what in AWS: a role for each part, and the most that a team's role may ever do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.aws import iam
from infra.aws.cluster import pod_logs

NAMESPACE = "${aws:PrincipalTag/kubernetes-namespace}"
"""EKS puts this tag on a pod's session (pod identity), so that it says truly where the pod runs."""
TEAM_BUCKETS = ("data", "artifacts", "models")
"""In these a team has the prefix that is named as its namespace."""


@dataclass(frozen=True)
class Part:
    """The service account of a part, and whether it needs IRSA in place of pod identity."""

    namespace: str
    service_account: str
    irsa: bool = False


PARTS = {
    # KFP's API server had an S3 client of its own that knows no pod identity (kubeflow/pipelines 14097 and 12508);
    # a web identity works with that and with the AWS SDK.
    "pipelines": Part("kubeflow", "ml-pipeline", irsa=True),
    "pipelines-ui": Part("kubeflow", "ml-pipeline-ui", irsa=True),
    "tracking": Part("mlflow", "mlflow"),
    "serving": Part("kserve-localmodel-jobs", "model-puller"),
    "secrets": Part("external-secrets", "external-secrets"),
    "ingress": Part("kube-system", "aws-load-balancer-controller"),
    "logging": Part("logging", "fluent-bit"),  # pod identity since fluent/fluent-bit 10115
    "cost": Part("opencost", "opencost"),
}
"""Every part that calls AWS, but Karpenter (see nodes), the EBS driver (see add-ons) and Velero (see backup)."""


@dataclass(frozen=True, kw_only=True)
class IdentityArgs:
    """`bucket_arns` and `key_arns` are by bucket; `secret_arns` are secrets with names that AWS chose."""

    environment: str
    region: str
    account_id: str
    cluster_name: pulumi.Input[str]
    cluster_arn: pulumi.Input[str]
    cluster_security_group_id: pulumi.Input[str]
    vpc_id: pulumi.Input[str]
    oidc_provider_arn: pulumi.Input[str]
    oidc_issuer: pulumi.Input[str]
    bucket_arns: Mapping[str, pulumi.Input[str]]
    key_arns: Mapping[str, pulumi.Input[str]]
    secret_arns: Sequence[pulumi.Input[str]]
    secret_key_arns: Sequence[pulumi.Input[str]]


class Identity(pulumi.ComponentResource):
    """Roles of an environment's platform.

    - for each part a role with its policy, bound to the part's service account by pod identity or IRSA
    - the permissions boundary that every team's role must have
    """

    role_arns: dict[str, pulumi.Output[str]]
    boundary_arn: pulumi.Output[str]

    def __init__(self, name: str, args: IdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("modelyard:aws:Identity", name, {}, opts)
        reach = pulumi.Output.all(
            cluster_name=args.cluster_name,
            cluster_security_group_id=args.cluster_security_group_id,
            vpc_id=args.vpc_id,
            bucket_arns=pulumi.Output.all(**args.bucket_arns),
            key_arns=pulumi.Output.all(**args.key_arns),
            secret_arns=pulumi.Output.all(*args.secret_arns),
            secret_key_arns=pulumi.Output.all(*args.secret_key_arns),
        ).apply(
            lambda known: Reach(environment=args.environment, region=args.region, account_id=args.account_id, **known)
        )
        self.role_arns = {part: self._role(name, part, reach, args) for part in PARTS}
        self.boundary_arn = aws.iam.Policy(
            f"{name}-team-boundary",
            name=boundary_name(args.environment),
            description=f"{args.environment}: the most that a team's role may do",
            policy=pulumi.Output.json_dumps(reach.apply(team_boundary)),
            opts=pulumi.ResourceOptions(parent=self),
        ).arn
        self.register_outputs({"role_arns": self.role_arns, "boundary_arn": self.boundary_arn})

    def _role(self, name: str, part: str, reach: pulumi.Output["Reach"], args: IdentityArgs) -> pulumi.Output[str]:
        child = pulumi.ResourceOptions(parent=self)
        bound = PARTS[part]
        trust = pulumi.Output.all(args.cluster_arn, args.oidc_provider_arn, args.oidc_issuer).apply(
            lambda known: (
                iam.trust_service_account(known[1], known[2], bound.namespace, bound.service_account)
                if bound.irsa
                else iam.trust_pods(known[0], args.account_id)
            )
        )
        role = aws.iam.Role(
            f"{name}-{part}-role",
            name=f"modelyard-{args.environment}-{part}",
            description=f"{args.environment}: {bound.namespace}/{bound.service_account}",
            assume_role_policy=pulumi.Output.json_dumps(trust),
            opts=child,
        )
        policy = aws.iam.RolePolicy(
            f"{name}-{part}-policy",
            name=part,
            role=role.name,
            policy=pulumi.Output.json_dumps(reach.apply(POLICIES[part])),
            opts=child,
        )
        if not bound.irsa:
            aws.eks.PodIdentityAssociation(
                f"{name}-{part}-association",
                cluster_name=args.cluster_name,
                namespace=bound.namespace,
                service_account=bound.service_account,
                role_arn=role.arn,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
            )
        return role.arn


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What the parts work with, as it is known during the run."""

    environment: str
    region: str
    account_id: str
    cluster_name: str
    cluster_security_group_id: str
    vpc_id: str
    bucket_arns: Mapping[str, str]
    key_arns: Mapping[str, str]
    secret_arns: Sequence[str]
    secret_key_arns: Sequence[str]

    def arn(self, service: str, resource: str) -> str:
        """Of something in this account and region."""
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{resource}"


def pipelines(reach: Reach) -> iam.Document:
    """KFP's API server keeps pipelines and hands out artifacts; steps write theirs with their team's role."""
    return iam.document(*_read(reach, "artifacts"), *_write(reach, "artifacts", "pipelines/*"))


def pipelines_ui(reach: Reach) -> iam.Document:
    """KFP's UI shows artifacts."""
    return iam.document(*_read(reach, "artifacts"))


def tracking(reach: Reach) -> iam.Document:
    """MLflow serves its artifacts; its database's password comes by External Secrets."""
    return iam.document(*_read(reach, "artifacts", "mlflow/*"), *_write(reach, "artifacts", "mlflow/*"))


def serving(reach: Reach) -> iam.Document:
    """KServe pulls models."""
    return iam.document(*_read(reach, "models"))


def secrets(reach: Reach) -> iam.Document:
    """External Secrets reads the environment's secrets, and those that RDS made, whose names are not ours."""
    named = [reach.arn("secretsmanager", f"secret:{reach.environment}/*")]
    return iam.document(
        iam.allow(
            "ReadSecrets",
            ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"],
            [*named, *(arn for arn in reach.secret_arns if arn)],  # a plan knows none of RDS's
        ),
        iam.allow("Decrypt", ["kms:Decrypt"], reach.secret_key_arns, _through("secretsmanager", reach)),
    )


def logging(reach: Reach) -> iam.Document:
    """Fluent Bit writes into the log group of pods, which is the cluster's, and into no trail and no flow log."""
    return iam.document(
        iam.allow(
            "WriteLogs",
            ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            [reach.arn("logs", f"log-group:{pod_logs(reach.environment)}*")],
        )
    )


def cost(reach: Reach) -> iam.Document:
    """OpenCost looks at disks, addresses and prices of spot nodes (opencost 3995, kubecost 2377 on GitHub)."""
    return iam.document(
        iam.allow(
            "Look",
            ["ec2:DescribeAddresses", "ec2:DescribeSpotPriceHistory", "ec2:DescribeVolumes"],
            ["*"],
            {"StringEquals": {"aws:RequestedRegion": reach.region}},
        )
    )


def ingress(reach: Reach) -> iam.Document:
    """AWS Load Balancer Controller.

    After its own policy (docs/install/iam_policy.json, v3.2.2 as aws-cdk-lib 2.276.0 has it, read 2026-11-21),
    narrowed: what it changes carries this cluster's tag, and WAF, Shield, Cognito and Outposts are left out, so its
    chart has `enableWaf`, `enableWafv2` and `enableShield` off.
    """
    tag = "elbv2.k8s.aws/cluster"
    requested = {f"aws:RequestTag/{tag}": reach.cluster_name}
    owned = {f"aws:ResourceTag/{tag}": reach.cluster_name}
    untagged = {"Null": {f"aws:RequestTag/{tag}": "true"}, "StringEquals": owned}
    groups = [reach.arn("ec2", "security-group/*")]
    own_group = reach.arn("ec2", f"security-group/{reach.cluster_security_group_id}")
    rules = ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"]
    balancers = [reach.arn("elasticloadbalancing", f"loadbalancer/{kind}/*") for kind in ("app", "net")]
    targets = [reach.arn("elasticloadbalancing", "targetgroup/*")]
    listeners = [
        reach.arn("elasticloadbalancing", f"{what}/{kind}/*")
        for what in ("listener", "listener-rule")
        for kind in ("app", "net")
    ]
    everything = [*balancers, *targets, *listeners]
    return iam.document(
        iam.allow(
            "FirstLoadBalancer",
            ["iam:CreateServiceLinkedRole"],
            [
                f"arn:aws:iam::{reach.account_id}:role/aws-service-role/elasticloadbalancing.amazonaws.com/"
                "AWSServiceRoleForElasticLoadBalancing"
            ],
            {"StringEquals": {"iam:AWSServiceName": "elasticloadbalancing.amazonaws.com"}},
        ),
        iam.allow(
            "Look",
            [
                "acm:ListCertificates",
                "ec2:DescribeAccountAttributes",
                "ec2:DescribeAddresses",
                "ec2:DescribeAvailabilityZones",
                "ec2:DescribeInstances",
                "ec2:DescribeInternetGateways",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeRouteTables",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
                "ec2:DescribeTags",
                "ec2:DescribeVpcPeeringConnections",
                "ec2:DescribeVpcs",
                "elasticloadbalancing:DescribeCapacityReservation",
                "elasticloadbalancing:DescribeListenerAttributes",
                "elasticloadbalancing:DescribeListenerCertificates",
                "elasticloadbalancing:DescribeListeners",
                "elasticloadbalancing:DescribeLoadBalancerAttributes",
                "elasticloadbalancing:DescribeLoadBalancers",
                "elasticloadbalancing:DescribeRules",
                "elasticloadbalancing:DescribeSSLPolicies",
                "elasticloadbalancing:DescribeTags",
                "elasticloadbalancing:DescribeTargetGroupAttributes",
                "elasticloadbalancing:DescribeTargetGroups",
                "elasticloadbalancing:DescribeTargetHealth",
                "elasticloadbalancing:DescribeTrustStores",
            ],
            ["*"],
        ),
        iam.allow("LookAtCertificates", ["acm:DescribeCertificate"], [reach.arn("acm", "certificate/*")]),
        iam.allow("LookAtGroupsOfVpc", ["ec2:GetSecurityGroupsForVpc"], [reach.arn("ec2", f"vpc/{reach.vpc_id}")]),
        iam.allow("MakeGroupsInVpc", ["ec2:CreateSecurityGroup"], [reach.arn("ec2", f"vpc/{reach.vpc_id}")]),
        iam.allow("MakeGroups", ["ec2:CreateSecurityGroup"], groups, {"StringEquals": requested}),
        iam.allow(
            "TagNewGroups",
            ["ec2:CreateTags"],
            groups,
            {"StringEquals": {**requested, "ec2:CreateAction": "CreateSecurityGroup"}},
        ),
        iam.allow("TagOwnGroups", ["ec2:CreateTags", "ec2:DeleteTags"], groups, untagged),
        iam.allow("ChangeOwnGroups", [*rules, "ec2:DeleteSecurityGroup"], groups, {"StringEquals": owned}),
        iam.allow("LetIntoCluster", rules, [own_group]),
        iam.allow(
            "Make",
            ["elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateTargetGroup"],
            [*balancers, *targets],
            {"StringEquals": requested},
        ),
        iam.allow(
            "TagNew",
            ["elasticloadbalancing:AddTags"],
            everything,
            {
                "StringEquals": {
                    **requested,
                    "elasticloadbalancing:CreateAction": [
                        "CreateLoadBalancer",
                        "CreateTargetGroup",
                        "CreateListener",
                        "CreateRule",
                    ],
                }
            },
        ),
        iam.allow("TagOwn", ["elasticloadbalancing:AddTags", "elasticloadbalancing:RemoveTags"], everything, untagged),
        iam.allow(
            "ChangeOwn",
            [
                "elasticloadbalancing:AddListenerCertificates",
                "elasticloadbalancing:CreateListener",
                "elasticloadbalancing:CreateRule",
                "elasticloadbalancing:DeleteListener",
                "elasticloadbalancing:DeleteLoadBalancer",
                "elasticloadbalancing:DeleteRule",
                "elasticloadbalancing:DeleteTargetGroup",
                "elasticloadbalancing:DeregisterTargets",
                "elasticloadbalancing:ModifyListener",
                "elasticloadbalancing:ModifyListenerAttributes",
                "elasticloadbalancing:ModifyLoadBalancerAttributes",
                "elasticloadbalancing:ModifyRule",
                "elasticloadbalancing:ModifyTargetGroup",
                "elasticloadbalancing:ModifyTargetGroupAttributes",
                "elasticloadbalancing:RegisterTargets",
                "elasticloadbalancing:RemoveListenerCertificates",
                "elasticloadbalancing:SetIpAddressType",
                "elasticloadbalancing:SetSecurityGroups",
                "elasticloadbalancing:SetSubnets",
            ],
            everything,
            {"StringEquals": owned},
        ),
        # It knows no condition on tags.
        iam.allow("OrderRules", ["elasticloadbalancing:SetRulePriorities"], listeners),
    )


POLICIES: dict[str, Callable[[Reach], iam.Document]] = {
    "pipelines": pipelines,
    "pipelines-ui": pipelines_ui,
    "tracking": tracking,
    "serving": serving,
    "secrets": secrets,
    "ingress": ingress,
    "logging": logging,
    "cost": cost,
}


def boundary_name(environment: str) -> str:
    """The name of the permissions boundary of teams' roles."""
    return f"modelyard-{environment}-team-boundary"


def team_boundary(reach: Reach) -> iam.Document:
    """The most that a team's role may do, whatever else it is given.

    Objects under the prefix of the namespace that the pod runs in, the keys of those buckets through S3, and images.
    The denials hold even if somebody widens what is allowed above them.
    """
    buckets = [reach.bucket_arns[bucket] for bucket in TEAM_BUCKETS]
    return iam.document(
        iam.allow("ListOwn", ["s3:ListBucket"], buckets, {"StringLike": {"s3:prefix": f"{NAMESPACE}/*"}}),
        iam.allow("FindBuckets", ["s3:GetBucketLocation"], buckets),
        iam.allow("OwnObjects", [*READ_OBJECTS, *WRITE_OBJECTS], [f"{arn}/{NAMESPACE}/*" for arn in buckets]),
        iam.allow(
            "OwnKeys",
            ["kms:Decrypt", "kms:GenerateDataKey"],
            [reach.key_arns[bucket] for bucket in TEAM_BUCKETS],
            _through("s3", reach),
        ),
        iam.allow("LogInToRegistry", ["ecr:GetAuthorizationToken"], ["*"]),
        iam.allow(
            "PullImages",
            ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            [reach.arn("ecr", f"repository/{reach.environment}/*")],
        ),
        _deny("NoIdentities", ["iam:*", "organizations:*", "account:*", "sts:AssumeRole"]),
        _deny("NoOtherAccounts", ["s3:*", "kms:*"], {"StringNotEquals": {"aws:ResourceAccount": reach.account_id}}),
    )


READ_OBJECTS = ("s3:GetObject", "s3:GetObjectVersion")
WRITE_OBJECTS = ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")


def _read(reach: Reach, bucket: str, within: str = "*") -> tuple[iam.Statement, ...]:
    arn = reach.bucket_arns[bucket]
    prefix = None if within == "*" else {"StringLike": {"s3:prefix": within}}
    return (
        iam.allow("List", ["s3:ListBucket"], [arn], prefix),
        iam.allow("Find", ["s3:GetBucketLocation"], [arn]),
        iam.allow("Read", READ_OBJECTS, [f"{arn}/{within}"]),
        iam.allow("Decrypt", ["kms:Decrypt"], [reach.key_arns[bucket]], _through("s3", reach)),
    )


def _write(reach: Reach, bucket: str, within: str) -> tuple[iam.Statement, ...]:
    return (
        iam.allow("Write", WRITE_OBJECTS, [f"{reach.bucket_arns[bucket]}/{within}"]),
        iam.allow("Encrypt", ["kms:GenerateDataKey"], [reach.key_arns[bucket]], _through("s3", reach)),
    )


def _through(service: str, reach: Reach) -> iam.Conditions:
    return {"StringEquals": {"kms:ViaService": f"{service}.{reach.region}.amazonaws.com"}}


def _deny(sid: str, actions: Sequence[str], conditions: iam.Conditions | None = None) -> iam.Statement:
    statement: dict[str, Any] = {"Sid": sid, "Effect": "Deny", "Action": list(actions), "Resource": ["*"]}
    return statement | ({"Condition": dict(conditions)} if conditions else {})
