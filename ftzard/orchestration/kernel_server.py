"""Kernels by fork: one server per run imports what the steps need, and each kernel is its fork.

A new kernel process imports for five seconds, and for six more if its step trains. Here that is
done once per run, while the run itself starts and the first steps work. If steps with a model
follow, the server forks a second one that imports their packages, so that no other step waits for
them. The servers run no step, open no device and start no thread, so a fork is as good as a new
process. They read requests as JSON lines and end with their input.

Imports create a million objects that live as long as their process. The garbage collector, which
would traverse them repeatedly (a second each time), is off while they are created and never
traverses them in the forks.
"""

import gc
import json
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from ftzard.config.pipeline import BY_NAME, JOBS
from ftzard.core import forked_worker, parent_watchdog, python_settings
from ftzard.core.artifacts import write_json
from ftzard.core.environment import SPARING
from ftzard.core.locks import alive
from ftzard.errors import WorkspaceError
from ftzard.workspace.workspace import Workspace

#: The environment variable that is set in every kernel of a run.
IN_KERNEL = "FTZARD_KERNEL"

#: Modules for every kernel, and further ones for the steps with a model. Between two of the latter
#: the server checks for requests.
EVERY = ("ipykernel.kernelapp", "ipykernel.debugger", "ftzard.definitions",
         "dagster._core.instance.factory", "scrapbook", "matplotlib.figure",
         "matplotlib.backends.backend_agg", "pyarrow.parquet", "pandas.io.formats.html",
         "ftzard.steps.step_run", "mlflow.store.tracking.sqlalchemy_store")
MODELS = ("torch", "transformers", "peft", "transformers.models.falcon",
          "transformers.models.auto", "bitsandbytes", "ftzard.steps.candidate",
          "ftzard.tasks.classification.evaluation", "ftzard.steps.evaluation",
          "ftzard.steps.trials", "ftzard.training.fit",
          "sklearn.linear_model", "sklearn.feature_extraction.text")
#: Those that every step with a model needs: the first one waits for them in the server, and has the
#: server's in its memory instead of its own beside them.
SHARED = ("torch", "transformers")
#: Steps that open no model but import what opens one: alone they would hold it a second time.
IMPORTING = ("sampling",)


#: The server has the import path of the run's own process: installed packages come before the
#: folders of PYTHONPATH.
_START = ("import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
          "from ftzard.orchestration.kernel_server import main; main()")


class Server:
    """The kernel server, seen from the run's process.

    Args:
        steps: names of the run's steps; packages for those with a model are imported beforehand.
        ahead: whether to start it now; otherwise the first request does.
    """

    def __init__(self, workspace: Workspace, steps: list[str], *, ahead: bool = True):
        self.workspace = workspace
        self._model_steps = [step for step in steps if _needs_models(step)]
        self.process: subprocess.Popen | None = None
        if ahead:
            self._start()

    def _start(self) -> None:
        kinds = ["data"] + ["models"] * bool(self._model_steps)
        self._channels, server_ends = {}, []
        for kind in kinds:
            (server_requests, requests), (answers, server_answers) = os.pipe(), os.pipe()
            self._channels[kind] = os.fdopen(requests, "wb", buffering=0), os.fdopen(answers, "rb")
            server_ends += [server_requests, server_answers]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, json.dumps(python_settings.import_path()),
             *map(str, server_ends)],
            stdin=subprocess.DEVNULL, stdout=2, pass_fds=server_ends, start_new_session=True,
            cwd=self.workspace.root, env=self.environment())
        for end in server_ends:
            os.close(end)

    def environment(self) -> dict[str, str]:
        """Return the environment of a kernel."""
        return {**python_settings.cleaned(os.environ), **SPARING, IN_KERNEL: "1",
                # Inline figures; a backend of the user's may need a screen.
                "MPLBACKEND": "module://matplotlib_inline.backend_inline",
                "JPY_PARENT_PID": "1",  # ipykernel's own watchdog would watch the server
                "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # silences the debugger's warning
                parent_watchdog.PARENT_PID: str(os.getpid()),
                "FTZARD_WORKSPACE": str(self.workspace.root)}

    def fork(self, step: str, arguments: list[str], env: dict[str, str], cwd: str) -> int:
        """Return the pid of a new kernel for a step; a killed server is replaced once.

        Raises:
            WorkspaceError: if no server starts the kernel.
        """
        if step in self._model_steps:
            self._model_steps.remove(step)
        request = {"arguments": arguments, "env": env, "cwd": cwd,
                   "with_worker": _needs_models(step), "more": bool(self._model_steps)}
        kind = "models" if _needs_models(step) else "data"
        try:
            return self._ask(kind, request)
        except (OSError, ValueError):
            self.close()
            self._start()
        try:
            return self._ask(kind, request)
        except (OSError, ValueError) as error:
            raise WorkspaceError(
                f"the process that starts kernels has ended with code {self.process.wait()}, so "
                "the step cannot run; what it said is above. Run the job again.") from error

    def call(self, function: str, arguments: Mapping) -> tuple[bool, object]:
        """Call a function in a fork of the server; return (success, its result).

        The messages of a failure are dropped; the caller repeats the call in its own process.

        Args:
            function: as `module:name`.
            arguments: its keyword arguments; they and the result must be JSON values.
        """
        with tempfile.TemporaryDirectory(prefix="ftzard-") as folder:
            answer = Path(folder) / "answer.json"
            request = {"function": function, "arguments": dict(arguments), "answer": str(answer),
                       "env": self.environment(), "more": True}
            with suppress(OSError, ValueError):  # the server has been killed
                pid = self._ask("data", request)
                while alive(pid):
                    time.sleep(0.01)
            if not answer.exists():
                return False, None
            return True, json.loads(answer.read_text(encoding="utf-8"))

    def _ask(self, kind: str, request: Mapping) -> int:
        if self.process is None:
            self._start()
        requests, answers = self._channels[kind if kind in self._channels else "data"]
        requests.write(json.dumps(request).encode() + b"\n")
        return int(answers.readline())

    def close(self) -> None:
        """End the server, if it has been started."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for requests, answers in self._channels.values():
            requests.close()
            answers.close()


def _needs_models(step: str) -> bool:
    return step in IMPORTING or step in BY_NAME and BY_NAME[step].models


def reconstructable_job(name: str):
    """Return the job of the code location in the form that a notebook op needs."""
    from dagster._core.code_pointer import ModuleCodePointer
    from dagster._core.definitions.reconstruct import ReconstructableRepository

    # No working directory: a folder of the user's called ftzard/ would be taken for this package.
    pointer = ModuleCodePointer("ftzard.definitions", "defs", None)
    return ReconstructableRepository(pointer).get_reconstructable_job(name)


def main() -> None:
    """Serve until the requests end.

    The arguments are the file descriptors of requests and answers, for one server or two.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # forks are not waited for
    exit_with_run()
    gc.disable()
    channels = [int(number) for number in sys.argv[1:]]
    for name in EVERY:
        import_module(name)
    reconstructable_job(next(iter(JOBS))).get_definition()  # each step's context needs it
    ahead = []
    if len(channels) == 4:
        models = os.fork() == 0
        if models:
            exit_with_run()  # a fork has no timers
        for end in channels[:2] if models else channels[2:]:
            os.close(end)
        channels = channels[2:] if models else channels[:2]
        # A fork of a process that has opened a GPU cannot use it.
        ahead = list(MODELS) if models and not os.path.exists("/dev/nvidia0") else []
    serve(*channels, ahead)


