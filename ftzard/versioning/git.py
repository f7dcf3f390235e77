"""The git command line, called with argument lists, and queries to it.

Nothing here changes a repository. No prompt can block (`GIT_TERMINAL_PROMPT=0`, ssh in batch mode),
messages are English, and no password, token or user part of a URL reaches an error. A token in
`FTZARD_GIT_TOKEN` is passed to git through `GIT_ASKPASS`, never through a URL.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ftzard.core.credentials import mask
from ftzard.errors import VersioningError
from ftzard.versioning.repository import REPOSITORY_VARIABLES, upstream

TRAILER = "FTzard-Run"
TOKEN = "FTZARD_GIT_TOKEN"

_ASKPASS = f"""#!/bin/sh
case "$1" in
  Username*) printf '%s\\n' "${{FTZARD_GIT_USERNAME:-git}}" ;;
  *) printf '%s\\n' "${TOKEN}" ;;
esac
"""


@dataclass(frozen=True)
class Commit:
    """A commit: its id, its subject, and the run that made it (None for a commit of somebody else).
    """

    sha: str
    subject: str
    run_id: str | None

    @property
    def ours(self) -> bool:
        """Return whether FTzard made the commit, that is, whether it has the trailer `FTzard-Run`.
        """
        return self.run_id is not None


def environment() -> dict[str, str]:
    """Return git's environment: English, no prompts, no variables of another repository."""
    env = {k: v for k, v in os.environ.items() if k not in REPOSITORY_VARIABLES}
    env.pop("LANGUAGE", None)
    return env | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


def git(root: Path, *args: str, input: str | None = None, env: dict | None = None) -> str:
    """Run `git args…` in `root` and return its output.

    input: text for its standard input; env: variables added to the environment.
    Raises VersioningError with the command, its exit code, what it said and how to go on.
    """
    done = attempt(root, *args, input=input, env=env)
    if done.returncode != 0:
        raise VersioningError(failure(root, done))
    return done.stdout


