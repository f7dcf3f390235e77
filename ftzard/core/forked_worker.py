"""A copy of this process from before it did anything, which waits for one piece of work.

Some work must not be done where its answer is wanted: whether a saved adapter answers as the
trained one did is seen by a process that knows nothing but the files. Such a process begins with
seconds of imports; a copy made when this one had its imports behind it, and nothing else, does not.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

_waiting: list["ForkedWorker"] = []


def keep(work: Callable[..., None]) -> None:
    """Have a copy of this process wait. `work` is what it calls then, with what it is told."""
    _waiting.append(ForkedWorker(work))


def do(function: str, arguments: Mapping, answer: Path, *, timeout: float) -> bool:
    """Have a waiting copy call `module:function`; return whether it did so without failing.

    arguments: by name, such as JSON can say; answer: a file for what is returned, as JSON; timeout:
    seconds after which the copy is ended. A copy does one piece of work: with none left, or if it
    fails, nothing is told, and whoever asks does it in another way.
    """
    if not _waiting:
        return False
    return _waiting.pop().do({"function": function, "arguments": dict(arguments),
                              "answer": str(answer), "env": dict(os.environ)}, timeout) == 0


class ForkedWorker:
    """The copy, as the process sees it that it is a copy of."""

    def __init__(self, work: Callable[..., None]):
        orders, self._orders = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._orders)
            _be(orders, work)
        os.close(orders)

    def do(self, order: Mapping, timeout: float) -> int:
        """Return the exit code of the copy; after `timeout` seconds it is killed."""
        with suppress(BrokenPipeError), os.fdopen(self._orders, "w") as orders:  # it was killed
            orders.write(json.dumps(order))
        deadline = time.monotonic() + timeout
        while not (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                ended = os.waitpid(self.pid, 0)
                break
            time.sleep(0.01)
        return os.waitstatus_to_exitcode(ended[1])


def _be(orders: int, work: Callable[..., None]) -> None:
    """Wait for an order, or for the end of whoever could give one."""
    try:
        with os.fdopen(orders) as stream:
            order = stream.read()
        if order:
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (1, 2):  # what fails here is done again, and says so there
                os.dup2(nothing, stream)
            work(**json.loads(order))
    finally:
        os._exit(1)
