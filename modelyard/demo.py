"""What the demo does: two runs of `training` on the mortgage data, one of them on labels that mean nothing."""

import csv
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from components.services import model_server
from modelyard.errors import FailedError, RefusedError
from modelyard.submit import PROJECT, Client, Run

DATA = PROJECT / "data" / "mortgage"
MODEL, TARGET, POSITIVE, GROUP = "mortgage", "deny", "yes", "afam"
SEED = 3


@dataclass(frozen=True)
class Answer:
    """What the server said about one applicant, and what the lender had said."""

    row: dict[str, Any]
    answer: str
    probability: float
    truth: str


def data_file() -> Path:
    """The mortgage data.

    Raises:
        RefusedError: it is not beside the code.
    """
    path = DATA / "applications.csv"
    if not path.exists():
        raise RefusedError(f"the demo's data is not at {path}: run the demo from a clone of the repository")
    return path


def arguments(data: Path) -> dict[str, Any]:
    """What the pipeline is given."""
    return {
        "data": str(data),
        "schema": str(DATA / "schema.yaml"),
        "target": TARGET,
        "positive": POSITIVE,
        "group": GROUP,
        "model_name": MODEL,
    }


def shuffle_labels(source: Path, copy: Path) -> None:
    """Write a copy of a table in which the target says nothing about the rest."""
    with source.open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    place = head.index(TARGET)
    labels = [row[place] for row in rows]
    random.Random(SEED).shuffle(labels)  # noqa: S311 (no secret)
    copy.parent.mkdir(parents=True, exist_ok=True)
    with copy.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows([*row[:place], label, *row[place + 1 :]] for row, label in zip(rows, labels, strict=True))


def ask(client: Client, run: Run, serving_url: str) -> list[Answer]:
    """Send three denied and three granted applications that the model hasn't learned from; what it answers."""
    import pandas as pd

    rows = pd.read_parquet(client.artifact(run.step("Split data"), "test")["uri"])
    chosen = rows.groupby(TARGET, sort=True, observed=True).sample(3, random_state=SEED)
    columns = {str(name): chosen[name].tolist() for name in chosen.columns}
    try:
        outputs = model_server.infer(serving_url, MODEL, columns)
        place = json.loads(served(serving_url)["parameters"]["modelyard"])["classes"].index(POSITIVE)
    except ValueError as error:
        raise FailedError(f"the model server didn't answer the demo's rows: {error}") from error
    return [
        Answer(
            row={name: values[number] for name, values in columns.items() if name != TARGET},
            answer=str(outputs["label"][number]),
            probability=float(outputs["probabilities"][number][place]),
            truth=str(columns[TARGET][number]),
        )
        for number in range(len(chosen))
    ]


def served(serving_url: str) -> dict[str, Any]:
    """The server's metadata of the demo's model."""
    return dict(httpx.get(f"{serving_url}/v2/models/{MODEL}", timeout=10).raise_for_status().json())


def metrics(client: Client, run: Run) -> dict[str, float]:
    """How good the run's model is."""
    return dict(client.artifact(run.step("Evaluate model"), "metrics")["metadata"])


def report(client: Client, run: Run) -> dict[str, Any]:
    """By which rules the run's model was judged."""
    uri = client.artifact(run.step("Judge model"), "report")["uri"]
    return dict(json.loads(Path(uri).read_text(encoding="utf-8")))


def need_refusal(run: Run) -> None:
    """See that the gate refused a model, and nothing else went wrong.

    Raises:
        FailedError: it let the model pass, or the run failed elsewhere.
    """
    if run.succeeded:
        raise FailedError(f"the gate let a model pass that was trained on shuffled labels: run {run.id}")
    if [step.name for step in run.steps if step.state == "FAILED"] != ["Gate"]:
        raise FailedError(f"the run on shuffled labels was to fail at its gate: {run.error or run.state}: run {run.id}")
