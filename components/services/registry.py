"""The model registry: MLflow, spoken to through one client and no global state."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.entities.model_registry import ModelVersion as MlflowVersion
from mlflow.exceptions import MlflowException
from sqlalchemy.engine import make_url

from components.spelling import did_you_mean

CHAMPION = "champion"
CHALLENGER = "challenger"
CHAMPIONS = "champions"
MODEL_FILE = "model.onnx"
REPORT_FILE = "report.json"
MLFLOWS_OWN = "Default"
MOST_SIGNS = 250

# It is part of addresses and file names, and of searches.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class DigestMismatch(ValueError):  # noqa: N818  it says what happened, as LookupError's kin do
    """The bytes of a model are not those that were registered."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a model when it is registered, and kept with it."""

    digest: str
    data_digest: str
    data_uri: str
    code_commit: str
    run_id: str
    parameters: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelVersion(Facts):
    """One registered version. `run_id` is the pipeline's run; `promoted` is when it last became champion."""

    name: str
    version: str
    aliases: tuple[str, ...]
    created: datetime
    promoted: datetime | None


class Registry:
    """Registered models, each with at most one champion and one challenger."""

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri
        self._client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)

    def models(self) -> list[str]:
        return sorted(model.name for model in _pages(self._client.search_registered_models))

    def versions(self, name: str) -> list[ModelVersion]:
        """Every version, newest first."""
        aliases = self._aliases(name)
        # Another program may have put a name here that a search can't quote.
        wanted = f"name='{name}'" if NAME.fullmatch(name) else None
        found = _pages(lambda page_token: self._client.search_model_versions(wanted, page_token=page_token))
        versions = [_read(version, aliases) for version in found if version.name == name]
        return sorted(versions, key=lambda version: int(version.version), reverse=True)

    def get(self, name: str, version: str) -> ModelVersion:
        aliases = self._aliases(name)
        try:
            return _read(self._client.get_model_version(name, version), aliases)
        except MlflowException as error:
            _need_unknown(error, name)
            known = [found.version for found in self.versions(name)]
            raise ValueError(f"model {name!r} has no version {version!r}: {did_you_mean(version, known)}") from error

    def champion(self, name: str) -> ModelVersion | None:
        """The version that serves; None where there is none yet, also for a model that is not registered yet."""
        return self._aliased(name, CHAMPION)

    def challenger(self, name: str) -> ModelVersion | None:
        return self._aliased(name, CHALLENGER)

    def register(self, name: str, model: bytes, facts: Facts) -> ModelVersion:
        """Keep the model with its facts as a new version, and make it the challenger."""
        if (found := _digest(model)) != facts.digest:
            raise DigestMismatch(f"the model to be registered as {name!r} has digest {found}, not {facts.digest}")
        if not NAME.fullmatch(name):
            raise ValueError(f"a model can't be named {name!r}: use letters, digits, `.`, `_` and `-`, first no sign")
        if name == MLFLOWS_OWN:
            raise ValueError(f"a model can't be named {name!r}: MLflow has an experiment of its own by that name")
        if self._found(name) is None:
            _unless_there(lambda: self._client.create_registered_model(name))
        run = self._client.create_run(self._experiment(name), run_name=facts.run_id or None)
        run_id = run.info.run_id
        now = int(datetime.now(UTC).timestamp() * 1000)
        self._client.log_batch(
            run_id,
            metrics=[Metric(_mlflow_name(key), number, now, 0) for key, number in facts.metrics.items()],
            params=[Param(_mlflow_name(key), str(value)) for key, value in facts.parameters.items()],
        )
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, MODEL_FILE).write_bytes(model)
            Path(folder, REPORT_FILE).write_text(json.dumps(facts.report, indent=2))
            self._client.log_artifacts(run_id, folder)
        self._client.set_terminated(run_id)
        version = self._client.create_model_version(
            name, f"{run.info.artifact_uri}/{MODEL_FILE}", run_id=run_id, tags=_tags(facts)
        ).version
        self._client.set_registered_model_alias(name, CHALLENGER, version)
        return self.get(name, version)

    def model_bytes(self, version: ModelVersion) -> bytes:
        """The model file.

        Raises:
            DigestMismatch: its bytes are not those that were registered.
        """
        what = f"model {version.name!r} version {version.version}"
        run_id = str(self._client.get_model_version(version.name, version.version).run_id)
        with tempfile.TemporaryDirectory() as folder:
            try:
                raw = Path(self._client.download_artifacts(run_id, MODEL_FILE, folder)).read_bytes()
            except (MlflowException, OSError) as error:
                raise ValueError(f"the file of {what} is gone from the registry") from error
        if (found := _digest(raw)) != version.digest:
            raise DigestMismatch(f"{what} was changed on disk: its digest is {found}, registered was {version.digest}")
        return raw

    def promote(self, name: str, version: str) -> ModelVersion:
        """Make a version the champion, and remember who was it before."""
        promoted = self.get(name, version)
        if CHAMPION not in promoted.aliases:
            self._crown(name, version, [*self._champions(name), version])
        if CHALLENGER in promoted.aliases:
            self._client.delete_registered_model_alias(name, CHALLENGER)
        return self.get(name, version)

    def champion_before(self, name: str) -> ModelVersion | None:
        """The version that `rollback` would make the champion; None where there is none."""
        past = self._past(name)
        return self.get(name, past[-1]) if past else None

    def rollback(self, name: str) -> ModelVersion:
        """Make the champion before this one the champion again.

        Raises:
            ValueError: there is none.
        """
        past = self._past(name)
        if not past:
            raise ValueError(f"model {name!r} has no champion before this one to roll back to")
        self._crown(name, past[-1], past)
        return self.get(name, past[-1])

    def _past(self, name: str) -> list[str]:
        """The champions before this one that are still there, oldest first."""
        past = self._champions(name)[:-1]
        known = {version.version for version in self.versions(name)}
        while past and past[-1] not in known:
            past.pop()
        return past

    def _crown(self, name: str, version: str, champions: list[str]) -> None:
        """The alias comes last: broken off before it, nothing has happened, whatever the tags say."""
        self._client.set_model_version_tag(name, version, "promoted", datetime.now(UTC).isoformat())
        self._client.set_registered_model_tag(name, CHAMPIONS, json.dumps(champions))
        self._client.set_registered_model_alias(name, CHAMPION, version)

    def _champions(self, name: str) -> list[str]:
        """Every champion, oldest first, and last the one that the alias names, which has the last word."""
        model = self._model(name)
        champions = [str(version) for version in json.loads(model.tags.get(CHAMPIONS, "[]"))]
        if CHAMPION not in model.aliases:
            return champions
        champion = str(model.aliases[CHAMPION])
        while champion in champions and champions[-1] != champion:
            champions.pop()
        return champions if champions[-1:] == [champion] else [*champions, champion]

    def _found(self, name: str) -> Any:
        try:
            return self._client.get_registered_model(name)
        except MlflowException as error:
            _need_unknown(error, name)
            return None

    def _model(self, name: str) -> Any:
        if (found := self._found(name)) is None:
            raise ValueError(f"no model is registered as {name!r}: {did_you_mean(name, self.models())}")
        return found

    def _aliases(self, name: str) -> dict[str, str]:
        return dict(self._model(name).aliases)

    def _aliased(self, name: str, alias: str) -> ModelVersion | None:
        found = self._found(name)
        if found is None or alias not in found.aliases:
            return None
        return self.get(name, found.aliases[alias])

    def _experiment(self, name: str) -> str:
        if found := self._client.get_experiment_by_name(name):
            return str(found.experiment_id)
        location = _artifact_location(self._uri, name)
        _unless_there(lambda: self._client.create_experiment(name, artifact_location=location))
        return self._experiment(name)


