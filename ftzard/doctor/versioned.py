"""git, DVC and their remotes: obstacles to the next version, and what is not pushed."""

import os
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from ftzard.core.artifacts import dvc_hash, write_atomically
from ftzard.doctor.finding import OK, WARNING, WRONG, Finding, counted, listed
from ftzard.doctor.leftovers import at_work
from ftzard.errors import VersioningError, in_shell
from ftzard.versioning import git, own_code
from ftzard.versioning import ignored as hiding
from ftzard.versioning.commit import version
from ftzard.versioning.dvc import Dvc, default_remote, dvc_path, local_folder, read_dvc
from ftzard.versioning.publish import last_push, push, why_git_refused
from ftzard.versioning.publish import unpushed as commits_here
from ftzard.versioning.repository import branch, upstream
from ftzard.workspace.workspace import Workspace

NETWORK_S = 8.0

#: What git leaves in its folder while something of the user's is half done.
_HALF_DONE = {
    "MERGE_HEAD": ("a merge", "git merge --continue (or --abort)"),
    "CHERRY_PICK_HEAD": ("a cherry-pick", "git cherry-pick --continue (or --abort)"),
    "REVERT_HEAD": ("a revert", "git revert --continue (or --abort)"),
    "rebase-merge": ("a rebase", "git rebase --continue (or --abort)"),
    "rebase-apply": ("a rebase", "git rebase --continue (or --abort)"),
    "BISECT_LOG": ("a bisection", "git bisect reset"),
}
#: Looking writes nothing, not even the index that 'git status' would refresh.
_LOOK = {"GIT_OPTIONAL_LOCKS": "0"}


def repository(place: Workspace) -> list[Finding]:
    """git itself: a repository, an identity, a branch, no lock of a dead process, nothing half
    done."""
    try:
        git.require_repo(place.root)
    except VersioningError as error:
        return [Finding("git", WRONG, str(error), f"git init {place.root}")]
    findings = []
    if not git.has_identity(place.root):
        findings.append(Finding("git", WRONG, "git does not know who commits here.",
                                "git config user.name 'Your Name'; git config user.email you@…"))
    if git.head(place.root) is None:
        findings.append(Finding("git", WARNING, "there is no commit yet.",
                                "git add ftzard.yaml && git commit"))
    elif branch(place.root) is None:
        findings.append(Finding(
            "git", WARNING, "HEAD is detached: versions are committed, but to no branch, and "
            "cannot be pushed.", "git switch -c NAME (keeps them), or git switch main"))
    folder = Path(git.git(place.root, "rev-parse", "--absolute-git-dir").strip())
    locks = [*sorted(folder.glob("*.lock")), *sorted((folder / "refs").rglob("*.lock"))]
    if locks:
        findings.append(_stale(place, folder, locks))
    for name, (what, command) in _HALF_DONE.items():
        if (folder / name).exists():
            findings.append(Finding("git", WARNING, f"{what} of yours is in progress.", command))
    return findings or [Finding("git", OK, f"branch {branch(place.root)} at "
                                        f"{git.head(place.root)[:10]}.")]


def ignored(place: Workspace) -> list[Finding]:
    """Rules by which git hides `.dvc` files, model records or the config."""
    if not git.is_repo(place.root):
        return []
    rule = hiding.obstacle(place.root)
    if rule is None:
        return [Finding("ignored", OK, "git sees every version's files, and no data.")]
    file = place.root / ".gitignore"
    lines = "".join(f"{line}\n" for line in hiding.UNIGNORED)

    def take_back() -> str:
        before = file.read_text(encoding="utf-8") if file.is_file() else ""
        end = "\n" if before and not before.endswith("\n") else ""
        write_atomically(file, lambda part: part.write_text(before + end + lines,
                                                            encoding="utf-8"))
        return f"added to .gitignore: {' '.join(hiding.UNIGNORED)}"

    nearer = not hiding.goes_over(rule)
    return [Finding("ignored", WRONG, hiding.sentence(place.root, rule),
                    f"edit {place.root / rule.file}" if nearer else
                    f"ftzard doctor --fix -w {place.in_shell}", None if nearer else take_back)]


