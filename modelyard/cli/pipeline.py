"""modelyard pipeline: the pipelines of this repository, and running them or any other compiled one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import pipelines
from modelyard.cli.options import JsonOption, StateOption, state_of
from modelyard.cli.output import Screen, table
from modelyard.errors import FailedError

if TYPE_CHECKING:
    from modelyard.runner.state import State
    from modelyard.submit import Run

app = typer.Typer(help="List, compile and run pipelines.", no_args_is_help=True, rich_markup_mode=None)


def names(incomplete: str) -> list[str]:
    """What the shell may complete a name to."""
    return [name for name in pipelines.summaries() if name.startswith(incomplete)]


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A pipeline of `modelyard pipeline list`.", autocompletion=names)
]


@app.command("list", epilog="Example: modelyard pipeline list")
def list_pipelines(as_json: JsonOption = False) -> None:
    """List the pipelines of this repository."""
    screen, found = Screen(as_json=as_json), pipelines.summaries()
    screen.show(table(["pipeline", "what it does"], found.items()))
    screen.finish({"pipelines": [{"name": name, "about": about} for name, about in found.items()]})


@app.command("compile", epilog="Example: modelyard pipeline compile training -o training.yaml")
def compile_package(
    name: Name,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="NAME.yaml by default.", show_default=False)
    ] = None,
) -> None:
    """Compile a pipeline into a package for any KFP v2 backend."""
    from modelyard.submit import compile_pipeline

    file = output or Path(f"{name}.yaml")
    compile_pipeline(name, file)
    Screen().show(str(file))


@app.command(
    epilog="Example: modelyard pipeline run training -p data=/data/rows.csv -p schema=/data/schema.yaml "
    "-p target=deny -p positive=yes -p group=afam -p model_name=mortgage -p seed=1"
)
def run(
    pipeline: Annotated[
        str,
        typer.Argument(metavar="NAME|PACKAGE.yaml", help="A pipeline's name or a package.", autocompletion=names),
    ],
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A parameter; lists and mappings in JSON."),
    ] = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a pipeline on the local runner, which is started for the time of the run if it isn't running."""
    from modelyard import submit
    from modelyard.local import on_runner

    screen, folder = Screen(as_json=as_json), state_of(state)
    with submit.packaged(pipeline) as file:
        package = submit.read_package(file)
        given = submit.read_parameters(package, parameter or [])
        submit.need_all(package, given)
        with on_runner(folder, screen.waiting) as running:
            client = submit.Client(running.url)
            with screen.steps() as seen:
                ended = client.execute(file, submit.complete(package, given, running), seen)
    screen.show(f"run {ended.id} {ended.state} in {ended.seconds:.1f} s")
    screen.finish(described(ended, folder))
    if not ended.succeeded:
        raise FailedError(failure(ended, folder))


def described(run: "Run", folder: "State") -> dict[str, Any]:
    """A run for programs."""
    from modelyard.submit import log_of

    steps = [
        {
            "name": step.name,
            "state": step.state,
            "seconds": round(step.seconds, 3),
            "error": step.error,
            "log": str(log_of(folder, run, step)),
        }
        for step in run.steps
    ]
    return {
        "run_id": run.id,
        "name": run.name,
        "state": run.state,
        "seconds": round(run.seconds, 3),
        "error": run.error,
        "steps": steps,
    }


def failure(run: "Run", folder: "State") -> str:
    """Why a run didn't succeed, and where to read more."""
    from modelyard.submit import log_of

    logs = [log_of(folder, run, step) for step in run.steps if step.state == "FAILED"]
    where = next((f"\nlog: {log}" for log in logs if log.exists()), "")
    return f"{run.error or f'run {run.id} is {run.state}'}{where}"
