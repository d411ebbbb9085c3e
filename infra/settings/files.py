"""Reads the files in stacks/: what they hold, on which line, and everything that is wrong with one at once."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from infra.settings.base import FORMS

MOST_BYTES = 256 * 1024
MOST_NAMES = 40
T = TypeVar("T", bound=BaseModel)
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
    if len(key) > 1 and key[0] == "config" and str(key[1]).startswith("modelyard:"):
        key = key[2:]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).removeprefix(".")


def read(path: Path) -> Document:
    """Read one YAML file strictly: no key twice, nothing that YAML readers disagree about. Raises SettingsError."""
    text = _text(path)
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


def validate(model: type[T], data: Any, document: Document, within: Key = ()) -> T:
    """Make a model of what a document holds at `within`. Raises SettingsError."""
    problems = [document.problem((*within, *key), sentence) for key, sentence in _secrets(data)]
    try:
        made = model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        known = {problem.key for problem in problems}
        for details in error.errors(include_url=False):
            key, sentence = _told(details, model, data)
            problem = document.problem((*within, *key), sentence)
            if problem.key not in known:  # a secret's value may be in the message
                problems.append(problem)
    if problems:
        raise SettingsError(problems)
    return made


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
    if text == "~":
        return "leave the key out, or give it a value"
    return f'write it as a plain decimal number, or "{text}" for the text'


SECRETS = {
    "an AWS access key": r"\b(AKIA|ASIA)[A-Z0-9]{16}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "a GitHub token": r"\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})",
    "a GitLab token": r"\bglpat-[\w-]{16,}",
    "a Slack token": r"\bxox[abeoprs]-[\w-]{10,}",
    "a Slack webhook": r"hooks\.slack\.com/services/\S+",
    "a Pulumi token": r"\bpul-[0-9a-f]{40}\b",
    "a JSON web token": r"\beyJ[\w-]{10,}\.[\w-]{10,}\.",
    "a password in an address": r"://[^/\s:@]+:[^/\s@]+@",
    "an AWS secret key": r"(?<![\w/+=])(?=[^\s]*[A-Z])(?=[^\s]*[a-z])(?=[^\s]*\d)[A-Za-z0-9/+]{40}(?![\w/+=])",
}
SECRET_NAMES = re.compile(r"(^|_)(password|passwd|secret|token|api_?key|access_?key|private_?key)$", re.IGNORECASE)


def _secrets(data: Any, key: Key = ()) -> Iterator[tuple[Key, str]]:
    """Where a secret stands in plain text; its value is not told."""
    if isinstance(data, dict):
        for name, item in data.items():
            yield from _secrets(item, (*key, name))
    elif isinstance(data, list):
        for index, item in enumerate(data):
            yield from _secrets(item, (*key, index))
    elif isinstance(data, str) and data:
        kind = next((kind for kind, pattern in SECRETS.items() if re.search(pattern, data)), "")
        if not kind and key and isinstance(key[-1], str) and SECRET_NAMES.search(key[-1]):
            kind = "a secret"
        if kind:
            yield (
                key,
                f"it looks like {kind} in plain text; take it out, revoke it, and keep the new one in Secrets Manager",
            )


def _told(details: ErrorDetails, model: type[BaseModel], data: Any) -> tuple[Key, str]:
    """The key that an error of pydantic is about, and a sentence of our own."""
    key: list[str | int] = []
    at = data
    location = details["loc"]
    for index, part in enumerate(location):
        last = index == len(location) - 1
        if part == "[key]":
            continue
        if isinstance(at, dict) and part in at:
            at = at[str(part)]
        elif isinstance(at, list) and isinstance(part, int) and part < len(at):
            at = at[part]
        elif not last or details["type"] != "missing":
            continue  # the tag of a union
        key.append(part)
    return tuple(key), _sentence(details, model, location)


def _sentence(details: ErrorDetails, model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    kind, context, given = details["type"], details.get("ctx", {}), details.get("input")
    match kind:
        case "extra_forbidden":
            sentence = f"there is no such setting; {near(str(location[-1]), _fields(model, location))}"
        case "missing":
            sentence = "it is missing and has to be given"
        case "value_error":
            sentence = str(context["error"])
        case "enum" | "literal_error":
            allowed = context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
            sentence = f"{_brief(given)} is not allowed; {near(str(given), allowed)}"
        case "string_pattern_mismatch":
            wanted = FORMS.get(context["pattern"], f"of the form {context['pattern']}")
            sentence = f"{_brief(given)} is not {wanted}"
        case _ if kind.removesuffix("_type") in KINDS:
            sentence = f"{_brief(given)} is not what belongs here; write {KINDS[kind.removesuffix('_type')]}"
        case _:
            message = details["msg"].removeprefix("Input should be ").replace("valid ", "")
            sentence = f"{_brief(given)} is not allowed: {message[0].lower()}{message[1:]}"
    return sentence


KINDS = {
    "string": "a text, in quotes if it looks like a number",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a list",
    "dict": "keys and values",
    "model": "keys and values",
}
"""What to write, by pydantic's names of kinds."""


def _brief(given: Any) -> str:
    """A value as it stands in a message; what might be a secret is cut off."""
    text = json.dumps(given)
    if re.search(r"[^\s:@]{20}", text) and all(re.search(kind, text) for kind in ("[a-z]", "[A-Z]", r"\d")):
        return f"{text[:4]}…"
    return text if len(text) <= 60 else f"{text[:57]}…"


def _fields(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The names that are allowed where an unknown one was found, by the model's JSON Schema."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    at = [schema]
    for part in location[:-1]:
        at = [inner for node in at for inner in _inside(node, part, definitions)] or at
    choices = [choice for node in at for choice in _choices(node, definitions)]
    return sorted({name for choice in choices for name in choice.get("properties", {})} - {str(location[-1])})


def _choices(node: dict[str, Any], definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in node:
        node = definitions[node["$ref"].rsplit("/", 1)[-1]]
    yield node
    for choice in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _choices(choice, definitions)


def _inside(node: dict[str, Any], part: int | str, definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for choice in _choices(node, definitions):
        if part in choice.get("properties", {}):
            yield choice["properties"][part]
        elif isinstance(choice.get("additionalProperties"), dict):
            yield choice["additionalProperties"]
        elif isinstance(part, int) and isinstance(choice.get("items"), dict):
            yield choice["items"]


def near(name: str, names: Iterable[str]) -> str:
    """The end of a sentence that refuses a name: what was meant, else what there is."""
    known = sorted(names)
    if found := get_close_matches(name, known, n=1):
        return f"did you mean {found[0]}?"
    return (
        f"there is {', '.join(known[:MOST_NAMES])}{f' and {len(known) - MOST_NAMES} more' * (len(known) > MOST_NAMES)}"
    )


def _beside(path: Path) -> str:
    there = sorted(file.name for file in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
    return f"; {shown(path.parent)} has {', '.join(there)}" if there else ""
