"""What Karpenter is told to buy: an EC2NodeClass for each hardware profile, a NodePool for each rung of its ladder.

Whole Kubernetes objects as plain data, for Karpenter 1.15.1 (its CRDs: pkg/apis/crds of aws/karpenter-provider-aws).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from infra import catalog
from infra.settings.base import Rung
from infra.settings.environment import Capacity, Reservation
from infra.settings.hardware import Profile

PROFILE = "modelyard.dev/profile"
"""The label that says which hardware profile a node is of."""

WEIGHTS = (100, 90, 80)
"""What stands first in a ladder is tried first; there are three kinds of capacity."""

Driver = Literal["ebs", "efs", "fsx"]


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where nodes are launched and with what, as it is known during the run; `image` is an AMI alias."""

    environment: str
    image: str
    instance_profile: str
    volume_key_arn: str
    subnet_ids: Sequence[str]
    security_group_id: str
    efa_security_group_id: str | None
    tags: Mapping[str, str]


def node_class(name: str, profile: Profile, reservation: Reservation | None, site: Site) -> dict[str, Any]:
    """How EC2 launches the nodes of a profile. Raises ValueError for EFA on an instance type without it."""
    types = [catalog.instance_types()[instance_type] for instance_type in profile.instance_types]
    spec: dict[str, Any] = {
        "amiSelectorTerms": [{"alias": site.image}],
        "instanceProfile": site.instance_profile,
        "subnetSelectorTerms": [{"id": subnet} for subnet in site.subnet_ids],
        "securityGroupSelectorTerms": [{"id": site.security_group_id}],
        "associatePublicIPAddress": False,
        "metadataOptions": {
            "httpEndpoint": "enabled",
            "httpProtocolIPv6": "disabled",
            "httpPutResponseHopLimit": 1,  # so that no pod gets the node's credentials
            "httpTokens": "required",
        },
        "blockDeviceMappings": [
            {
                "deviceName": "/dev/xvda",
                "rootVolume": True,
                "ebs": {
                    "volumeType": "gp3",
                    "volumeSize": f"{profile.disk_gb}Gi",
                    "encrypted": True,
                    "kmsKeyID": site.volume_key_arn,
                    "deleteOnTermination": True,
                },
            }
        ],
        "kubelet": {"serializeImagePulls": False, "maxParallelImagePulls": 8},
        "tags": {**site.tags, "Name": f"{site.environment}-{name}", PROFILE: name},
    }
    if all(instance_type.local_disk_gb for instance_type in types):
        spec["instanceStorePolicy"] = "RAID0"
    if reservation:
        found = {"id": reservation.id} if reservation.id else {"tags": dict(reservation.tags)}
        spec["capacityReservationSelectorTerms"] = [found]
    if profile.placement_group:
        spec["placementGroupSelector"] = {"name": placement_group_name(site.environment, name)}
    if profile.efa:
        if site.efa_security_group_id is None:
            raise ValueError(f"{name} asks for EFA, and there is no security group for it")
        spec["securityGroupSelectorTerms"].append({"id": site.efa_security_group_id})
        spec["networkInterfaces"] = network_interfaces(
            min((instance_type.efa_interfaces for instance_type in types), default=0), name
        )
    return {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": name, "labels": {PROFILE: name}},
        "spec": spec,
    }


def node_pools(name: str, profile: Profile, capacity: Capacity, drivers: Sequence[Driver]) -> list[dict[str, Any]]:
    """What may be bought of a profile: a pool a rung, what stands first in the ladder before the others.

    Their limits together are the ceiling that the environment sets. `drivers` are the CSI drivers that each node waits
    for. Raises ValueError for a rung that the profile does not have.
    """
    if unknown := set(capacity.max) - set(profile.capacity):
        raise ValueError(f"{name} has no {', '.join(sorted(unknown))} in its capacity")
    labels = {**profile.labels, PROFILE: name}
    shared = _life(name, profile, drivers)
    return [
        {
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "metadata": {"name": pool_name(name, rung), "labels": {PROFILE: name}},
            "spec": {
                "weight": weight,
                "limits": limits(profile, capacity.max[rung]),
                "disruption": disruption(profile, rung),
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"requirements": requirements(profile, capacity, rung), **shared},
                },
            },
        }
        for rung, weight in zip(profile.capacity, WEIGHTS, strict=False)
        if rung in capacity.max
    ]


