"""stacks/waivers.yaml."""

import pytest

from infra.policy import CONTROLS
from infra.settings.files import SettingsError
from infra.settings.waivers import load
from tests.policy.conftest import STACKS, TODAY

NAMES = [control.name for control in CONTROLS]
WAIVER = """waivers:
  - policy: {policy}
    resources: "{resources}"
    reason: {reason}
    expires: {expires}
"""
GIVEN = {
    "policy": "s3-versioning",
    "resources": "storage-*",
    "reason": "Old versions of scratch files are of no use to anybody",
    "expires": '"2027-01-31"',
}


def read(folder, **changes):
    (folder / "waivers.yaml").write_text(WAIVER.format(**GIVEN | changes), encoding="utf-8")
    return load(folder, NAMES)


def test_the_shipped_waivers_are_valid_and_none_has_expired():
    assert not [waiver.policy for waiver in load(STACKS, NAMES).granted if waiver.expired(TODAY)]


def test_a_waiver_may_name_a_check_of_checkov(tmp_path):
    assert read(tmp_path, policy="CKV2_AWS_62").granted[0].policy == "CKV2_AWS_62"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"policy": "s3-versionning"},
            "waivers.yaml:2: .*there is no policy s3-versionning; did you mean s3-versioning",
        ),
        ({"policy": "CKV_AZURE_1"}, "there is no policy CKV_AZURE_1"),
        ({"reason": "we know"}, "waivers.yaml:4: .*reason"),
        ({"expires": "2027-01-31"}, "waivers.yaml:5: .*YAML readers disagree about a plain 2027-01-31"),
        ({"expires": '"next year"'}, "waivers.yaml:5: .*expires"),
        ({"resources": ""}, "waivers.yaml:3: .*resources"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_its_line(tmp_path, changes, sentence):
    with pytest.raises(SettingsError, match=sentence):
        read(tmp_path, **changes)


def test_of_two_waivers_for_the_same_the_one_that_lasts_longer_counts(tmp_path):
    text = WAIVER.format(**GIVEN) + WAIVER.format(**GIVEN | {"expires": '"2027-06-30"'}).removeprefix("waivers:\n")
    (tmp_path / "waivers.yaml").write_text(text, encoding="utf-8")
    bucket = "urn:pulumi:dev::modelyard::aws:s3/bucket:Bucket::storage-data"
    waiver = load(tmp_path, NAMES).covering("s3-versioning", bucket)
    assert waiver
    assert waiver.expires.month == 6
