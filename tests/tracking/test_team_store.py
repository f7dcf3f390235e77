"""A team's server that is killed while it makes its databases starts again."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from tests.orchestration.test_servers import free_port
from tests.orchestration.texts import end
from tests.tracking import team

pytestmark = pytest.mark.system
MAKE = ("import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_DFL); "
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2); "
        "from ftzard.tracking.team_store import main; main()")


@pytest.mark.parametrize("written", [100_000, 200_000])
def test_a_kill_while_the_databases_are_made_leaves_none_and_the_server_starts(tmp_path, written):
    """The system kills the process at the first file that gets longer than so many bytes."""
    folder = tmp_path / "server"
    folder.mkdir(mode=0o700)
    store, users = folder / "mlflow.db", folder / "users.db"
    done = subprocess.run([sys.executable, "-c", MAKE, str(written), f"sqlite:///{store}",
                           f"sqlite:///{users}"], stderr=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGXFSZ, done.stderr
    assert not store.exists() and not users.exists()
    process = team.start(tmp_path, free_port(), MLFLOW_AUTH_ADMIN_PASSWORD=team.ADMIN[1])
    try:
        assert "Ctrl-C" in team.until_it_serves(process)
        with sqlite3.connect(store) as connection:
            place, = connection.execute("SELECT artifact_location FROM experiments").fetchone()
        assert place.startswith("mlflow-artifacts:/")
        assert users.is_file() and not (folder / "making.log").exists()
    finally:
        end(process)
        assert not [entry for entry in os.scandir(folder) if entry.name == "making.log"]
