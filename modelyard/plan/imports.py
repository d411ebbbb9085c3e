"""Importing of `pulumi_aws` by need.

A service of `pulumi_aws` is a package whose `__init__` imports each of its resources, some two hundred for EC2, of
which a program needs a few. `by_need()` lets them be imported when they are asked for. A name that can't be placed
makes the real `__init__` run, so that whatever works without this works with it.
"""

import importlib
import importlib.abc
import importlib.machinery
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = "pulumi_aws"


def by_need() -> None:
    """From now on, import services of `pulumi_aws` by need; those that are imported already stay as they are."""
    if not any(isinstance(finder, _Services) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Services())


class _Services(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, _: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if path is None or not name.startswith(f"{ROOT}.") or name.count(".") > 1:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.submodule_search_locations and isinstance(spec.loader, importlib.abc.Loader):
            spec.loader = _ByNeed(spec.loader)
        return spec


class _ByNeed(importlib.abc.Loader):
    def __init__(self, real: importlib.abc.Loader) -> None:
        self._real = real

    def create_module(self, _: importlib.machinery.ModuleSpec) -> None:
        """As usual."""

    def exec_module(self, module: ModuleType) -> None:
        folder = Path(str(module.__file__)).parent
        members = {path.stem for path in folder.glob("*.py")}

        def resolve(name: str) -> Any:
            if name in members:
                return importlib.import_module(f"{module.__name__}.{name}")
            if not name.startswith("__"):
                # In the order in which the real __init__ lets one win if a name comes twice.
                places = ["_inputs"] if "Args" in name else []
                places += [_snake(name.removesuffix("Args")), "_enums"]
                for place in places:
                    if place in members and name in (found := resolve(place)).__all__:
                        return module.__dict__.setdefault(name, getattr(found, name))
            if "__getattr__" not in module.__dict__:
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            del module.__dict__["__getattr__"]
            self._real.exec_module(module)
            return getattr(module, name)

        module.__dict__["__getattr__"] = resolve


def _snake(name: str) -> str:
    """`OpenIdConnectProvider`, `get_open_id` and `GetOpenIdResult` by the file that they are in."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    return words.removeprefix("awaitable_").removesuffix("_result").removesuffix("_output")
