"""A checkout of a past commit in a folder of its own, with its data on demand."""

import configparser
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ftzard.core.locks import locked
from ftzard.errors import VersioningError
from ftzard.versioning import git as _git
from ftzard.versioning.dvc import Dvc, default_remote, dvc_path, local_folder, quoted
from ftzard.versioning.git import attempt, git

FOLDER = ".ftzard/worktrees"


@contextmanager
def worktree(root: Path, commit: str, say: Callable[[str], object] = print) -> Iterator[Path]:
    """Yield a clean checkout of `commit` that shares cache and remotes with `root`.

    It is removed afterwards; one that a killed process left behind is replaced, one that another
    process works in is waited for. say: told when this has to wait. Raises VersioningError for a
    commit that this repository does not have.
    """
    root = Path(root)
    _git.require_repo(root)
    if attempt(root, "cat-file", "-e", f"{commit}^{{commit}}").returncode != 0:
        raise VersioningError(
            f"The commit {commit[:10]} is not in {root}; fetch it: git fetch --all")
    place = root / FOLDER / commit[:16]
    with locked(lock_of(place), {"pid": os.getpid(), "doing": f"reproducing {commit[:10]}"},
                waiting=say):
        _remove(root, place)
        git(root, "worktree", "add", "--quiet", "--detach", str(place), commit)
        try:
            _share(root, place)
            yield place
        finally:
            _remove(root, place)


def lock_of(place: Path) -> Path:
    """Return the lock of a worktree's user."""
    return place.with_name(f"{place.name}.lock")


def pull(place: Path, paths: list[str]) -> None:
    """Bring artifacts of a worktree's commit into it, from the cache or the remote."""
    for path in paths:
        if not (place / dvc_path(path)).is_file():
            raise VersioningError(f"{path} has no version at the commit of {place}.")
    with Dvc(place) as dvc:
        dvc.pull([dvc_path(path) for path in paths])


def _share(root: Path, place: Path) -> None:
    """Configure the worktree's DVC with the cache and the remote of the workspace."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(root / ".dvc" / "config.local", encoding="utf-8")
    if not config.has_section("cache"):
        config.add_section("cache")
    if not config.has_option("cache", "dir"):
        config.set("cache", "dir", quoted(str(root / ".dvc" / "cache")))
    remote = default_remote(root)
    folder = local_folder(root, remote[1]) if remote else None
    if folder is not None:
        section = f"'remote \"{remote[0]}\"'"
        if not config.has_section(section):
            config.add_section(section)
        config.set(section, "url", quoted(str(folder.resolve())))
    (place / ".dvc").mkdir(exist_ok=True)
    with open(place / ".dvc" / "config.local", "w", encoding="utf-8") as stream:
        config.write(stream)


def _remove(root: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    git(root, "worktree", "prune")
