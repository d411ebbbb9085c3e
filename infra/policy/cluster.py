"""The Kubernetes control plane."""

import ipaddress
from collections.abc import Iterator

from pulumi_policy import Severity

from infra import versions
from infra.policy.control import Item, Stack, each, parsed, together

CLUSTER = "aws:eks/cluster:Cluster"
ADDON = "aws:eks/addon:Addon"
LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")
WIDEST = 8


@each(
    "eks-private-endpoint", Severity.CRITICAL, [1], "CIS 5.4.1, 5.4.2; CT.EKS.PR.1; CKV_AWS_38", CLUSTER,
    setting="cluster.public_access_from",
)  # fmt: skip
def private_endpoint(cluster: Item) -> Iterator[str]:
    """The API server is reached from the VPC, and over the internet from listed addresses at most."""
    if cluster.at("vpcConfig", "endpointPrivateAccess") != True:  # noqa: E712 an unknown is equal to everything
        yield "its private endpoint is off, so that nodes would reach it over the internet"
    if cluster.at("vpcConfig", "endpointPublicAccess") == False:  # noqa: E712 on unless it is switched off
        return
    ranges = cluster.at("vpcConfig", "publicAccessCidrs")
    if not ranges:
        yield "its public endpoint is open to everybody"
        return
    for text in ranges:
        if isinstance(text, str) and ipaddress.ip_network(text, strict=False).prefixlen < WIDEST:
            yield f"its public endpoint is open to {text}"


@together(
    "eks-hardened-endpoint", Severity.CRITICAL, [1], "CIS 5.4.2; CKV_AWS_39", setting="cluster.public_access_from"
)
def hardened_endpoint(stack: Stack) -> Iterator[tuple[Item, str]]:
    """Where security is hardened, the API server has no public endpoint at all."""
    for cluster in stack.of(CLUSTER) if stack.hardened() else ():
        if cluster.at("vpcConfig", "endpointPublicAccess") != False:  # noqa: E712
            yield cluster, "the environment is hardened and its API server has a public endpoint"


@each("eks-secrets-encryption", Severity.HIGH, [3], "CIS 5.3.1; CT.EKS.PR.2; CKV_AWS_58", CLUSTER)
def secrets_encryption(cluster: Item) -> Iterator[str]:
    """Kubernetes secrets are encrypted with a KMS key of our own."""
    if not cluster.at("encryptionConfig", "provider", "keyArn"):
        yield "its secrets aren't encrypted with a key of our own"
    elif "secrets" not in (cluster.at("encryptionConfig", "resources") or ()):
        yield "its encryption leaves secrets out"


@each("eks-control-plane-logs", Severity.MEDIUM, [4], "CIS 2.1; CKV_AWS_37", CLUSTER)
def control_plane_logs(cluster: Item) -> Iterator[str]:
    """The control plane writes all five kinds of log."""
    if missing := [kind for kind in LOG_TYPES if kind not in (cluster.at("enabledClusterLogTypes") or ())]:
        yield f"its control plane doesn't write {', '.join(missing)}"


@together("eks-log-group", Severity.MEDIUM, [4], "CIS 2.1; NSA")
def log_group(stack: Stack) -> Iterator[tuple[Item, str]]:
    """The control plane's log group is ours, before EKS makes one that keeps logs for ever and unencrypted."""
    groups = [group.at("name") for group in stack.of(LOG_GROUP)]
    for cluster in stack.of(CLUSTER):
        wanted = f"/aws/eks/{cluster.at('name')}/cluster"
        if wanted not in groups:
            yield cluster, f"the stack has no log group {wanted}"


@each("eks-supported-version", Severity.MEDIUM, [5], "CKV_AWS_339", CLUSTER)
def supported_version(cluster: Item) -> Iterator[str]:
    """The Kubernetes version is pinned and in standard support, and what happens after that is said."""
    if cluster.at("version") != versions.KUBERNETES:
        yield f"its Kubernetes is {cluster.at('version') or 'any version'}, not the pinned {versions.KUBERNETES}"
    if cluster.today > versions.KUBERNETES_STANDARD_SUPPORT_UNTIL:
        until = versions.KUBERNETES_STANDARD_SUPPORT_UNTIL
        yield f"standard support of Kubernetes {versions.KUBERNETES} ended on {until}: upgrade"
    if not cluster.at("upgradePolicy", "supportType"):
        yield "it has no upgrade policy, so that AWS may charge for extended support"


@each("eks-addon-version", Severity.MEDIUM, [5], "CKV_AWS_339", ADDON)
def addon_version(addon: Item) -> Iterator[str]:
    """Every add-on has a pinned version."""
    if not addon.at("addonVersion"):
        yield f"the add-on {addon.at('addonName')} has no version, so that it is another one next time"


@each("eks-access-entries", Severity.HIGH, [8], "CIS 4.1.7", CLUSTER, setting="cluster.admins")
def access_entries(cluster: Item) -> Iterator[str]:
    """Rights in the cluster come from access entries alone, and its creator has none from the start."""
    if cluster.at("accessConfig", "authenticationMode") != "API":
        yield "its aws-auth ConfigMap still gives rights: authenticationMode has to be API"
    if cluster.at("accessConfig", "bootstrapClusterCreatorAdminPermissions") != False:  # noqa: E712
        yield "whoever creates it becomes its administrator"


@together("eks-network-policy", Severity.HIGH, [16], "CIS 4.3.1")
def network_policy(stack: Stack) -> Iterator[tuple[Item, str]]:
    """The VPC CNI really enforces network policies."""
    for cluster in stack.of(CLUSTER):
        plugins = [one for one in stack.of(ADDON) if one.at("addonName") == "vpc-cni" and _is_of(one, cluster)]
        if not plugins:
            yield cluster, "it has no vpc-cni add-on, and without it network policies have no effect"
        for plugin in plugins:
            values = plugin.at("configurationValues")
            if not isinstance(values, str):
                if not values:
                    yield plugin, "network policies have no effect: its configuration is left out"
            elif (parsed(values) or {}).get("enableNetworkPolicy") not in ("true", True):
                yield plugin, 'network policies have no effect: set enableNetworkPolicy to "true"'


def _is_of(addon: Item, cluster: Item) -> bool:
    return cluster.urn in addon.used("clusterName") or addon.at("clusterName") == cluster.at("name")
