"""modelyard runner: the local runner that pipelines run on."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli.options import JsonOption, StateOption, state_of, state_words
from modelyard.cli.output import Screen, command, sentences

if TYPE_CHECKING:
    from modelyard.runner.state import Running, State

app = typer.Typer(help="Start, stop and look at the local runner.", no_args_is_help=True, rich_markup_mode=None)
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]


@app.command(epilog="Example: modelyard runner start --state ./state --port 8888")
def start(state: StateOption = None, port: Port = 0, serving_port: Port = 0, as_json: JsonOption = False) -> None:
    """Start the runner and its model server in the background."""
    from modelyard.runner import state as runner_state

    screen, folder = Screen(as_json=as_json), state_of(state)
    with screen.waiting(f"starting the local runner on {folder.root}"), sentences():
        running = runner_state.start(folder, port, serving_port)
    _show(screen, folder, running)
    screen.note(f"stop it with: {command('runner', 'stop', *state_words(state))}")


@app.command(epilog="Example: modelyard runner stop --state ./state")
def stop(state: StateOption = None) -> None:
    """Stop the runner and its model server; runs that are under way are marked as cancelled."""
    from modelyard.runner import state as runner_state

    folder = state_of(state)
    with sentences():
        stopped = runner_state.stop(folder)
    Screen().show(f"stopped the runner on {folder.root}" if stopped else f"no runner works on {folder.root}")


@app.command(epilog="Example: modelyard runner status --json")
def status(state: StateOption = None, as_json: JsonOption = False) -> None:
    """Tell whether a runner works, and where it answers; exit code 1 if none does."""
    screen, folder = Screen(as_json=as_json), state_of(state)
    running = folder.running()
    if running:
        _show(screen, folder, running)
        return
    screen.finish({"running": False, "state": str(folder.root)})
    screen.show(f"no runner works on {folder.root}; start one with: {command('runner', 'start', *state_words(state))}")
    raise typer.Exit(1)


def _show(screen: Screen, folder: "State", running: "Running") -> None:
    facts: dict[str, Any] = {"state": str(folder.root), **asdict(running)}
    for name, value in facts.items():
        screen.show(f"{name.replace('_', ' '):13} {value}")
    screen.finish({"running": True, **facts})
