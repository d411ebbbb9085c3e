"""A plan as one page that needs nothing else: no script, no network."""

import base64
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from modelyard.plan import words
from modelyard.plan.picture import picture
from modelyard.plan.plan import Plan
from modelyard.plan.price import Bill, Sizes
from modelyard.plan.tree import counts, kind, tree

HERE = Path(__file__).parent
BAR = 160


def page(plan: Plan) -> str:
    """The page. Whatever comes from settings or the program is text in it and never markup."""
    return _template().render(
        plan=plan,
        bill=plan.bill,
        sentences=[sentence for sentence, _ in words.summary(plan)],
        picture=Markup(picture(plan.graph, plan.stack)),  # noqa: S704 made by an XML writer
        parts=list(parts(plan.bill)),
        unpriced=words.unpriced(plan.bill),
        sources=_sources(plan.bill),
        changes=list(words.changes(plan.difference)) if plan.difference else [],
        tree=tree(plan.graph),
        counts=counts,
        kind=kind,
        place=words.place,
        usd=words.usd,
        count=words.count,
        pretty=lambda value: json.dumps(value, indent=2, ensure_ascii=False),
        style=Markup(_style()),  # noqa: S704 ours
        style_hash=base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode(),
        bar_width=BAR,
    )


def parts(bill: Bill) -> Iterable[tuple[str, Sizes, Sizes]]:
    """Each component and profile with its price, and the lengths of its bars."""
    sums = {**bill.by_component, **{f"nodes: {name}": sizes for name, sizes in bill.by_profile.items()}}
    longest = max((sizes.maximum for sizes in sums.values()), default=0) or 1
    for name, sizes in sums.items():
        yield name, sizes, sizes * (BAR / longest)


def _sources(bill: Bill) -> dict[str, Any]:
    return {line.unit.source: line.unit.date for line in bill.lines}


@cache
def _style() -> str:
    return (HERE / "page.css").read_text(encoding="utf-8")


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")
