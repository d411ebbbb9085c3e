"""Changing which version of a model is in service: the server first, then the registry that names the champion."""

from components.services import model_server
from components.services.registry import ModelVersion, Registry


def promote(registry: Registry, name: str, version: str, serving_url: str | None) -> ModelVersion:
    """Make a version the champion.

    Raises:
        ValueError: it can't be served; then nothing has changed.
    """
    _prove(registry, registry.get(name, version), serving_url)
    return registry.promote(name, version)


def roll_back(registry: Registry, name: str, serving_url: str | None) -> ModelVersion:
    """Make the champion before this one the champion again.

    Raises:
        ValueError: there is none, or it can't be served; then nothing has changed.
    """
    if before := registry.champion_before(name):
        _prove(registry, before, serving_url)
    return registry.rollback(name)


def _prove(registry: Registry, version: ModelVersion, serving_url: str | None) -> None:
    """Have the server answer with it; where none runs, see that the file is what was registered."""
    if serving_url:
        model_server.load(serving_url, version.name, version.version)
    else:
        registry.model_bytes(version)
