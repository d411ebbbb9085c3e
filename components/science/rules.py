"""By what a model is judged: the numbers that a team sets."""

from collections.abc import Iterator
from typing import Annotated, Any, get_args

from pydantic import Field, ValidationError, model_validator

from components.science.evaluation import Document, MetricName
from components.spelling import did_you_mean

Limit = Annotated[float, Field(allow_inf_nan=False)]
Limits = dict[MetricName, Limit]


class ChampionRule(Document):
    """On the same test rows the model may be worse than the champion by the tolerance, no more."""

    metric: MetricName = "roc_auc"
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01


class GroupRules(Document):
    """Rules for each group with at least `least_rows` test rows; a smaller one says too little to be judged.

    The difference of `selection_rate` between groups is demographic parity, that of `recall` equal opportunity.
    """

    least_rows: Annotated[int, Field(ge=1)] = 30
    floors: Limits = Field(default_factory=dict)
    ceilings: Limits = Field(default_factory=dict)
    differences: Limits = Field(default_factory=dict)


class Rules(Document):
    """What a model has to reach. What is not named is not judged, but for the champion, which takes a null."""

    floors: Limits = Field(default_factory=dict)
    ceilings: Limits = Field(default_factory=dict)
    champion: ChampionRule | None = ChampionRule()
    groups: GroupRules | None = None

    @model_validator(mode="after")
    def judge_by_something(self) -> "Rules":
        if not self.floors and not self.ceilings:
            raise ValueError("they name neither a floor nor a ceiling, so the first model would pass whatever it does")
        return self


def read_rules(rules: dict[str, Any]) -> Rules:
    """The rules in a pipeline's parameter.

    Raises:
        ValueError: a name or a number in them is wrong.
    """
    try:
        return Rules.model_validate(rules)
    except ValidationError as error:
        raise ValueError(f"the rules are wrong: {'; '.join(_problems(error))}") from error


def _problems(error: ValidationError) -> Iterator[str]:
    for detail in error.errors():
        place = ".".join(str(part) for part in detail["loc"] if part != "[key]")
        if detail["type"] == "extra_forbidden":
            known = {"groups": GroupRules.model_fields, "champion": ChampionRule.model_fields}.get(
                "" if len(detail["loc"]) == 1 else str(detail["loc"][0]), Rules.model_fields
            )
            yield f"unknown key {place}: {did_you_mean(str(detail['loc'][-1]), known)}"
        elif detail["loc"] and detail["loc"][-1] == "[key]":
            yield f"unknown metric {place}: {did_you_mean(str(detail['input']), get_args(MetricName))}"
        else:
            yield f"{place}: {detail['msg']}" if place else detail["msg"].removeprefix("Value error, ")
