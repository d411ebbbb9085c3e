"""What all commands share."""

import io
import os
import pty
import re
import subprocess
import sys
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path

import pytest

from modelyard.cli.output import Screen, table
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


def shell(line, **environment):
    """What a line of the shell gives, in which `modelyard` is the command: its exit code is that of the first part."""
    script = f'set -o pipefail; modelyard() {{ {PROGRAM!r} "$@"; }}; {line}'
    return subprocess.run(
        ["/bin/bash", "-c", script],
        capture_output=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("words", ["env list", "env list --json", "--help"])
def test_output_that_finds_no_space_is_a_sentence(words):
    done = shell(f"modelyard {words} >/dev/full")
    assert (done.returncode, done.stderr) == (2, b"modelyard: the output can't be written: No space left on device\n")


def test_a_closed_output_is_a_sentence_and_closed_notes_are_none():
    done = shell("modelyard env list >&-")
    assert done.returncode == 2
    assert done.stderr == b"modelyard: there is nowhere to print to: standard output is closed\n"
    assert shell("modelyard env list 2>&-").stdout.startswith(b"stack ")


@pytest.mark.parametrize("words", ["prices show '*'", "prices show '*' --json", "prices show --json '*' 2>&1"])
def test_a_reader_that_goes_early_is_no_failure(words):
    done = shell(f"modelyard {words} | head -c 5")
    assert (done.returncode, len(done.stdout), done.stderr) == (0, 5, b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_an_encoding_lacks_is_a_question_mark(encoding):
    done = shell("modelyard env plan account.main", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"?? " in done.stdout


def test_what_a_terminal_would_obey_is_written_out():
    cells = table(["what"], [["a\x1b]0;title\x07\u202eb"]])
    with io.StringIO() as out, redirect_stdout(out):
        Screen().show(cells)
        Screen().show("one\x9b2J\nline")
        text = out.getvalue()
    assert text.splitlines()[1:] == ["a\\x1b]0;title\\x07\\u202eb", "one\\x9b2J", "line"]
    assert "\x1b" not in text


def on_a_screen(width, rows):
    """What a terminal of that width shows of a table."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as seen, os.fdopen(theirs, "w", encoding="utf-8") as screen:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", screen)
            patch.setenv("TERM", "xterm")
            patch.setenv("COLUMNS", str(width))
            Screen().show(table(["part", "resources", "price"], rows, right=["price"]))
        screen.flush()
        return re.sub(r"\x1b\[[\d;]*m|\r", "", seen.read(4000).decode())


def test_a_narrow_screen_cuts_no_words():
    rows = [["environment", "21 RouteTableAssociation", "1,055"], ["pipelines-database", "", "12"]]
    assert on_a_screen(80, rows).splitlines()[0].split() == ["part", "resources", "price"]
    narrow = on_a_screen(40, rows)
    words = "part environment resources 21 RouteTableAssociation price 1,055 part pipelines-database price 12"
    assert narrow.split() == words.split()
    assert max(map(len, narrow.splitlines())) <= 40
