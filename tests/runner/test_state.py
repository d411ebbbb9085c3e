"""One runner a state folder, and what is said where it can't be."""

import os
import socket
import subprocess
import sys

import pytest

from modelyard.runner.__main__ import listen
from modelyard.runner.state import State, StateError


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
