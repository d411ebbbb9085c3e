"""Whatever comes in, what goes out is an answer or a reason."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelyard.serving.models import Models
from tests.serving.conftest import Client
from tests.serving.folder_registry import FolderRegistry
from tests.serving.graphs import house, rows

FEW = settings(
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],  # cores are shared
)
LONG = "a number of 4400 digits"
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([LONG, 10**400, 2**63, -1, 0, 1e39, 5e-324])
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(["age", "city", "FP32", "BYTES", "price"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["name", "shape", "data", "inputs", "id"]) | st.text(max_size=5), inner, max_size=4
        )
    ),
    max_leaves=12,
)
GOOD: dict[str, Any] = {"id": "1", "parameters": {}, "outputs": [{"name": "price"}], **rows([1, 2], ["Rome", "Oslo"])}
LOAD: dict[str, Any] = {"parameters": {"version": "1"}}


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a body."""
    yield here
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from places(inner, (*here, step))


def put(body: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The body with another value there."""
    if not place:
        return value
    body = copy.deepcopy(body)
    inner = body
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return body


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One server for all examples."""
    folder: Path = tmp_path_factory.mktemp("registry")
    registry = FolderRegistry(folder)
    registry.add("house", "1", house())
    models = Models(lambda: registry)
    client = Client(models)
    client.run(models.open())
    yield client
    client.close()
    models.close()


def check(server: Client, path: str, body: str | bytes) -> None:
    answer = server.post(path, content=body)
    said = json.loads(answer.text, parse_constant=pytest.fail)
    if answer.status_code != 200:
        assert 400 <= answer.status_code < 500, answer.text
        assert list(said) == ["error"]
        assert said["error"]
        assert "\n" not in said["error"], "an error is one sentence"


def dumps(value: Any) -> str:
    """JSON, with Python's NaN and a number longer than Python reads."""
    return json.dumps(value).replace(f'"{LONG}"', "9" * 4400)


@FEW
@given(body=st.binary(max_size=100) | VALUES.map(dumps))
def test_any_body_gets_an_answer_or_a_reason(server: Client, body: str | bytes) -> None:
    for path in ("/v2/models/house/infer", "/v2/repository/models/house/load", "/v2/repository/index"):
        check(server, path, body)


@FEW
@given(place=st.sampled_from(list(places(GOOD))), value=VALUES)
def test_any_value_in_any_place_of_an_infer_request_gets_an_answer_or_a_reason(
    server: Client, place: tuple[Any, ...], value: Any
) -> None:
    check(server, "/v2/models/house/infer", dumps(put(GOOD, place, value)))


@FEW
@given(place=st.sampled_from(list(places(LOAD))), value=VALUES)
def test_any_value_in_any_place_of_a_load_request_gets_an_answer_or_a_reason(
    server: Client, place: tuple[Any, ...], value: Any
) -> None:
    check(server, "/v2/repository/models/house/load", dumps(put(LOAD, place, value)))


@FEW
@given(name=st.text(min_size=1, max_size=20))
def test_any_name_in_the_path_gets_an_answer_or_a_reason(server: Client, name: str) -> None:
    for path in (f"/v2/models/{quote(name, safe='')}/infer", f"/v2/repository/models/{quote(name, safe='')}/load"):
        check(server, path, json.dumps(GOOD))
