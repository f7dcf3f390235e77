"""Commit a step's artifacts with DVC and git, and report how far they got.

The order is: dvc add, a git commit of exactly the changed files, dvc push, git push. The commit is
built in an index of its own, so the user's staged and unstaged edits stay as they are.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ftzard.core.artifacts import ArtifactRef, verify, write_atomically
from ftzard.errors import VersioningError, in_shell
from ftzard.versioning import git as _git
from ftzard.versioning.dvc import Dvc, dvc_path, read_dvc, with_name, with_rows
from ftzard.versioning.git import attempt, git
from ftzard.versioning.ignored import obstacle, sentence
from ftzard.versioning.lock import exclusive
from ftzard.versioning.publish import publish
from ftzard.versioning.versions import data_version

INDEX_LOCK_WAIT_S = 20.0
_NO_COMMIT = "0" * 40
# A user's core.safecrlf=true refuses files whose line ends core.autocrlf would change.
_ANY_LINE_END = ("-c", "core.safecrlf=false")


@dataclass(frozen=True)
class Versioned:
    """The result of versioning a step's artifacts.

    Attributes:
        handles: As given, each with the commit at which its `.dvc` file says what it says.
        commit: HEAD, which holds them all.
        changed: Whether this call made that commit.
        pushed: 'pushed', 'not pushed' or 'off'.
        reason: A sentence when not pushed, else None.
        code_commit: One that holds all code as it ran, None if there was none or each file is in
            another one.
    """

    handles: tuple[ArtifactRef, ...]
    commit: str
    changed: bool
    pushed: str
    reason: str | None
    code_commit: str | None = None


@dataclass(frozen=True)
class CodeFile:
    """A file of the user's code as a run used it.

    Attributes:
        path: Below the root, where it stood.
        source_file: Has the bytes that ran.
        seen_at: HEAD when they were read, None before the first commit.
    """

    path: str
    source_file: Path
    seen_at: str | None


def version(
    root: Path,
    artifacts: Sequence[ArtifactRef],
    *,
    also: Sequence[Path] = (),
    code: Sequence[CodeFile] = (),
    delivered_as: Mapping[str, str] | None = None,
    message: str,
    run_id: str,
    push: bool = True,
    require_push: bool = False,
    say: Callable[[str], object] = print,
) -> Versioned:
    """Version artifacts with DVC and git; return their handles with commits.

    Args:
        also: Small text files that git itself keeps (a model record), below `root`.
        code: The user's files that the run used; they are committed as they ran, and what the user
            has made of them since stays as it is, in the working tree, the index or a commit of
            their own.
        delivered_as: {path of a delivery: name of the file it came as}.
        message: The commit's text.
        run_id: Goes into its trailer `FTzard-Run`.
        push: Send data, then git.
        require_push: Raise if that fails instead of reporting it.
        say: Told when this has to wait.

    Unchanged data makes no commit: its handle gets the commit that last touched its `.dvc` file.
    Raises DataError if a file has not the bytes its handle promises, VersioningError if an add or
    a commit fails; then nothing was committed.
    """
    root = Path(root)
    _git.require_repo(root)
    _require_single_line(run_id)
    data = [_relative(root, handle.path) for handle in artifacts]
    texts = [_relative(root, path) for path in also]
    _require_workspace(root, data)
    for path in texts:
        if not (root / path).is_file():
            raise VersioningError(f"{path} is to be committed but does not exist in {root}.")
    with exclusive(root, f"run {run_id}", say), Dvc(root) as dvc:
        for handle in artifacts:
            verify(handle, root)
        wait_for_index(root, say)
        pointers = dvc.add(data)
        for handle, pointer in zip(artifacts, pointers, strict=True):
            verify(handle, root)
            _note(root, pointer, handle.rows, (delivered_as or {}).get(handle.path))
        made, code_commit = _commit_with_code(root, [*pointers, *texts], code, message=message,
                                              run_id=run_id, say=say)
        last = {path: data_version(root, path) for path in pointers}
        handles = tuple(h.at(last[dvc_path(p)]) for h, p in zip(artifacts, data, strict=True))
        state, reason = publish(root, dvc, run_id, say) if push else ("off", None)
        commit = _git.head(root)
    if require_push and state == "not pushed":
        raise VersioningError(
            f"The version {commit[:10]} is committed but could not be pushed: {reason} "
            "It stays local; mend that and run 'ftzard push'. "
            "(versioning.require_push is on, so the step fails.)"
        )
    return Versioned(handles, commit, made is not None, state, reason, code_commit)


def _commit_with_code(root: Path, paths: Sequence[str], code: Sequence[CodeFile], *, message: str,
                      run_id: str, say: Callable[[str], object]) -> tuple[str | None, str | None]:
    """Commit files and code; return (the commit that was made, one that holds all the code).

    Code of which somebody has committed another version since it was read is committed as it ran,
    unless a commit has it already, and then set back to what was committed in between.
    """
    ran = {file.path: git(root, *_ANY_LINE_END, "hash-object", "-w", f"--path={file.path}",
                          str(file.source_file)).strip() for file in code}
    head = _git.head(root)
    now, elsewhere = _blobs(root, head, list(ran)), set()
    back: dict[str, str | None] = {}
    for file in code:
        path, current = file.path, now.get(file.path)
        if current in (ran[path], _blobs(root, file.seen_at, [path]).get(path)):
            continue
        unchanged = head is not None and git(
            root, "--literal-pathspecs", "log", "-1", "--format=%H", f"--find-object={ran[path]}",
            "--", path).strip()
        if unchanged:
            elsewhere.add(path)
        else:
            back[path] = current
    blobs = {path: blob for path, blob in ran.items() if path not in elsewhere}
    commit = commit_paths(root, paths, blobs=blobs, message=message, run_id=run_id, say=say)
    holds = None if elsewhere or not ran else commit or _git.head(root)
    if back:
        commit_paths(root, [], blobs=back, run_id=run_id, say=say,
                     message=f"{', '.join(sorted(back))} as committed while the run worked")
    return commit, holds


def _blobs(root: Path, revision: str | None, paths: Sequence[str]) -> dict[str, str]:
    """Return {path: blob id} of the given paths in a revision."""
    if revision is None or not paths or _git.attempt(
            root, "cat-file", "-e", f"{revision}^{{commit}}").returncode != 0:
        return {}
    listed = git(root, "--literal-pathspecs", "ls-tree", "-z", revision, "--", *paths)
    return {entry.split("\t", 1)[1]: entry.split("\t", 1)[0].split()[2]
            for entry in listed.split("\0") if entry}


def commit_paths(
    root: Path,
    paths: Sequence[str],
    *,
    blobs: Mapping[str, str | None] | None = None,
    message: str,
    run_id: str,
    say: Callable[[str], object] = print,
) -> str | None:
    """Commit exactly these files as they are in the working tree; None if nothing changed.

    The user's index keeps what it holds; only entries for these paths that the user had not staged
    otherwise follow the commit, so that `git status` shows no ghosts.

    Args:
        paths: Relative to `root`.
        blobs: {path: git's name of a blob, None for no file}, committed whatever is in the working
            tree.
    """
    require_identity(root)
    blobs = blobs or {}
    paths = sorted({*paths} - {*blobs})
    every = sorted({*paths, *blobs})
    text = f"{message.strip()}\n\n{_git.TRAILER}: {run_id}\n"
    for _ in range(10):
        old = _git.head(root)
        with _private_index() as env:
            git(root, "read-tree", old or "--empty", env=env)
            before = _entries(root, every, env)
            if paths:
                git(root, *_ANY_LINE_END, "update-index", "--add", "--", *paths, env=env)
            _set_blobs(root, blobs, before, env)
            after = _entries(root, every, env)
            changed = [path for path in every if before.get(path) != after.get(path)]
            tree = git(root, "write-tree", env=env).strip()
        _follow(root, before, after, every, blobs, say)
        if not changed:
            return None
        parent = ["-p", old] if old else []
        new = git(root, "commit-tree", tree, *parent, input=text).strip()
        log = f"ftzard: {message.strip().splitlines()[0]}"
        moved = attempt(root, "update-ref", "-m", log, "HEAD", new, old or _NO_COMMIT)
        if moved.returncode == 0:
            return new
        if _git.head(root) == old and ".lock" not in moved.stderr:
            raise VersioningError(_git.failure(root, moved))
        time.sleep(0.2)  # another commit came first or the branch is locked: build it again
    raise VersioningError(_git.failure(root, moved))


def _note(root: Path, pointer: str, rows: int | None, name: str | None) -> None:
    """Write the row count and the name of the data into a `.dvc` file, for clones.

    Data that is committed already keeps what its `.dvc` file said: unchanged data, no commit.
    """
    file = root / pointer
    text = file.read_text(encoding="utf-8")
    content = read_dvc(text, pointer)
    if content.rows == rows and name in (None, content.delivered_as):
        return
    committed = attempt(root, "cat-file", "blob", f"HEAD:{pointer}")
    if committed.returncode == 0:
        before = read_dvc(committed.stdout, f"{pointer} at HEAD")
        if before.md5 == content.md5:
            rows, name = before.rows, before.delivered_as
    noted = with_name(with_rows(text, rows), name)
    if noted != text:
        write_atomically(file, lambda part: part.write_text(noted, encoding="utf-8"))


def wait_for_index(root: Path, say: Callable[[str], object] = print) -> None:
    """Wait a limited time until no other git command holds the repository's index."""
    lock = root / git(root, "rev-parse", "--git-path", "index.lock").strip()
    if not lock.exists():
        return
    say(f"Waiting up to {INDEX_LOCK_WAIT_S:.0f} s for another git command: {lock} exists.")
    last = time.monotonic() + INDEX_LOCK_WAIT_S
    while lock.exists():
        if time.monotonic() >= last:
            raise VersioningError(
                f"{lock} has been held for {INDEX_LOCK_WAIT_S:.0f} s: another git command is "
                "running, or one that died left it behind. If none is running, remove it: "
                f"rm {in_shell(lock)}"
            )
        time.sleep(0.1)


def _set_blobs(root: Path, blobs: Mapping[str, str | None], before: Mapping[str, tuple[str, ...]],
               env: dict[str, str]) -> None:
    """Set the blobs of paths in an index; a path keeps its mode."""
    lines = []
    for path, blob in blobs.items():
        mode = before[path][0].split()[0] if before.get(path) else "100644"
        mode = mode if mode in ("100644", "100755") else "100644"
        lines.append(f"0 {_NO_COMMIT}\t{path}\0" if blob is None else f"{mode} {blob}\t{path}\0")
    if lines:
        git(root, "update-index", "-z", "--index-info", input="".join(lines), env=env)


def _follow(root: Path, before: dict, after: dict, every: Sequence[str],
            blobs: Mapping[str, str | None], say: Callable[[str], object]) -> None:
    """Update the user's index to the commit where it equals the former HEAD.

    It runs before the branch moves: a kill in between leaves files that are merely staged, and
    the next commit takes them; the other order would leave their removal staged.
    """
    staged = _entries(root, every, {})
    ours = [p for p in every if staged.get(p) == before.get(p) and staged.get(p) != after.get(p)]
    if not ours:
        return
    files = [path for path in ours if path not in blobs]
    entries = [f"{entry}\t{path}\0" for path in ours if path in blobs
               for entry in after.get(path) or (f"0 {_NO_COMMIT}",)]
    while True:
        wait_for_index(root, say)
        done = attempt(root, *_ANY_LINE_END, "update-index", "--add", "-z", "--stdin",
                       input="".join(f"{path}\0" for path in files))
        if done.returncode == 0 and entries:
            done = attempt(root, "update-index", "-z", "--index-info", input="".join(entries))
        if done.returncode == 0:
            return
        if "index.lock" not in done.stderr:
            raise VersioningError(_git.failure(root, done))


def _entries(root: Path, paths: Sequence[str], env: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """Return {path: its 'mode blob stage' lines} of an index."""
    listed = git(root, "--literal-pathspecs", "ls-files", "-s", "-z", "--", *paths, env=env)
    entries: dict[str, tuple[str, ...]] = {}
    for line in listed.split("\0"):
        if line:
            entry, path = line.split("\t", 1)
            entries[path] = (*entries.get(path, ()), entry)
    return entries


def index_entries(root: Path, paths: Sequence[str]) -> dict[str, list[str]]:
    """Return {path: its 'mode blob stage' lines} of the repository's index, for those it has."""
    return {path: list(lines) for path, lines in _entries(root, paths, {}).items()}


def restore_index(root: Path, paths: Sequence[str], before: dict[str, list[str]]) -> None:
    """Restore the index entries of these paths that `index_entries` returned before."""
    now = index_entries(root, paths)
    changed = [path for path in paths if now.get(path) != before.get(path)]
    lines = [f"0 {'0' * 40}\t{path}\0" for path in changed if path in now]
    lines += [f"{entry}\t{path}\0" for path in changed for entry in before.get(path, ())]
    if lines:
        git(root, "update-index", "-z", "--index-info", input="".join(lines))


@contextmanager
def _private_index() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="ftzard-index-") as folder:
        yield {"GIT_INDEX_FILE": os.path.join(folder, "index")}


def _relative(root: Path, path: str | Path) -> str:
    """Return a path below the root with forward slashes; raises VersioningError outside it."""
    full = Path(os.path.abspath(root / path))
    try:
        return str(PurePosixPath(full.relative_to(os.path.abspath(root))))
    except ValueError as error:
        raise VersioningError(
            f"{path} is outside the workspace {root}; only files in it can be versioned."
        ) from error


def _require_single_line(run_id: str) -> None:
    if not run_id.strip() or len(run_id.splitlines()) != 1:
        raise VersioningError(f"The run id {run_id!r} must be one line that is not empty.")


def _require_workspace(root: Path, data: Sequence[str]) -> None:
    """Raise VersioningError for what DVC would otherwise fix by editing the user's files."""
    if not (root / ".dvc" / "config").is_file():
        raise VersioningError(
            f"{root} is not a DVC repository: .dvc/config is missing; bring it back with "
            "'git restore .dvc', or run 'ftzard init' in it if it is no workspace yet."
        )
    ignored = attempt(root, "check-ignore", "-z", "--stdin", input="".join(f"{p}\0" for p in data))
    if ignored.returncode > 1:
        raise VersioningError(_git.failure(root, ignored))
    hidden = obstacle(root, [dvc_path(path) for path in data])
    if hidden is not None:
        raise VersioningError(sentence(root, hidden))
    for path in data:
        if path not in ignored.stdout.split("\0"):
            folder = path.split("/")[0]
            raise VersioningError(
                f"{path} is not ignored by git, so git and DVC would both keep it; restore "
                f"{folder}/.gitignore with 'git restore {folder}/.gitignore', or, if git tracks "
                f"the file already, run 'git rm --cached {path}'."
            )


def require_identity(root: Path) -> None:
    """Raise VersioningError, with the remedy, if git has no author identity."""
    if not _git.has_identity(root):
        raise VersioningError(
            f"git does not know who commits in {root}. {_git.IDENTITY_REMEDY}"
        )
