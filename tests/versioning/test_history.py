"""The versions of an artifact, read back from git."""

import subprocess
from dataclasses import replace

import pytest
import yaml

from ftzard.errors import VersioningError
from ftzard.versioning import Dvc, data_version, dvc_hash, history, push
from ftzard.versioning.dvc import read_dvc, with_rows
from ftzard.versioning.versions import every_version, in_force, whether_pushed

PATH = "data/cleaned.parquet"


def test_every_version_with_its_run_its_hash_and_its_size_newest_first(ws):
    ws.version(ws.write("one"), run_id="run-1", push=False)
    first = dvc_hash(ws.root, PATH)
    ws.version(ws.write("other", "data/raw/a.csv"), run_id="run-2", push=False)
    done = ws.version(ws.write("three"), run_id="run-3", message="Clean again", push=False)
    newest, oldest = history(ws.root, PATH)
    assert (newest.commit, newest.run_id, newest.size) == (done.commit, "run-3", 5)
    assert (oldest.md5, oldest.run_id, oldest.subject) == (first, "run-1", "Clean the data")
    assert newest.md5 == dvc_hash(ws.root, PATH)
    assert history(ws.root, f"{PATH}.dvc") == [newest, oldest]


def test_an_artifact_without_versions(ws):
    assert history(ws.root, PATH) == []
    assert data_version(ws.root, PATH) is None
    with pytest.raises(VersioningError, match="has no version yet"):
        dvc_hash(ws.root, PATH)


def test_a_torn_pointer_is_named(ws):
    (ws.root / f"{PATH}.dvc").write_text("outs:\n")
    with pytest.raises(VersioningError, match="cleaned.parquet.dvc is not a .dvc file"):
        dvc_hash(ws.root, PATH)


def test_lost_data_comes_back_from_the_cache_and_from_the_remote(ws):
    ws.version(ws.write("rows"))
    with Dvc(ws.root) as dvc:
        (ws.root / PATH).unlink()
        dvc.checkout([f"{PATH}.dvc"])
        assert (ws.root / PATH).read_text() == "rows"


def test_a_failing_dvc_command_says_which_and_why(ws):
    with Dvc(ws.root) as dvc, pytest.raises(VersioningError) as caught:
        dvc.add(["data/nothing.csv"])
    assert "'dvc --wait-for-lock add data/nothing.csv' failed" in str(caught.value)
    assert "does not exist" in str(caught.value)


class TestRows:
    """The row count stands in the `.dvc` file, so that a clone alone can tell it."""

    def test_a_clone_tells_the_rows_and_dvc_keeps_them_and_works_as_ever(self, ws):
        ws.version(replace(ws.write("one"), rows=3), push=False)
        ws.version(replace(ws.write("two"), rows=12))
        pointer = ws.root / f"{PATH}.dvc"
        noted = pointer.read_text()
        with Dvc(ws.root) as dvc:
            dvc.add([PATH])
            assert pointer.read_text() == noted and "rows: 12" in noted
            assert "up to date" in dvc.run("status")
        other = ws.clone()
        assert [v.rows for v in history(other.root, PATH)] == [12, 3]
        with Dvc(other.root) as dvc:
            dvc.pull([f"{PATH}.dvc"])
        assert (other.root / PATH).read_text() == "two"

    def test_unchanged_data_makes_no_commit_whatever_its_pointer_says_of_rows(self, ws):
        first = ws.version(replace(ws.write("one"), rows=None), push=False)
        again = ws.version(replace(ws.write("one"), rows=3), push=False)
        assert not again.changed and again.handles[0].commit == first.commit
        assert ws.git("status", "--porcelain") == ""

    def test_killed_before_the_commit_the_next_run_notes_its_own_rows(self, ws):
        ws.version(replace(ws.write("one"), rows=3), push=False)
        pointer = ws.root / f"{PATH}.dvc"
        pointer.write_text(with_rows(pointer.read_text(), 5))  # as far as a killed run came
        ws.version(replace(ws.write("three"), rows=7), push=False)
        assert history(ws.root, PATH)[0].rows == 7
        pointer.write_text(with_rows(pointer.read_text(), 9))
        assert not ws.version(replace(ws.write("three"), rows=7), push=False).changed

    @pytest.mark.parametrize(("meta", "rows", "expected"), [
        (None, 4, {"rows": 4}), ({"rows": 3}, 4, {"rows": 4}), ({"rows": 3}, None, None),
        ({"owner": "Ada"}, 4, {"owner": "Ada", "rows": 4}),
        ({"owner": "Ada", "rows": 3}, None, {"owner": "Ada"}), (None, None, None)])
    def test_what_else_stands_in_the_pointer_stays(self, meta, rows, expected):
        pointer = {"outs": [{"md5": "a" * 32, "size": 3, "path": "x"}], "desc": "mine"}
        noted = with_rows(yaml.safe_dump({**pointer, **({"meta": meta} if meta else {})}), rows)
        assert yaml.safe_load(noted) == {**pointer, **({"meta": expected} if expected else {})}
        assert read_dvc(noted, "x").rows == rows


