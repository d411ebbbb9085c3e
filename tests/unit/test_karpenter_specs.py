from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from infra import catalog
from infra.aws.karpenter import Site, node_class, node_pools, pool_name, taints
from infra.settings.base import Rung
from infra.settings.environment import Capacity, Reservation
from infra.settings.hardware import HardwareSettings, Profile

PROFILES = HardwareSettings.model_validate(
    yaml.safe_load(Path("stacks/hardware.yaml").read_text()), strict=False
).profiles
SITE = Site(
    environment="dev",
    image="al2023@v20260903",
    instance_profile="modelyard-dev-karpenter-node",
    volume_key_arn="arn:aws:kms:us-east-1:123456789012:key/1",
    subnet_ids=["subnet-a", "subnet-b"],
    security_group_id="sg-cluster",
    efa_security_group_id="sg-efa",
    tags={"owner": "platform@example.com", "environment": "dev"},
)


def capacity(**values: Any) -> Capacity:
    return Capacity.model_validate({"expected": 0, "max": {"on-demand": 1}, **values}, strict=False)


def profile(name: str, **changes: Any) -> Profile:
    return Profile.model_validate({**PROFILES[name].model_dump(mode="json"), **changes}, strict=False)


def spec(name: str, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = node_class(name, profile(name, **changes), None, SITE)["spec"]
    return found


def pools(name: str, wanted: Capacity, **changes: Any) -> list[dict[str, Any]]:
    return node_pools(name, profile(name, **changes), wanted, ["ebs"])


def requirement(pool: dict[str, Any], key: str) -> list[str]:
    found = [r["values"] for r in pool["spec"]["template"]["spec"]["requirements"] if r["key"] == key]
    return found[0] if found else []


ladders = st.permutations(list(Rung)).flatmap(lambda rungs: st.integers(1, 3).map(lambda count: rungs[:count]))


@given(
    name=st.sampled_from(sorted(PROFILES)),
    ladder=ladders,
    nodes=st.lists(st.integers(1, 1000), min_size=3, max_size=3),
    data=st.data(),
)
def test_the_limits_of_a_profiles_pools_are_together_exactly_its_ceiling(name, ladder, nodes, data):
    offered = data.draw(st.lists(st.sampled_from(ladder), min_size=1, unique=True))
    most = dict(zip([rung.value for rung in offered], nodes, strict=False))
    reserved = {"reservation": {"id": "cr-0a1b2c3d4e5f67890"}} if "reserved" in most else {}
    wanted = capacity(max=most, **reserved)

    made = pools(name, wanted, capacity=[rung.value for rung in ladder])

    assert sum(int(pool["spec"]["limits"]["nodes"]) for pool in made) == wanted.ceiling
    gpus = PROFILES[name].gpus
    if gpus:
        assert sum(int(pool["spec"]["limits"]["nvidia.com/gpu"]) for pool in made) == wanted.ceiling * gpus
    assert {pool["metadata"]["name"] for pool in made} == {pool_name(name, rung) for rung in offered}
    assert all(requirement(pool, "karpenter.sh/capacity-type") == [pool["metadata"]["name"].removeprefix(f"{name}-")]
               for pool in made)  # fmt: skip
    by_weight = sorted(made, key=lambda pool: -pool["spec"]["weight"])
    assert [pool["metadata"]["name"] for pool in by_weight] == [
        pool_name(name, rung) for rung in ladder if rung in offered
    ], "what stands first in the ladder is tried first"
    assert len({pool["spec"]["weight"] for pool in made}) == len(made)


def test_a_limit_in_cpus_leaves_room_for_the_largest_of_the_instance_types():
    (pool,) = pools("cpu-small", capacity(max={"spot": 3}), instance_types=["m7i.xlarge", "m7i.2xlarge"])
    assert pool["spec"]["limits"] == {"nodes": "3", "cpu": str(3 * catalog.instance_types()["m7i.2xlarge"].vcpus)}


def test_a_kind_of_capacity_that_the_profile_does_not_have_is_refused():
    with pytest.raises(ValueError, match="l4 has no reserved in its capacity"):
        pools("l4", capacity(max={"reserved": 1}, reservation={"id": "cr-0a1b2c3d"}))


@pytest.mark.parametrize("name", PROFILES)
def test_a_pod_on_a_node_can_not_get_the_nodes_credentials(name):
    options = spec(name)["metadataOptions"]
    assert (options["httpTokens"], options["httpPutResponseHopLimit"]) == ("required", 1)


@pytest.mark.parametrize("name", PROFILES)
def test_every_volume_is_encrypted_with_the_environments_key(name):
    for device in spec(name)["blockDeviceMappings"]:
        assert device["ebs"]["encrypted"] is True
        assert device["ebs"]["kmsKeyID"] == SITE.volume_key_arn
        assert device["ebs"]["volumeSize"] == f"{PROFILES[name].disk_gb}Gi"


@pytest.mark.parametrize("name", PROFILES)
def test_nodes_are_in_private_subnets_only_and_have_the_one_node_profile(name):
    found = spec(name)
    assert found["subnetSelectorTerms"] == [{"id": "subnet-a"}, {"id": "subnet-b"}]
    assert found["associatePublicIPAddress"] is False
    assert found["instanceProfile"] == "modelyard-dev-karpenter-node"
    assert "role" not in found, "Karpenter would have to make instance profiles, which it may not"


@pytest.mark.parametrize("name", PROFILES)
def test_machines_carry_the_environments_tags_and_their_profile(name):
    assert SITE.tags.items() <= spec(name)["tags"].items()
    assert spec(name)["tags"]["modelyard.dev/profile"] == name


@pytest.mark.parametrize("name", PROFILES)
def test_nodes_say_which_profile_they_are_even_if_a_profiles_labels_say_otherwise(name):
    for pool in pools(name, _anything(name), labels={"modelyard.dev/profile": "other", "team.example.com/tier": "a"}):
        labels = pool["spec"]["template"]["metadata"]["labels"]
        assert labels == {"modelyard.dev/profile": name, "team.example.com/tier": "a"}
        assert pool["spec"]["template"]["spec"]["nodeClassRef"]["name"] == name


@pytest.mark.parametrize("name", PROFILES)
def test_only_pods_that_ask_for_gpus_land_on_nodes_with_gpus(name):
    gpu = {"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}
    assert (gpu in taints(PROFILES[name])) == bool(PROFILES[name].gpus)
    for pool in pools(name, _anything(name)):
        assert pool["spec"]["template"]["spec"].get("taints", []) == taints(PROFILES[name])


def test_a_profiles_own_taints_come_after_and_an_empty_value_is_left_out():
    changed = profile("a10g", taints=[{"key": "team.example.com/vision", "effect": "NoExecute"}])
    assert taints(changed)[1:] == [{"key": "team.example.com/vision", "effect": "NoExecute"}]


def test_pods_wait_until_the_drivers_of_their_volumes_run():
    (pool,) = node_pools("l4", PROFILES["l4"], capacity(), ["ebs", "fsx"])
    assert pool["spec"]["template"]["spec"]["startupTaints"] == [
        {"key": "ebs.csi.aws.com/agent-not-ready", "effect": "NoExecute"},
        {"key": "fsx.csi.aws.com/agent-not-ready", "effect": "NoExecute"},
    ]


def test_local_disks_are_joined_where_every_instance_type_has_them():
    assert spec("a10g")["instanceStorePolicy"] == "RAID0"
    assert "instanceStorePolicy" not in spec("a10g", instance_types=["g5.xlarge", "m7i.xlarge"])
    assert "instanceStorePolicy" not in spec("cpu-small")


def test_images_are_pulled_side_by_side():
    kubelet = spec("a10g")["kubelet"]
    assert kubelet["serializeImagePulls"] is False, "without this kubelet refuses the next"
    assert kubelet["maxParallelImagePulls"] > 1


@pytest.mark.parametrize(
    ("reservation", "term"),
    [
        (Reservation(id="cr-0a1b2c3d4e5f67890"), {"id": "cr-0a1b2c3d4e5f67890"}),
        (Reservation(tags={"team": "ml"}), {"tags": {"team": "ml"}}),
    ],
)
def test_a_reservation_is_found_by_its_id_or_by_its_tags(reservation, term):
    found = node_class("h100", PROFILES["h100"], reservation, SITE)["spec"]
    assert found["capacityReservationSelectorTerms"] == [term]
    assert "capacityReservationSelectorTerms" not in spec("h100")


def test_efa_is_on_every_network_card_beside_one_interface_with_an_address():
    found = spec("h100x8-efa")
    cards = catalog.instance_types()["p5.48xlarge"].efa_interfaces
    first, *others = found["networkInterfaces"]
    assert first == {"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "interface"}
    assert [(i["networkCardIndex"], i["interfaceType"]) for i in others] == [(n, "efa-only") for n in range(cards)]
    assert {"id": "sg-efa"} in found["securityGroupSelectorTerms"]

    assert "networkInterfaces" not in spec("h100")
    assert spec("h100")["securityGroupSelectorTerms"] == [{"id": "sg-cluster"}]


def test_efa_on_an_instance_type_without_it_is_refused():
    with pytest.raises(ValueError, match="not all of its instance types have it"):
        spec("a10g", efa=True)


def test_nodes_are_close_together_only_if_the_profile_asks():
    assert spec("h100", placement_group=True)["placementGroupSelector"] == {"name": "dev--h100"}
    assert "placementGroupSelector" not in spec("h100")


def test_nodes_are_bought_only_in_the_zones_that_are_named():
    (pool,) = pools("l4", capacity(zones=["use1-az1", "use1-az4"]))
    assert requirement(pool, "topology.k8s.aws/zone-id") == ["use1-az1", "use1-az4"]
    (pool,) = pools("l4", capacity())
    assert requirement(pool, "topology.k8s.aws/zone-id") == []


def test_a_training_step_is_never_moved_to_pack_nodes_and_an_idle_gpu_is_given_back():
    for pool in pools("a10g", capacity(max={"on-demand": 1, "spot": 1})):
        assert pool["spec"]["disruption"]["consolidationPolicy"] == "WhenEmpty"
        assert pool["spec"]["disruption"]["consolidateAfter"] == "5m"
    for pool in pools("cpu-small", capacity(max={"on-demand": 1, "spot": 1})):
        assert pool["spec"]["disruption"]["consolidationPolicy"] == "WhenEmptyOrUnderutilized"


def test_a_new_image_reaches_one_node_of_a_pool_at_a_time():
    for name in PROFILES:
        for pool in pools(name, _anything(name)):
            drifted = [b["nodes"] for b in pool["spec"]["disruption"]["budgets"] if "Drifted" in b["reasons"]]
            assert drifted == ["1"]


def _anything(name: str) -> Capacity:
    most: dict[str, int] = {rung.value: 1 for rung in PROFILES[name].capacity}
    return capacity(max=most, **({"reservation": {"id": "cr-0a1b2c3d"}} if "reserved" in most else {}))
