"""The verdict on one model."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from components.science.evaluation import Document, Evaluation, Group, MetricName, evaluate, spread
from components.science.onnx_model import OnnxModel
from components.science.rules import ChampionRule, GroupRules, Rules

LOWER_IS_BETTER: frozenset[MetricName] = frozenset({"log_loss", "calibration_error"})


class Verdict(Document):
    """One rule: the number, the limit, and whether it holds. A number that is undefined never passes."""

    rule: str
    value: float | None
    limit: float | None
    compare: Literal[">=", "<="]
    passed: bool
    note: str = ""


class NotJudged(Document):
    """A group that is too small for its numbers to mean anything."""

    group: str
    rows: int
    least_rows: int


class Champion(Document):
    version: str


class Report(Document):
    passed: bool
    rules: list[Verdict]
    not_judged: list[NotJudged]
    champion: Champion | None


@dataclass(frozen=True)
class Rival:
    """The champion on the same test rows; no evaluation if it can't be scored on them, for the reason in the note."""

    version: str
    evaluation: Evaluation | None
    note: str = ""


def score_rival(version: str, onnx: bytes, test: pd.DataFrame, group: str, *, has_seen_them: bool) -> Rival:
    """The champion on the test rows; `has_seen_them` says that it learned from some of them, which flatters it."""
    try:
        evaluation = evaluate(OnnxModel(onnx), test, group)
    except ValueError as error:
        return Rival(version, None, f"the champion can't be scored on these rows: {error}")
    note = "the champion learned from some of these rows: split with its seed and test share to compare fairly"
    return Rival(version, evaluation, note if has_seen_them else "")


def judge(evaluation: Evaluation, rules: Rules, rival: Rival | None = None) -> Report:
    """Hold an evaluation against the rules, and against the champion if there is one.

    Raises:
        ValueError: the rules name groups, and the evaluation has none.
    """
    if rules.groups and not evaluation.groups:
        raise ValueError("the rules name groups, but no group column was given: name one, or leave `groups` out")
    verdicts = list(_limits("", evaluation.metrics, rules.floors, rules.ceilings))
    not_judged: list[NotJudged] = []
    if rules.champion and rival:
        verdicts.append(_against_champion(evaluation, rules.champion, rival))
    if rules.groups and evaluation.groups:
        column, least = evaluation.groups.column, rules.groups.least_rows
        groups = {f"{column}={name}": group for name, group in evaluation.groups.by_group.items()}
        judged = {name: group for name, group in groups.items() if group.rows >= least}
        verdicts += _of_groups(judged, column, rules.groups)
        not_judged = [
            NotJudged(group=name, rows=group.rows, least_rows=least)
            for name, group in groups.items()
            if name not in judged
        ]
    return Report(
        passed=all(verdict.passed for verdict in verdicts),
        rules=verdicts,
        not_judged=not_judged,
        champion=Champion(version=rival.version) if rival else None,
    )


def refuse_unless_passed(report: Report) -> None:
    """Stop here unless every rule of the report holds.

    Raises:
        ValueError: names each broken rule with its number and limit.
    """
    broken = [_sentence(verdict) for verdict in report.rules if not verdict.passed]
    if broken or not report.rules or not report.passed:
        raise ValueError(f"the model is refused: {'; '.join(broken) or 'its report names no rule that it passed'}")


def _limits(
    where: str,
    metrics: dict[MetricName, float | None],
    floors: dict[MetricName, float],
    ceilings: dict[MetricName, float],
) -> Iterator[Verdict]:
    for name, limit in sorted(floors.items()):
        yield _verdict(f"{name} floor{where}", metrics[name], ">=", limit)
    for name, limit in sorted(ceilings.items()):
        yield _verdict(f"{name} ceiling{where}", metrics[name], "<=", limit)


def _against_champion(evaluation: Evaluation, rule: ChampionRule, rival: Rival) -> Verdict:
    name = f"{rule.metric} against champion {rival.version}"
    value = evaluation.metrics[rule.metric]
    other, note = rival.evaluation, rival.note
    if other and (other.target, other.positive) != (evaluation.target, evaluation.positive):
        note = (
            f"the champion finds {other.positive!r} in {other.target!r}, this model {evaluation.positive!r} in "
            f"{evaluation.target!r}: give it a name of its own"
        )
        other = None
    best = other.metrics[rule.metric] if other else None
    if rule.metric in LOWER_IS_BETTER:
        return _verdict(name, value, "<=", None if best is None else best + rule.tolerance, note)
    return _verdict(name, value, ">=", None if best is None else best - rule.tolerance, note)


def _of_groups(judged: dict[str, Group], column: str, rules: GroupRules) -> Iterator[Verdict]:
    for name, group in judged.items():
        yield from _limits(f" of {name}", group.metrics, rules.floors, rules.ceilings)
    if len(judged) > 1:
        for metric, limit in sorted(rules.differences.items()):
            yield _verdict(f"{metric} difference by {column}", spread(judged.values(), metric), "<=", limit)


def _verdict(
    rule: str, value: float | None, compare: Literal[">=", "<="], limit: float | None, note: str = ""
) -> Verdict:
    known = value is not None and limit is not None and math.isfinite(value) and math.isfinite(limit)
    # Asked the way that a NaN answers with False.
    passed = known and (value >= limit if compare == ">=" else value <= limit)  # type: ignore[operator]  # known
    if value is None and not note:
        note = "the test rows leave this number undefined"
    return Verdict(rule=rule, value=value, limit=limit, compare=compare, passed=passed, note=note)


def _sentence(verdict: Verdict) -> str:
    value = "undefined" if verdict.value is None else f"{verdict.value:.3f}"
    limit = "undefined" if verdict.limit is None else f"{verdict.limit:.3f}"
    return f"{verdict.rule}: {value} is not {verdict.compare} {limit}{f' ({verdict.note})' if verdict.note else ''}"
