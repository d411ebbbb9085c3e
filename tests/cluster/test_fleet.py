"""A fleet: a thousand GPU nodes as Karpenter would make them, and who may land on them, by the real scheduler."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import yaml

from infra import catalog
from infra.aws.karpenter import Site, node_class, node_pools
from infra.placement import placement
from infra.settings.environment import Capacity
from infra.settings.hardware import HardwareSettings
from tests.cluster.plane import Plane

PROFILES = HardwareSettings.model_validate(
    yaml.safe_load(Path("stacks/hardware.yaml").read_text()), strict=False
).profiles
pytestmark = pytest.mark.timeout(900)
PATIENCE = 300
"""Seconds; two cores that have other work too take long."""
GPU, EFA = "nvidia.com/gpu", "vpc.amazonaws.com/efa"
GPU_NODES = 1000
CPU_NODES = 20
BEYOND = 10
"""So many more pods of each profile than its nodes hold; nobody else's node may take them."""


@pytest.fixture(scope="module")
def fleet(binary, tmp_path_factory):
    """A control plane with the fleet, which no other test sees."""
    for name in ("etcd", "kube", "kwok"):
        binary(name)
    with Plane(tmp_path_factory.mktemp("fleet")) as plane, plane.client() as client:
        made = [node for name in PROFILES for node in nodes(name)]
        assert sum(GPU in node["status"]["capacity"] for node in made) == GPU_NODES
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            for answer in pool.map(lambda node: client.post("/api/v1/nodes", json=node), made):
                assert answer.status_code == 201, answer.text
        plane.until("the fleet", lambda: ready(client) == len(made), within=PATIENCE, every=2)
        print(f"{len(made)} nodes ready in {time.monotonic() - began:.1f} s")
        yield client


def share(name):
    """How many nodes a profile gets: the GPU profiles all of them together, in equal parts."""
    with_gpus = [other for other, profile in PROFILES.items() if profile.gpus]
    if name not in with_gpus:
        return CPU_NODES
    each, rest = divmod(GPU_NODES, len(with_gpus))
    return each + (with_gpus.index(name) < rest)


def nodes(name):
    """Nodes of a profile with the labels, taints and instance types that its Karpenter pools say, in turn."""
    profile = PROFILES[name]
    templates = [pool["spec"]["template"] for pool in node_pools(name, profile, everything(profile), [])]
    for number in range(share(name)):
        template = templates[number % len(templates)]
        wanted = {wish["key"]: wish["values"] for wish in template["spec"]["requirements"]}
        types = wanted["node.kubernetes.io/instance-type"]
        instance_type = catalog.instance_types()[types[number % len(types)]]
        holds = {
            "cpu": str(instance_type.vcpus),
            "memory": f"{instance_type.memory_gib:.0f}Gi",
            "pods": "110",
            **({GPU: str(instance_type.gpus)} if instance_type.gpus else {}),
            **({EFA: str(instance_type.efa_interfaces)} if profile.efa else {}),
        }
        yield {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": f"{name}-{number}",
                "labels": template["metadata"]["labels"]
                | {key: values[0] for key, values in wanted.items() if len(values) == 1}
                | {
                    "node.kubernetes.io/instance-type": instance_type.name,
                    "kubernetes.io/hostname": f"{name}-{number}",
                },
            },
            "spec": {"taints": template["spec"].get("taints", [])},
            "status": {"capacity": holds, "allocatable": holds},
        }


def everything(profile):
    """A thousand nodes of each kind of capacity that a profile has."""
    most = dict.fromkeys((rung.value for rung in profile.capacity), 1000)
    reserved = {"reservation": {"tags": {"team": "ml"}}} if "reserved" in most else {}
    return Capacity.model_validate({"expected": 0, "max": most, **reserved}, strict=False)


def ready(client):
    found = client.get("/api/v1/nodes").json()["items"]
    return sum(
        any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions", ()))
        and not any(taint["key"].startswith("node.kubernetes.io/") for taint in node["spec"].get("taints", ()))
        for node in found
    )


def deployment(name, replicas, where):
    container = {"name": "main", "image": "registry.invalid/main", "resources": where.pop("resources", {})}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container], **where}},
        },
    }


def pods(client):
    return client.get("/api/v1/namespaces/default/pods").json()["items"]


def judged(pod):
    """Whether the scheduler has put it somewhere, or said that it can't."""
    return "nodeName" in pod["spec"] or any(
        condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable"
        for condition in pod["status"].get("conditions", ())
    )


