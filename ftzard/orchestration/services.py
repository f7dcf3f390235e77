"""The servers on a workspace: Dagster's daemon and web server, MLflow, Jupyter.

Each runs in a process group of its own and is ended as a group, so that no run worker and no
kernel outlives the command that started it; what it left open is then closed. A command that is
killed cannot do that any more: the guardian, a process beside it, does.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from ftzard.errors import TrackingError, WorkspaceError
from ftzard.orchestration import code_location, dagster_settings, dead_runs, server_guard
from ftzard.orchestration.launch import environment
from ftzard.workspace import addresses
from ftzard.workspace.workspace import Workspace

#: The processes of commands that were started, by name.
Started = dict[str, subprocess.Popen]


def daemon(workspace: Workspace) -> list[str]:
    """Return the command of Dagster's daemon, which serves the sensors."""
    return [tool("dagster-daemon"), "run", "-m", code_location.MODULE]


def webserver(workspace: Workspace, host: str, port: int) -> list[str]:
    """Return the command of Dagster's web server."""
    return [tool("dagster-webserver"), "-h", host, "-p", str(port), "-m", code_location.MODULE]


def mlflow(workspace: Workspace, host: str, port: int) -> list[str]:
    """Return the command of MLflow's server on the workspace's database."""
    experiment = workspace.config().tracking.experiment
    return [sys.executable, "-m", "ftzard.tracking.landing_page", experiment, "server",
            "--backend-store-uri", database(workspace),
            "--default-artifact-root", workspace.mlflow_artifacts.as_uri(),
            "--workers", "1", "--host", host, "--port", str(port)]


def database(workspace: Workspace) -> str:
    """Return the URI of the MLflow database that a workspace opens itself, without a server."""
    tracking = workspace.config().tracking
    return workspace.mlflow_uri if tracking.server else tracking.uri or workspace.mlflow_uri


def jupyter(workspace: Workspace, host: str, port: int, browser: bool) -> list[str]:
    """Return the command of JupyterLab on the workspace's notebooks."""
    return [tool("jupyter"), "lab", f"--ServerApp.root_dir={workspace.root}",
            f"--ServerApp.ip={host}", f"--ServerApp.port={port}",
            f"--ServerApp.open_browser={browser}", "--ServerApp.allow_root=True",
            "--LabApp.default_url=/lab/tree/notebooks"]


def free_port(host: str, wanted: int) -> int:
    """Return `wanted`; raises WorkspaceError if a server listens there already."""
    if not 0 < wanted < 65536:
        raise WorkspaceError(f"port {wanted} is none; expected 1 to 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, wanted))
        except (socket.gaierror, UnicodeError, TypeError) as error:
            raise WorkspaceError(f"--host is '{host}', which is no address of this machine; "
                                 "expected one, such as 127.0.0.1 or 0.0.0.0.") from error
        except OSError as error:
            raise _PortInUse(f"port {wanted} on {host} is taken ({error.strerror}); choose "
                                     "another one.") from error
    return wanted


def port_for(workspace: Workspace, page: str, host: str, wanted: int | None) -> int:
    """Return the port for a page.

    Args:
        workspace: The workspace, which keeps the ports that it was served at.
        page: `addresses.DAGSTER` or `addresses.MLFLOW`.
        host: The address to listen on.
        wanted: A port that a person has named; None takes the last one, or the next that is free.

    Raises:
        WorkspaceError: If the named port is taken, or none of the next ones is free.
    """
    if wanted is not None:
        return free_port(host, wanted)
    usual = addresses.port(workspace, page)
    for number in range(usual, min(usual + 20, 65536)):
        with contextlib.suppress(_PortInUse):
            return free_port(host, number)
    raise WorkspaceError(f"ports {usual} to {number} on {host} are all taken; name a free one, as "
                         f"in --{'port' if page == addresses.DAGSTER else 'mlflow-port'} 8123.")


class _PortInUse(WorkspaceError):
    """Raised if a server listens on a port already."""


@contextmanager
def serving(workspace: Workspace, commands: Mapping[str, list[str]], *,
            logs: bool = True) -> Iterator[Started]:
    """Run servers as long as the block lasts; their process groups end with it.

    Their output goes to .ftzard/logs/<name>.log.
    """
    own = workspace.state / "mlflow.db"
    if "mlflow" in commands and not (own.exists() and database(workspace) == workspace.mlflow_uri):
        from ftzard.tracking.store import make_sqlite

        make_sqlite(database(workspace))  # its server and a first run would both make the tables
    if "daemon" in commands:
        dagster_settings.refresh(workspace)
        make_dagster_store(workspace)
        with contextlib.suppress(TrackingError):  # reported by each run and by the doctor
            close_dead_runs(workspace)  # the queue would wait for them
    env = environment(workspace)
    if "jupyter" not in commands:  # a person's notebooks import what lies beside them; a server
        env["PYTHONSAFEPATH"] = "1"  # takes nothing of the folder that it is started in
    try:
        with running(commands, env, workspace.root,
                     logs=workspace.state / "logs" if logs else None) as started:
            try:
                yield started
            finally:
                if "daemon" in commands:  # seconds of imports, while the servers end
                    threading.Thread(target=import_module, args=("ftzard.steps.step_run",),
                                     daemon=True, name="before closing").start()
    finally:
        if "daemon" in commands:
            close_open_runs(workspace, "the server that ran it was stopped")


def make_dagster_store(workspace: Workspace) -> None:
    """Make Dagster's tables, if there are none: its processes would make them all at once, and
    leave a store that none of them can open."""
    from dagster import DagsterInstance

    with DagsterInstance.from_config(str(workspace.dagster_home)):
        pass


@contextmanager
def running(commands: Mapping[str, list[str]], env: Mapping[str, str], cwd: Path, *,
            logs: Path | None) -> Iterator[Started]:
    """Run commands as long as the block lasts, each in a process group that ends with it.

    However this process ends, theirs end within ten seconds.

    Args:
        logs: Folder for their output, <name>.log, for its owner only; None: it is shown.
    """
    started: Started = {}
    try:
        with guarded(env) as register:
            for name, command in commands.items():
                stream = _log(logs / f"{name}.log") if logs else None
                with _signals_later():
                    started[name] = subprocess.Popen(
                        command, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=stream,
                        stderr=subprocess.STDOUT, start_new_session=True,
                        preexec_fn=_tied(os.getpid()))
                    register(started[name].pid)
                if stream is not None:
                    os.close(stream)
            try:
                yield started
            finally:
                stop(started.values())
    finally:
        stop(started.values())  # again, if the first time was interrupted


@contextmanager
def guarded(env: Mapping[str, str]) -> Iterator[Callable[[int], object]]:
    """Start a guard and yield the function that registers a process group with it.

    It is a process of its own session: neither the terminal nor a signal to this one's group
    reaches it, and it ends with its pipe.
    """
    own = {name: env[name] for name in ("PATH", "FTZARD_WORKSPACE") if name in env}
    with _signals_later():
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", server_guard.__file__], env=own, cwd="/",
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)

    def tell(group: int) -> None:
        with contextlib.suppress(OSError):  # it was killed: this process still ends all
            process.stdin.write(f"{group}\n".encode())
            process.stdin.flush()

    try:
        yield tell
    finally:
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.wait()


