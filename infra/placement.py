"""What a pod says to land on a hardware profile's nodes: plain data in the Kubernetes form."""

from typing import Any

from infra import catalog
from infra.aws.karpenter import PROFILE, taints
from infra.settings.hardware import Profile


def placement(name: str, profile: Profile) -> dict[str, Any]:
    """`nodeSelector` and `tolerations` of the pod, and `resources` of the container that gets the whole node's devices.

    EFA interfaces are a resource of AWS's device plugin, the one that works with Karpenter (EKS user guide, "Manage EFA
    devices", read on 2026-11-21); a pod that doesn't ask for them talks TCP.
    """
    limits = {"nvidia.com/gpu": str(profile.gpus)} if profile.gpus else {}
    if profile.efa:
        known = catalog.instance_types()
        interfaces = min(known[instance_type].efa_interfaces for instance_type in profile.instance_types)
        limits["vpc.amazonaws.com/efa"] = str(interfaces)
    return {
        "nodeSelector": {PROFILE: name},
        "tolerations": [_toleration(taint) for taint in taints(profile)],
        "resources": {"limits": limits} if limits else {},
    }


def _toleration(taint: dict[str, str]) -> dict[str, str]:
    return taint | {"operator": "Equal" if "value" in taint else "Exists"}
