"""Who administers a team's MLflow server, and the passwords it takes: from the environment or a
terminal without echo, never as an argument, where everybody on the machine could read them."""

import getpass
import os
import sys
from pathlib import Path

from ftzard import credentials
from ftzard.errors import ConfigError, WorkspaceError
from ftzard.tracking.users import ADMINISTRATOR, Login, require_password
from ftzard.workspace import find

LOCAL = "http://127.0.0.1:5000"
NEW = "FTZARD_NEW_PASSWORD"


def login(server: str | None = None, user: str | None = None) -> Login:
    """Return who asks a server, and with which password.

    server: its address; default: the workspace's tracking.uri, else this machine. user: default:
    the administrator of MLFLOW_AUTH_ADMIN_USERNAME, else 'admin'. What no variable says is asked.
    """
    credentials.load_for_server(Path.cwd())
    user = user or os.environ.get("MLFLOW_AUTH_ADMIN_USERNAME") or ADMINISTRATOR
    uri = server or _workspace_server() or LOCAL
    if credentials.without_password(uri)[1] is not None:
        raise ConfigError("--server holds a password; leave it out: it is asked, or taken from "
                          "MLFLOW_AUTH_ADMIN_PASSWORD.")
    return Login(uri.rstrip("/"), user,
                 _known(user) or _asked(f"Password of {user} at {uri}: ",
                                        "MLFLOW_AUTH_ADMIN_PASSWORD"))


def new_password(of: str) -> str:
    """Return the password that a user shall have: of FTZARD_NEW_PASSWORD, or asked twice."""
    given = os.environ.get(NEW)
    if given is None:
        given = _asked(f"New password of {of}: ", NEW)
        if _asked("The same again: ", NEW) != given:
            raise ConfigError("the two passwords differ; nothing was changed.")
    return require_password(given, of)


def _known(user: str) -> str | None:
    """Return the password of a user that the environment says, if it does."""
    if user == (os.environ.get("MLFLOW_AUTH_ADMIN_USERNAME") or ADMINISTRATOR):
        return os.environ.get("MLFLOW_AUTH_ADMIN_PASSWORD")
    if user == os.environ.get("MLFLOW_TRACKING_USERNAME"):
        return os.environ.get("MLFLOW_TRACKING_PASSWORD")
    return None


def _asked(question: str, variable: str) -> str:
    if not sys.stdin.isatty():
        raise ConfigError(f"a password is needed, and there is no terminal to ask for it; set "
                          f"{variable} in the environment or in {credentials.FILE}.")
    return getpass.getpass(question)


def _workspace_server() -> str | None:
    try:
        return find().config().tracking.server
    except WorkspaceError:
        return None
