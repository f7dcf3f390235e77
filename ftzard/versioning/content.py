"""The content of any version of an artifact, read without touching the workspace's files."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ftzard.core import artifacts
from ftzard.errors import VersioningError, in_shell
from ftzard.versioning import git as _git
from ftzard.versioning.dvc import Dvc, cached, default_remote, dvc_path, read_dvc, usual_cache
from ftzard.versioning.git import attempt
from ftzard.versioning.lock import exclusive
from ftzard.versioning.publish import pointers
from ftzard.versioning.repository import blob_at
from ftzard.versioning.versions import commit_named


@dataclass(frozen=True)
class Content:
    """What an artifact was at a commit: its path, its MD5, its rows if they are noted, and where
    DVC's cache has its bytes (read only)."""

    path: str
    commit: str
    md5: str
    rows: int | None
    file: Path


def exact_commit(root: Path, name: str) -> str:
    """Return the commit of a hash (7 digits or more), a tag or a run's id.

    Raises VersioningError for what is none of these, such as a branch: that moves, and the same
    name would mean other data tomorrow.
    """
    commit = commit_named(root, name)
    if commit is None:
        raise VersioningError(f"'{name}' is no commit, tag or run of {root}; 'ftzard history' "
                              "shows the commits. Get one that is elsewhere with 'git fetch'.")
    tag = attempt(root, "rev-parse", "--quiet", "--verify", f"refs/tags/{name}").returncode == 0
    run = re.fullmatch("[0-9a-f]{32}", name) is not None
    if not (tag or run or len(name) >= 7 and commit.startswith(name.lower())):
        raise VersioningError(
            f"'{name}' names commit {commit[:10]} today, but may name another one tomorrow; "
            f"expected a commit or a tag. Take '{commit[:10]}'.")
    return commit


def content(root: Path, path: str, revision: str, *, say: Callable[[str], object] = print
            ) -> Content:
    """Return the content of an artifact at a revision, fetched from the remote if needed.

    Raises VersioningError if the revision has no such artifact, if it is a folder, or if neither
    the cache nor the remote has its bytes whole.
    """
    root, tracked = Path(root), dvc_path(path)
    _git.require_repo(root)
    tracked_blob = blob_at(root, revision, tracked)
    if tracked_blob is None:
        raise VersioningError(f"{path} has no version at {revision[:10]}: {tracked} is not in it.")
    blob, text = tracked_blob
    pointer = read_dvc(text, f"{tracked} at {revision[:10]}")
    if pointer.md5.endswith(".dir"):
        raise VersioningError(f"{path} is a folder in DVC, expected an artifact of one file.")
    file, problem = cached(usual_cache(root), pointer.md5), None
    if not file.is_file():
        with exclusive(root, "reading a version", say), Dvc(root) as dvc:
            file = cached(dvc.cache(), pointer.md5)
            if not file.is_file() and default_remote(root) is not None:
                with pointers(root, {(tracked, blob)}) as paths:
                    problem = dvc.fetch(paths)
    if not file.is_file():
        remote = default_remote(root)
        where = f"the DVC remote '{remote[0]}'" if remote else "a DVC remote (none is set)"
        raise VersioningError(
            f"neither DVC's cache nor {where} has the data of {path} at {revision[:10]}"
            f"{f': {problem}' if problem else ''}. If the machine that made it has it still, run "
            "'ftzard push' there.")
    if artifacts.dvc_hash(file) != pointer.md5:
        raise VersioningError(f"DVC's cache holds damaged data for {path} of {revision[:10]}. "
                              f"Remove it, and it is fetched again from the remote: rm -f "
                              f"{in_shell(file)}")
    return Content(path, revision, pointer.md5, pointer.rows, file)
