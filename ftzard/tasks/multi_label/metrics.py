"""How good label sets are: F1 over all decisions, per label and per row, and sets that are right.

Labels are texts as `label_sets.join` makes them.
"""

from collections.abc import Sequence

import numpy as np

from ftzard.errors import DataError
from ftzard.tasks.multi_label import label_sets

SCALARS = ("micro_f1", "macro_f1", "samples_f1", "subset_accuracy", "loss", "n")
_SMALLEST = 1e-12


def multi_label_metrics(labels: Sequence[str], chosen: np.ndarray, probabilities: np.ndarray,
                        classes: Sequence[str]) -> dict:
    """Return every score of predicted label sets.

    micro_f1: of all decisions together; macro_f1: the mean over labels that are right or predicted
    somewhere; samples_f1: the mean over rows; subset_accuracy: share of rows whose labels are all
    right; loss: mean binary cross entropy in nats; per_class: {label: {precision, recall, f1,
    support}}; co_occurrence: how many rows have both labels, (labels, labels) counts.

    Args:
        labels: texts of the right label sets.
        chosen: bool (rows, labels), the labels that are given, in the order of `classes`.
        probabilities: (rows, labels), of each label by itself.
        classes: names of the labels.

    Raises:
        DataError: For shapes, labels or values that cannot be right.
    """
    targets, chances = checked(labels, probabilities, classes)
    scores = set_scores(targets, chosen)
    hits, support, predicted = ((targets & chosen).sum(axis=0), targets.sum(axis=0),
                                chosen.sum(axis=0))
    precision, recall = _ratio(hits, predicted), _ratio(hits, support)
    counts = targets.astype(np.int64)
    own = np.clip(np.where(targets, chances, 1 - chances), _SMALLEST, 1.0)
    return {
        **scores, "loss": float(-np.log(own).mean()), "n": len(targets),
        "classes": [str(name) for name in classes],
        "per_class": {
            str(name): {
                "precision": float(precision[k]), "recall": float(recall[k]),
                "f1": float(_ratio(2 * hits, support + predicted)[k]), "support": int(support[k])}
            for k, name in enumerate(classes)},
        "co_occurrence": (counts.T @ counts).tolist()}


def set_scores(targets: np.ndarray, chosen: np.ndarray) -> dict[str, float]:
    """Return micro_f1, macro_f1, samples_f1 and subset_accuracy of bool (rows, labels)."""
    hits, size = (targets & chosen).sum(axis=0), targets.sum(axis=0) + chosen.sum(axis=0)
    f1 = _ratio(2 * hits, size)
    return {
        "micro_f1": float(2 * hits.sum() / size.sum()) if size.sum() else 1.0,
        "macro_f1": float(f1[size > 0].mean()) if (size > 0).any() else 1.0,
        "samples_f1": float(row_f1(targets, chosen).mean()),
        "subset_accuracy": float((targets == chosen).all(axis=1).mean())}


def row_f1(targets: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return each row's F1 of its right and its predicted labels; 1 where both are none."""
    size = targets.sum(axis=1) + chosen.sum(axis=1)
    return np.divide(2.0 * (targets & chosen).sum(axis=1), size, out=np.ones(len(size)),
                     where=size > 0)


def flat(metrics: dict, prefix: str = "") -> dict[str, float]:
    """Return the scalar scores alone, each name led by `prefix`, as tracking takes them."""
    return {prefix + name: float(metrics[name]) for name in SCALARS}


def checked(labels: Sequence[str], probabilities: np.ndarray, classes: Sequence[str]
            ) -> tuple[np.ndarray, np.ndarray]:
    """Return (targets, probabilities as float64), each (rows, labels); DataError for others."""
    chances = np.asarray(probabilities, dtype=np.float64)
    if not len(classes) or len(set(classes)) != len(classes):
        raise DataError(f"classes {list(classes)} must be at least one name, each one once.")
    if chances.shape != (len(labels), len(classes)):
        raise DataError(f"probabilities have shape {chances.shape}, expected ({len(labels)}, "
                        f"{len(classes)}): one row per label set, one column per label.")
    if not len(labels):
        raise DataError("there are no rows to score; the test set is empty.")
    if not (np.isfinite(chances) & (chances >= 0) & (chances <= 1)).all():
        raise DataError("probabilities hold values outside 0 to 1; apply the sigmoid to logits "
                        "first.")
    return label_sets.indicators(list(labels), classes), chances


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