def pool_name(profile: str, rung: Rung) -> str:
    """The name of a NodePool."""
    return f"{profile}-{rung}"


def placement_group_name(environment: str, profile: str) -> str:
    """The name of a profile's cluster placement group.

    Two hyphens, which no environment's name has: the profile system-a10g of dev isn't the profile a10g of dev-system.
    """
    return f"{environment}--{profile}"


def taints(profile: Profile) -> list[dict[str, str]]:
    """What keeps other pods away: from every GPU, and whatever the profile adds."""
    gpu = [{"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}] if profile.gpus else []
    own = [{"key": taint.key, "value": taint.value, "effect": taint.effect} for taint in profile.taints]
    return [*gpu, *({key: value for key, value in taint.items() if value} for taint in own)]


def limits(profile: Profile, nodes: int) -> dict[str, str]:
    """So many nodes of a profile: counted as nodes, and as what is scarce on them.

    Karpenter keeps a limit on nodes since kubernetes-sigs/karpenter 2526.
    """
    known = catalog.instance_types()
    largest = max(known[instance_type].vcpus for instance_type in profile.instance_types)
    scarce = {"nvidia.com/gpu": nodes * profile.gpus} if profile.gpus else {"cpu": nodes * largest}
    return {"nodes": str(nodes), **{resource: str(amount) for resource, amount in scarce.items()}}


def requirements(profile: Profile, capacity: Capacity, rung: Rung) -> list[dict[str, Any]]:
    """Which instances will do."""
    known = catalog.instance_types()
    wanted = {
        "node.kubernetes.io/instance-type": list(profile.instance_types),
        "kubernetes.io/arch": sorted({known[instance_type].architecture for instance_type in profile.instance_types}),
        "kubernetes.io/os": ["linux"],
        "karpenter.sh/capacity-type": [rung.value],
    }
    if capacity.zones:
        wanted["topology.k8s.aws/zone-id"] = list(capacity.zones)
    return [{"key": key, "operator": "In", "values": values} for key, values in wanted.items()]


def disruption(profile: Profile, rung: Rung) -> dict[str, Any]:
    """When nodes are given back.

    A node with GPUs only once it is empty, since moving a training step means to start it again; others also to pack
    them. What is reserved is paid for either way and may stay for a while. New images reach one node at a time.
    """
    packed = not profile.gpus and rung is not Rung.RESERVED
    return {
        "consolidationPolicy": "WhenEmptyOrUnderutilized" if packed else "WhenEmpty",
        "consolidateAfter": "1h" if rung is Rung.RESERVED else "5m",
        "budgets": [
            {"nodes": "100%", "reasons": ["Empty"]},
            {"nodes": "10%", "reasons": ["Underutilized"]},
            {"nodes": "1", "reasons": ["Drifted"]},
        ],
    }


def network_interfaces(count: int, name: str) -> list[dict[str, Any]]:
    """One interface with an address, and EFA on each of so many network cards; EFA alone uses no address."""
    if not count:
        raise ValueError(f"{name} asks for EFA, and not all of its instance types have it")
    first = {"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "interface"}
    return [
        first,
        *({"networkCardIndex": card, "deviceIndex": 1, "interfaceType": "efa-only"} for card in range(count)),
    ]


def _life(name: str, profile: Profile, drivers: Sequence[Driver]) -> dict[str, Any]:
    waiting_for = [f"{driver}.csi.aws.com/agent-not-ready" for driver in drivers]
    always = {
        "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": name},
        "startupTaints": [{"key": key, "effect": "NoExecute"} for key in waiting_for],
        "expireAfter": "720h",  # old images don't live on
        "terminationGracePeriod": "24h",  # how long a pod that must not be disrupted can hold that up
    }
    own = taints(profile)
    return always | ({"taints": own} if own else {})
