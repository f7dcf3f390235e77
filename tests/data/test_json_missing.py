"""What JSON writes for a missing number is missing, wherever it stands."""

import json

import numpy as np
import pandas as pd
import pytest

from ftzard.data.reading import read_cells, read_raw, records
from ftzard.errors import DataError
from ftzard.tasks.classification import text_rows
from ftzard.tasks.instruction_tuning import instructions


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "null"])
def test_a_number_that_is_none_is_a_missing_label_and_a_missing_text(tmp_path, number):
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"text": "a b", "label": {number}}}\n{{"text": {number}, "label": "x"}}\n'
                    '{"text": "NaN", "label": "Infinity"}\n{"text": "c", "label": 4.0}\n')
    rows = read_raw(path, text_column="text", label_column="label")
    assert rows["text"].tolist() == ["a b", "", "NaN", "c"], "a text that says so is a text"
    assert rows["label"].tolist() == ["", "x", "Infinity", "4.0"]
    _, rejected = text_rows.clean(rows, batch="b")
    assert rejected["reason"].tolist() == ["label missing", "empty text"]


def test_parquet_and_json_lines_of_the_same_table_are_read_as_one(tmp_path):
    table = pd.DataFrame({"text": ["a", "b", "c", "d"], "label": [1.0, np.nan, np.inf, 4.5]})
    table.to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text(
        "".join(f"{json.dumps(row)}\n" for row in table.to_dict("records")))
    one, other = (read_raw(tmp_path / name, text_column="text", label_column="label")
                  for name in ("rows.parquet", "rows.jsonl"))
    assert other["label"].tolist() == ["1.0", "", "", "4.5"]
    assert [label.removesuffix(".0") for label in one["label"]] == ["1", "", "", "4.5"]


def test_answers_and_inputs_that_are_missing(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "Say 1", "input": NaN, "output": NaN}\n'
                    '{"instruction": "Say 2", "input": NaN, "output": "2"}\n'
                    '{"instruction": "Say 3", "input": "of NaN", "output": "NaN"}\n')
    raw = instructions.read(path, instruction_column="instruction", input_column="input",
                            output_column="output")
    cleaned, rejected = instructions.clean(raw, batch="b")
    assert rejected["reason"].tolist() == ["empty answer"]
    assert [json.loads(m) for m in cleaned["messages"]] == [
        [{"role": "user", "content": "Say 2"}],
        [{"role": "user", "content": "Say 3", "input": "of NaN"}]]


def test_in_lists_and_objects_too(tmp_path):
    chat = [{"role": "user", "content": "a", "input": float("nan"), "score": float("inf")},
            {"role": "assistant", "content": "b", "score": float("nan")}]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": chat}) + "\n")
    pd.DataFrame({"messages": [chat]}).to_parquet(tmp_path / "rows.parquet")
    for name in ("rows.jsonl", "rows.parquet"):
        cell = read_cells(tmp_path / name, {"messages": "messages"}, nested=("messages",))
        assert "NaN" not in cell["messages"][0].as_py() and "Inf" not in cell["messages"][0].as_py()
        raw = instructions.read(tmp_path / name, instruction_column="instruction",
                                output_column="output", messages_column="messages")
        cleaned, _ = instructions.clean(raw, batch="b")
        assert json.loads(cleaned["messages"][0]) == [{"role": "user", "content": "a"}]


@pytest.mark.parametrize(("line", "words"), [
    ('{"text": "a", "text": "b"}', "line 1: not JSON .the key 'text' stands twice"),
    ("[" * 100_000, "line 1: not JSON .nested too deeply"),
    ('{"text": ' + "1" * 5_000 + "}", "line 1: not JSON"),
])
def test_json_that_python_chokes_on_is_refused_with_its_line(tmp_path, line, words):
    (tmp_path / "rows.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=words):
        read_raw(tmp_path / "rows.jsonl", text_column="text", label_column=None)


def test_records_are_read_as_training_reads_them(tmp_path):
    table = pd.DataFrame({"text": ["a", "b"], "n": [1.0, float("nan")]})
    table.to_parquet(tmp_path / "rows.parquet")
    table.to_csv(tmp_path / "rows.csv", index=False, encoding="utf-16", sep="\t")
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "n": 1.0}\n\n{"text": "b", "n": NaN}\n')
    assert list(records(tmp_path / "rows.parquet")) == [
        (1, {"text": "a", "n": 1.0}), (2, {"text": "b", "n": None})]
    assert list(records(tmp_path / "rows.jsonl")) == [
        (1, {"text": "a", "n": 1.0}), (3, {"text": "b", "n": None})]
    assert list(records(tmp_path / "rows.csv", encoding="utf-16", delimiter="tab")) == [
        (2, {"text": "a", "n": "1.0"}), (3, {"text": "b", "n": ""})]
