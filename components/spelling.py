"""What a misspelled name was meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches

MOST = 8


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The end of a sentence that refuses `name`: the near one of `names`, else what there is."""
    known = sorted(names)
    if near := get_close_matches(name, known, n=1):
        return f"did you mean {near[0]!r}?"
    if len(known) > MOST:
        return f"there is {', '.join(map(repr, known[:MOST]))} and {len(known) - MOST} more"
    return f"there is {', '.join(map(repr, known))}" if known else "there is none yet"
