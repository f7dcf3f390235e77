"""A real MLflow store on SQLite, made once and copied; a real server with logins."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftzard.tracking import runs
from ftzard.tracking.runs import Tracking
from tests.tracking.team import ADMIN, Team, end, free_port, start, until_it_serves


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


@pytest.fixture(scope="session")
def team(tmp_path_factory) -> Iterator[Team]:
    """A server on SQLite, its administrator's password in .env; one for all tests of it."""
    home, port = tmp_path_factory.mktemp("team"), free_port()
    (home / ".env").write_text(f"MLFLOW_AUTH_ADMIN_PASSWORD={ADMIN[1]}\n")
    (home / ".env").chmod(0o600)
    process = start(home, port)
    try:
        said = until_it_serves(process)
        assert process.poll() is None, said
        yield Team(home, f"http://127.0.0.1:{port}")
    finally:
        end(process)
