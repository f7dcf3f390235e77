"""Processes that begin as forks of one that has made their imports.

A command that runs a job, its kernels, its DVC, and the process in which a saved adapter is opened
begin with five to fifteen seconds of imports each, a third of the processor time of all whole-job
tests. Here `subprocess.Popen` asks a server for them: it has imported what they need, runs nothing
itself, and forks. Such a process has the arguments, the environment, the working directory and the
open files that it was to have. What is started otherwise (with Python settings of its own, as
another user, on a terminal, with limits) begins as usual, and so does whatever is not listed in
`target`.
"""

import array
import atexit
import fcntl
import gc
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

TOOLS = Path(sys.executable).parent
ROOT = Path(__file__).parent.parent
KILLS = ROOT / "tests" / "faults" / "site"
#: Commands that end as fast without, or serve: their start is what their tests look at.
COLD = {"ui", "lab", "mlflow-server", "completion", "label", "--version", "--help"}
#: Variables that Python or a library reads when it starts. PYTHONPATH is looked at by itself.
READ_AT_START = ("PYTHON", "MLFLOW_", "HF_", "TRANSFORMERS_", "TORCH", "OMP_", "GOMP_", "MKL_",
                 "OPENBLAS", "LD_", "DVC_", "XDG_", "HOME", "CUDA", "LC_", "LANG", "TZ", "KMP_")
OF_NO_MATTER = ("PYTHONPATH", "LC_ALL", "PYTHONWARNINGS", "PYTHONUTF8", "DVC_NO_ANALYTICS",
                "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION")
#: What is imported; in this order, as the kernels' own server does.
MODULES = ("ftzard.cli.start", "ftzard.cli.jobs", "ftzard.cli.workspaces", "ftzard.api",
           "ftzard.orchestration.launch", "ftzard.orchestration.jobs",
           "ftzard.orchestration.assets", "ftzard.orchestration.launchpad",
           "ftzard.orchestration.sensors", "ftzard.orchestration.schedules",
           "dagster._core.definitions.reconstruct", "dvc.repo", "dvc.cli", "dvc.commands.data_sync",
           "dvc.commands.add", "dvc_objects.fs.local", "ftzard.tasks.verification",
           "ftzard.tasks.benchmark", "ftzard.registry.predict", "ftzard.steps.reproduce")
#: Ends whatever the kernels' server is given on its command line.
KERNELS = "from ftzard.orchestration.kernel_server import main; main()"
VERIFICATION = "from ftzard.tasks import verification"



def _limits() -> list[tuple[int, int]]:
    """Return how large a file and the memory of this process, and of what it starts, may be."""
    return [resource.getrlimit(kind) for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_AS)]


_Popen = subprocess.Popen
_LIMITS = _limits()
_address: str | None = None
_environment: dict[str, str] = {}


def target(arguments: Sequence[str]) -> str | None:
    """Return what a command line runs: 'command', 'code', 'module' or 'file'; None if it is none
    of the processes that begin as a fork."""
    words = [os.fspath(word) for word in arguments]
    if words[0] == str(TOOLS / "ftzard"):
        return "command" if len(words) > 1 and words[1] not in COLD else None
    if words[:2] != [sys.executable, "-P"]:
        return None
    if words[2] == "-c" and (words[3].endswith(KERNELS) or VERIFICATION in words[3]):
        return "code"
    if words[2:4] == ["-m", "ftzard.tasks.benchmark"]:
        return "module"
    return "file" if words[2].endswith("/ftzard/versioning/dvc_process.py") else None


def same_start(environment: Mapping[str, str]) -> bool:
    """Return whether a process with these variables would start as the server did."""
    def read(variables: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in variables.items()
                if name.startswith(READ_AT_START) and name not in OF_NO_MATTER}

    own = {folder for folder in environment.get("PYTHONPATH", "").split(os.pathsep)
           if folder and folder not in {*sys.path, str(ROOT), str(KILLS), str(TOOLS)}}
    return not own and read(environment) == read(_environment)


