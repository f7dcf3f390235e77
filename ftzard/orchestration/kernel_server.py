"""Kernels by fork: one process per run imports what the steps need, and each kernel is its copy.

A kernel that starts from nothing imports for five seconds, and for six more if its step trains.
Here that is paid once per run, while the run itself starts and the first steps work. If steps with
a model will come, the server forks a second one, which imports for them ahead of time: no other
step waits for that. The servers run no step, open no device and start no thread of their own: a
copy is as good as a fresh process. They are told what to do in JSON lines and end when those do.

Imports leave a million objects that live as long as their process. The garbage collector, which
would look through them all again and again (a second each time), is off while they are made and
never looks at them in the copies.
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

#: Set in every kernel that a run starts, so that code loaded there knows where it is.
IN_KERNEL = "FTZARD_KERNEL"

#: What every kernel needs, and what the steps with a model need besides, in small bites: between
#: two of them the server looks whether a kernel is asked for.
EVERY = ("ipykernel.kernelapp", "ipykernel.debugger", "ftzard.definitions",
         "dagster._core.instance.factory", "scrapbook", "matplotlib.figure",
         "matplotlib.backends.backend_agg", "pyarrow.parquet", "pandas.io.formats.html",
         "ftzard.steps.step_run", "mlflow.store.tracking.sqlalchemy_store")
MODELS = ("torch", "transformers", "peft", "transformers.models.falcon",
          "transformers.models.auto", "bitsandbytes", "ftzard.steps.candidate",
          "ftzard.tasks.classification.evaluation", "ftzard.steps.trials", "ftzard.training.fit",
          "sklearn.linear_model", "sklearn.feature_extraction.text")


#: The server imports what the run's own process would: what is installed, before anything that
#: PYTHONPATH names.
_START = ("import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
          "from ftzard.orchestration.kernel_server import main; main()")


class Server:
    """The far end, as the run's process sees it.

    steps: names of the steps that will come; those with a model are imported for beforehand.
    """

    def __init__(self, workspace: Workspace, steps: list[str]):
        self.workspace = workspace
        self._models_to_come = [step for step in steps if _needs_models(step)]
        self._start()

    def _start(self) -> None:
        kinds = ["data"] + ["models"] * bool(self._models_to_come)
        self._ways, theirs = {}, []
        for kind in kinds:
            (their_orders, orders), (answers, their_answers) = os.pipe(), os.pipe()
            self._ways[kind] = os.fdopen(orders, "wb", buffering=0), os.fdopen(answers, "rb")
            theirs += [their_orders, their_answers]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, json.dumps(python_settings.import_path()),
             *map(str, theirs)],
            stdin=subprocess.DEVNULL, stdout=2, pass_fds=theirs, start_new_session=True,
            cwd=self.workspace.root, env=self.environment())
        for end in theirs:
            os.close(end)

    def environment(self) -> dict[str, str]:
        """Return the environment of a kernel."""
        return {**python_settings.cleaned(os.environ), **SPARING, IN_KERNEL: "1",
                # Pictures are shown in the notebook; a backend of the user's would want a screen.
                "MPLBACKEND": "module://matplotlib_inline.backend_inline",
                "JPY_PARENT_PID": "1",  # ipykernel's own watch could not know whom to look at
                "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # the debugger would speak in the terminal
                parent_watchdog.PARENT_PID: str(os.getpid()), "FTZARD_WORKSPACE": str(self.workspace.root)}

    def fork(self, step: str, arguments: list[str], env: dict[str, str], cwd: str) -> int:
        """Return the pid of a new kernel for a step.

        If the server has been killed, another takes its place; raises WorkspaceError if that one
        does not start a kernel either.
        """
        if step in self._models_to_come:
            self._models_to_come.remove(step)
        order = {"arguments": arguments, "env": env, "cwd": cwd, "with_worker": _needs_models(step),
                 "more": bool(self._models_to_come)}
        kind = "models" if _needs_models(step) and "models" in self._ways else "data"
        try:
            return self._ask(kind, order)
        except (OSError, ValueError):
            self.close()
            self._start()
        try:
            return self._ask(kind if kind in self._ways else "data", order)
        except (OSError, ValueError) as error:
            raise WorkspaceError(
                f"the process that starts kernels has ended with code {self.process.wait()}, so "
                "the step cannot run; what it said is above. Run the job again.") from error

    def call(self, function: str, arguments: Mapping) -> tuple[bool, object]:
        """Have a copy of the server call `module:function`; return (success, what it returned).

        arguments: by name; they and what is returned are such as JSON can say. A failure is not
        told: whoever asks does it himself then.
        """
        with tempfile.TemporaryDirectory(prefix="ftzard-") as folder:
            answer = Path(folder) / "answer.json"
            order = {"function": function, "arguments": dict(arguments), "answer": str(answer),
                     "env": self.environment(), "more": True}
            with suppress(OSError, ValueError):  # the server has been killed
                pid = self._ask("data", order)
                while alive(pid):
                    time.sleep(0.01)
            if not answer.exists():
                return False, None
            return True, json.loads(answer.read_text(encoding="utf-8"))

    def _ask(self, kind: str, order: Mapping) -> int:
        orders, answers = self._ways[kind]
        orders.write(json.dumps(order).encode() + b"\n")
        return int(answers.readline())

    def close(self) -> None:
        """End the server."""
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for orders, answers in self._ways.values():
            orders.close()
            answers.close()


def _needs_models(step: str) -> bool:
    return step in BY_NAME and BY_NAME[step].models


def reconstructable_job(name: str):
    """Return the job of the code location in the form that a notebook op needs."""
    from dagster._core.code_pointer import ModuleCodePointer
    from dagster._core.definitions.reconstruct import ReconstructableRepository

    # No working directory: a folder of the user's called ftzard/ would be taken for this package.
    pointer = ModuleCodePointer("ftzard.definitions", "defs", None)
    return ReconstructableRepository(pointer).get_reconstructable_job(name)


def main() -> None:
    """Serve until the orders end. Arguments: descriptors of orders and answers, once or twice."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the copies that ended
    end_with_the_run()
    gc.disable()
    ways = [int(number) for number in sys.argv[1:]]
    for name in EVERY:
        import_module(name)
    reconstructable_job(next(iter(JOBS))).get_definition()  # each step's context needs it
    ahead = []
    if len(ways) == 4:
        models = os.fork() == 0
        if models:
            end_with_the_run()  # a fork has no timers
        for end in ways[:2] if models else ways[2:]:
            os.close(end)
        ways = ways[2:] if models else ways[:2]
        # A copy of a process that has opened a GPU could not use it.
        ahead = list(MODELS) if models and not os.path.exists("/dev/nvidia0") else []
    serve(*ways, ahead)


