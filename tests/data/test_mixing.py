"""Rows drawn from several sources: shares, the scarcest source, the seed."""

import math

import pandas as pd
import pytest

from ftzard.data.mixing import allocate, draw
from ftzard.errors import ConfigError, DataError


@pytest.mark.parametrize(("available", "weights", "most", "given"), [
    ({"a": 100, "b": 100}, {"a": 1, "b": 1}, None, {"a": 100, "b": 100}),
    ({"a": 100, "b": 1000}, {"a": 1, "b": 3}, None, {"a": 100, "b": 300}),
    ({"a": 1000, "b": 30}, {"a": 2, "b": 0.5}, None, {"a": 120, "b": 30}),
    ({"a": 100, "b": 1000}, {"a": 1, "b": 3}, 40, {"a": 10, "b": 30}),
    ({"a": 50, "b": 50, "c": 50}, {"a": 1, "b": 1, "c": 1}, 100, {"a": 34, "b": 33, "c": 33}),
    ({"a": 7}, {"a": 0.1}, None, {"a": 7}),
    ({"a": 3, "b": 10}, {"a": 0.1, "b": 0.2}, None, {"a": 3, "b": 6})])
def test_shares_are_the_weights_and_the_scarcest_source_decides(available, weights, most, given):
    assert allocate(available, weights, most) == given


def test_no_source_gives_more_than_it_has():
    for a in range(1, 40):
        for b in range(1, 12):
            weights = {"a": 3.7, "b": 1.3}
            try:
                given = allocate({"a": a, "b": b}, weights)
            except DataError:
                continue  # one of them would have given none
            total = sum(given.values())
            assert given["a"] <= a and given["b"] <= b
            assert all(abs(given[n] - weights[n] / 5 * total) < 1 for n in given)


@pytest.mark.parametrize(("available", "weights", "most", "error", "words"), [
    ({"a": 9, "b": 0}, {"a": 1, "b": 1}, None, DataError, "'b' has no usable row"),
    ({"a": 9, "b": 9}, {"a": 1, "b": 0}, None, ConfigError, "'b' the weight 0"),
    ({"a": 9, "b": 9}, {"a": 1, "b": math.inf}, None, ConfigError, "'b' the weight inf"),
    ({"a": 9, "b": 400}, {"a": 1, "b": 1000}, None, DataError, "'a' has 0.10% of the weights")])
def test_what_cannot_be_mixed_is_refused(available, weights, most, error, words):
    with pytest.raises(error, match=words):
        allocate(available, weights, most)


def test_rows_are_drawn_once_by_the_seed_and_know_their_source():
    parts = {"two": pd.DataFrame({"text": [f"b{n}" for n in range(50)]}),
             "one": pd.DataFrame({"text": [f"a{n}" for n in range(30)]})}
    weights = {"one": 1.0, "two": 1.0}
    rows = draw(parts, weights, seed=1)
    assert rows["source"].tolist() == ["one"] * 30 + ["two"] * 30 and rows["text"].is_unique
    assert set(rows["text"][:30]) == set(parts["one"]["text"])
    assert draw(dict(reversed(parts.items())), weights, seed=1).equals(rows)
    assert not draw(parts, weights, seed=2).equals(rows)
    fewer = draw(parts, {"one": 1.0, "two": 0.5}, seed=1)
    taken = set(rows.loc[rows["source"] == "two", "text"])
    assert set(fewer.loc[fewer["source"] == "two", "text"]) < taken, "the same ones, fewer"
    numbers = [int(text[1:]) for text in rows["text"][30:]]
    assert numbers == sorted(numbers), "in their order"
