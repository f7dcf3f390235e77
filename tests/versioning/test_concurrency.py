"""Two at once: one waits, names the other, and is let in even if the other is killed."""

import subprocess
import sys
import textwrap
import threading
import time

from ftzard.versioning import dvc_hash, unpushed
from ftzard.versioning.lock import exclusive


def start(code: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )


def test_two_processes_at_once_serialise(ws):
    handles = [ws.write("a", "data/raw/a.csv"), ws.write("b", "data/raw/b.csv")]
    both = [
        start(f"""
            from ftzard.core.artifacts import ArtifactRef
            from ftzard.versioning import version
            handle = ArtifactRef(**{handle.to_dict()!r})
            done = version({str(ws.root)!r}, [handle], message="m", run_id="r", say=lambda _: 0)
            print(done.handles[0].commit, done.pushed)
        """)
        for handle in handles
    ]
    answers = [process.communicate()[0].split() for process in both]
    assert [state for _, state in answers] == ["pushed", "pushed"]
    assert {sha for sha, _ in answers} == set(ws.git("log", "-2", "--format=%H").split())
    assert ws.git("log", "-2", "--min-parents=2", "--format=%H") == ""
    assert unpushed(ws.root) == []
    assert ws.stored() == {dvc_hash(ws.root, handle.path) for handle in handles}
    assert ws.git("status", "--porcelain") == ""


def test_who_waits_is_told_for_whom_and_a_killed_holder_lets_go(ws):
    holder = start(f"""
        import time
        from ftzard.versioning.lock import exclusive
        with exclusive({str(ws.root)!r}, "run blue"):
            print("held", flush=True)
            time.sleep(600)
    """)
    assert holder.stdout.readline() == "held\n"
    said, entered = [], threading.Event()

    def wait():
        with exclusive(ws.root, "run green", said.append):
            entered.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.3)
    assert not entered.is_set()
    assert len(said) == 1
    assert said[0].startswith(f"Waiting for process {holder.pid} (run blue) to finish")
    holder.kill()
    assert entered.wait(10)
    waiting.join()
    holder.wait()


def test_a_commit_somebody_makes_meanwhile_is_built_upon_not_lost(ws, monkeypatch):
    """The user commits by hand just before our branch moves: both commits must stand."""
    from ftzard.versioning import commit as commit_module

    follow = commit_module._follow

    def commit_first(*args):
        follow(*args)
        monkeypatch.setattr(commit_module, "_follow", follow)
        (ws.root / "notes.txt").write_text("quick\n")
        ws.git("commit", "-qm", "By hand", "notes.txt")

    monkeypatch.setattr(commit_module, "_follow", commit_first)
    done = ws.version(ws.write("rows"))
    assert ws.git("log", "-2", "--format=%s").split("\n") == ["Clean the data", "By hand"]
    assert ws.git("show", "--name-only", "--format=", done.commit) == "data/cleaned.parquet.dvc"
    assert ws.git("status", "--porcelain") == ""