class Process(_Popen):
    """A `Popen` whose process is forked from the server, where `target` knows it."""

    _channel: socket.socket | None = None

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env,
                       startupinfo, creationflags, shell, p2cread, p2cwrite, c2pread, c2pwrite,
                       errread, errwrite, restore_signals, gid, gids, uid, umask,
                       start_new_session, process_group):
        environment = {os.fsdecode(name): os.fsdecode(value)
                       for name, value in (os.environ if env is None else env).items()}
        odd = (isinstance(args, str | bytes) or executable or preexec_fn or shell or not close_fds
               or gid is not None or gids is not None or uid is not None or umask != -1
               or process_group != -1 or _address is None or _limits() != _LIMITS)
        kind = None if odd else target(args)
        ends = [end if end != -1 else number
                for number, end in enumerate((p2cread, c2pwrite, errwrite))]
        if kind is None or not same_start(environment) or os.isatty(ends[0]) or any(
                signal.getsignal(number) == signal.SIG_IGN
                for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)):
            return super()._execute_child(
                args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo,
                creationflags, shell, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite,
                restore_signals, gid, gids, uid, umask, start_new_session, process_group)
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._channel.connect(_address)
        numbers = [0, 1, 2, *map(int, pass_fds)]
        request = {"kind": kind, "arguments": [os.fspath(word) for word in args],
                   "environment": environment, "at": os.fspath(cwd or os.getcwd()),
                   "session": bool(start_new_session), "numbers": numbers}
        encoded = json.dumps(request).encode()
        self._channel.sendmsg([len(encoded).to_bytes(8, "big")], [(
            socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [*ends, *map(int, pass_fds)]))])
        self._channel.sendall(encoded)
        self.pid = int.from_bytes(_exactly(self._channel, 4), "big")
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _internal_poll(self, _deadstate=None, **more):
        if self._channel is None:
            return super()._internal_poll(_deadstate, **more)
        if self.returncode is None and select.select([self._channel], [], [], 0)[0]:
            self._handle_exitstatus(self._status())
        return self.returncode

    def _try_wait(self, wait_flags):
        if self._channel is None:
            return super()._try_wait(wait_flags)
        if wait_flags & os.WNOHANG and not select.select([self._channel], [], [], 0)[0]:
            return 0, 0
        return self.pid, self._status()

    def _status(self) -> int:
        """Return how the process ended; of one that outlived the server, that it was killed."""
        try:
            return int.from_bytes(_exactly(self._channel, 4), "big")
        except (EOFError, OSError):
            return signal.SIGKILL
        finally:
            self._channel.close()

    def __del__(self, **more):
        if self._channel is None:
            super().__del__(**more)
        else:
            self._channel.close()


def _exactly(channel: socket.socket, count: int) -> bytes:
    read = b""
    while len(read) < count:
        piece = channel.recv(count - len(read))
        if not piece:
            raise EOFError
        read += piece
    return read


def script(folder: Path) -> Path:
    """Write a command `ftzard` that begins as a fork; return the folder to put into PATH."""
    folder.mkdir(exist_ok=True)
    file = folder / "ftzard"
    file.write_text(f"""#!{sys.executable} -IS
import os, runpy, signal, sys
warm = runpy.run_path({__file__!r})
arguments = [{str(TOOLS / "ftzard")!r}, *sys.argv[1:]]
if warm["target"](arguments) is None:
    os.execv(arguments[0], arguments)
variables = warm["target"].__globals__
variables["_address"], variables["_environment"] = {_address!r}, {_environment!r}
command = warm["Process"](arguments)
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(number) != signal.SIG_IGN:
        signal.signal(number, lambda number, _: command.send_signal(number))
sys.exit(command.wait())
""")
    file.chmod(0o755)
    return folder


class Server:
    """The process that is forked, started with the first command that begins as a fork."""

    def __enter__(self) -> "Server":
        global _address, _environment
        self._room = tempfile.TemporaryDirectory(prefix="warm-")
        _address = f"{self._room.name}/s"
        _environment = dict(os.environ)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(_address)
        self._listening.listen(64)
        self._alive, end = os.pipe()
        code = f"import runpy; runpy.run_path({__file__!r})['serve']({_address!r}"
        self._process = _Popen(
            [sys.executable, "-P", "-c", f"{code}, {self._listening.fileno()}, {self._alive})"],
            pass_fds=[self._listening.fileno(), self._alive], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, cwd="/", env=_environment)
        os.close(self._alive)
        self._listening.close()
        self._end = end
        subprocess.Popen = Process
        return self

    def __exit__(self, *_: object) -> None:
        global _address
        subprocess.Popen, _address = _Popen, None
        os.close(self._end)  # the server ends with it
        self._process.wait()
        self._room.cleanup()


