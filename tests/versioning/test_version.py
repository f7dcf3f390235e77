"""What a version is: exactly these files, in one commit, with everything else left alone."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from ftzard.core.artifacts import ArtifactRef
from ftzard.errors import DataError, VersioningError
from ftzard.versioning import commit as commit_module
from ftzard.versioning import data_version, dvc_hash, history


def test_a_version_is_committed_and_pushed_and_its_data_can_be_had_elsewhere(ws):
    handle = ws.write("rows")
    done = ws.version(handle)
    assert (done.changed, done.pushed, done.reason) == (True, "pushed", None)
    assert done.handles == (handle.at(done.commit),)
    assert ws.git("rev-parse", "main", at=ws.origin) == done.commit
    assert ws.stored() == {dvc_hash(ws.root, handle.path)}
    assert ws.git("log", "-1", "--format=%B") == "Clean the data\n\nFTzard-Run: run-1"
    assert ws.git("status", "--porcelain") == ""
    assert ws.said == []


def test_only_exactly_the_changed_files_are_in_the_commit(ws):
    record = ws.root / "models" / "tweets" / "1.yaml"
    record.parent.mkdir()
    record.write_text("version: 1\n")
    same, other = ws.write("same", "data/raw/same.csv"), ws.write("1")
    ws.version(same, other)
    done = ws.version(same, ws.write("2"), ws.write("a", "models/tweets/1.zip"), also=[record])
    assert ws.git("show", "--name-only", "--format=").split() == [
        "data/cleaned.parquet.dvc", "models/tweets/1.yaml", "models/tweets/1.zip.dvc",
    ]  # fmt: skip
    first = ws.git("rev-parse", "HEAD^")
    assert [h.commit for h in done.handles] == [first, done.commit, done.commit]


def test_unchanged_data_makes_no_commit_and_names_the_last_one(ws):
    first = ws.version(ws.write("rows"))
    ws.version(ws.write("other", "data/raw/a.csv"))
    again = ws.version(ws.write("rows"), run_id="run-2")
    assert not again.changed
    assert again.handles[0].commit == first.commit == data_version(ws.root, "data/cleaned.parquet")
    assert again.commit != first.commit
    assert ws.git("rev-list", "--count", f"{first.commit}..HEAD") == "1"


def test_dvc_writes_no_ignore_file_of_its_own(ws):
    ws.version(ws.write("a", "data/raw/deep/a.csv"), ws.write("b", "models/tweets/1.zip"))
    found = {str(p.relative_to(ws.root)) for p in ws.root.rglob(".gitignore")}
    assert found == {".gitignore", "data/.gitignore", "models/.gitignore", ".dvc/.gitignore"}
    assert ws.git("status", "--porcelain") == ""


def test_staged_and_unstaged_edits_of_the_user_survive_byte_for_byte(ws):
    ws.version(ws.write("1"))
    (ws.root / "notes.txt").write_text("one\nstaged\n")
    ws.git("add", "notes.txt")
    (ws.root / "notes.txt").write_text("one\nstaged\nunstaged\n")
    (ws.root / "new.txt").write_text("new")
    ws.git("add", "new.txt")
    (ws.root / "untracked.txt").write_text("untracked")
    ws.git("rm", "-q", "--cached", ".dvcignore")

    def edits():
        return [ws.git("diff", "--cached"), ws.git("diff"), ws.git("status", "--porcelain")]

    before = edits()
    done = ws.version(ws.write("2"), ws.write("new", "data/raw/a.csv"))
    assert edits() == before
    assert done.pushed == "pushed"
    assert ws.git("show", "--name-only", "--format=").split() == [
        "data/cleaned.parquet.dvc", "data/raw/a.csv.dvc",
    ]  # fmt: skip


def test_a_record_the_user_has_staged_otherwise_stays_staged_so(ws):
    record = ws.root / "models" / "1.yaml"
    record.write_text("theirs\n")
    ws.git("add", "models/1.yaml")
    record.write_text("ours\n")
    ws.version(also=[record])
    assert ws.git("show", "HEAD:models/1.yaml") == "ours"
    assert ws.git("show", ":models/1.yaml") == "theirs"


def test_before_the_first_commit_of_a_repository(ws):
    ws.git("checkout", "-q", "--orphan", "fresh")
    ws.git("rm", "-rq", "--cached", ".")
    done = ws.version(ws.write("rows"), push=False)
    assert (done.changed, done.pushed) == (True, "off")
    assert ws.git("show", "--name-only", "--format=") == "data/cleaned.parquet.dvc"


def test_a_file_that_is_not_what_its_handle_says_is_not_versioned(ws):
    handle = ws.write("rows")
    (ws.root / handle.path).write_text("other rows")
    with pytest.raises(DataError, match="something else wrote the file"):
        ws.version(handle)
    assert ws.git("status", "--porcelain") == ""


def test_not_a_repository_says_how_to_make_one(ws, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    with pytest.raises(VersioningError, match=r"not a git repository; .*'ftzard init'.*git init"):
        commit_module.version(plain, [], message="m", run_id="r")


def test_a_folder_inside_another_repository_is_refused(ws):
    inside = ws.root / "demo"
    inside.mkdir()
    with pytest.raises(VersioningError, match="it lies inside the repository"):
        commit_module.version(inside, [], message="m", run_id="r")


def test_without_dvc_says_how_to_set_it_up(ws):
    (ws.root / ".dvc" / "config").unlink()
    with pytest.raises(VersioningError, match="not a DVC repository.*ftzard init"):
        ws.version(ws.write("rows"))


def test_no_identity_names_the_two_commands_and_commits_nothing(ws):
    ws.git("config", "--unset", "user.name")
    ws.git("config", "--unset", "user.email")
    before = ws.git("rev-parse", "HEAD")
    with pytest.raises(VersioningError, match="git config user.name .* git config user.email"):
        ws.version(ws.write("rows"))
    assert ws.git("rev-parse", "HEAD") == before


def test_a_file_that_git_does_not_ignore_is_refused_rather_than_ignore_files_edited(ws):
    with pytest.raises(VersioningError, match="rows.csv is not ignored by git"):
        ws.version(ws.write("rows", "rows.csv"))
    assert ws.git("status", "--porcelain") == "?? rows.csv"


def test_a_file_outside_the_workspace_is_refused(ws):
    with pytest.raises(VersioningError, match="outside the workspace"):
        ws.version(ArtifactRef("x", "../x.csv", "0", None, "csv"))


def test_a_record_that_does_not_exist_is_refused_before_anything_is_added(ws):
    with pytest.raises(VersioningError, match="models/1.yaml is to be committed but does not"):
        ws.version(ws.write("rows"), also=[ws.root / "models/1.yaml"])
    assert ws.git("status", "--porcelain") == ""


def test_variables_of_another_repository_in_the_environment_are_not_followed(ws, monkeypatch):
    """Within a git hook, GIT_DIR and GIT_INDEX_FILE are set; a run started there is not theirs."""
    with monkeypatch.context() as hook:
        hook.setenv("GIT_DIR", str(ws.origin))
        hook.setenv("GIT_INDEX_FILE", str(ws.home / "index"))
        done = ws.version(ws.write("rows"))
    assert done.commit == ws.git("rev-parse", "HEAD")
    assert not (ws.home / "index").exists()


def test_a_held_index_is_waited_for_then_named(ws, monkeypatch):
    monkeypatch.setattr(commit_module, "INDEX_LOCK_WAIT_S", 0.3)
    lock = ws.root / ".git" / "index.lock"
    lock.touch()
    before = ws.git("rev-parse", "HEAD")
    with pytest.raises(VersioningError, match=r"index\.lock has been held .* rm "):
        ws.version(ws.write("rows"))
    assert ws.git("rev-parse", "HEAD") == before
    assert "for another git command" in ws.said[0]
    lock.unlink()
    assert ws.version(ws.write("rows")).pushed == "pushed"


def test_a_held_index_that_is_let_go_in_time_costs_only_the_wait(ws):
    lock = ws.root / ".git" / "index.lock"
    lock.touch()
    release = subprocess.Popen(["sh", "-c", f"sleep 0.5; rm {lock}"])
    assert ws.version(ws.write("rows")).changed
    release.wait()


def test_killed_between_add_and_commit_the_next_run_commits_once(ws):
    _run_and_kill_at(ws, "commit_paths")
    assert ws.git("status", "--porcelain") == "?? data/cleaned.parquet.dvc"
    done = ws.version(ws.write("rows"), run_id="run-2")
    assert (done.changed, done.pushed) == (True, "pushed")
    assert len(history(ws.root, "data/cleaned.parquet")) == 1


def test_killed_between_commit_and_push_the_next_run_pushes(ws):
    _run_and_kill_at(ws, "publish")
    assert ws.stored() == set()
    done = ws.version(ws.write("rows"), run_id="run-2")
    assert (done.changed, done.pushed) == (False, "pushed")
    assert ws.stored() == {dvc_hash(ws.root, "data/cleaned.parquet")}
    assert ws.git("rev-parse", "main", at=ws.origin) == done.commit
    assert ws.git("status", "--porcelain") == ""


def _run_and_kill_at(ws, function: str) -> None:
    """Version 'rows' in a process that dies by SIGKILL where it would call a function."""
    handle = ws.write("rows")
    code = f"""
        import os
        from ftzard.core.artifacts import ArtifactRef
        from ftzard.versioning import commit
        commit.{function} = lambda *args, **more: os.kill(os.getpid(), 9)
        rows = ArtifactRef(**{handle.to_dict()!r})
        commit.version({str(ws.root)!r}, [rows], message="m", run_id="r")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=os.environ)
    assert done.returncode == -signal.SIGKILL
