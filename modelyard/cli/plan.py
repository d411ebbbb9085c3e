"""How a plan is shown."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelyard.cli.output import Screen, short, table
from modelyard.plan import words
from modelyard.plan.price import Bill, Sizes
from modelyard.plan.tree import Branch, counts, kind, tree

if TYPE_CHECKING:
    from rich.text import Text

    from modelyard.plan.findings import Finding
    from modelyard.plan.plan import Plan

STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan"}
MOST_KINDS = 4
MOST_CHANGES = 10


def show(screen: Screen, plan: "Plan", *, full: bool) -> None:
    """Print a plan for people, what matters most first."""
    for sentence, worries in words.summary(plan):
        screen.show(sentence, "yellow" if worries else "")
    for part in (
        _tree(plan, full=full),
        _price(plan.bill, full=full),
        _quotas(plan, full=full),
        _findings(plan.findings),
        _difference(plan, full=full),
    ):
        for piece in part:
            screen.show(piece)


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
    children = [child for child in branch.below if full or (child.below and not below)]
    for child in children:
        last = child is children[-1]
        yield from _rows(child, f"{below}{'└─ ' if last else '├─ '}", f"{below}{'   ' if last else '│  '}", full=full)


def _price(bill: Bill, *, full: bool) -> Iterator[Any]:
    sums = [(name, *_sizes(sizes)) for name, sizes in bill.by_component.items()]
    sums += [(f"nodes: {name}", *_sizes(sizes)) for name, sizes in bill.by_profile.items()]
    if sums:
        yield _heading("What it would cost, in USD a month")
        yield table(
            ["part", "minimum", "expected", "maximum"],
            [*sums, ("together", *_sizes(bill.total))],
            right=["minimum", "expected", "maximum"],
        )
    if full and sums:
        yield _heading("Line by line")
        yield table(
            ["part", "what", "minimum", "expected", "maximum", "of", "at", "as of"],
            [
                (
                    line.charge.profile or line.charge.component,
                    line.charge.what,
                    *(words.count(getattr(line.charge.quantity, size)) for size in ("minimum", "expected", "maximum")),
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
        yield table(
            ["what", "of", "why"], [(what, ", ".join(of), why) for (what, why), of in words.unpriced(bill).items()]
        )
    for one in bill.unknown:
        yield f"unknown to the price list: {one}"


def _sizes(sizes: Sizes) -> tuple[str, str, str]:
    return words.usd(sizes.minimum), words.usd(sizes.expected), words.usd(sizes.maximum)


def _quotas(plan: "Plan", *, full: bool) -> Iterator[Any]:
    shown = [need for need in plan.quotas if full or not need.suffices]
    if shown:
        yield _heading("Service quotas" if full else "Service quotas to raise")
        rows = [
            (
                need.code,
                need.name,
                f"{words.count(need.needed)} {need.counts}",
                words.count(need.default),
                f"a {need.per}",
            )
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
                words.place(finding),
                finding.urn.rpartition("::")[2],
                f"{finding.message}{f' ({finding.waived.reason})' if finding.waived else ''}",
            )
            for finding in findings
        ]
        yield table(["", "policy", "where", "resource", "what"], rows)


def _difference(plan: "Plan", *, full: bool) -> Iterator[Any]:
    if plan.difference is None or plan.against is None:
        return
    rows = list(words.changes(plan.difference))
    yield _heading(f"Different from {short(plan.against.absolute())}")
    if not rows:
        yield "nothing"
        return
    yield table(["", "resource", "what"], rows if full else rows[:MOST_CHANGES])
    if not full and len(rows) > MOST_CHANGES:
        yield f"and {len(rows) - MOST_CHANGES} more (--full shows them)"
