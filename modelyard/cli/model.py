"""modelyard model: what is registered, and which version is in service."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli.options import JsonOption, StateOption, state_of
from modelyard.cli.output import Screen, sentences, table
from modelyard.cli.rules import rules_table
from modelyard.errors import RefusedError

if TYPE_CHECKING:
    from components.services.registry import ModelVersion, Registry
    from modelyard.runner.state import State

app = typer.Typer(
    help="Look at registered models, and change which is in service.", no_args_is_help=True, rich_markup_mode=None
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="A model of `modelyard model list`.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="A version of `modelyard model show NAME`.")]


@app.command("list", epilog="Example: modelyard model list --json")
def list_models(state: StateOption = None, as_json: JsonOption = False) -> None:
    """List the models and which of their versions is the champion."""
    screen, folder = Screen(as_json=as_json), state_of(state)
    registry = _registry(folder) if _has_registry(folder) else None
    models = {name: registry.versions(name) for name in registry.models()} if registry else {}
    rows = [
        (
            name,
            _aliased(versions, "champion"),
            _aliased(versions, "challenger"),
            len(versions),
            f"{versions[0].created:%F %T}",
        )
        for name, versions in models.items()
        if versions
    ]
    if rows:
        screen.show(table(["model", "champion", "challenger", "versions", "newest (UTC)"], rows))
    else:
        screen.show(f"no model is registered in {folder.root}")
    found = [
        {"name": name, "versions": [described_version(one) for one in versions]} for name, versions in models.items()
    ]
    screen.finish({"models": found})


@app.command(epilog="Example: modelyard model show mortgage 2")
def show(
    name: Name,
    version: Annotated[
        str | None,
        typer.Argument(metavar="[VERSION]", help="The champion, or the newest one, by default.", show_default=False),
    ] = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a model's versions, and all that is known of one of them."""
    screen = Screen(as_json=as_json)
    with sentences():
        registry = _registry(state_of(state))
        versions = registry.versions(name)
        if not versions:
            raise RefusedError(f"model {name!r} has no versions")
        shown = registry.get(name, version) if version else registry.champion(name) or versions[0]
    screen.show(versions_table(versions))
    facts = {
        "version": shown.version,
        "model digest": shown.digest,
        "data": shown.data_uri,
        "data digest": shown.data_digest,
        "code commit": shown.code_commit or "unknown",
        "run": shown.run_id,
        "parameters": ", ".join(f"{key} {value}" for key, value in shown.parameters.items()),
    }
    screen.show("")
    for key, value in facts.items():
        screen.show(f"{key:13} {value}")
    numbers = [(key, f"{value:.4f}") for key, value in shown.metrics.items() if "/" not in key]
    screen.show("")
    screen.show(table(["metric", "value"], numbers, right=["value"]))
    screen.show("")
    screen.show(rules_table(shown.report))
    screen.finish({"name": name, "versions": [one.version for one in versions], "shown": described_version(shown)})


@app.command(epilog="Example: modelyard model promote mortgage 2")
def promote(name: Name, version: Version, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Make a version the champion, and have the running model server load it."""
    from modelyard import release

    folder = state_of(state)
    serving_url = _serving_url(folder)
    with sentences():
        champion = release.promote(_registry(folder), name, version, serving_url)
    _tell(Screen(as_json=as_json), champion, serving_url)


@app.command(epilog="Example: modelyard model rollback mortgage")
def rollback(name: Name, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Make the champion before this one the champion again, and have the running model server load it."""
    from modelyard import release

    folder = state_of(state)
    serving_url = _serving_url(folder)
    with sentences():
        champion = release.roll_back(_registry(folder), name, serving_url)
    _tell(Screen(as_json=as_json), champion, serving_url)


def versions_table(versions: list["ModelVersion"]) -> Any:
    """A model's versions."""
    rows = [
        (
            one.version,
            ", ".join(one.aliases),
            f"{one.metrics.get('roc_auc', float('nan')):.4f}",
            f"{one.created:%F %T}",
            one.run_id,
        )
        for one in versions
    ]
    return table(["version", "is", "ROC AUC", "registered (UTC)", "run"], rows, right=["ROC AUC"])


def _tell(screen: Screen, champion: "ModelVersion", serving_url: str | None) -> None:
    screen.show(f"the champion of {champion.name} is version {champion.version}")
    if serving_url:
        screen.show(f"the model server at {serving_url} answers with it")
    else:
        screen.show("no model server runs on this state folder; the next one to start loads it")
    screen.finish({"name": champion.name, "champion": champion.version, "served_at": serving_url})


def _serving_url(folder: "State") -> str | None:
    running = folder.running()
    return running.serving_url if running else None


def _has_registry(folder: "State") -> bool:
    return (folder.root / "mlflow.db").exists()


def _registry(folder: "State") -> "Registry":
    """The registry of a state folder; asking for one that is not there would make it."""
    if not _has_registry(folder):
        raise RefusedError(f"no model is registered in {folder.root}; name another folder with --state, or train one")
    from components.services.registry import Registry

    return Registry(folder.tracking_uri)


def _aliased(versions: list["ModelVersion"], alias: str) -> str:
    return next((one.version for one in versions if alias in one.aliases), "")


def described_version(version: "ModelVersion") -> dict[str, Any]:
    promoted = version.promoted.isoformat() if version.promoted else None
    return {**asdict(version), "created": version.created.isoformat(), "promoted": promoted}
