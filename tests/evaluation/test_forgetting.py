"""R[i, j] and its three numbers, held against values worked out by hand."""

import json

import numpy as np
import pytest

from ftzard.errors import DataError
from ftzard.evaluation.forgetting import Matrix, summary
from tests.evaluation.simulated import of_measure, record


@pytest.fixture
def records() -> list[dict]:
    """Three rounds, all promoted: each learns a batch and the champion before is measured too."""
    return [
        record(1, "a", True, v1={"a": 0.90}),
        record(2, "ab", True, v2={"a": 0.85, "b": 0.80}, v1={"a": 0.90, "b": 0.60}),
        record(3, "abc", True, v3={"a": 0.86, "b": 0.74, "c": 0.70},
               v2={"a": 0.85, "b": 0.80, "c": 0.55}),
    ]


def test_the_numbers_of_the_papers(records):
    matrix = Matrix.of(records)
    last = summary(matrix, 3)
    assert last.average == pytest.approx((0.86 + 0.74 + 0.70) / 3)
    # R[3,a] - R[1,a] and R[3,b] - R[2,b]
    assert last.backward_transfer == pytest.approx(((0.86 - 0.90) + (0.74 - 0.80)) / 2)
    # the best before: 0.90 of v1 on a, 0.80 of v2 on b
    assert last.forgetting == pytest.approx(((0.90 - 0.86) + (0.80 - 0.74)) / 2)
    assert (last.batches, last.earlier_batches) == (3, 2)


def test_the_first_version_has_nothing_to_forget(records):
    first = summary(Matrix.of(records), 1)
    assert first.backward_transfer is None and first.forgetting is None
    assert first.flat() == {"average_accuracy": pytest.approx(0.75)}  # a, and b as champion later


def test_what_improves_again_is_transfer_but_was_forgotten_from_the_best():
    records = [
        record(1, "a", True, v1={"a": 0.70}),
        record(2, "ab", True, v2={"a": 0.90, "b": 0.8}),
        record(3, "abc", True, v3={"a": 0.80, "b": 0.8, "c": 0.8}),
    ]
    last = summary(Matrix.of(records), 3)
    assert last.backward_transfer == pytest.approx((0.10 + 0.0) / 2)
    assert last.forgetting == pytest.approx((0.10 + 0.0) / 2)


def test_a_refused_version_stands_in_the_matrix_but_not_in_the_line(records):
    records[1]["verdict"]["promoted"] = False
    matrix = Matrix.of(records)
    assert matrix.versions == (1, 2, 3) and matrix.line(3) == [1, 3]
    last = summary(matrix, 3)
    assert last.backward_transfer == pytest.approx(0.86 - 0.90)  # b was first learnt by v3 itself
    assert last.forgetting == pytest.approx(0.90 - 0.86) and last.earlier_batches == 1
    assert summary(matrix, 2).forgetting == pytest.approx(0.90 - 0.85)


def test_the_matrix_has_what_was_measured_and_gaps_where_nothing_was(records):
    matrix = Matrix.of(records)
    assert matrix.batches == ("a", "b", "c")
    expected = [[0.90, 0.60, np.nan], [0.85, 0.80, 0.55], [0.86, 0.74, 0.70]]
    assert np.allclose(matrix.scores, expected, equal_nan=True)
    assert matrix.n.tolist() == [[100, 100, 0], [100, 100, 100], [100, 100, 100]]
    told = json.loads(json.dumps(matrix.to_dict()))
    assert told["accuracy"][0] == [0.90, 0.60, None] and told["promoted"] == [True] * 3
    assert told["trained"] == [[True, False, False], [True, True, False], [True, True, True]]


def test_what_was_measured_on_a_test_set_before_it_grew_is_left_out(records):
    for version, accuracy in (("3", 0.74), ("2", 0.78)):
        records[2]["tested"][version]["b"] = {"accuracy": accuracy, "n": 180}
    matrix = Matrix.of(records)
    assert (matrix.at(2, "b"), matrix.at(3, "b")) == (0.78, 0.74) and matrix.n[1, 1] == 180
    assert np.isnan(matrix.at(1, "b")) and matrix.n[0, 1] == 0 and matrix.at(1, "a") == 0.90
    assert summary(matrix, 3).forgetting == pytest.approx(((0.90 - 0.86) + (0.78 - 0.74)) / 2)


def test_a_test_set_whose_labels_were_corrected_is_another_one(records):
    """As many rows, but not the same: what was measured before says nothing beside it."""
    for entry, digest in zip(records, ("before", "before", "corrected"), strict=True):
        for measured in entry["tested"].values():
            measured["a"]["rows"] = digest
    matrix = Matrix.of(records)
    assert np.isnan(matrix.at(1, "a")) and not np.isnan(matrix.at(2, "a"))
    assert summary(matrix, 3).earlier_batches == 1


def test_the_evaluation_that_ran_last_says_which_rows_count(records):
    """A version that is judged again after later ones were: its round is the newest."""
    records[1] = {**records[1], "same_rows": {"time": "2026-11-22"}}
    records[1]["tested"]["2"]["b"] = {"accuracy": 0.81, "n": 200}
    records[1]["tested"]["1"]["b"] = {"accuracy": 0.61, "n": 200}
    matrix = Matrix.of(records)
    assert (matrix.at(1, "b"), matrix.at(2, "b")) == (0.61, 0.81) and np.isnan(matrix.at(3, "b"))


def test_records_without_measurements_add_nothing_and_a_lost_record_is_named(records):
    bare = {"version": 4, "batches": ["a"]}
    assert Matrix.of([*records, bare]).versions == (1, 2, 3)
    assert Matrix.of([]).versions == ()
    with pytest.raises(DataError, match="version 1 was measured but has no record"):
        Matrix.of(records[1:])
    with pytest.raises(DataError, match="version 9 is not in the matrix"):
        summary(Matrix.of(records), 9)


def test_a_loss_that_rose_was_forgotten():
    records = [of_measure(r) for r in (
        record(1, "a", True, v1={"a": 2.0}),
        record(2, "ab", True, v2={"a": 1.8, "b": 1.5}, v1={"a": 2.0, "b": 2.5}),
        record(3, "abc", True, v3={"a": 1.9, "b": 1.9, "c": 1.0}))]
    matrix = Matrix.of(records)
    last = summary(matrix, 3)
    assert last.average == pytest.approx(1.6)
    assert last.backward_transfer == pytest.approx(((2.0 - 1.9) + (1.5 - 1.9)) / 2)
    assert last.forgetting == pytest.approx(((1.9 - 1.8) + (1.9 - 1.5)) / 2)
    assert set(last.flat()) == {"average_loss", "backward_transfer", "forgetting"}
    told = json.loads(json.dumps(matrix.to_dict()))
    assert told["measure"] == "loss" and told["scores"][0] == [2.0, 2.5, None]
    assert "accuracy" not in told


def test_records_of_another_measure_than_the_newest_add_nothing(records):
    changed = [*records[:2], of_measure(records[2], "rouge_l")]
    matrix = Matrix.of(changed)
    assert matrix.measure.name == "rouge_l" and matrix.versions == (2, 3)
    assert matrix.at(2, "c") == 0.55
    assert summary(matrix, 3).forgetting == pytest.approx(((0.85 - 0.86) + (0.80 - 0.74)) / 2)
    assert "measure" not in Matrix.of(records).to_dict()
