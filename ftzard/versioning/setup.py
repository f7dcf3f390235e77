"""Making a folder a repository of git and DVC, with real remotes, local ones by default."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ftzard.errors import VersioningError
from ftzard.versioning import git as _git
from ftzard.versioning.commit import commit_paths
from ftzard.versioning.dvc import Dvc, default_remote
from ftzard.versioning.git import attempt, git
from ftzard.versioning.lock import exclusive


def init_repository(
    root: Path,
    *,
    git_remote: Path | str | None = None,
    dvc_remote: Path | str | None = None,
    branch: str = "main",
    paths: Sequence[Path | str] = (),
    invent_identity: bool = False,
) -> str | None:
    """Make `root` a repository of git and DVC; what exists already stays as it is.

    git_remote: URL or folder for `origin`; a folder that does not exist becomes a bare repository.
    dvc_remote: URL or folder for DVC's default remote; a folder is made. Folders are recorded as
    absolute paths, so that a clone elsewhere on this machine finds them. branch: of a new
    repository. paths: files for the first commit, beside DVC's own three. invent_identity: where
    git knows nobody, let 'FTzard <ftzard@localhost>' commit in this repository.

    Returns the commit made, or None when there was nothing to commit.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    if not _git.is_repo(root):
        git(root, "init", "--quiet", f"--initial-branch={branch}")
    if invent_identity and not _git.has_identity(root):
        git(root, "config", "user.name", "FTzard")
        git(root, "config", "user.email", "ftzard@localhost")
    if git_remote is not None:
        _add_origin(root, git_remote, branch)
    with exclusive(root, "init"):
        with Dvc(root) as dvc:
            files = dvc.init()
            if dvc_remote is not None:
                _set_store(root, dvc, dvc_remote)
        if attempt(root, "cat-file", "-e", "HEAD:.dvc/config").returncode != 0:
            git(root, "update-index", "--add", "--", *files)  # 'dvc init' has staged its drafts
        listed = [os.path.relpath(root / path, root) for path in paths]
        return commit_paths(
            root, [*listed, *files], message="Set up the FTzard workspace", run_id="init"
        )


def _add_origin(root: Path, remote: Path | str, branch: str) -> None:
    url = _absolute(remote)
    known = attempt(root, "remote", "get-url", "origin").stdout.strip()
    if known and known != url:
        raise VersioningError(
            f"The git remote 'origin' of {root} is {_git.mask(known)}, not {_git.mask(url)}; "
            "leave git_remote out, or change it: git remote set-url origin URL"
        )
    if not _is_url(url) and not Path(url).exists():
        Path(url).mkdir(parents=True)
        git(Path(url), "init", "--quiet", "--bare", f"--initial-branch={branch}")
    if not known:
        git(root, "remote", "add", "origin", url)


def _set_store(root: Path, dvc: Dvc, remote: Path | str) -> None:
    url = _absolute(remote)
    known = default_remote(root)
    if known is not None and known[1] != url:
        raise VersioningError(
            f"The DVC remote '{known[0]}' of {root} is {_git.mask(known[1])}, not "
            f"{_git.mask(url)}; leave dvc_remote out, or change it: "
            f"dvc remote modify {known[0]} url URL"
        )
    if not _is_url(url):
        Path(url).mkdir(parents=True, exist_ok=True)
    if known is None:
        dvc.remote(url)


def _absolute(remote: Path | str) -> str:
    return str(remote) if _is_url(str(remote)) else os.path.abspath(remote)


def _is_url(remote: str) -> bool:
    """True for 'scheme://…' and git's 'user@host:path'."""
    return re.match(r"[\w+.-]+://|[^/]+@[^/:]+:", remote) is not None
