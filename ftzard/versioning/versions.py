"""The versions of every artifact, which of them are in force, and which are pushed.

Everything is read from git, so a clone of the workspace's remote gives the same answers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ftzard.errors import VersioningError
from ftzard.versioning import git as _git
from ftzard.versioning import repository
from ftzard.versioning.dvc import Pointer, dvc_path, read_dvc
from ftzard.versioning.git import TRAILER, attempt, git
from ftzard.versioning.publish import unpushed, why_not_pushed  # noqa: F401

POINTERS = ":(top,glob)**/*.dvc"
RECORDS = ":(top,glob)models/*/*.yaml"
_NO_BLOB = "0" * 40
_LOG = (
    "-c", "log.showSignature=false", "log", "-z", "--full-history", "--date-order", "-c", "--raw",
    "--no-abbrev", "--no-renames",
    f"--format=%x1e%H%x1f%cI%x1f%s%x1f%(trailers:key={TRAILER},valueonly,separator=%x2C)",
)  # fmt: skip


@dataclass(frozen=True)
class Version:
    """A version of an artifact, or of a text file in git.

    Attributes:
        path: Of the artifact.
        commit: At which it was made.
        time: Of the commit, ISO 8601.
        run_id: Of the run that made it, None if somebody committed it by hand.
        blob: git's name for the `.dvc` file, or for the text. md5 (its name in DVC's cache), size
            (bytes) and rows are what the `.dvc` file says; None where it does not.
    """

    path: str
    commit: str
    time: str
    subject: str
    run_id: str | None
    blob: str
    md5: str | None = None
    size: int | None = None
    rows: int | None = None


def data_version(root: Path, path: str) -> str | None:
    """Return the commit that last touched the `.dvc` file of an artifact, or None."""
    return last_touched(root, dvc_path(str(path)))


def last_touched(root: Path, path: str) -> str | None:
    """Return the commit that last changed a tracked file, or None."""
    if _git.head(root) is None:
        return None
    return git(
        root, "--literal-pathspecs", "log", "-1", "--format=%H", "--", str(path)
    ).strip() or None


def history(root: Path, path: str) -> list[Version]:
    """Return the versions of an artifact (or of its `.dvc` file), newest first."""
    return every_version(root, paths=[f":(top,literal){dvc_path(str(path))}"])


def every_version(
    root: Path, revision: str = "HEAD", *, paths: Iterable[str] = (POINTERS,)
) -> list[Version]:
    """Return all versions in a revision's history, newest first.

    A `.dvc` file that cannot be read is a version without md5.

    Args:
        paths: Git pathspecs; `RECORDS` lists the model records.
    """
    root, paths = Path(root), tuple(paths)
    _git.require_repo(root)
    if not paths or _git.head(root) is None:
        return []
    versions = _changes(root, revision, paths)
    pointers = _pointers_of(root, {v.blob for v in versions if v.path.endswith(".dvc")})
    return [_described(version, pointers) for version in versions]


def in_force(root: Path, revision: str, *, paths: Iterable[str] = (POINTERS,)) -> dict[str, str]:
    """Return {path of an artifact: commit of its version in a revision's tree}."""
    tree = repository.tree_at(root, revision)
    commits: dict[str, str] = {}
    for version in _changes(root, revision, paths):
        if tree.get(version.path) == version.blob:
            commits.setdefault(version.path.removesuffix(".dvc"), version.commit)
    return commits


def commit_named(root: Path, name: str) -> str | None:
    """Return the commit of a revision or of a run's id, or None."""
    if name.startswith("-"):
        return None
    commit = attempt(root, "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}").stdout.strip()
    if commit or _git.head(root) is None:
        return commit or None
    return next((c.sha for c in _git.commits(root, "HEAD") if c.run_id == name), None)


def is_here(root: Path, revision: str) -> bool:
    """Return whether this repository has a commit."""
    return attempt(root, "cat-file", "-e", f"{revision}^{{commit}}").returncode == 0


def whether_pushed(root: Path) -> dict[str, bool]:
    """Return {commit: whether it and its data are pushed} for HEAD's history."""
    if _git.head(root) is None:
        return {}
    local = {commit.sha for commit in unpushed(root)}
    return {sha: sha not in local for sha in git(root, "rev-list", "HEAD").split()}


def _changes(root: Path, revision: str, paths: Iterable[str]) -> list[Version]:
    """Return a version per commit and changed file, newest first.

    Of a merge, only the files that differ from all its parents: what was decided by hand.
    """
    changes = []
    for record in git(root, *_LOG, revision, "--", *paths).split("\x1e")[1:]:
        head, _, listed = record.partition("\0")
        commit, time, subject, run_id = head.rstrip("\n").split("\x1f")
        fields = listed.lstrip("\n\0").split("\0")
        for entry, path in zip(fields[0::2], fields[1::2], strict=False):
            parents = len(entry) - len(entry.lstrip(":"))
            blob = entry.split()[2 * parents + 1]  # modes and blobs: each parent's, then its own
            if blob != _NO_BLOB:
                changes.append(Version(path, commit, time, subject, run_id.strip() or None, blob))
    return changes


def _pointers_of(root: Path, blobs: set[str]) -> dict[str, Pointer]:
    """Return {blob id: its content} of `.dvc` files, without unreadable ones."""
    pointers = {}
    for blob, text in repository.texts_of(root, blobs).items():
        try:
            pointers[blob] = read_dvc(text, blob)
        except VersioningError:
            continue  # committed broken: reported where its data is needed
    return pointers


def _described(version: Version, pointers: dict[str, Pointer]) -> Version:
    pointer = pointers.get(version.blob, Pointer(None, None, None))
    return Version(
        version.path.removesuffix(".dvc"), version.commit, version.time, version.subject,
        version.run_id, version.blob, pointer.md5, pointer.size, pointer.rows,
    )  # fmt: skip
