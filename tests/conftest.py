"""An empty registry: MLflow needs seconds to lay out its tables, so that happens once."""

import shutil

import pytest


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    from components.services.registry import Registry

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    assert Registry(f"sqlite:///{path}").models() == []
    return path


@pytest.fixture
def tracking_uri(empty_database, tmp_path):
    return f"sqlite:///{shutil.copy(empty_database, tmp_path / 'mlflow.db')}"
