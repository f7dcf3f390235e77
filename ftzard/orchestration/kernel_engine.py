"""Execution of a notebook op: a forked kernel that is killed at the end.

dagstermill starts a new kernel per notebook, waits seconds for its shutdown, lets an interrupted
cell run on, and reports a refusal below papermill's traceback. `install` replaces its engine:
kernels are forks of a process with all imports (`kernel_server`), a kernel is killed when its
notebook ends or the run is interrupted, the executed notebook is stored in either case, and the op
fails with the notebook's own message.
"""

import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dagster import DagsterRun, Failure, MetadataValue
from dagster._core.errors import DagsterExecutionInterruptedError
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_core.utils import run_sync

from ftzard.core.escaping import markdown_block
from ftzard.core.locks import alive
from ftzard.orchestration import launch, mlflow_bridge, run_progress, step_reuse
from ftzard.orchestration.dagstermill_import import (
    DagstermillEngine,
    DagstermillNotebookClient,
    DeadKernelError,
    PapermillExecutionError,
    PapermillNotebookClient,
    factory,
    logger,
)
from ftzard.orchestration.kernel_server import IN_KERNEL, Server
from ftzard.versioning import dvc_connection, own_code
from ftzard.workspace.workspace import Workspace

_original_execute = factory.execute_notebook
_original_events = factory._handle_events_from_notebook


def in_kernel() -> bool:
    """Return whether this process is a kernel of a run."""
    return bool(os.environ.get(IN_KERNEL))


class _Copy:
    """A forked kernel with the methods of `Popen` that a kernel manager uses."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int):
        self.pid = pid

    def poll(self) -> int | None:
        return None if alive(self.pid) else 0

    def wait(self) -> int:
        while alive(self.pid):
            time.sleep(0.01)
        return 0

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):  # it has ended by itself
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


#: How a kernel is described to jupyter; its process is a copy of the server, and what the user has
#: installed under a kernel's name is of no use to it.
_ARGV = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
_SPEC = KernelSpec(argv=_ARGV, language="python", display_name="Python 3")


class _Provisioner(LocalProvisioner):
    """Has the session's server fork a kernel where Jupyter would start one."""

    async def launch_kernel(self, cmd: list[str], **options) -> dict:
        pid = _session.server.fork(_session.step, cmd[len(_ARGV) - 2:],
                                   options["env"], str(options["cwd"]))
        self.process, self.pid, self.pgid = _Copy(pid), pid, pid
        return self.connection_info


class _Session:
    """The kernels of one run, as long as it lasts; step: the one that runs now."""

    def __init__(self, server: Server):
        self.server, self.step = server, ""
        self.sockets = Path(tempfile.mkdtemp(prefix="ftzard-"))  # a short path: sockets need one
        self._files = Path(tempfile.mkdtemp(prefix="ftzard-"))
        self._number, self._dvc = 0, None

    def take(self) -> AsyncKernelManager:
        """Return a started kernel.

        It is spoken to through files and not through ports, which something else on the machine
        could take between the moment they are chosen and the one in which the kernel opens them.
        """
        self._number += 1
        manager = AsyncKernelManager(
            kernel_name="python3", transport="ipc", ip=str(self.sockets / str(self._number)),
            connection_file=str(self._files / f"{self._number}.json"))
        manager._kernel_spec = _SPEC
        manager.provisioner = _Provisioner(
            kernel_id=str(uuid.uuid4()), kernel_spec=_SPEC, parent=manager)
        if self._dvc is None:  # its imports go on beside the first step
            self._dvc = dvc_connection.WarmDvc(self.server.workspace.root)
        run_sync(manager.start_kernel)(
            env={**self.server.environment(), "IPYTHONDIR": str(self._files / "ipython"),
                 dvc_connection.SOCKET: self._dvc.path},
            cwd=str(self.server.workspace.root),
            extra_arguments=["--HistoryManager.enabled=False"])
        return manager

    def close(self) -> None:
        """Kill all kernels and their server."""
        self.server.close()
        if self._dvc is not None:
            self._dvc.close()
        for folder in (self.sockets, self._files):
            shutil.rmtree(folder, ignore_errors=True)


_session: _Session | None = None


@contextmanager
def session(workspace: Workspace, run: DagsterRun | None, instance, *, ahead: bool = True
            ) -> Iterator[None]:
    """Own the kernels of a run; all are killed at its end.

    Args:
        ahead: Whether to start their imports now.
    """
    global _session
    server = launch.take_server() or Server(workspace, _steps(run, instance), ahead=ahead)
    _session = _Session(server)
    try:
        yield
    finally:
        _session.close()
        _session = None


def server() -> Server | None:
    """Return the kernel server of the current run."""
    return _session.server if _session else None


def _steps(run: DagsterRun | None, instance) -> list[str]:
    if run is None:
        return []
    if run.step_keys_to_execute:
        return list(run.step_keys_to_execute)
    snapshot = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
    return list(snapshot.step_keys_to_execute)


