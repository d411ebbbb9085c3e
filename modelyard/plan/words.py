"""A plan in words and numbers, for the terminal and the page."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelyard.plan.difference import Difference
from modelyard.plan.findings import Finding
from modelyard.plan.price import Bill

if TYPE_CHECKING:
    from modelyard.plan.plan import Plan


def summary(plan: "Plan") -> Iterator[tuple[str, bool]]:
    """A plan in a few sentences, and whether each is a reason to look again."""
    number = sum(resource.custom for resource in plan.graph.resources)
    bill = plan.bill
    yield f"{plan.stack.name}: {plural(number, 'resource')}{f' in {bill.region}' if bill.region else ''}", False
    if bill.lines:
        total = bill.total
        month = f"{usd(total.expected)} USD a month expected, {usd(total.minimum)} to {usd(total.maximum)} by size"
        if bill.budget_usd is not None:
            month += f"; {'above' if bill.over_budget else 'within'} the budget of {_limit(bill.budget_usd)}"
        if left_out := len(unpriced(bill)) + len(bill.unknown):
            month += f"; {plural(left_out, 'thing')} without a price {'is' if left_out == 1 else 'are'} not in it"
        yield month, bill.over_budget
    if short := sum(not need.suffices for need in plan.quotas):
        yield f"{plural(short, 'service quota')} to raise before it can grow to its ceilings", False
    waived = sum(finding.waived is not None for finding in plan.findings)
    told = plural(len(plan.findings) - waived, "finding") + (f", and {waived} waived" if waived else "")
    yield told, len(plan.findings) > waived


def plural(number: int, noun: str) -> str:
    """`1 finding`, `2 findings`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def usd(value: float) -> str:
    """An amount in whole dollars; what is little is not nothing."""
    return "< 1" if 0 < value < 0.5 else f"{value:,.0f}"


def _limit(value: float) -> str:
    """What somebody wrote down, as it was meant."""
    return f"{value:g}" if value < 1 else usd(value)


def count(value: float) -> str:
    """A number without needless digits."""
    return f"{value:,.1f}".removesuffix(".0")


def unpriced(bill: Bill) -> dict[tuple[str, str], list[str]]:
    """What is not in the sum and why, with the components that have it."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in bill.unpriced:
        found.setdefault((one.what, one.reason), []).append(one.component)
    return found


def place(finding: Finding) -> str:
    """Where the setting that decides is written."""
    return f"{finding.file}:{finding.line}" if finding.file else "default"


def changes(found: Difference) -> Iterator[tuple[str, str, str]]:
    """What is new, gone and changed, a resource or a property a row."""
    for sign, urns in (("new", found.created), ("gone", found.deleted)):
        for urn in urns:
            before, _, name = urn.rpartition("::")
            yield sign, name, before.rpartition(":")[2]
    for urn, inside in found.changed.items():
        for change in inside:
            yield "changed", urn.rpartition("::")[2], f"{change.path}: {_brief(change.before)} → {_brief(change.after)}"


def _brief(value: Any) -> str:
    text = "absent" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
