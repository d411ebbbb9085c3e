"""What the runner remembers: experiments, pipelines, runs, tasks and artifacts, in SQLite or any database by URL."""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, Field
from sqlalchemy import (
    JSON,
    DateTime,
    ForeignKey,
    Select,
    TypeDecorator,
    UniqueConstraint,
    create_engine,
    event,
    func,
    select,
    update,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from modelyard.runner.outcome import RuntimeState


class Moment(TypeDecorator[datetime]):
    """A moment in UTC; SQLite itself forgets the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give the zone back."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """A fresh id, as KFP makes them."""
    return str(uuid.uuid4())


class Base(DeclarativeBase):
    """The tables."""

    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON, datetime: Moment}  # noqa: RUF012 (SQLAlchemy's way)


class Experiment(Base):
    """A group of runs."""

    __tablename__ = "experiments"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_run_created_at: Mapped[datetime | None]
    storage_state: Mapped[str] = mapped_column(default="AVAILABLE")


class Pipeline(Base):
    """A named pipeline."""

    __tablename__ = "pipelines"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(unique=True)
    display_name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    versions: Mapped[list["PipelineVersion"]] = relationship(cascade="all, delete-orphan")


class PipelineVersion(Base):
    """One compiled package of a pipeline."""

    __tablename__ = "pipeline_versions"
    __table_args__ = (UniqueConstraint("pipeline_id", "name"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    pipeline_id: Mapped[str] = mapped_column(ForeignKey("pipelines.id"))
    name: Mapped[str]
    display_name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    document: Mapped[dict[str, Any]]


class Run(Base):
    """One run of a package; `document` is what was submitted, `parameters` what it ran with, defaults included."""

    __tablename__ = "runs"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id"), index=True)
    pipeline_id: Mapped[str | None]
    pipeline_version_id: Mapped[str | None]
    document: Mapped[dict[str, Any]]
    given: Mapped[dict[str, Any]]
    parameters: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(default=RuntimeState.PENDING, index=True)
    error: Mapped[str] = mapped_column(default="")
    history: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    finished_at: Mapped[datetime | None]
    storage_state: Mapped[str] = mapped_column(default="AVAILABLE")
    tasks: Mapped[list["Task"]] = relationship(cascade="all, delete-orphan", order_by="Task.created_at")


class Task(Base):
    """One task of a run; `inputs` and `outputs` are artifact ids by name."""

    __tablename__ = "tasks"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), index=True)
    parent_id: Mapped[str | None]
    name: Mapped[str]
    display_name: Mapped[str]
    state: Mapped[str] = mapped_column(default=RuntimeState.PENDING)
    error: Mapped[str] = mapped_column(default="")
    parameters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    inputs: Mapped[dict[str, Any]] = mapped_column(default=dict)
    outputs: Mapped[dict[str, Any]] = mapped_column(default=dict)
    results: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class Artifact(Base):
    """One artifact of a run."""

    __tablename__ = "artifacts"
    id: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), index=True)
    name: Mapped[str]
    type: Mapped[str]
    uri: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Listing(BaseModel):
    """What every list call may say: the page's start, its rows (0: 20), `FIELD desc` or `FIELD asc`, a filter."""

    page_token: str = ""
    page_size: int = Field(default=0, ge=0, le=1000)
    sort_by: str = ""
    filter: str = ""


Row = TypeVar("Row", Experiment, Pipeline, PipelineVersion, Run)


class NotFoundError(LookupError):
    """No such row; the message names what was asked for."""


class ConflictError(ValueError):
    """What is asked for goes against what is there."""


class QueryError(ValueError):
    """A filter, order or page token that this store doesn't know."""


class Store:
    """The database at a SQLAlchemy URL; tables are made where they are missing."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url, json_serializer=json.dumps)
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _tune_sqlite)
        Base.metadata.create_all(self.engine)

    def session(self) -> Session:
        """A transaction: `with store.session() as session, session.begin(): …`."""
        return Session(self.engine, expire_on_commit=False)

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def end_lost_runs(self, error: str) -> list[str]:
        """Fail the runs that an earlier process left unfinished; their ids."""
        with self.session() as session, session.begin():
            open_states = [state for state in RuntimeState if not state.final]
            lost = list(session.scalars(select(Run).where(Run.state.in_(open_states))))
            for run in lost:
                change_state(run, RuntimeState.FAILED, error)
                session.execute(
                    update(Task)
                    .where(Task.run_id == run.id, Task.state.in_(open_states))
                    .values(state=RuntimeState.FAILED, error=error, ended_at=now())
                )
            return [run.id for run in lost]


def change_state(run: Run, state: RuntimeState, error: str = "") -> None:
    """Give a run its new state, with the moment in its history."""
    run.state = state
    run.error = error
    run.history = [*(run.history or []), {"update_time": stamp(now()), "state": state.value}]
    if state.final:
        run.finished_at = now()


def stamp(moment: datetime | None) -> str | None:
    """A moment as the API writes it (RFC 3339)."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None


def get(session: Session, kind: type[Row], key: str) -> Row:
    """The row with that id.

    Raises:
        NotFoundError: there is none.
    """
    row = session.get(kind, key)
    if row is None:
        raise NotFoundError(f"{kind.__tablename__[:-1].replace('_', ' ')} {key!r} is not there")
    return row


def page(
    session: Session, query: Select[Row], kind: type[Row], names: Mapping[str, str], asked: Listing
) -> tuple[list[Row], int, str]:
    """One page of a list as KFP's API asks for it: the rows, how many there are in all, and the next page's token.

    `names` are the API's field names and this table's columns.

    Raises:
        QueryError: one of them is not understood.
    """
    for predicate in _predicates(asked.filter):
        query = query.where(_clause(kind, names, predicate))
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    field, _, direction = (asked.sort_by or "created_at desc").partition(" ")
    if field not in names or direction not in ("", "asc", "desc"):
        raise QueryError(f"sort_by {asked.sort_by!r} is not understood; a field of {sorted(names)} and asc or desc is")
    column = getattr(kind, names[field])
    ordered = query.order_by(column.desc() if direction == "desc" else column.asc(), kind.id)
    if not re.fullmatch(r"\d{0,9}", asked.page_token, re.ASCII):
        raise QueryError(f"page_token {asked.page_token!r} is not one of this server's")
    start = int(asked.page_token or 0)
    rows = list(session.scalars(ordered.offset(start).limit(asked.page_size or 20)))
    following = start + len(rows)
    return rows, total, str(following) if following < total else ""


NUMBERS = {
    1: "EQUALS",
    2: "NOT_EQUALS",
    3: "GREATER_THAN",
    5: "GREATER_THAN_EQUALS",
    6: "LESS_THAN",
    7: "LESS_THAN_EQUALS",
    8: "IN",
    9: "IS_SUBSTRING",
}
"""The operations by their numbers in KFP's filter.proto."""

OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "EQUALS": lambda column, value: column == value,
    "NOT_EQUALS": lambda column, value: column != value,
    "GREATER_THAN": lambda column, value: column > value,
    "GREATER_THAN_EQUALS": lambda column, value: column >= value,
    "LESS_THAN": lambda column, value: column < value,
    "LESS_THAN_EQUALS": lambda column, value: column <= value,
    "IN": lambda column, value: column.in_(value),
    "IS_SUBSTRING": lambda column, value: column.contains(value, autoescape=True),
}
"""The operations of KFP's filter.proto."""


