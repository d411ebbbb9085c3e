"""What commands print: results on stdout, everything else on stderr; colour and movement with a terminal only."""

import io
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.errors import RefusedError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from modelyard.submit import Run, Step

WIDE = 200
STDOUT = 1
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that a terminal obeys rather than shows; lines and tabs are not among them."""
STYLES = {"SUCCEEDED": ("done", "green"), "FAILED": ("failed", "red"), "CANCELED": ("cancelled", "yellow")}


@contextmanager
def sentences() -> Iterator[None]:
    """A ValueError of the registry, the model server or the runner is the user's to read."""
    try:
        yield
    except ValueError as error:
        raise RefusedError(str(error)) from error


def command(*words: str) -> str:
    """A `modelyard` command as it works when typed here."""
    called = Path(sys.argv[0])
    found = shutil.which("modelyard")
    if called.name != "modelyard" or (found and Path(found).samefile(called)):
        return shlex.join(["modelyard", *words])
    return shlex.join([within(called.absolute(), Path.cwd()) or str(called.absolute()), *words])


def short(path: Path) -> str:
    """A path as people write it: from where they stand, else from their home."""
    if here := within(path, Path.cwd()):
        return here
    return f"~/{at_home}" if (at_home := within(path, Path.home())) else str(path)


def within(path: Path, folder: Path) -> str:
    """The path from a folder to what is in it, "" if it isn't."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else ""


class Stream(io.FileIO):
    """Standard output or error as the process has it.

    What nobody reads any more, as behind `| head -1`, goes nowhere; that a result can't be written is told, once.
    """

    _ended = False

    def write(self, data: Any) -> int:
        if not self._ended:
            try:
                return super().write(data) or 0
            except BrokenPipeError:
                self._ended = True
            except OSError as error:
                self._ended = True
                if self.fileno() == STDOUT:
                    raise RefusedError(f"the output can't be written: {error.strerror}") from error
        return len(data)


def guard_streams() -> None:
    """Let output end well that can't be written, for want of a reader, of space, or of a character."""
    for name, errors in (("stdout", "replace"), ("stderr", "backslashreplace")):
        found = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 kept to the end
        raw = Stream(found.fileno(), "wb", closefd=False)
        text = io.TextIOWrapper(
            io.BufferedWriter(raw), encoding=found.encoding, errors=errors, line_buffering=found.line_buffering
        )
        setattr(sys, name, text)


def plain(text: str) -> str:
    """A text with what a terminal would obey written out."""
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


class Screen:
    """Where a command prints; with `as_json` stdout gets one object and nothing else."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json

    @cached_property
    def _out(self) -> "Console":
        return _console(stderr=False)

    @cached_property
    def _err(self) -> "Console":
        return _console(stderr=True)

    def note(self, text: str = "", style: str = "") -> None:
        """Tell what is going on."""
        self._err.print(plain(text), style=style or None)

    def show(self, result: "RenderableType", style: str = "") -> None:
        """Print a part of the result for people."""
        if self._as_json:
            return
        if isinstance(result, str):
            result = plain(result)
        if self._out.is_terminal:
            result = _fitted(result, self._out)
            self._out.print(result, style=style or None, soft_wrap=isinstance(result, str))  # to be pasted as it is
            return
        with self._out.capture() as capture:
            self._out.print(result)
        sys.stdout.write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))
        sys.stdout.flush()

    def finish(self, result: dict[str, Any]) -> None:
        """Print the whole result for programs."""
        if self._as_json:
            sys.stdout.write(json.dumps(result, indent=2, allow_nan=False) + "\n")
            sys.stdout.flush()

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Tell what takes a while."""
        if not self._err.is_terminal:
            self.note(text)
            yield
            return
        with self._err.status(text):
            yield
        self.note(text)

    @contextmanager
    def steps(self) -> Iterator[Callable[["Run"], None]]:
        """Show a run's steps as they come: takes each look at the run."""
        if self._err.is_terminal:
            with _moving(self._err) as seen:
                yield seen
        else:
            yield _in_lines(self.note)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()) -> "Table":
    """A plain table; the columns in `right` hold numbers."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(plain(str(cell))) for cell in row))
    return made


def _fitted(result: "RenderableType", console: "Console") -> "RenderableType":
    """A table that would have to cut words in another form; everything else as it is."""
    from rich.measure import Measurement
    from rich.table import Table

    if isinstance(result, Table):
        anywhere = console.options.update(width=sys.maxsize)  # a measure is never above the width that there is
        if Measurement.get(console, anywhere, result).minimum > console.width:
            return _in_blocks(result)
    return result


def _in_blocks(made: "Table") -> "RenderableType":
    """A table for narrow screens: what was a row is a paragraph, each cell behind its column's name."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    names = [str(column.header) for column in made.columns]
    rows = zip(*(column.cells for column in made.columns), strict=True)
    paragraphs = [
        Text("  ").join(Text.assemble((f"{name} " if name else "", "bold"), cell) for name, cell in cells)
        for cells in ([(name, cell) for name, cell in zip(names, row, strict=True) if cell.plain] for row in rows)
    ]
    return Group(*(Padding(paragraph, (0, 0, 1, 0)) for paragraph in paragraphs))


def verdict(*, good: bool, yes: str = "ok", no: str = "no") -> Any:
    """A coloured word."""
    from rich.text import Text

    return Text(yes, "green") if good else Text(no, "bold red")


def number(value: float | None) -> str:
    """A metric."""
    return "undefined" if value is None else f"{value:.3f}"


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=WIDE, soft_wrap=True)
    return console


def _in_lines(note: Callable[[str], None]) -> Callable[["Run"], None]:
    told: set[str] = set()

    def seen(run: "Run") -> None:
        for step in run.steps:
            if step.ended and step.id not in told:
                told.add(step.id)
                note(f"  {step.name:20} {_word(step):10} {step.seconds:6.2f} s")

    return seen


@contextmanager
def _moving(console: "Console") -> Iterator[Callable[["Run"], None]]:
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.table import Table
    from rich.text import Text

    spinner = Spinner("dots")

    def line(step: "Step") -> tuple["RenderableType", str, Text]:
        mark = {"SUCCEEDED": "✓", "FAILED": "✗"}.get(step.state, "-")
        style = STYLES.get(step.state, ("", "dim"))[1]
        sign = Text(mark, style) if step.ended else spinner
        return sign, step.name, Text(f"{step.seconds:.2f} s", style if step.ended else "dim")

    with Live(console=console, refresh_per_second=12) as live:

        def seen(run: "Run") -> None:
            grid = Table.grid(padding=(0, 1, 0, 2))
            grid.add_column()
            grid.add_column(min_width=20)
            grid.add_column(justify="right", min_width=8)
            for step in run.steps:
                grid.add_row(*line(step))
            live.update(grid)

        yield seen


def _word(step: "Step") -> str:
    return STYLES.get(step.state, (step.state.lower(), ""))[0]
