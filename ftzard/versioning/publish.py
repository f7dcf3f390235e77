"""Push versions: data first, then git, never by force, and only FTzard's own commits.

A failed push is not an error here but a state with a reason, stored in `.ftzard/push.json` for
`ftzard status`; the next version or `ftzard push` sends everything.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ftzard.core.artifacts import write_json
from ftzard.errors import VersioningError, in_shell
from ftzard.versioning import git as _git
from ftzard.versioning import repository
from ftzard.versioning.dvc import Dvc, default_remote, local_folder
from ftzard.versioning.git import IDENTITY_REMEDY, Commit, attempt, git
from ftzard.versioning.lock import exclusive

MERGES = 3
_STATE = ".ftzard/push.json"
_PAST = "data/.ftzard-push"  # where neither git nor DVC ignores a .dvc file


def unpushed(root: Path) -> list[Commit]:
    """Return the commits that are not pushed, newest first.

    Those that the upstream (or, without one, any remote) has not, and those of our own line whose
    data the DVC remote has not. What was sent to another remote than today's was not sent.
    """
    root = Path(root)
    _git.require_repo(root)
    if _git.head(root) is None:
        return []
    ahead = _git.commits(root, "HEAD") if _git_remote_changed(root) else _git.commits_ahead(root)
    sent = sent_until(root, default_remote(root))
    # Merged commits were pushed by their authors: our own line is that of the first parents.
    waiting = set(git(root, "rev-list", "--first-parent", "HEAD", *([f"^{sent}"] if sent else []),
                      "--", ":(top,glob)**/*.dvc").split())
    if waiting <= {commit.sha for commit in ahead}:
        return ahead
    waiting |= {commit.sha for commit in ahead}
    return [commit for commit in _git.commits(root, "HEAD") if commit.sha in waiting]


def why_not_pushed(root: Path) -> str:
    """Return why the last push did not send everything, or that there was none."""
    root = Path(root)
    last = last_push(root) or {}
    if last.get("reason"):
        return last["reason"]
    remote = default_remote(root)
    now, before = remote and _git.mask(remote[1]), last.get("data", {}).get("remote")
    if last and now != before:
        return (f"the DVC remote is {now or 'none'}, and the last push went to {before or 'none'}; "
                "'ftzard push' sends all data there")
    if _git_remote_changed(root):
        return (f"the git remote is {_git_remote(root) or 'none'}, and the last push went to "
                f"{last['git']}; 'ftzard push' sends the commits there")
    return "it goes out with the next run, or with 'ftzard push'"


def _git_remote(root: Path) -> str | None:
    """Return the URL that commits are pushed to, as it may be shown; None without a remote."""
    target = repository.upstream(root)
    name = target[0] if target else "origin"
    done = attempt(root, "remote", "get-url", "--push", name)
    return _git.mask(done.stdout.strip()) if done.returncode == 0 else None


def _git_remote_changed(root: Path) -> bool:
    """Return whether commits are pushed to another URL than the last push's: what git remembers of
    the remote's branches is then another repository's."""
    known = (last_push(root) or {}).get("git")
    return known is not None and known != _git_remote(root)


def push(root: Path, say: Callable[[str], object] = print) -> tuple[str, str | None]:
    """Send the data of every version that is only local, then git.

    Returns ('pushed', None), or ('not pushed', reason); never raises for a push that fails.
    """
    root = Path(root)
    _git.require_repo(root)
    with exclusive(root, "push", say), Dvc(root) as dvc:
        return publish(root, dvc, "push", say)


def last_push(root: Path) -> dict | None:
    """Return {'state', 'reason', 'time'} of the last push tried here, or None.

    Raises VersioningError for a file that does not say it.
    """
    file = Path(root) / _STATE
    if not file.is_file():
        return None
    try:
        last = json.loads(file.read_text(encoding="utf-8"))
        last["data"]["remote"], last["data"]["commit"]
    except (ValueError, KeyError, TypeError) as error:
        raise VersioningError(
            f"{file} does not say what was pushed ({error!r}); remove it, then run 'ftzard push': "
            "what git's upstream has is taken for sent until then.") from error
    return last


def publish(
    root: Path, dvc: Dvc, run_id: str, say: Callable[[str], object] = print
) -> tuple[str, str | None]:
    """Do what `push` does, for a caller with the lock and an open DVC."""
    remote = default_remote(root)
    sent = sent_until(root, remote)
    reason = _why_not_data(root, dvc, remote, sent)
    if reason is None:
        sent = _git.head(root)
        reason = _why_not_git(root, run_id, say)
    state = "not pushed" if reason else "pushed"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    data = {"commit": sent, "remote": remote and _git.mask(remote[1])}
    # Where the commits went by now; until they have, what git remembers is the other place's.
    where = (last_push(root) or {}).get("git") if reason else _git_remote(root)
    write_json(root / _STATE, {"state": state, "reason": reason, "time": now, "data": data,
                               "git": where})
    return state, reason


def sent_until(root: Path, remote: tuple[str, str] | None) -> str | None:
    """Return the commit up to which the DVC remote has all data, or None.

    Remembered, not read from git's upstream: somebody may have pushed git by hand while the data
    was still local. Where nothing is remembered (a fresh clone), the upstream is believed.
    """
    last = last_push(root)
    if last is not None and last["data"]["remote"] == (remote and _git.mask(remote[1])):
        commit = last["data"]["commit"]
        if commit is None or attempt(root, "cat-file", "-e", commit).returncode == 0:
            return commit
    if last is not None or _git.head(root) is None:
        return None
    shared = attempt(root, "rev-list", "-1", *_git.elsewhere(root)[1:]).stdout.strip()
    return attempt(root, "merge-base", "HEAD", shared).stdout.strip() or None if shared else None


def _why_not_data(
    root: Path, dvc: Dvc, remote: tuple[str, str] | None, sent: str | None
) -> str | None:
    """Send the data of all versions since commit `sent`; return why it could not be, or None."""
    versions = _versions_since(root, sent)
    if not versions:
        return None
    if remote is None:
        return "kept on this disk: no DVC remote. Add one: dvc remote add -d store URL"
    folder = local_folder(root, remote[1])
    if folder is not None and not folder.is_dir():
        return (
            f"The DVC remote '{remote[0]}' does not exist: there is no folder {folder}. "
            "Mount or create it."
        )
    try:
        with pointers(root, versions) as paths:
            dvc.push(paths)
    except VersioningError as error:
        message = str(error)
        for path, blob in versions:
            artifact = path.removesuffix(".dvc")
            message = message.replace(
                f"{_PAST}/{blob}/{Path(artifact).name}", f"an older version of {artifact}"
            )
        return why_dvc_refused(message, remote)
    return None


@contextmanager
def pointers(root: Path, versions: set[tuple[str, str]]) -> Iterator[list[str]]:
    """Yield the `.dvc` files of versions; a copy of those that have been overwritten.

    Not `dvc push --all-commits`: with a relative remote it sends to another folder (found from
    the root of the file system), and it skips what it cannot read, both with exit code 0.
    """
    past = root / _PAST
    shutil.rmtree(past, ignore_errors=True)  # of a process that was killed
    paths = []
    for path, blob in sorted(versions):
        if _blob(root, path) != blob:
            copy = past / blob / Path(path).name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(git(root, "cat-file", "blob", blob), encoding="utf-8")
            path = f"{_PAST}/{blob}/{copy.name}"
        paths.append(path)
    try:
        yield paths
    finally:
        shutil.rmtree(past, ignore_errors=True)


def _versions_since(root: Path, sent: str | None) -> set[tuple[str, str]]:
    """Return (path of a `.dvc` file, git blob) for every version FTzard committed since `sent`."""
    ours = [c.sha for c in _git.commits(root, "HEAD", *([f"^{sent}"] if sent else [])) if c.ours]
    versions = set()
    if ours:
        listed = git(
            root, "diff-tree", "--stdin", "--root", "-r", "-z", "--no-commit-id", "--no-renames",
            "--diff-filter=AM", input="".join(f"{sha}\n" for sha in ours),
        ).split("\0")  # fmt: skip
        for entry, path in zip(listed[0::2], listed[1::2], strict=False):
            if path.endswith(".dvc"):
                versions.add((path, entry.split()[3]))
    return versions


def _blob(root: Path, path: str) -> str | None:
    """Return the git blob of a file in the working tree, or None."""
    done = attempt(root, "hash-object", "--", path)
    return done.stdout.strip() if done.returncode == 0 else None


def _why_not_git(root: Path, run_id: str, say: Callable[[str], object]) -> str | None:
    """Send the commits; fetch and merge when others were faster; return why not, or None."""
    name = repository.branch(root)
    if name is None:
        return "HEAD is detached, so there is no branch to push. Check one out: git switch main"
    target = repository.upstream(root)
    remotes = repository.remotes(root)
    remote, branch = target or ("origin", name)
    if not remotes:
        return "no git remote. Add one: git remote add origin URL"
    if remote not in remotes:
        return (
            f"The branch {name} has no upstream on a remote. "
            f"Set one: git push -u {remotes[0]} {name}"
        )
    net = _git.askpass(root)
    if _git_remote_changed(root):
        looked = attempt(root, *_PATIENCE, "fetch", "--prune", "--no-tags", remote, env=net)
        if looked.returncode != 0:
            return why_git_refused(root, looked.stderr, remote)
    for merges_left in reversed(range(MERGES + 1)):
        tip = _git.head(root)  # exactly the commits looked at are sent, whatever is added meanwhile
        ahead = _git.commits_ahead(root, tip)
        theirs = [commit for commit in ahead if not commit.ours]
        if theirs:
            return _foreign(theirs, remote, branch)
        if target is not None and not ahead:
            return None
        done = attempt(
            root, *_PATIENCE, "push", "--porcelain", "--no-follow-tags", remote,
            f"{tip}:refs/heads/{branch}", env=net,
        )  # fmt: skip
        if done.returncode == 0:
            if target is None:
                git(root, "config", f"branch.{name}.remote", remote)
                git(root, "config", f"branch.{name}.merge", f"refs/heads/{branch}")
            return None
        if not _RACE.search(done.stdout + done.stderr):
            return why_git_refused(root, done.stderr + done.stdout, remote)
        if merges_left:
            reason = _merge(root, remote, branch, run_id, net, say)
            if reason:
                return reason
    return (
        f"Others pushed to {remote}/{branch} first each time, after {MERGES} merges. "
        "Try again: ftzard push"
    )


_PATIENCE = ("-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60")
_RACE = re.compile(r"\((fetch first|non-fast-forward)\)|failed to update ref|cannot lock ref")


def _foreign(theirs: list[Commit], remote: str, branch: str) -> str:
    count = "1 commit" if len(theirs) == 1 else f"{len(theirs)} commits"
    return (
        f"{count} of your own not pushed yet ({theirs[0].sha[:10]} '{theirs[0].subject}'), which "
        f"FTzard does not publish for you. Push by hand: git push {remote} HEAD:{branch}"
    )


def _merge(
    root: Path, remote: str, branch: str, run_id: str, net: dict[str, str],
    say: Callable[[str], object],
) -> str | None:  # fmt: skip
    """Fetch the remote's branch and merge it; return why it could not be done, or None.

    The merge is computed without the working tree, then brought in by `git merge --ff-only`,
    which refuses, before it writes anything, to touch a file the user has changed.
    """
    seen = f"refs/remotes/{remote}/{branch}"
    fetched = attempt(
        root, *_PATIENCE, "fetch", "--no-tags", remote, f"+refs/heads/{branch}:{seen}", env=net
    )
    if fetched.returncode != 0:
        return why_git_refused(root, fetched.stderr, remote)
    ours = _git.head(root)
    by_hand = f"Merge by hand: git pull --no-rebase {remote} {branch}"
    if not _git.has_identity(root):
        return f"{remote}/{branch} has to be merged, and git knows nobody here. {IDENTITY_REMEDY}"
    merged = attempt(
        root, "-c", "merge.renames=false", "merge-tree", "--write-tree", "--name-only", "-z",
        ours, seen,
    )  # fmt: skip
    if merged.returncode == 1 and merged.stdout:
        conflicts = merged.stdout.split("\0\0")[0].split("\0")[1:]
        return f"{remote}/{branch} has other versions of {', '.join(conflicts)}. {by_hand}"
    if merged.returncode == 129:
        version = git(root, "--version").split()[2]
        return (
            f"{remote}/{branch} has commits that are not here, and git {version} cannot merge "
            f"beside the working tree (2.38 can). {by_hand}"
        )
    if merged.returncode != 0:
        message = _git.mask(" ".join(merged.stderr.split()))
        return f"{remote}/{branch} cannot be merged ({message}). {by_hand}"
    tree = merged.stdout.split("\0")[0].strip()
    text = f"Merge {remote}/{branch}\n\n{_git.TRAILER}: {run_id}\n"
    merge_commit = git(root, "commit-tree", tree, "-p", ours, "-p", seen, input=text).strip()
    moved = attempt(
        root, "-c", "merge.autoStash=false", "merge", "--ff-only", "--no-overwrite-ignore",
        "--no-stat", merge_commit,
    )  # fmt: skip
    if moved.returncode != 0:
        message = _git.mask(" ".join(moved.stderr.split()))
        return (
            f"{remote}/{branch} has commits that cannot be merged over your changes ({message}). "
            f"Commit or stash them, then: git pull --no-rebase {remote} {branch}"
        )
    changed = git(root, "diff", "--name-only", "-z", ours, merge_commit).split("\0")
    newer = [path for path in changed if path.endswith(".dvc")]
    if newer:
        say(f"Merged {remote}/{branch}; newer data there: dvc pull {in_shell(*newer)}")
    return None


_REASONS = (
    (r"the data is absent", "did not get all data"),
    (r"Host key verification failed", "does not show the SSH host key that is known for it"),
    (r"Authentication failed|could not read (Username|Password)|terminal prompts disabled"
     r"|Permission denied \(|\b40[13]\b|Access denied|Forbidden|AccessDenied|InvalidAccessKeyId"
     r"|Unable to locate credentials|SignatureDoesNotMatch|ExpiredToken|InvalidToken",
     "refused the credentials; renew the token or key"),
    (r"Could not resolve|Failed to connect|Connection refused|Connection reset|timed out"
     r"|Network is unreachable|No route to host|Cannot connect|Could not connect"
     r"|Operation too slow|Temporary failure|Connection closed",
     "cannot be reached; is the network down?"),
    (r"does not appear to be a git repository|[Rr]epository .*not found|does not exist"
     r"|NoSuchBucket|\b404\b|No such file", "was not found"),
    (r"no remote specified|No remote", "is not set"),
    (r"No space left|Disk quota|disk full", "has no space left"),
    (r"Read-only file system|Permission denied", "may not be written to"),
    (r"remote rejected|pre-receive|protected branch", "has a rule that refuses this push"),
)  # fmt: skip


def why_git_refused(root: Path, message: str, remote: str) -> str:
    """Return a sentence on why git could not reach or write to a remote, with git's message."""
    url = _git.mask(attempt(root, "remote", "get-url", remote).stdout.strip())
    return _because(f"The git remote '{remote}' ({url})", message, "refused")


def why_dvc_refused(message: str, remote: tuple[str, str] | None) -> str:
    """Return a sentence on why DVC could not send data, with DVC's message."""
    name = f"The DVC remote '{remote[0]}' ({_git.mask(remote[1])})" if remote else "The DVC remote"
    return _because(name, message, "refused the data")


def _because(who: str, message: str, otherwise: str) -> str:
    what = next((text for pattern, text in _REASONS if re.search(pattern, message)), otherwise)
    words = _git.mask(" ".join(message.split()))
    return f"{who} {what}. ({words[:600]})"
