"""From which probability on a label is given: one threshold per label, fitted on validation rows.

The threshold of a label maximizes its F1 on the validation rows (Lipton et al., 2014, "Optimal
Thresholding of Classifiers to Maximize F1 Measure"). It is kept with the adapter.
"""

import numpy as np

from ftzard.errors import DataError

#: The threshold of a label without a row to fit it on.
DEFAULT = 0.5


def sigmoid(scores: np.ndarray) -> np.ndarray:
    """Return probabilities (rows, labels), float64, of logits."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(scores, dtype=np.float64)))


def fit_thresholds(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the threshold of each label, float64 (labels,), between 0 and 1.

    A threshold stands in the middle between two neighboring probabilities. Of several with the
    same F1 it is the one in the middle. A label without a positive row keeps 0.5.

    Args:
        targets: bool (rows, labels), which label is right.
        probabilities: (rows, labels), of each label by itself.
    """
    targets = np.asarray(targets, dtype=bool)
    chances = np.asarray(probabilities, dtype=np.float64)
    if targets.shape != chances.shape or targets.ndim != 2:
        raise DataError(f"targets have shape {targets.shape}, probabilities {chances.shape}; "
                        "expected (rows, labels) of both.")
    return np.array([_fit(targets[:, k], chances[:, k]) for k in range(targets.shape[1])])


def _fit(targets: np.ndarray, chances: np.ndarray) -> float:
    if not targets.any():
        return DEFAULT
    order = np.argsort(-chances, kind="stable")
    ordered, hits = chances[order], np.cumsum(targets[order])
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # of equal ones
    f1 = 2 * hits[last] / (last + 1 + targets.sum())
    below = np.append(ordered[last[:-1] + 1], 0.0)
    cuts = (ordered[last] + below) / 2
    best = cuts[f1 >= f1.max() - 1e-12]
    middle = (best.min() + best.max()) / 2
    return float(best[np.abs(best - middle).argmin()])
