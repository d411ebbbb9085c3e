"""The options that commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from modelyard.runner.state import State


def _folder(text: str) -> Path:
    """A folder's path; an empty text, as an unset variable gives it, would mean the current folder."""
    if not text:
        raise typer.BadParameter("it is empty; name a folder, or leave the option out")
    return Path(text)


StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        parser=_folder,
        help="The folder that the local runner keeps everything in; modelyard/local in your data folder by default.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]


def state_of(folder: Path | None) -> "State":
    """The state folder that is meant."""
    from modelyard.runner.state import State, default_state

    return State((folder.expanduser() if folder else default_state()).absolute())


def state_words(folder: Path | None) -> list[str]:
    """How a further command names the same state folder."""
    return ["--state", str(folder)] if folder else []
