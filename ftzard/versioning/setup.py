"""Turn a folder into a repository of git and DVC, with remotes, local ones by default.

`require_suitable` refuses an unsuitable folder before anything is created. `state_before` records
what `init_repository` will change, and `undo` reverts exactly that.
"""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from ftzard.core.artifacts import write_atomically
from ftzard.errors import VersioningError
from ftzard.versioning import git as _git
from ftzard.versioning.commit import (
    commit_paths,
    index_entries,
    require_identity,
    restore_index,
)
from ftzard.versioning.dvc import Dvc, default_remote, set_default_remote, unusable_url
from ftzard.versioning.git import attempt, git
from ftzard.versioning.ignored import require_visible
from ftzard.versioning.lock import exclusive

RUN_ID = "init"
NAME, EMAIL = "FTzard", "ftzard@localhost"
_DVC_FILES = (".dvc/config", ".dvc/.gitignore", ".dvcignore")
_LOCKS = ("index.lock", "config.lock", "HEAD.lock")


def init_repository(
    root: Path,
    *,
    git_remote: Path | str | None = None,
    dvc_remote: Path | str | None = None,
    branch: str = "main",
    paths: Sequence[Path | str] = (),
    invent_identity: bool = False,
) -> str | None:
    """Make `root` a repository of git and DVC; existing parts stay as they are.

    Args:
        git_remote: URL or folder for `origin`; a folder that does not exist, or is empty, becomes
            a bare repository.
        dvc_remote: URL or folder for DVC's default remote; a folder is made. Folders are recorded
            as absolute paths, so that a clone elsewhere on this machine finds them.
        branch: Of a new repository.
        paths: Files for the first commit, beside DVC's own three.
        invent_identity: Where git knows nobody, let 'FTzard <ftzard@localhost>' commit here.

    Returns the commit made, or None when there was nothing to commit.
    """
    root = Path(root)
    files = prepare_repository(root, git_remote=git_remote, dvc_remote=dvc_remote, branch=branch,
                               invent_identity=invent_identity)
    return commit_first(root, [*(os.path.relpath(root / path, root) for path in paths), *files])


def prepare_repository(
    root: Path,
    *,
    git_remote: Path | str | None = None,
    dvc_remote: Path | str | None = None,
    branch: str = "main",
    invent_identity: bool = False,
) -> list[str]:
    """Do what `init_repository` does without the commit; return DVC's files to commit."""
    root.mkdir(parents=True, exist_ok=True)
    require_remotes(root, git_remote, dvc_remote)
    if not _git.is_repo(root):
        git(root, "init", "--quiet", "--object-format=sha1", f"--initial-branch={branch}")
        _git.require_repo(root)
    require_visible(root)
    if invent_identity and not _git.has_identity(root):
        git(root, "config", "user.name", NAME)
        git(root, "config", "user.email", EMAIL)
    require_identity(root)
    if git_remote is not None:
        _add_origin(root, git_remote, branch)
    with exclusive(root, RUN_ID), Dvc(root) as dvc:
        files = dvc.init()
        if dvc_remote is not None:
            _set_store(root, dvc, dvc_remote)
    if attempt(root, "cat-file", "-e", "HEAD:.dvc/config").returncode != 0:
        # 'dvc init' has staged its drafts
        git(root, "-c", "core.safecrlf=false", "update-index", "--add", "--", *files)
    return files


def commit_first(root: Path, paths: Sequence[str]) -> str | None:
    """Commit the files of a new workspace; None if they are committed already."""
    with exclusive(root, RUN_ID):
        return commit_paths(root, paths, message="Set up the FTzard workspace", run_id=RUN_ID)


def require_suitable(root: Path) -> None:
    """Raise VersioningError for a folder that cannot become a repository.

    A bare repository, a folder inside git's own folder, one of another user's, and one whose files
    are tracked by a repository around it. A folder that merely lies in another work tree may.
    """
    existing = next(folder for folder in (root, *root.parents) if folder.is_dir())
    result = attempt(existing, "rev-parse", "--is-inside-git-dir", "--is-bare-repository")
    if "dubious ownership" in result.stderr:
        raise VersioningError(_git.failure(existing, result))
    if result.returncode != 0:
        return
    inside, bare = result.stdout.split()
    if bare == "true" or inside == "true":
        kind = "a bare repository" if bare == "true" else "git's own folder of a repository"
        raise VersioningError(f"{root} lies in {kind}, which holds no files of a work tree. Name "
                              "another folder, or clone that repository and name the clone.")
    if not _git.is_repo(root) and root.is_dir():
        tracked = attempt(root, "ls-files", "-z").stdout.split("\0")[:-1]
        if tracked:
            top = attempt(root, "rev-parse", "--show-toplevel").stdout.rstrip("\n")
            raise VersioningError(
                f"{root} belongs to the git repository {top}, which tracks {len(tracked)} of its "
                "files. A workspace is a repository of its own: name another folder, or "
                f"{top} itself.")