def end_with_the_run() -> None:
    """Look twice a second whether the run's process is there, also in the middle of an import."""
    run = int(os.environ[parent_watchdog.PARENT_PID])
    signal.signal(signal.SIGALRM, lambda *_: None if alive(run) else os._exit(1))
    signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)


def serve(orders: int, answers: int, ahead: list[str]) -> None:
    """Fork a kernel per order; import what stands in `ahead` while there is none.

    After the last order with a model nobody is left to import for.
    """
    waiting = b""
    while True:
        if ahead and not select.select([orders], [], [], 0)[0]:
            logging.disable(logging.WARNING)  # what packages miss is said by those who need it
            import_module(ahead.pop(0))
            logging.disable(logging.NOTSET)
            continue
        read = os.read(orders, 65536)
        if not read:
            return
        waiting += read
        while b"\n" in waiting:
            line, _, waiting = waiting.partition(b"\n")
            order = json.loads(line)
            ahead = ahead if order.pop("more") else []
            gc.freeze()
            pid = os.fork()
            if pid == 0:
                os.close(answers)
                (call_function if "function" in order else become_kernel)(**order)
                return
            os.write(answers, f"{pid}\n".encode())


def become_kernel(arguments: list[str], env: dict[str, str], cwd: str, with_worker: bool) -> None:
    """Be the kernel that `python -m ipykernel_launcher arguments` would be, to its end.

    Modules of the workspace's own are found, behind all that is installed. What the user's IPython
    would load at its start (profiles, startup files, extensions) is not loaded: a job gives the
    same results for everybody.

    with_worker: whether a copy of it waits for what must be done by a process that has done nothing.
    """
    if with_worker:
        forked_worker.prepare(call_function)
    stand_alone(env)
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
    except BaseException:  # it must end, and not wait for sockets that nobody will close
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    app.start()


def call_function(function: str, arguments: Mapping, answer: str, env: Mapping[str, str]) -> None:
    """Call a function, write what it returns if it succeeds, and end."""
    stand_alone(env)
    module, _, name = function.partition(":")
    failed = 1
    try:
        write_json(Path(answer), getattr(import_module(module), name)(**arguments))
        failed = 0
    finally:
        os._exit(failed)


def stand_alone(env: Mapping[str, str]) -> None:
    """Be a process of its own that ends with the run's."""
    gc.enable()
    os.setsid()
    for number in (signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(env)
    parent_watchdog.watch()