def _unless_there(create: Callable[[], object]) -> None:
    """Another run may have created it since one looked."""
    try:
        create()
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _need_unknown(error: MlflowException, name: str) -> None:
    """See that MLflow doesn't know what it was asked for, and not that it couldn't answer."""
    if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
        raise ValueError(f"the registry couldn't be asked for model {name!r}: {error.error_code}") from error


def _artifact_location(tracking_uri: str, name: str) -> str | None:
    """With SQLite the folder `models` beside the database (MLflow would take the current folder), else the server's."""
    if not tracking_uri.startswith("sqlite:"):
        return None
    database = make_url(tracking_uri).database
    if not database:
        raise ValueError(f"{tracking_uri!r} names no file: give `sqlite:////absolute/path.db`")
    return (Path(database).resolve().parent / "models" / name).as_uri()


def _mlflow_name(name: str) -> str:
    """MLflow takes few signs, no name that is another path to the same file, and no long one."""
    metric, slash, group = name.partition("/")
    return re.sub(r"[^\w\-. :/]", "_", f"{metric}{slash}{group.replace('/', '_')}")[:MOST_SIGNS]


def _tags(facts: Facts) -> dict[str, str]:
    texts = ("digest", "data_digest", "data_uri", "code_commit", "run_id")
    documents = ("parameters", "metrics", "report")
    return {name: getattr(facts, name) for name in texts} | {
        name: json.dumps(getattr(facts, name)) for name in documents
    }


def _read(found: MlflowVersion, aliases: Mapping[str, str]) -> ModelVersion:
    tags = found.tags
    return ModelVersion(
        name=found.name,
        version=str(found.version),
        aliases=tuple(sorted(alias for alias, version in aliases.items() if str(version) == str(found.version))),
        digest=tags.get("digest", ""),
        data_digest=tags.get("data_digest", ""),
        data_uri=tags.get("data_uri", ""),
        code_commit=tags.get("code_commit", ""),
        run_id=tags.get("run_id", ""),
        parameters=json.loads(tags.get("parameters", "{}")),
        metrics=json.loads(tags.get("metrics", "{}")),
        report=json.loads(tags.get("report", "{}")),
        created=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        promoted=datetime.fromisoformat(tags["promoted"]) if "promoted" in tags else None,
    )


def _digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def _pages(search: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(page_token=token)
        yield from page
        if not (token := page.token):
            return
