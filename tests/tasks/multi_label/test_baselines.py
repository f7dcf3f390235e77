"""Cheap baselines of label sets: the most frequent set, and TF-IDF one label at a time."""

import numpy as np
import pytest

from ftzard.errors import DataError
from ftzard.tasks.multi_label import baselines, label_sets
from ftzard.tasks.multi_label.metrics import set_scores

CLASSES = ["anger", "fear", "joy"]


def rows(n: int, seed: int) -> tuple[list[str], list[str]]:
    draw = np.random.default_rng(seed)
    chosen = draw.random((n, 3)) < 0.3
    noise = draw.choice(["so", "today", "really", "we", "it", "was"], (n, 4))
    texts = [" ".join([*words, *(c for c, has in zip(CLASSES, row, strict=True) if has)])
             for words, row in zip(noise, chosen, strict=True)]
    return texts, label_sets.from_indicators(chosen, CLASSES)


def test_tf_idf_learns_each_label_by_its_words():
    texts, labels = rows(300, 1)
    model = baselines.TfidfBaseline.fit(texts, labels, CLASSES, seed=0)
    asked, right = rows(200, 2)
    scores = set_scores(label_sets.indicators(right, CLASSES), model.chosen(asked))
    assert scores["micro_f1"] > 0.95
    assert model.probabilities([]).shape == (0, 3)
    again = baselines.TfidfBaseline.fit(texts, labels, CLASSES, seed=0)
    assert np.array_equal(again.thresholds, model.thresholds)


def test_labels_that_no_row_or_every_row_has_do_no_harm():
    texts, labels = rows(60, 3)
    labels = [label_sets.join((*label_sets.split(label), "always")) for label in labels]
    model = baselines.TfidfBaseline.fit(texts, labels, ["always", *CLASSES, "never"], seed=0)
    chosen = model.chosen(texts)
    assert chosen[:, 0].all() and not chosen[:, -1].any()


def test_the_most_frequent_set_is_given_to_every_row():
    chosen = baselines.most_frequent(["joy", "[]", "[]", "anger|joy"], 2, CLASSES)
    assert not chosen.any() and chosen.shape == (2, 3)
    tie = baselines.most_frequent(["joy", "anger|joy"], 1, CLASSES)
    assert label_sets.from_indicators(tie, CLASSES) == ["anger|joy"]


def test_nothing_to_learn_is_refused():
    with pytest.raises(DataError, match="none of 2 training rows has a label"):
        baselines.TfidfBaseline.fit(["a", "b"], ["[]", "[]"], CLASSES, seed=0)
    with pytest.raises(DataError, match="at least one training row"):
        baselines.most_frequent([], 1, CLASSES)
