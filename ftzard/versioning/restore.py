"""Restore artifacts of any version in the workspace, without losing what is there.

The order is: refuse what is not versioned; bring all data into the cache, including that of the
files to be overwritten; write the data, each file complete or not at all; write the `.dvc` files;
commit them.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ftzard.core import artifacts
from ftzard.core.artifacts import write_atomically
from ftzard.errors import VersioningError, in_shell
from ftzard.versioning import git as _git
from ftzard.versioning.commit import commit_paths, require_identity, wait_for_index
from ftzard.versioning.dvc import (
    Dvc,
    cached,
    default_remote,
    dvc_path,
    local_folder,
    read_dvc,
    usual_cache,
)
from ftzard.versioning.git import attempt, git
from ftzard.versioning.lock import exclusive
from ftzard.versioning.publish import pointers
from ftzard.versioning.repository import blob_at

RUN_ID = "restore"


@dataclass(frozen=True)
class Restored:
    """The result of a restore.

    Attributes:
        commit: Made by it, None if git had everything as asked.
        files: The paths that were written.
    """

    commit: str | None
    files: tuple[str, ...]


@dataclass(frozen=True)
class _Target:
    """A file to restore; `pointer` is its tracked file (the `.dvc` file, or a record itself).

    text and blob: of `pointer`, as wanted; md5: of the wanted data, None for a record; head, index
    and tree: git blobs of `pointer` in HEAD, in the index and in the working tree, None where it is
    not; head_md5: of the data that HEAD names; file_md5: of the data that stands there.
    """

    path: str
    pointer: str
    commit: str
    text: str
    blob: str
    md5: str | None
    head: str | None
    index: str | None
    tree: str | None
    head_md5: str | None
    file_md5: str | None

    @property
    def to_write(self) -> bool:
        """Whether the data has to be written."""
        return self.md5 != self.file_md5

    @property
    def moved(self) -> list[str]:
        """The data to write and the data to overwrite, which both must be in the cache."""
        return [md5 for md5 in (self.md5, self.file_md5) if md5 is not None]

    @property
    def as_asked(self) -> bool:
        return not self.to_write and self.head == self.tree == self.blob

    def unversioned(self) -> list[str]:
        """Return what would be lost, a phrase per file."""
        phrases = []
        if self.index not in (self.head, self.blob):
            phrases.append(f"{self.pointer} (it is staged)")
        elif self.tree not in (self.head, self.blob, None):
            phrases.append(f"{self.pointer} (it differs from HEAD)")
        if self.file_md5 not in (self.head_md5, self.md5, None):
            phrases.append(
                f"{self.path} (its bytes are not those of its .dvc file)" if self.head_md5
                else f"{self.path} (it has no version)"
            )  # fmt: skip
        return phrases


def restore(
    root: Path,
    wanted: Mapping[str, str],
    *,
    message: Callable[[Sequence[str]], str],
    say: Callable[[str], object] = print,
    begin: Callable[[], object] = lambda: None,
) -> Restored:
    """Restore files of the workspace, and commit what then differs from HEAD.

    Args:
        wanted: {path: revision}; a path is an artifact's, or that of a text which git itself keeps
            (it ends in .yaml).
        message: The commit's text, given the paths in it. The commit carries the trailer of a run
            `restore`, so the data version of what it restores is that commit.
        say: Told when this has to wait.
        begin: Called before the first file is written.

    Raises VersioningError, with nothing changed, if a revision has no such file, if a file would be
    overwritten whose bytes or whose `.dvc` are not versioned, or if neither cache nor remote has
    the data.
    """
    root = Path(root)
    _git.require_repo(root)
    with exclusive(root, RUN_ID, say):
        wait_for_index(root, say)
        targets = [_target(root, path, revision) for path, revision in sorted(wanted.items())]
        targets = [target for target in targets if not target.as_asked]
        if not targets:
            return Restored(None, ())
        require_identity(root)
        _refuse_unversioned(targets)
        data = [target for target in targets if target.to_write]
        cache = usual_cache(root)
        if not all(cached(cache, md5).is_file() for target in data for md5 in target.moved):
            with Dvc(root) as dvc:
                cache = dvc.cache()
                _require_data(root, dvc, cache, data)
                _keep_present(dvc, cache, data)
        _require_whole(cache, data)
        begin()
        for target in data:
            copy = partial(shutil.copyfile, cached(cache, target.md5))
            write_atomically(root / target.path, copy)
        for target in targets:
            if _blob(root, "", target.pointer) != target.blob:
                write_atomically(
                    root / target.pointer,
                    lambda part, text=target.text: part.write_text(text, encoding="utf-8"),
                )
        changed = [target for target in targets if target.head != target.blob]
        commit = None
        if changed:
            commit = commit_paths(
                root, [target.pointer for target in changed], run_id=RUN_ID, say=say,
                message=message([target.path for target in changed]),
            )  # fmt: skip
    return Restored(commit, tuple(target.path for target in targets))


def _target(root: Path, path: str, revision: str) -> _Target:
    tracked = path if path.endswith(".yaml") else dvc_path(path)
    path = path.removesuffix(".dvc")
    pointer = blob_at(root, revision, tracked)
    if pointer is None:
        raise VersioningError(f"{path} has no version at {revision[:10]}: {tracked} is not in it.")
    blob, text = pointer
    head, index, tree = (_blob(root, where, tracked) for where in ("HEAD:", ":", ""))
    md5 = head_md5 = file_md5 = None
    if tracked != path:
        md5 = read_dvc(text, f"{tracked} at {revision[:10]}").md5
        if md5.endswith(".dir"):
            raise VersioningError(
                f"{path} is a folder in DVC, not an artifact; bring it back with "
                f"'git checkout {revision[:10]} -- {in_shell(tracked)}' and 'dvc checkout "
                f"{in_shell(tracked)}'."
            )
        if head:
            head_md5 = read_dvc(git(root, "cat-file", "blob", head), f"{tracked} at HEAD").md5
        file = root / path
        file_md5 = artifacts.dvc_hash(file) if file.is_file() else None
    return _Target(path, tracked, revision, text, blob, md5, head, index, tree, head_md5, file_md5)


def _blob(root: Path, where: str, path: str) -> str | None:
    """Return the blob id of a file in HEAD ('HEAD:'), the index (':') or the working tree ('')."""
    if where:
        done = attempt(root, "rev-parse", "--quiet", "--verify", f"{where}{path}")
    else:
        done = attempt(root, "hash-object", "--", path)
    return done.stdout.strip() if done.returncode == 0 else None


def _refuse_unversioned(targets: list[_Target]) -> None:
    lost = [phrase for target in targets for phrase in target.unversioned()]
    if lost:
        raise VersioningError(
            f"Nothing was restored, since changes would be lost that are not versioned: "
            f"{', '.join(lost)}. Version them (run the step that writes them, or 'dvc add' and "
            "'git commit'), or give them up ('git restore --staged --worktree FILE.dvc' and 'dvc "
            "checkout --force FILE.dvc'), then restore again."
        )


def _require_data(root: Path, dvc: Dvc, cache: Path, data: list[_Target]) -> None:
    """Fetch the data into the cache; raises VersioningError naming all missing artifacts."""
    absent = [target for target in data if not cached(cache, target.md5).is_file()]
    remote, message = default_remote(root), None
    if absent and remote is not None:
        folder = local_folder(root, remote[1])
        if folder is not None and not folder.is_dir():
            message = f"there is no folder {folder}"
        else:
            with pointers(root, {(target.pointer, target.blob) for target in absent}) as paths:
                message = dvc.fetch(paths)
    absent = [target for target in absent if not cached(cache, target.md5).is_file()]
    if absent:
        names = ", ".join(f"{target.path} of {target.commit[:10]}" for target in absent)
        where = (
            f"the DVC remote '{remote[0]}' ({_git.mask(remote[1])})" if remote
            else "a DVC remote (none is set)"
        )  # fmt: skip
        raise VersioningError(
            f"Nothing was restored: neither DVC's cache nor {where} has the data of {names}"
            f"{f': {message}' if message else ''}. If the machine that made it has it still, run "
            "'ftzard push' there, then restore again."
        )


def _require_whole(cache: Path, data: list[_Target]) -> None:
    """Raise VersioningError for cached data that does not match its hash."""
    for target in data:
        file = cached(cache, target.md5)
        if artifacts.dvc_hash(file) != target.md5:
            raise VersioningError(
                f"Nothing was restored: DVC's cache holds damaged data for {target.path} of "
                f"{target.commit[:10]}. Remove it, then restore again from the remote: rm -f "
                f"{in_shell(file)}"
            )


def _keep_present(dvc: Dvc, cache: Path, data: list[_Target]) -> None:
    """Put the files that will be overwritten into the cache, where they are not in it."""
    standing = [target for target in data if target.file_md5 is not None]
    dvc.add([t.path for t in standing if not cached(cache, t.file_md5).is_file()])
