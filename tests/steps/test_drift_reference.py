"""A batch against its champion's reference: kept once, read again, and an alarm that lasts."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ftzard.config.compose import compose
from ftzard.core.artifacts import sha256
from ftzard.data import storage
from ftzard.errors import DataError
from ftzard.registry import model_records
from ftzard.steps import drift_reference
from ftzard.tasks.base import task_named
from ftzard.tracking.registry import Version
from ftzard.workspace import batch_log, notices
from tests.evaluation.simulated import CLASSES, made
from tests.workspace.notice_titles import NOBODY, noticed

CHAMPION = Version("Moods", 3, "run", {})


class Opened(SimpleNamespace):
    """What `compare` asks of a step's run, with what it recorded."""

    def __init__(self, workspace, **config):
        super().__init__(workspace=workspace, config=compose(config), logged={}, said={}, kept={},
                         tagged={}, inputs={}, delivered_as={"b1": "march.csv"},
                         task=task_named("classification"))
        self.mlflow_run = SimpleNamespace(tags=self.tagged.update)

    def log(self, **metrics):
        self.logged.update(metrics)

    def record_facts(self, **facts):
        self.said.update(facts)

    def add_artifact(self, name, path):
        self.kept[name] = path


@pytest.fixture
def ready(workspace):
    """A workspace whose champion is on record and has its reference."""
    rows = pd.DataFrame({"text": ["a", "b"], "split": ["test", "train"]})
    path = storage.write_parquet(rows, workspace.root / "data/tokenized/tokenized.parquet")
    model_records.write_record(workspace, CHAMPION, {"data": {"tokenized": {
        "path": workspace.relative(path), "sha256": sha256(path), "commit": None}}})
    drift_reference.keep(workspace, CHAMPION, made(900, 0))
    return workspace


def batch(name: str, seed: int, **change) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    sample = made(400, seed, **change)
    texts = ["x " * (int(w) - 1) + "x" * (round(c) - 2 * (int(w) - 1))
             for w, c in zip(sample.words, sample.characters, strict=True)]
    rows = pd.DataFrame({"text": texts, "batch": name, "length": sample.tokens.astype(int),
                         "cut": 0})
    return rows, sample.probabilities, sample.embeddings


def compared(workspace, name: str, seed: int, *, config=None, **change):
    run = Opened(workspace, **(config or {}))
    found = drift_reference.compare(run, CHAMPION, SimpleNamespace(labels=CLASSES),
                                    *batch(name, seed, **change))
    return found, run


def test_what_was_found_is_logged_said_tagged_and_kept(ready, monkeypatch):
    monkeypatch.setenv(notices.VARIABLE, NOBODY)
    found, run = compared(ready, "b1", 7, share=0.85)
    assert found.alarm and run.logged["drift_alarm"] == 1
    assert noticed(ready) == [f"{ready.root.name}: batch b1 drifts"]
    assert run.said["drift"]["raised_by"] == found.raised_by
    assert run.tagged == {"drift": "drift", "drift_alarm": "true"}
    assert run.kept == {"drift": batch_log.DRIFT.path(ready)}
    entry = batch_log.DRIFT.last(ready)
    assert entry["batch"] == "b1" and entry["champion"] == 3 and entry["alarm"] is True


def test_the_alarm_lasts_from_batch_to_batch_until_one_is_as_usual(ready):
    compared(ready, "b1", 7, share=0.85)
    between, _ = compared(ready, "b2", 8, config={"drift": {"clearing": 0.99}})
    assert between.stood and between.alarm and between.verdict == "unclear"
    cleared, _ = compared(ready, "b3", 8)
    assert cleared.stood and not cleared.alarm
    assert [e["alarm"] for e in batch_log.DRIFT.entries(ready)] == [True, True, False]


def test_the_thresholds_are_those_of_the_config(ready):
    strict, _ = compared(ready, "b1", 9, config={"drift": {"false_alarms": 0.01}})
    loose, _ = compared(ready, "b1", 9, config={"drift": {"false_alarms": 0.3, "clearing": 0.6}})
    assert loose.upper < strict.upper and loose.lower < strict.lower


def test_the_reference_is_kept_as_it_was(ready):
    kept = drift_reference.reference(SimpleNamespace(workspace=ready), CHAMPION, None)
    original = made(900, 0)
    assert np.allclose(kept.embeddings, original.embeddings, atol=1e-5)
    assert (kept.words == original.words).all()


def test_rows_of_another_data_version_are_not_taken_for_it(ready):
    """A later round's test rows are more than those that the version was trained beside."""
    place = drift_reference.place(ready, CHAMPION)
    place.unlink()
    run = Opened(ready)
    run.inputs = {"tokenized": SimpleNamespace(sha256="0" * 64)}
    drift_reference.remember(run, CHAMPION, made(50, 1))
    assert not place.exists()
    run.inputs = {"tokenized": SimpleNamespace(
        sha256=sha256(ready.root / "data/tokenized/tokenized.parquet"))}
    drift_reference.remember(run, CHAMPION, made(50, 1))
    assert place.is_file()


def test_rows_that_changed_and_were_never_versioned_are_refused(ready):
    drift_reference.place(ready, CHAMPION).unlink()
    storage.write_parquet(pd.DataFrame({"text": ["c"], "split": ["test"]}),
                          ready.root / "data/tokenized/tokenized.parquet")
    with pytest.raises(DataError, match="never committed"):
        drift_reference.reference(SimpleNamespace(workspace=ready), CHAMPION, None)


def test_a_version_without_a_record_is_refused(ready):
    with pytest.raises(DataError, match="no record of the rows"):
        drift_reference.place(ready, Version("Moods", 9, "run", {}))
