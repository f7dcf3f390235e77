"""Labels in doubt: searched, reviewed blind, handed in, and a data version of their own."""

import pandas as pd
import pytest

from ftzard.data import storage
from ftzard.data.labeling import submissions
from ftzard.errors import DataError
from ftzard.steps import cleaning, label_doubt
from ftzard.steps.label_submission import waiting_rows
from ftzard.steps.labeling_batch import store_of
from ftzard.steps.labeling_session import open_session
from ftzard.steps.step_run import start_step
from ftzard.workspace import row_log
from tests.orchestration.texts import easy_texts


@pytest.fixture
def flipped(workspace, monkeypatch):
    """A workspace of 300 rows, with the ids of a dozen whose labels are wrong."""
    monkeypatch.setenv("FTZARD_WORKSPACE", str(workspace.root))
    rows = easy_texts(300, seed=4).set_axis(["text", "label"], axis=1).drop_duplicates("text")
    other = dict(zip(sorted(rows["label"].unique()), sorted(rows["label"].unique())[::-1],
                     strict=True))
    rows = rows.reset_index(drop=True).assign(
        id=lambda t: [f"row{i:03}" for i in t.index], batch="b1", row=lambda t: t.index * 2)
    rows["split"] = ["test" if i % 4 == 0 else "train" for i in rows.index]
    wrong = rows.index[::len(rows) // 12][:12]
    truth = rows.set_index("id")["label"]
    rows.loc[wrong, "label"] = rows.loc[wrong, "label"].map(other)
    config = workspace.config()
    storage.write_parquet(rows[["id", "batch", "row", "text", "label"]],
                          workspace.root / config.paths.cleaned)
    storage.write_parquet(rows[["id", "batch", "split", "text", "label"]],
                          workspace.root / config.paths.tokenized)
    return workspace, truth, set(rows.loc[wrong, "id"])


def handed_in(workspace, name: str, truth: pd.Series):
    """Review a queue: the first row is left to others, all else gets its true label."""
    session = open_session(workspace, name, "ann")
    session.cannot_say()
    while session.row is not None:
        session.answer(truth[session.row["id"]])
    return session.rows, session.submit()


def taken(workspace, file) -> pd.DataFrame:
    """Step 1 on a file of labels, by the calls of its notebook; returns the cleaned rows."""
    run = start_step("cleaning", {"raw": str(file.relative_to(workspace.root)), "overrides": []})
    delivery = run.store_delivery("raw")
    cleaned, rejected = cleaning.clean(run, delivery, cleaning.read(run, delivery))
    table, repeated = cleaning.append(run, cleaned)
    cleaning.check(run, cleaned, rejected, repeated, min_rows=50, max_rejected=1.0)
    cleaning.write(run, delivery, table, cleaned, rejected, repeated)
    run.finish()
    return storage.read_parquet(run.path("cleaned")), run


def test_a_review_is_blind_recorded_and_changes_labels_alone(flipped):
    workspace, truth, wrong = flipped
    name, waiting = label_doubt.ask(workspace, 30)
    assert label_doubt.ask(workspace, 5) == (name, waiting)  # the one that is open
    queue = pd.read_csv(workspace.labelling / f"{name}.csv", encoding="utf-8-sig", dtype="str")
    assert queue[["label", "suggestion", "confidence"]].isna().all(axis=None)
    assert len(wrong & set(queue["id"])) >= 10 and set(queue["side"]) == {"train", "test"}
    assert set(waiting_rows(workspace)["id"]) == set(queue["id"])
    before = storage.read_parquet(workspace.root / workspace.config().paths.cleaned)
    asked, file = handed_in(workspace, name, truth)
    assert storage.read_parquet(workspace.root / workspace.config().paths.cleaned).equals(before)
    after, run = taken(workspace, file)
    left = asked["id"].iloc[0]
    assert after[["id", "row", "text"]].equals(before[["id", "row", "text"]])
    moved = after["label"].to_numpy() != before["label"].to_numpy()
    assert set(after.loc[moved, "id"]) == (wrong & set(asked["id"])) - {left}
    assert (after.loc[moved, "labelled_by"] == "ann").all()
    results = {entry["id"]: entry["result"] for entry in row_log.LABEL_REVIEWS.entries(workspace)}
    assert results.pop(left) == "cannot say"
    assert results == {row_id: "changed" if row_id in wrong else "kept"
                       for row_id in asked["id"].iloc[1:]}
    assert run.facts["reviewed"]["changed"] == moved.sum()
    assert "label_reviews" in run.outputs


def test_what_was_reviewed_is_asked_no_more_and_what_nobody_could_say_is(flipped):
    workspace, truth, _ = flipped
    name, _ = label_doubt.ask(workspace, 30)
    asked, file = handed_in(workspace, name, truth)
    taken(workspace, file)
    file = workspace.labelling / f"{name}.csv"
    rows = storage.read_parquet(workspace.root / workspace.config().paths.cleaned)
    left = submissions.waiting(file, rows, 1, row_log.reviewed(workspace))
    assert left["id"].tolist() == [asked["id"].iloc[0]]
    assert open_session(workspace, name, "bob").rows["id"].tolist() == left["id"].tolist()
    with pytest.raises(DataError, match="no batch waits"):
        open_session(workspace, None, "bob")
    assert [a.id for a in store_of(workspace).answers(name) if a.cannot_say] == left["id"].tolist()


def test_another_task_and_an_empty_workspace_say_why_there_is_no_queue(workspace):
    with pytest.raises(DataError, match="no rows with labels yet"):
        label_doubt.ask(workspace, 10)


def test_the_command_says_how_many_wait_and_refuses_what_has_no_effect(flipped, ftzard):
    root = flipped[0].root
    code, said = ftzard("label", "--suspects", "--most", "4", "-w", root)
    assert "4 labels in doubt wait for a review: data/labelling/suspects-" in said
    assert "needs a terminal" in said and code == 1
    assert "add that" in ftzard("label", "--most", "3", "-w", root)[1]
    assert "has no effect with --suspects" in ftzard("label", "b1", "--suspects", "-w", root)[1]
