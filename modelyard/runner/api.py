"""KFP's v2beta1 REST API over the store and the runs: what `kfp.Client` calls."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from modelyard.runner import ir, views
from modelyard.runner.ir import PackageError
from modelyard.runner.outcome import RuntimeState
from modelyard.runner.runs import Runs, prepare
from modelyard.runner.store import (
    Artifact,
    ConflictError,
    Experiment,
    Listing,
    NotFoundError,
    Pipeline,
    PipelineVersion,
    QueryError,
    Run,
    change_state,
    get,
    now,
    page,
)

INVALID, NOT_FOUND, EXISTS, PERMISSION_DENIED = 3, 5, 6, 7
"""gRPC's status codes, as the API's errors carry them."""

DEFAULT_EXPERIMENT = "Default"

router = APIRouter(prefix="/apis/v2beta1")


class Upload(BaseModel):
    """What an upload may say of its package."""

    name: str = ""
    display_name: str = ""
    description: str = ""


class NewExperiment(BaseModel):
    """A request for an experiment."""

    display_name: str = Field(min_length=1)
    description: str = ""


class VersionReference(BaseModel):
    """Which uploaded package a run is of; without a version it is the pipeline's newest."""

    pipeline_id: str
    pipeline_version_id: str = ""


class RuntimeConfig(BaseModel):
    """What a run is given."""

    parameters: dict[str, Any] = {}
    pipeline_root: str | None = None


class NewRun(BaseModel):
    """A request for a run, of a package or of an uploaded one."""

    display_name: str = ""
    description: str = ""
    experiment_id: str | None = None
    pipeline_spec: dict[str, Any] | None = None
    pipeline_version_reference: VersionReference | None = None
    runtime_config: RuntimeConfig = RuntimeConfig()


