"""modelyard demo: from data to a served model, and a worse model that is kept out."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli.model import described_version, versions_table
from modelyard.cli.options import JsonOption, StateOption, state_of, state_words
from modelyard.cli.output import Screen, command, number, sentences, short, table, verdict
from modelyard.cli.pipeline import described, failure
from modelyard.errors import FailedError

if TYPE_CHECKING:
    from components.services.registry import ModelVersion, Registry
    from modelyard.demo import Answer
    from modelyard.runner.state import Running, State
    from modelyard.submit import Client, Run

EPILOG = "Example: modelyard demo --state ./state --keep"
REAL, SHUFFLED = "real data", "shuffled labels"
SHOWN_METRICS = ("roc_auc", "accuracy", "precision", "recall", "f1", "log_loss", "calibration_error")
SHOWN_COLUMNS = {
    "pirat": "debt/income",
    "lvrat": "loan/value",
    "chist": "slow payments",
    "phist": "bad record",
    "insurance": "insurance denied",
}


@dataclass
class Story:
    """What has come of the demo so far; runs, metrics and reports by the run's name."""

    runs: dict[str, "Run"] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    gate: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: list["Answer"] = field(default_factory=list)
    versions: list["ModelVersion"] = field(default_factory=list)
    champion: str = ""
    can_roll_back: bool = False


@dataclass(frozen=True)
class Stage:
    """What the acts are played with; `registry` comes from the background, since importing MLflow takes a while."""

    screen: Screen
    folder: "State"
    running: "Running"
    package: Path
    client: "Client"
    registry: "Future[Registry]"
    story: Story = field(default_factory=Story)


