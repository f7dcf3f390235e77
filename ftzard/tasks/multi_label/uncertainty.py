"""How unsure a model is of the labels of a row, label by label: for sampling by uncertainty."""

from collections.abc import Sequence

import numpy as np

from ftzard.errors import ConfigError, DataError, nearest

STRATEGIES = ("least_confidence", "margin", "entropy")


def uncertainty(probabilities: np.ndarray, strategy: str, thresholds: np.ndarray | float = 0.5
                ) -> np.ndarray:
    """Return each row's uncertainty in [0, 1]; 1 is a model that knows nothing.

    least_confidence looks at the label that the model is least sure of: 2 · min(p, 1 - p), the
    largest of a row. margin is 1 less the distance of the closest label to its threshold, as a
    share of the largest distance on its side (Li and Guo, 2013, "Active Learning with Multi-Label
    SVM Classification", rank by the closest label in this way). entropy is the mean over labels of
    the binary entropy in bits.

    Args:
        probabilities: (rows, labels), each label by itself.
        strategy: one of STRATEGIES.
        thresholds: (labels,), from which a label is given.
    """
    p = _checked(probabilities)
    if strategy not in STRATEGIES:
        raise ConfigError(
            f"sampling.strategy='{strategy}' is unknown{nearest(strategy, STRATEGIES)}")
    if strategy == "least_confidence":
        return 2 * np.minimum(p, 1 - p).max(axis=1)
    if strategy == "margin":
        side = np.where(p >= thresholds, 1 - np.asarray(thresholds), thresholds)
        return 1 - (np.abs(p - thresholds) / np.maximum(side, 1e-12)).min(axis=1)
    return binary_entropy(p).mean(axis=1)


def disagreement(members: Sequence[np.ndarray]) -> np.ndarray:
    """Return how much the members of a committee disagree about each row, in [0, 1].

    The mean over labels of the Jensen-Shannon divergence of the members' binary distributions.

    Args:
        members: (rows, labels) probabilities of two or more models.
    """
    if len(members) < 2:
        raise DataError(f"A committee of {len(members)} cannot disagree; expected 2 or more.")
    p = np.stack([_checked(member) for member in members])
    divergence = binary_entropy(p.mean(axis=0)) - binary_entropy(p).mean(axis=0)
    return np.clip(divergence.mean(axis=1), 0, 1)


def binary_entropy(p: np.ndarray) -> np.ndarray:
    """Return the entropy in bits of probabilities of yes."""
    q = 1 - p
    return -(p * np.log2(np.where(p > 0, p, 1)) + q * np.log2(np.where(q > 0, q, 1)))


def _checked(probabilities: np.ndarray) -> np.ndarray:
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or not ((p >= 0) & (p <= 1)).all():
        raise DataError(f"Probabilities of shape {p.shape} are not all in 0 to 1; predict again.")
    return p
