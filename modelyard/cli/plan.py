"""How a plan is shown."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelyard.cli.output import Screen, short, table
from modelyard.plan.price import Bill, Sizes
from modelyard.plan.tree import Branch, counts, kind, tree

if TYPE_CHECKING:
    from rich.text import Text

    from modelyard.plan.difference import Difference
    from modelyard.plan.findings import Finding
    from modelyard.plan.plan import Plan

STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan"}
MOST_KINDS = 4
MOST_CHANGES = 10


def show(screen: Screen, plan: "Plan", *, full: bool) -> None:
    """Print a plan for people, what matters most first."""
    for sentence, style in summary(plan):
        screen.show(sentence, style)
    for part in (
        _tree(plan, full=full),
        _price(plan.bill, full=full),
        _quotas(plan, full=full),
        _findings(plan.findings),
        _difference(plan, full=full),
    ):
        for piece in part:
            screen.show(piece)


def summary(plan: "Plan") -> Iterator[tuple[str, str]]:
    """A plan in a few sentences, each with its style."""
    number = sum(resource.custom for resource in plan.graph.resources)
    bill = plan.bill
    where = f" in {bill.region}" if bill.region else ""
    yield f"{plan.stack.name}: {plural(number, 'resource')}{where}", "bold"
    if bill.lines:
        total = bill.total
        month = f"{usd(total.expected)} USD a month expected, {usd(total.minimum)} to {usd(total.maximum)} by size"
        if bill.budget_usd is not None:
            month += f"; {'above' if bill.over_budget else 'within'} the budget of {usd(bill.budget_usd)}"
        yield month, "red" if bill.over_budget else ""
    short_of = sum(not need.suffices for need in plan.quotas)
    if short_of:
        yield f"{plural(short_of, 'service quota')} to raise before it can grow to its ceilings", ""
    waived = sum(finding.waived is not None for finding in plan.findings)
    told = plural(len(plan.findings) - waived, "finding") + (f", {waived} waived" if waived else "")
    yield told, "yellow" if len(plan.findings) > waived else "green"


def plural(number: int, noun: str) -> str:
    """`1 finding`, `2 findings`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def usd(value: float) -> str:
    """An amount, with cents only where they matter."""
    return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"


def count(value: float) -> str:
    """A number without needless digits."""
    return f"{value:,.1f}".removesuffix(".0")


def _heading(text: str) -> "Text":
    from rich.text import Text

    return Text(f"\n{text}", "bold")


def _tree(plan: "Plan", *, full: bool) -> Iterator[Any]:
    rows = [row for branch in tree(plan.graph) if full or branch.below for row in _rows(branch, "", "", full=full)]
    if rows:
        yield _heading("What there would be")
        yield table(["part", "resources", ""], rows, right=["resources"])


def _rows(branch: Branch, lead: str, below: str, *, full: bool) -> Iterator[tuple[str, str, str]]:
    found = counts(branch)
    if branch.resource.custom and not branch.below:
        yield f"{lead}{branch.resource.name}", "", kind(branch.resource)
    else:
        kinds = [f"{number} {name}" for name, number in found[:MOST_KINDS]]
        if len(found) > MOST_KINDS:
            kinds.append(f"{sum(number for _, number in found[MOST_KINDS:])} more")
        yield f"{lead}{branch.resource.name}", str(sum(number for _, number in found)), ", ".join(kinds)
    children = [child for child in branch.below if full or child.below]
    for child in children:
        last = child is children[-1]
        yield from _rows(child, f"{below}{'└─ ' if last else '├─ '}", f"{below}{'   ' if last else '│  '}", full=full)


def _price(bill: Bill, *, full: bool) -> Iterator[Any]:
    yield _heading("What it would cost, in USD a month")
    sums = [(name, *_sizes(sizes)) for name, sizes in bill.by_component.items()]
    sums += [(f"nodes: {name}", *_sizes(sizes)) for name, sizes in bill.by_profile.items()]
    if sums:
        yield table(
            ["part", "minimum", "expected", "maximum"],
            [*sums, ("together", *_sizes(bill.total))],
            right=["minimum", "expected", "maximum"],
        )
    if full:
        yield ""
        yield table(
            ["part", "what", "minimum", "expected", "maximum", "of", "at", "as of"],
            [
                (
                    line.charge.profile or line.charge.component,
                    line.charge.what,
                    *(count(getattr(line.charge.quantity, size)) for size in ("minimum", "expected", "maximum")),
                    line.unit.unit,
                    f"{line.unit.usd:g}",
                    line.unit.date,
                )
                for line in bill.lines
            ],
            right=["minimum", "expected", "maximum", "at"],
        )
    if bill.unpriced:
        yield _heading("Not in the sum")
        yield table(["what", "of", "why"], [(what, ", ".join(of), why) for (what, why), of in unpriced(bill).items()])
    for one in bill.unknown:
        yield f"unknown to the price list: {one}"


def unpriced(bill: Bill) -> dict[tuple[str, str], list[str]]:
    """What is not in the sum and why, with the components that have it."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in bill.unpriced:
        found.setdefault((one.what, one.reason), []).append(one.component)
    return found


def _sizes(sizes: Sizes) -> tuple[str, str, str]:
    return usd(sizes.minimum), usd(sizes.expected), usd(sizes.maximum)


def _quotas(plan: "Plan", *, full: bool) -> Iterator[Any]:
    shown = [need for need in plan.quotas if full or not need.suffices]
    if shown:
        yield _heading("Service quotas" if full else "Service quotas to raise")
        rows = [
            (need.code, need.name, f"{count(need.needed)} {need.counts}", count(need.default), f"a {need.per}")
            for need in shown
        ]
        yield table(["code", "quota", "needed", "default", ""], rows, right=["needed", "default"])


def _findings(findings: tuple["Finding", ...]) -> Iterator[Any]:
    from rich.text import Text

    if findings:
        yield _heading("Findings")
        rows = [
            (
                Text("waived", "dim")
                if finding.waived
                else Text(finding.severity.value, STYLES.get(finding.severity.value, "")),
                finding.policy,
                place(finding),
                finding.urn.rpartition("::")[2],
                f"{finding.message}{f' ({finding.waived.reason})' if finding.waived else ''}",
            )
            for finding in findings
        ]
        yield table(["", "policy", "where", "resource", "what"], rows)


def place(finding: "Finding") -> str:
    """Where the setting that decides is written."""
    return f"{finding.file}:{finding.line}" if finding.file else "default"


def _difference(plan: "Plan", *, full: bool) -> Iterator[Any]:
    if plan.difference is None or plan.against is None:
        return
    rows = list(changes(plan.difference))
    yield _heading(f"Different from {short(plan.against.absolute())}")
    if not rows:
        yield "nothing"
        return
    yield table(["", "resource", "what"], rows if full else rows[:MOST_CHANGES])
    if not full and len(rows) > MOST_CHANGES:
        yield f"and {len(rows) - MOST_CHANGES} more (--full shows them)"


def changes(found: "Difference") -> Iterator[tuple[str, str, str]]:
    """What is new, gone and changed, a resource or a property a row."""
    for sign, urns in (("new", found.created), ("gone", found.deleted)):
        for urn in urns:
            yield sign, urn.rpartition("::")[2], urn.split("::")[2].rpartition("$")[2].rpartition(":")[2]
    for urn, inside in found.changed.items():
        for change in inside:
            yield "changed", urn.rpartition("::")[2], f"{change.path}: {_brief(change.before)} → {_brief(change.after)}"


def _brief(value: Any) -> str:
    import json

    text = "absent" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
