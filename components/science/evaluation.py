"""How good a model is on rows it has not seen, over all and for each group."""

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from fairlearn.metrics import MetricFrame, count, selection_rate
from pydantic import BaseModel, ConfigDict
from sklearn.metrics import confusion_matrix, log_loss, roc_auc_score, roc_curve

from components.science.onnx_model import OnnxModel
from components.science.table import need_column

MetricName = Literal[
    "accuracy", "precision", "recall", "f1", "selection_rate", "roc_auc", "log_loss", "calibration_error"
]
MISSING_GROUP = "(missing)"
BINS = 10

Metrics = dict[MetricName, float | None]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bin(Document):
    """Rows whose predicted probability lies in [low, high): what was predicted and what was so, as means."""

    low: float
    high: float
    rows: int
    predicted: float
    observed: float


class Group(Document):
    rows: int
    metrics: Metrics


class Groups(Document):
    """The same metrics for each value of the protected column. A difference is the largest between two groups."""

    column: str
    by_group: dict[str, Group]
    demographic_parity_difference: float | None
    equal_opportunity_difference: float | None


class Roc(Document):
    false_positive_rate: list[float]
    true_positive_rate: list[float]
    threshold: list[float]


class Confusion(Document):
    """`matrix[i][j]`: rows of class `classes[i]` that the model called `classes[j]`."""

    classes: list[str]
    matrix: list[list[int]]


class Evaluation(Document):
    """A model on some rows. A metric that the rows leave undefined is None, never a number that looks fine."""

    rows: int
    target: str
    positive: str
    metrics: Metrics
    groups: Groups | None
    calibration: list[Bin]
    roc: Roc | None
    confusion: Confusion

    def flat(self) -> dict[str, float]:
        """Every number that is defined, by a plain name: `recall`, and `recall/afam:yes` for a group."""
        numbers: dict[str, float | None] = {str(name): value for name, value in self.metrics.items()}
        if self.groups:
            numbers["demographic_parity_difference"] = self.groups.demographic_parity_difference
            numbers["equal_opportunity_difference"] = self.groups.equal_opportunity_difference
            for name, group in self.groups.by_group.items():
                numbers |= {f"{metric}/{self.groups.column}:{name}": value for metric, value in group.metrics.items()}
        return {name: value for name, value in numbers.items() if value is not None}


def evaluate(model: OnnxModel, test: pd.DataFrame, group: str) -> Evaluation:
    """Score `test` and compare with its target. `group` is the protected column, or "" where there is none.

    Raises:
        ValueError: the rows lack a column that the model, its target or the groups need.
    """
    about = model.about
    need_column(test, about.target, "target")
    truth = test[about.target].astype(str).to_numpy(str)
    scores = model.score(test)
    actual, predicted = truth == about.positive, scores.labels == about.positive
    return Evaluation(
        rows=len(test),
        target=about.target,
        positive=about.positive,
        metrics=_metrics(actual, predicted, scores.positive),
        groups=_groups(test, group, actual, predicted, scores.positive) if group else None,
        calibration=calibration(actual, scores.positive),
        roc=_roc(actual, scores.positive),
        confusion=Confusion(
            classes=about.classes, matrix=confusion_matrix(truth, scores.labels, labels=about.classes).tolist()
        ),
    )


def calibration(actual: Bools, probability: Floats) -> list[Bin]:
    """Rows in ten bins of equal width by predicted probability; empty bins are left out."""
    places = np.minimum((probability * BINS).astype(int), BINS - 1)
    return [
        Bin(
            low=place / BINS,
            high=(place + 1) / BINS,
            rows=int((places == place).sum()),
            predicted=float(probability[places == place].mean()),
            observed=float(actual[places == place].mean()),
        )
        for place in np.unique(places).tolist()
    ]


def _accuracy(actual: Bools, predicted: Bools) -> float:
    return float((np.asarray(actual) == np.asarray(predicted)).mean())


def _precision(actual: Bools, predicted: Bools) -> float:
    return _share(_count(actual, predicted), _count(predicted))


def _recall(actual: Bools, predicted: Bools) -> float:
    return _share(_count(actual, predicted), _count(actual))


def _f1(actual: Bools, predicted: Bools) -> float:
    return _share(2 * _count(actual, predicted), _count(actual) + _count(predicted))


def _count(*conditions: Bools) -> int:
    """In how many rows all of the conditions hold."""
    return int(np.logical_and.reduce(conditions).sum())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else np.nan


def _roc_auc(actual: Bools, probability: Floats) -> float:
    return float(roc_auc_score(actual, probability)) if len(np.unique(actual)) == 2 else np.nan


def _log_loss(actual: Bools, probability: Floats) -> float:
    return float(log_loss(actual, probability, labels=[False, True]))


def _calibration_error(actual: Bools, probability: Floats) -> float:
    """How far, on average over the rows, a bin's mean probability is from its share of positives."""
    bins = calibration(np.asarray(actual), np.asarray(probability))
    return sum(abs(found.predicted - found.observed) * found.rows for found in bins) / len(actual)


OF_LABELS: dict[MetricName, Callable[[Bools, Bools], float]] = {
    "accuracy": _accuracy,
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
    "selection_rate": selection_rate,
}
OF_PROBABILITIES: dict[MetricName, Callable[[Bools, Floats], float]] = {
    "roc_auc": _roc_auc,
    "log_loss": _log_loss,
    "calibration_error": _calibration_error,
}


def _metrics(actual: Bools, predicted: Bools, probability: Floats) -> Metrics:
    labels = {name: _defined(metric(actual, predicted)) for name, metric in OF_LABELS.items()}
    return labels | {name: _defined(metric(actual, probability)) for name, metric in OF_PROBABILITIES.items()}


def _groups(test: pd.DataFrame, column: str, actual: Bools, predicted: Bools, probability: Floats) -> Groups:
    need_column(test, column, "group")
    members = test[column].astype("object").where(test[column].notna(), MISSING_GROUP).astype(str)
    labels = MetricFrame(
        metrics={str(name): metric for name, metric in OF_LABELS.items()} | {"rows": count},
        y_true=actual,
        y_pred=predicted,
        sensitive_features=members,
    ).by_group
    scores = MetricFrame(
        metrics=OF_PROBABILITIES, y_true=actual, y_pred=probability, sensitive_features=members
    ).by_group
    by_group = {
        str(name): Group(
            rows=int(row["rows"]),
            metrics={metric: _defined(row[metric]) for metric in OF_LABELS}
            | {metric: _defined(scores.loc[name, metric]) for metric in OF_PROBABILITIES},
        )
        for name, row in labels.iterrows()
    }
    return Groups(
        column=column,
        by_group=by_group,
        demographic_parity_difference=spread(by_group.values(), "selection_rate"),
        equal_opportunity_difference=spread(by_group.values(), "recall"),
    )


def spread(groups: Iterable[Group], metric: MetricName) -> float | None:
    """The largest difference of a metric between two groups; None if it is undefined in one."""
    values = [group.metrics[metric] for group in groups]
    defined = [value for value in values if value is not None]
    return max(defined) - min(defined) if defined and len(defined) == len(values) else None


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _roc(actual: Bools, probability: Floats) -> Roc | None:
    if len(np.unique(actual)) < 2:
        return None
    false_positive, true_positive, threshold = roc_curve(actual, probability)
    # The first threshold, above every score, is infinite, which JSON has no number for.
    threshold[0] = 1.0
    return Roc(
        false_positive_rate=false_positive.tolist(),
        true_positive_rate=true_positive.tolist(),
        threshold=threshold.tolist(),
    )