def test_all_artifacts_of_all_branches_that_were_merged(ws):
    ws.version(ws.write("one"), push=False)
    ws.git("switch", "-qc", "side")
    ws.version(ws.write("side"), push=False, run_id="run-side")
    ws.git("switch", "-q", "main")
    ws.version(ws.write("main"), ws.write("a", "data/raw/a.csv"), push=False)
    side = ws.root / f"{PATH}.dvc"
    subprocess.run(["git", "merge", "-q", "side"], cwd=ws.root, capture_output=True)
    side.write_text(ws.git("show", "side:data/cleaned.parquet.dvc").replace("size: 4", "size: 5"))
    ws.git("add", str(side))
    ws.git("commit", "-qm", "Decided by hand")
    assert [v.subject for v in history(ws.root, PATH)][0] == "Decided by hand"
    assert {v.run_id for v in history(ws.root, PATH)} == {None, "run-1", "run-side"}
    assert in_force(ws.root, "HEAD") == {
        PATH: ws.git("rev-parse", "HEAD"), "data/raw/a.csv": ws.git("rev-parse", "HEAD^1")}
    assert in_force(ws.root, "HEAD^2")[PATH] == ws.git("rev-parse", "side")


def test_a_torn_version_does_not_hide_the_others(ws):
    ws.version(ws.write("one"), push=False)
    pointer = ws.root / f"{PATH}.dvc"
    whole = pointer.read_text()
    for text in (f"<<<<<<< ours\n{whole}=======\n", whole):
        pointer.write_text(text)
        ws.git("commit", "-qam", "By hand")
    assert [v.md5 for v in every_version(ws.root)] == [dvc_hash(ws.root, PATH), None,
                                                       dvc_hash(ws.root, PATH)]


def test_what_is_pushed_is_told_by_commit(ws):
    first = ws.version(ws.write("one")).commit
    away = ws.store.rename(ws.home / "away")
    second = ws.version(ws.write("two")).commit
    assert [whether_pushed(ws.root)[sha] for sha in (first, second)] == [True, False]
    ws.git("push", "-q")
    assert not whether_pushed(ws.root)[second], "git has it, but nobody has its data"
    away.rename(ws.store)
    push(ws.root)
    assert whether_pushed(ws.root)[second]
    assert whether_pushed(ws.clone().root) == whether_pushed(ws.root)


def test_what_a_colleague_s_merge_brought_in_is_pushed(ws):
    other = ws.clone()
    theirs = other.version(other.write("theirs", "data/raw/theirs.csv")).commit
    ours = ws.version(ws.write("ours"))
    assert ours.pushed == "pushed"
    told = whether_pushed(ws.root)
    assert told[theirs] and told[ours.handles[0].commit]