_PR_SET_PDEATHSIG = 1
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def _signals_later() -> Iterator[None]:
    """Delay termination signals to the end of the block.

    While a process forks, what a signal's handler raises would be lost without a word; and a server
    that was started would not be known yet.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _tied(parent: int) -> Callable[[], None] | None:
    """Return a child's setup before it becomes a server: the kernel ends it with `parent`.

    It holds for the moment in which the guardian has not been told of it yet. A shell that starts a
    command in the background lets it ignore SIGINT, with which servers are ended; they must not.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)

    def tie() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it was gone already
                os._exit(1)

    return tie


def _log(file: Path) -> int:
    file.parent.mkdir(parents=True, exist_ok=True)
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def stop(processes: Iterable[subprocess.Popen], patience: float = 4.5) -> None:
    """End process groups: interrupt them, then kill the remaining ones after `patience` seconds."""
    left = list(processes)
    for number, wait in ((signal.SIGINT, patience), (signal.SIGTERM, 1.0), (signal.SIGKILL, 2.0)):
        left = [p for p in left if _group_alive(p.pid)]
        for process in left:
            with contextlib.suppress(ProcessLookupError):  # it ended between look and signal
                os.killpg(process.pid, number)
        deadline = time.monotonic() + wait
        while any(_group_alive(p.pid) for p in left) and time.monotonic() < deadline:
            for process in left:
                process.poll()
            time.sleep(0.1)


def _group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return not Path("/proc").is_dir()


def close_open_runs(workspace: Workspace, reason: str) -> int:
    """Close the runs of dead processes in Dagster and in MLflow; return their number.

    A run that a person has started in another terminal goes on. Those that wait in the queue are
    left there, for the next start; one that has begun no step counts as not tried.
    """
    os.environ.update(environment(workspace))
    from dagster import DagsterInstance

    from ftzard.tracking import runs
    from ftzard.tracking.workspace_store import connect

    tracking, closed = connect(workspace, workspace.config()), 0
    with DagsterInstance.get() as instance:
        for run, _ in dead_runs.find_dead_runs(instance, workspace, start_s=0.0):
            dead_runs.report_ended(instance, run, reason, canceled=True)
            closed += 1 + runs.close_failed(tracking, run.run_id, "KILLED", reason)
    return closed + len(runs.reconcile(tracking))


def close_dead_runs(workspace: Workspace) -> list[str]:
    """Close Dagster runs without a worker and their MLflow runs; return their names."""
    os.environ.update(environment(workspace))
    from dagster import DagsterInstance

    with DagsterInstance.get() as instance:
        closed = dead_runs.close_dead_runs(instance, workspace)
    if closed:
        from ftzard.tracking import runs
        from ftzard.tracking.workspace_store import connect

        tracking = connect(workspace, workspace.config())
        for run_id in closed:
            runs.close_failed(tracking, run_id, "KILLED",
                              "the process that worked on the Dagster run is gone")
    return closed


def wait_for_answer(host: str, port: int, what: str, process: subprocess.Popen,
                    seconds: float = 120) -> None:
    """Wait until a server listens; raises WorkspaceError if it takes too long or ends."""
    deadline = time.monotonic() + seconds
    while not answers(host, port):
        if process.poll() is not None:
            raise WorkspaceError(f"{what} ended with code {process.returncode}; see its log in "
                                 ".ftzard/logs.")
        if time.monotonic() > deadline:
            raise WorkspaceError(f"{what} was not there after {seconds:.0f} s; see its log in "
                                 ".ftzard/logs.")
        time.sleep(0.2)


def answers(host: str, port: int) -> bool:
    """Return whether a server listens on a port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


def tool(name: str) -> str:
    """Return the path of a command installed beside this Python."""
    return str(Path(sys.executable).parent / name)
