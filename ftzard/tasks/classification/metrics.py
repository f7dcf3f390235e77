"""How good a set of predictions is: scores, calibration and intervals, from arrays alone.

Labels are names, probabilities are an (n, k) array whose columns follow `classes`. Everything is
checked before anything is computed, because a wrong column order gives a plausible number.
"""

from collections.abc import Sequence

import numpy as np

from ftzard.errors import DataError
from ftzard.evaluation.intervals import class_indices

BINS = 15
SCALARS = (
    "accuracy",
    "balanced_accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "loss",
    "ece",
    "n",
)
_SMALLEST = 1e-12


def classification_metrics(
    labels: Sequence[str] | np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> dict:
    """Return every score of n predictions over k classes.

    The result holds accuracy, balanced_accuracy, macro_precision, macro_recall, macro_f1, loss
    (mean cross entropy in nats), ece (15 equal-width bins), n, classes, per_class {label:
    {precision, recall, f1, support}} and confusion (k lists of k counts, rows true).

    Args:
        labels: N label names.
        probabilities: (n, k), rows summing to 1.
        classes: K names, in the order of the columns.

    Macro scores average the classes that occur among the labels or the predictions, balanced
    accuracy those among the labels; a score whose denominator is zero counts as 0. Raises
    DataError for shapes, sums, labels or values that cannot be right.
    """
    true, scores = checked(labels, probabilities, classes)
    n, k = scores.shape
    guess = scores.argmax(axis=1)
    confusion = np.bincount(true * k + guess, minlength=k * k).reshape(k, k)
    hits = np.diag(confusion).astype(float)
    support, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    recall = _ratio(hits, support)
    precision = _ratio(hits, predicted)
    f1 = _ratio(2 * hits, support + predicted)
    seen = (support + predicted) > 0
    own = scores[np.arange(n), true]
    bins = filled_bins(scores.max(axis=1), guess == true, BINS)
    return {
        "accuracy": float(hits.sum() / n),
        "balanced_accuracy": float(recall[support > 0].mean()),
        "macro_precision": float(precision[seen].mean()),
        "macro_recall": float(recall[seen].mean()),
        "macro_f1": float(f1[seen].mean()),
        "loss": float(-np.log(np.clip(own, _SMALLEST, 1.0)).mean()),
        "ece": float(sum(b["n"] * abs(b["accuracy"] - b["confidence"]) for b in bins) / n),
        "n": int(n),
        "classes": [str(c) for c in classes],
        "per_class": {
            str(name): {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(support[i]),
            }
            for i, name in enumerate(classes)
        },
        "confusion": confusion.tolist(),
    }


def flat(metrics: dict, prefix: str = "") -> dict[str, float]:
    """Return the scalar scores alone, each name led by `prefix`, as tracking takes them."""
    return {prefix + name: float(metrics[name]) for name in SCALARS if name in metrics}


def reliability(
    labels: Sequence[str] | np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    bins: int = BINS,
) -> list[dict]:
    """Return the filled bins of confidence: [{lower, upper, confidence, accuracy, n}].

    confidence and accuracy are the means of the rows in the bin; a bin holds its upper edge.
    """
    true, scores = checked(labels, probabilities, classes)
    return filled_bins(scores.max(axis=1), scores.argmax(axis=1) == true, bins)


def checked(
    labels: Sequence[str] | np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (class index per row, probabilities as float64) or refuse what cannot be scored."""
    names = [str(c) for c in classes]
    if len(names) < 2 or len(set(names)) != len(names):
        raise DataError(f"classes {names} must be at least two different names.")
    scores = np.asarray(probabilities, dtype=np.float64)
    n = len(labels)
    if scores.ndim != 2 or scores.shape != (n, len(names)):
        raise DataError(
            f"probabilities have shape {scores.shape}, expected ({n}, {len(names)}): one row per "
            f"label and one column per class {names}."
        )
    if n == 0:
        raise DataError("there are no rows to score; the test set is empty.")
    if not np.isfinite(scores).all():
        raise DataError(
            f"probabilities hold {int((~np.isfinite(scores)).sum())} values that are not finite; "
            "the model that gave them has diverged, or a row was lost on the way."
        )
    off = np.abs(scores.sum(axis=1) - 1)
    if scores.min() < 0 or off.max() > 1e-3:
        row = int(off.argmax()) if scores.min() >= 0 else int(scores.min(axis=1).argmin())
        raise DataError(
            f"row {row} of the probabilities is {np.round(scores[row], 4).tolist()}, expected "
            "values of at least 0 that sum to 1; apply softmax to logits first."
        )
    return class_indices(labels, names), scores


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def filled_bins(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> list[dict]:
    """Return the bins of confidence that hold rows, as `reliability` has them."""
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    sure = np.bincount(place, weights=confidence, minlength=bins)
    right = np.bincount(place, weights=correct, minlength=bins)
    return [
        {
            "lower": i / bins,
            "upper": (i + 1) / bins,
            "confidence": float(sure[i] / count[i]),
            "accuracy": float(right[i] / count[i]),
            "n": int(count[i]),
        }
        for i in range(bins)
        if count[i]
    ]
