"""What a champion has learned is read from its own data version, wherever that is by now."""

from types import SimpleNamespace

import pandas as pd
import pytest

from ftzard.core.artifacts import sha256
from ftzard.data import storage
from ftzard.errors import VersioningError
from ftzard.registry.model_record import ModelRecord
from ftzard.steps import candidate
from ftzard.versioning.commit import version


def rows(batch: str, numbers, split: str = "train") -> pd.DataFrame:
    return pd.DataFrame({"id": [f"{batch}{n}" for n in numbers], "batch": batch, "split": split,
                         "text": [f"{batch} text {n}" for n in numbers], "label": "good"})


BEFORE = pd.concat([rows("X", range(30)), rows("X", range(30, 40), "test")], ignore_index=True)
NOW = pd.concat([rows("X", range(30)), rows("X", range(40, 90)), rows("Y", range(20))],
                ignore_index=True)


@pytest.fixture
def retraining(workspace):
    """A step whose table has grown since the champion was trained, and the champion's record."""
    path = workspace.root / "data/tokenized/tokenized.parquet"
    handle = workspace.handle("tokenized", storage.write_parquet(BEFORE, path), len(BEFORE))
    done = version(workspace.root, [handle], message="preprocessing", run_id="1" * 32,
                   say=lambda text: None)
    told = {"path": handle.path, "sha256": sha256(path), "commit": done.handles[0].commit}
    storage.write_parquet(NOW, path)
    logged = {}
    run = SimpleNamespace(workspace=workspace, log=logged.update, record_facts=logged.update,
                              logged=logged)
    return run, ModelRecord({"batches": ["X"], "data": {"tokenized": told}})


def test_new_labels_of_a_known_batch_are_told_row_by_row(retraining, capsys):
    run, record = retraining
    told = candidate.seen_rows(run, "m@1", record, NOW)
    assert told == {"known": ["X"], "fresh": [f"X{n}" for n in range(40, 90)]}
    assert run.logged == {"learned_by": "rows", "new_rows_of_known_batches": 50}
    assert "50 rows of batches that m@1 knows are new to it" in capsys.readouterr().out


def test_a_test_row_was_not_learned(retraining):
    run, record = retraining
    told = candidate.seen_rows(run, "m@1", record, rows("X", range(40)))
    assert told["fresh"] == [f"X{n}" for n in range(30, 40)]


def test_a_version_that_was_never_committed_is_told_and_its_batches_count(retraining, capsys):
    run, record = retraining
    record["data"]["tokenized"]["commit"] = None
    assert candidate.seen_rows(run, "m@1", record, NOW) == {"known": ["X"], "fresh": []}
    assert run.logged["learned_by"] == "batches"
    assert "all rows of its 1 batches count as learned" in capsys.readouterr().out


def test_a_version_that_is_lost_stops_the_step(retraining):
    run, record = retraining
    (found,) = (run.workspace.root / ".dvc/cache").rglob("files/md5/??/*")
    found.unlink()
    with pytest.raises(VersioningError, match="neither DVC's cache nor"):
        candidate.seen_rows(run, "m@1", record, NOW)
