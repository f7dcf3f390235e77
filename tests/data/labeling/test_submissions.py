"""A file with every kind of mistake: good rows are used, bad ones come back, none is lost."""

import os

import pandas as pd
import pytest

from ftzard.data import splitting
from ftzard.data.labeling import submissions
from ftzard.data.labeling.label_formats import OneOf
from ftzard.data.labeling.labeling_queue import queue_csv, read_labelled, read_queue
from ftzard.data.storage import write_parquet
from ftzard.errors import DataError

NAMES = ["negative", "positive"]


def asked(count: int = 20) -> pd.DataFrame:
    return pd.DataFrame({
        "id": [f"row{n:02}" for n in range(count)], "batch": "b1",
        "text": [f"a text of some words number {n} of them" for n in range(count)],
        "suggestion": ["positive", "negative"] * (count // 2), "confidence": "0.5",
        "side": "train", "chosen_by": ["random"] * 4 + ["margin"] * (count - 4), "group": "",
        "blind": "yes", "label": ""})


def filled(queue: pd.DataFrame) -> pd.DataFrame:
    """Every row labelled by ann as the model suggests, but for the mistakes below."""
    return queue.assign(label=queue["suggestion"], labelled_by="ann")


@pytest.fixture
def mistakes(tmp_path):
    """Write a file with every mistake there is; returns (queue, path)."""
    queue = asked()
    rows = filled(queue)
    rows.loc[0, "label"] = "postive"
    rows.loc[1, "text"] = "A text of some other words"
    rows.loc[2, "id"] = "row99"
    rows.loc[3, "label"] = ""
    rows.loc[4, "label"] = "negative"  # against the model's suggestion, which is no mistake
    agrees = rows.loc[[5]].assign(labelled_by="bob")
    differs = rows.loc[[6]].assign(labelled_by="bob", label="negative")
    doubled = rows.loc[[7]]
    contradicts = rows.loc[[8]].assign(label="negative")
    every = pd.concat([rows, agrees, differs, doubled, contradicts], ignore_index=True)
    every.to_csv(tmp_path / "back.csv", index=False)
    return queue, tmp_path / "back.csv"


def test_a_file_in_which_nothing_is_filled_in_is_refused(tmp_path):
    queue_csv(asked(), tmp_path / "queue.csv")
    with pytest.raises(DataError, match="none of its 20 rows has a label; fill in the column"):
        submissions.read(tmp_path / "queue.csv", batch="d", labels=OneOf(NAMES),
                       queue=read_queue(tmp_path / "queue.csv"))


def test_a_row_comes_back_with_its_group_and_so_on_the_side_it_was_asked_for(tmp_path):
    groups = [f"author {n % 7}" for n in range(20)]
    unlabelled = sides(asked().assign(group=groups))
    queue_csv(filled(unlabelled), tmp_path / "queue.csv")
    told = {"batch": "d", "queue": read_queue(tmp_path / "queue.csv"), "labels": OneOf(NAMES)}
    back = submissions.read(tmp_path / "queue.csv", **told)
    assert back.cleaned["group"].tolist() == groups
    assert sides(back.cleaned)["split"].tolist() == unlabelled["split"].tolist()
    corrected = filled(unlabelled).head(1).assign(label="negative")
    corrected.to_csv(tmp_path / "corrected.csv", index=False)
    again = submissions.read(tmp_path / "corrected.csv", batch="e", labels=OneOf(NAMES),
                           queue=told["queue"].iloc[1:], earlier=back.cleaned)
    assert again.cleaned["group"].tolist() == groups[:1]


def sides(rows: pd.DataFrame) -> pd.DataFrame:
    return splitting.assign(rows, salt="s", ratio={"train": 0.5, "validation": 0.2, "test": 0.3})


REASONS = {
    "row00": "unknown label 'postive'; did you mean 'positive'?", "row01": "changed text",
    "row99": "unknown id 'row99'",
    "row06": "labelled differently by two people: ann positive, bob negative",
    "row07": "doubled id", "row08": "doubled id with different labels"}


def test_good_rows_are_used_bad_ones_are_kept_with_their_reason(mistakes):
    queue, path = mistakes
    back = submissions.read(path, batch="d", queue=queue, labels=OneOf(NAMES),
                            at="2026-11-21T10:00:00")
    lost = {"row00", "row01", "row02", "row03", "row06", "row08"}
    assert set(back.cleaned["id"]) == set(queue["id"]) - lost
    assert back.cleaned["text"].tolist() == queue.set_index("id").loc[back.cleaned["id"],
                                                                      "text"].tolist()
    assert set(back.cleaned["labelled_by"]) == {"ann"}
    assert set(back.cleaned["labelled_at"]) == {"2026-11-21T10:00:00"}
    assert dict(zip(back.refused["id"], back.refused["reason"], strict=True)) == REASONS
    assert back.rejected["reason"].tolist() == back.refused["reason"].tolist()
    assert (back.rejected["batch"] == "d").all()
    given = len(read_labelled(path))
    agreeing_second_opinion = 1
    assert (len(back.cleaned) + len(back.refused) + back.facts["left_empty"]
            + agreeing_second_opinion) == given


def test_the_report_gives_the_rows_back_so_that_they_can_be_mended(mistakes, tmp_path):
    queue, path = mistakes
    back = submissions.read(path, batch="d", queue=queue, labels=OneOf(NAMES))
    kept = submissions.report_refused(back.refused, tmp_path / "quarantine", "back.csv", at="noon")
    assert kept.name == "back.refused.csv"
    report = kept.with_name("back.refused.csv.report.txt").read_text()
    assert "8 rows of back.csv were refused on noon" in report
    assert all(reason in report for reason in REASONS.values())
    mended = pd.read_csv(kept, dtype="str", keep_default_na=False, encoding="utf-8-sig")
    assert len(mended) == 8
    mended = mended[mended["id"] == "row00"].assign(label="positive")
    mended.to_csv(tmp_path / "mended.csv", index=False)
    again = submissions.read(tmp_path / "mended.csv", batch="e", queue=queue, labels=OneOf(NAMES))
    assert again.cleaned["id"].tolist() == ["row00"] and again.refused.empty
    assert again.cleaned["labelled_by"].tolist() == ["ann"], "who labelled survives the round trip"


def test_no_report_without_a_refused_row(tmp_path):
    queue = asked()
    filled(queue).to_csv(tmp_path / "back.csv", index=False)
    back = submissions.read(tmp_path / "back.csv", batch="d", queue=queue, labels=OneOf(NAMES))
    assert submissions.report_refused(back.refused, tmp_path / "q", "back.csv", at="") is None
    assert not (tmp_path / "q").exists()


def test_agreement_with_the_model_and_between_people_is_told(mistakes):
    queue, path = mistakes
    facts = submissions.read(path, batch="d", queue=queue, labels=OneOf(NAMES)).facts
    assert facts["accepted"] == 14 and facts["refused"] == 8 and facts["left_empty"] == 1
    assert facts["labelled_by"] == {"ann": 14}
    assert facts["model"]["rows"] == 14 and facts["model"]["share"] == pytest.approx(13 / 14)
    assert facts["random_rows"]["rows"] == 0, "all four rows drawn by chance had a mistake"
    assert facts["labellers"]["rows"] == 2 and facts["labellers"]["share"] == 0.5
    numbers = submissions.read(path, batch="d", queue=queue, labels=OneOf(NAMES)).numbers
    assert numbers["agreement_model_rows"] == 14 and numbers["labels_refused"] == 8
    assert all(isinstance(value, int | float) for value in numbers.values())


def test_rows_drawn_by_chance_say_how_good_the_model_is(tmp_path):
    queue = asked()
    rows = filled(queue)
    rows.loc[[0, 5], "label"] = ["negative", "positive"]
    rows.to_csv(tmp_path / "back.csv", index=False)
    facts = submissions.read(tmp_path / "back.csv", batch="d", queue=queue,
                             labels=OneOf(NAMES)).facts
    assert facts["random_rows"]["rows"] == 4 and facts["random_rows"]["share"] == 0.75
    assert facts["model"]["share"] == 0.9


def test_a_label_that_left_the_queue_can_still_be_corrected(tmp_path):
    queue = asked()
    earlier = pd.DataFrame({"id": ["old1", "old2"], "batch": "b0", "row": [0, 1],
                            "text": ["an old text", "a text of the first training"],
                            "label": ["negative", "negative"], "labelled_by": ["ann", ""],
                            "labelled_at": ["", ""], "own_answer": ["negative", ""]})
    given = earlier.drop(columns="own_answer").assign(label="positive", labelled_by="bob")
    given.to_csv(tmp_path / "c.csv", index=False)
    back = submissions.read(tmp_path / "c.csv", batch="d", queue=queue, labels=OneOf(NAMES),
                            earlier=earlier)
    assert back.cleaned["id"].tolist() == ["old1"] and back.facts["changed"] == 1
    assert back.refused["reason"].tolist() == ["unknown id 'old2'"]
    assert back.facts["labellers"]["rows"] == 1 and back.facts["labellers"]["share"] == 0


def test_labels_before_anything_was_asked_are_refused(tmp_path):
    filled(asked()).to_csv(tmp_path / "back.csv", index=False)
    with pytest.raises(DataError, match="no row was ever asked for"):
        submissions.read(tmp_path / "back.csv", batch="d", queue=None, labels=OneOf(NAMES))


class TestWaiting:
    def test_labelled_rows_leave_and_filled_in_labels_stay(self, tmp_path):
        queue = asked().astype("str")
        queue.loc[2, "label"] = "positive"
        queue_csv(queue, tmp_path / "b1.csv")
        cleaned = pd.DataFrame({"id": ["row00", "x"], "text": ["?", queue.loc[1, "text"].upper()]})
        left = submissions.waiting(tmp_path / "b1.csv", cleaned)
        assert left["id"].tolist() == queue["id"].tolist()[2:]
        assert left["label"].tolist()[0] == "positive"
        everything = queue[["id", "text"]]
        assert submissions.waiting(tmp_path / "b1.csv", everything) is None
        assert submissions.waiting(tmp_path / "none.csv", None) is None

    def test_test_rows_are_those_of_the_data_and_those_still_asked(self, tmp_path):
        queue = asked(4)
        queue.loc[1, "side"] = "test"
        queue_csv(queue, tmp_path / "b1.csv")
        tokenized = pd.DataFrame({"text": ["one", "two"], "split": ["test", "train"]})
        assert submissions.texts_of_test_rows(tmp_path, tokenized) == ["one", queue.loc[1, "text"]]
        assert submissions.texts_of_test_rows(tmp_path / "none", None) == []


class TestPortions:
    def test_only_labels_that_are_not_there_yet_count(self, tmp_path):
        rows = filled(asked())
        rows.loc[0, "label"] = ""
        rows.to_csv(tmp_path / "back.csv", index=False)
        assert submissions.new_labels(tmp_path / "back.csv", tmp_path / "none.parquet") == 19
        known = rows.iloc[1:6].assign(label=rows["suggestion"].str.upper())
        known.loc[1, "label"] = "positive"
        write_parquet(known[["id", "label"]], tmp_path / "cleaned.parquet")
        assert submissions.new_labels(tmp_path / "back.csv", tmp_path / "cleaned.parquet") == 15

    def test_joined_files_keep_who_and_when_and_are_put_away(self, tmp_path):
        rows = filled(asked())
        rows.head(3).to_csv(tmp_path / "a.csv", index=False)
        rows.iloc[3:5].drop(columns="labelled_by").to_csv(tmp_path / "b.csv", index=False)
        os.utime(tmp_path / "b.csv", (0, 0))
        joined = submissions.join([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "j.csv")
        back = read_labelled(joined)
        assert back["id"].tolist() == rows["id"].tolist()[:5]
        assert back["labelled_by"].tolist() == ["ann"] * 3 + ["unknown"] * 2
        assert back["labelled_at"].tolist()[4] == "1970-01-01T00:00:00+00:00"
        assert sorted(p.name for p in tmp_path.glob("*.csv")) == ["j.csv"]
        assert {p.name for p in (tmp_path / "joined").iterdir()} == {"j.a.csv", "j.b.csv"}


def test_every_queue_of_a_folder_is_known(tmp_path):
    queue_csv(asked(4), tmp_path / "b1.csv")
    queue_csv(asked(6).assign(batch="b2"), tmp_path / "b2.csv")
    (tmp_path / "b1.json").write_text("[]")
    found = submissions.queues(tmp_path)
    assert len(found) == 6 and submissions.queues(tmp_path / "none") is None
    assert read_queue(tmp_path / "b1.csv")["label"].tolist() == [""] * 4
