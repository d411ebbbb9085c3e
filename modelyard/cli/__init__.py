"""The `modelyard` command."""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from modelyard.cli import bootstrap, demo, doctor, env, mirror, model, pipeline, prices, runner, up
from modelyard.cli.output import guard_streams
from modelyard.errors import SentenceError

INTERRUPTED = 130

app = typer.Typer(
    help="Machine learning for many teams: environments, pipelines, models and what serves them.",
    epilog="Start with `modelyard demo`: it trains, gates, registers and serves a model on this machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.command("demo", epilog=demo.EPILOG)(demo.demo)
env.app.command("bootstrap", epilog=bootstrap.EPILOG)(bootstrap.bootstrap)
env.app.command("preview", epilog=up.PREVIEW_EPILOG)(up.preview)
env.app.command("up", epilog=up.UP_EPILOG)(up.up)
env.app.command("refresh", epilog=up.REFRESH_EPILOG)(up.refresh)
env.app.command("destroy", epilog=up.DESTROY_EPILOG)(up.destroy)
env.app.command("outputs", epilog=up.OUTPUTS_EPILOG)(up.outputs)
env.app.command("mirror", epilog=mirror.EPILOG)(mirror.mirror)
app.add_typer(env.app, name="env")
app.add_typer(prices.app, name="prices")
app.add_typer(pipeline.app, name="pipeline")
app.add_typer(runner.app, name="runner")
app.add_typer(model.app, name="model")
app.command("doctor", epilog=doctor.EPILOG)(doctor.doctor)


def show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        from importlib.metadata import version

        typer.echo(f"modelyard {version('modelyard')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take what stands before the command."""


def run(words: Sequence[str]) -> int:
    """Do what the words say; the exit code. What the user did wrong is told in a sentence."""
    try:
        code = app(list(words), prog_name="modelyard", standalone_mode=False) or 0
    except SentenceError as error:
        return _tell(str(error), error.code)
    except typer.TyperException as error:  # its own: unknown options, missing arguments
        return _tell(error.format_message().rstrip("."), 2)
    if code == INTERRUPTED:
        return _tell("stopped", code)
    return int(code)


def main() -> None:
    """Entry point: a request to end, or a closed terminal, is as good as Ctrl-C, so that no server is left behind."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.default_int_handler)
    for name in ("no_proxy", "NO_PROXY"):  # the runner and the model server are on this machine
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))
    if sys.stdout is None:  # as behind `>&-`
        sys.exit(_tell("there is nowhere to print to: standard output is closed", 2))
    guard_streams()
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except SentenceError as error:
        code = _tell(str(error), error.code)
    gc.freeze()  # to take all that was imported apart again would take a second
    sys.exit(code)


def _tell(sentence: str, code: int) -> int:
    typer.echo(f"modelyard: {sentence}", err=True)
    return code
