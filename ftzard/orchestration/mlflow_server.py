"""MLflow as a server for a team: everyone logs in, and sees and writes only what is theirs.

One folder holds all of it: the database and the artifacts, who the users are, a key and a log, all
readable for the server's own user only. Secrets reach the server through its environment, never as
an argument. The first administrator's password comes from the environment or from `.env`; once
there is an administrator, it is not needed any more.
"""

import configparser
import os
import secrets
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.parse import quote

from ftzard.core import credentials
from ftzard.errors import ConfigError, TrackingError, WorkspaceError
from ftzard.orchestration import mlflow_artifacts, services
from ftzard.orchestration.launch import QUIET
from ftzard.workspace.workspace import unusable_folder_name

if TYPE_CHECKING:
    import sqlalchemy

PASSWORD, USER = "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_AUTH_ADMIN_USERNAME"
KEY, BACKEND = "MLFLOW_FLASK_SERVER_SECRET_KEY", "MLFLOW_BACKEND_STORE_URI"
_MYSQL, _OPTIONS = "mysql+pymysql://", "mysql.cnf"

#: Settings of the server that others give: under which names it may be reached, and whether a
#: proxy in front of it serves another origin.
_PASSED_ON = ("MLFLOW_SERVER_ALLOWED_HOSTS", "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS")
#: Every route wants a login and a permission; what has neither is refused. No jobs of users run.
_STRICT = {"MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true", "MLFLOW_SERVER_ENABLE_GRAPHQL_AUTH": "true",
           "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@dataclass(frozen=True)
class Plan:
    """How a server is started: its command, which anybody on the machine may see, and its
    environment, which only its user may."""

    folder: Path
    host: str
    port: int
    backend: str
    command: list[str]
    environment: dict[str, str]

    @property
    def uri(self) -> str:
        """The address of the server from this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{host}:{self.port}"


def plan(folder: Path, *, host: str, port: int, backend: str | None = None,
         artifacts: str | None = None) -> Plan:
    """Prepare the folder and return how the server is started.

    Args:
        backend: URI of its database, without a password; default: MLFLOW_BACKEND_STORE_URI, else
            SQLite in the folder.
        artifacts: A folder or an s3:// URL for the files of runs; default: where they are, else in
            the folder.

    Raises:
        ConfigError: For what is missing or cannot be used, before anything is started, and
            TrackingError if the database cannot be opened.
    """
    folder = Path(os.path.abspath(folder))
    if unusable := unusable_folder_name(folder):
        raise ConfigError(unusable)
    if backend is not None and credentials.without_password(backend)[1] is not None:
        raise ConfigError(
            "--backend holds a password, which everybody on this machine can read in the list of "
            f"processes. Leave it out of the URI and set {_variable(backend)}, or set {BACKEND} "
            "instead of --backend: in the environment or in .env.")
    uri = backend or os.environ.get(BACKEND) or f"sqlite:///{folder / 'mlflow.db'}"
    if not uri.startswith(("sqlite:///", "postgresql", _MYSQL)):
        raise ConfigError(f"the backend is '{credentials.mask(uri)}'; expected sqlite:///FILE, "
                          f"postgresql://USER@HOST/DATABASE or {_MYSQL}USER@HOST/DATABASE.")
    uri, password = credentials.without_password(uri)
    if password is not None:
        os.environ[_variable(uri)] = password
    place = mlflow_artifacts.chosen(folder, artifacts)
    _make_private(folder)
    with ExitStack() as undone:
        if uri.startswith(_MYSQL):
            undone.callback((folder / _OPTIONS).unlink, missing_ok=True)
            uri = _with_option_file(uri, folder / _OPTIONS)
            _require_reachable(uri)
        # MLflow's tables of users cannot be made on MySQL: two of their keys have one name.
        users = uri if uri.startswith("postgresql") else f"sqlite:///{folder / 'users.db'}"
        if not has_administrator(users):
            _require_administrator()
        mlflow_artifacts.keep(folder, place)
        undone.pop_all()
    environment = {
        **_without_secrets(os.environ), **QUIET, **_STRICT,
        BACKEND: uri,
        KEY: os.environ.get(KEY) or _key(folder / "session.key"),
        USER: os.environ.get(USER) or "admin",
        "MLFLOW_AUTH_CONFIG_PATH": str(_settings(folder / "login.ini", users)),
        **{name: os.environ[name] for name in (PASSWORD, "PGPASSWORD") if os.environ.get(name)},
        **(mlflow_artifacts.environment() if place.startswith("s3://") else {}),
    }
    return Plan(folder, host, port, uri, _command(place, host, port), environment)


def _variable(uri: str) -> str:
    """Return the variable with the password of a database."""
    return "MYSQL_PWD" if uri.startswith("mysql") else "PGPASSWORD"


def _with_option_file(uri: str, file: Path) -> str:
    """Return a MySQL URI that takes the password of MYSQL_PWD from an option file.

    MySQL's driver reads no environment; the file is readable for its owner only, and is there for
    as long as the server runs.
    """
    file.unlink(missing_ok=True)
    password = os.environ.get("MYSQL_PWD")
    if not password:
        return uri
    quoted = next((f"{mark}{password}{mark}" for mark in "\"'" if mark not in password), None)
    if quoted is None or not password.isprintable():
        raise ConfigError("MYSQL_PWD holds both kinds of quotes, or a sign that cannot be printed; "
                          "expected one that an option file of MySQL can say.")
    with os.fdopen(_private(file), "w", encoding="utf-8") as stream:
        stream.write(f"[client]\npassword={quoted}\n")
    return (f"{uri}{'&' if '?' in uri else '?'}read_default_file={quote(str(file))}"
            "&read_default_group=client")


def _command(artifacts: str, host: str, port: int) -> list[str]:
    return [services.tool("mlflow"), "server", "--app-name", "basic-auth", "--serve-artifacts",
            "--artifacts-destination", artifacts,
            "--workers", "1", "--host", host, "--port", str(port)]


def has_administrator(users: str) -> bool:
    """Return whether a database of users has an administrator; raises TrackingError if it cannot
    be opened."""
    import sqlalchemy

    file = users.removeprefix("sqlite:///")
    if file != users and not Path(file).is_file():
        return False
    with _connected(users) as connection:
        if "users" not in sqlalchemy.inspect(connection).get_table_names():
            return False
        return connection.exec_driver_sql(
            "SELECT count(*) FROM users WHERE is_admin").scalar() > 0


def _require_reachable(uri: str) -> None:
    """Raise TrackingError if a database refuses the login, before its server is started."""
    with _connected(uri):
        pass


@contextmanager
def _connected(uri: str) -> Iterator["sqlalchemy.Connection"]:
    """Open a database; raises ConfigError without its driver, TrackingError if it refuses."""
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = sqlalchemy.create_engine(uri)
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()
    except ImportError as error:
        name, package = (("MySQL", "pymysql>=1.2") if uri.startswith(_MYSQL)
                         else ("PostgreSQL", "psycopg[binary]>=3.2"))
        raise ConfigError(f"{name} needs a package that is not installed ({error}); install "
                          f"it with: pip install '{package}'") from error
    except SQLAlchemyError as error:
        from ftzard.tracking.store import kind, sentence

        raise TrackingError(sentence(kind(error), error, uri, "open", 0)) from error


def _require_administrator() -> None:
    from ftzard.tracking.users import require_password

    password, name = os.environ.get(PASSWORD), os.environ.get(USER) or "admin"
    if not password:
        raise ConfigError(
            f"the server has no administrator yet, and {PASSWORD} is not set. Set it in the "
            f"environment or in {Path.cwd() / credentials.FILE} (chmod 600): twelve characters or "
            f"more. The administrator is called '{name}' ({USER}).")
    require_password(password, name)


def _make_private(folder: Path) -> None:
    """Create the folder for its owner only, ignored by git."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")