def make_app(runs: Runs, hosts: list[str]) -> FastAPI:
    """The API; it answers only requests that name one of `hosts` and that no foreign web page makes."""
    app = FastAPI(title="Modelyard local runner", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    app.middleware("http")(_refuse_foreign_pages)
    _answer_errors(app)
    app.include_router(router)
    app.state.runs = runs
    return app


def _here(request: Request) -> Runs:
    runs: Runs = request.app.state.runs
    return runs


Here = Annotated[Runs, Depends(_here)]
"""The runs that this server answers for."""


@router.get("/healthz")
async def healthz() -> dict[str, Any]:
    return {"multi_user": False, "pipeline_store": "database"}


async def _refuse_foreign_pages(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """A page in a browser on this machine can reach loopback; only our own may have steps executed."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        return _error(403, PERMISSION_DENIED, f"requests from {origin} are refused")
    return await call_next(request)


def _error(status: int, code: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message, "code": code, "message": message, "details": []}, status_code=status)


ANSWERS: dict[type[Exception], tuple[int, int]] = {
    PackageError: (400, INVALID),
    QueryError: (400, INVALID),
    NotFoundError: (404, NOT_FOUND),
    ConflictError: (409, EXISTS),
}
"""HTTP status and gRPC code of each refusal."""


def _answer_errors(app: FastAPI) -> None:
    async def refused(_: Request, error: Exception) -> JSONResponse:
        return _error(*ANSWERS[type(error)], str(error))

    async def unreadable(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return _error(400, INVALID, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    async def http(_: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, NOT_FOUND if error.status_code == 404 else INVALID, str(error.detail))

    for kind in ANSWERS:
        app.exception_handler(kind)(refused)
    app.exception_handler(RequestValidationError)(unreadable)
    app.exception_handler(HTTPException)(http)


@router.post("/experiments")
async def create_experiment(runs: Here, wanted: NewExperiment) -> dict[str, Any]:
    with runs.store.session() as session, session.begin():
        if session.scalar(select(Experiment).where(Experiment.name == wanted.display_name)):
            raise ConflictError(f"experiment {wanted.display_name!r} is there already")
        experiment = Experiment(name=wanted.display_name, description=wanted.description)
        session.add(experiment)
    return views.experiment(experiment)


@router.get("/experiments")
async def list_experiments(runs: Here, listing: Annotated[Listing, Query()], namespace: str = "") -> dict[str, Any]:
    del namespace  # a laptop has one
    with runs.store.session() as session:
        rows, total, token = page(session, select(Experiment), Experiment, views.EXPERIMENT_FIELDS, listing)
    return {"experiments": [views.experiment(row) for row in rows], "total_size": total, "next_page_token": token}


@router.get("/experiments/{experiment_id}")
async def get_experiment(runs: Here, experiment_id: str) -> dict[str, Any]:
    with runs.store.session() as session:
        return views.experiment(get(session, Experiment, experiment_id))


@router.post("/experiments/{experiment_id}:archive")
async def archive_experiment(runs: Here, experiment_id: str) -> dict[str, Any]:
    return _store_away(runs, Experiment, experiment_id, "ARCHIVED")


@router.post("/experiments/{experiment_id}:unarchive")
async def unarchive_experiment(runs: Here, experiment_id: str) -> dict[str, Any]:
    return _store_away(runs, Experiment, experiment_id, "AVAILABLE")


@router.delete("/experiments/{experiment_id}")
async def delete_experiment(runs: Here, experiment_id: str) -> dict[str, Any]:
    with runs.store.session() as session, session.begin():
        experiment = get(session, Experiment, experiment_id)
        if session.scalar(select(Run.id).where(Run.experiment_id == experiment_id).limit(1)):
            raise ConflictError(f"experiment {experiment.name!r} has runs; delete those first, or archive it")
        session.delete(experiment)
    return {}


@router.post("/pipelines/upload")
async def upload_pipeline(runs: Here, uploadfile: UploadFile, upload: Annotated[Upload, Query()]) -> dict[str, Any]:
    package = await _uploaded(uploadfile)
    chosen = upload.name or package.name
    pipeline = Pipeline(name=chosen, display_name=upload.display_name or chosen, description=upload.description)
    pipeline.versions = [_version(package, upload)]
    with _unless_there(f"pipeline {chosen!r}"), runs.store.session() as session, session.begin():
        session.add(pipeline)
    return views.pipeline(pipeline)


@router.post("/pipelines/upload_version")
async def upload_pipeline_version(
    runs: Here, uploadfile: UploadFile, pipelineid: str, upload: Annotated[Upload, Query()]
) -> dict[str, Any]:
    package = await _uploaded(uploadfile)
    version = _version(package, upload)
    with _unless_there(f"version {version.name!r}"), runs.store.session() as session, session.begin():
        get(session, Pipeline, pipelineid)
        version.pipeline_id = pipelineid
        session.add(version)
    return views.pipeline_version(version)


@router.get("/pipelines")
async def list_pipelines(runs: Here, listing: Annotated[Listing, Query()], namespace: str = "") -> dict[str, Any]:
    del namespace
    with runs.store.session() as session:
        rows, total, token = page(session, select(Pipeline), Pipeline, views.PIPELINE_FIELDS, listing)
    return {"pipelines": [views.pipeline(row) for row in rows], "total_size": total, "next_page_token": token}


@router.get("/pipelines/names/{name}")
async def get_pipeline_by_name(runs: Here, name: str) -> dict[str, Any]:
    with runs.store.session() as session:
        pipeline = session.scalar(select(Pipeline).where(Pipeline.name == name))
        if pipeline is None:
            raise NotFoundError(f"pipeline {name!r} is not there")
        return views.pipeline(pipeline)


@router.get("/pipelines/{pipeline_id}")
async def get_pipeline(runs: Here, pipeline_id: str) -> dict[str, Any]:
    with runs.store.session() as session:
        return views.pipeline(get(session, Pipeline, pipeline_id))


@router.delete("/pipelines/{pipeline_id}")
async def delete_pipeline(runs: Here, pipeline_id: str, cascade: bool = False) -> dict[str, Any]:
    with runs.store.session() as session, session.begin():
        pipeline = get(session, Pipeline, pipeline_id)
        if pipeline.versions and not cascade:
            raise ConflictError(f"pipeline {pipeline.name!r} has versions; delete those first, or pass cascade")
        session.delete(pipeline)
    return {}


@router.get("/pipelines/{pipeline_id}/versions")
async def list_pipeline_versions(runs: Here, pipeline_id: str, listing: Annotated[Listing, Query()]) -> dict[str, Any]:
    with runs.store.session() as session:
        get(session, Pipeline, pipeline_id)
        query = select(PipelineVersion).where(PipelineVersion.pipeline_id == pipeline_id)
        rows, total, token = page(session, query, PipelineVersion, views.PIPELINE_FIELDS, listing)
    versions = [views.pipeline_version(row) for row in rows]
    return {"pipeline_versions": versions, "total_size": total, "next_page_token": token}


@router.get("/pipelines/{pipeline_id}/versions/{version_id}")
async def get_pipeline_version(runs: Here, pipeline_id: str, version_id: str) -> dict[str, Any]:
    with runs.store.session() as session:
        return views.pipeline_version(_version_of(session, pipeline_id, version_id))


@router.delete("/pipelines/{pipeline_id}/versions/{version_id}")
async def delete_pipeline_version(runs: Here, pipeline_id: str, version_id: str) -> dict[str, Any]:
    with runs.store.session() as session, session.begin():
        session.delete(_version_of(session, pipeline_id, version_id))
    return {}


@router.post("/runs")
async def create_run(runs: Here, wanted: NewRun) -> dict[str, Any]:
    if wanted.runtime_config.pipeline_root:
        raise PackageError("pipeline_root can't be chosen on the local runner; its artifacts are in its state folder")
    reference = wanted.pipeline_version_reference
    with runs.store.session() as session, session.begin():
        version = _referred(session, reference) if reference else None
        document = version.document if version else wanted.pipeline_spec
        if document is None:
            raise PackageError("a run needs pipeline_spec, or pipeline_version_reference")
        package, parameters = prepare(document, wanted.runtime_config.parameters)
        experiment = _experiment(session, wanted.experiment_id)
        experiment.last_run_created_at = now()
        run = Run(
            name=wanted.display_name or package.name,
            description=wanted.description,
            experiment_id=experiment.id,
            pipeline_id=version.pipeline_id if version else None,
            pipeline_version_id=version.id if version else None,
            document=document,
            given=wanted.runtime_config.parameters,
            parameters=parameters,
        )
        change_state(run, RuntimeState.PENDING)
        session.add(run)
    runs.submit(run, package)
    return views.run(run, [])


@router.get("/runs")
async def list_runs(
    runs: Here, listing: Annotated[Listing, Query()], experiment_id: str = "", namespace: str = ""
) -> dict[str, Any]:
    del namespace
    query = select(Run).where(Run.experiment_id == experiment_id) if experiment_id else select(Run)
    with runs.store.session() as session:
        rows, total, token = page(session, query, Run, views.RUN_FIELDS, listing)
    return {"runs": [views.run(row, []) for row in rows], "total_size": total, "next_page_token": token}


@router.get("/runs/{run_id}")
async def get_run(runs: Here, run_id: str) -> dict[str, Any]:
    with runs.store.session() as session:
        run = get(session, Run, run_id)
        return views.run(run, run.tasks)


@router.post("/runs/{run_id}:terminate")
async def terminate_run(runs: Here, run_id: str) -> dict[str, Any]:
    with runs.store.session() as session:
        get(session, Run, run_id)
    runs.terminate(run_id)
    return {}


@router.post("/runs/{run_id}:archive")
async def archive_run(runs: Here, run_id: str) -> dict[str, Any]:
    return _store_away(runs, Run, run_id, "ARCHIVED")


@router.post("/runs/{run_id}:unarchive")
async def unarchive_run(runs: Here, run_id: str) -> dict[str, Any]:
    return _store_away(runs, Run, run_id, "AVAILABLE")


@router.delete("/runs/{run_id}")
async def delete_run(runs: Here, run_id: str) -> dict[str, Any]:
    with runs.store.session() as session:
        get(session, Run, run_id)
    runs.terminate(run_id)
    await runs.finished(run_id)
    with runs.store.session() as session, session.begin():
        for artifact in session.scalars(select(Artifact).where(Artifact.run_id == run_id)):
            session.delete(artifact)
        session.delete(get(session, Run, run_id))
    return {}


@router.get("/artifacts/{artifact_id}")
async def get_artifact(runs: Here, artifact_id: str) -> dict[str, Any]:
    with runs.store.session() as session:
        artifact = session.get(Artifact, artifact_id)
        if artifact is None:
            raise NotFoundError(f"artifact {artifact_id!r} is not there")
        return views.artifact(artifact)


async def _uploaded(file: UploadFile) -> ir.Package:
    try:
        text = (await file.read()).decode()
    except UnicodeDecodeError as error:
        raise PackageError(f"{file.filename}: not a compiled KFP pipeline in YAML: {error}") from error
    return ir.read_text(text, file.filename or "the uploaded file")


def _version(package: ir.Package, upload: Upload) -> PipelineVersion:
    name = upload.name or package.name
    return PipelineVersion(
        name=name,
        display_name=upload.display_name or name,
        description=upload.description,
        document=dict(package.document),
    )


@contextmanager
def _unless_there(what: str) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise ConflictError(f"{what} is there already") from error


def _version_of(session: Session, pipeline_id: str, version_id: str) -> PipelineVersion:
    version = get(session, PipelineVersion, version_id)
    if version.pipeline_id != pipeline_id:
        raise NotFoundError(f"pipeline version {version_id!r} is not one of pipeline {pipeline_id!r}")
    return version


def _referred(session: Session, reference: VersionReference) -> PipelineVersion:
    if reference.pipeline_version_id:
        return get(session, PipelineVersion, reference.pipeline_version_id)
    query = select(PipelineVersion).where(PipelineVersion.pipeline_id == reference.pipeline_id)
    newest = session.scalar(query.order_by(PipelineVersion.created_at.desc()).limit(1))
    if newest is None:
        raise NotFoundError(f"pipeline {reference.pipeline_id!r} is not there, or has no version")
    return newest


def _experiment(session: Session, experiment_id: str | None) -> Experiment:
    """The experiment that a run names, else the default one, made where it is missing."""
    if experiment_id:
        return get(session, Experiment, experiment_id)
    found = session.scalar(select(Experiment).where(Experiment.name == DEFAULT_EXPERIMENT))
    if found is None:
        found = Experiment(name=DEFAULT_EXPERIMENT)
        session.add(found)
        session.flush()
    return found


def _store_away(runs: Runs, kind: type[Experiment] | type[Run], key: str, state: str) -> dict[str, Any]:
    with runs.store.session() as session, session.begin():
        row = get(session, Experiment, key) if kind is Experiment else get(session, Run, key)
        row.storage_state = state
    return {}
