"""The administrator of a team's MLflow server, and passwords: from the environment or a terminal
without echo, never as an argument, where every user of the machine could read them.
"""

import getpass
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ftzard.core import credentials
from ftzard.errors import ConfigError, WorkspaceError
from ftzard.tracking.users import ADMINISTRATOR, Login, require_password
from ftzard.workspace.workspace import find

LOCAL = "http://127.0.0.1:5000"
NEW = "FTZARD_NEW_PASSWORD"


def login(server: str | None = None, user: str | None = None) -> Login:
    """Return the login for a server.

    What no variable says is asked.

    Args:
        server: Its address; default: the workspace's tracking.uri, else this machine.
        user: default: the administrator of MLFLOW_AUTH_ADMIN_USERNAME, else 'admin'.
    """
    credentials.load_for_server(Path.cwd())
    with suppress(WorkspaceError):
        find()  # the login of its user is in the workspace's .env
    user = user or os.environ.get("MLFLOW_AUTH_ADMIN_USERNAME") or ADMINISTRATOR
    uri = server or _workspace_server() or LOCAL
    if credentials.without_password(uri)[1] is not None:
        raise ConfigError("--server holds a password; leave it out: it is asked, or taken from "
                          "MLFLOW_AUTH_ADMIN_PASSWORD.")
    return Login(uri.rstrip("/"), user,
                 _known(user) or _asked(f"Password of {user} at {uri}: ",
                                        "MLFLOW_AUTH_ADMIN_PASSWORD"))


def new_password(of: str) -> str:
    """Return the new password of a user: FTZARD_NEW_PASSWORD, or entered twice."""
    password = os.environ.get(NEW)
    if password is None:
        password = _asked(f"New password of {of}: ", NEW)
        if _asked("The same again: ", NEW) != password:
            raise ConfigError("the two passwords differ; nothing was changed.")
    return require_password(password, of)


#: Who logs in with which password: (name's variable, name without one, password's variable).
_LOGINS = (("MLFLOW_TRACKING_USERNAME", None, "MLFLOW_TRACKING_PASSWORD"),
           ("MLFLOW_AUTH_ADMIN_USERNAME", ADMINISTRATOR, "MLFLOW_AUTH_ADMIN_PASSWORD"))


def mend_logins(of: str, uri: str, password: str, outside: Mapping[str, str]) -> list[str]:
    """Put a changed password where the next command looks for it; return what was done, or is left
    for a person to do, as sentences.

    Looked at are the `.env` of the current folder and of its workspace, unless that records to
    another server. outside: the environment before anything was read from a file; it goes over
    both, and only a person can change it.
    """
    lines, mended = [], False
    for user, usual, variable in _LOGINS:
        for file in _files(uri):
            values = credentials.read(file)
            if variable not in values or (values.get(user) or os.environ.get(user) or usual) != of:
                continue
            try:
                credentials.rewrite(file, variable, password)
            except (OSError, ConfigError) as error:
                lines.append(f"! {file} still has the password of before ({error}); set {variable} "
                             "in it yourself")
                continue
            lines.append(f"✓ {variable} in {file} is the new one")
            mended = True
        if outside.get(variable) and (os.environ.get(user) or usual) == of:
            lines.append(f"! {variable} in the environment is the former password, and overrides "
                         f"{credentials.FILE}: set it to the new one, or unset it")
            mended = True
    if not mended and not lines:
        lines.append(f"  whoever works as {of} sets MLFLOW_TRACKING_PASSWORD to the new one, in "
                     f"the environment or in the workspace's {credentials.FILE}")
    return lines


def _files(uri: str) -> list[Path]:
    """Return the files of credentials of a server, as far as known."""
    folders = [Path.cwd()]
    with suppress(WorkspaceError):
        place = find()
        server = place.config().tracking.server
        if server is not None and server.rstrip("/") != uri:
            folders = [folder for folder in folders if folder != place.root]
        elif place.root not in folders:
            folders.append(place.root)
    return [folder / credentials.FILE for folder in folders]


def _known(user: str) -> str | None:
    """Return the password of a user in the environment, or None."""
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