def _settings(file: Path, users: str) -> Path:
    """Write the settings of MLflow's login; without a permission everything is denied."""
    settings = configparser.ConfigParser(interpolation=None)
    settings["mlflow"] = {
        "default_permission": "NO_PERMISSIONS",
        "database_uri": users.replace("%", "%%"),  # MLflow reads it with interpolation
        "authorization_function": "ftzard.tracking.team_login:authenticate",
        "grant_default_workspace_access": "false",
        # A password is hashed slowly on purpose, and MLflow asks several times per request. The one
        # process that serves forgets a login as soon as its password is changed.
        "auth_cache_ttl_seconds": "300",
    }
    with os.fdopen(_private(file), "w", encoding="utf-8") as stream:
        settings.write(stream)
    return file


def _key(file: Path) -> str:
    """Return the server's secret key, created at the first start."""
    if not file.is_file():
        with os.fdopen(_private(file), "w", encoding="utf-8") as stream:
            stream.write(secrets.token_hex(32))
    return file.read_text(encoding="utf-8")


def _private(file: Path) -> int:
    """Open a file for writing, readable for its owner only from the start."""
    file.unlink(missing_ok=True)
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the runs' credentials and other MLflow settings."""
    ours = {c.name for c in (*credentials.RUN, *credentials.SERVER)}
    return {k: v for k, v in environment.items()
            if k not in ours and (not k.startswith(("MLFLOW_", "_MLFLOW_")) or k in _PASSED_ON)}


@contextmanager
def serving(plan: Plan) -> Iterator[services.Started]:
    """Run the server for as long as the block lasts, from when it answers; nothing of it is left
    then. Raises WorkspaceError if it ends by itself or does not answer."""
    try:
        with services.running({"server": plan.command}, plan.environment, plan.folder,
                              logs=plan.folder) as started:
            _wait_until_healthy(plan, started)
            yield started
    finally:
        (plan.folder / _OPTIONS).unlink(missing_ok=True)


def _wait_until_healthy(plan: Plan, started: services.Started, seconds: float = 180) -> None:
    log, deadline = plan.folder / "server.log", time.monotonic() + seconds
    process = started["server"]
    while not healthy(plan.uri):
        if process.poll() is not None:
            raise WorkspaceError(f"the MLflow server ended with code {process.returncode}: "
                                 f"{_last_words(log)} Its log: {log}")
        if time.monotonic() > deadline:
            raise WorkspaceError(f"the MLflow server did not answer within {seconds:.0f} s. Its "
                                 f"log: {log}")
        time.sleep(0.2)


def healthy(uri: str) -> bool:
    """Return whether an MLflow server reports that it is healthy."""
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=5) as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in
             log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    message = next((line for line in reversed(lines) if "Error" in line or "Exception" in line),
                   lines[-1] if lines else "it said nothing.")
    return credentials.mask(message)[:400]
