"""Folders that only this user can write to: what is found in one was put there by this user.

Machines are shared. A folder with a known name in a place for temporary files may have been made by
anybody, with anything in it, and a cache in somebody else's workspace is that person's to fill.
"""

import atexit
import os
import shutil
import stat
import tempfile
from functools import lru_cache
from pathlib import Path


def _user() -> int:
    """Return this user's number; a system that has none gives each user a home of their own."""
    return os.geteuid() if hasattr(os, "geteuid") else 0


def usable(folder: Path) -> Path:
    """Return `folder`, made if need be, if it is this user's alone; else one that is.

    The other one is in this user's own cache, under the name of the folder.
    """
    folder = Path(folder)
    return folder if _made(folder) else user_cache(folder.name)


def user_cache(name: str) -> Path:
    """Return a folder in this user's cache, where no other user can write.

    Below XDG_CACHE_HOME or the home folder, else in the folder for temporary files; where both are
    refused, or were taken by somebody else, one that is gone with this process.
    """
    user = _user()
    said = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(said) if os.path.isabs(said) else Path.home() / ".cache"
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
    """Make a folder for its owner only, unless it is there; return whether it is ours alone."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != _user():
            return False
        if found.st_mode & 0o077:
            folder.chmod(0o700)
        return os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False
