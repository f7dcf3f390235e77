"""The credentials of a workspace's runs, and whether others can read them; values are not shown."""

import os
import stat
from urllib.parse import urlsplit

from ftzard.core import credentials
from ftzard.doctor.finding import OK, WARNING, WRONG, Finding, counted, listed, settings
from ftzard.errors import ConfigError, in_shell, nearest
from ftzard.versioning import git
from ftzard.workspace import notices
from ftzard.workspace.workspace import Workspace

_HERE = ("localhost", "127.0.0.1", "::1")
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def secrets(place: Workspace) -> list[Finding]:
    """Credentials in the environment or in .env, and problems with them."""
    file = place.root / credentials.FILE
    try:
        values = credentials.read(file)
    except ConfigError as error:
        return [Finding("secrets", WRONG, str(error), f"edit {file}")]
    names = {**credentials.where(place.root), **{
        c.name: credentials.FILE for c in credentials.RUN
        if values.get(c.name) and not os.environ.get(c.name)}}
    shown = [f"{name} ({source})" for name, source in names.items()]
    findings = [Finding("secrets", OK, f"set: {', '.join(shown)}." if shown else
                        f"none is set, neither in the environment nor in {credentials.FILE}.")]
    return findings + _login(place, set(names)) + (_file(place, values) if file.is_file() else [])


def _login(place: Workspace, names: set[str]) -> list[Finding]:
    """A login at an MLflow server that is incomplete, or sent without encryption."""
    server = settings(place).tracking.server
    if server is None or "MLFLOW_TRACKING_TOKEN" in names:
        return []
    missing = [name for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
               if name not in names]
    findings = []
    if len(missing) == 1:
        findings.append(Finding("secrets", WRONG, f"{missing[0]} is not set; a login at {server} "
                                               "takes both.",
                                f"echo {missing[0]}=… >> {place.root / credentials.FILE}"))
    parts = urlsplit(server)
    if not missing and parts.scheme == "http" and parts.hostname not in _HERE:
        findings.append(Finding("secrets", WARNING, f"the password goes to {server} unencrypted; "
                                                 "whoever listens on the way can read it.",
                                "put a proxy with TLS before the server, and https: into "
                                "tracking.uri"))
    return findings


def _file(place: Workspace, values: dict[str, str]) -> list[Finding]:
    """The file .env: its permissions, whether git ignores it, and its names."""
    file, findings = place.root / credentials.FILE, []
    if stat.S_IMODE(file.stat().st_mode) & _FOR_OTHERS:
        findings.append(Finding("secrets", WRONG, f"{file.name} can be read by other users of this "
                                               "machine.", f"chmod 600 {in_shell(file)}",
                                lambda: _close(place)))
    if git.attempt(place.root, "ls-files", "--error-unmatch", file.name).returncode == 0:
        findings.append(Finding(
            "secrets", WRONG, f"{file.name} is in git: what is in it has to count as known to "
                              "everybody who has the repository.",
            f"git rm --cached {file.name}, and change every password in it"))
    elif git.attempt(place.root, "check-ignore", "-q", file.name).returncode == 1:
        findings.append(Finding("secrets", WRONG, f"git does not ignore {file.name}, so a commit "
                                                  "of everything would publish it.",
                                f"echo {file.name} >> {in_shell(place.root / '.gitignore')}"))
    server = {c.name for c in credentials.SERVER}
    other = [name for name in values if not credentials.is_loaded(name) and name not in server]
    if other:
        known = [c.name for c in credentials.RUN]
        findings.append(Finding("secrets", WARNING, f"{file.name} names {listed(other)}, which no "
                                                 "run is given"
                                                 f"{nearest(other[0], known)}", f"edit {file}"))
    return findings


def _close(place: Workspace) -> str:
    file = place.root / credentials.FILE
    file.chmod(0o600)
    return f"{file.name} can be read by you only."


def undelivered_notices(place: Workspace) -> list[Finding]:
    """Notices that did not reach somebody, and addresses that are none."""
    findings = [Finding(
        "notices", WARNING,
        f"address {number} of {notices.VARIABLE} is none that apprise understands; nobody is "
        "notified there.") for number in notices.unknown_addresses()]
    left = notices.undelivered(place)
    if left:
        title, problem = left[-1]
        findings.append(Finding(
            "notices", WARNING, f"{counted(len(left), 'notice')} not delivered, the last "
                                f"'{title}': {problem}. It is tried again."))
    if findings:
        return findings
    if not notices.addresses():
        return [Finding("notices", OK, f"nobody is notified: {notices.VARIABLE} is not set.")]
    known = counted(len(notices.addresses()), "address", "addresses")
    return [Finding("notices", OK, f"{known} in {notices.VARIABLE}; nothing is undelivered.")]
