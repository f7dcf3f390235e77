"""The same server on a real MySQL (MariaDB), and its password in no argument and no file."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftzard.errors import TrackingError
from ftzard.orchestration import mlflow_server as team_server
from tests.tracking.team import free_port, records_and_keeps_its_password

pytestmark = pytest.mark.system

PASSWORD = "p%ss of:the/data#base"


def binary(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")
    assert path, f"{name} is not installed; Debian's package is mariadb-server"
    return path


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """A MariaDB of its own with a user, a password and an empty database; yields its URI."""
    home = Path(tempfile.mkdtemp(prefix="ftzard-my-"))
    data, port, begin = home / "data", free_port(), home / "begin.sql"
    begin.write_text(
        "CREATE DATABASE mlflow CHARACTER SET utf8mb4;\n"
        f"CREATE USER ftzard@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
        "GRANT ALL ON mlflow.* TO ftzard@'127.0.0.1';\n")
    account = pwd.getpwnam("mysql" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name)
    for path in (home, begin):
        os.chown(path, account.pw_uid, account.pw_gid)
    own = ["--no-defaults", f"--datadir={data}", f"--user={account.pw_name}"]
    made = subprocess.run([binary("mariadb-install-db"), *own, "--skip-test-db"], cwd=home,
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert made.returncode == 0, made.stdout
    with open(home / "log", "wb") as log:
        process = subprocess.Popen(
            [binary("mariadbd"), *own, f"--port={port}", "--bind-address=127.0.0.1",
             "--skip-name-resolve", f"--socket={home / 'socket'}", f"--pid-file={home / 'pid'}",
             f"--init-file={begin}"], cwd=home, stdout=log, stderr=log)
    try:
        uri, deadline = f"mysql+pymysql://ftzard@127.0.0.1:{port}/mlflow", time.monotonic() + 60
        while b"ready for connections" not in (home / "log").read_bytes():
            assert process.poll() is None and time.monotonic() < deadline, (
                home / "log").read_text()
            time.sleep(0.1)
        yield uri
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(home)


def test_a_wrong_password_is_a_sentence_before_anything_is_served(database, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", "of-the-administrator-1")
    monkeypatch.setenv("MYSQL_PWD", "not-the-password")
    with pytest.raises(TrackingError, match="refused the credentials; set MYSQL_PWD") as refused:
        team_server.plan(tmp_path / "server", host="127.0.0.1", port=5000, backend=database)
    assert "not-the-password" not in str(refused.value)


def test_users_log_in_and_record_and_the_password_is_nowhere(database, tmp_path):
    records_and_keeps_its_password(tmp_path, database, PASSWORD, MYSQL_PWD=PASSWORD)