def test_a_thousand_gpu_nodes_take_the_pods_of_their_profile_and_no_others(fleet):
    asked = {name: share(name) + BEYOND if profile.gpus else 50 for name, profile in PROFILES.items()}
    began = time.monotonic()
    for name, replicas in asked.items():
        _deploy(fleet, deployment(name, replicas, placement(name, PROFILES[name])))
    found = _settled(fleet, asked)
    print(f"{sum(asked.values())} pods judged in {time.monotonic() - began:.1f} s")

    where = {node["metadata"]["name"]: node for node in fleet.get("/api/v1/nodes").json()["items"]}
    landed: Counter[str] = Counter()
    devices: Counter[tuple[str, str]] = Counter()
    for pod in found:
        name = pod["metadata"]["labels"]["app"]
        if "nodeName" not in pod["spec"]:
            (why,) = [one["message"] for one in pod["status"]["conditions"] if one["type"] == "PodScheduled"]
            assert f"Insufficient {GPU}" in why
            continue
        node = where[pod["spec"]["nodeName"]]
        assert node["metadata"]["labels"]["modelyard.dev/profile"] == name
        assert node["metadata"]["labels"]["node.kubernetes.io/instance-type"] in PROFILES[name].instance_types
        landed[name] += 1
        for device, count in pod["spec"]["containers"][0]["resources"].get("limits", {}).items():
            devices[node["metadata"]["name"], device] += int(count)
    assert landed == {name: share(name) if profile.gpus else asked[name] for name, profile in PROFILES.items()}
    for (name, device), count in devices.items():
        assert count == int(where[name]["status"]["allocatable"][device]), "a whole node each, and none has more"


def test_a_pod_that_names_no_profile_never_lands_on_a_gpu_node_even_when_nothing_else_is_free(fleet):
    cores = sum(
        catalog.instance_types()[kind].vcpus for name in PROFILES if not PROFILES[name].gpus for kind in _types(name)
    )
    whole = {"resources": {"requests": {"cpu": "2"}}}
    _deploy(fleet, deployment("anyone", cores // 2 + BEYOND, whole))
    greedy = deployment("greedy", BEYOND, {"resources": {"limits": {GPU: "1"}}})
    _deploy(fleet, greedy)
    found = _settled(fleet, {"anyone": cores // 2 + BEYOND, "greedy": BEYOND})

    where = {node["metadata"]["name"]: node for node in fleet.get("/api/v1/nodes").json()["items"]}
    taken = [where[pod["spec"]["nodeName"]] for pod in found if "nodeName" in pod["spec"]]
    assert len(taken) == cores // 2, "all the room that nodes without GPUs have"
    assert not [node["metadata"]["name"] for node in taken if GPU in node["status"]["allocatable"]]
    left = [pod for pod in found if "nodeName" not in pod["spec"]]
    assert Counter(pod["metadata"]["labels"]["app"] for pod in left) == {"anyone": BEYOND, "greedy": BEYOND}
    assert all("untolerated taint" in str(pod["status"]["conditions"]) for pod in left)


def _types(name):
    return [node["metadata"]["labels"]["node.kubernetes.io/instance-type"] for node in nodes(name)]


def _deploy(client, made):
    answer = client.post("/apis/apps/v1/namespaces/default/deployments", json=made)
    assert answer.status_code == 201, answer.text


def _settled(client, asked):
    """The pods of these deployments once the scheduler has judged each."""
    latest = time.monotonic() + PATIENCE
    while True:
        found = [pod for pod in pods(client) if pod["metadata"]["labels"]["app"] in asked]
        if len(found) == sum(asked.values()) and all(map(judged, found)):
            return found
        assert time.monotonic() < latest, (
            f"{sum(map(judged, found))} of {sum(asked.values())} pods are judged after 90 s"
        )
        time.sleep(0.25)


@pytest.fixture(scope="module")
def karpenter(plane, publisher):
    """The shared control plane, with Karpenter's own CRDs."""
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    crds = [yaml.safe_load(path.read_text()) for path in (publisher("karpenter-aws") / "pkg/apis/crds").glob("*.yaml")]
    with plane.client() as client:
        for crd in crds:
            _apply(client, f"{definitions}/{crd['metadata']['name']}", crd)
        for crd in crds:
            plane.until(crd["metadata"]["name"], partial(_served, client, crd))
        yield client


SITE = Site(
    environment="dev",
    image="al2023@v20260903",
    instance_profile="modelyard-dev-node",
    volume_key_arn="arn:aws:kms:us-east-1:123456789012:key/1",
    subnet_ids=["subnet-0a1b2c3d", "subnet-1a2b3c4d"],
    security_group_id="sg-0a1b2c3d",
    efa_security_group_id="sg-1a2b3c4d",
    tags={"owner": "platform@example.com"},
)


@pytest.mark.parametrize("name", PROFILES)
def test_what_karpenter_is_told_about_a_profile_is_valid_by_its_own_crds(name, karpenter, prefix):
    profile = PROFILES[name]
    reservation = everything(profile).reservation
    made = [
        (f"karpenter.k8s.aws/v1/ec2nodeclasses/{prefix}", node_class(name, profile, reservation, SITE)),
        *(
            (f"karpenter.sh/v1/nodepools/{prefix}-{number}", pool)
            for number, pool in enumerate(node_pools(name, profile, everything(profile), ["ebs"]))
        ),
    ]
    for address, body in made:
        metadata = body["metadata"] | {"name": address.rpartition("/")[2]}
        _apply(karpenter, f"/apis/{address}", {**body, "metadata": metadata})


def _apply(client, address, body):
    answer = client.patch(
        address,
        params={"fieldManager": "test", "force": "true", "fieldValidation": "Strict"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        content=json.dumps(body),
    )
    assert answer.is_success, answer.json()["message"]


def _served(client, crd):
    versions = [version["name"] for version in crd["spec"]["versions"] if version["served"]]
    addresses = [f"/apis/{crd['spec']['group']}/{version}/{crd['spec']['names']['plural']}" for version in versions]
    return all(client.get(address).is_success for address in addresses)
