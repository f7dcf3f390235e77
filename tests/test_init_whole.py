"""`ftzard init` is all or nothing: after any failure the folder is as before, and the same call
works when the reason is gone."""

import hashlib
import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from ftzard import doctor
from ftzard.doctor import leftovers
from ftzard.errors import FtzardError, WorkspaceError
from ftzard.orchestration import create_workspace
from ftzard.orchestration.init_journal import all_or_nothing
from ftzard.workspace.workspace import MARKER, Workspace

#: A git that fails, or sends its caller a signal, when it is called for the Nth time.
GIT = """#!/bin/sh
count=$(cat {folder}/count); count=$((count + 1)); echo $count > {folder}/count
if [ $count = "$(cat {folder}/fail)" ]; then
    if [ -s {folder}/kill ]; then kill -"$(cat {folder}/kill)" $PPID; sleep 5; fi
    echo "fatal: the disk broke" >&2; exit 128
fi
exec {git} "$@"
"""


def git(root: Path, *arguments: str) -> str:
    return subprocess.run([shutil.which("git"), *arguments], cwd=root, text=True, check=True,
                          capture_output=True).stdout


def snapshot(root: Path) -> dict:
    """Return all that a user has in a folder; of git, what a person would notice."""
    if not root.exists():
        return {}
    found = {"": ""}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(".git/"):
            found[name] = hashlib.md5(path.read_bytes()).hexdigest() if path.is_file() else "/"
    if (root / ".git").exists():
        found["config"] = (root / ".git" / "config").read_text().split()
        found["git"] = [git(root, *ask) for ask in (
            ["ls-files", "-s"], ["for-each-ref"], ["status", "--porcelain"], ["remote", "-v"])]
    return found


def own_repository(root: Path) -> None:
    """A repository with history, staged and unstaged work, an own .gitignore and a hook."""
    root.mkdir()
    git(root, "init", "-q")
    for key, value in (("user.name", "Ada"), ("user.email", "ada@example.org"),
                       ("commit.gpgsign", "true"), ("gpg.program", "false"),
                       ("core.autocrlf", "true"), ("core.safecrlf", "true")):
        git(root, "config", key, value)
    (root / ".gitignore").write_text("*.log\r\n")
    (root / "README.md").write_text("mine\r\n")
    git(root, "add", ".")
    git(root, "-c", "commit.gpgsign=false", "commit", "-qm", "Begin")
    hook = root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    (root / "staged.txt").write_text("staged\r\n")
    git(root, "add", "staged.txt")
    (root / "README.md").write_text("mine, changed\r\n")
    (root / "data").mkdir()
    (root / "data" / "own.csv").write_text("a,b\n")


BEFORE = {"absent": lambda root: None, "empty": Path.mkdir, "own": own_repository}


