"""A request that can't be answered, told in one sentence."""

import json
from collections.abc import Iterable

from components.spelling import did_you_mean


class RefusedError(ValueError):
    """What is wrong with a request and what to do; `status` is the HTTP answer, 4xx."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


def show(value: object) -> str:
    """A JSON value as a person would type it, cut where it gets long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def near(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is unknown, and as long as its sender likes."""
    return did_you_mean(name[:100], known)


def first_line(error: BaseException) -> str:
    """What a library's error says before it goes into details."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