def demo(
    state: StateOption = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the runner and the model server up.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train, gate, register and serve a model on real data on this machine, and see a bad one refused."""
    from modelyard.local import on_runner

    started = time.monotonic()
    screen, folder = Screen(as_json=as_json), state_of(state)
    with sentences():
        folder.create()
        stays = keep or folder.running() is not None
    with ThreadPoolExecutor(1) as background:
        package = background.submit(_compile, folder)
        screen.note("1. The local runner", "bold")
        with on_runner(folder, screen.waiting, keep=keep) as running:
            screen.note(f"runner at {running.url}, model server at {running.serving_url}")
            stage = _set(screen, folder, running, package.result(), background)
            _train(stage)
            _ask(stage)
            _refuse(stage)
    screen.note("\n5. What came of it", "bold")
    _show_tables(stage)
    commands = _next(stage, state, stays=stays)
    _show_ending(stage, commands, stays=stays)
    screen.finish(_described(stage, stays=stays) | {"next": commands})
    screen.note(f"\nThe demo took {time.monotonic() - started:.1f} s.")


def _compile(folder: "State") -> Path:
    from modelyard.submit import compile_pipeline

    package = folder.root / "demo" / "training.yaml"
    package.parent.mkdir(exist_ok=True, mode=0o700)
    compile_pipeline("training", package)
    return package


def _set(screen: Screen, folder: "State", running: "Running", package: Path, background: ThreadPoolExecutor) -> Stage:
    from modelyard.submit import Client

    return Stage(screen, folder, running, package, Client(running.url), background.submit(_registry, running))


def _registry(running: "Running") -> "Registry":
    from components.services.registry import Registry

    return Registry(running.tracking_uri)


def _train(stage: Stage) -> None:
    from modelyard import demo as work

    stage.screen.note("\n2. A model of real data", "bold")
    stage.screen.note(f"{short(work.data_file())}: who was denied a mortgage, Boston 1990")
    run = _run(stage, REAL, work.data_file())
    if not run.succeeded:
        raise FailedError(failure(run, stage.folder))
    stage.story.champion = _champion(stage)
    stage.screen.note(f"It passed every rule: version {stage.story.champion} is the champion.")


def _ask(stage: Stage) -> None:
    from modelyard import demo as work

    stage.screen.note("\n3. Six applications that it hasn't seen, over the Open Inference Protocol v2", "bold")
    answers = work.ask(stage.client, stage.story.runs[REAL], stage.running.serving_url)
    rows = [
        (
            *(f"{value:.3f}" if isinstance(value := answer.row[name], float) else value for name in SHOWN_COLUMNS),
            f"{answer.probability:.3f}",
            answer.answer,
            verdict(good=answer.answer == answer.truth, yes=answer.truth, no=answer.truth),
        )
        for answer in answers
    ]
    stage.story.answers = answers
    stage.screen.show(table([*SHOWN_COLUMNS.values(), "P(denied)", "denied?", "truth"], rows))


def _refuse(stage: Stage) -> None:
    from modelyard import demo as work

    stage.screen.note("\n4. The same pipeline on the same rows with shuffled labels", "bold")
    data = stage.folder.root / "demo" / "shuffled-labels.csv"
    work.shuffle_labels(work.data_file(), data)
    stage.screen.note(short(data))
    run = _run(stage, SHUFFLED, data)
    work.need_refusal(run)
    stage.screen.note("The gate refused it:")
    for rule in stage.story.gate[SHUFFLED]["rules"]:
        if not rule["passed"]:
            limit = f"{rule['compare']} {number(rule['limit'])}"
            stage.screen.note(f"  {rule['rule']}: {number(rule['value'])} is not {limit}", "red")
    champion, answering = _champion(stage), work.served(stage.running.serving_url)["versions"]
    if champion != stage.story.champion or answering != [champion]:
        raise FailedError(
            f"version {stage.story.champion} should still be the champion, "
            f"but it is {champion}, and the server answers with {', '.join(answering)}"
        )
    stage.screen.note(f"Version {champion} is still the champion and goes on answering.")
    registry = stage.registry.result()
    stage.story.versions = registry.versions(work.MODEL)
    stage.story.can_roll_back = registry.champion_before(work.MODEL) is not None


def _run(stage: Stage, name: str, data: Path) -> "Run":
    """One run of the pipeline; its numbers go into the story."""
    from modelyard import demo as work
    from modelyard import submit

    parameters = submit.complete(submit.read_package(stage.package), work.arguments(data), stage.running)
    with stage.screen.steps() as seen:
        run = stage.client.execute(stage.package, parameters, seen, f"demo: {name}")
    stage.story.runs[name] = run
    if any(step.name == "Judge model" and step.state == "SUCCEEDED" for step in run.steps):
        stage.story.metrics[name] = work.metrics(stage.client, run)
        stage.story.gate[name] = work.report(stage.client, run)
    return run


def _champion(stage: Stage) -> str:
    from modelyard.demo import MODEL

    champion = stage.registry.result().champion(MODEL)
    return champion.version if champion else "none"


def _show_tables(stage: Stage) -> None:
    screen, story = stage.screen, stage.story
    names = list(story.runs)
    runs = [
        (name, run.id, verdict(good=run.succeeded, yes="registered", no="refused"), f"{run.seconds:.2f}")
        for name, run in story.runs.items()
    ]
    screen.show(table(["run", "id", "its model was", "seconds"], runs, right=["seconds"]))
    steps = {step.name: step for run in reversed(story.runs.values()) for step in run.steps}
    rows: list[tuple[Any, ...]] = [
        (
            step,
            *(next((f"{one.seconds:.2f}" for one in run.steps if one.name == step), "") for run in story.runs.values()),
        )
        for step in steps
    ]
    screen.show("")
    screen.show(table(["step (seconds)", *names], rows, right=names))
    rows = [(metric, *(number(story.metrics[name].get(metric)) for name in names)) for metric in SHOWN_METRICS]
    screen.show("")
    screen.show(table(["metric", *names], rows, right=names))
    screen.show("")
    screen.show(_rules(story))
    screen.show("")
    screen.show(versions_table(story.versions))


def _rules(story: Story) -> Any:
    """Each rule with its limit, and the number of each run."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for name, report in story.gate.items():
        for rule in report["rules"]:
            key = (rule["rule"], f"{rule['compare']} {number(rule['limit'])}")
            value = number(rule["value"])
            found.setdefault(key, {})[name] = verdict(good=rule["passed"], yes=value, no=f"{value} broken")
    rows = [(*key, *(numbers.get(name, "") for name in story.gate)) for key, numbers in sorted(found.items())]
    return table(["rule", "limit", *story.gate], rows)


def _show_ending(stage: Stage, commands: list[str], *, stays: bool) -> None:
    screen = stage.screen
    screen.show("")
    screen.show(f"endpoint: {_endpoint(stage)} ({'up' if stays else 'stopped by now; --keep leaves it up'})")
    screen.show(
        f"left in {short(stage.folder.root)}: runs (runner.db, artifacts, logs), models (mlflow.db, models), "
        "the demo's package and shuffled data (demo)"
    )
    screen.show("\nwhat to try next:", "bold")
    for words in commands:
        screen.show(f"  {words}")


def _next(stage: Stage, state: Path | None, *, stays: bool) -> list[str]:
    """Commands that work now as they are printed."""
    from modelyard.demo import MODEL, arguments, data_file

    where = state_words(state)
    given = [word for name, value in arguments(data_file()).items() for word in ("-p", f"{name}={value}")]
    commands = [command("model", "show", MODEL, *where)]
    if stays:
        commands.append(f"curl {stage.running.serving_url}/v2/models/{MODEL}")
    if stage.story.can_roll_back:
        commands.append(command("model", "rollback", MODEL, *where))
    commands.append(command("pipeline", "run", "training", *given, "-p", "trees=120", *where))
    commands.append(command("runner", "stop", *where) if stays else command("demo", "--keep", *where))
    return commands


def _endpoint(stage: Stage) -> str:
    from modelyard.demo import MODEL

    return f"{stage.running.serving_url}/v2/models/{MODEL}/infer"


def _described(stage: Stage, *, stays: bool) -> dict[str, Any]:
    story = stage.story
    return {
        "state": str(stage.folder.root),
        "runs": [described(run, stage.folder) | {"about": name} for name, run in story.runs.items()],
        "metrics": story.metrics,
        "gate": story.gate,
        "answers": [asdict(answer) for answer in story.answers],
        "versions": [described_version(version) for version in story.versions],
        "champion": story.champion,
        "endpoint": {"url": _endpoint(stage), "up": stays},
    }