@pytest.fixture
def data(tmp_path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text("text,label\n" + "very good,good\nvery bad,bad\n" * 10)
    return path


@pytest.fixture
def breaking(tmp_path, monkeypatch):
    """Let git fail at its Nth call, or send its caller a signal; `off` returns the calls so far."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").write_text(GIT.format(folder=folder, git=shutil.which("git")))
    (folder / "git").chmod(0o755)
    path = os.environ["PATH"]

    def at(number: int, *, kill: int = 0) -> None:
        (folder / "count").write_text("0")
        (folder / "fail").write_text(str(number))
        (folder / "kill").write_text(str(int(kill)) if kill else "")
        monkeypatch.setenv("PATH", f"{folder}:{path}")

    def off() -> int:
        monkeypatch.setenv("PATH", path)
        return int((folder / "count").read_text())

    at.off = off
    return at


def in_a_child(call) -> int:
    """Run a call in a forked process; return its wait status."""
    child = os.fork()
    if not child:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = 99
        try:
            call()
            code = 0
        except FtzardError:
            code = 1
        except KeyboardInterrupt:
            code = 130
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def whole(root: Path) -> None:
    """Assert that a folder is a complete workspace."""
    assert (root / MARKER).is_file() and not (root / ".ftzard/init.json").exists()
    assert not (root / ".ftzard/init").exists()
    names = git(root, "show", "--name-only", "--format=%s", "HEAD").splitlines()
    assert names[0] == "Set up the FTzard workspace"
    assert {MARKER, ".dvc/config", "data/.gitignore", "notebooks/Git_Dvc.ipynb"} <= set(names)
    assert Workspace(root).config().data.labels == {"bad": "bad", "good": "good"}


@pytest.mark.parametrize("before", BEFORE)
def test_after_a_failure_or_a_kill_at_any_call_of_git_the_same_command_works(
        tmp_path, data, breaking, before):
    remotes = tmp_path / "remotes"

    def init(file=data):
        create_workspace.init(root, data=file, git_remote=remotes / "git",
                              dvc_remote=remotes / "dvc")

    def fresh(name: str) -> Path:
        shutil.rmtree(remotes, ignore_errors=True)
        BEFORE[before](tmp_path / name)
        return tmp_path / name

    root = fresh("practice")
    breaking(10_000)
    init()
    calls = breaking.off()
    failed = killed = finished = 0
    for number in range(1 + 2 * list(BEFORE).index(before), calls + 1, 6):
        root = fresh(f"failed-{number}")
        was = snapshot(root)
        breaking(number)
        try:
            init()
        except FtzardError:
            failed += 1
            assert snapshot(root) == was and not remotes.exists(), number
        else:
            whole(root)  # a question to git whose failure is an answer
            root = fresh(f"killed-{number}")
            was = snapshot(root)
        breaking(number, kill=signal.SIGKILL)
        assert in_a_child(init) == signal.SIGKILL, number
        breaking.off()
        killed += 1
        if (root / MARKER).exists():
            finished += 1
            found = leftovers.unfinished_init(Workspace(root))
            assert "was cut off" in found[0].sentence and found[0].state == doctor.WRONG
            init()
            whole(root)
        else:
            with pytest.raises(FtzardError, match="nowhere"):  # first, it takes back what was left
                init(tmp_path / "nowhere.csv")
            assert snapshot(root) == was and not remotes.exists(), number
    assert failed >= 2 and finished >= 1 and killed >= 5
    assert leftovers.unfinished_init(Workspace(root))[0].state == doctor.OK
    if before == "own":
        assert git(root, "diff", "--cached", "--name-only") == "staged.txt\n"
        assert (root / "data" / "own.csv").read_text() == "a,b\n"
        assert git(root, "log", "-1", "--format=%an") == "Ada\n"


@pytest.mark.parametrize("before", BEFORE)
def test_ctrl_c_takes_everything_back(tmp_path, data, breaking, before):
    root = tmp_path / "ws"
    BEFORE[before](root)
    was = snapshot(root)
    for number in (4, 9, 13):
        breaking(number, kill=signal.SIGINT)
        status = in_a_child(lambda: create_workspace.init(
            root, data=data, git_remote=tmp_path / "git", dvc_remote=tmp_path / "dvc"))
        breaking.off()
        assert os.waitstatus_to_exitcode(status) == 130, number
        assert snapshot(root) == was, number
        assert not (tmp_path / "git").exists() and not (tmp_path / "dvc").exists()


@pytest.mark.parametrize("room", [100, 3000, 20_000])
def test_a_disk_that_is_full_leaves_nothing(tmp_path, data, room):
    root = tmp_path / "ws"
    own_repository(root)
    was = snapshot(root)

    def init():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        create_workspace.init(root, data=data)

    assert os.waitstatus_to_exitcode(in_a_child(init)) == 1
    assert snapshot(root) == was


def test_a_second_init_at_once_is_refused(tmp_path, data):
    root = tmp_path / "ws"
    with all_or_nothing(root) as journal:
        with pytest.raises(WorkspaceError, match="another 'ftzard init' is at work"):
            create_workspace.init(root, data=data)
        assert leftovers.unfinished_init(Workspace(root))[0].state == doctor.OK
        journal.drop()
    assert sorted(path.name for path in root.iterdir()) == [".ftzard"]


def test_a_journal_that_cannot_be_read_is_named(tmp_path, data):
    root = tmp_path / "ws"
    (root / ".ftzard").mkdir(parents=True)
    (root / ".ftzard" / "init.json").write_text("{")
    with pytest.raises(WorkspaceError, match="init.json.*remove that file"):
        create_workspace.init(root, data=data)
    (root / ".ftzard" / "init.json").unlink()
    create_workspace.init(root, data=data)
    whole(root)
