"""One runner a state folder, and what is said where it can't be."""

import fcntl
import os
import socket
import subprocess
import sys
import threading

import pytest

from modelyard.runner.__main__ import listen
from modelyard.runner.state import SECONDS_OF_A_LOOK, Running, State, StateError, start, stop


def test_a_folder_is_held_by_one_at_a_time(tmp_path):
    state = State(tmp_path)
    with state.held(), pytest.raises(StateError, match="works on .* already; stop it with `modelyard runner stop"):
        state.held().__enter__()
    with state.held():
        pass


def test_a_folder_whose_holder_died_is_free_again(tmp_path):
    code = """
import os, sys
from pathlib import Path
from modelyard.runner.state import State
with State(Path(sys.argv[1])).held():
    os._exit(1)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    with State(tmp_path).held():
        pass


def test_the_folder_is_its_owners_alone(tmp_path):
    State(tmp_path / "a" / "b").create()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o077 == 0


def test_a_folder_that_can_not_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="can't be written: Not a directory; choose another with --state"):
        State(tmp_path / "file" / "x").create()


def test_nobody_runs_on_a_fresh_folder(tmp_path):
    assert State(tmp_path / "fresh").running() is None
    assert os.listdir(tmp_path) == [], "looking changes nothing"


def test_a_port_in_use_is_a_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StateError, match=f"port {port} can't be used: .*; give another with --port, or 0"):
            listen(port, "--port")


def test_what_a_killed_runner_said_of_itself_is_not_believed_once_another_holds_the_folder(tmp_path):
    state = State(tmp_path)
    state.announce(Running(os.getpid(), "http://127.0.0.1:1", "http://127.0.0.1:2", "sqlite:///x"))
    with state.held():
        assert state.running() is None, "its process id may be a stranger's by now, and `stop` would end that"


def test_a_look_at_the_folder_does_not_keep_a_runner_from_starting(tmp_path):
    state = State(tmp_path)
    with state.lock.open("a") as look:
        fcntl.flock(look, fcntl.LOCK_EX)
        threading.Timer(SECONDS_OF_A_LOOK / 4, look.close).start()
        with state.held():
            pass


def test_what_a_runner_writes_is_its_owners_alone_in_a_folder_that_was_there_before(tmp_path):
    tmp_path.chmod(0o755)
    state = State(tmp_path)
    begin = (
        "import sys; from pathlib import Path; from modelyard.runner.state import *; start(State(Path(sys.argv[1])))"
    )
    subprocess.run([sys.executable, "-c", begin, str(tmp_path)], check=True)
    stop(state)
    loose = [path.name for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    assert not loose


def test_a_runner_whose_model_server_can_not_start_says_so_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    state = State(tmp_path / "state")
    state.create()
    (state.root / "mlflow.db").write_text("no database")
    with pytest.raises(StateError, match="the model server ended while it started; see "):
        start(state)
    with state.held():
        pass
    assert not list((tmp_path / "temporary").glob("modelyard-*"))
