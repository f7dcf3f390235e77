"""Which process works on a run, and whether it still does, also if that is on another machine.

Beside a run lies `worker.json`, which names its process, and a file `lease` that the process
touches again and again. On this machine the process is asked for. A process of another machine, or
of a container that is gone, cannot be: its run is dead once its lease has not been renewed for
`LEASE_S`. A machine that slept for longer finds its lease gone when it wakes, and ends its run.
"""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ftzard.core.artifacts import write_json
from ftzard.core.locks import alive
from ftzard.workspace.workspace import Workspace

#: Seconds for which a lease counts, and between two renewals. The clocks of two machines that share
#: a workspace may differ by a minute.
LEASE_S, RENEW_S = 150.0, 15.0
#: A run of a version without leases, on another machine, counts as dead after a day.
WITHOUT_LEASE_S = 86_400.0


@contextmanager
def holding(workspace: Workspace, run_id: str) -> Iterator[None]:
    """Record this process as the one that works on a run, renewed as long as the block lasts."""
    take(workspace, run_id)
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(_lease(workspace, run_id), ended),
                                daemon=True, name="lease")
    renewing.start()
    try:
        yield
    finally:
        ended.set()


def take(workspace: Workspace, run_id: str) -> None:
    """Record the process that works on a run, so that its death can be noticed."""
    write_json(_worker(workspace, run_id), {
        "pid": os.getpid(), "born": _born(os.getpid()), "started": time.time(), **machine()})
    _lease(workspace, run_id).touch()


def _renew(lease: Path, ended: threading.Event) -> None:
    while not ended.wait(RENEW_S):
        try:
            os.utime(lease)
        except FileNotFoundError:  # the run was reported as dead, and another may be at work by now
            os.kill(os.getpid(), signal.SIGTERM)
            return
        except OSError:
            continue  # the disk may come back before the lease runs out


def machine() -> dict[str, str]:
    """Return an identifier of this machine or container and its boot."""
    identifiers = {"host": socket.gethostname(), "boot": "", "processes": ""}
    with suppress(OSError):  # not on Linux
        identifiers["boot"] = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        identifiers["processes"] = os.readlink("/proc/self/ns/pid")
    return identifiers


def was_started(workspace: Workspace, run_id: str) -> bool:
    """Return whether a process has started to work on a run."""
    return _worker(workspace, run_id).is_file()


def lost(workspace: Workspace, run_id: str, now: float) -> str | None:
    """Return why the process of a run is considered dead, or None if it is alive.

    Args:
        now: Seconds since 1970.
    """
    worker = json.loads(_worker(workspace, run_id).read_text(encoding="utf-8"))
    pid, host, here = int(worker["pid"]), worker["host"], machine()
    if all(worker.get(key, here[key]) == here[key] for key in here):
        # A pid that counts up quickly comes round again: another process may have it by now.
        same = not worker.get("born") or worker["born"] == _born(pid)
        return None if alive(pid) and same else f"its process {pid} ended without closing the run"
    try:
        silent = now - _lease(workspace, run_id).stat().st_mtime
    except FileNotFoundError:
        silent = now - float(worker.get("started", now))
        if silent < WITHOUT_LEASE_S:
            return None
    if silent < LEASE_S:
        return None
    return f"its process on {host} has not been heard of for {silent:.0f} s"


def give_up(workspace: Workspace, run_id: str) -> None:
    """Remove a lease; a process that is alive nevertheless ends itself."""
    _lease(workspace, run_id).unlink(missing_ok=True)


def _born(pid: int) -> str:
    """Return the start time of a process in the kernel's ticks; '' if unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _worker(workspace: Workspace, run_id: str) -> Path:
    return workspace.run_folder(run_id) / "worker.json"


def _lease(workspace: Workspace, run_id: str) -> Path:
    return workspace.run_folder(run_id) / "lease"
