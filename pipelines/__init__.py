"""In what order: one pipeline a file."""

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

from components.spelling import did_you_mean


def summaries() -> dict[str, str]:
    """Every pipeline by name, with the first line of its file. Reads the files, since importing kfp takes a while."""
    files = sorted(path for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
    docstrings = {path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in files}
    return {name: (text or "").partition("\n")[0] for name, text in docstrings.items()}


def load(name: str) -> Any:
    """The pipeline of that name, ready for `kfp.compiler` and `kfp.Client`.

    Raises:
        ValueError: there is none of that name.
    """
    known = summaries()
    if name not in known:
        raise ValueError(f"there is no pipeline {name!r}: {did_you_mean(name, known)}")
    return getattr(import_module(f"pipelines.{name}"), name)
