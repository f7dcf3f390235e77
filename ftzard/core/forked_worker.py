"""Workers forked after the imports, each used for one call.

A saved adapter is verified in a process that knows only its files. Such a process would begin with
seconds of imports; a worker that was forked after them, and before anything else, starts at once.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_workers: list["ForkedWorker"] = []


def prepare(work: Callable[..., None]) -> None:
    """Fork a worker that waits for one call of `work`, with the arguments of `call`."""
    _workers.append(ForkedWorker(work))


def call(function: str, arguments: Mapping[str, Any], answer: Path, *, timeout: float) -> bool:
    """Have a worker call a function and write its result to a file.

    Args:
        function: the function as `module:name`.
        arguments: its keyword arguments, as JSON takes them.
        answer: the file for the result, as JSON.
        timeout: seconds after which the worker is killed.

    Returns:
        Whether the call succeeded; False also if no worker is left.
    """
    if not _workers:
        return False
    return _workers.pop().call({"function": function, "arguments": dict(arguments),
                                "answer": str(answer), "env": dict(os.environ)}, timeout) == 0


class ForkedWorker:
    """A forked process that waits for one request, seen from its parent."""

    def __init__(self, work: Callable[..., None]):
        requests, self._requests = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._requests)
            _serve(requests, work)
        os.close(requests)

    def call(self, request: Mapping[str, Any], timeout: float) -> int:
        """Send the request and return the worker's exit code; it is killed after `timeout` seconds.
        """
        with suppress(BrokenPipeError), os.fdopen(self._requests, "w") as stream:  # it was killed
            stream.write(json.dumps(request))
        deadline = time.monotonic() + timeout
        while not (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                ended = os.waitpid(self.pid, 0)
                break
            time.sleep(0.01)
        return os.waitstatus_to_exitcode(ended[1])


def _serve(requests: int, work: Callable[..., None]) -> None:
    """Handle one request; exit without one when the parent is gone."""
    try:
        with os.fdopen(requests) as stream:
            request = stream.read()
        if request:
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (1, 2):  # a failed call is repeated elsewhere, with its messages
                os.dup2(null, descriptor)
            work(**json.loads(request))
    finally:
        os._exit(1)
