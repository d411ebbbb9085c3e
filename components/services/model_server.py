"""A client of the model server, over the Open Inference Protocol v2 and its model-repository extension."""

import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

# Loading fetches the model and warms it up; everything else is quick.
TIMEOUT = httpx.Timeout(60, connect=5)


def load(url: str, model: str, version: str | None = None) -> None:
    """Have the server load a version, or the champion; it returns when the new one answers.

    Raises:
        ValueError: the server's own sentence, or that none answers.
    """
    parameters = {} if version is None else {"parameters": {"version": version}}
    _call("POST", url, f"/v2/repository/models/{quote(model)}/load", parameters)


def ready(url: str, model: str) -> bool:
    """Whether the server serves the model now."""
    try:
        return httpx.get(f"{url.rstrip('/')}/v2/models/{quote(model)}/ready", timeout=TIMEOUT).is_success
    except httpx.HTTPError:
        return False


def infer(url: str, model: str, rows: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Send columns of values; get the model's outputs by name, one entry a row.

    Raises:
        ValueError: a column that the model takes is missing or holds what can't be sent, or the server's own sentence.
    """
    inputs = []
    for wanted in _call("GET", url, f"/v2/models/{quote(model)}")["inputs"]:
        name, datatype = wanted["name"], wanted["datatype"]
        if name not in rows:
            raise ValueError(f"model {model!r} takes the column {name!r}, which the rows don't have")
        values = [_text(value) if datatype == "BYTES" else _number(value, name) for value in rows[name]]
        inputs.append({"name": name, "datatype": datatype, "shape": [len(values), 1], "data": values})
    answer = _call("POST", url, f"/v2/models/{quote(model)}/infer", {"inputs": inputs})
    return {output["name"]: _by_row(output["shape"], output["data"]) for output in answer["outputs"]}


def _text(value: Any) -> str:
    """A text that is missing is the empty text, as it was when the model learned."""
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def _number(value: Any, column: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"column {column!r} has the value {value!r}; the protocol carries finite numbers only")
    return number


def _by_row(shape: list[int], data: list[Any]) -> list[Any]:
    if len(shape) < 2:
        return data
    width = shape[1]
    return [data[start : start + width] for start in range(0, len(data), width)]


def _call(method: str, url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    try:
        answer = httpx.request(method, f"{url.rstrip('/')}{path}", json=body, timeout=TIMEOUT)
    except httpx.HTTPError as error:
        raise ValueError(f"no model server answers at {url}: {type(error).__name__}") from error
    if answer.is_success:
        return answer.json() if answer.content else {}
    raise ValueError(_reason(answer))


def _reason(answer: httpx.Response) -> str:
    """The protocol puts the sentence under `error`."""
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"the model server answers {answer.status_code} {answer.reason_phrase} to {answer.request.url.path}"
