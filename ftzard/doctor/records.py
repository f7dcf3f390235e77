"""MLflow and Dagster: whether their stores can be opened, and runs left open in them."""

import os
import shlex
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from ftzard.doctor.finding import OK, WARNING, WRONG, Finding, counted, listed, settings
from ftzard.doctor.versioned import answers
from ftzard.errors import TrackingError
from ftzard.orchestration import dagster_settings, lease
from ftzard.workspace.workspace import Workspace

#: How long a check of a server may take, in seconds.
SERVER_S = 5
#: How long a run may wait for its process, as in `dead_runs.close_dead_runs`, in seconds.
_START_S = 300
_UNFINISHED = ("NOT_STARTED", "STARTING", "STARTED", "CANCELING")


def uri_of(place: Workspace) -> str:
    """Return the address of the workspace's MLflow store."""
    return settings(place).tracking.uri or place.mlflow_uri


@contextmanager
def impatient() -> Iterator[None]:
    """Let MLflow's requests fail soon in this block, since a user waits."""
    name = "MLFLOW_HTTP_REQUEST_TIMEOUT"
    before = os.environ.get(name)
    os.environ[name] = str(SERVER_S)
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def store(place: Workspace) -> list[Finding]:
    """MLflow's store: whether it exists, is readable, unlocked, and of this MLflow's version."""
    uri = uri_of(place)
    from ftzard.tracking import store as mlflow

    file = mlflow.sqlite_file(uri)
    if file is not None and not file.exists():
        return [Finding("MLflow", OK, "no store yet; the first run makes it.")]
    problem = mlflow.problem(uri)
    if problem is not None:
        empty = file is not None and mlflow.is_empty(file)
        shown = shlex.quote(str(file))
        command = ("look at tracking.uri" if file is None else f"mv {shown} {shown}.broken" if empty
                   else f"fuser {shown}" if "locked" in problem
                   else f"mlflow db upgrade {shlex.quote(uri)}" if "another version" in problem
                   else f"cp A-COPY {shown}")
        return [Finding("MLflow", WRONG, problem, command,
                        (lambda: _set_aside(file)) if empty else None)]
    if file is None:
        parts = urlsplit(uri)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        if parts.hostname and port and not answers(parts.hostname, port):
            return [Finding("MLflow", WRONG, f"nothing answers at {parts.hostname}:{port} "
                                             "(tracking.uri).",
                            "start that server, or set tracking.uri")]
    from ftzard.tracking import runs

    with impatient():
        tracking = runs.opened(uri, settings(place).tracking.experiment, patience_s=0)
    if tracking is None:
        return [Finding("MLflow", OK, "opens; nothing is recorded in this experiment yet.")]
    return [Finding("MLflow", OK, f"{tracking.client.shown} opens.")]


def _set_aside(file: Path) -> str:
    target = file.with_name(f"{file.name}.broken-{time.strftime('%Y%m%d-%H%M%S')}")
    file.rename(target)
    journal = file.with_name(f"{file.name}-journal")
    journal.unlink(missing_ok=True)
    return f"moved {file.name} aside as {target.name}; it held no run, the next one makes it anew."


def tracking_of(place: Workspace):
    """Return the connection to the store, or None if it is empty.

    Raises TrackingError if it cannot be opened; `store` gives the reason.
    """
    from ftzard.tracking import runs
    from ftzard.tracking import store as mlflow

    uri = uri_of(place)
    file = mlflow.sqlite_file(uri)
    if file is not None and not file.exists():
        return None
    closed = TrackingError("not looked at: MLflow's store cannot be opened.")
    if mlflow.problem(uri, thorough=False) is not None:
        raise closed
    try:
        return runs.opened(uri, settings(place).tracking.experiment, patience_s=0)
    except TrackingError as error:
        raise closed from error


