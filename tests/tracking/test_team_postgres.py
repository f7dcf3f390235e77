"""The same server on a real PostgreSQL, and its password in no argument and no file."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftzard.errors import TrackingError
from ftzard.orchestration import mlflow_server as team_server
from ftzard.tracking import runs
from tests.tracking.team import free_port, records_and_keeps_its_password

PASSWORD = "p%ss-of:the/database"


pytestmark = pytest.mark.system


def binary(name: str) -> str:
    """Return a program of PostgreSQL; Debian keeps them out of the path."""
    found = [shutil.which(name), *sorted(map(str, Path("/usr/lib/postgresql").glob(
        f"*/bin/{name}")), reverse=True)]
    path = next((path for path in found if path), None)
    assert path, f"{name} is not installed; Debian's package is postgresql"
    return path


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """A PostgreSQL of its own with a user, a password and an empty database; yields its URI."""
    home = Path(tempfile.mkdtemp(prefix="ftzard-pg-"))
    data, secret, port = home / "data", home / "secret", free_port()
    secret.write_text(PASSWORD)
    as_user = {}
    if os.geteuid() == 0:  # which PostgreSQL refuses to run as
        account = pwd.getpwnam("postgres")
        as_user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        for path in (home, secret):
            os.chown(path, account.pw_uid, account.pw_gid)

    def run(name: str, *arguments: object) -> None:
        done = subprocess.run([binary(name), *map(str, arguments)], cwd=home, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT,
                              env={**os.environ, "PGPASSWORD": PASSWORD}, **as_user)
        assert done.returncode == 0, done.stdout

    run("initdb", "-D", data, "-U", "ftzard", "-A", "scram-sha-256", "--pwfile", secret, "-E",
        "UTF8", "--no-sync")
    try:
        run("pg_ctl", "-D", data, "-w", "-l", home / "log", "-o",
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home}", "start")
        run("createdb", "-h", "127.0.0.1", "-p", port, "-U", "ftzard", "mlflow")
        yield f"postgresql://ftzard@127.0.0.1:{port}/mlflow"
    finally:
        if (data / "postmaster.pid").is_file():
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(home)


def test_users_log_in_and_record_and_the_password_is_nowhere(database, tmp_path, monkeypatch):
    records_and_keeps_its_password(tmp_path, database, PASSWORD, PGPASSWORD=PASSWORD)
    assert not list((tmp_path / "server").glob("*.db"))
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert team_server.has_administrator(database)
    monkeypatch.setenv("PGPASSWORD", "not-the-password")
    with pytest.raises(TrackingError, match="refused the credentials; set PGPASSWORD"):
        team_server.has_administrator(database)


def test_a_workspace_may_record_to_it_without_a_server(database, tmp_path, monkeypatch):
    with pytest.raises(TrackingError, match="refused the credentials; set PGPASSWORD"):
        runs.connect(database, "tests", artifacts=tmp_path / "a", lock=tmp_path / "lock")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    tracking = runs.connect(database, "tests", artifacts=tmp_path / "a", lock=tmp_path / "lock")
    run = runs.start_child(tracking, runs.top_level(tracking, "INFERENCE", tmp_path / "lock"), {})
    run.params({"a": 1})
    run.end()
    assert [r.data.params for r in runs.children(tracking)] == [{"a": "1"}]
