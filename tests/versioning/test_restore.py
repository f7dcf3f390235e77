"""Bringing a version back: exactly it, in one commit, and nothing that stood there is lost."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ftzard.errors import VersioningError
from ftzard.versioning import data_version, dvc_hash, history, push
from ftzard.versioning.restore import restore
from tests.versioning.conftest import Workspace

PATH = "data/cleaned.parquet"


@pytest.fixture(scope="module")
def versioned(template, tmp_path_factory) -> Path:
    """A workspace's home with two versions of an artifact, both pushed; made once, copied."""
    home = tmp_path_factory.mktemp("versioned") / "home"
    shutil.copytree(template, home, symlinks=True)
    made = Workspace(home)
    for text in ("one", "three"):
        made.version(made.write(text))
    return home


@pytest.fixture
def two(versioned, tmp_path) -> Workspace:
    """A workspace of the test's own with the versions 'one' and then 'three'."""
    shutil.copytree(versioned, tmp_path / "home", symlinks=True)
    ws = Workspace(tmp_path / "home")
    ws.second, ws.first = (v.commit for v in history(ws.root, PATH))
    return ws


def bring(ws, path: str = PATH, at: str | None = None):
    return restore(ws.root, {path: at or ws.first}, message=named, say=ws.said.append)


def named(paths: list[str]) -> str:
    return f"restore: {' '.join(paths)}"


def lost(ws) -> None:
    """Let DVC's cache lose everything."""
    shutil.rmtree(ws.root / ".dvc" / "cache")


def state(ws) -> tuple:
    """Return all that a restore could change."""
    files = {p: p.read_bytes() for p in (ws.root / "data").rglob("*") if p.is_file()}
    return ws.git("rev-parse", "HEAD"), ws.git("status", "--porcelain"), files


def refused(ws, *words: str, path: str = PATH) -> str:
    """Assert that a restore is refused with these words and changes nothing; return its message."""
    before = state(ws)
    with pytest.raises(VersioningError) as caught:
        bring(ws, path)
    assert state(ws) == before
    assert all(word in str(caught.value) for word in words), caught.value
    return str(caught.value)


class TestWhatComesBack:
    def test_the_data_and_its_pointer_and_one_commit_that_says_so(self, two):
        done = bring(two)
        assert (two.root / PATH).read_text() == "one"
        assert done.files == (PATH,)
        assert two.git("show", "--name-only", "--format=%B").split() == [
            "restore:", PATH, "FTzard-Run:", "restore", f"{PATH}.dvc"]
        assert data_version(two.root, PATH) == done.commit == two.git("rev-parse", "HEAD")
        newest, _, oldest = history(two.root, PATH)
        assert (newest.md5, newest.size, newest.rows) == (oldest.md5, oldest.size, oldest.rows)
        assert two.git("status", "--porcelain") == ""

    def test_it_is_pushed_like_any_version(self, two):
        done = bring(two)
        assert push(two.root) == ("pushed", None)
        assert two.git("rev-parse", "main", at=two.origin) == done.commit

    def test_what_is_as_asked_makes_no_commit(self, two):
        before = state(two)
        done = bring(two, at=two.second)
        assert (done.commit, done.files) == (None, ()) and state(two) == before

    def test_a_file_that_is_away_comes_back_without_a_commit(self, two):
        (two.root / PATH).unlink()
        done = bring(two, at="HEAD")
        assert (done.commit, done.files) == (None, (PATH,))
        assert (two.root / PATH).read_text() == "three"

    def test_a_deleted_pointer_comes_back_too(self, two):
        (two.root / f"{PATH}.dvc").unlink()
        assert bring(two, at="HEAD").commit is None
        assert two.git("status", "--porcelain") == ""

    def test_from_the_remote_when_the_cache_has_lost_it(self, two):
        lost(two)
        bring(two)
        assert (two.root / PATH).read_text() == "one"

    def test_in_a_clone_that_has_pulled_nothing(self, two):
        other = two.clone()
        other.first = two.first
        done = bring(other)
        assert (other.root / PATH).read_text() == "one" and done.commit
        (other.root / PATH).unlink()
        assert bring(other, at=two.second).commit
        assert (other.root / PATH).read_text() == "three"

    def test_a_text_that_git_keeps(self, two):
        record = two.root / "models" / "tweets" / "1.yaml"
        record.parent.mkdir()
        for said in ("a: 1\n", "a: 2\n"):
            record.write_text(said)
            two.version(also=[record])
        bring(two, "models/tweets/1.yaml", at="HEAD^")
        assert record.read_text() == "a: 1\n"
        assert two.git("status", "--porcelain") == ""

    def test_staged_and_unstaged_edits_of_the_user_survive_byte_for_byte(self, two):
        (two.root / "notes.txt").write_text("one\nstaged\n")
        two.git("add", "notes.txt")
        (two.root / "notes.txt").write_text("one\nstaged\nunstaged\n")
        before = [two.git("diff", "--cached"), two.git("diff"), two.git("status", "--porcelain")]
        bring(two)
        assert before == [
            two.git("diff", "--cached"), two.git("diff"), two.git("status", "--porcelain")]


