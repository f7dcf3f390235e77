"""Folders that only this user can write to.

On a shared machine a folder with a known name among the temporary files may be another user's, with
anything in it, and a cache in another user's workspace is not ours to fill.
"""

import atexit
import os
import shutil
import stat
import tempfile
from functools import lru_cache
from pathlib import Path


def _user() -> int:
    """Return this user's id; on a system without ids each user has a home directory."""
    return os.geteuid() if hasattr(os, "geteuid") else 0


def usable(folder: Path) -> Path:
    """Return `folder`, created if need be, if only this user can write to it; else a private one.

    The other one is in this user's own cache, under the name of the folder.
    """
    folder = Path(folder)
    return folder if _made(folder) else user_cache(folder.name)


def user_cache(name: str) -> Path:
    """Return a folder in this user's cache that no other user can write to.

    Below XDG_CACHE_HOME or the home folder, else in the folder for temporary files; where both are
    refused, or were taken by somebody else, one that is gone with this process.
    """
    user = _user()
    configured = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(configured) if os.path.isabs(configured) else Path.home() / ".cache"
    for place in (home / "ftzard", Path(tempfile.gettempdir()) / f"ftzard-{user}"):
        if _made(place) and _made(place / name):
            return place / name
    return _for_this_process(user, name)


@lru_cache(maxsize=16)
def _for_this_process(user: int, name: str) -> Path:
    place = Path(tempfile.mkdtemp(prefix=f"ftzard-{user}-"))
    maker = os.getpid()

    def remove() -> None:
        if os.getpid() == maker:
            shutil.rmtree(place, ignore_errors=True)

    atexit.register(remove)
    folder = place / name
    folder.mkdir(mode=0o700)
    return folder


def _made(folder: Path) -> bool:
    """Create a folder for its owner only, unless it exists; return whether it is private."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != _user():
            return False
        if status.st_mode & 0o077:
            folder.chmod(0o700)
        return os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False
