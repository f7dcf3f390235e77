"""A kernel does not outlive the run that started it.

A run's process that is killed cannot end its kernel any more, which would train on for nobody. So
the kernel looks twice a second whether that process is still there; if not, it closes what it has
open and ends itself and whatever it has started.
"""

import os
import signal
import threading
import time
from collections.abc import Callable

from ftzard.core.locks import alive

#: In a kernel's environment: the process whose end is its own.
OF = "FTZARD_RUN_PROCESS"

_closing: list[Callable[[], object]] = []


def on_orphaned(close: Callable[[], object]) -> None:
    """Have `close` called before this kernel ends because its run's process is gone."""
    _closing.append(close)


def watch(every_s: float = 0.5, patience_s: float = 5.0) -> None:
    """Start looking after the run's process, if this kernel has one."""
    if OF in os.environ:
        threading.Thread(target=_look, args=(int(os.environ[OF]), every_s, patience_s),
                         daemon=True, name="orphan").start()


def _look(pid: int, every_s: float, patience_s: float) -> None:
    while alive(pid):
        time.sleep(every_s)
    closing = threading.Thread(target=lambda: [close() for close in _closing], daemon=True)
    closing.start()
    closing.join(patience_s)  # the store may hang; the end must come
    os.killpg(os.getpgid(0), signal.SIGKILL)
