import pytest

from components.science.evaluation import Evaluation, evaluate
from components.science.judging import Champion, Report, Rival, Verdict, judge, refuse_unless_passed, score_rival
from components.science.onnx_model import OnnxModel
from components.science.rules import read_rules
from components.science.split import split_table
from components.science.training import learn
from pipelines.training import RULES

DEFAULT = read_rules(RULES)


def with_metrics(evaluation: Evaluation, **metrics: float | None) -> Evaluation:
    return evaluation.model_copy(update={"metrics": evaluation.metrics | metrics})


def with_group(evaluation: Evaluation, name: str, *, rows: int = 0, **metrics: float | None) -> Evaluation:
    assert evaluation.groups
    group = evaluation.groups.by_group[name]
    changed = group.model_copy(update={"rows": rows or group.rows, "metrics": group.metrics | metrics})
    groups = evaluation.groups.model_copy(update={"by_group": evaluation.groups.by_group | {name: changed}})
    return evaluation.model_copy(update={"groups": groups})


def broken(report: Report) -> list[str]:
    return [verdict.rule for verdict in report.rules if not verdict.passed]


@pytest.mark.parametrize("seed", range(3))
def test_the_real_data_passes_the_pipelines_rules_and_shuffled_labels_clearly_do_not(applications, about, seed):
    shuffled = applications.assign(deny=applications.deny.sample(frac=1, random_state=seed).to_numpy())
    reports = []
    for table in (applications, shuffled):
        train, test = split_table(table, "deny", 0.25, seed)
        model = OnnxModel(learn(train, test, about, trees=100, learning_rate=0.05, seed=seed).onnx)
        reports.append(judge(evaluate(model, test, "afam"), DEFAULT))
    assert broken(reports[0]) == []
    assert {"roc_auc floor", "recall floor", "log_loss ceiling"} <= set(broken(reports[1]))


def test_each_rule_is_listed_with_its_number_and_limit(evaluation):
    report = judge(evaluation, DEFAULT)
    found = {verdict.rule: (verdict.value, verdict.compare, verdict.limit) for verdict in report.rules}
    groups = evaluation.groups
    assert found == {
        "roc_auc floor": (evaluation.metrics["roc_auc"], ">=", 0.7),
        "recall floor": (evaluation.metrics["recall"], ">=", 0.1),
        "log_loss ceiling": (evaluation.metrics["log_loss"], "<=", 0.33),
        "calibration_error ceiling": (evaluation.metrics["calibration_error"], "<=", 0.06),
        "roc_auc floor of afam=no": (groups.by_group["no"].metrics["roc_auc"], ">=", 0.6),
        "roc_auc floor of afam=yes": (groups.by_group["yes"].metrics["roc_auc"], ">=", 0.6),
        "selection_rate difference by afam": (groups.demographic_parity_difference, "<=", 0.25),
        "recall difference by afam": (groups.equal_opportunity_difference, "<=", 0.4),
    }


@pytest.mark.parametrize(
    ("metrics", "rule"),
    [
        ({"roc_auc": 0.699}, "roc_auc floor"),
        ({"log_loss": 0.331}, "log_loss ceiling"),
        ({"recall": None}, "recall floor"),
        ({"log_loss": None}, "log_loss ceiling"),
        ({"roc_auc": float("nan")}, "roc_auc floor"),
        ({"log_loss": float("-inf")}, "log_loss ceiling"),
    ],
)
def test_a_number_past_its_limit_or_undefined_fails_its_rule_alone(evaluation, metrics, rule):
    report = judge(with_metrics(evaluation, **metrics), DEFAULT)
    assert broken(report) == [rule]
    assert not report.passed


def test_a_number_that_just_reaches_its_limit_passes(evaluation):
    assert judge(with_metrics(evaluation, roc_auc=0.7, log_loss=0.33), DEFAULT).passed


def test_the_model_may_be_worse_than_the_champion_by_the_tolerance_and_no_more(evaluation):
    rival = Rival("4", with_metrics(evaluation, roc_auc=0.85))
    assert judge(with_metrics(evaluation, roc_auc=0.841), DEFAULT, rival).passed
    report = judge(with_metrics(evaluation, roc_auc=0.839), DEFAULT, rival)
    assert broken(report) == ["roc_auc against champion 4"]
    assert report.champion == Champion(version="4")


def test_where_less_is_better_the_champion_is_a_ceiling(evaluation):
    rules = read_rules({"floors": {"f1": 0}, "champion": {"metric": "log_loss", "tolerance": 0.01}})
    rival = Rival("4", with_metrics(evaluation, log_loss=0.25))
    assert judge(with_metrics(evaluation, log_loss=0.259), rules, rival).passed
    assert broken(judge(with_metrics(evaluation, log_loss=0.261), rules, rival)) == ["log_loss against champion 4"]


