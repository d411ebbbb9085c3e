from typing import Any

import pytest

from components.science.rules import ChampionRule, GroupRules, Rules, read_rules
from pipelines.training import RULES


def wrong(**rules: Any) -> str:
    with pytest.raises(ValueError, match=r"^the rules are wrong: ") as error:
        read_rules({"floors": {"roc_auc": 0.7}} | rules)
    return str(error.value).removeprefix("the rules are wrong: ")


def test_the_rules_that_the_pipeline_comes_with_are_rules():
    assert read_rules(RULES).floors == {"roc_auc": 0.7, "recall": 0.1}


def test_numbers_that_came_through_json_as_floats_are_still_whole():
    assert read_rules({"floors": {"f1": 0.2}, "groups": {"least_rows": 30.0}}).groups == GroupRules(least_rows=30)


def test_a_slip_is_refused_with_the_right_name():
    assert wrong(floor={}) == "unknown key floor: did you mean 'floors'?"
    assert wrong(groups={"least_row": 3}) == "unknown key groups.least_row: did you mean 'least_rows'?"
    assert wrong(champion={"tolerence": 0.1}) == "unknown key champion.tolerence: did you mean 'tolerance'?"
    assert wrong(floors={"roc_acu": 0.7}) == "unknown metric floors.roc_acu: did you mean 'roc_auc'?"
    assert wrong(champion={"metric": "roc"}).startswith("champion.metric: Input should be 'accuracy', ")


def test_a_limit_that_is_not_a_number_is_refused():
    assert wrong(floors={"roc_auc": float("nan")}) == "floors.roc_auc: Input should be a finite number"
    assert wrong(champion={"tolerance": -0.1}).startswith("champion.tolerance: Input should be greater than or equal")
    assert wrong(groups={"least_rows": 0}).startswith("groups.least_rows: Input should be greater than or equal to 1")


def test_rules_that_judge_by_nothing_are_refused():
    assert wrong(floors={}).startswith("they name neither a floor nor a ceiling")


def test_the_champion_is_compared_unless_that_is_switched_off():
    assert Rules(floors={"f1": 0.1}).champion == ChampionRule(metric="roc_auc", tolerance=0.01)
    assert read_rules({"floors": {"f1": 0.1}, "champion": None}).champion is None