def _predicates(text: str) -> list[dict[str, Any]]:
    if not text:
        return []
    try:
        document = json.loads(text)
        found = document.get("predicates", [])
    except (json.JSONDecodeError, AttributeError) as error:
        raise QueryError(f"filter is not a JSON filter: {error}") from error
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise QueryError("filter: predicates is no list of mappings")
    return found


def _clause(kind: type[Row], names: Mapping[str, str], predicate: dict[str, Any]) -> Any:
    operation = predicate.get("operation")
    if isinstance(operation, int):
        operation = NUMBERS.get(operation, str(operation))
    key = str(predicate.get("key"))
    values = [value for name, value in predicate.items() if name not in ("operation", "key")]
    if operation not in OPERATIONS or key not in names or len(values) != 1:
        raise QueryError(
            f"filter: key {key!r} with operation {operation!r} is not understood; "
            f"keys are {sorted(names)}, operations {sorted(OPERATIONS)}, and each has one value"
        )
    value = values[0]["values"] if isinstance(values[0], dict) and "values" in values[0] else values[0]
    column = getattr(kind, names[key])
    if names[key].endswith("_at"):
        value = _moments(value)
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, str | datetime) or isinstance(value, list) != (operation == "IN"):
            raise QueryError(f"filter: {value!r} is not what operation {operation!r} compares {key!r} with")
    return OPERATIONS[operation](column, value)


def _moments(value: Any) -> Any:
    """The timestamps in a filter's value, in UTC as they are stored."""
    if isinstance(value, list):
        return [_moments(one) for one in value]
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (TypeError, ValueError):
        raise QueryError(f"filter: {value!r} is no timestamp") from None


def _tune_sqlite(connection: Any, _record: Any) -> None:
    """Readers don't wait for the writer, and a power cut loses the last moments at worst, never the file."""
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "busy_timeout = 5000"):
        connection.execute(f"PRAGMA {pragma}")
