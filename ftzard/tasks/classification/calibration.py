"""Whether a model's confidence can be believed, and what is gained by not answering.

One number, the temperature, is fitted on validation rows and divides the logits: it changes no
answer, only how sure the model says it is (Guo et al., 2017, "On Calibration of Modern Neural
Networks"). The abstention curve says how accurate the model is on the share of rows it is surest
of (El-Yaniv and Wiener, 2010, "On the Foundations of Noise-free Selective Classification").
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp, log

import numpy as np

from ftzard.errors import DataError
from ftzard.evaluation.intervals import wilson_interval
from ftzard.tasks.classification.metrics import checked, classification_metrics, reliability

COLDEST, HOTTEST = 0.05, 20.0
_GOLDEN = (5 ** 0.5 - 1) / 2


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error and loss on test rows, before and after temperature scaling.

    Attributes:
        temperature: Fitted on `validation_rows` rows that are none of the n test rows; ece:
            shares, 0.01 is one point; loss: mean cross entropy in nats. Above 1 the model was too
            sure.
        ece_chance: What a calibrated model with the scaled confidences stays below in 99 of 100
            draws of n rows; few rows make a large error by chance.
    """

    temperature: float
    validation_rows: int
    n: int
    ece_before: float
    ece_after: float
    loss_before: float
    loss_after: float
    ece_chance: float

    def to_dict(self) -> dict:
        """Return the values as plain ones that JSON can hold."""
        return asdict(self)

    def flat(self) -> dict[str, float]:
        """Return the numbers under names that tracking takes."""
        return {"temperature": self.temperature, "test_ece_scaled": self.ece_after,
                "test_loss_scaled": self.loss_after}


def scaled(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probabilities (n, k) of logits divided by a temperature above 0.

    Logarithms of probabilities do as well as logits: what is added to a row makes no difference.
    """
    if not temperature > 0:
        raise DataError(f"the temperature is {temperature}; expected a number above 0.")
    shifted = np.asarray(logits, dtype=np.float64) / temperature
    powers = np.exp(shifted - shifted.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fit_temperature(labels: Sequence[str], logits: np.ndarray, classes: Sequence[str]) -> float:
    """Return the temperature with the smallest mean cross entropy, between 0.05 and 20.

    In the inverse temperature the loss is convex, so that a golden section finds its smallest
    value.

    Args:
        labels: N names of validation rows.
        logits: (n, k), columns in the order of `classes`.
    """
    true, _ = checked(labels, scaled(logits, 1.0), classes)
    values = np.asarray(logits, dtype=np.float64)
    own = np.arange(len(true)), true

    def loss(inverse: float) -> float:
        shifted = values * inverse
        shifted = shifted - shifted.max(axis=1, keepdims=True)
        return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[own]).mean())

    low, high = log(1 / HOTTEST), log(1 / COLDEST)
    while high - low > 1e-4:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(exp(left)) <= loss(exp(right)):
            high = right
        else:
            low = left
    return exp(-(low + high) / 2)


def calibrate(
    validation_labels: Sequence[str],
    validation_logits: np.ndarray,
    labels: Sequence[str],
    logits: np.ndarray,
    classes: Sequence[str],
) -> Calibration:
    """Fit the temperature on validation rows and measure on test rows what it changes."""
    return measure(fit_temperature(validation_labels, validation_logits, classes),
                   len(validation_labels), labels, logits, classes)


def measure(temperature: float, validation_rows: int, labels: Sequence[str], logits: np.ndarray,
            classes: Sequence[str]) -> Calibration:
    """Measure on test rows what a temperature changes that was fitted on so many other rows.

    Args:
        labels: N names.
        logits: (n, k), columns in the order of `classes`.
    """
    before = classification_metrics(labels, scaled(logits, 1.0), classes)
    chances = scaled(logits, temperature)
    after = classification_metrics(labels, chances, classes)
    return Calibration(temperature, validation_rows, before["n"], before["ece"],
                       after["ece"], before["loss"], after["loss"],
                       ece_by_chance(reliability(labels, chances, classes)))


def ece_by_chance(bins: Sequence[dict], confidence: float = 0.99, draws: int = 2000,
                  seed: int = 0) -> float:
    """Return the error that a calibrated model stays below in a share of draws of the same rows.

    Args:
        bins: As `reliability` gives them; each row is right as often as its bin's mean confidence
            says.
    """
    n = np.array([b["n"] for b in bins])
    sure = np.clip([b["confidence"] for b in bins], 0.0, 1.0)
    right = np.random.default_rng(seed).binomial(n, sure, (draws, len(n)))
    errors = np.abs(right - n * sure).sum(axis=1) / n.sum()
    return float(np.quantile(errors, confidence))


def abstention(
    labels: Sequence[str],
    probabilities: np.ndarray,
    classes: Sequence[str],
    points: int = 20,
) -> list[dict]:
    """Return the curve of accuracy against coverage, the surest rows first.

    Args:
        labels: N names.
        probabilities: (n, k). Each of `points` equal steps of coverage, up to all rows, has
            {coverage, rows, confidence (of the least sure row that is still answered), accuracy,
            lower, upper (95 %)}; steps of the same number of rows are one.
    """
    true, scores = checked(labels, probabilities, classes)
    surety, right = scores.max(axis=1), scores.argmax(axis=1) == true
    order = np.argsort(-surety, kind="stable")
    hits, n = np.cumsum(right[order]), len(true)
    curve = []
    for rows in sorted({max(1, round(n * step / points)) for step in range(1, points + 1)}):
        lower, upper = wilson_interval(int(hits[rows - 1]), rows)
        curve.append({"coverage": rows / n, "rows": rows,
                      "confidence": float(surety[order[rows - 1]]),
                      "accuracy": float(hits[rows - 1] / rows), "lower": lower, "upper": upper})
    return curve


def coverage_at(curve: Sequence[dict], accuracy: float) -> float:
    """Return the largest coverage of the curve at which at least `accuracy` is right, or 0."""
    return max((p["coverage"] for p in curve if p["accuracy"] >= accuracy), default=0.0)