@contextmanager
def _killed_by_signals(manager: AsyncKernelManager) -> Iterator[list[int]]:
    """Kill the kernel in the signal handler; yield the received signals.

    The interruption that Dagster raises is lost if it comes while asyncio handles a message of the
    kernel, and the cell would run on. A dead kernel cannot be overlooked.
    """
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number, frame):
        seen.append(number)
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(manager.provisioner.pgid, signal.SIGKILL)
        if callable(before[number]):
            before[number](number, frame)

    for number in before:
        signal.signal(number, handle)
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class NotebookClient(DagstermillNotebookClient):
    """Runs the cells on the session's kernel; an interruption kills it."""

    def create_kernel_manager(self):
        self.km = _session.take() if _session else super().create_kernel_manager()
        if self.km.client_class != self.km.client_factory:
            self.km.client_class = "jupyter_client.asynchronous.AsyncKernelClient"
        return self.km

    def log_output_message(self, output):
        """Log a notebook's text output; other output is in the executed notebook."""
        if output.output_type == "stream":
            super().log_output_message(output)

    def papermill_execute_cells(self):
        with _killed_by_signals(self.km) as seen:
            try:
                PapermillNotebookClient.papermill_execute_cells(self)
            except BaseException:
                run_sync(self.km.shutdown_kernel)(now=True)
                if seen:
                    # The cell that was cut off is never awaited; asyncio would say so at exit.
                    logging.getLogger("asyncio").disabled = True
                    raise DagsterExecutionInterruptedError() from None
                raise


class Engine(DagstermillEngine):
    """papermill's engine for notebook ops."""

    @classmethod
    def nb_kernel_name(cls, nb, name=None):
        """Return the only kernel's name, whichever an editor wrote into the notebook."""
        return "python3"

    @classmethod
    def nb_language(cls, nb, language=None):
        return "python"

    @classmethod
    def execute_notebook(cls, nb, kernel_name, progress_bar=False, **kwargs):
        """Run a notebook without papermill's progress bar: the lines of a run say how far it is."""
        return super().execute_notebook(nb, kernel_name, progress_bar=False, **kwargs)

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, log_output=False, stdout_file=None,
                                 stderr_file=None, start_timeout=120, execution_timeout=None,
                                 **kwargs):
        return NotebookClient(
            nb_man, kernel_name=kernel_name, log=logger, log_output=log_output,
            stdout_file=stdout_file, stderr_file=stderr_file, startup_timeout=start_timeout,
            timeout=execution_timeout, shutdown_kernel="immediate").execute()


def execute_notebook(step_context, **arguments) -> str:
    """Run a notebook as dagstermill does, store the executed one and report errors first.

    A step that an earlier run has executed with the same inputs, config and code is not run.
    """
    experiment, key = step_context.resources.experiment, step_context.step.key
    folder, inputs = Path(arguments["output_notebook_dir"]), arguments["inputs"]
    question = step_reuse.ask(experiment, key, inputs)
    earlier = step_reuse.take_over(experiment, key, inputs, question, folder)
    if earlier is not None:
        return str(earlier)
    arguments["notebook_path"] = _as_it_is_now(experiment, Path(arguments["notebook_path"]))
    if _session:
        _session.step = step_context.step.key
    status, reason = "KILLED", "the run was interrupted"
    try:
        executed = _original_execute(step_context, **arguments)
        status = None
        mlflow_bridge.store_notebook_of(server(), experiment, key, executed)
        step_reuse.remember(experiment, key, inputs, question)
        return executed
    except PapermillExecutionError as error:
        status, reason = "FAILED", f"{error.ename}: {error.evalue}"
        stored = _keep(experiment, step_context, folder)
        raise Failure(
            description=str(error.evalue),
            metadata={"notebook as executed": MetadataValue.path(str(stored)),
                      "cell": error.exec_count or 0, "error": error.ename,
                      "traceback": MetadataValue.md(markdown_block(_plain(error.traceback)))},
            allow_retries=False) from None
    except DeadKernelError:
        reason = (f"the kernel of {step_context.step.key} was killed from outside, or by the "
                  "system for want of memory")
        stored = _keep(experiment, step_context, folder)
        raise Failure(
            description=f"{reason[0].upper()}{reason[1:]}. Run the job again, or re-execute it "
                        "from failure: training goes on from its last checkpoint.",
            metadata={"notebook so far": MetadataValue.path(str(stored))},
            allow_retries=False) from None
    except BaseException:
        _keep(experiment, step_context, folder)
        raise
    finally:
        if status is not None:
            mlflow_bridge.call_in_server(server(), "close", experiment, status=status,
                                         reason=reason)


def _events(step_context, executed: str):
    return step_reuse.events(step_context, _original_events, executed)


def _as_it_is_now(experiment, notebook: Path) -> str:
    """Return the notebook to run; for one of the workspace's, its snapshot."""
    place = experiment.workspace
    if not notebook.is_relative_to(place.root):
        return str(notebook)
    used = own_code.snapshot(place, [place.relative(notebook)])
    own_code.record_used(place, experiment.run_id, used)
    return str(next((own_code.snapshot_file(place, one) for one in used.values()), notebook))


def _plain(traceback: list[str]) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(traceback))


def _keep(experiment, step_context, folder: Path) -> Path:
    target = experiment.workspace.executed_notebook(experiment.run_id, step_context.step.key)
    written = sorted(folder.glob("*-out.ipynb"), key=lambda p: p.stat().st_mtime)
    if written:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(written[-1], target)
    return target


def _is_no_counter(record: logging.LogRecord) -> bool:
    """Return whether a log record of papermill's is more than the number of a cell."""
    return not record.getMessage().startswith(run_progress.PAPERMILL_MESSAGES)


def install() -> None:
    """Make dagstermill use this module; called once, where the ops are defined."""
    logger.addFilter(_is_no_counter)  # a run's events are what happened, and what notebooks say
    factory.DagstermillEngine = Engine
    factory.execute_notebook = execute_notebook
    factory._handle_events_from_notebook = _events

