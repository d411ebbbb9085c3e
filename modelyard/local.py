"""A local runner to run on: the one that runs, or one for the moment."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from modelyard.errors import RefusedError
from modelyard.runner.state import Running, State, StateError, start, stop

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
                stop(state)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C is too late here: what is under way is the tidying up after it."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
