"""An estimate is logged in step 5, scored by the audit rows in step 1, and then trusted or not."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ftzard.data import storage
from ftzard.data.labeling import labeling_queue
from ftzard.registry import model_records
from ftzard.steps import accuracy_estimate
from ftzard.workspace import batch_log
from tests.evaluation.simulated import CLASSES
from tests.steps.test_drift_reference import CHAMPION, Opened, ready  # noqa: F401 - the fixture

CALM = SimpleNamespace(alarm=False, raised_by=[])
ALARM = SimpleNamespace(alarm=True, raised_by=["words"])


def answered(n: int, seed: int) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(0, 1.6, n)))
    return np.c_[1 - p, p], [CLASSES[int(hit)] for hit in rng.random(n) < p]


@pytest.fixture
def known(ready):  # noqa: F811
    """A workspace that has the champion's answers to its test rows."""
    chances, labels = answered(900, 0)
    model_records.write_record(ready, CHAMPION, {"temperature": 1.0})
    accuracy_estimate._keep(accuracy_estimate._place(ready, CHAMPION),
                            pd.DataFrame({"label": labels}), chances)
    return ready


def estimated(workspace, batch: str, found=CALM, seed: int = 1, **config):
    run, (chances, labels) = Opened(workspace, **config), answered(400, seed)
    rows = pd.DataFrame({"id": [f"{batch}-{i}" for i in range(400)], "batch": batch,
                         "label": labels})
    told = accuracy_estimate.of_batch(run, CHAMPION, SimpleNamespace(labels=CLASSES), rows,
                                      chances, found)
    return told, run, rows.assign(
        suggestion=np.array(CLASSES)[chances.argmax(axis=1)], confidence=chances.max(axis=1))


def handed_in(workspace, rows: pd.DataFrame, labels) -> Opened:
    """Ask for 150 audit rows of a batch and for 50 others, hand in labels, score the estimate."""
    queue = pd.DataFrame(dict.fromkeys(labeling_queue.QUEUE, ""), index=rows.index).assign(
        id=rows["id"], batch=rows["batch"], text=rows["id"], side="train", chosen_by="margin")
    queue.loc[queue.index[:150], ["side", "chosen_by"]] = ["test", "audit"]
    queue = queue.head(200)
    place = workspace.labelling / f"{rows['batch'].iloc[0]}.csv"
    labeling_queue.keep_suggestions(place, queue, rows, f"Moods@{CHAMPION.number}")
    labeling_queue.queue_csv(queue, place)
    run = Opened(workspace)
    accuracy_estimate.audit(run, rows.head(200).assign(label=labels))
    return run


def test_an_estimate_is_logged_recorded_and_scored_by_the_audit_rows_alone(known, capsys):
    found, run, rows = estimated(known, "b1")
    assert run.logged["estimated_accuracy"] == found.estimate
    assert run.said["estimate"]["lower"] == found.lower
    assert run.kept == {"estimates": batch_log.ESTIMATES.path(known)}
    assert batch_log.ESTIMATES.last(known)["audit"] is None
    labels = rows["label"].head(200).where(np.arange(200) < 150, "neither")
    run = handed_in(known, rows, labels)
    audit = batch_log.ESTIMATES.last(known)["audit"]
    right = (rows["suggestion"] == rows["label"]).head(150)
    assert (audit["n"], audit["right"], audit["covered"]) == (150, right.sum(), True)
    assert run.logged == {"estimates_missed": 0, "estimates_scored": 1}
    assert "accuracy of march.csv (b1): " in capsys.readouterr().out
    assert run.kept == {"estimates": batch_log.ESTIMATES.path(known)}


def test_two_misses_stop_the_estimates_and_an_alarm_stops_the_one(known):
    assert estimated(known, "b0", ALARM)[0].why.startswith("the batch differs")
    for batch in ("b1", "b2"):
        _, _, rows = estimated(known, batch)
        wrong = rows["suggestion"].head(200).map({"negative": "positive", "positive": "negative"})
        handed_in(known, rows, wrong)
    found, run, _ = estimated(known, "b3")
    assert found.estimate is None and "2 of the last 2 estimates" in found.sentence
    assert run.logged == {"accuracy_estimated": 0.0}


def test_a_batch_that_is_estimated_again_stays_one_entry_and_keeps_its_score(known):
    _, _, rows = estimated(known, "b1")
    handed_in(known, rows, rows["label"].head(200))
    estimated(known, "b1")
    assert len(batch_log.ESTIMATES.entries(known)) == 1 and batch_log.ESTIMATES.last(known)["audit"]


def test_one_key_turns_it_off(known):
    found, run, _ = estimated(known, "b1", drift={"estimate_accuracy": False})
    assert found is None and run.logged == {} and batch_log.ESTIMATES.entries(known) == []
    assert "drift.estimate_accuracy" in accuracy_estimate.show(found)


def test_the_notebook_shows_the_estimate_and_the_recall_of_each_class(known):
    shown = accuracy_estimate.show(estimated(known, "b1")[0])
    assert shown["of"].tolist() == ["accuracy", "recall of negative", "recall of positive"]
    assert storage.read_parquet(accuracy_estimate._place(known, CHAMPION)).shape == (900, 2)
