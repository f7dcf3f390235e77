"""Reading the record back: which versions an artifact had, and which commit holds each."""

from dataclasses import dataclass
from pathlib import Path

from ftzard.versioning import git as _git
from ftzard.versioning.dvc import dvc_path, read_dvc
from ftzard.versioning.git import git


@dataclass(frozen=True)
class Version:
    """One version of an artifact.

    time: of the commit, ISO 8601; md5: of the data, its name in DVC's cache; size: in bytes;
    run_id: of the run that made it, None if somebody committed it by hand.
    """

    commit: str
    time: str
    subject: str
    run_id: str | None
    md5: str
    size: int | None


def data_version(root: Path, path: str) -> str | None:
    """Return the commit that last touched the `.dvc` file of an artifact, or None."""
    if _git.head(root) is None:
        return None
    return git(
        root, "--literal-pathspecs", "log", "-1", "--format=%H", "--", dvc_path(str(path))
    ).strip() or None


def history(root: Path, path: str) -> list[Version]:
    """Return the versions of an artifact (or of its `.dvc` file), newest first."""
    _git.require_repo(Path(root))
    pointer = dvc_path(str(path))
    if _git.head(root) is None:
        return []
    found = []
    for commit in _git.commits(root, "--diff-filter=AM", "HEAD", "--", pointer):
        text = git(root, "cat-file", "blob", f"{commit.sha}:{pointer}")
        md5, size = read_dvc(text, f"{pointer} at {commit.sha[:10]}")
        time = git(root, "show", "-s", "--format=%cI", commit.sha).strip()
        found.append(Version(commit.sha, time, commit.subject, commit.run_id, md5, size))
    return found