@contextmanager
def none_forked() -> Iterator[None]:
    """Let every process begin as usual: for tests that look at processes, or kill them."""
    forked, subprocess.Popen = subprocess.Popen, _Popen
    try:
        yield
    finally:
        subprocess.Popen = forked


def serve(address: str, listening: int, alive: int) -> None:
    """Fork a process per connection, until the tests have ended."""
    global _address, _environment
    listener = socket.socket(fileno=listening)
    if not select.select([listener, alive], [], [])[0].count(listener):
        os._exit(0)  # no test has asked for a process
    _address, _environment = address, dict(os.environ)
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # as each kernel has it
    gc.disable()
    from ftzard.orchestration import kernel_server

    for name in (*kernel_server.EVERY, *kernel_server.MODELS, *MODULES):
        if name != "ftzard.definitions":  # it reads the workspace, which each process has its own
            importlib.import_module(name)
    assert "ftzard.definitions" not in sys.modules
    gc.collect()
    gc.freeze()
    subprocess.Popen = Process
    opened = {int(name) for name in os.listdir("/proc/self/fd")} - {listening, alive}
    children: dict[int, tuple[int, socket.socket]] = {}
    while True:
        ready = select.select([listener, alive, *children], [], [])[0]
        if alive in ready:
            os._exit(0)
        for handle in [end for end in ready if end in children]:
            pid, channel = children.pop(handle)
            status = os.waitpid(pid, 0)[1]
            os.close(handle)
            with suppress(OSError):  # whoever started it does not wait for it
                channel.sendall(status.to_bytes(4, "big"))
            channel.close()
        if listener in ready:
            channel = listener.accept()[0]
            try:
                request, ends = _received(channel)
            except (EOFError, OSError):
                channel.close()
                continue
            pid = os.fork()
            if pid == 0:
                _become(request, ends, opened)
            for end in ends:
                os.close(end)
            children[os.pidfd_open(pid)] = pid, channel
            with suppress(OSError):
                channel.sendall(pid.to_bytes(4, "big"))


def _received(channel: socket.socket) -> tuple[dict, list[int]]:
    head, ends, _, _ = socket.recv_fds(channel, 8, 64)
    while len(head) < 8:
        head += _exactly(channel, 8 - len(head))
    return json.loads(_exactly(channel, int.from_bytes(head, "big"))), list(ends)


def _become(request: Mapping, ends: Sequence[int], opened: set[int]) -> None:
    """Be the process that was asked for, from its start to its end."""
    status = 1
    try:
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 500) for end in ends]
        for number in map(int, os.listdir("/proc/self/fd")):
            if 2 < number < 500 and number not in opened:
                with suppress(OSError):  # the listing's own
                    os.close(number)
        for end, number in zip(high, request["numbers"], strict=True):
            os.dup2(end, number, inheritable=number < 3)
            os.close(end)
            if number > 2:
                os.set_inheritable(number, False)
        sys.stdin = open(0, encoding="utf-8", closefd=False)
        for number, stream, errors in ((1, "stdout", "strict"), (2, "stderr", "backslashreplace")):
            setattr(sys, stream, open(number, "w", encoding="utf-8", errors=errors, closefd=False,
                                      buffering=1 if number == 2 else -1))
            setattr(sys, f"__{stream}__", getattr(sys, stream))
        if request["session"]:
            os.setsid()
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["at"])
        time.tzset()
        gc.enable()
        if "MPLBACKEND" in os.environ:
            sys.modules["matplotlib"].rcParams["backend"] = os.environ["MPLBACKEND"]
        if "KILL_AT" in os.environ:
            runpy.run_path(str(KILLS / "sitecustomize.py"))
        status = _run(request["kind"], request["arguments"])
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            threading._shutdown()
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status & 255)


def _run(kind: str, arguments: Sequence[str]) -> int:
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    if kind == "command":
        sys.argv = list(arguments)
        sys.modules["ftzard.cli.start"].main()
    elif kind == "code":
        sys.argv = ["-c", *arguments[4:]]
        exec(compile(arguments[3], "<string>", "exec"), main.__dict__)
    elif kind == "module":
        sys.argv = list(arguments[3:])
        module = sys.modules.pop(arguments[3])
        sys.argv[0] = module.__file__
        runpy.run_module(arguments[3], run_name="__main__")
    else:
        sys.argv = list(arguments[2:])
        runpy.run_path(arguments[2], run_name="__main__")
    return 0
