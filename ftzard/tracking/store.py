"""Reaching MLflow's store: transient errors are retried, others are raised as one sentence.

A short lock on SQLite, a server that restarts, a lost connection: asked again for a while. What
may have been done already is only asked again if twice is the same as once, so no run and no
experiment is doubled. A store that is gone fails within a minute, and from then on each call tries
once.
"""

import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar

import mlflow.store.db.utils as database
import sqlalchemy
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient
from mlflow.utils.file_utils import local_file_uri_to_path
from sqlalchemy.exc import SQLAlchemyError

from ftzard.core.artifacts import write_atomically
from ftzard.core.locks import locked
from ftzard.errors import TrackingError

# What MLflow says while it makes its tables, and its own traceback of a database error, would
# stand before our sentence.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
# The waiting is done here. MLflow's own would try a store that is gone for minutes.
database.MAX_RETRY_COUNT = 2
for _name, _value in (("MAX_RETRIES", "0"), ("TIMEOUT", "55")):
    os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{_name}", _value)

#: How long trouble that may pass is waited for, in seconds. A call that is under way by then ends
#: by itself: SQLite waits 20 s for a lock, the network at most MLFLOW_HTTP_REQUEST_TIMEOUT.
PATIENCE_S = 50.0

_ANSWERS = ("RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE",
            "INVALID_STATE")
#: A server's answer for a model that is missing or belongs to somebody else.
_HIDING = ("get_registered_model", "get_model_version", "get_model_version_by_alias")
_LOGIN = re.compile(r"(?<=://)[^/\s'\"]+@")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Trouble:
    """A kind of failure: how MLflow, SQLite or the network word it, and its remedy.

    Attributes:
        passes: Whether it may be over in a moment.
        safe: Whether what was asked was surely not done.
    """

    pattern: str
    sentence: str
    passes: bool = False
    safe: bool = False


NOT_PERMITTED = Trouble(
    r"error code 403|403 Client Error|PERMISSION_DENIED",
    "does not permit this user to do that ({asked}). Let an administrator of the server grant it "
    "with 'ftzard mlflow-user grant', or record to an experiment and a model of your own: "
    "tracking.experiment, tracking.registered_model")
_TROUBLES = (
    Trouble(r"disk is full|No space left|Disk quota|File too large|disk I/O error",
            "cannot be written: {reason}. Its disk is full, or fails: free space there, then run "
            "the step again"),
    Trouble(r"is locked",
            "has been locked by another process for {seconds:.0f} s. End the process that holds "
            "it{holder}, then run the step again; where many write at once, let tracking.uri "
            "name an MLflow server", passes=True, safe=True),
    Trouble(r"error code 401|401 Client Error|[Uu]nauthor|UNAUTHENTICATED|not authenticated",
            "refused the credentials; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD "
            "in the environment or in the workspace's .env. An administrator of the server makes "
            "users with 'ftzard mlflow-user add'"),
    NOT_PERMITTED,
    Trouble(r"error code 429|429 Client Error|too many 429|REQUEST_LIMIT_EXCEEDED",
            "looks at no password of this user for up to a minute, after several wrong ones; set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment or in the "
            "workspace's .env, then try again"),
    Trouble(r"password authentication failed|no password supplied",
            "refused the credentials; set PGPASSWORD in the environment or in the workspace's "
            ".env, and the user in tracking.uri"),
    Trouble(r"Access denied for user",
            "refused the credentials; set MYSQL_PWD in the environment or in .env, and the user in "
            "the URI"),
    Trouble(r"readonly database|Read-only file system|Permission denied|unable to open database",
            "cannot be opened: {reason}. Check tracking.uri and that the file and its folder may "
            "be written to"),
    Trouble(r"not a database|malformed|no such table|no such column",
            "cannot be opened: {reason}. Either tracking.uri names a file that is not MLflow's, or "
            "it is damaged: 'ftzard doctor' looks closer, a copy of the file brings it back"),
    Trouble(r"database schema|locate revision",
            "was made by another version of MLflow ({reason}). Install the version of "
            "constraints.txt, or copy the store and run 'mlflow db upgrade'"),
    Trouble(r"Connection refused|Name or service|name resolution|Failed to resolve|No route to "
            r"host|Network is unreachable|could not translate|ConnectTimeout",
            "does not answer: {reason}. Start its server again, or check tracking.uri; then run "
            "the step again", passes=True, safe=True),
    Trouble(r"timed out|timeout|Connection (reset|aborted)|RemoteDisconnected|closed the "
            r"connection|error code 50[0-9]|TEMPORARILY_UNAVAILABLE|Max retries",
            "broke off: {reason}. Look at its server's log and check tracking.uri; then run "
            "the step again", passes=True),
)
_NO_DRIVER = Trouble("", "needs a package that is not installed ({reason}); install it with pip")
_OTHER = Trouble("", "refused '{asked}': {reason}. Check tracking.uri, and that this version of "
                     "MLflow ('pip show mlflow') is the one that made the store")


