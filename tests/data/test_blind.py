"""Labels that are independent of the model: audit rows without a suggestion, honest agreement."""

import json

import numpy as np
import pandas as pd
import pytest

from ftzard.core.artifacts import write_json
from ftzard.data import query_strategies, spreadsheet
from ftzard.data.labeling import label_studio, labeling_queue, submissions
from ftzard.data.labeling.label_formats import OneOf
from ftzard.data.messages import one_turn, to_json
from ftzard.data.storage import write_csv

NAMES = ["glad", "sad"]
SHOW = ("never", "after", "before")


def predictions(train: int = 40, test: int = 20, *, free: bool = False) -> pd.DataFrame:
    """Predicted rows; each free answer is a suggestion that is found nowhere else."""
    sides = ["train"] * train + ["test"] * test
    count, draw = len(sides), np.random.default_rng(5)
    confidence = draw.uniform(0.5, 1, count)
    rows = pd.DataFrame({
        "id": [f"row{n:03}" for n in range(count)], "batch": "b1", "split": sides,
        "text": [f"one{n} two{n} three{n} of {side}" for n, side in enumerate(sides)],
        "suggestion": draw.choice(NAMES, count), "confidence": confidence})
    if not free:
        return rows.assign(probabilities=[[c, 1 - c] for c in confidence])
    return rows.assign(suggestion=[f"machine words {n}" for n in range(count)], source="",
                       messages=[to_json(one_turn(text)) for text in rows["text"]])


def ask(folder, rows: pd.DataFrame, *, show: str, waiting=None, **asked) -> pd.DataFrame:
    """Do what step 6 does with its files; return the queue as it is read again."""
    asked = {"budget": 10, "audit_rows": 8, "seed": 1} | asked
    queue, _ = query_strategies.select(rows, strategy="least_confidence", show_suggestions=show,
                               waiting=waiting, **asked)
    place = folder / "b1.csv"
    labeling_queue.keep_suggestions(place, queue, rows, "M@1")
    write_csv(queue, place, encoding="utf-8-sig")
    write_json(place.with_suffix(".json"), label_studio.tasks(queue, "M@1"))
    return labeling_queue.read_queue(place)


def back(folder, rows: pd.DataFrame, labels=OneOf(NAMES), earlier=None) -> submissions.HandedIn:
    given = folder.parent / "given.csv"
    write_csv(rows, given)
    return submissions.read(given, batch="d", queue=submissions.queues(folder), labels=labels,
                          earlier=earlier)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "labelling").mkdir()
    return tmp_path / "labelling"


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("show", SHOW)
class TestWhatIsAsked:
    def test_no_audit_row_has_a_suggestion_in_any_file(self, folder, show, free):
        queue = ask(folder, predictions(free=free), show=show)
        audits = queue[queue["side"] == "test"]
        assert len(audits) == 8 and (audits["chosen_by"] == "audit").all()
        assert set(audits["suggestion"]) == set(audits["confidence"]) == {""}
        assert (audits["blind"] == "yes").all()
        tasks = {task["data"]["row_id"]: task for task in
                 json.loads((folder / "b1.json").read_text())}
        assert len(tasks) == 18
        said = predictions(free=free).set_index("id")["suggestion"]
        lines = (folder / "b1.csv").read_text(encoding="utf-8-sig").splitlines()
        for row_id in audits["id"]:
            assert set(tasks[row_id]) == {"data"} and said[row_id] not in str(tasks[row_id])
            line, = (line for line in lines if row_id in line)
            assert f'"{said[row_id]}"' not in line

    def test_the_others_have_one_only_where_it_shall_be_seen_before(self, folder, show, free):
        queue = ask(folder, predictions(free=free), show=show)
        others = queue[queue["side"] == "train"]
        said = predictions(free=free).set_index("id")["suggestion"]
        tasks = {task["data"]["row_id"]: task for task in
                 json.loads((folder / "b1.json").read_text())}
        shown = show == "before"
        wanted = said[others["id"]].tolist() if shown else [""] * 10
        assert others["suggestion"].tolist() == wanted
        assert set(others["blind"]) == {"no" if shown else "yes"}
        assert all(("predictions" in tasks[row_id]) == shown for row_id in others["id"])
        kept = submissions.queues(folder).set_index("id")["suggestion"]
        assert kept.to_dict() == said[kept.index].to_dict(), "for agreement all of them are kept"


