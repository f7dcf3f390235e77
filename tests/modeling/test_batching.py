"""Batches by length: every row once, the rows per step kept, much less padding."""

import numpy
import pytest

from ftzard.modeling.batching import (
    micro_batches,
    pad,
    padding_share,
    shuffled_batches,
    sorted_batches,
)

LENGTHS = numpy.random.default_rng(0).integers(3, 60, 1003)


def generator(seed=0):
    return numpy.random.default_rng(seed)


@pytest.mark.parametrize("batch_size", [1, 7, 32, 2000])
def test_no_row_is_lost_or_doubled_and_the_rows_per_step_are_kept(batch_size):
    for batches in (
        shuffled_batches(LENGTHS, batch_size, generator()),
        sorted_batches(LENGTHS, batch_size),
    ):
        assert sorted(numpy.concatenate(batches)) == list(range(1003))
        sizes = sorted((len(rows) for rows in batches), reverse=True)
        assert set(sizes[:-1]) <= {batch_size} and sizes[-1] <= batch_size


def test_rows_of_similar_length_stand_together_in_shuffled_order():
    batches = shuffled_batches(LENGTHS, 32, generator())
    order = generator().permutation(1003)
    plain = [order[i : i + 32] for i in range(0, 1003, 32)]
    assert padding_share(LENGTHS, batches) < 0.1 < 0.4 < padding_share(LENGTHS, plain)
    means = [LENGTHS[rows].mean() for rows in batches]
    assert means != sorted(means) and means != sorted(means, reverse=True)


def test_the_seed_decides_the_batches():
    first = [rows.tolist() for rows in shuffled_batches(LENGTHS, 32, generator(1))]
    assert first == [rows.tolist() for rows in shuffled_batches(LENGTHS, 32, generator(1))]
    assert first != [rows.tolist() for rows in shuffled_batches(LENGTHS, 32, generator(2))]


def test_the_share_of_padding_counts_tokens():
    assert padding_share([2, 4, 4], [numpy.array([0, 1]), numpy.array([2])]) == 1 - 10 / 12
    assert padding_share([], []) == 0.0


@pytest.mark.parametrize("tokens", [60, 100, 400])
def test_a_step_keeps_its_rows_and_each_part_its_tokens(tokens):
    for rows in shuffled_batches(LENGTHS, 32, generator()):
        parts = micro_batches(rows, LENGTHS, tokens)
        assert numpy.concatenate(parts).tolist() == rows.tolist()
        assert max(len(part) * LENGTHS[part].max() for part in parts) <= tokens
        for part, after in zip(parts, parts[1:], strict=False):  # as few parts as in turn can be
            one_more = numpy.append(part, after[0])
            assert len(one_more) * LENGTHS[one_more].max() > tokens


def test_without_a_bound_a_step_is_computed_at_once_and_a_long_row_stands_alone():
    rows = numpy.arange(32)
    for tokens in (None, 0):
        assert [part.tolist() for part in micro_batches(rows, LENGTHS, tokens)] == [rows.tolist()]
    assert [len(part) for part in micro_batches(rows, LENGTHS, 2)] == [1] * 32


def test_a_prediction_is_bounded_by_rows_and_by_tokens():
    batches = sorted_batches(LENGTHS, 32, tokens=300)
    assert sorted(numpy.concatenate(batches)) == list(range(1003))
    assert max(len(rows) for rows in batches) == 32
    assert max(len(rows) * LENGTHS[rows].max() for rows in batches) <= 300
    assert LENGTHS[batches[0]].max() == LENGTHS.max()
    assert sorted_batches([], 32) == []


def test_padding_stands_on_the_right():
    batch = pad([[5, 6, 7], [8]], pad_id=0)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
