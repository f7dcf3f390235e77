"""Leftovers of killed processes: half-written files, locks, folders.

Nothing counts as left over while a run works in the workspace or git and DVC are busy in it.
"""

import fcntl
import json
import os
import shutil
from pathlib import Path

from ftzard.core.locks import alive
from ftzard.doctor.finding import OK, WARNING, WRONG, Finding, counted, listed
from ftzard.errors import in_shell
from ftzard.orchestration import init_journal
from ftzard.versioning import git
from ftzard.versioning.worktree import lock_of
from ftzard.workspace.workspace import Workspace

#: Folders of the state that hold other programs' files; nothing half-written of ours is in them.
_NOT_OURS = {"mlartifacts", "dagster", "worktrees", "logs"}


def holder(doing: str) -> dict:
    """Return the content of a lock file of this process."""
    return {"pid": os.getpid(), "doing": doing}


def at_work(place: Workspace) -> str | None:
    """Return the process that works in the workspace, as a phrase, or None."""
    for name, what in (("run.lock", "a run works here"), ("git_dvc.lock", "git and DVC are busy")):
        lock = place.state / name
        if lock.is_file() and is_locked(lock):
            holder_text = lock.read_text(encoding="utf-8", errors="replace").strip()
            return f"{what} ({holder_text})" if holder_text else what
    return None


