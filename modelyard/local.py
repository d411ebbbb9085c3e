"""A local runner to run on: the one that runs, or one for the moment."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

from modelyard.errors import FailedError, RefusedError
from modelyard.runner.state import Running, State, StateError, start, stop

Handler = Callable[[int, FrameType | None], None] | signal.Handlers
Telling = Callable[[str], AbstractContextManager[None]]
"""Tells the user what is going on while it goes on."""


@contextmanager
def on_runner(state: State, telling: Telling, *, keep: bool = False) -> Iterator[Running]:
    """The runner of a state folder; where none runs one is started, and ended afterwards unless it is to be kept.

    Raises:
        RefusedError: it can't be started.
    """
    if running := state.running():
        yield running
        return
    try:
        state.create()
        with telling(f"starting the local runner on {state.root}"):
            running = start(state)
    except StateError as error:
        raise RefusedError(str(error)) from error
    done = False
    try:
        yield running
        done = True
    finally:
        if not (keep and done):
            with undisturbed():
                _end(state)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C is too late here: what is under way is the tidying up after it."""
    with _handled(signal.SIG_IGN):
        yield


@contextmanager
def deferred() -> Iterator[None]:
    """Ctrl-C waits until this is done."""
    came: list[int] = []
    with _handled(lambda number, _: came.append(number)):
        yield
    if came:
        raise KeyboardInterrupt


@contextmanager
def _handled(handler: Handler) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _end(state: State) -> None:
    try:
        stop(state)
    except StateError as error:
        raise FailedError(str(error)) from error
