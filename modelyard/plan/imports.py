"""Importing of `pulumi_aws` by need: the process of a plan spends less time on what its program does not use.

A service of `pulumi_aws` is a package whose `__init__` imports each of its resources, some two hundred for EC2, and
two modules of it have the classes of all their nested properties; a program needs a few. After `by_need()` resources
are imported when they are asked for, and of the nested classes only those are made that an imported resource names.
Whatever can't be placed, or does not look as generated, is imported as usual.
"""

import builtins
import importlib
import importlib.abc
import importlib.machinery
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypedDict

ROOT = "pulumi_aws"
INPUTS = "_inputs"
OUTPUTS = "outputs"


def by_need() -> None:
    """From now on, import services of `pulumi_aws` by need; those that are imported already stay as they are."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, _: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        root, *rest = name.split(".")
        if path is None or root != ROOT or not rest:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or not isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            return spec
        if len(rest) == 1 and spec.submodule_search_locations:
            spec.loader = _Service(spec.loader)
        elif len(rest) == 2:
            spec.loader = _Types(spec.loader) if rest[1] in (INPUTS, OUTPUTS) else _Member(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, real: importlib.machinery.SourceFileLoader) -> None:
        self._real = real

    def create_module(self, _: importlib.machinery.ModuleSpec) -> None:
        """As usual."""


class _Service(_Loader):
    """The package: finds the module of a name when the name is asked for."""

    def exec_module(self, module: ModuleType) -> None:
        members = {path.stem for path in Path(self._real.path).parent.glob("*.py")}

        def find(name: str) -> Any:
            if name in members:
                return importlib.import_module(f"{module.__name__}.{name}")
            if not name.startswith("__"):
                for place in (_file(name), INPUTS, "_enums"):
                    if place in members and name in _names(found := find(place)):
                        return module.__dict__.setdefault(name, getattr(found, name))
            if "__getattr__" not in module.__dict__:
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            del module.__dict__["__getattr__"]
            if INPUTS in members:
                _complete(find(INPUTS))
            self._real.exec_module(module)
            return getattr(module, name)

        module.__dict__["__getattr__"] = find


class _Member(_Loader):
    """A resource: gets the nested inputs that its annotations name."""

    def exec_module(self, module: ModuleType) -> None:
        code = self._real.get_code(module.__name__)
        if code is None:
            raise ImportError(f"{module.__name__} has no code")
        exec(code, module.__dict__)  # noqa: S102 as the real loader does
        inputs = sys.modules.get(f"{module.__name__.rpartition('.')[0]}.{INPUTS}")
        for name in set(_words(code)) & _makers(inputs).keys() - module.__dict__.keys():
            module.__dict__[name] = getattr(inputs, name)


class _Types(_Loader):
    """The nested inputs or outputs of a service: a class is made when it is asked for."""

    def exec_module(self, module: ModuleType) -> None:
        code, source = self._real.get_code(module.__name__), self._real.get_data(self._real.path)
        bodies = {body.co_name: body for body in code.co_consts if isinstance(body, CodeType)} if code else {}
        head, _, classes = source.partition(b"\n__all__ = [\n")
        if not bodies or not _as_generated(classes, bodies):
            self._real.exec_module(module)
            return
        exec(compile(head, self._real.path, "exec"), module.__dict__)  # noqa: S102 the module's own imports
        pulumi = module.__dict__["pulumi"]

        def make(name: str) -> Any:
            if name not in bodies:
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            typed = name.endswith("ArgsDict")
            bases = (TypedDict,) if typed else () if name.endswith("Args") else (dict,)
            made = builtins.__build_class__(FunctionType(bodies[name], module.__dict__, name), name, *bases)
            if not typed:
                made = pulumi.output_type(made) if bases else pulumi.input_type(made)
            module.__dict__[name] = made
            for other in set(_words(bodies[name])) & bodies.keys() - module.__dict__.keys():
                make(other)
            return made

        module.__dict__.update({"__all__": [], "__getattr__": make, "_bodies": bodies})


def _as_generated(classes: bytes, bodies: Iterable[str]) -> bool:
    """Whether there are no classes but of the three kinds that `make` can tell by their names."""
    kinds = (
        rb"\nclass \w+ArgsDict\(TypedDict\):\n",
        rb"\n@pulumi\.input_type\nclass \w+Args:\n",
        rb"\n@pulumi\.output_type\nclass \w+(?<!Args)(?<!ArgsDict)\(dict\):\n",
    )
    return sum(len(re.findall(kind, classes)) for kind in kinds) == len(list(bodies)) == classes.count(b"\nclass ")


def _names(module: ModuleType) -> Any:
    return _makers(module).keys() or module.__all__


def _makers(module: ModuleType | None) -> dict[str, CodeType]:
    """The classes that a module of inputs can make; none if it was imported as usual."""
    return module.__dict__.get("_bodies", {}) if module else {}


def _complete(inputs: ModuleType) -> None:
    """Make all, for an importer that wants them by `*`."""
    for name in _makers(inputs):
        getattr(inputs, name)
    inputs.__dict__["__all__"] = list(_makers(inputs)) or inputs.__all__


def _words(code: CodeType) -> Iterator[str]:
    """The texts in code: annotations that name classes are some of them."""
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _words(constant)


def _file(name: str) -> str:
    """The file that `OpenIdConnectProvider`, `OpenIdConnectProviderArgs`, `get_role` or `GetRoleResult` is in."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name.removesuffix("Args")).lower()
    return words.removeprefix("awaitable_").removesuffix("_result").removesuffix("_output")