def is_locked(lock: Path) -> bool:
    """Return whether a living process holds a file lock; the system releases those of dead ones."""
    with open(lock, "rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(stream, fcntl.LOCK_UN)
    return False


def locks(place: Workspace) -> list[Finding]:
    """Locks: their holders, stale ones, and whether DVC's list of them is readable."""
    findings = []
    stale = [lock for lock in sorted(place.state.glob("*.lock"))
             if lock.stat().st_size and not is_locked(lock)]
    if stale:
        findings.append(Finding(
            "locks", WARNING,
            f"{listed([lock.name for lock in stale])}: named by a process that is gone. Harmless: "
            "the system has freed it, and the next run takes it.",
            f"ftzard doctor --fix -w {place.in_shell}", lambda: _empty(stale)))
    rwlock = place.root / ".dvc" / "tmp" / "rwlock"
    if rwlock.is_file():
        findings += _dvc_lock(place, rwlock)
    work = at_work(place)
    return findings or [Finding("locks", OK, f"{work}." if work else "none is held.")]


def _dvc_lock(place: Workspace, rwlock: Path) -> list[Finding]:
    text = rwlock.read_text(encoding="utf-8", errors="replace")
    try:
        content = json.loads(text)
        infos = [info for mode in ("read", "write") for value in content.get(mode, {}).values()
                 for info in (value if isinstance(value, list) else [value])]
        pids = {int(info["pid"]) for info in infos}
    except (ValueError, TypeError, AttributeError, KeyError):
        return [Finding(
            "locks", WRONG,
            f"{place.relative(rwlock)} cannot be read: a DVC process died while it wrote it, and "
            "DVC refuses to work until it is gone.", f"rm {in_shell(rwlock)}",
            lambda: _remove([rwlock]))]
    dead = sorted(pid for pid in pids if not alive(pid))
    if not dead or any(alive(pid) for pid in pids):
        return []
    return [Finding(
        "locks", WARNING,
        f"{place.relative(rwlock)} names process {listed([str(pid) for pid in dead])}, which is "
        "gone; DVC would say so at its next command.", f"rm {in_shell(rwlock)}",
        lambda: _remove([rwlock]))]


def half_written(place: Workspace) -> list[Finding]:
    """Temporary files and folders, and a model's folder whose exchange was interrupted."""
    work = at_work(place)
    if work:
        return [Finding("files", OK, f"not looked at: {work}.")]
    findings = []
    parts = sorted(_parts(place))
    if parts:
        findings.append(Finding(
            "files", WARNING,
            f"{counted(len(parts), 'file')} half written by a process that was killed: "
            f"{listed([place.relative(part) for part in parts])}. What stands under the final "
            "names is whole.", f"ftzard doctor --fix -w {place.in_shell}", lambda: _remove(parts)))
    exchanges = sorted(_exchanges(place))
    lost = [(scratch, target) for scratch, target in exchanges
            if (scratch / "old").is_dir() and not target.exists()]
    if lost:
        findings.append(Finding(
            "files", WRONG,
            f"{listed([place.relative(target) for _, target in lost])}: taken away and not yet "
            "replaced when its process was killed.", f"ftzard doctor --fix -w {place.in_shell}",
            lambda: _put_back(lost)))
    folders = [scratch for scratch, target in exchanges if (scratch, target) not in lost]
    past = place.root / "data" / ".ftzard-push"
    folders += [past] if past.exists() else []
    if folders:
        findings.append(Finding(
            "files", WARNING,
            f"{counted(len(folders), 'temporary folder')} left by a process that was killed: "
            f"{listed([place.relative(folder) for folder in folders])}.",
            f"ftzard doctor --fix -w {place.in_shell}", lambda: _remove(folders)))
    return findings or [Finding("files", OK, "none is half written.")]


def unfinished_init(place: Workspace) -> list[Finding]:
    """An `init` that was killed between its files and their first commit."""
    if not init_journal.interrupted(place.root):
        return [Finding("init", OK, "it was finished.")]
    return [Finding(
        "init", WRONG, f"an 'ftzard init' was cut off before its first commit ("
                       f"{place.relative(place.root / init_journal.JOURNAL)} is left).",
        f"the same 'ftzard init {place.in_shell} …' again; it finishes")]


def unfinished_restore(place: Workspace) -> list[Finding]:
    """A `restore` that was killed between its first file and its commit."""
    if not place.unfinished_restore.is_file() or at_work(place):
        return [Finding("restore", OK, "it was finished.")]
    left = place.relative(place.unfinished_restore)
    return [Finding(
        "restore", WRONG, f"an 'ftzard restore' was cut off ({left} is left): some files may be of "
                          "one version and some of another.",
        f"ftzard doctor --fix -w {place.in_shell}", lambda: _finish_restore(place))]


def _finish_restore(place: Workspace) -> str:
    from ftzard.registry import restore

    return restore.finish(place, say=lambda line: None)


def _walk(place: Workspace):
    for top in (place.root / "data", place.root / "models", place.root / "reports", place.state):
        for folder, names, files in os.walk(top):
            if Path(folder) == place.state:
                names[:] = [name for name in names if name not in _NOT_OURS]
            yield Path(folder), names, files


def _parts(place: Workspace):
    for folder, _, files in _walk(place):
        for name in files:
            if name.startswith(".") and (name.endswith(".part") or ".part-" in name):
                yield folder / name
    cache = place.root / ".dvc" / "cache" / "files" / "md5"
    yield from (part for pattern in (".*.tmp", "*/.*.tmp") for part in cache.glob(pattern))


def _exchanges(place: Workspace):
    """Yield (temporary folder, its target) of folders that are packed or exchanged."""
    for folder, names, _ in _walk(place):
        for name in list(names):
            inside = folder / name
            if name.startswith(".unpack."):
                yield inside, folder / name
            elif name.startswith(".") and name.count(".") >= 2 and (
                    (inside / "new").is_dir() or (inside / "old").is_dir()):
                yield inside, folder / name[1:].rpartition(".")[0]
            else:
                continue
            names.remove(name)


def worktrees(place: Workspace) -> list[Finding]:
    """Worktrees under .ftzard/worktrees without a process."""
    if not git.is_repo(place.root):
        return []
    folder = place.state / "worktrees"
    left = [path for path in sorted(folder.glob("*")) if path.is_dir() and not _in_use(path)
            and not (lock_of(path).is_file() and is_locked(lock_of(path)))]
    listing = git.attempt(place.root, "worktree", "list", "--porcelain").stdout
    gone = [entry for entry in listing.split("\n\n")
            if "\nprunable" in entry and entry.startswith(f"worktree {folder}")]
    if not left and not gone:
        return [Finding("worktrees", OK, "none is left over.")]
    names = [place.relative(path) for path in left] or [counted(len(gone), "entry of git")]
    return [Finding(
        "worktrees", WARNING,
        f"{listed(names)}: made to reproduce a model by a process that is gone.",
        "git worktree remove --force " + in_shell(left[0]) if left else "git worktree prune",
        lambda: _remove_worktrees(place, left))]


def _in_use(folder: Path) -> bool:
    """Return whether a process works in a folder, or names it on its command line."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            here = Path(os.readlink(entry / "cwd")).is_relative_to(folder)
            arguments = (entry / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended, or is another user's
        if here or os.fsencode(folder) in arguments:
            return True
    return not Path("/proc/self").exists()


def _remove_worktrees(place: Workspace, left: list[Path]) -> str:
    for path in left:
        if git.attempt(place.root, "worktree", "remove", "--force", "--force",
                       str(path)).returncode != 0:
            shutil.rmtree(path)
    git.git(place.root, "worktree", "prune")
    return f"removed {counted(len(left), 'worktree')} that nobody works in."


def _empty(stale: list[Path]) -> str:
    for lock in stale:
        if lock.name != "run.lock" and not is_locked(lock):  # run.lock is ours meanwhile
            lock.write_text("")
    return f"emptied {listed([lock.name for lock in stale])}."


def _remove(paths: list[Path]) -> str:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return f"removed {listed([path.name for path in paths])}."


def _put_back(lost: list[tuple[Path, Path]]) -> str:
    for scratch, target in lost:
        (scratch / "old").rename(target)
        shutil.rmtree(scratch)
    return f"put back {listed([target.name for _, target in lost])} as it was."
