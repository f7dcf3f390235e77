"""Read access to a repository with GitPython: trees, blobs, remotes, branch.

Writing is done by the command line (`git.py`). Each call opens and closes the repository, so that
no git process stays behind.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ftzard.errors import VersioningError

if TYPE_CHECKING:
    from git import Repo

#: Variables with which git, and GitPython, would look into another repository.
REPOSITORY_VARIABLES = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_CONFIG",
    "GIT_IMPLICIT_WORK_TREE", "GIT_GRAFT_FILE", "GIT_SHALLOW_FILE", "GIT_REPLACE_REF_BASE",
    "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS",
)  # fmt: skip


@contextmanager
def reading(root: Path) -> "Iterator[Repo]":
    """Yield the repository whose top folder is `root`; it is closed afterwards.

    Variables such as GIT_DIR, which name another repository, are dropped from the environment.
    Raises VersioningError if there is none at `root`.
    """
    # GitPython looks for git at its import; a missing git is reported by the first git command.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    for name in REPOSITORY_VARIABLES:
        os.environ.pop(name, None)
    from git import InvalidGitRepositoryError, NoSuchPathError, Repo

    try:
        repository = Repo(os.path.abspath(root), expand_vars=False)
    except (InvalidGitRepositoryError, NoSuchPathError) as error:
        raise VersioningError(f"{root} is not a git repository; make it one with 'ftzard init' "
                              "(or 'git init' in it).") from error
    with repository:
        yield repository


def blob_at(root: Path, revision: str, path: str) -> tuple[str, str] | None:
    """Return (blob id, text) of a file in a revision, or None."""
    with reading(root) as repository:
        from git.exc import ODBError

        try:
            blob = repository.commit(revision).tree / path
        except (KeyError, ODBError, ValueError, IndexError):  # no such file; no such revision
            return None
        return blob.hexsha, _text(blob.data_stream.read())


def tree_at(root: Path, revision: str) -> dict[str, str]:
    """Return {path: blob id} of all files of a revision."""
    with reading(root) as repository:
        return {str(item.path): item.hexsha
                for item in repository.commit(revision).tree.traverse() if item.type == "blob"}


def texts_of(root: Path, blobs: Iterable[str]) -> dict[str, str]:
    """Return {blob id: text} of blobs."""
    with reading(root) as repository:
        return {blob: _text(repository.odb.stream(bytes.fromhex(blob)).read()) for blob in blobs}


def remotes(root: Path) -> list[str]:
    """Return the names of the remotes."""
    with reading(root) as repository:
        return [remote.name for remote in repository.remotes]


def remote_url(root: Path) -> str | None:
    """Return the URL of the upstream's remote, else of the only remote, or None."""
    target = upstream(root)
    with reading(root) as repository:
        named = [r for r in repository.remotes if target is None or r.name == target[0]]
        return named[0].url if len(named) == 1 else None


def branch(root: Path) -> str | None:
    """Return the name of the branch that is checked out, or None when HEAD is detached."""
    with reading(root) as repository:
        return None if repository.head.is_detached else repository.active_branch.name


def upstream(root: Path) -> tuple[str, str] | None:
    """Return (remote, remote branch) that the current branch pushes to, or None."""
    with reading(root) as repository:
        if repository.head.is_detached:
            return None
        config = repository.active_branch.config_reader()
        if not (config.has_option("remote") and config.has_option("merge")):
            return None
        return config.get("remote"), config.get("merge").removeprefix("refs/heads/")


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="replace")
