from pathlib import Path
from typing import Any

import yaml

from infra.placement import placement
from infra.settings.hardware import HardwareSettings, Profile

PROFILES = HardwareSettings.model_validate(
    yaml.safe_load(Path("stacks/hardware.yaml").read_text()), strict=False
).profiles


def changed(name: str, **changes: Any) -> Profile:
    return Profile.model_validate({**PROFILES[name].model_dump(mode="json"), **changes}, strict=False)


def test_a_pod_names_its_profile_and_tolerates_what_keeps_others_away_from_gpus():
    assert placement("h100", PROFILES["h100"]) == {
        "nodeSelector": {"modelyard.dev/profile": "h100"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Equal", "value": "true", "effect": "NoSchedule"}],
        "resources": {"limits": {"nvidia.com/gpu": "8"}},
    }


def test_a_pod_without_a_gpu_tolerates_nothing():
    assert placement("cpu-small", PROFILES["cpu-small"]) == {
        "nodeSelector": {"modelyard.dev/profile": "cpu-small"},
        "tolerations": [],
        "resources": {},
    }


def test_a_profiles_own_taints_are_tolerated_one_without_a_value_by_its_key():
    profile = changed("a10g", taints=[{"key": "example.com/vision", "effect": "NoExecute"}])
    assert placement("a10g", profile)["tolerations"][1:] == [
        {"key": "example.com/vision", "operator": "Exists", "effect": "NoExecute"}
    ]


def test_a_pod_of_an_efa_profile_asks_for_the_interfaces_or_it_would_talk_tcp():
    assert placement("h100x8-efa", PROFILES["h100x8-efa"])["resources"]["limits"] == {
        "nvidia.com/gpu": "8",
        "vpc.amazonaws.com/efa": "32",
    }
