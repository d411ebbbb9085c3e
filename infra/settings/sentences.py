"""Makes models of what files hold, and sentences of what pydantic finds wrong with it."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from infra.settings.base import FORMS
from infra.settings.files import Document, Key, SettingsError

MOST_NAMES = 40
T = TypeVar("T", bound=BaseModel)


def validate(model: type[T], data: Any, document: Document, within: Key = ()) -> T:
    """Make a model of what a document holds at `within`. Raises SettingsError."""
    try:
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        found = [(*_told(details, model, data), details) for details in error.errors(include_url=False)]
        places = [key for key, *_ in found]
        raise SettingsError(
            document.problem((*within, *key), sentence)
            for key, sentence, details in found
            if details["type"] != "too_short"
            or not any(key == place[:-1] for place in places)  # wrong ones aren't counted
        ) from None


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
        case "too_short":
            sentence = f"it has too few entries; give {context['min_length']} or more"
        case "json_invalid":
            sentence = "it is nested too deeply"
        case _ if kind.startswith("date"):
            sentence = f'{_brief(given)} is no date; write one like "2027-11-01"'
        case _ if kind.removesuffix("_type") in KINDS:
            sentence = f"{_brief(given)} is not what belongs here; write {KINDS[kind.removesuffix('_type')]}"
        case _:
            message = details["msg"].removeprefix("Input should be ")
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
        elif "patternProperties" in choice:
            yield from choice["patternProperties"].values()
        elif isinstance(part, int) and isinstance(choice.get("items"), dict):
            yield choice["items"]


def near(name: str, names: Iterable[str]) -> str:
    """The end of a sentence that refuses a name: what was meant, else what there is."""
    known = sorted(names)
    if found := get_close_matches(name, known, n=1):
        return f"did you mean {found[0]}?"
    if not known:
        return "there is none yet"
    more = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
    return f"there is {', '.join(known[:MOST_NAMES])}{more}"
