"""End a kernel when the process of its run is gone.

The process of a run that is killed cannot end its kernel, which would go on training. So the
kernel checks twice a second whether that process is alive; if not, it closes what is open and
kills its process group.
"""

import os
import signal
import threading
import time
from collections.abc import Callable

from ftzard.core.locks import alive

#: The environment variable with the id of the run's process.
PARENT_PID = "FTZARD_RUN_PROCESS"

_callbacks: list[Callable[[], object]] = []


def on_orphaned(close: Callable[[], object]) -> None:
    """Register a callback for the end of a kernel whose run's process is gone."""
    _callbacks.append(close)


def watch(every_s: float = 0.5, patience_s: float = 5.0) -> None:
    """Start the watchdog thread, if this kernel belongs to a run.

    Args:
        every_s: seconds between two checks.
        patience_s: seconds that the callbacks have before the process group is killed.
    """
    if PARENT_PID in os.environ:
        threading.Thread(target=_watch, args=(int(os.environ[PARENT_PID]), every_s, patience_s),
                         daemon=True, name="parent watchdog").start()


def _watch(pid: int, every_s: float, patience_s: float) -> None:
    while alive(pid):
        time.sleep(every_s)
    closing = threading.Thread(target=lambda: [close() for close in _callbacks], daemon=True)
    closing.start()
    closing.join(patience_s)  # a tracking server may not answer
    os.killpg(os.getpgid(0), signal.SIGKILL)
