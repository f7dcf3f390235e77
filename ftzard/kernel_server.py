"""Kernels by fork: one process per run imports what the steps need, and each kernel is its copy.

A kernel that starts from nothing imports for five seconds, and for six more if its step trains.
Here that is paid once per run, while the run itself starts and the first steps work. The server
runs no step, opens no device and starts no thread of its own: a copy is as good as a fresh
process. It is told what to do in JSON lines on its standard input and ends when that does.
"""

import json
import logging
import os
import select
import signal
import subprocess
import sys
from importlib import import_module

from ftzard import orphan
from ftzard.errors import WorkspaceError
from ftzard.steps import BY_NAME, JOBS
from ftzard.workspace import Workspace

#: Set in every kernel that a run starts, so that code loaded there knows where it is.
IN_KERNEL = "FTZARD_KERNEL"

#: Waiting threads of torch sleep after a short spin. Without the sleep two training processes on
#: the same cores slow each other down many times; without the spin one alone takes 1.4 times as
#: long.
PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}

#: What every kernel needs, and what the steps with a model need besides, in small bites: between
#: two of them the server looks whether a kernel is asked for.
EVERY = ("ipykernel.kernelapp", "ftzard.definitions", "scrapbook", "matplotlib",
         "ftzard.notebooks.chapter")
MODELS = ("torch", "pyarrow.parquet", "transformers", "peft", "transformers.models.falcon",
          "transformers.models.auto", "bitsandbytes", "ftzard.notebooks.candidates",
          "ftzard.notebooks.contests", "ftzard.notebooks.trials", "ftzard.models.fitting")


class Server:
    """The far end, as the run's process sees it.

    steps: names of the steps that will come; those with a model are imported for beforehand.
    """

    def __init__(self, workspace: Workspace, steps: list[str]):
        models = any(BY_NAME[s].models for s in steps if s in BY_NAME)
        self.workspace, self.steps = workspace, steps
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ftzard.kernel_server", "models" if models else "data"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
            cwd=workspace.root, env=self.environment())

    def environment(self) -> dict[str, str]:
        """Return the environment of a kernel."""
        return {**os.environ, **PATIENT_THREADS, IN_KERNEL: "1",
                "JPY_PARENT_PID": "1",  # ipykernel's own watch could not know whom to look at
                orphan.OF: str(os.getpid()), "FTZARD_WORKSPACE": str(self.workspace.root)}

    def fork(self, arguments: list[str], env: dict[str, str], cwd: str) -> int:
        """Return the pid of a new kernel; raises WorkspaceError if the server is gone."""
        order = json.dumps({"arguments": arguments, "env": env, "cwd": cwd}) + "\n"
        try:
            self.process.stdin.write(order.encode())
            self.process.stdin.flush()
            return int(self.process.stdout.readline())
        except (OSError, ValueError) as error:
            raise WorkspaceError(
                f"the process that starts kernels has ended with code {self.process.wait()}, so "
                "the step cannot run; what it said is above. Run the job again.") from error

    def again(self) -> "Server":
        """Return a new server in place of this one, which has ended."""
        self.close()
        return Server(self.workspace, self.steps)

    def close(self) -> None:
        """End the server."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def reconstructable_job(name: str):
    """Return the job of the code location in the form that a notebook op needs."""
    from dagster._core.code_pointer import ModuleCodePointer
    from dagster._core.definitions.reconstruct import ReconstructableRepository

    place = os.environ.get("FTZARD_WORKSPACE") or os.getcwd()
    pointer = ModuleCodePointer("ftzard.definitions", "defs", place)
    return ReconstructableRepository(pointer).get_reconstructable_job(name)


def main() -> None:
    """Serve until standard input ends. Argument: whether steps with a model will come."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the copies that ended
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    orders = sys.stdin.buffer.raw
    for name in EVERY:
        import_module(name)
    reconstructable_job(next(iter(JOBS))).get_definition()  # each step's context needs it
    ahead = list(MODELS) if sys.argv[1] == "models" and not os.path.exists("/dev/nvidia0") else []
    waiting = b""
    while True:
        if ahead and not select.select([orders], [], [], 0)[0]:
            logging.disable(logging.WARNING)  # what packages miss is said by those who need it
            import_module(ahead.pop(0))
            logging.disable(logging.NOTSET)
            continue
        read = orders.read(65536)
        if not read:
            return
        waiting += read
        while b"\n" in waiting:
            line, _, waiting = waiting.partition(b"\n")
            pid = os.fork()
            if pid == 0:
                answers.close()
                become_kernel(**json.loads(line))
                return
            answers.write(f"{pid}\n")
            answers.flush()


def become_kernel(arguments: list[str], env: dict[str, str], cwd: str) -> None:
    """Be the kernel that `python -m ipykernel_launcher arguments` would be, to its end."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path.insert(0, "")
    from ipykernel.kernelapp import IPKernelApp

    orphan.watch()
    app = IPKernelApp.instance()
    app.initialize(arguments)
    app.start()


if __name__ == "__main__":
    main()