def around(root: Path) -> str | None:
    """Return the top folder of the repository that encloses a new one, or None."""
    existing = next(folder for folder in (root, *root.parents) if folder.is_dir())
    result = attempt(existing, "rev-parse", "--show-toplevel")
    top = result.stdout.rstrip("\n")
    return top if result.returncode == 0 and Path(top).resolve() != root.resolve() else None


def require_remotes(root: Path, git_remote: Path | str | None, dvc_remote: Path | str | None
                    ) -> None:
    """Raise VersioningError for an unusable remote, or one that differs from the existing one."""
    for option, remote in (("git", git_remote), ("DVC", dvc_remote)):
        if remote is None:
            continue
        if not str(remote).strip():
            raise VersioningError(f"The {option} remote is empty; expected a URL or a folder.")
        url = _absolute(remote)
        if option == "DVC" and (reason := unusable_url(url)):
            raise VersioningError(f"The DVC remote cannot be {_git.mask(url)}: {reason}. Choose "
                                  "another.")
        if not _is_url(url):
            _require_folder(root, option, Path(url))
    if git_remote is not None and dvc_remote is not None and (
            _absolute(git_remote) == _absolute(dvc_remote)):
        raise VersioningError(f"{_git.mask(_absolute(git_remote))} cannot be the remote of git and "
                              "of DVC at once; name two folders, such as remotes/git and "
                              "remotes/dvc.")
    if git_remote is not None:
        url = _absolute(git_remote)
        known = _origin(root) if root.is_dir() and _git.is_repo(root) else None
        if known and known != url:
            raise VersioningError(
                f"The git remote 'origin' of {root} is {_git.mask(known)}, not {_git.mask(url)}; "
                "leave git_remote out, or change it: git remote set-url origin URL")
    if dvc_remote is not None:
        url, known = _absolute(dvc_remote), default_remote(root)
        if known is not None and known[1] != url:
            raise VersioningError(
                f"The DVC remote '{known[0]}' of {root} is {_git.mask(known[1])}, not "
                f"{_git.mask(url)}; leave dvc_remote out, or change it: "
                f"dvc remote modify {known[0]} url URL")


def _require_folder(root: Path, option: str, folder: Path) -> None:
    """Raise VersioningError for a folder that cannot be a remote of git or DVC."""
    resolved, own = Path(os.path.realpath(folder)), Path(os.path.realpath(root))
    if own == resolved or own.is_relative_to(resolved):
        raise VersioningError(f"The {option} remote cannot be {folder}, which is the workspace or "
                              "a folder around it; name a folder beside it.")
    if any(resolved.is_relative_to(own / name) for name in (".git", ".dvc", ".ftzard")):
        raise VersioningError(f"The {option} remote cannot be {folder}, which is inside of what "
                              "git, DVC and FTzard keep; name a folder beside the workspace.")
    existing = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not existing.is_dir():
        kind = "a link to nothing" if existing.is_symlink() else "no folder"
        raise VersioningError(f"The {option} remote cannot be {folder}: {existing} is {kind}. Name "
                              "another folder.")
    if not os.access(existing, os.W_OK):
        raise VersioningError(f"The {option} remote cannot be {folder}: {existing} may not be "
                              "written to.")
    if option == "git" and folder.is_dir() and any(folder.iterdir()) and (
            attempt(folder, "rev-parse", "--git-dir").stdout.strip() not in (".", ".git")):
        raise VersioningError(f"The git remote cannot be {folder}: it holds files and is no git "
                              "repository. Name a new or empty folder, or a repository.")


