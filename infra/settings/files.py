"""Reads the files in stacks/: what they hold, on which line, and everything that is wrong with one at once."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from infra.settings.leaks import leaks

MOST_BYTES = 256 * 1024
Key = tuple[str | int, ...]
"""Where a value is: the keys and indices that lead to it."""


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong."""

    file: str
    line: int
    key: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {f'{self.key}: ' if self.key else ''}{self.sentence}"


class SettingsError(ValueError):
    """Everything that is wrong with the settings, a line each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True)
class Document:
    """A file of settings: plain data, and the line of each value."""

    path: Path
    data: Any
    lines: dict[Key, int] = field(repr=False)

    def line(self, key: Sequence[str | int]) -> int:
        """The line of a value, or of the nearest thing around it that is there."""
        return next(
            self.lines[tuple(key[:size])] for size in range(len(key), -1, -1) if tuple(key[:size]) in self.lines
        )

    def has(self, key: Sequence[str | int]) -> bool:
        """Whether the file itself holds this value."""
        return tuple(key) in self.lines

    def problem(self, key: Sequence[str | int], sentence: str) -> Problem:
        """Something wrong with a value."""
        return Problem(shown(self.path), self.line(key), spelled(key), sentence)


def shown(path: Path) -> str:
    """A path from where the user stands."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def spelled(key: Sequence[str | int]) -> str:
    """A key as people write it, `hardware.a10g.max` or `zones[1]`, without what all of a stack file stands under."""
    if len(key) > 2 and key[0] == "config" and str(key[1]).startswith("modelyard:"):
        key = key[2:]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).removeprefix(".")


def read(path: Path) -> Document:
    """Read one YAML file strictly: no key twice, nothing that YAML readers disagree about. Raises SettingsError."""
    text = _text(path)
    if found := [Problem(shown(path), *leak) for leak in leaks(text)]:
        raise SettingsError(found)  # and nothing else is told of this file, or a message might repeat a secret
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise _unreadable(path, "it has a control character, which YAML doesn't allow", line) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _unreadable(path, f"it isn't YAML: {error.problem}", mark.line + 1 if mark else 1) from error
    except RecursionError as error:
        raise _unreadable(path, "it is nested too deeply") from error
    if node is None:
        raise _unreadable(path, "it is empty")
    reader = _Reader(path)
    data = reader.value(node, ())
    if reader.problems:
        raise SettingsError(reader.problems)
    return Document(path, data, reader.lines)


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise _unreadable(path, "it isn't a file")
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise _unreadable(path, f"there is no such file{_beside(path)}") from None
    except OSError as error:
        raise _unreadable(path, f"it can't be read: {error.strerror}") from error
    if len(raw) > MOST_BYTES:
        raise _unreadable(path, f"it is larger than {MOST_BYTES // 1024} KiB, which no settings need")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable(path, "it isn't UTF-8 text; save it as that", raw[: error.start].count(b"\n") + 1) from error


def _unreadable(path: Path, sentence: str, line: int = 1) -> SettingsError:
    return SettingsError([Problem(shown(path), line, "", sentence)])


class _Reader:
    """Turns YAML nodes into plain data."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.lines: dict[Key, int] = {}
        self._seen: set[int] = set()

    def value(self, node: yaml.Node, key: Key) -> Any:
        self.lines.setdefault(key, node.start_mark.line + 1)
        if id(node) in self._seen:
            return self._refuse(node, key, "YAML aliases are not taken here; write it out")
        self._seen.add(id(node))
        if node.tag.removeprefix("tag:yaml.org,2002:") not in TAGS:
            return self._refuse(node, key, f"the YAML tag {node.tag} is not taken here")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*key, index)) for index, item in enumerate(node.value)]
        return self._scalar(node.value, node, key)

    def _mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, item in node.value:
            if not isinstance(name, yaml.ScalarNode):
                self._refuse(name, key, "a key is a plain word here")
                continue
            here = (*key, name.value)
            if name.value == "<<":
                self._refuse(name, here, "YAML merge keys are not taken here; write it out")
            elif name.value in made:
                self._refuse(name, here, f"it is there twice, first on line {self.lines[here]}; keep one")
            else:
                self.lines[here] = name.start_mark.line + 1
                made[name.value] = self.value(item, here)
        return made

    def _scalar(self, text: str, node: yaml.Node, key: Key) -> Any:
        if getattr(node, "style", None) is not None:
            return text
        if not text:
            return self._refuse(node, key, "it has no value; give it one, or leave the key out")
        if re.fullmatch(r"-?(0|[1-9]\d{0,17})(\.\d{1,17})?", text) or text in {"true", "false"}:
            return json.loads(text)
        if re.fullmatch(r"-?\d{19,}", text) and text[0] != "0":
            return self._refuse(node, key, "it is too large a number")
        if AMBIGUOUS.fullmatch(text):
            return self._refuse(node, key, f"YAML readers disagree about a plain {text}; {_plainer(text)}")
        return text

    def _refuse(self, node: yaml.Node, key: Key, sentence: str) -> None:
        self.problems.append(Problem(shown(self.path), node.start_mark.line + 1, spelled(key), sentence))


TAGS = {"map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value"}
"""What plain YAML is made of."""
AMBIGUOUS = re.compile(
    r"y|n|yes|no|on|off|true|false|null|~|"  # words of YAML 1.1
    r"[-+]?(\d[\d_]*)?(\.[\d_]*)?(e[-+]?\d+)?|[-+]?\.(inf|nan)|0[xob][\da-f_]+|"  # numbers of all kinds
    r"[-+]?\d+(:[0-5]?\d)+(\.\d*)?|"  # base 60: 1:30 is 90
    r"\d{4}-\d\d?-\d\d?([Tt ].*)?",  # dates
    re.IGNORECASE,
)


def _plainer(text: str) -> str:
    if text.lower() in {"y", "yes", "on", "true"}:
        return f'write true, or "{text}" for the word'
    if text.lower() in {"n", "no", "off", "false"}:
        return f'write false, or "{text}" for the word'
    if re.fullmatch(r"[-+]?[\d.]+e[-+]?\d+", text, re.IGNORECASE) and abs(float(text)) < 1e15:
        return f'write {float(text):.15g}, or "{text}" for the text'
    if text.lower() in {"~", "null"}:
        return "leave the key out, or give it a value"
    if re.fullmatch(r"\d{4}-.*|0\d+", text):
        return f'write "{text}"'
    return f'write it as a plain decimal number, or "{text}" for the text'


def _beside(path: Path) -> str:
    there = sorted(file.name for file in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
    return f"; {shown(path.parent)} has {', '.join(there)}" if there else ""
