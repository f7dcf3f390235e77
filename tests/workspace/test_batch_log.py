"""The logs of batches: an entry per batch and champion, the same again without a trace."""

import pytest

from ftzard.errors import DataError
from ftzard.workspace.batch_log import DRIFT, ESTIMATES, is_alarm

FOUND = {"score": 9.0, "alarm": True, "sentence": "Alarm: it differs."}
NONE = {"score": 0.5, "alarm": False, "sentence": "No drift."}


def test_a_workspace_without_predictions_has_no_drift(workspace):
    assert DRIFT.entries(workspace) == [] and DRIFT.last(workspace) is None
    assert is_alarm(DRIFT.last(workspace)) is False
    assert DRIFT.before(workspace, "b1", 1) is None


def test_the_same_batch_again_changes_no_byte(workspace):
    path = DRIFT.add(workspace, FOUND, batch="b1", champion=1)
    DRIFT.add(workspace, NONE, batch="b2", champion=1)
    before = path.read_bytes()
    DRIFT.add(workspace, FOUND, batch="b1", champion=1)
    DRIFT.add(workspace, NONE, batch="b2", champion=1)
    assert path.read_bytes() == before
    assert [e["batch"] for e in DRIFT.entries(workspace)] == ["b1", "b2"]
    DRIFT.add(workspace, FOUND, batch="b2", champion=2)
    assert [(e["batch"], e["champion"]) for e in DRIFT.entries(workspace)] == [
        ("b1", 1), ("b2", 1), ("b2", 2)]


def test_the_alarm_is_that_of_the_latest_batch(workspace):
    DRIFT.add(workspace, FOUND, batch="b1", champion=1)
    assert is_alarm(DRIFT.last(workspace)) and DRIFT.last(workspace)["batch"] == "b1"
    DRIFT.add(workspace, NONE, batch="b2", champion=1)
    assert not is_alarm(DRIFT.last(workspace))


def test_an_estimate_made_again_keeps_its_score(workspace):
    path = ESTIMATES.add(workspace, {"estimate": 0.7}, batch="b1", champion=1)
    entry, = ESTIMATES.entries(workspace)
    assert entry["audit"] is None
    ESTIMATES.replace(workspace, [{**entry, "audit": {"n": 5}}])
    before = path.read_bytes()
    ESTIMATES.add(workspace, {"estimate": 0.7}, batch="b1", champion=1)
    assert path.read_bytes() == before
    ESTIMATES.add(workspace, {"estimate": 0.8}, batch="b1", champion=1)
    assert ESTIMATES.last(workspace) == {**entry, "estimate": 0.8, "audit": {"n": 5}}


def test_a_batch_begins_with_the_alarm_that_stood_before_it(workspace):
    DRIFT.add(workspace, FOUND, batch="b1", champion=1)
    DRIFT.add(workspace, NONE, batch="b2", champion=1)
    DRIFT.add(workspace, FOUND, batch="b3", champion=1)
    before = [is_alarm(DRIFT.before(workspace, b, 1)) for b in ("b1", "b2", "b3", "new")]
    assert before == [False, True, False, True]


def test_a_damaged_log_says_how_to_mend_it(workspace):
    path = DRIFT.add(workspace, FOUND, batch="b1", champion=1)
    path.write_text("{")
    with pytest.raises(DataError, match="dvc checkout"):
        DRIFT.last(workspace)


def test_status_shows_the_last_batch(workspace, ftzard):
    code, said = ftzard("status", "-w", workspace.root)
    assert code == 0 and "drift" not in said
    DRIFT.add(workspace, FOUND, batch="b1", champion=1)
    code, said = ftzard("status", "-w", workspace.root)
    assert code == 0 and "drift of batch b1: Alarm: it differs." in said
