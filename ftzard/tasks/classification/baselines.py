"""What a result must be held against: the majority class, and TF-IDF with logistic regression.

Both give probabilities in the same shape as a model does, so that they pass through the same
metrics and the same gate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftzard.errors import DataError
from ftzard.evaluation.intervals import class_indices


def majority(train_labels: Sequence[str], n: int, classes: Sequence[str]) -> np.ndarray:
    """Return (n, k) probabilities that repeat the class shares of the training labels.

    The most likely class of every row is the majority class of training.
    """
    indices = class_indices(train_labels, classes)
    if not len(indices):
        raise DataError("the majority class needs at least one training label, got none.")
    shares = np.bincount(indices, minlength=len(classes)) / len(indices)
    return np.tile(shares, (n, 1))


@dataclass(frozen=True)
class TfidfBaseline:
    """TF-IDF of words and word pairs with logistic regression; make one with `fit`."""

    pipeline: Any
    classes: tuple[str, ...]

    @classmethod
    def fit(
        cls, texts: Sequence[str], labels: Sequence[str], classes: Sequence[str], seed: int
    ) -> "TfidfBaseline":
        """Fit on training texts (n) and label names (n); refuse fewer than two classes."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        indices = class_indices(labels, classes)
        if len(texts) != len(indices):
            raise DataError(
                f"{len(texts)} texts and {len(indices)} labels; expected one label per text."
            )
        if len(np.unique(indices)) < 2:
            raise DataError(
                "the TF-IDF baseline needs rows of at least two classes, got "
                f"{sorted({str(v) for v in labels})}; check the labels of the training split."
            )
        pipeline = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\b\w+\b"),
            LogisticRegression(max_iter=1000, random_state=seed),
        )
        try:
            pipeline.fit(list(texts), indices)
        except ValueError as error:
            raise DataError(
                f"the TF-IDF baseline could not be fitted on {len(texts)} texts: {error}; check "
                "that the texts hold words."
            ) from error
        return cls(pipeline, tuple(str(c) for c in classes))

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n, k) probabilities; a class that training never saw gets 0."""
        scores = np.zeros((len(texts), len(self.classes)))
        if len(texts):
            scores[:, self.pipeline.classes_] = self.pipeline.predict_proba(list(texts))
        return scores


def tfidf(
    train_texts: Sequence[str],
    train_labels: Sequence[str],
    texts: Sequence[str],
    classes: Sequence[str],
    seed: int,
) -> np.ndarray:
    """Fit the TF-IDF baseline on the training rows and return (n, k) probabilities of `texts`."""
    return TfidfBaseline.fit(train_texts, train_labels, classes, seed).probabilities(texts)
