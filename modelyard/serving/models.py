"""What is loaded. A new version takes the old one's place once it can answer, and not before."""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Protocol, TypeVar, TypeVarTuple

from modelyard.serving.errors import RefusedError, first_line, near, show
from modelyard.serving.metrics import Metrics
from modelyard.serving.onnx_model import OnnxModel

Args = TypeVarTuple("Args")
T = TypeVar("T")

log = logging.getLogger("modelyard.serving")


class Version(Protocol):
    """A registered version, as far as the server needs to know it."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def digest(self) -> str: ...


V = TypeVar("V", bound=Version)


class Registry(Protocol[V]):
    """Where models come from; an unknown name or version is a ValueError."""

    def models(self) -> list[str]: ...
    def champion(self, name: str) -> V | None: ...
    def get(self, name: str, version: str) -> V: ...
    def model_bytes(self, version: V) -> bytes: ...


class Models:
    """The loaded models by name.

    All that speaks to the registry runs in one thread: loads follow one another, and inference goes on beside them.
    """

    def __init__(self, connect: Callable[[], Registry[Any]]) -> None:
        self._connect = connect
        self._thread = ThreadPoolExecutor(1, "registry")
        self._loaded: dict[str, OnnxModel] = {}
        self._reasons: dict[str, str] = {}
        self.opened = False
        self.metrics = Metrics(lambda: self._loaded.values())  # noqa: PLW0108  the mapping is replaced, not changed

    @cached_property
    def _registry(self) -> Registry[Any]:
        return self._connect()

    def find(self, name: str, version: str | None = None) -> OnnxModel:
        """The loaded model.

        Raises:
            RefusedError: it is not loaded, or in another version.
        """
        loaded = self._loaded
        if name not in loaded:
            why = self._reasons.get(name) or near(name, loaded)
            raise RefusedError(f"no model {show(name)} is loaded: {why}", status=404)
        model = loaded[name]
        if version not in (None, model.version):
            raise RefusedError(
                f"model {show(name)} answers in version {model.version}, not {show(version)}", status=404
            )
        return model

    async def open(self) -> None:
        """Load every champion; one that can't be loaded is left out and logged.

        Raises:
            Exception: whatever the registry raises when it can't be read.
        """
        await self._run(self._open)
        self.opened = True

    async def load(self, name: str, version: str | None = None) -> OnnxModel:
        """Load a version, or the champion, beside what is loaded, then swap.

        Raises:
            RefusedError: it can't be loaded; what was loaded goes on answering.
        """
        return await self._run(self._load, name, version)

    async def unload(self, name: str) -> None:
        """Stop answering for a model.

        Raises:
            RefusedError: it is not loaded.
        """
        await self._run(self._unload, name)

    async def index(self) -> list[dict[str, str]]:
        """Every model that the registry has, with its state and why it is in it.

        Raises:
            RefusedError: the registry can't be read.
        """
        return await self._run(self._index)

    def close(self) -> None:
        """Give the thread back; a load under way is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[*Args], T], *args: *Args) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    def _open(self) -> None:
        for name in self._registry.models():
            try:
                if self._registry.champion(name):
                    self._load(name)
            except Exception as error:  # noqa: BLE001  one bad model must not keep the others from answering
                self._reasons[name] = first_line(error)

    def _load(self, name: str, version: str | None = None) -> OnnxModel:
        try:
            self._check_name(name)
            model = self._fetch(self._choose(name, version))
        except Exception as error:
            raise self._not_loaded(name, version, error) from error
        self._loaded = {**self._loaded, name: model}
        self._reasons.pop(name, None)
        log.info("model %r: version %s answers", name, model.version)
        return model

    def _check_name(self, name: str) -> None:
        names = self._registry.models()
        if name not in names:
            raise RefusedError(f"the registry has no model {show(name)}: {near(name, names)}", status=404)

    def _choose(self, name: str, version: str | None) -> Version:
        if version is None:
            champion: Version | None = self._registry.champion(name)
            if champion is None:
                raise RefusedError(
                    'it has no champion; promote a version, or name one in the body: {"parameters": {"version": "1"}}'
                )
            return champion
        try:
            chosen: Version = self._registry.get(name, version)
        except ValueError as error:
            raise RefusedError(first_line(error), status=404) from error
        return chosen

    def _fetch(self, version: Version) -> OnnxModel:
        content = self._registry.model_bytes(version)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if digest != version.digest:
            raise RefusedError(
                f"its file has digest {digest} and the registry says {version.digest}; "
                "it was changed after it was registered, register it again"
            )
        return OnnxModel(version.name, version.version, digest, content)

    def _not_loaded(self, name: str, version: str | None, error: Exception) -> RefusedError:
        """What to answer when a load failed, after taking note of it."""
        status = error.status if isinstance(error, RefusedError) else 400
        if name not in self._loaded and status == 404:
            return RefusedError(first_line(error), status)
        which = f"version {show(version)}" if version else "the champion"
        sentence = f"model {show(name)}: {which} was not loaded: {first_line(error)}"
        self._reasons[name] = sentence
        self.metrics.load_failures.labels(name).inc()
        if old := self._loaded.get(name):
            sentence += f" (version {old.version} goes on answering)"
        log.warning("%s", sentence)
        return RefusedError(sentence, status)

    def _unload(self, name: str) -> None:
        self.find(name)
        self._loaded = {key: model for key, model in self._loaded.items() if key != name}
        self._reasons[name] = "unloaded"
        log.info("model %r: unloaded", name)

    def _index(self) -> list[dict[str, str]]:
        try:
            return [self._state(name) for name in sorted({*self._registry.models(), *self._loaded})]
        except Exception as error:
            raise RefusedError(f"the registry can't be read: {first_line(error)}") from error

    def _state(self, name: str) -> dict[str, str]:
        model = self._loaded.get(name)
        reason = self._reasons.get(name, "")
        if not model and not reason:
            reason = "its champion is not loaded; load it" if self._registry.champion(name) else "it has no champion"
        return {
            "name": name,
            "version": model.version if model else "",
            "state": "READY" if model else "UNAVAILABLE",
            "reason": reason,
        }