def attempt(
    root: Path, *args: str, input: str | None = None, env: dict | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Run `git args…` and return the result even if it fails.

    Args:
        timeout: Seconds after which git is ended; the answer then is exit code 124 and 'timed
            out'.
    """
    command = ["git", *args]
    feed = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
    try:
        return subprocess.run(
            command, cwd=root, env=environment() | (env or {}), capture_output=True,
            encoding="utf-8", errors="replace", timeout=timeout, **feed,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        message = f"timed out after {timeout:.0f} s"
        return subprocess.CompletedProcess(command, 124, "", message)
    except FileNotFoundError as error:
        if Path(root).is_dir():
            raise VersioningError("git is not installed or not on PATH; install git.") from error
        raise VersioningError(f"The folder {root} does not exist.") from error
    except OSError as error:
        raise VersioningError(f"git cannot be run in {root}: {error.strerror}.") from error


def failure(root: Path, done: subprocess.CompletedProcess[str]) -> str:
    """Return the message for a failed git call: command, exit code, git's words, remedy."""
    command = mask(" ".join(["git", *done.args[1:]]))
    message = mask((done.stderr or done.stdout).strip()) or "it said nothing"
    return (f"'{command}' failed in {root} with exit code {done.returncode}: {message} "
            f"{remedy(message)}")


def remedy(message: str) -> str:
    """Return the remedy for a git or DVC command that failed with these words."""
    if re.search(r"No space left|disk I/O error|Disk quota|File too large", message):
        return "The disk is full: free space there, then run the step again."
    if "index.lock" in message:
        return "Another git command is running; if none is, remove .git/index.lock."
    if "dubious ownership" in message:
        return "Tell git that the folder is yours with the command it names."
    if "not a git repository" in message:
        return "Make it one with 'ftzard init' (or 'git init')."
    if "ident name" in message or "tell me who you are" in message:
        return IDENTITY_REMEDY
    return "Run the command by hand in that folder to look closer."


IDENTITY_REMEDY = (
    "Tell git who you are: git config user.name 'Your Name' and "
    "git config user.email you@example.org"
)


def askpass(root: Path) -> dict[str, str]:
    """Return the variables for non-interactive access to a remote: askpass and ssh.

    With `FTZARD_GIT_TOKEN` set, a script in `.ftzard/` answers git's question from it (user name:
    `FTZARD_GIT_USERNAME`, else 'git'); the script itself holds no secret.
    """
    env = {}
    if os.environ.get(TOKEN):
        script = Path(root) / ".ftzard" / "askpass.sh"
        if not script.is_file() or script.read_text(encoding="utf-8") != _ASKPASS:
            script.parent.mkdir(parents=True, exist_ok=True)
            part = script.with_name(f".askpass.{os.getpid()}.part")
            part.write_text(_ASKPASS, encoding="utf-8")
            part.chmod(0o700)
            part.replace(script)
        env["GIT_ASKPASS"] = str(script.absolute())
    if "GIT_SSH_COMMAND" not in os.environ and "GIT_SSH" not in os.environ:
        configured = attempt(root, "config", "core.sshCommand").stdout.strip()
        env["GIT_SSH_COMMAND"] = configured or (
            "ssh -oBatchMode=yes -oConnectTimeout=20 -oServerAliveInterval=15"
        )
    return env


def is_repo(root: Path) -> bool:
    """True if `root` is the top of a git work tree; a folder inside another one is not."""
    done = attempt(root, "rev-parse", "--show-toplevel")
    top = done.stdout.rstrip("\n")
    return done.returncode == 0 and bool(top) and Path(top).resolve() == Path(root).resolve()


def require_repo(root: Path) -> None:
    """Raise VersioningError unless `root` is the top folder of a git work tree."""
    done = attempt(root, "rev-parse", "--show-toplevel")
    if "dubious ownership" in done.stderr:
        raise VersioningError(failure(root, done))
    if not is_repo(root):
        top = done.stdout.strip()
        inside = f" (it lies inside the repository {top})" if top else ""
        raise VersioningError(
            f"{root} is not a git repository{inside}; "
            "make it one with 'ftzard init' (or 'git init' in it)."
        )


def head(root: Path) -> str | None:
    """Return the id of HEAD's commit, or None before the first commit."""
    done = attempt(root, "rev-parse", "--quiet", "--verify", "HEAD^{commit}")
    return done.stdout.strip() or None


def commits(root: Path, *revisions: str) -> list[Commit]:
    """Return the commits of `git log revisions`, newest first, with their trailers."""
    form = f"%H%x00%s%x00%(trailers:key={TRAILER},valueonly,separator=%x2C)%x1e"
    listed = git(root, "--literal-pathspecs", "log", f"--format={form}", *revisions)
    result = []
    for record in listed.split("\x1e"):
        if record.strip():
            sha, subject, run_id = record.strip("\n").split("\x00")
            result.append(Commit(sha, subject, run_id.strip() or None))
    return result


def commits_ahead(root: Path, tip: str | None = None) -> list[Commit]:
    """Return the commits up to `tip` (default: HEAD) that the upstream lacks, newest first.

    Without an upstream: those that no remote-tracking branch has.
    """
    tip = tip or head(root)
    return commits(root, tip, *elsewhere(root)) if tip else []


def elsewhere(root: Path) -> list[str]:
    """Return the `git log` arguments that exclude the commits of the upstream, or of any remote."""
    target = upstream(root)
    if target is not None:
        seen = f"refs/remotes/{target[0]}/{target[1]}"
        if attempt(root, "rev-parse", "--quiet", "--verify", seen).returncode == 0:
            return ["--not", seen]
    return ["--not", "--remotes"]


def at_work(*folders: Path) -> bool:
    """Return whether a git command runs in one of the folders, as far as visible."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if not (entry / "comm").read_text().startswith("git"):
                continue
            here = Path(os.readlink(entry / "cwd"))
        except PermissionError:
            return True  # a git of another user's: perhaps here
        except OSError:
            continue
        if any(here.is_relative_to(folder) for folder in folders):
            return True
    return not Path("/proc/self").exists()


def has_identity(root: Path) -> bool:
    """Return whether git has a configured author, which is never derived from the host's name."""
    identities = ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT")
    return all(
        attempt(root, "-c", "user.useConfigOnly=true", "var", name).returncode == 0
        for name in identities
    )
