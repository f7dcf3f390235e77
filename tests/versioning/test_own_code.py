"""Code that ran is committed as it ran; what its user has made of it since stays as it is."""

import pytest

from ftzard.core.artifacts import write_atomically
from ftzard.versioning.commit import CodeFile

PATH = "notebooks/Step1.ipynb"


@pytest.fixture
def code(ws):
    """A notebook that was committed as v1, and is v2 in the working tree, which a run uses."""
    (ws.root / "notebooks").mkdir()
    (ws.root / PATH).write_text("v1\n")
    ws.git("add", PATH)
    ws.git("commit", "-qm", "Mine")
    ws.git("push", "-q")
    (ws.root / PATH).write_text("v2, which ran\n")
    return used(ws)


def used(ws, path: str = PATH) -> CodeFile:
    """Keep a file as a run does when it reads it."""
    kept = write_atomically(ws.root / ".ftzard/code/kept",
                            lambda part: part.write_bytes((ws.root / path).read_bytes()))
    return CodeFile(path, kept, ws.git("rev-parse", "HEAD"))


def at(ws, revision: str) -> str:
    return ws.git("show", f"{revision}:{PATH}")


def test_an_edited_file_is_in_the_commit_with_the_data_and_git_shows_it_as_clean(ws, code):
    done = ws.version(ws.write("rows"), code=[code])
    assert ws.git("show", "--name-only", "--format=").split() == [
        "data/cleaned.parquet.dvc", PATH]
    assert at(ws, "HEAD") == "v2, which ran" and done.code_commit == done.commit
    assert ws.git("status", "--porcelain") == "" and done.pushed == "pushed"
    assert ws.git("show", "-s", "--format=%(trailers:key=FTzard-Run,valueonly)") == "run-1"
    assert at(ws, "refs/remotes/origin/main") == "v2, which ran"
    again = ws.version(ws.write("rows"), code=[code])
    assert not again.changed and again.code_commit == again.commit == done.commit


def test_a_file_that_git_did_not_know_is_committed_even_if_a_rule_hides_it(ws):
    (ws.root / ".git/info/exclude").write_text("custom/\n")
    (ws.root / "custom").mkdir()
    (ws.root / "custom/texts.py").write_text("def f(text):\n    return text\n")
    ws.version(ws.write("rows"), code=[used(ws, "custom/texts.py")])
    assert "def f" in ws.git("show", "HEAD:custom/texts.py")


def test_an_edit_after_the_step_stays_in_the_working_tree(ws, code):
    (ws.root / PATH).write_text("v3, later\n")
    (ws.root / "notes.txt").write_text("another edit\n")
    ws.version(ws.write("rows"), code=[code])
    assert at(ws, "HEAD") == "v2, which ran"
    assert (ws.root / PATH).read_text() == "v3, later\n"
    assert ws.git("status", "--porcelain") == f"M {PATH}\n M notes.txt"
    assert ws.git("diff", "--cached") == ""


def test_what_is_staged_stays_staged(ws, code):
    (ws.root / PATH).write_text("v3, staged\n")
    ws.git("add", PATH)
    (ws.root / PATH).write_text("v4, edited since\n")
    ws.version(ws.write("rows"), code=[code])
    assert at(ws, "HEAD") == "v2, which ran"
    assert ws.git("show", f":{PATH}") == "v3, staged"
    assert (ws.root / PATH).read_text() == "v4, edited since\n"


def test_a_version_committed_meanwhile_is_not_taken_back(ws, code):
    (ws.root / PATH).write_text("v3, committed by hand\n")
    ws.git("commit", "-qam", "Mine, while it ran")
    first = ws.version(ws.write("rows"), code=[code])
    assert at(ws, "HEAD") == "v3, committed by hand" and ws.git("status", "--porcelain") == ""
    assert at(ws, first.code_commit) == "v2, which ran"
    assert first.handles[0].commit == first.code_commit
    assert first.pushed == "not pushed" and "1 commit of your own" in first.reason
    head = ws.git("rev-parse", "HEAD")
    again = ws.version(ws.write("rows"), code=[code])  # the next step of the same run
    assert not again.changed and ws.git("rev-parse", "HEAD") == head


def test_a_file_removed_and_committed_meanwhile_stays_removed(ws, code):
    ws.git("rm", "-qf", PATH)
    ws.git("commit", "-qm", "Gone")
    done = ws.version(ws.write("rows"), code=[code])
    assert at(ws, done.code_commit) == "v2, which ran"
    assert PATH not in ws.git("ls-tree", "-r", "--name-only", "HEAD").split()
    assert ws.git("status", "--porcelain") == ""


def test_a_file_keeps_its_mode(ws, code):
    ws.git("update-index", "--chmod=+x", PATH)
    (ws.root / PATH).chmod(0o755)
    ws.git("commit", "-qm", "Executable", "--", PATH)
    (ws.root / PATH).write_text("v5\n")
    ws.version(ws.write("rows"), code=[used(ws)])
    assert ws.git("ls-tree", "HEAD", PATH).startswith("100755 ")