def _stale(place: Workspace, folder: Path, locks: list[Path]) -> Finding:
    names = listed([f".git/{lock.relative_to(folder)}" for lock in locks])
    if git.at_work(place.root, folder):
        return Finding("git", OK, f"a git command is running ({names}).")

    def remove() -> str:
        if git.at_work(place.root, folder):
            raise VersioningError("a git command has started here meanwhile.")
        for lock in locks:
            lock.unlink(missing_ok=True)
        return f"removed {names}; no git command was running."

    return Finding("git", WRONG, f"{names}: left by a git command that was killed; git refuses to "
                                 "write until it is gone.",
                   "rm " + " ".join(str(lock) for lock in locks), remove)


def dvc(place: Workspace) -> list[Finding]:
    """The setup of DVC and its default remote."""
    if not (place.root / ".dvc" / "config").is_file():
        return [Finding("DVC", WRONG, "not a DVC repository: .dvc/config is missing.",
                        "git checkout -- .dvc (or dvc init)")]
    remote = default_remote(place.root)
    if remote is None:
        return [Finding("DVC", WARNING, "no default remote: the data of every version is on this "
                                        "disk only.", "dvc remote add -d NAME URL")]
    name, url = remote[0], git.mask(remote[1])
    folder = local_folder(place.root, remote[1])
    if folder is not None:
        if not folder.is_dir():
            return [Finding("DVC", WRONG, f"the remote '{name}' does not exist: there is no "
                                          f"folder {folder}.",
                            f"mkdir -p {folder} (or mount it)")]
        if not os.access(folder, os.W_OK):
            return [Finding("DVC", WRONG, f"the remote '{name}' ({folder}) may not be written to.",
                            f"chmod u+w {folder}")]
        return [Finding("DVC", OK, f"remote '{name}' at {folder}.")]
    address = _address(remote[1])
    if address is not None and not answers(*address):
        return [Finding("DVC", WRONG, f"the remote '{name}' ({url}) cannot be reached: "
                                      f"{address[0]}:{address[1]} does not answer.",
                        f"dvc remote modify {name} url URL (or look at the network)")]
    return [Finding("DVC", OK, f"remote '{name}' at {url}"
                    + (" answers." if address else "; whether it can be reached shows at the next "
                                                   "push."))]


def _address(url: str) -> tuple[str, int] | None:
    """Return (host, port) of a remote with a host name, or None."""
    parts = urlsplit(url)
    port = {"http": 80, "https": 443, "ssh": 22, "webdav": 80, "webdavs": 443}.get(parts.scheme)
    return (parts.hostname, parts.port or port) if port and parts.hostname else None


def answers(host: str, port: int, seconds: float = 3.0) -> bool:
    """Return whether a server listens at an address."""
    try:
        with socket.create_connection((host, port), timeout=seconds):
            return True
    except OSError:
        return False


def data(place: Workspace) -> list[Finding]:
    """Artifacts with a `.dvc` file: whether the cache is complete and the file matches."""
    pointers = sorted(_pointers(place))
    if not pointers or not (place.root / ".dvc" / "config").is_file():
        return [Finding("data", OK, "nothing is versioned yet.")] if not pointers else []
    cache = _cache(place.root)
    torn, changed, absent, lost, uncached = [], [], [], [], []
    for pointer in pointers:
        path = place.relative(pointer.with_suffix(""))
        try:
            pointed = read_dvc(pointer.read_text(encoding="utf-8"), path)
        except (VersioningError, UnicodeDecodeError):
            torn.append(place.relative(pointer))
            continue
        if pointed.md5 is None or pointed.md5.endswith(".dir"):
            continue  # a folder of the user's own
        copy, file = cache / pointed.md5[:2] / pointed.md5[2:], place.root / path
        cached = copy.is_file() and pointed.size in (None, copy.stat().st_size)
        if not file.is_file():
            (absent if cached else lost).append(path)
        elif not same(file, pointer, pointed.md5, pointed.size):
            changed.append(path)
        elif not cached:
            uncached.append(path)
    return [*_torn(place, torn), *_changed(place, changed), *_absent(place, absent),
            *_lost(place, lost), *_uncached(place, uncached)] or [
        Finding("data", OK, f"{counted(len(pointers), 'artifact')}, each as its version says.")]


