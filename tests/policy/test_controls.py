"""Every control, both ways."""

from collections import Counter

import pytest

from infra.policy import CONTROLS
from tests.policy.cases import CASES

WAYS = [(name, number) for name, (_, *spoils) in CASES.items() for number in range(len(spoils))]
ELSEWHERE = dict.fromkeys(
    (10, 11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 24, 30, 40, 43, 44), "it is about what runs in Kubernetes, or on it"
) | {
    22: "images run in Kubernetes; what the cloud does for them is control 23",
    36: "the backend is there before the first stack: `modelyard env bootstrap` makes it",
    38: "it is about when plans are made, not about a resource",
}


def names(found):
    return Counter(finding.policy for finding in found)


@pytest.mark.parametrize("name", CASES)
def test_resources_as_they_should_be_satisfy_the_control(judge, name):
    assert not names(judge(CASES[name][0]))[name]


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_each_way_to_spoil_them_is_found(judge, name, way):
    good, *spoils = CASES[name]
    assert names(judge(spoils[way](good)))[name], "the control doesn't see what was spoiled"


def test_every_control_is_tried_both_ways():
    assert {control.name for control in CONTROLS} == set(CASES)
    assert len(CONTROLS) == len(CASES), "two controls share a name"


def test_every_number_of_the_list_has_a_control_or_a_reason():
    covered = {number for control in CONTROLS for number in control.numbers}
    assert covered | set(ELSEWHERE) == set(range(1, 45))
    assert not covered & set(ELSEWHERE)


def test_every_control_tells_its_number_and_where_it_comes_from():
    for control in CONTROLS:
        assert f"(control {control.numbers[0]}" in control.description
        assert control.source in control.description
        assert control.says, control.name
