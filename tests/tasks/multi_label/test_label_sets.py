"""The labels of a row are one text, however a file or a person writes them."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ftzard.data import reading
from ftzard.data.identity import FIRST, LATEST
from ftzard.errors import DataError
from ftzard.tasks.multi_label import label_cells, label_sets

NAMES = {"0": "anger", "1": "joy", "2": "rock, paper"}


@pytest.mark.parametrize("cell", [
    "joy|anger", "anger | joy", "joy, anger", "joy;anger", "joy\nanger", '["joy", "anger"]',
    "['anger', 'joy']", "('joy', 'anger')", "{'joy', 'anger'}", "joy|anger|joy", " joy |  anger",
    "joy，anger"])
@pytest.mark.parametrize("identity", [FIRST, LATEST])
def test_every_way_of_writing_several_labels_is_the_same_set(cell, identity):
    labels, unknown = label_cells.read(pd.Series([cell, "joy"]), None, identity)
    assert labels.tolist() == ["anger|joy", "joy"] and unknown.tolist() == ["", ""]


def test_no_label_is_a_set_and_an_empty_cell_is_none():
    labels, unknown = label_cells.read(pd.Series(["[]", "()", "", " ", "joy"]))
    assert labels.tolist() == ["[]", "[]", "", "", "joy"] and set(unknown) == {""}


def test_raw_values_get_their_names_and_a_name_may_hold_a_separator():
    labels, unknown = label_cells.read(
        pd.Series(["0|1", "[1, 0]", "2", "1.0", "0;2"]), NAMES, LATEST)
    assert labels.tolist() == ["anger|joy", "anger|joy", "rock, paper", "joy", "anger|rock, paper"]
    labels, _ = label_cells.read(pd.Series(["rock, paper", "rock, paper|joy"]),
                                 {"rock, paper": "rock, paper", "joy": "joy"}, LATEST)
    assert labels.tolist() == ["rock, paper", "joy|rock, paper"]


def test_an_unknown_label_is_named_with_the_nearest():
    labels, unknown = label_cells.read(pd.Series(["joy|angr", "joy"]),
                                       {"joy": "joy", "anger": "anger"}, LATEST)
    assert labels.tolist() == ["", "joy"]
    assert unknown.tolist() == ["unknown label 'angr'; did you mean 'anger'?", ""]


def test_labels_that_might_be_meant_as_one_are_refused_with_their_rows():
    with pytest.raises(DataError, match=r"'Joy' \(1 row\) and 'joy' \(2 rows\) differ only"):
        label_cells.read(pd.Series(["joy|anger", "joy", "Joy, anger"]), None, LATEST)


def test_a_name_with_the_separator_of_a_row_in_it_is_refused():
    for labels in ({"1": "joy|fun", "2": "anger"}, None):
        with pytest.raises(DataError, match=r"'joy\|fun' cannot be told from several labels"):
            label_cells.read(pd.Series(["1", '["joy|fun", "2"]' if labels is None else "2"]),
                             labels, LATEST)


def test_lists_of_a_parquet_file_and_of_json_lines_are_read(tmp_path):
    rows = [["joy", "anger"], ["joy"], []]
    pq.write_table(pa.table({"text": ["a", "b", "c"], "label": rows}), tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text("".join(
        json.dumps({"text": text, "label": row}) + "\n"
        for text, row in zip("abc", rows, strict=True)))
    for name in ("rows.parquet", "rows.jsonl"):
        raw = reading.read_raw(tmp_path / name, text_column="text", label_column="label")
        assert label_cells.read(raw["label"])[0].tolist() == ["anger|joy", "joy", "[]"], name


@pytest.mark.parametrize(("typed", "labels"), [
    ("Joy, ANGER", "anger|joy"), ("joy", "joy"), ("[]", "[]"), ("joy|rock, paper",
     "joy|rock, paper"), ("rock, paper", "rock, paper"), ("joy | joy", "joy"), ("joi", None)])
def test_what_a_person_types_becomes_the_set(typed, labels):
    assert label_cells.canonical(typed, NAMES.values()) == labels


def test_of_an_unknown_label_that_is_typed_the_nearest_is_told():
    assert label_cells.unknown_in("joy, angr", NAMES.values()) == (
        "unknown label 'angr'; did you mean 'anger'?")


def test_indicators_and_texts_are_two_ways_to_write_the_same_sets():
    texts = ["anger|joy", "[]", "joy"]
    chosen = label_sets.indicators(texts, ["joy", "anger", "fear"])
    assert chosen.tolist() == [[True, True, False], [False] * 3, [True, False, False]]
    assert label_sets.from_indicators(chosen, ["joy", "anger", "fear"]) == texts
    assert label_sets.names_in(texts) == ["anger", "joy"]
    with pytest.raises(DataError, match="label 'fun' of row 0 is no known label"):
        label_sets.indicators(["fun"], ["joy"])
    assert np.array_equal(label_sets.indicators([], ["joy"]), np.zeros((0, 1), dtype=bool))
