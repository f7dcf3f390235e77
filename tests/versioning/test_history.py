"""The versions of an artifact, read back from git."""

import pytest

from ftzard.errors import VersioningError
from ftzard.versioning import Dvc, data_version, dvc_hash, history

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