class Store:
    """MLflow's client with retries: its methods, and TrackingError where the store fails.

    What MLflow answers about a thing that is missing or there already stays a MlflowException.
    patience_s: how long trouble that may pass is waited for, PATIENCE_S by default.
    """

    def __init__(self, uri: str, patience_s: float | None = None):
        self.uri = uri
        self.patience_s = PATIENCE_S if patience_s is None else patience_s
        self._given_up = False
        self._client = self._asked("open", partial(MlflowClient, uri, registry_uri=uri))

    @property
    def shown(self) -> str:
        """The URI without its login."""
        return _LOGIN.sub("***@", self.uri)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        @wraps(method)
        def ask(*arguments, **named):
            return self._asked(name, partial(method, *arguments, **named))

        return ask

    def _asked(self, name: str, call: Callable[[], _T]) -> _T:
        began, pause = time.monotonic(), 0.2
        repeatable = not name.startswith("create_")
        while True:
            try:
                answer = call()
            except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
                if name != "open" and getattr(error, "error_code", None) in _ANSWERS:
                    raise
                trouble, waited = kind(error), time.monotonic() - began
                if trouble is NOT_PERMITTED and name in _HIDING:
                    raise
                again = trouble.passes and (trouble.safe or repeatable)
                if again and not self._given_up and waited < self.patience_s:
                    time.sleep(pause)
                    pause = min(2 * pause, 4.0)
                    continue
                self._given_up = trouble.passes
                raise TrackingError(sentence(trouble, error, self.uri, name, waited)) from error
            self._given_up = False
            return answer


def kind(error: BaseException) -> Trouble:
    """Return the kind of failure of an error of MLflow, SQLAlchemy or the system."""
    if isinstance(error, ImportError):
        return _NO_DRIVER
    return next((t for t in _TROUBLES if re.search(t.pattern, str(error))), _OTHER)


def sentence(trouble: Trouble, error: BaseException, uri: str, call: str, waited: float) -> str:
    """Return the message of a failure: the store, the problem, the remedy."""
    message = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    file = sqlite_file(uri)
    holder = f" (fuser {file} names it)" if file else ""
    words = trouble.sentence.format(reason=message.strip().rstrip(".")[:400], seconds=waited,
                                    holder=holder, asked=call)
    return _LOGIN.sub("***@", f"MLflow's store {uri} {words}.")


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite URI, or None for a server or another database."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(sqlalchemy.make_url(uri).database or "")