def state_before(root: Path, *, git_remote: Path | str | None, dvc_remote: Path | str | None,
                 paths: Sequence[str]) -> dict:
    """Return what `init_repository` will change, as JSON values for `undo`.

    Nothing is changed here.

    Args:
        paths: Relative ones, of files that are to be committed.
    """
    repository = _git.is_repo(root)
    files = sorted({*paths, *_DVC_FILES})
    folders = [Path(_absolute(r)) for r in (git_remote, dvc_remote)
               if r is not None and not _is_url(_absolute(r))]
    config = root / ".dvc" / "config"
    return {
        "repository": repository,
        "index": index_entries(root, files) if repository else {},
        "files": files,
        "identity": repository and attempt(
            root, "config", "--local", "user.email").returncode == 0,
        "origin": _origin(root) if repository else None,
        "git_remote": None if git_remote is None else _absolute(git_remote),
        "dvc": (root / ".dvc").exists(),
        "dvc_config": config.read_text(encoding="utf-8") if config.is_file() else None,
        "dvcignore": (root / ".dvcignore").exists(),
        "remotes": [str(folder) for folder in folders
                    if not folder.exists() or not any(folder.iterdir())],
        "made": [str(place) for folder in folders for place in (folder, *folder.parents)
                 if not place.exists()],
        "locks": [name for name in _LOCKS if repository and (_folder(root) / name).exists()],
    }


def undo(root: Path, before: dict) -> None:
    """Revert the changes of an interrupted `init_repository`, by `state_before`.

    What has been put in by others meanwhile stays: a repository with commits, a remote with data.
    """
    for name in before["remotes"]:
        _remove_remote(Path(name), made=name in before["made"])
    for name in before["made"]:
        _remove_empty(Path(name))
    if not before["dvc"]:
        shutil.rmtree(root / ".dvc", ignore_errors=True)
    elif before["dvc_config"] is not None:
        _write_back(root / ".dvc" / "config", before["dvc_config"])
    if not before["dvcignore"]:
        (root / ".dvcignore").unlink(missing_ok=True)
    if not before["repository"]:
        if os.path.lexists(root / ".git") and not _has_commits(root):
            shutil.rmtree(root / ".git")
        return
    _remove_locks(root, before["locks"])
    restore_index(root, before["files"], before["index"])
    if not before["identity"] and attempt(
            root, "config", "--local", "user.email").stdout.strip() == EMAIL:
        for key in ("user.name", "user.email"):
            attempt(root, "config", "--local", "--unset", key)
    if before["origin"] is None and before["git_remote"] is not None and (
            _origin(root) == before["git_remote"]):
        attempt(root, "remote", "remove", "origin")


def _has_commits(root: Path) -> bool:
    """Return whether a repository has commits; an interrupted one has none."""
    return attempt(root, "--git-dir=.git", "rev-parse", "--quiet", "--verify",
                   "HEAD^{commit}").returncode == 0


def _remove_remote(folder: Path, *, made: bool) -> None:
    """Remove the created parts of a remote's folder, unless it holds data or branches."""
    if not folder.is_dir():
        return
    if (folder / "HEAD").is_file() or (folder / "objects").is_dir():
        if attempt(folder, "for-each-ref").stdout.strip():
            return
        for entry in folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    if made:
        _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _write_back(file: Path, text: str) -> None:
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        write_atomically(file, lambda part: part.write_text(text, encoding="utf-8"))


def _remove_locks(root: Path, before: Sequence[str]) -> None:
    """Remove the locks of dead git commands of an `init`."""
    folder = _folder(root)
    left = [folder / name for name in _LOCKS if name not in before and (folder / name).exists()]
    if left and not _git.at_work(root, folder):
        for lock in left:
            lock.unlink(missing_ok=True)


def _folder(root: Path) -> Path:
    return root / git(root, "rev-parse", "--git-dir").rstrip("\n")


def _origin(root: Path) -> str | None:
    return attempt(root, "remote", "get-url", "origin").stdout.rstrip("\n") or None


def _add_origin(root: Path, remote: Path | str, branch: str) -> None:
    url = _absolute(remote)
    if not _is_url(url) and (not Path(url).exists() or not any(Path(url).iterdir())):
        _make_folder(Path(url))
        git(Path(url), "init", "--quiet", "--bare", "--object-format=sha1",
            f"--initial-branch={branch}")
    if not _origin(root):
        git(root, "remote", "add", "origin", url)


def _set_store(root: Path, dvc: Dvc, remote: Path | str) -> None:
    url = _absolute(remote)
    if not _is_url(url):
        _make_folder(Path(url))
    if default_remote(root) is None:
        set_default_remote(root, url)
        dvc.require_config()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VersioningError(f"The folder {folder} of the remote cannot be made: "
                              f"{error.strerror}. Name another one.") from error


def _absolute(remote: Path | str) -> str:
    return str(remote) if _is_url(str(remote)) else os.path.abspath(remote)


def _is_url(remote: str) -> bool:
    """Return whether a text is 'scheme://…' or git's 'user@host:path'."""
    return re.match(r"[\w+.-]+://|[^/]+@[^/:]+:", remote) is not None