def _cache(root: Path) -> Path:
    """Return the folder of DVC's cache; DVC itself is asked only where a cache is configured."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    files = [root / ".dvc" / "config", root / ".dvc" / "config.local", home / "dvc" / "config",
             Path("/etc/xdg/dvc/config")]
    if not any("[cache]" in file.read_text(encoding="utf-8") for file in files if file.is_file()):
        return root / ".dvc" / "cache" / "files" / "md5"
    with Dvc(root) as process:
        return process.cache()


def _pointers(place: Workspace) -> Iterator[Path]:
    for top in ("data", "models"):
        for path in (place.root / top).rglob("*.dvc"):
            if path.is_file() and not path.is_relative_to(place.root / "data" / ".ftzard-push"):
                yield path


def same(file: Path, pointer: Path, md5: str, size: int | None) -> bool:
    """Return whether a file has the data of its `.dvc` file; it is read only if it is newer."""
    seen = file.stat()
    if size is not None and seen.st_size != size:
        return False
    return seen.st_mtime_ns <= pointer.stat().st_mtime_ns or dvc_hash(file) == md5


def _torn(place: Workspace, paths: list[str]) -> list[Finding]:
    if not paths:
        return []
    whole = [p for p in paths if b"<<<<<<<" not in (place.root / p).read_bytes()
             and git.attempt(place.root, "cat-file", "-e", f"HEAD:{p}").returncode == 0]

    def bring_back() -> str:
        git.git(place.root, "--literal-pathspecs", "restore", "--", *whole)
        return f"brought {listed(whole)} back from git."

    return [Finding("data", WRONG, f"{listed(paths)}: no readable .dvc file.",
                    f"git restore {' '.join(paths)}", bring_back if whole == paths else None)]


def _changed(place: Workspace, paths: list[str]) -> list[Finding]:
    if not paths:
        return []
    if at_work(place):
        return [Finding("data", OK, f"{listed(paths)}: being written by a run.")]
    return [Finding(
        "data", WARNING,
        f"{listed(paths)}: changed since its version; a run was stopped before Git_Dvc, or the "
        "file was edited. Running its step again makes a version of it.",
        f"dvc checkout --force {in_shell(*map(dvc_path, paths))} (gives the change up)")]


def _absent(place: Workspace, paths: list[str]) -> list[Finding]:
    def bring_back() -> str:
        with Dvc(place.root) as process:
            process.checkout([dvc_path(path) for path in paths])
        return f"brought {listed(paths)} back from DVC's cache."

    return [Finding("data", WRONG, f"{listed(paths)}: not in the workspace; DVC's cache has it.",
                    f"dvc checkout {in_shell(*map(dvc_path, paths))}",
                    bring_back)] if paths else []


def _lost(place: Workspace, paths: list[str]) -> list[Finding]:
    return [Finding("data", WRONG, f"{listed(paths)}: neither in the workspace nor in DVC's cache.",
                    f"dvc pull {in_shell(*map(dvc_path, paths))}")] if paths else []


def _uncached(place: Workspace, paths: list[str]) -> list[Finding]:
    def put_in() -> str:
        with Dvc(place.root) as process:
            process.run("--wait-for-lock", "commit", "--force", *map(dvc_path, paths))
        return f"put {listed(paths)} into DVC's cache."

    return [Finding("data", WRONG, f"{listed(paths)}: DVC's cache has lost it, the workspace has "
                                   "it.", f"dvc commit {in_shell(*map(dvc_path, paths))}",
                    put_in)] if paths else []


def uncommitted(place: Workspace) -> list[Finding]:
    """Changed `.dvc` files and model records without a commit, of an interrupted versioning."""
    if not git.is_repo(place.root):
        return [Finding("versions", WARNING, "not looked at: this is no git repository.")]
    listing = git.git(
        place.root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--",
        ":(top,glob)data/**/*.dvc", ":(top,glob)models/**/*.dvc", ":(top,glob)models/*/*.yaml",
        env=_LOOK)
    entries = [(line[:2], line[3:]) for line in listing.split("\0") if line]
    entries = [(state, path) for state, path in entries if not path.startswith("data/.ftzard-push")]
    if not entries:
        return [Finding("versions", OK, "every one is committed.")]
    work = at_work(place)
    if work:
        return [Finding("versions", OK, f"{counted(len(entries), 'file')} not committed yet: "
                                        f"{work}.")]
    findings = []
    gone = [path for state, path in entries if "D" in state]
    if gone:
        findings.append(Finding("versions", WARNING,
                                f"{listed(gone)}: removed, and git still has it.",
                                f"git restore --staged --worktree {' '.join(gone)}"))
    left = [path for state, path in entries if "D" not in state and "U" not in state]
    if left:
        findings.append(Finding(
            "versions", WRONG,
            f"{listed(left)}: changed and in no commit; a process was killed between DVC and git.",
            f"ftzard doctor --fix -w {place.in_shell}", lambda: _commit(place, left)))
    return findings


def code(place: Workspace) -> list[Finding]:
    """Own code without a commit; the next run that uses it commits it."""
    if not git.is_repo(place.root):
        return []
    states = own_code.uncommitted(place)
    left = [path for path, state in states.items() if state != "removed"]
    gone = [path for path, state in states.items() if state == "removed"]
    findings = []
    if left:
        findings.append(Finding(
            "code", WARNING, f"{listed(left)}: in no commit as it is; the next run that uses it "
                             "commits it.",
            f"git add {' '.join(map(shlex.quote, left))} && git commit"))
    if gone:
        quoted = " ".join(map(shlex.quote, gone))
        findings.append(Finding("code", WARNING, f"{listed(gone)}: removed, and git still has it.",
                                f"git rm {quoted} && git commit (or git restore {quoted})"))
    return findings or [Finding("code", OK, "notebooks, config and own modules are committed.")]


def _commit(place: Workspace, paths: list[str]) -> str:
    """Finish an interrupted Git_Dvc: add the records' adapters to DVC, commit everything."""
    adapters = [Path(p).with_suffix(".zip").as_posix() for p in paths if p.endswith(".yaml")]
    missing = [p for p in adapters if not (place.root / p).is_file()]
    if missing:
        raise VersioningError(f"{listed(missing)} is missing, so its record is not committed; "
                              "bring it back first.")
    new = [place.handle("adapter", p) for p in adapters
           if not (place.root / dvc_path(p)).is_file()]
    versioned = version(place.root, new, also=[place.root / p for p in paths],
                        message=f"doctor: {listed(paths)}, left by a process that was killed",
                        run_id="doctor", push=False)
    return f"committed {listed(paths)} as {versioned.commit[:10]}."