def open_runs(place: Workspace) -> list[Finding]:
    """RUNNING runs of MLflow without a process."""
    with impatient():
        tracking = tracking_of(place)
        if tracking is None:
            return [Finding("runs", OK, "none yet.")]
        from ftzard.tracking import runs

        running, left = runs.running(tracking), runs.abandoned(tracking)
    findings = []
    if left:
        names = listed([runs.title(run) for run in left])
        findings.append(Finding(
            "runs", WRONG, f"{names}: RUNNING in MLflow, and its process is gone.",
            f"ftzard doctor --fix -w {place.in_shell}",
            lambda: f"closed as KILLED: {listed(runs.reconcile(tracking))}."))
    elsewhere = sorted({run.data.tags.get(runs.HOST) or "an unknown machine" for run in running
                        if run.data.tags.get(runs.HOST) != socket.gethostname()})
    if elsewhere:
        findings.append(Finding(
            "runs", WARNING, f"RUNNING on {listed(elsewhere)}, where this machine cannot look.",
            "ftzard doctor (on that machine)"))
    going = len(running) - len(left)
    return findings or [Finding("runs", OK, f"{counted(going, 'run')} at work." if going else
                                "none is left open.")]


def dagster(place: Workspace) -> list[Finding]:
    """Dagster's home, and its runs without a process."""
    home = place.dagster_home
    file = home / "dagster.yaml"
    if not file.is_file():
        return [Finding("Dagster", WRONG, f"{place.relative(file)} is missing: Dagster would use "
                                          "settings that do not fit.",
                        f"ftzard doctor --fix -w {place.in_shell}", lambda: _write_settings(place))]
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return [Finding("Dagster", WRONG, f"{place.relative(file)} is not valid YAML: "
                                          f"{str(error).splitlines()[0]}.",
                        f"rm {shlex.quote(str(file))} && ftzard doctor --fix -w {place.in_shell}")]
    database = home / "history" / "runs.db"
    if not database.is_file() or "storage" in settings or "run_storage" in settings:
        return [Finding("Dagster", OK, "no run yet." if not database.is_file() else
                        "its runs are in a database of its own, which is not looked at here.")]
    if not place.writable:
        return [Finding("Dagster", OK, "its runs are not looked at: only who may write here can "
                                       "open them.")]
    dead = _dead_runs(place, database)
    if not dead:
        return [Finding("Dagster", OK, f"{place.relative(home)}, no run is left open.")]
    return [Finding("Dagster", WRONG, f"{listed(dead)}: not finished, and its process is gone.",
                    f"ftzard doctor --fix -w {place.in_shell}",
                    lambda: _close_dead(place))]


def _write_settings(place: Workspace) -> str:
    dagster_settings.write(place)
    return "wrote dagster.yaml as a fresh workspace has it."


def _dead_runs(place: Workspace, database: Path) -> list[str]:
    """Return 'job id' of each unfinished run whose worker on this machine is gone."""
    marks = ", ".join("?" * len(_UNFINISHED))
    with sqlite3.connect(f"file:{database}?mode=rw", uri=True, timeout=2) as connection:
        rows = connection.execute(
            "SELECT run_id, pipeline_name, CAST(max(strftime('%s', create_timestamp), "
            "strftime('%s', update_timestamp)) AS INTEGER) "
            f"FROM runs WHERE status IN ({marks})", _UNFINISHED).fetchall()
    return [f"{job} {run_id[:8]}" for run_id, job, created in rows
            if _worker_gone(place, run_id, created)]


def _worker_gone(place: Workspace, run_id: str, created: int) -> bool:
    """Return whether a run has no process, by the rule of `dead_runs.close_dead_runs`."""
    if not lease.was_started(place, run_id):
        return time.time() - created > _START_S
    return lease.lost(place, run_id, time.time()) is not None


def _close_dead(place: Workspace) -> str:
    from ftzard.orchestration import services

    return f"closed {listed([run_id[:8] for run_id in services.close_dead_runs(place)])}."