class TestOrder:
    def test_audit_rows_stand_among_the_others_by_the_seed(self, folder):
        rows = predictions(300, 300)
        queue = ask(folder, rows, show="never", budget=100, audit_rows=100)
        first = (queue["side"].head(100) == "test").sum()
        assert 35 <= first <= 65, "who stops halfway has labelled half of either"
        again = ask(folder, rows, show="never", budget=100, audit_rows=100)
        assert again["id"].tolist() == queue["id"].tolist()
        other = ask(folder, rows, show="never", budget=100, audit_rows=100, seed=2)
        assert other["side"].tolist() != queue["side"].tolist()

    def test_any_beginning_of_the_audit_rows_is_drawn_from_the_whole_batch(self, folder):
        queue = ask(folder, predictions(10, 400), show="never", budget=5, audit_rows=400)
        audits = queue.loc[queue["side"] == "test", "id"].str[-3:].astype(int)
        assert abs(audits.head(100).mean() - 209.5) < 30 and not audits.is_monotonic_increasing

    def test_the_most_uncertain_rows_still_come_first_among_theirs(self, folder):
        rows = predictions()
        queue = ask(folder, rows, show="never")
        asked = queue.loc[queue["side"] == "train", "id"]
        wanted = rows[rows["split"] == "train"].nsmallest(10, "confidence")["id"]
        assert asked.tolist() == wanted.tolist()


def test_a_share_is_of_what_the_batch_has(folder):
    """Of a budget larger than the batch, it would be the whole batch: nothing was ranked."""
    queue, threshold = query_strategies.select(
        predictions(40, 0), strategy="mix", random_share=0.25, budget=400, audit_rows=0, seed=0)
    assert queue["chosen_by"].value_counts().to_dict() == {"least_confidence": 30, "random": 10}
    assert threshold is not None


class TestAgreement:
    def test_all_blind_answers_count_those_of_audit_rows_apart(self, folder):
        queue = ask(folder, predictions(), show="never")
        said = submissions.queues(folder).set_index("id")["suggestion"]
        label = queue["id"].map(said)
        label[queue["side"].eq("test").idxmax()] = "neither"
        other = {"glad": "sad", "sad": "glad"}
        first = queue["side"].eq("train").idxmax()
        label[first] = other[label[first]]
        audit = queue["side"].eq("test")
        wrong = queue.index[audit][:2]
        label[wrong] = label[wrong].map(lambda name: other.get(name, "glad"))
        found = back(folder, queue.assign(label=label, labelled_by="ann"))
        told = found.facts
        assert told["blind"] == told["accepted"] == 18 and told["audit_not_blind"] == 0
        assert told["audit_rows"]["rows"] == 8 and told["model"]["rows"] == 18
        same = (label == queue["id"].map(said))
        assert told["audit_rows"]["share"] == pytest.approx(same[audit].mean())
        assert told["model"]["share"] == pytest.approx(same.mean())
        assert found.numbers["agreement_audit_rows_rows"] == 8
        assert found.sentence.startswith("18 of 18 labels were given before")
        assert found.cleaned["own_answer"].tolist() == found.cleaned["label"].tolist()

    def test_labels_given_beside_a_suggestion_do_not_count(self, folder):
        queue = ask(folder, predictions(), show="before")
        said = submissions.queues(folder).set_index("id")["suggestion"]
        found = back(folder, queue.assign(label=queue["id"].map(said), labelled_by="ann"))
        assert found.facts["accepted"] == 18 and found.facts["blind"] == 8
        assert found.facts["model"]["rows"] == found.facts["audit_rows"]["rows"] == 8
        assert set(found.cleaned["own_answer"]) - set(NAMES) == {""}

    def test_of_an_answer_that_was_changed_after_a_look_the_first_counts(self, folder):
        queue = ask(folder, predictions(), show="after").head(2)
        given = queue.assign(label=["glad", "glad"], labelled_by="ann", own_answer=["sad", ""],
                             seen=["glad", "glad"])
        found = back(folder, given)
        assert found.cleaned["label"].tolist() == ["glad", "glad"]
        assert found.cleaned["own_answer"].tolist() == ["sad", ""]
        assert found.facts["model"]["rows"] == 1

    def test_two_people_agree_by_what_both_said_blind(self, folder):
        queue = ask(folder, predictions(), show="never")
        ann = queue.head(3).assign(label="glad", labelled_by="ann", own_answer="", seen="")
        bob = ann.assign(labelled_by="bob")
        bob.loc[bob.index[0], "seen"] = "glad"
        found = back(folder, pd.concat([ann, bob]))
        assert found.facts["labellers"]["rows"] == 2
        later = ann.assign(labelled_by="zoe")
        again = back(folder, later, earlier=found.cleaned.assign(own_answer=["glad", "glad", ""]))
        assert again.facts["labellers"]["rows"] == 2
        older = found.cleaned.drop(columns="own_answer")
        assert back(folder, later, earlier=older).facts["labellers"]["rows"] == 0, (
            "of labels of before it is not known what was seen")

    def test_a_mended_slip_is_as_blind_as_it_was(self, folder, tmp_path):
        queue = ask(folder, predictions(), show="never").head(2)
        found = back(folder, queue.assign(label=["gladd", "sad"], labelled_by="ann"))
        kept = submissions.report_refused(found.refused, tmp_path / "q", "x.csv", at="noon")
        mended = pd.read_csv(kept, dtype="str", keep_default_na=False).assign(label="glad")
        assert back(folder, mended).facts["blind"] == 1


