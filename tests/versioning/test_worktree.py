"""A past commit beside the workspace: alone with it, and nothing of a killed process in the way."""

import signal
import subprocess
import sys
import threading

import pytest

from ftzard.doctor import leftovers
from ftzard.versioning.worktree import lock_of, pull, worktree
from ftzard.workspace.workspace import Workspace as Place

PATH = "data/cleaned.parquet"


@pytest.fixture
def made(ws) -> str:
    """The commit of a version that has been overwritten since."""
    first = ws.version(ws.write("one")).commit
    ws.version(ws.write("three"))
    return first


def code(ws, commit: str, inside: str) -> list[str]:
    return [sys.executable, "-c", f"""
import os, sys
from pathlib import Path
from ftzard.versioning import worktree
def killed(*given, **named):
    os.kill(os.getpid(), 9)
{inside}
with worktree.worktree(Path({str(ws.root)!r}), {commit!r}) as place:
    worktree.pull(place, [{PATH!r}])
    print(place, flush=True)
    sys.stdin.read()
    print((place / {PATH!r}).read_text(), flush=True)
"""]


@pytest.mark.parametrize("moment", ["worktree.git", "worktree._share", "worktree.pull",
                                    "worktree.Dvc.pull", "worktree.configparser.ConfigParser"])
def test_killed_at_any_moment_the_next_one_has_a_whole_checkout(ws, made, moment):
    done = subprocess.run(code(ws, made, f"{moment} = killed"), stdin=subprocess.DEVNULL)
    assert done.returncode == -signal.SIGKILL
    with worktree(ws.root, made) as place:
        pull(place, [PATH])
        assert (place / PATH).read_text() == "one"
        assert ws.git("status", "--porcelain", at=place) == ""
    assert not place.exists() and (ws.root / PATH).read_text() == "three"
    assert ws.git("worktree", "list").count("\n") == 0


def test_two_of_one_commit_take_turns_and_the_doctor_leaves_them_alone(ws, made):
    first = subprocess.Popen(code(ws, made, ""), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             text=True)
    try:
        place, seen = first.stdout.readline().strip(), []

        def waits(sentence: str) -> None:
            """The second has come to wait: look around, then let the first one end."""
            seen.append(sentence)
            seen.append(leftovers.worktrees(Place(ws.root))[0].state)
            first.stdin.close()

        def second() -> None:
            with worktree(ws.root, made, waits) as folder:
                seen.append((str(folder), first.wait(60)))

        other = threading.Thread(target=second)
        other.start()
        other.join(120)
        assert first.stdout.read().strip() == "one", "the first one's files stay until it ends"
        assert "waiting" in seen[0] and made[:10] in seen[0]
        assert seen[1:] == [leftovers.OK, (place, 0)]
    finally:
        first.kill()
        first.wait()
    assert lock_of(ws.root / ".ftzard/worktrees" / made[:16]).is_file()
