"""Deciding conditions: CEL, by a CEL library, over values that stay values."""

from collections.abc import Mapping

import cel

from modelyard.runner.ir import Value


class ConditionError(ValueError):
    """A condition can't be decided."""


def holds(condition: str, parameters: Mapping[str, Value]) -> bool:
    """Whether a task's trigger condition is true of its input parameters.

    The condition is text of the package's author, a parameter is data of a step: the data is bound as a variable
    and never becomes part of an expression.

    Raises:
        ConditionError: not CEL, a parameter that is not there, or no truth value.
    """
    outcome = _evaluate(condition, {"inputs": {"parameter_values": dict(parameters)}})
    if not isinstance(outcome, bool):
        raise ConditionError(f"condition {condition!r} gives {outcome!r}; true or false is wanted")
    return outcome


def select(expression: str, value: Value) -> Value:
    """The part of a value that a `parameterExpressionSelector` names, for example `parseJson(string_value)["a"]`.

    Raises:
        ConditionError: not CEL, or the part is not there.
    """
    # The IR sees a structured value as its JSON text; here it never was text, so there is nothing to parse.
    selected: Value = _evaluate(expression.replace("parseJson(string_value)", "string_value"), {"string_value": value})
    return selected


def _evaluate(expression: str, variables: dict[str, object]) -> Value:
    try:
        outcome: Value = cel.evaluate(expression, variables)
    except (KeyError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise ConditionError(f"{expression!r} can't be decided: {error}") from error
    return outcome
