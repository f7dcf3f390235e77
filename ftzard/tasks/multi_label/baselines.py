"""What a result must be held against: the most frequent label set, and TF-IDF one label at a time.

Both give probabilities of each label, in the same shape as a model does, with thresholds of their
own.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftzard.errors import DataError
from ftzard.tasks.multi_label import label_sets
from ftzard.tasks.multi_label.thresholds import DEFAULT, fit_thresholds

#: Every such row of training fits thresholds, and no weights for them.
_EVERY = 5


def most_frequent(train_labels: Sequence[str], n: int, classes: Sequence[str]) -> np.ndarray:
    """Return bool (n, labels): the most frequent label set of training, for every row."""
    if not len(train_labels):
        raise DataError("the most frequent label set needs at least one training row, got none.")
    counts = Counter(map(str, train_labels))
    best = min(counts, key=lambda label: (-counts[label], label))
    return np.tile(label_sets.indicators([best], classes), (n, 1))


@dataclass(frozen=True)
class TfidfBaseline:
    """TF-IDF of words and word pairs with a logistic regression per label; make one with `fit`."""

    pipeline: Any
    classes: tuple[str, ...]
    thresholds: np.ndarray

    @classmethod
    def fit(cls, texts: Sequence[str], labels: Sequence[str], classes: Sequence[str], seed: int
            ) -> "TfidfBaseline":
        """Fit weights on all training rows, and thresholds on a fifth that others were fitted on.

        Raises:
            DataError: For rows without a label to learn.
        """
        texts, targets = list(texts), label_sets.indicators(list(labels), classes)
        if not targets.any():
            raise DataError(f"none of {len(texts)} training rows has a label; the TF-IDF baseline "
                            "needs one. Check the labels of the training split.")
        validation = np.random.default_rng(seed).permutation(len(texts)) % _EVERY == 0
        thresholds = np.full(len(classes), DEFAULT)
        if validation.any() and targets[~validation].any():
            part = _fitted([t for t, out in zip(texts, validation, strict=True) if not out],
                           targets[~validation], seed)
            chances = part.predict_proba([t for t, use in zip(texts, validation, strict=True)
                                          if use])
            thresholds = fit_thresholds(targets[validation], chances)
        return cls(_fitted(texts, targets, seed), tuple(classes), thresholds)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return (rows, labels) probabilities."""
        if not len(texts):
            return np.zeros((0, len(self.classes)))
        return self.pipeline.predict_proba(list(texts))

    def chosen(self, texts: Sequence[str]) -> np.ndarray:
        """Return bool (rows, labels): the labels that it gives."""
        return self.probabilities(texts) >= self.thresholds


def _fitted(texts: Sequence[str], targets: np.ndarray, seed: int) -> Any:
    import warnings

    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\b\w+\b"),
        OneVsRestClassifier(LogisticRegression(max_iter=1000, random_state=seed)))
    with warnings.catch_warnings():  # of labels that all rows have, or none: they are constant
        warnings.filterwarnings("ignore", message="Label .* is present in")
        warnings.filterwarnings("ignore", message="Label not")
        try:
            return pipeline.fit(list(texts), targets.astype(int))
        except ValueError as error:
            raise DataError(
                f"the TF-IDF baseline could not be fitted on {len(texts)} texts: {error}; check "
                "that the texts hold words.") from error
