import numpy as np
import pandas as pd
import pytest

from components.science.evaluation import Evaluation, Groups, calibration, evaluate
from components.science.onnx_model import About, OnnxModel, Scores


class Fixed(OnnxModel):
    """A model that answers what it is told to."""

    def __init__(self, probability: list[float]) -> None:
        self.about = About(target="deny", classes=["no", "yes"], positive="yes", features={})
        self.probability = np.array(probability)

    def score(self, table: pd.DataFrame) -> Scores:
        return Scores(np.where(self.probability > 0.5, "yes", "no"), self.probability)


def evaluated(truth: list[str], probability: list[float], groups: list[str | None] | None = None) -> Evaluation:
    rows = pd.DataFrame({"deny": truth} | ({"afam": groups} if groups else {}))
    return evaluate(Fixed(probability), rows, "afam" if groups else "")


def by_group(truth: list[str], probability: list[float], groups: list[str | None]) -> Groups:
    found = evaluated(truth, probability, groups).groups
    assert found
    return found


def test_the_metrics_are_what_one_counts_by_hand():
    found = evaluated(["yes", "yes", "yes", "no", "no"], [0.9, 0.8, 0.2, 0.7, 0.1])
    assert found.metrics["accuracy"] == pytest.approx(3 / 5)
    assert found.metrics["precision"] == pytest.approx(2 / 3)
    assert found.metrics["recall"] == pytest.approx(2 / 3)
    assert found.metrics["f1"] == pytest.approx(2 / 3)
    assert found.metrics["selection_rate"] == pytest.approx(3 / 5)
    assert found.metrics["roc_auc"] == pytest.approx(5 / 6)
    assert found.metrics["log_loss"] == pytest.approx(-np.log([0.9, 0.8, 0.2, 0.3, 0.9]).mean())
    assert found.confusion.matrix == [[1, 1], [1, 2]]


def test_calibration_compares_what_was_predicted_with_what_was_so():
    low, high = calibration(np.array([True, False, True, True]), np.array([0.2, 0.25, 0.99, 1.0]))
    assert (low.low, low.high, low.rows) == (0.2, 0.3, 2)
    assert low.predicted == pytest.approx(0.225)
    assert low.observed == 0.5
    assert (high.low, high.rows) == (0.9, 2)
    error = evaluated(["yes", "no", "yes", "yes"], [0.2, 0.25, 0.99, 1.0]).metrics["calibration_error"]
    assert error == pytest.approx((0.275 * 2 + 0.005 * 2) / 4)


def test_the_roc_curve_goes_from_nothing_to_everything_in_numbers_that_json_has(evaluation):
    roc = evaluation.roc
    assert (roc.false_positive_rate[0], roc.true_positive_rate[0], roc.threshold[0]) == (0, 0, 1)
    assert (roc.false_positive_rate[-1], roc.true_positive_rate[-1]) == (1, 1)
    area = np.trapezoid(roc.true_positive_rate, roc.false_positive_rate)
    assert area == pytest.approx(evaluation.metrics["roc_auc"])


def test_each_group_has_the_metrics_of_its_own_rows(evaluation, halves):
    test = halves[1]
    assert {name: group.rows for name, group in evaluation.groups.by_group.items()} == {
        name: int((test.afam == name).sum()) for name in ("no", "yes")
    }
    found = by_group(["yes", "no", "yes", "yes"], [0.9, 0.1, 0.1, 0.9], ["a", "a", "b", "b"])
    assert found.by_group["a"].metrics["recall"] == 1
    assert found.by_group["b"].metrics["recall"] == 0.5
    assert found.equal_opportunity_difference == 0.5
    assert found.demographic_parity_difference == 0


def test_a_number_that_a_group_leaves_undefined_is_none_and_so_is_the_difference():
    found = by_group(["yes", "no", "no", "no"], [0.9, 0.1, 0.1, 0.2], ["a", "a", "b", "b"])
    assert found.by_group["b"].metrics["recall"] is None, "group b has no positive row"
    assert found.by_group["b"].metrics["precision"] is None, "nothing was called positive in group b"
    assert found.by_group["b"].metrics["roc_auc"] is None
    assert found.equal_opportunity_difference is None
    assert found.demographic_parity_difference == 0.5


def test_rows_of_one_class_have_no_roc_curve():
    found = evaluated(["no", "no"], [0.2, 0.1])
    assert found.roc is None
    assert found.metrics["roc_auc"] is None
    assert found.metrics["accuracy"] == 1


def test_rows_whose_group_is_unknown_are_a_group_of_their_own():
    assert set(by_group(["yes", "no"], [0.9, 0.1], ["a", None]).by_group) == {"a", "(missing)"}


def test_it_survives_the_way_to_json_and_back(evaluation):
    assert Evaluation.model_validate_json(evaluation.model_dump_json()) == evaluation


def test_the_flat_numbers_name_their_group_and_leave_out_what_is_undefined():
    flat = evaluated(["yes", "no", "no", "no"], [0.9, 0.1, 0.1, 0.2], ["a", "a", "b", "b"]).flat()
    assert flat["recall/afam:a"] == 1
    assert "recall/afam:b" not in flat
    assert "equal_opportunity_difference" not in flat
    assert flat["recall"] == 1


def test_rows_without_the_target_or_the_group_are_refused():
    rows = pd.DataFrame({"denied": ["no"], "afam": ["a"]})
    with pytest.raises(ValueError, match="the data has no target column 'deny': did you mean 'denied'"):
        evaluate(Fixed([0.1]), rows, "")
    with pytest.raises(ValueError, match="the data has no group column 'town'"):
        evaluate(Fixed([0.1]), rows.rename(columns={"denied": "deny"}), "town")
