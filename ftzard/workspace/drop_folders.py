"""The entries of the drop folders, for sensors, `ftzard status` and the doctor.

Anybody may put anything into a drop folder. An entry is classified without opening it, and a file
is opened only through `opened`, which checks the open file and not its name: nothing can be
exchanged in between, and no link leads out of the workspace.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ftzard.errors import DataError
from ftzard.workspace.workspace import Workspace

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".jsonl")
#: Tables in other formats, which FTzard does not read: their run fails, and they are set aside.
FOREIGN = (".json", ".tsv", ".xls", ".xlsx", ".ods", ".feather", ".zip", ".gz")
#: The folder of small label files after they were joined, which are no deliveries any more.
JOINED = "joined"


class Look(NamedTuple):
    """Size and times of a file, which change with its content."""

    size: int
    changed: int
    renewed: int
    inode: int


@dataclass(frozen=True)
class Entry:
    """An entry of a drop folder.

    Attributes:
        look: Of a file that can be taken, else None.
        why: Why it cannot be, '' if it can.
        data: Whether its name is that of a file of rows.
    """

    path: Path
    look: Look | None
    why: str
    data: bool

    @property
    def shown(self) -> str:
        """The name as valid text."""
        return self.path.name.encode("utf-8", "backslashreplace").decode()


def folders(workspace: Workspace) -> tuple[Path, ...]:
    """Return the drop folders."""
    return workspace.raw_incoming, workspace.incoming, workspace.labelled


def entries(workspace: Workspace, folder: Path) -> list[Entry]:
    """Return the entries of a drop folder, oldest first, without hidden and temporary files.

    None of it is opened. What vanishes meanwhile is left out.
    """
    try:
        with os.scandir(folder) as scan:
            names = [entry.name for entry in scan if not entry.name.startswith(".")]
    except OSError:
        return []
    roots = _roots(workspace, folder)
    listed = [entry for name in names if (entry := _entry(folder / name, roots)) is not None]
    return sorted(listed, key=lambda e: (e.look.changed if e.look else 0, e.path.name))


def _entry(path: Path, roots: tuple[str, ...]) -> Entry | None:
    data = path.name.lower().endswith((*SUFFIXES, *FOREIGN))
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            target = os.path.realpath(path)
            if not _inside(target, roots):
                return Entry(path, None, _LEADS_OUT.format(os.readlink(path)), data)
            status = os.stat(target, follow_symlinks=False)
    except FileNotFoundError:
        return Entry(path, None, "is a link to nothing", data) if path.is_symlink() else None
    except OSError as error:
        return Entry(path, None, f"cannot be looked at ({error.strerror})", data)
    kind = next((name for name, test in _KINDS if test(status.st_mode)), None)
    if kind is not None:
        if kind == "folder" and path.name == JOINED:
            return None
        return Entry(path, None, f"is a {kind}; expected a file", data)
    if not data:
        return Entry(path, None, f"ends in none of {', '.join(SUFFIXES)}", data)
    try:
        path.name.encode("utf-8")
    except UnicodeEncodeError:  # neither YAML, JSON nor a database can hold it
        return Entry(path, None, "its name holds bytes that are not UTF-8; rename it", data)
    if not os.access(path, os.R_OK):
        return Entry(path, None, "may not be read by whoever runs this; expected permission to "
                                 "read it", data)
    return Entry(path, look_of(status), "", data)


_KINDS = (("folder", stat.S_ISDIR), ("named pipe", stat.S_ISFIFO), ("socket", stat.S_ISSOCK),
          ("device", stat.S_ISBLK), ("device", stat.S_ISCHR), ("link", stat.S_ISLNK))
_LEADS_OUT = ("is a link to {}, which is outside the workspace or hidden in it; put the file "
              "itself there")


def look_of(status: os.stat_result) -> Look:
    """Return a file's `Look` from its stat result."""
    return Look(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _roots(workspace: Workspace, folder: Path) -> tuple[str, ...]:
    """Return the folders that may contain a dropped file; a drop folder may be on another disk."""
    return os.path.realpath(workspace.root), os.path.realpath(folder)


def _inside(path: str, roots: tuple[str, ...]) -> bool:
    """Return whether a place is below one of the roots and not in a hidden folder or file there,
    where secrets and the workspace's state are."""
    for root in roots:
        start = root.rstrip(os.sep) + os.sep
        if path.startswith(start):
            below = path[len(start):].split(os.sep)
            if not any(part.startswith(".") for part in below):
                return True
    return False


@contextmanager
def opened(workspace: Workspace, path: Path) -> Iterator[BinaryIO]:
    """Open a dropped file to be read.

    Raises DataError for what is no regular file, or lies outside the workspace whatever its name
    says: asked of what was opened. Raises OSError if it cannot be opened.
    """
    # Without O_NONBLOCK opening a named pipe would block until it is written to.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DataError(f"{path} is no regular file; put the file itself there.")
        if not _inside(_place(descriptor, path), _roots(workspace, path.parent)):
            raise DataError(f"{path} {_LEADS_OUT.format('a place')}.")
        yield stream


def _place(descriptor: int, path: Path) -> str:
    """Return the path of an open file with links resolved."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:  # a system without /proc: the name must still lead to what was opened
        place, status = os.path.realpath(path), os.fstat(descriptor)
        there = os.stat(place, follow_symlinks=False)
        same = (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino)
        return place if same else ""


def opener(workspace: Workspace, path: Path
           ) -> Callable[[Path], AbstractContextManager[BinaryIO]] | None:
    """Return the function that opens a dropped file; None for any other file."""
    return partial(opened, workspace) if _dropped(workspace, path) else None


def refuse_outside(workspace: Workspace, path: Path) -> None:
    """Raise DataError for a file of a drop folder whose content is outside the workspace.

    What is named by a path outside the drop folders is meant, and is not looked at here.
    """
    if not _dropped(workspace, path) or not path.is_symlink():
        return
    entry = _entry(path, _roots(workspace, path.parent))
    if entry is not None and entry.look is None:
        raise DataError(f"{workspace.relative(path)} {entry.why}.")


def _dropped(workspace: Workspace, path: Path) -> bool:
    return Path(os.path.abspath(path)).parent in folders(workspace)


def passed_over(workspace: Workspace) -> list[str]:
    """Return the entries that are never taken, by path, with the reason."""
    return [f"{workspace.relative(folder)}/{entry.shown}: {entry.why}"
            for folder in folders(workspace) for entry in entries(workspace, folder) if entry.why]
