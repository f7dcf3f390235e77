"""How commands reach a process that has DVC imported: one of its own, or a fork of a warm one.

Importing DVC takes longer than most of its commands. A run starts one process (`WarmDvc`) that
imports it while the first step works; each Git_Dvc then has a fork of that for itself, which is as
good as a new process.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from ftzard.core import python_settings
from ftzard.versioning.git import environment

_PROCESS = Path(__file__).with_name("dvc_process.py")
#: The environment variable with the socket of the run's warm process.
SOCKET = "FTZARD_DVC_SOCKET"


def _environment() -> dict[str, str]:
    return {**python_settings.for_child(environment()), "DVC_NO_ANALYTICS": "1", "PYTHONUTF8": "1"}


class OwnProcess:
    """A process for one connection.

    Attributes:
        requests, answers: lines to it and from it.
    """

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_PROCESS)], cwd=root, encoding="utf-8",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=_environment())
        assert self._process.stdin is not None and self._process.stdout is not None
        self.requests: TextIO = self._process.stdin
        self.answers: TextIO = self._process.stdout

    def started(self, pid: int) -> None:
        """Take note of the process that answers."""

    def ended(self) -> str:
        """Return how the process has ended, when its answers have."""
        return f"code {self._process.wait()}"

    def close(self, *, at_once: bool) -> None:
        """End the process; at_once: what it does is not waited for."""
        if at_once:
            self._process.terminate()
        with suppress(BrokenPipeError):
            self.requests.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.answers.close()


class ForkedProcess:
    """A fork of the run's warm process, through a socket; attributes as `OwnProcess`."""

    def __init__(self, root: Path, path: str) -> None:
        self._socket, self._pid = socket.socket(socket.AF_UNIX), 0
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self.requests: TextIO = self._socket.makefile("w", encoding="utf-8")
        self.answers: TextIO = self._socket.makefile("r", encoding="utf-8")
        self.requests.write(json.dumps({"root": str(root), "env": _environment()}) + "\n")
        self.requests.flush()

    def started(self, pid: int) -> None:
        """Take note of the process that answers."""
        self._pid = pid

    def ended(self) -> str:
        """Return how the process has ended, when its answers have."""
        return "no answer"

    def close(self, *, at_once: bool) -> None:
        """End the process; at_once: what it does is not waited for."""
        if at_once and self._pid:
            with suppress(ProcessLookupError):  # it has ended by itself
                os.kill(self._pid, signal.SIGTERM)
        with suppress(OSError):
            self.requests.close()
        self.answers.close()
        self._socket.close()


def connect(root: Path) -> OwnProcess | ForkedProcess:
    """Return a process for DVC commands in a folder."""
    path = os.environ.get(SOCKET)
    if path:
        with suppress(OSError):  # the run's process has been killed
            return ForkedProcess(root, path)
    return OwnProcess(root)


class WarmDvc:
    """A process that imports DVC once and forks for whoever connects; it ends with this one."""

    def __init__(self, root: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ftzard-"))
        self.path = str(self._folder / "dvc")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(self.path)
            server.listen()  # who connects from now on waits for the imports
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_PROCESS), str(server.fileno())], cwd=root,
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True, pass_fds=[server.fileno()], env=_environment())

    def close(self) -> None:
        """End the process and its forks' parent; a fork ends with its own connection."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
