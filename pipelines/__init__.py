"""In what order: one pipeline a file."""

import ast
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from components.spelling import did_you_mean


def summaries() -> dict[str, str]:
    """Every pipeline by name, with the first line of its file. Reads the files, since importing kfp takes a while."""
    files = sorted(path for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
    return {path.stem: _summary(path) for path in files}


def _summary(path: Path) -> str:
    try:
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    except (SyntaxError, ValueError) as error:
        return f"can't be read: {error}"
    return (docstring or "").partition("\n")[0]


def load(name: str) -> Any:
    """The pipeline of that name, ready for `kfp.compiler` and `kfp.Client`.

    Raises:
        ValueError: there is none of that name, or its file doesn't work.
    """
    known = summaries()
    if name not in known:
        raise ValueError(f"there is no pipeline {name!r}: {did_you_mean(name, known)}")
    try:
        return getattr(import_module(f"pipelines.{name}"), name)
    except Exception as error:  # whatever a file of the user's does when it is imported
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = "" if isinstance(error, SyntaxError) else f" ({Path(frame.filename).name}, line {frame.lineno})"
        raise ValueError(f"pipeline {name!r} can't be loaded: {type(error).__name__}: {error}{where}") from error