def exit_with_run() -> None:
    """Exit when the run's process is gone; checked twice a second, also during an import."""
    run = int(os.environ[parent_watchdog.PARENT_PID])
    signal.signal(signal.SIGALRM, lambda *_: None if alive(run) else os._exit(1))
    signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)


def serve(requests: int, answers: int, ahead: list[str]) -> None:
    """Fork a process per request; import the modules in `ahead` while there is none.

    After the last request for a step with a model the imports stop.
    """
    waiting = b""
    while True:
        if ahead and not select.select([requests], [], [], 0)[0]:
            import_quietly(ahead.pop(0))
            continue
        read = os.read(requests, 65536)
        if not read:
            return
        waiting += read
        while b"\n" in waiting:
            line, _, waiting = waiting.partition(b"\n")
            request = json.loads(line)
            ahead = ahead if request.pop("more") else []
            while request.get("with_worker") and not set(SHARED).isdisjoint(ahead):
                import_quietly(ahead.pop(0))
            gc.freeze()
            pid = os.fork()
            if pid == 0:
                os.close(answers)
                (call_function if "function" in request else become_kernel)(**request)
                return
            os.write(answers, f"{pid}\n".encode())


def import_quietly(name: str) -> None:
    """Import a module without its warnings: the steps report what is missing."""
    logging.disable(logging.WARNING)
    import_module(name)
    logging.disable(logging.NOTSET)


def become_kernel(arguments: list[str], env: dict[str, str], cwd: str, with_worker: bool) -> None:
    """Run as the kernel that `python -m ipykernel_launcher arguments` would start.

    The workspace's own modules can be imported, after all installed ones. The user's IPython
    profiles, startup files and extensions are not loaded, so that a job gives the same results for
    everybody.

    Args:
        arguments: of the kernel launcher.
        env: the environment.
        cwd: the working directory.
        with_worker: whether to fork a worker for `forked_worker.call`.
    """
    if with_worker:
        forked_worker.prepare(call_function)
    detach(env)
    os.chdir(cwd)
    sys.path.append(cwd)
    from ipykernel.kernelapp import IPKernelApp

    class StepKernelApp(IPKernelApp):
        def load_config_file(self, *_, **__):
            """Read no config of the user's."""

        def init_code(self):
            """Run no startup file."""
            self._run_cmd_line_code()

    app = StepKernelApp.instance(ignore_cwd=True)
    try:
        app.initialize(arguments)
    except BaseException:  # exit without waiting for sockets
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    # Dagster's own, where an event loop runs already; it would stand red in each first cell.
    warnings.filterwarnings("ignore", category=RuntimeWarning,
                            module="dagster._core.execution.context_creation_job")
    app.start()


def call_function(function: str, arguments: Mapping, answer: str, env: Mapping[str, str]) -> None:
    """Call a function, write its result if it succeeds, and exit."""
    detach(env)
    module, _, name = function.partition(":")
    failed = 1
    try:
        write_json(Path(answer), getattr(import_module(module), name)(**arguments))
        failed = 0
    finally:
        os._exit(failed)


def detach(env: Mapping[str, str]) -> None:
    """Become an independent process that ends with the run's process."""
    gc.enable()
    os.setsid()
    for number in (signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(env)
    parent_watchdog.watch()

