"""A cache of the SHA-256 of dropped files, so that no file is read twice.

Sensors and `ftzard status` check up to ten thousand files every few seconds. The cache is in the
workspace's state and may be deleted at any time.
"""

import hashlib
import os
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ftzard.workspace import drop_folders
from ftzard.workspace.drop_folders import Look
from ftzard.workspace.workspace import Workspace

#: Seconds for which one file is hashed at a time: a huge one must not keep the others waiting.
SLICE_S = 5.0
_CHUNK = 1 << 20
_TABLE = ("CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, size INTEGER, changed INTEGER,"
          " renewed INTEGER, inode INTEGER, sha256 TEXT)")


@dataclass
class _Begun:
    """The hash of a file that has been read in part: the bytes read and the file's size and times.
    """

    look: Look
    at: int = 0
    digest: object = field(default_factory=hashlib.sha256)


@dataclass
class _Known:
    hashed: dict[str, tuple[Look, str]]
    begun: dict[str, _Begun] = field(default_factory=dict)


_by_workspace: dict[Path, _Known] = {}


def known(workspace: Workspace, path: Path, look: Look) -> str | None:
    """Return the cached hash of an unchanged file, else None."""
    entry = _of(workspace).hashed.get(workspace.relative(path))
    return entry[1] if entry is not None and entry[0] == look else None


def of(workspace: Workspace, path: Path, seconds: float | None = None, *, keep: bool = True
       ) -> str | None:
    """Return the hash of a file's content, from the cache if the file has not changed.

    Args:
        seconds: After which it is left for the next call, which goes on; None is returned then.
        keep: Whether the hash is kept for the next process.

    Raises:
        DataError: For what may not be read (`drop_folders.opened`), OSError if it cannot be.
    """
    until = None if seconds is None else time.monotonic() + seconds
    with drop_folders.opened(workspace, path) as stream:
        look = drop_folders.look_of(os.fstat(stream.fileno()))
        cached = known(workspace, path, look)
        if cached is not None:
            return cached
        name, state = workspace.relative(path), _of(workspace)
        begun = state.begun.get(name)
        if begun is None or begun.look != look:
            begun = state.begun[name] = _Begun(look)
        stream.seek(begun.at)
        while chunk := stream.read(_CHUNK):
            begun.digest.update(chunk)
            begun.at += len(chunk)
            if until is not None and begun.at < look.size and time.monotonic() > until:
                return None
        del state.begun[name]
        cached = begun.digest.hexdigest()
        if drop_folders.look_of(os.fstat(stream.fileno())) == look:  # it is still being written
            state.hashed[name] = look, cached
            if keep:
                _keep(workspace, name, look, cached)
        return cached


def _of(workspace: Workspace) -> _Known:
    if workspace.root not in _by_workspace:
        rows = []
        if _file(workspace).is_file():  # looking makes none
            with suppress(sqlite3.Error), closing(_connected(workspace)) as connection:
                rows = connection.execute("SELECT * FROM hashes").fetchall()
        _by_workspace[workspace.root] = _Known({
            path: (Look(*look), sha256) for path, *look, sha256 in rows})
    return _by_workspace[workspace.root]


def _keep(workspace: Workspace, name: str, look: Look, digest: str) -> None:
    for _ in range(2):
        try:
            with closing(_connected(workspace)) as connection, connection:
                connection.execute("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?, ?)",
                                   (name, *look, digest))
            return
        except sqlite3.DatabaseError as error:
            if "not a database" not in str(error) and "malformed" not in str(error):
                return  # locked, or a full disk: it is hashed again the next time
            _file(workspace).unlink(missing_ok=True)


def _connected(workspace: Workspace) -> sqlite3.Connection:
    connection = sqlite3.connect(_file(workspace), timeout=2)
    connection.execute("PRAGMA synchronous = OFF")  # a cache
    connection.execute(_TABLE)
    return connection


def _file(workspace: Workspace) -> Path:
    return workspace.state / "delivery_hashes.db"
