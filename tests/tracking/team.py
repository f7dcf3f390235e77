"""A real MLflow server with logins, started as a team does, and its users."""

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ftzard.core import credentials
from ftzard.errors import TrackingError
from ftzard.tracking import registry, runs, users

ADMIN = ("admin", "of-the-administrator-1")
TOOLS = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def no_credentials() -> dict[str, str]:
    """Return this environment without any credential."""
    return {k: v for k, v in os.environ.items() if not credentials.is_loaded(k)
            and k not in {c.name for c in credentials.SERVER}}


def start(folder: Path, port: int, *arguments: object, **environment: str) -> subprocess.Popen:
    """Start `ftzard mlflow-server` in a folder, as a terminal does."""
    return subprocess.Popen(
        [str(TOOLS / "ftzard"), "mlflow-server", "--port", str(port), "--dir", "server",
         *map(str, arguments)], cwd=folder, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**no_credentials(), **environment})


def until_it_serves(process: subprocess.Popen) -> str:
    """Read what it says until it serves, or until it ends; return that."""
    said = ""
    for line in process.stdout:
        said += line
        if "Ctrl-C" in line:
            break
    return said


def processes_at(folder: Path) -> list[str]:
    """Return the command lines of every process whose environment names the server's folder."""
    mark, found = f"MLFLOW_AUTH_CONFIG_PATH={folder / 'server'}".encode(), []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it has ended in the meantime, or belongs to somebody else
    return [line for line in found if line]


def end(process: subprocess.Popen) -> int:
    """End it with Ctrl-C, whatever its test found; return its exit code."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return process.returncode


@dataclass
class Team:
    """A server that runs, and its users' passwords by name.

    home: the folder it was started in; `server` in it holds its files.
    """

    home: Path
    uri: str
    passwords: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.home / "server"

    @property
    def admin(self) -> users.Login:
        return users.Login(self.uri, *ADMIN)

    def add(self, name: str) -> str:
        """Make a user; return the name."""
        self.passwords[name] = f"password-of-{name}-1"
        users.add(self.admin, name, self.passwords[name])
        return name

    def login(self, name: str) -> dict[str, str]:
        """Return the environment in which a user works."""
        return {"MLFLOW_TRACKING_USERNAME": name,
                "MLFLOW_TRACKING_PASSWORD": self.passwords[name]}

    @contextmanager
    def logged_in(self, name: str):
        """Work as a user in this process."""
        with pytest.MonkeyPatch.context() as patch:
            for key, value in self.login(name).items():
                patch.setenv(key, value)
            yield

    def basic(self, name: str, password: str | None = None) -> str:
        """Return the header of a login."""
        said = f"{name}:{self.passwords[name] if password is None else password}"
        return "Basic " + base64.b64encode(said.encode()).decode()

    def ask(self, method: str, path: str, login: str | None = None, body: object = None,
            address: str = "127.0.0.1", **headers: str) -> tuple[int, bytes]:
        """Return the status and body of one request; address: that it comes from."""
        connection = http.client.HTTPConnection(urlsplit(self.uri).netloc, timeout=60,
                                                source_address=(address, 0))
        if login is not None:
            headers["Authorization"] = login
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, headers=headers,
                               body=None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def records_and_keeps_its_password(home: Path, database: str, password: str, **login: str) -> None:
    """Start a server on a database; let users log in, record and be kept apart. The database's
    password is then in no argument and in no file.

    database: its URI; login: the environment that says the password.
    """
    port = free_port()
    process = start(home, port, "--backend", database, MLFLOW_AUTH_ADMIN_PASSWORD=ADMIN[1], **login)
    try:
        said = until_it_serves(process)
        assert "Ctrl-C" in said, said
        team = Team(home, f"http://127.0.0.1:{port}")
        for name in ("ada", "bob"):
            team.add(name)
        with team.logged_in("ada"):
            tracking = runs.connect(team.uri, "ada_experiment", artifacts=home / "a",
                                    lock=home / "lock")
            parent = runs.top_level(tracking, "HP_TUNING", home / "lock")
            run = runs.start_child(tracking, parent, {"seed": 0})
            run.metrics({"accuracy": 0.5})
            run.params({"label": "très 数据 😀"})
            run.text("kept", "note.txt")
            run.end()
            tracking.client.create_registered_model("AdaModel")
            tracking.client.create_model_version("AdaModel", f"runs:/{run.id}/model",
                                                 run_id=run.id)
            registry.move(tracking, "AdaModel",
                          champion=registry.version(tracking, "AdaModel", 1))
            assert registry.champion(tracking, "AdaModel").number == 1
            assert [r.info.status for r in runs.children(tracking)] == ["FINISHED"]
            assert runs.known(tracking, run.id).data.params == {"label": "très 数据 😀"}
            assert runs.read(tracking, run.id, "note.txt") == b"kept"
        with team.logged_in("bob"), pytest.raises(TrackingError, match="does not permit"):
            runs.connect(team.uri, "ada_experiment", artifacts=home / "a", lock=home / "lock")
        assert {u.name for u in users.listing(team.admin)} == {"admin", "ada", "bob"}
        users.delete(team.admin, "bob")
        assert not any(password in line for line in processes_at(home))
    finally:
        assert end(process) == 130
    assert processes_at(home) == []
    assert not list((home / "server").glob("mlflow.db"))
    for file in home.rglob("*"):
        if file.is_file():
            assert password.encode() not in file.read_bytes(), file
