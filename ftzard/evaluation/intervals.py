"""Confidence intervals of shares, and the indices of classes."""

from collections.abc import Sequence

import numpy as np

from ftzard.errors import DataError, nearest


def wilson_interval(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson interval of the share correct / n, both ends within 0 and 1."""
    if n < 1 or not 0 <= correct <= n:
        raise DataError(
            f"an interval needs 0 <= correct <= n and n >= 1, got correct={correct}, n={n}; "
            "count the rows again."
        )
    from scipy.stats import binomtest  # half a second, which only what is measured pays

    interval = binomtest(correct, n).proportion_ci(confidence, method="wilson")
    return (0.0 if correct == 0 else float(interval.low),
            1.0 if correct == n else float(interval.high))


def class_indices(labels: Sequence[str] | np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Return the position of every label in `classes`, or refuse the first unknown one."""
    index = {str(name): i for i, name in enumerate(classes)}
    indices = np.fromiter((index.get(str(v), -1) for v in labels), dtype=np.int64,
                          count=len(labels))
    if len(indices) and indices.min() < 0:
        row = int(indices.argmin())
        label = str(np.asarray(labels)[row])
        raise DataError(f"label '{label}' of row {row} is no known class{nearest(label, index)}")
    return indices
