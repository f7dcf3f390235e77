"""The log of drift: an entry per batch and champion, the same again without a trace."""

import pytest

from ftzard.errors import DataError
from ftzard.workspace import drift_log

FOUND = {"score": 9.0, "alarm": True, "sentence": "Alarm: it differs."}
NONE = {"score": 0.5, "alarm": False, "sentence": "No drift."}


def test_a_workspace_without_predictions_has_no_drift(workspace):
    assert drift_log.entries(workspace) == [] and drift_log.last(workspace) is None
    assert drift_log.alarm(workspace) is False
    assert drift_log.stood_before(workspace, "b1", 1) is False


def test_the_same_batch_again_changes_no_byte(workspace):
    path = drift_log.add(workspace, FOUND, batch="b1", champion=1)
    drift_log.add(workspace, NONE, batch="b2", champion=1)
    before = path.read_bytes()
    drift_log.add(workspace, FOUND, batch="b1", champion=1)
    drift_log.add(workspace, NONE, batch="b2", champion=1)
    assert path.read_bytes() == before
    assert [e["batch"] for e in drift_log.entries(workspace)] == ["b1", "b2"]
    drift_log.add(workspace, FOUND, batch="b2", champion=2)
    assert [(e["batch"], e["champion"]) for e in drift_log.entries(workspace)] == [
        ("b1", 1), ("b2", 1), ("b2", 2)]


def test_the_alarm_is_that_of_the_latest_batch(workspace):
    drift_log.add(workspace, FOUND, batch="b1", champion=1)
    assert drift_log.alarm(workspace) and drift_log.last(workspace)["batch"] == "b1"
    drift_log.add(workspace, NONE, batch="b2", champion=1)
    assert not drift_log.alarm(workspace)


def test_a_batch_begins_with_the_alarm_that_stood_before_it(workspace):
    drift_log.add(workspace, FOUND, batch="b1", champion=1)
    drift_log.add(workspace, NONE, batch="b2", champion=1)
    drift_log.add(workspace, FOUND, batch="b3", champion=1)
    before = [drift_log.stood_before(workspace, b, 1) for b in ("b1", "b2", "b3", "new")]
    assert before == [False, True, False, True]


def test_a_damaged_log_says_how_to_mend_it(workspace):
    path = drift_log.add(workspace, FOUND, batch="b1", champion=1)
    path.write_text("{")
    with pytest.raises(DataError, match="dvc checkout"):
        drift_log.last(workspace)


def test_status_shows_the_last_batch(workspace, ftzard):
    code, said = ftzard("status", "-w", workspace.root)
    assert code == 0 and "drift" not in said
    drift_log.add(workspace, FOUND, batch="b1", champion=1)
    code, said = ftzard("status", "-w", workspace.root)
    assert code == 0 and "drift of batch b1: Alarm: it differs." in said
