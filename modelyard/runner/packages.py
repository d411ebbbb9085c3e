"""Steps that bring packages of their own: what a step wants installed, and the cached environment that has it."""

import asyncio
import hashlib
import importlib.metadata
import json
import re
import shlex
import shutil
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from uv import find_uv_bin

from modelyard.runner.ir import PackageError

INSTALL = re.compile(r"-m pip install (?P<words>.*?)\s*&&", re.DOTALL)
PROGRAM = "kfp.dsl.executor_main"


@dataclass(frozen=True)
class Program:
    """A lightweight Python component: its source, its function's name in there, and what it wants installed."""

    source: str
    function: str
    requirements: list[str]


def python_program(container: Any) -> Program | None:
    """The lightweight Python component in a container spec, None where it is another kind of container."""
    command = list(container.command)
    if len(command) < 2 or PROGRAM not in command[-2]:
        return None
    wanted = [
        word
        for script in command
        for match in INSTALL.finditer(script)
        for word in shlex.split(match["words"])
        if not word.startswith("--quiet") and word != "--no-warn-script-location"
    ]
    arguments = list(container.args)
    function = arguments[arguments.index("--function_to_execute") + 1]
    return Program(source=command[-1], function=function, requirements=wanted)


def missing(requirements: list[str]) -> list[str]:
    """The requirements that this process's own environment doesn't meet.

    Raises:
        PackageError: one of them is no requirement.
    """
    return [word for word in requirements if not _met(word)]


def _met(word: str) -> bool:
    if word == "--no-deps":
        return True
    try:
        requirement = Requirement(word)
    except InvalidRequirement as error:
        raise PackageError(f"packages_to_install: {word!r} can't be installed here: {error}") from error
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    try:
        return requirement.url is None and requirement.specifier.contains(
            importlib.metadata.version(requirement.name), prereleases=True
        )
    except importlib.metadata.PackageNotFoundError:
        return False


@dataclass
class Environments:
    """Virtual environments by what is installed in them, made once by uv and kept in `folder`."""

    folder: Path
    _making: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def python(self, requirements: list[str], log: Path, *, on_image: bool) -> Path:
        """The Python of the environment that has these requirements; uv's output goes to `log`.

        With `on_image` they come on top of what the project's own image has.

        Raises:
            PackageError: uv can't install them.
        """
        wanted = sorted({word for word in requirements if word != "--no-deps"})
        key = hashlib.sha256(json.dumps([sys.version, wanted, on_image]).encode()).hexdigest()[:16]
        place = self.folder / key
        async with self._making.setdefault(key, asyncio.Lock()):
            if not (place / "complete").exists():
                shutil.rmtree(place, ignore_errors=True)
                await self._make(place, wanted, log)
                if on_image:
                    _inherit(place)
                (place / "complete").touch()
        return place / "bin" / "python"

    async def _make(self, place: Path, requirements: list[str], log: Path) -> None:
        uv = find_uv_bin()
        python = str(place / "bin" / "python")
        for words in (
            [uv, "venv", "--quiet", "--python", sys.executable, str(place)],
            [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *requirements],
        ):
            with log.open("ab") as output:
                process = await asyncio.create_subprocess_exec(*words, stdout=output, stderr=output)
                try:
                    status = await process.wait()
                except asyncio.CancelledError:
                    process.kill()
                    await process.wait()
                    raise
                if status != 0:
                    raise PackageError(f"packages_to_install: uv can't install {', '.join(requirements)}; see {log}")


def _inherit(place: Path) -> None:
    """Let an environment see this process's own packages behind its own."""
    (packages,) = place.glob("lib/python*/site-packages")
    ours = sysconfig.get_path("purelib")
    (packages / "image.pth").write_text(f"import site; site.addsitedir({ours!r})\n", encoding="utf-8")