class TestOlderQueues:
    """Before, every row came with a suggestion, and audit rows came last."""

    @pytest.fixture
    def older(self, folder):
        rows = predictions()
        queue, _ = query_strategies.select(rows, strategy="margin", budget=4, audit_rows=3, seed=0)
        said = rows.set_index("id")
        queue = queue.sort_values("side", ascending=False).drop(columns="blind").assign(
            suggestion=queue["id"].map(said["suggestion"]),
            confidence=queue["id"].map(said["confidence"]).astype("str"))
        queue.to_csv(folder / "b1.csv", index=False, encoding="utf-8-sig")
        return queue

    def test_their_labels_are_used_and_not_taken_for_blind(self, folder, older):
        found = back(folder, older.assign(label=older["suggestion"], labelled_by="ann"))
        assert len(found.cleaned) == 7 and found.refused.empty
        assert found.facts["audit_not_blind"] == 3 and found.facts["blind"] == 0
        assert found.facts["model"]["rows"] == 0
        assert "3 of the batch's test rows were asked with a suggestion" in found.sentence

    @pytest.mark.parametrize("show", SHOW)
    def test_asked_again_they_lose_the_suggestion_and_stay_not_blind(self, folder, older, show):
        waiting = submissions.waiting(folder / "b1.csv", None)
        queue = ask(folder, predictions(), show=show, waiting=waiting)
        kept = queue[queue["id"].isin(older["id"])]
        audits = kept[kept["side"] == "test"]
        assert kept["id"].tolist() == older["id"].tolist() == queue["id"].tolist()[:7]
        assert set(audits["suggestion"]) == {""} and set(kept["blind"]) == {"no"}
        assert (kept.loc[kept["side"] == "train", "suggestion"] != "").all() == (show == "before")
        fresh = queue[~queue["id"].isin(older["id"]) & queue["side"].eq("test")]
        assert len(fresh) == 5 and set(fresh["blind"]) == {"yes"}
        known = submissions.queues(folder).set_index("id")["suggestion"]
        assert known[older["id"]].tolist() == older["suggestion"].tolist()

    def test_a_text_that_begins_like_an_escaped_one_is_not_changed(self, folder, older):
        older = older.assign(text=["''quoted", "'=1", "'tis", "=1", "a", "b", "c"])
        older.to_csv(folder / "b1.csv", index=False, encoding="utf-8-sig")
        read = labeling_queue.read_queue(folder / "b1.csv")
        assert read["text"].tolist() == older["text"].tolist()
        assert spreadsheet.unescape("'=1") == "=1"
