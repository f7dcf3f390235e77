"""A real MLflow store on SQLite, made once and copied."""

import shutil
from pathlib import Path

import pytest

from ftzard.tracking import runs
from ftzard.tracking.runs import Tracking


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    """A fresh store's folder; making its tables takes seconds, so it is made once."""
    folder = tmp_path_factory.mktemp("store")
    runs.connect(f"sqlite:///{folder / 'mlflow.db'}", "tests", artifacts=folder / "mlartifacts",
                 lock=folder / "lock")
    return folder


@pytest.fixture
def tracking(store, tmp_path) -> Tracking:
    """A connection to an empty store of the test's own."""
    shutil.copyfile(store / "mlflow.db", tmp_path / "mlflow.db")
    return runs.connect(f"sqlite:///{tmp_path / 'mlflow.db'}", "tests",
                        artifacts=tmp_path / "mlartifacts", lock=tmp_path / "lock")
