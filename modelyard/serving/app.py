"""The HTTP side of the model server: Open Inference Protocol v2, its model-repository extension, and /metrics.

It is one Starlette application and not a FastAPI one: nothing of what that adds is wanted here (a docs page from a CDN,
bodies checked with errors of another form), and the server starts in half the time without it.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from modelyard.serving.errors import RefusedError, show
from modelyard.serving.models import Models
from modelyard.serving.onnx_model import OnnxModel
from modelyard.serving.protocol import IndexRequest, InferRequest, LoadRequest, parse

MAX_REQUEST_BYTES: Final = 16 * 2**20
VERSION: Final = "0.1.0"
LOOPBACK_HOST: Final = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?", re.IGNORECASE)


def create_app(models: Models, *, max_request_bytes: int = MAX_REQUEST_BYTES, loopback: bool = True) -> Starlette:
    """The application over `models`; `loopback` refuses requests that name another host."""
    api = Api(models, max_request_bytes)
    return Starlette(
        routes=api.routes(),
        middleware=[Middleware(Guard, loopback=loopback)],
        exception_handlers={
            RefusedError: refused,
            HTTPException: no_such_page,
            ClientDisconnect: client_left,
            Exception: failed,
        },
        lifespan=api.lifespan,
    )


class Api:
    """The endpoints. Scoring runs in threads, one a core, so that the loop goes on answering."""

    def __init__(self, models: Models, max_request_bytes: int) -> None:
        self.models = models
        self.metrics = models.metrics
        self.max_request_bytes = max_request_bytes
        self.scorers = ThreadPoolExecutor(os.cpu_count(), "score")

    def routes(self) -> list[Route]:
        """Every path; what names a model may also name its version."""
        model = "/v2/models/{name}"
        version = f"{model}/versions/{{version}}"
        return [
            Route("/v2", self.server),
            Route("/v2/health/live", self.live),
            Route("/v2/health/ready", self.ready),
            *(Route(path, self.model) for path in (model, version)),
            *(Route(f"{path}/ready", self.model_ready) for path in (model, version)),
            *(Route(f"{path}/infer", self.infer, methods=["POST"]) for path in (model, version)),
            Route("/v2/repository/index", self.index, methods=["POST"]),
            Route("/v2/repository/models/{name}/load", self.load, methods=["POST"]),
            Route("/v2/repository/models/{name}/unload", self.unload, methods=["POST"]),
            Route("/metrics", self.scrape),
        ]

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Give the threads back at the end."""
        yield
        self.scorers.shutdown(wait=False, cancel_futures=True)
        self.models.close()

    async def server(self, _: Request) -> Response:
        """The server's metadata."""
        return JSONResponse({"name": "modelyard", "version": VERSION, "extensions": ["model_repository"]})

    async def live(self, _: Request) -> Response:
        """It answers."""
        return JSONResponse({"live": True})

    async def ready(self, _: Request) -> Response:
        """Every champion that can be loaded is loaded. 503 is what probes and balancers understand."""
        ready = self.models.opened
        return JSONResponse({"live": True, "ready": ready}, status_code=200 if ready else 503)

    async def model(self, request: Request) -> Response:
        """A model's metadata."""
        return JSONResponse(self.find(request).metadata())

    async def model_ready(self, request: Request) -> Response:
        """What is loaded is ready; all else is 404."""
        return JSONResponse({"name": self.find(request).name, "ready": True})

    async def infer(self, request: Request) -> Response:
        """Score rows."""
        outcome, model = "failed", None
        try:
            model = self.find(request)
            body = await self.body(request)
            started = perf_counter()
            answer, rows = await self.score(model, body)
            self.metrics.seconds.labels(model.name, model.version).observe(perf_counter() - started)
            self.metrics.rows.labels(model.name, model.version).inc(rows)
            outcome = "ok"
        except RefusedError:
            outcome = "refused"
            raise
        finally:
            labels = (model.name, model.version) if model else ("", "")
            self.metrics.requests.labels(*labels, outcome).inc()
        return Response(answer, media_type="application/json")

    async def index(self, request: Request) -> Response:
        """The registry's models and their states."""
        wanted = parse(IndexRequest, await self.body(request) or b"{}")
        states = await self.models.index()
        return JSONResponse([state for state in states if state["state"] == "READY" or not wanted.ready])

    async def load(self, request: Request) -> Response:
        """Load a version, or the champion."""
        wanted = parse(LoadRequest, await self.body(request) or b"{}")
        model = await self.models.load(request.path_params["name"], wanted.parameters.version)
        return JSONResponse({"name": model.name, "version": model.version, "digest": model.digest})

    async def unload(self, request: Request) -> Response:
        """Stop answering for a model."""
        await self.models.unload(request.path_params["name"])
        return JSONResponse({"name": request.path_params["name"]})

    async def scrape(self, _: Request) -> Response:
        """Prometheus's text format."""
        return Response(generate_latest(self.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    def find(self, request: Request) -> OnnxModel:
        """The loaded model that the path names."""
        return self.models.find(request.path_params["name"], request.path_params.get("version"))

    async def score(self, model: OnnxModel, body: bytes) -> tuple[bytes, int]:
        """The answer to a body and how many rows it scored, worked out in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.scorers, answer, model, body)

    async def body(self, request: Request) -> bytes:
        """The whole body.

        A little more than the limit is read and dropped: a client that is cut off while it sends never sees the reason.
        """
        body, size = bytearray(), 0
        async for chunk in request.stream():
            size += len(chunk)
            if size <= self.max_request_bytes:
                body += chunk
            elif size > 4 * self.max_request_bytes:
                break
        if size > self.max_request_bytes:
            raise RefusedError(f"the body has more than {self.max_request_bytes} bytes; send fewer rows", status=413)
        return bytes(body)


def answer(model: OnnxModel, body: bytes) -> tuple[bytes, int]:
    """The answer to a body as JSON, and how many rows it scored."""
    reply, rows = model.infer(parse(InferRequest, body))
    return json.dumps(reply, allow_nan=False, separators=(",", ":")).encode(), rows


class Guard:
    """Refuses what a web page of another origin makes a browser send here.

    A page may have its own name point at 127.0.0.1 (DNS rebinding): only a loopback name in Host is accepted on a
    loopback address. A page's plain cross-site request carries an Origin that is not this server.
    """

    def __init__(self, app: ASGIApp, *, loopback: bool) -> None:
        self.app = app
        self.loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it with the reason."""
        if scope["type"] == "http" and (reason := self.refusal(Headers(scope=scope))):
            await JSONResponse({"error": reason}, status_code=403)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def refusal(self, headers: Headers) -> str | None:
        """Why a request with these headers is not answered."""
        host = headers.get("host", "")
        if self.loopback and not LOOPBACK_HOST.fullmatch(host):
            return f"host {show(host)} is not this server; it answers to localhost and loopback addresses"
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            return f"origin {show(origin)} is not this server; web pages of other origins may not use it"
        return None


async def refused(_: Request, error: Any) -> Response:
    """A request that is wrong."""
    return JSONResponse({"error": str(error)}, status_code=error.status)


async def no_such_page(request: Request, error: Any) -> Response:
    """A path or method that the protocol does not have."""
    what = f"{request.method} {request.url.path}"
    return JSONResponse(
        {"error": f"{show(what)} is not in the v2 protocol: {error.detail}"}, error.status_code, headers=error.headers
    )


async def client_left(_: Request, __: Exception) -> Response:
    """Nobody reads this one."""
    return Response(status_code=400)


async def failed(_: Request, __: Exception) -> Response:
    """A fault of the server."""
    return JSONResponse({"error": "the server failed; its log says how"}, status_code=500)
