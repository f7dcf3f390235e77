"""A text that was changed in the queue's own file does not count as the one that was asked."""

import json

import pandas as pd
import pytest

from ftzard.core.artifacts import write_json
from ftzard.data import messages
from ftzard.data.labeling import label_studio, submissions
from ftzard.data.labeling.label_formats import OneOf
from ftzard.data.labeling.labeling_queue import queue_csv, read_queue
from ftzard.errors import DataError
from ftzard.tasks.instruction_tuning.labeling import Answer

SHOWN = ["Add the numbers 1 and 2 please", "Name a colour", "Say it in\ntwo lines"]


def asked(**more) -> pd.DataFrame:
    return pd.DataFrame({
        "id": ["i0", "i1", "i2"], "batch": "X", "text": SHOWN, "suggestion": "3",
        "confidence": 0.5, "side": "train", "chosen_by": "margin", "group": "", "label": "",
        **more})


def with_messages() -> pd.DataFrame:
    return asked(source="", messages=[messages.to_json(messages.one_turn(t))
                                      for t in SHOWN])


def put(queue: pd.DataFrame, folder, *, tasks: bool = True):
    """Write a queue as step 6 does, and return its file."""
    if tasks:
        write_json(folder / "X.json", label_studio.tasks(queue, "m@1"))
    return queue_csv(queue, folder / "X.csv")


def edit(file, **cells: str) -> pd.DataFrame:
    """Fill in the file's labels and change cells of its first row, as a person does."""
    rows = read_queue(file).assign(label=["twenty-one", "red", "yes"])
    for name, cell in cells.items():
        rows.loc[0, name] = cell
    rows.to_csv(file, index=False, encoding="utf-8-sig")
    return rows


def back(folder, rows: pd.DataFrame, labels=Answer()) -> submissions.HandedIn:
    rows.to_csv(folder / "given.txt.csv", index=False)
    given = (folder / "given.txt.csv").rename(folder.parent / "given.csv")
    return submissions.read(given, batch="g", queue=submissions.queues(folder), labels=labels)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "labelling").mkdir()
    return tmp_path / "labelling"


@pytest.mark.parametrize("tasks", [True, False])
def test_a_changed_instruction_is_refused_and_the_others_count(folder, tasks):
    rows = edit(put(with_messages(), folder, tasks=tasks), text="Add the numbers 1 and 20 please")
    found = back(folder, rows)
    assert found.refused[["id", "reason"]].values.tolist() == [["i0", "changed text"]]
    assert found.cleaned["id"].tolist() == ["i1", "i2"]
    told = [messages.as_text(json.loads(cell)) for cell in found.cleaned["messages"]]
    assert told == found.cleaned["text"].tolist() == SHOWN[1:]


@pytest.mark.parametrize("tasks", [True, False])
def test_so_are_changed_messages(folder, tasks):
    other = messages.to_json(messages.one_turn("Add the numbers 1 and 20 please"))
    rows = edit(put(with_messages(), folder, tasks=tasks), messages=other)
    assert back(folder, rows).refused["id"].tolist() == ["i0"]
    broken = edit(put(with_messages(), folder, tasks=tasks), messages="no JSON")
    assert back(folder, broken).refused["id"].tolist() == ["i0"]


def test_and_text_and_messages_that_were_changed_together(folder):
    text = "Add the numbers 1 and 20 please"
    rows = edit(put(with_messages(), folder), text=text,
                messages=messages.to_json(messages.one_turn(text)))
    assert back(folder, rows).refused["id"].tolist() == ["i0"]


def test_a_changed_text_of_classification_is_refused_by_the_tasks_beside_it(folder):
    rows = edit(put(asked(), folder), text="Add nothing")
    rows["label"] = "glad"
    found = back(folder, rows, OneOf(["glad", "sad"]))
    assert found.refused[["id", "reason"]].values.tolist() == [["i0", "changed text"]]


def test_what_a_spreadsheet_does_to_space_is_no_change(folder):
    rows = edit(put(with_messages(), folder))
    rows["text"] = ["  Add the numbers 1  and 2 please ", "Name a colour", "Say it in two lines"]
    rows.to_csv(folder / "X.csv", index=False, encoding="utf-8-sig")
    found = back(folder, rows)
    assert found.refused.empty and found.cleaned["text"].tolist() == SHOWN


def test_a_row_that_waits_is_asked_again_as_it_was_without_the_label_of_another_text(folder):
    file = put(asked(), folder)
    edit(file, text="Add nothing")
    left = submissions.waiting(file, None)
    assert left["text"].tolist() == SHOWN and left["label"].tolist() == ["", "red", "yes"]
    assert "changed" not in left


def test_messages_that_were_changed_are_not_asked_again(folder):
    file = put(with_messages(), folder)
    edit(file, messages="[]")
    assert submissions.waiting(file, None)["id"].tolist() == ["i1", "i2"]


def test_tasks_that_are_none_are_named(folder):
    put(asked(), folder)
    (folder / "X.json").write_text('{"data": 1}')
    with pytest.raises(DataError, match="X.json does not hold the tasks .*dvc checkout"):
        submissions.queues(folder)