def test_without_a_champion_and_with_the_rule_switched_off_nothing_is_compared(evaluation):
    rules = read_rules({"floors": {"f1": 0}, "champion": None})
    better = Rival("4", with_metrics(evaluation, roc_auc=1.0))
    assert judge(evaluation, rules, better).passed
    assert judge(evaluation, DEFAULT).champion is None


def test_the_champion_is_scored_on_the_same_rows(trained, halves, evaluation):
    rival = score_rival("4", trained.onnx, halves[1], "afam", has_seen_them=False)
    assert rival == Rival("4", evaluation)


def test_a_champion_that_learned_from_the_test_rows_says_so_in_the_report(trained, halves, evaluation):
    rival = score_rival("4", trained.onnx, halves[1], "afam", has_seen_them=True)
    (verdict,) = [v for v in judge(evaluation, DEFAULT, rival).rules if v.rule == "roc_auc against champion 4"]
    assert verdict.note.startswith("the champion learned from some of these rows")


def test_no_model_passes_a_champion_that_cannot_be_scored_and_the_report_says_why(trained, halves, evaluation):
    rival = score_rival("4", trained.onnx, halves[1].drop(columns="pirat"), "afam", has_seen_them=False)
    (verdict,) = [v for v in judge(evaluation, DEFAULT, rival).rules if not v.passed]
    assert verdict.limit is None
    assert verdict.note.startswith("the champion can't be scored on these rows: the data has no feature column 'pirat'")


def test_a_champion_that_is_no_model_is_none_that_can_be_scored(halves):
    rival = score_rival("4", b"garbage", halves[1], "afam", has_seen_them=False)
    assert rival.note.startswith("the champion can't be scored on these rows: the model's file is no ONNX model")


@pytest.mark.parametrize("change", [{"target": "insurance"}, {"positive": "no"}])
def test_a_champion_that_finds_something_else_is_not_compared_and_the_report_says_why(evaluation, change):
    report = judge(evaluation, DEFAULT, Rival("4", evaluation.model_copy(update=change)))
    (verdict,) = [verdict for verdict in report.rules if not verdict.passed]
    assert (verdict.rule, verdict.limit) == ("roc_auc against champion 4", None)
    assert verdict.note.endswith("this model 'yes' in 'deny': give it a name of its own")


def test_a_group_below_the_least_size_is_listed_as_not_judged(evaluation):
    small = with_group(evaluation, "yes", rows=29, roc_auc=0.1, recall=0.0)
    report = judge(small, DEFAULT)
    assert report.passed
    assert [(group.group, group.rows, group.least_rows) for group in report.not_judged] == [("afam=yes", 29, 30)]
    assert not [verdict.rule for verdict in report.rules if "afam" in verdict.rule and "no" not in verdict.rule]


def test_a_group_that_is_large_enough_fails_by_its_own_floor_or_by_a_difference(evaluation):
    assert broken(judge(with_group(evaluation, "yes", rows=30, roc_auc=0.5), DEFAULT)) == ["roc_auc floor of afam=yes"]
    assert broken(judge(with_group(evaluation, "yes", recall=0.9), DEFAULT)) == ["recall difference by afam"]
    assert broken(judge(with_group(evaluation, "yes", recall=None), DEFAULT)) == ["recall difference by afam"]


def test_rules_for_groups_need_a_group_column(evaluation):
    with pytest.raises(ValueError, match="the rules name groups, but no group column was given"):
        judge(evaluation.model_copy(update={"groups": None}), DEFAULT)


def test_the_report_survives_json_with_a_number_that_is_undefined(evaluation):
    report = judge(with_metrics(evaluation, recall=None), DEFAULT)
    assert Report.model_validate_json(report.model_dump_json()) == report


PASSED = Verdict(rule="f1 floor", value=0.5, limit=0.2, compare=">=", passed=True)
REPORT = Report(passed=True, rules=[PASSED], not_judged=[], champion=None)


def test_the_gate_lets_a_passed_report_through():
    refuse_unless_passed(REPORT)


def test_the_gate_names_each_broken_rule_with_number_limit_and_note():
    low = PASSED.model_copy(update={"value": 0.1, "passed": False})
    gone = PASSED.model_copy(update={"value": None, "passed": False, "note": "undefined here"})
    with pytest.raises(ValueError) as error:  # noqa: PT011  compared below
        refuse_unless_passed(REPORT.model_copy(update={"passed": False, "rules": [PASSED, low, gone]}))
    assert str(error.value) == (
        "the model is refused: f1 floor: 0.100 is not >= 0.200; f1 floor: undefined is not >= 0.200 (undefined here)"
    )


@pytest.mark.parametrize(
    "change",
    [{"rules": []}, {"passed": False}, {"rules": [PASSED.model_copy(update={"passed": False})]}],
    ids=["no rule", "not passed", "a broken rule in a passed report"],
)
def test_the_gate_refuses_a_report_that_contradicts_itself_or_judges_nothing(change):
    with pytest.raises(ValueError, match=r"^the model is refused: "):
        refuse_unless_passed(REPORT.model_copy(update=change))
