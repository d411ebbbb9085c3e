"""modelyard runner: starting, looking and stopping."""

import socket

import pytest

from modelyard.runner.state import State
from tests.cli.terminal import modelyard


def test_a_second_runner_on_the_same_state_is_refused(kept):
    said = modelyard("runner", "start", "--state", kept.state)
    assert said.code == 2
    assert f"modelyard: a runner works on {kept.state} already; stop it with `modelyard runner stop" in said.err
    assert "Traceback" not in said.err
    assert State(kept.state).running()


def test_status_tells_where_the_runner_answers(kept, typed):
    found = typed("runner", "status", "--json", "--state", kept.state)
    assert found.code == 0
    assert found.json["running"] is True
    assert kept.result["endpoint"]["url"].startswith(found.json["serving_url"])


def test_status_and_stop_say_that_none_runs(tmp_path, typed):
    found = typed("runner", "status", "--json", "--state", tmp_path)
    assert (found.code, found.json) == (1, {"running": False, "state": str(tmp_path)})
    assert typed("runner", "stop", "--state", tmp_path).out == f"no runner works on {tmp_path}\n"


@pytest.mark.parametrize("option", ["--port", "--serving-port"])
def test_a_port_in_use_is_refused(tmp_path, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = modelyard("runner", "start", option, port, "--state", tmp_path / "state")
    assert said.code == 2
    sentence = f"modelyard: port {port} can't be used: Address already in use; give another with {option}, or 0"
    assert said.err.splitlines()[-1] == sentence
    assert State(tmp_path / "state").running() is None


def test_a_port_that_is_none_is_refused(refused):
    sentence = "Invalid value for '--port': Input should be less than or equal to 65535"
    assert refused("runner", "start", "--port", 70000) == sentence