class TestWhatIsRefused:
    def test_data_whose_bytes_are_not_versioned(self, two):
        (two.root / PATH).write_text("edited by hand")
        refused(two, f"{PATH} (its bytes are not those of its .dvc file)", "dvc add")

    def test_data_that_was_never_versioned(self, two):
        two.git("rm", "-q", f"{PATH}.dvc")
        two.git("commit", "-qm", "Away with it")
        (two.root / PATH).write_text("something new")
        refused(two, f"{PATH} (it has no version)")

    def test_a_pointer_that_differs_from_head(self, two):
        with (two.root / f"{PATH}.dvc").open("a") as stream:
            stream.write("desc: mine\n")
        refused(two, f"{PATH}.dvc (it differs from HEAD)")

    def test_a_pointer_that_is_staged(self, two):
        with (two.root / f"{PATH}.dvc").open("a") as stream:
            stream.write("desc: mine\n")
        two.git("add", f"{PATH}.dvc")
        refused(two, f"{PATH}.dvc (it is staged)")

    def test_a_record_with_edits(self, two):
        record = two.root / "models" / "1.yaml"
        record.write_text("a: 1\n")
        two.first = two.version(also=[record]).commit
        record.write_text("a: mine\n")
        two.git("commit", "-qm", "By hand", "models/1.yaml")
        record.write_text("a: not versioned\n")
        refused(two, "models/1.yaml (it differs from HEAD)", path="models/1.yaml")

    def test_all_such_files_are_named_and_none_is_restored(self, two):
        other = "data/raw/a.csv"
        two.version(two.write("a", other))
        two.first = two.git("rev-parse", "HEAD")
        two.version(two.write("b", other), two.write("four"))
        (two.root / PATH).write_text("edited")
        before = state(two)
        with pytest.raises(VersioningError, match="its bytes") as caught:
            restore(two.root, {PATH: two.first, other: two.first}, message=named)
        assert other not in str(caught.value) and state(two) == before

    def test_a_revision_without_the_artifact(self, two):
        refused(two, "data/other.csv has no version at", path="data/other.csv")

    def test_no_identity(self, two):
        two.git("config", "--unset", "user.name")
        two.git("config", "--unset", "user.email")
        refused(two, "git config user.name")


class TestDataThatIsGone:
    def test_from_the_remote_too_names_artifact_version_and_remote(self, two):
        lost(two)
        shutil.rmtree(two.store / "files")
        refused(two, "neither DVC's cache nor the DVC remote 'store' (../../store) has the data",
                f"{PATH} of {two.first[:10]}", "ftzard push")

    def test_while_the_remote_is_away(self, two):
        lost(two)
        two.store.rename(two.home / "away")
        refused(two, f"{PATH} of {two.first[:10]}: there is no folder")

    def test_without_a_remote(self, two):
        lost(two)
        config = two.root / ".dvc" / "config"
        config.write_text("[core]\n    analytics = false\n    autostage = false\n")
        refused(two, "nor a DVC remote (none is set)")

    def test_a_damaged_cache_is_not_passed_off_as_the_version(self, two):
        md5 = history(two.root, PATH)[-1].md5
        file = two.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
        file.chmod(0o644)
        file.write_text("0ne")
        command = refused(two, "damaged", PATH).rpartition("remote: ")[2]
        subprocess.run(command.split(), check=True)
        bring(two)
        assert (two.root / PATH).read_text() == "one"

    def test_what_is_overwritten_is_kept_even_if_nobody_else_has_it(self, ws):
        ws.first = ws.version(ws.write("one")).commit
        second = ws.version(ws.write("three"), push=False).commit
        lost(ws)
        bring(ws)
        bring(ws, at=second)
        assert (ws.root / PATH).read_text() == "three"


@pytest.mark.parametrize("moment", [
    "restore.write_atomically", "restore.commit_paths", "commit._follow", "artifact.os.replace"])
def test_killed_at_any_moment_nothing_is_lost_and_the_same_restore_finishes(two, moment):
    code = f"""
        import os
        from ftzard.core import artifacts as artifact
        from ftzard.versioning import commit, restore
        bring = restore.restore
        {moment} = lambda *args, **more: os.kill(os.getpid(), 9)
        bring({str(two.root)!r}, {{{PATH!r}: {two.first!r}}},
              message=lambda paths: "restore: " + " ".join(paths))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert (two.root / PATH).read_text() in ("one", "three")
    bring(two)
    assert (two.root / PATH).read_text() == "one"
    assert two.git("status", "--porcelain") == ""
    assert two.git("log", "-2", "--format=%s").split("\n") == [f"restore: {PATH}", "Clean the data"]
    bring(two, at=two.second)
    assert (two.root / PATH).read_text() == "three"
    assert dvc_hash(two.root, PATH) == history(two.root, PATH)[0].md5