def make_sqlite(uri: str) -> None:
    """Create the SQLite file of a store atomically, unless it exists.

    Several processes that find it missing make it once.
    """
    file = sqlite_file(uri)
    if file is None or file.exists():
        return

    def fill(part: Path) -> None:
        # Its tables and their version; the connection must not outlive the temporary name. MLflow
        # writes where artifacts go into SQL as it stands: a URL has no quotes in it, the current
        # folder, which it would take, may.
        root = file.absolute().with_name("mlartifacts").as_uri()
        try:
            SqlAlchemyStore(f"sqlite:///{part}", root).engine.dispose()
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise TrackingError(sentence(kind(error), error, uri, "open", 0)) from error

    with locked(file.with_name(f"{file.name}.lock"), {"pid": os.getpid(), "doing": "making it"}):
        if not file.exists():
            write_atomically(file, fill)


#: Where MLflow keeps absolute addresses of files.
_ADDRESSES = (("experiments", "artifact_location"), ("runs", "artifact_uri"),
              ("logged_models", "artifact_location"), ("model_versions", "source"),
              ("model_versions", "storage_location"))


def bring_here(uri: str, experiment: str, artifacts: Path) -> str | None:
    """Update the file paths of a SQLite store that was copied or moved.

    MLflow keeps their addresses absolute: a copied workspace would go on writing into the one it
    was copied from. Only a store that lies beside `artifacts` is touched, and only where its
    experiment kept its files in a folder of the same name. Returns where they were looked for
    before, or None if nothing was to be done.
    """
    file = sqlite_file(uri)
    if file is None or file.resolve().parent != artifacts.resolve().parent:
        return None
    here = artifacts.as_uri()
    engine = sqlalchemy.create_engine(uri, connect_args={"timeout": 30})
    try:
        with engine.begin() as connection:
            former = connection.exec_driver_sql(
                "SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)).scalar()
            if not former or former == here or not former.startswith("file:") or (
                    former.rsplit("/", 1)[-1] != artifacts.name):
                return None
            if local_file_uri_to_path(former) == str(artifacts.resolve()):
                return None  # another way to write the same place
            known = set(sqlalchemy.inspect(connection).get_table_names())
            for table, column in _ADDRESSES:
                if table in known:
                    connection.exec_driver_sql(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (here, len(former) + 1, former, len(former) + 1, f"{former}/"))
        return local_file_uri_to_path(former)
    except SQLAlchemyError as error:
        raise TrackingError(sentence(kind(error), error, uri, "bring here", 30)) from error
    finally:
        engine.dispose()


def problem(uri: str, *, thorough: bool = True) -> str | None:
    """Return the problem of an existing database, or None; nothing is changed.

    A store on a server has no database of ours: None.

    Args:
        thorough: Read all of a SQLite file.
    """
    if uri.startswith(("http:", "https:", "file:", "databricks")):
        return None
    wait = {"connect_args": {"timeout": 2}} if uri.startswith("sqlite:") else {}
    try:
        with sqlalchemy.create_engine(uri, **wait).connect() as connection:
            if thorough and uri.startswith("sqlite:"):
                result = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
                if result != "ok":
                    return f"MLflow's store {uri} is damaged: {result}."
            tables = set(sqlalchemy.inspect(connection).get_table_names())
            version = connection.exec_driver_sql(
                "SELECT version_num FROM alembic_version").scalar() if (
                "alembic_version" in tables) else None
    except (SQLAlchemyError, ImportError) as error:
        return sentence(kind(error), error, uri, "open", 2)
    newest = database._get_latest_schema_revision()
    if version == newest:
        return None
    if version is None:
        return _LOGIN.sub("***@", f"MLflow's store {uri} has no complete tables.")
    return sentence(
        kind(Exception("database schema")),
        Exception(f"its tables are of version {version}, MLflow's are of {newest}"), uri, "open", 0)


def is_empty(file: Path) -> bool:
    """Return whether a SQLite store has no run, so that it can be recreated."""
    import sqlite3

    try:
        uri = f"{file.absolute().as_uri()}?mode=rw"
        with sqlite3.connect(uri, uri=True, timeout=2) as connection:
            return connection.execute("SELECT count(*) FROM runs").fetchone()[0] == 0
    except sqlite3.OperationalError as error:
        return "no such table" in str(error)
    except sqlite3.DatabaseError:
        return False
