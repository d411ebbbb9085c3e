"""What all commands share."""

import os
import pty
import subprocess
from importlib.metadata import version

import pytest

from tests.cli.terminal import PROGRAM, SECONDS, modelyard

COMMANDS = [
    ("demo",),
    ("doctor",),
    *(("env", name) for name in ("plan", "list", "new", "bootstrap", "mirror")),
    *(("prices", name) for name in ("show", "refresh")),
    *(("pipeline", name) for name in ("list", "compile", "run")),
    *(("runner", name) for name in ("start", "stop", "status")),
    *(("model", name) for name in ("list", "show", "promote", "rollback")),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_shows_an_example(typed, words):
    said = typed(*words, "--help")
    assert said.code == 0
    assert f"Example: modelyard {' '.join(words)}" in " ".join(said.out.split())


def test_the_version_is_the_package_s(typed):
    assert typed("--version").out == f"modelyard {version('modelyard')}\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("bogus",), "No such command 'bogus'"),
        (("demo", "--stat", "x"), "No such option: --stat (Possible options: --state)"),
        (("model", "promote", "mortgage"), "Missing argument 'VERSION'"),
    ],
)
def test_what_the_command_line_does_not_know_is_refused(refused, words, sentence):
    assert refused(*words) == sentence


def test_the_shell_completes_pipeline_names():
    words = {"COMP_WORDS": "modelyard pipeline run tr", "COMP_CWORD": "3"}
    said = modelyard(**words, _MODELYARD_COMPLETE="complete_bash")
    assert (said.code, said.out) == (0, "training\n")


def test_a_proxy_is_not_asked_for_what_is_on_this_machine(kept):
    proxy = "http://127.0.0.1:1"
    said = modelyard("doctor", "--state", kept.state, http_proxy=proxy, HTTP_PROXY=proxy, no_proxy="example.com")
    assert said.code == 0, said.out


def test_a_terminal_gets_colour():
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        subprocess.run(
            [PROGRAM, "pipeline", "list"],
            stdout=theirs,
            stdin=subprocess.DEVNULL,
            timeout=SECONDS,
            check=True,
            env={**os.environ, "TERM": "xterm-256color", "NO_COLOR": ""},
        )
        os.close(theirs)
        assert b"\x1b[1m" in screen.read(4000)
    assert "\x1b" not in modelyard("pipeline", "list").out


def test_an_empty_state_folder_is_refused_where_it_would_mean_the_current_one(refused):
    sentence = "Invalid value for '--state': it is empty; name a folder, or leave the option out"
    assert refused("model", "list", "--state", "") == sentence
