"""A server over a folder of real models, asked in this process."""

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from modelyard.serving.app import create_app
from modelyard.serving.models import Models
from tests.serving.folder_registry import FolderRegistry
from tests.serving.graphs import house

T = TypeVar("T")


class Client:
    """Asks the application without a socket; a fault in it is raised here."""

    def __init__(self, models: Models) -> None:
        self._loop = asyncio.Runner()
        app = create_app(models, max_request_bytes=5000)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")

    def get(self, path: str, **rest: Any) -> httpx.Response:
        return self.run(self.http.get(path, **rest))

    def post(self, path: str, **rest: Any) -> httpx.Response:
        return self.run(self.http.post(path, **rest))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(work)

    def close(self) -> None:
        self.run(self.http.aclose())
        self._loop.close()


@pytest.fixture
def registry(tmp_path: Path) -> FolderRegistry:
    """Has `house` in version 1, its champion."""
    registry = FolderRegistry(tmp_path / "registry")
    registry.add("house", "1", house(1))
    return registry


@pytest.fixture
def client(registry: FolderRegistry) -> Iterator[Client]:
    """A client of a server that has opened the registry."""
    models = Models(lambda: registry)
    client = Client(models)
    client.run(models.open())
    yield client
    client.close()
    models.close()
