"""The answers that are not handed in yet: one file, for several processes, and those of before."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from ftzard.data.labeling import answer_store
from ftzard.data.labeling.answer_store import Answer, AnswerStore, Settlement
from ftzard.data.storage import write_csv
from ftzard.errors import WorkspaceError

MANY = """
import sys
from pathlib import Path
from ftzard.data.labeling.answer_store import Answer, AnswerStore
store, person = AnswerStore(Path(sys.argv[1])), sys.argv[2]
for n in range(30):
    row = store.lease("b", person, lambda answers: [
        (f"r{n}", 1) for n in range(40) if f"r{n}" not in {a.id for a in answers}])
    if row is not None:
        store.save("b", Answer(row, person, "glad"))
"""


@pytest.fixture
def store(tmp_path) -> AnswerStore:
    return AnswerStore(tmp_path / "labelling" / "answers.db")


def test_a_person_has_one_answer_to_a_row_the_last(store):
    for label in ("glad", "sad"):
        store.save("b", Answer("r1", "ann", label))
    store.save("b", Answer("r1", "bob", "glad"))
    store.save("c", Answer("r1", "ann", "glad"))
    assert [(a.person, a.label) for a in store.answers("b")] == [("ann", "sad"), ("bob", "glad")]
    store.remove("b", "r1", "ann")
    assert [a.person for a in store.answers("b")] == ["bob"] and store.people() == ["ann", "bob"]


def test_a_lease_keeps_a_row_from_others_until_it_ends(store, monkeypatch):
    def rows(answers):
        return [("r1", 1), ("r2", 1)]

    assert store.lease("b", "ann", rows) == store.lease("b", "ann", rows) == "r1"
    assert store.lease("b", "bob", rows) == "r2" and store.lease("b", "eve", rows) is None
    assert store.lease("b", "eve", lambda answers: [("r1", 2)]) == "r1", "two may answer it"
    monkeypatch.setattr(answer_store.time, "time", lambda: answer_store.datetime.now().timestamp()
                        + answer_store.LEASE_S + 1)
    assert store.lease("b", "max", rows) == "r1"


def test_a_changed_answer_ends_what_was_settled(store):
    store.save("b", Answer("r1", "ann", "glad"))
    store.settle("b", Settlement("r1", "sad", "eve", answer_store.now()))
    assert store.settlements("b")["r1"].label == "sad"
    store.save("b", Answer("r1", "ann", "sad"))
    assert store.settlements("b") == {}


def test_processes_that_work_at_once_lose_and_double_nothing(store):
    people = [subprocess.Popen([sys.executable, "-c", MANY, str(store.path), name],
                               cwd=Path(__file__).parents[2]) for name in ("ann", "bob")]
    assert [person.wait(120) for person in people] == [0, 0]
    assert Counter(a.id for a in store.answers("b")) == {f"r{n}": 1 for n in range(40)}


@pytest.mark.parametrize("columns", [
    ["id", "label", "labelled_by", "labelled_at", "handed_in"],
    ["id", "label", "labelled_by", "labelled_at", "handed_in", "own_answer", "seen"]])
def test_answers_of_earlier_versions_are_taken_over_once(store, columns):
    lines = [["r1", "=sad", "a/nn", "2026-01-01T00:00:00+00:00", "", "glad", "=sad"],
             ["r2", "glad", "a/nn", "2026-01-01T00:00:01+00:00", "b_ann.csv", "", ""]]
    table = pd.DataFrame(lines, dtype="str").iloc[:, :len(columns)].set_axis(columns, axis=1)
    path = store.path.parent / "b" / "a%2Fnn.csv"
    path.parent.mkdir(parents=True)
    table.to_csv(path, index=False) if len(columns) == 5 else write_csv(table, path)
    first, second = store.answers("b", "a/nn")
    assert (first.id, first.label, first.handed_in) == ("r1", "=sad", "")
    assert first.own_answer == ("glad" if len(columns) == 7 else "")
    assert second.handed_in == "b_ann.csv"
    store.remove("b", "r1", "a/nn")
    again = AnswerStore(store.path)
    assert [a.id for a in again.answers("b")] == ["r2"], "what was taken back does not come again"


def test_a_file_that_is_no_store_is_an_error_in_a_sentence(store):
    store.path.parent.mkdir(parents=True)
    store.path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(WorkspaceError, match=r"answers\.db.*cannot be used"):
        store.answers("b")
