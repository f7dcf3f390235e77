"""File locks that end with their process, and whether a process is alive."""

import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ftzard.errors import WorkspaceError


def alive(pid: int) -> bool:
    """Return whether a process with this id runs on this machine; one that only waits to be
    buried (a zombie) does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # gone in between, or a system without /proc
        return not Path("/proc/self").exists()


def _lock_file(path: Path) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, "a+", encoding="utf-8")
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise WorkspaceError(not_writable(path.parent)) from error


def not_writable(folder: Path) -> str:
    """Return why a command cannot change a workspace, with the remedy."""
    return (f"{folder} may not be written to by this user, and this command "
            "writes there. Ask whoever owns the workspace to let you, or work in a clone of it "
            "(git clone), which is a workspace of your own.")


@contextmanager
def locked(
    path: Path, holder: dict[str, Any], waiting: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the file lock `path`; wait for its holder, and report the waiting once through
    `waiting`.

    The lock ends with the process that holds it, however that process ends. Raises WorkspaceError
    where this user may not write.
    """
    with _lock_file(path) as stream:
        reported = False
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if waiting and not reported:
                    stream.seek(0)
                    waiting(f"waiting: {stream.read().strip() or 'another run'} holds {path}")
                    reported = True
                time.sleep(0.2)
        stream.seek(0)
        stream.truncate()
        stream.write(json.dumps(holder))
        stream.flush()
        try:
            yield
        finally:
            stream.seek(0)
            stream.truncate()
