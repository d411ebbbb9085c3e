"""One real demo a session, with its servers kept for the tests to talk to."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelyard import cli
from tests.cli.terminal import Said, modelyard


@dataclass(frozen=True)
class Kept:
    """A demo that was run with `--keep --json`, and its state folder."""

    state: Path
    said: Said
    result: dict[str, Any]


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    state = tmp_path_factory.mktemp("demo") / "state"
    try:
        said = modelyard("demo", "--keep", "--json", "--state", state)
        assert said.code == 0, said.err
        yield Kept(state, said, said.json)
    finally:
        modelyard("runner", "stop", "--state", state)


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]):
    """Runs a command in this process, for those that only refuse or read."""

    def run(*words: object) -> Said:
        code = cli.run([str(word) for word in words])
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return run


@pytest.fixture
def refused(typed):
    """Runs a command that has to be refused; its sentence."""

    def run(*words: object) -> str:
        said = typed(*words)
        assert said.code == 2, said
        assert said.out == "", "a refused command has no result"
        assert said.err.startswith("modelyard: ")
        return said.err.removeprefix("modelyard: ").rstrip("\n")

    return run
