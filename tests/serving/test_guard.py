"""Who may ask, and how much at once."""

import pytest
from starlette.datastructures import Headers

from modelyard.serving.app import Guard, create_app
from tests.serving.conftest import Client


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "127.8.9.1", "[::1]:80"])
def test_a_loopback_name_is_accepted(client: Client, host: str) -> None:
    assert client.get("/v2", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "a@localhost"]
)
def test_another_name_that_points_here_is_refused(client: Client, host: str) -> None:
    answer = client.get("/v2", headers={"host": host})
    assert (answer.status_code, "is not this server" in answer.json()["error"]) == (403, True)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:81", "http://localhost.evil.example"]
)
def test_a_page_of_another_origin_is_refused(client: Client, origin: str) -> None:
    answer = client.post("/v2/repository/models/house/unload", headers={"origin": origin})
    assert (answer.status_code, answer.json()["error"].startswith("origin ")) == (403, True)
    assert client.get("/v2/models/house/ready").status_code == 200


def test_a_page_of_this_origin_may_ask(client: Client) -> None:
    assert client.get("/v2", headers={"origin": "http://localhost"}).status_code == 200


def test_a_server_on_an_open_address_answers_to_every_name_but_not_to_foreign_pages() -> None:
    guard = Guard(create_app, loopback=False)  # type: ignore[arg-type]  # it is not called
    assert guard.refusal(Headers({"host": "models.example"})) is None
    assert guard.refusal(Headers({"host": "models.example", "origin": "https://models.example"})) is None
    assert guard.refusal(Headers({"host": "models.example", "origin": "https://evil.example"}))


def test_too_many_bytes_are_413_and_one_less_is_read(client: Client) -> None:
    path = "/v2/models/house/infer"
    assert client.post(path, content=b" " * 5001).json() == {
        "error": "the body has more than 5000 bytes; send fewer rows"
    }
    assert client.post(path, content=b" " * 5001).status_code == 413
    assert client.post(path, content=b" " * 5000).status_code == 400
    assert client.post("/v2/repository/models/house/load", content=b" " * 5001).status_code == 413
