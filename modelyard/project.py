"""Where the project is whose stacks are meant."""

import re
from pathlib import Path

from modelyard.errors import RefusedError

CHECKOUT = Path(__file__).parents[1]


def project() -> Path:
    """The nearest folder upwards from the current one that has the project's Pulumi.yaml; else the checkout."""
    here = Path.cwd()
    for folder in (here, *here.parents, CHECKOUT):
        if _is_project(folder / "Pulumi.yaml"):
            return folder
    raise RefusedError("there is no Pulumi.yaml of Modelyard here or above; go to your checkout of it")


def _is_project(file: Path) -> bool:
    try:
        return bool(re.search(r"^name:\s*modelyard\s*$", file.read_text(encoding="utf-8"), re.MULTILINE))
    except (OSError, UnicodeDecodeError):
        return False
