"""The baselines give usable probabilities, the same ones each time, and refuse hopeless input."""

import numpy as np
import pytest

from ftzard.errors import DataError
from ftzard.tasks.classification.baselines import TfidfBaseline, majority, tfidf

CLASSES = ["negative", "neutral", "positive"]
TEXTS = ["good day", "lovely good film", "bad film", "awful bad day"] * 5
LABELS = ["positive", "positive", "negative", "negative"] * 5


def test_majority_repeats_the_shares_of_training():
    found = majority(["positive"] * 3 + ["negative"], 2, CLASSES)
    assert found.tolist() == [[0.25, 0.0, 0.75]] * 2


def test_tfidf_reads_words_and_never_names_a_class_it_has_not_seen():
    found = tfidf(TEXTS, LABELS, ["a good one", "an awful one"], CLASSES, seed=0)
    assert found.shape == (2, 3)
    assert found.sum(axis=1) == pytest.approx([1, 1])
    assert found.argmax(axis=1).tolist() == [2, 0]
    assert found[:, 1].tolist() == [0, 0]


def test_tfidf_uses_word_pairs():
    texts = ["not good", "good", "not bad", "bad"] * 10
    labels = ["negative", "positive", "positive", "negative"] * 10
    found = tfidf(texts, labels, ["not good", "not bad"], CLASSES, seed=0)
    assert found.argmax(axis=1).tolist() == [0, 2]


def test_the_same_seed_gives_the_same_numbers():
    first = TfidfBaseline.fit(TEXTS, LABELS, CLASSES, 7).probabilities(TEXTS)
    again = TfidfBaseline.fit(TEXTS, LABELS, CLASSES, 7).probabilities(TEXTS)
    assert np.array_equal(first, again)


def test_hopeless_training_data_is_refused():
    with pytest.raises(DataError, match="at least two classes"):
        tfidf(["a", "b"], ["positive"] * 2, ["a"], CLASSES, 0)
    with pytest.raises(DataError, match="hold words"):
        tfidf(["", ""], ["positive", "negative"], ["a"], CLASSES, 0)
    with pytest.raises(DataError, match="one label per text"):
        tfidf(["a"], ["positive", "negative"], ["a"], CLASSES, 0)
