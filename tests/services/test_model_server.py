import pytest

from components.services.model_server import infer, load, ready
from tests.services.loopback import serving


@pytest.fixture
def server():
    with serving() as server:
        yield server


def test_a_version_is_loaded_by_number_and_the_champion_without_one(server):
    server.answers["/v2/repository/models/my%20model/load"] = (200, b"")
    load(server.url, "my model", "3")
    load(f"{server.url}/", "my model")
    assert [body for _, body in server.asked] == [{"parameters": {"version": "3"}}, {}]


def test_the_servers_own_sentence_is_what_the_caller_reads(server):
    server.answers["/v2/repository/models/m/load"] = (422, {"error": "version 3 was changed on disk"})
    with pytest.raises(ValueError, match=r"^version 3 was changed on disk$"):
        load(server.url, "m", "3")


def test_an_answer_that_is_not_of_the_protocol_still_makes_a_sentence(server):
    server.answers["/v2/repository/models/m/load"] = (502, b"<html>")
    with pytest.raises(ValueError, match=r"^the model server answers 502 Bad Gateway to /v2/repository/models/m/load$"):
        load(server.url, "m")


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"^no model server answers at http://127.0.0.1:1: ConnectError$"):
        load("http://127.0.0.1:1", "m")
    assert not ready("http://127.0.0.1:1", "m")


def test_a_model_is_ready_when_the_server_says_so(server):
    server.answers["/v2/models/m/ready"] = (200, {"ready": True})
    assert ready(server.url, "m")
    assert not ready(server.url, "other")


def test_columns_are_sent_in_the_models_own_types_and_come_back_by_row(server):
    server.answers["/v2/models/m"] = (
        200,
        {"inputs": [{"name": "ratio", "datatype": "FP32"}, {"name": "town", "datatype": "BYTES"}]},
    )
    server.answers["/v2/models/m/infer"] = (
        200,
        {
            "outputs": [
                {"name": "label", "shape": [2], "data": ["no", "yes"]},
                {"name": "probabilities", "shape": [2, 2], "data": [0.9, 0.1, 0.2, 0.8]},
            ]
        },
    )
    answer = infer(server.url, "m", {"ratio": [1, 2], "town": ["Å", "b"], "unused": [0, 0]})
    assert answer == {"label": ["no", "yes"], "probabilities": [[0.9, 0.1], [0.2, 0.8]]}
    assert server.asked[-1][1] == {
        "inputs": [
            {"name": "ratio", "datatype": "FP32", "shape": [2, 1], "data": [1.0, 2.0]},
            {"name": "town", "datatype": "BYTES", "shape": [2, 1], "data": ["Å", "b"]},
        ]
    }


def test_a_missing_text_is_sent_as_the_empty_text_because_the_model_learned_it_so(server):
    server.answers["/v2/models/m"] = (200, {"inputs": [{"name": "town", "datatype": "BYTES"}]})
    server.answers["/v2/models/m/infer"] = (200, {"outputs": []})
    infer(server.url, "m", {"town": ["a", None, float("nan")]})
    assert server.asked[-1][1]["inputs"][0]["data"] == ["a", "", ""]


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "many"])
def test_a_number_that_the_protocol_cannot_carry_is_refused_with_its_column(server, value):
    server.answers["/v2/models/m"] = (200, {"inputs": [{"name": "ratio", "datatype": "FP32"}]})
    with pytest.raises(ValueError, match=rf"^column 'ratio' has the value {value!r}; the protocol carries finite"):
        infer(server.url, "m", {"ratio": [1, value]})


def test_a_column_that_the_model_takes_has_to_be_there(server):
    server.answers["/v2/models/m"] = (200, {"inputs": [{"name": "ratio", "datatype": "FP32"}]})
    with pytest.raises(ValueError, match=r"^model 'm' takes the column 'ratio', which the rows don't have$"):
        infer(server.url, "m", {"ration": [1]})
