"""Half of a surrogate pair, which JSON can write, is no character: it never becomes another."""

import json

import pytest

from ftzard.data.identity import FIRST, LATEST
from ftzard.data.reading import read_raw
from ftzard.data.rejection import remedies
from ftzard.errors import DataError
from ftzard.tasks.classification import text_rows
from ftzard.tasks.instruction_tuning import instructions

REASON = "half of a surrogate pair, which is no character"


def file_of(tmp_path, *rows):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_a_text_with_one_is_rejected_with_a_reason_and_a_remedy(tmp_path):
    path = file_of(tmp_path, {"text": "\ud800 good", "label": "a"}, {"text": "fine", "label": "b"},
                   {"text": "\U0001f600 and \ufffd", "label": "b"})
    raw = read_raw(path, text_column="text", label_column="label")
    cleaned, rejected = text_rows.clean(raw, batch="b", identity=LATEST)
    assert cleaned["text"].tolist() == ["fine", "\U0001f600 and \ufffd"]
    assert rejected[["row", "text", "reason"]].values.tolist() == [[0, "\ufffd good", REASON]]
    assert "Write both halves" in remedies(rejected)
    older, none = text_rows.clean(raw, batch="b", identity=FIRST)  # as tables of before have it
    assert older["text"][0] == "? good" and none.empty


def test_labels_that_differ_in_one_do_not_merge(tmp_path):
    path = file_of(tmp_path, {"text": "one", "label": "a"}, {"text": "two", "label": "\ud800"},
                   {"text": "three", "label": "\ud801"})
    with pytest.raises(DataError, match=f"line 2: 'label' holds {REASON}; correct it"):
        read_raw(path, text_column="text", label_column="label")


@pytest.mark.parametrize("row", [
    {"text": "\udc00", "output": "a"}, {"text": "a", "output": "\udc00"},
    {"text": "a", "input": "\ud800", "output": "b"},
    {"messages": [{"role": "user", "content": "\ud800"}], "output": "a"},
    {"messages": json.dumps([{"role": "user", "content": "\ud800"}]), "output": "a"}])
def test_an_instruction_with_one_is_rejected(tmp_path, row):
    rows = [{"text": "", "input": "", "messages": None, **row},
            {"text": "fine", "input": "", "messages": None, "output": "b"}]
    raw = instructions.read(file_of(tmp_path, *rows), instruction_column="text",
                            output_column="output", input_column="input",
                            messages_column="messages")
    cleaned, rejected = instructions.clean(raw, batch="b", identity=LATEST)
    assert cleaned["text"].tolist() == ["fine"] and rejected["reason"].tolist() == [REASON]
