"""A file lock that lets one process at a time version a workspace; the system releases it."""

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ftzard.core.locks import not_writable
from ftzard.errors import WorkspaceError

LOCK = ".ftzard/git_dvc.lock"


@contextmanager
def exclusive(
    root: Path, who: str, say: Callable[[str], object] = print, every_s: float = 30.0
) -> Iterator[None]:
    """Hold the workspace's versioning lock; wait for it as long as its holder is alive.

    who: written into the lock file, so that those who wait can name the holder. say: called with
    a sentence when waiting begins and every `every_s` seconds of it. Raises WorkspaceError where
    this user may not write.
    """
    path = Path(root) / LOCK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise WorkspaceError(not_writable(path.parent)) from error
    try:
        began = spoke = None
        while not _try_lock(file):
            now = time.monotonic()
            began = began or now
            if spoke is None or now - spoke >= every_s:
                holder = os.pread(file, 200, 0).decode("utf-8", "replace").strip() or "another run"
                say(f"Waiting for {holder} to finish with git and DVC ({now - began:.0f} s).")
                spoke = now
            time.sleep(0.05)
        os.ftruncate(file, 0)
        os.pwrite(file, f"process {os.getpid()} ({who})\n".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(file, 0)
    finally:
        os.close(file)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