def git_remote(place: Workspace) -> list[Finding]:
    """Whether git's remote answers with these credentials."""
    if not git.is_repo(place.root):
        return []
    remotes = git.git(place.root, "remote").split()
    if not remotes:
        return [Finding("git remote", WARNING, "none: every version is on this disk only.",
                        "git remote add origin URL")]
    target = upstream(place.root)
    name = target[0] if target and target[0] in remotes else remotes[0]
    listed_heads = git.attempt(place.root, "ls-remote", "--quiet", "--heads", name,
                               env=git.askpass(place.root), timeout=NETWORK_S)
    if listed_heads.returncode != 0:
        return [Finding("git remote", WRONG, why_git_refused(place.root, listed_heads.stderr, name),
                        f"git ls-remote {name}")]
    url = git.mask(git.attempt(place.root, "remote", "get-url", name).stdout.strip())
    return [Finding("git remote", OK, f"'{name}' at {url} answers.")]


def unpushed(place: Workspace) -> list[Finding]:
    """Commits that no remote has, and why."""
    if not git.is_repo(place.root):
        return []
    here = commits_here(place.root)
    if not here:
        return [Finding("pushed", OK, "every commit.")]
    reason = (last_push(place.root) or {}).get("reason")
    ours = [commit for commit in here if commit.ours]
    yours = len(here) - len(ours)
    sentence = f"{counted(len(here), 'commit')} only here"
    sentence += f", {yours} of them your own" if yours else ""
    sentence += f": {reason}" if reason else "."
    if not git.git(place.root, "remote").split():
        return [Finding("pushed", WARNING, sentence, "git remote add origin URL")]

    def send() -> str:
        state, why = push(place.root, lambda text: None)
        if why:
            raise VersioningError(why)
        return f"{counted(len(here), 'commit')}: {state}."

    return [Finding("pushed", WARNING, sentence, f"ftzard push -w {place.in_shell}",
                    None if yours else send)]
