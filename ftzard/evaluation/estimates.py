"""The accuracy of a batch that nobody has labelled, estimated with an interval, and audited.

On rows with labels (the reference: the champion's own test rows) and on the batch the model says
with which probability each label is right, after temperature scaling. The estimate is the mean of
that probability over the batch, plus by how much it is off on the reference:

    estimate = mean_batch(p) + mean_reference(right - p)

with the standard error

    sqrt( v / rows_reference + max(v, mean_batch(p (1 - p))) / rows_batch )

where v is the variance of (right - p) on the reference. The first part is what the reference's rows
leave open of the calibration, the second the chance in the batch's own labels. It is the estimate
from confidence (Guillory et al., 2021; Garg et al., 2022) with the rectifier of prediction-powered
inference (Angelopoulos et al., 2023), which makes it right on average on batches of the reference's
distribution, whatever the calibration. The recall of a class is a ratio of two such means, with its
error by the delta method.

The one assumption: on the batch the model is as often right as on reference rows of the same
confidence. Nothing in unlabelled rows can show that; a drift alarm says that they are other rows,
and then there is no estimate. What comes back of audit rows is held against each estimate, and an
estimator that has missed more often than its intervals allow gives none either.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import comb, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

#: Rows below which a normal interval means nothing.
LEAST_REFERENCE, LEAST_ROWS = 100, 30
#: How many of the latest scored estimates count, and the chance below which misses are too many.
RECENT, TOO_UNLIKELY = 20, 0.05


@dataclass(frozen=True)
class Estimate:
    """What is known of a batch's accuracy before its labels.

    estimate, lower, upper: shares, None where it cannot be estimated; why: the reason then; n,
    reference: rows of the batch and of the reference; error: the standard error; confidence: of
    the interval; withheld: estimate, lower, upper and error as they would have been, so that the
    estimator can be scored even so (None if there are too few rows); per_class: [{label, estimate,
    lower, upper, rows}] of the recall of each class, rows as expected; sentence: for a person.
    """

    estimate: float | None
    lower: float | None
    upper: float | None
    why: str | None
    n: int
    reference: int
    error: float | None
    confidence: float
    withheld: dict[str, float] | None
    per_class: list[dict[str, Any]]
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Return the values as plain ones that JSON can hold."""
        return asdict(self)

    def flat(self) -> dict[str, float]:
        """Return the numbers under names that tracking takes."""
        if self.estimate is None or self.lower is None or self.upper is None:
            return {"accuracy_estimated": 0.0}
        return {"accuracy_estimated": 1.0, "estimated_accuracy": self.estimate,
                "estimated_accuracy_lower": self.lower, "estimated_accuracy_upper": self.upper}


def estimate(batch: np.ndarray, reference: np.ndarray, labels: np.ndarray, classes: Sequence[str],
             *, drifted: str | None = None, record: Iterable[Mapping[str, Any]] = (),
             confidence: float = 0.95) -> Estimate:
    """Return what can be said of a batch's accuracy without labels.

    Args:
        batch: (n, k) calibrated probabilities of its rows.
        reference: (m, k) of rows with labels that the model was not trained on.
        labels: m indices of their labels.
        classes: k names.
        drifted: Which statistics have raised a drift alarm on the batch, None without an alarm.
        record: The entries of earlier estimates, oldest first, with their `audit`.
        confidence: Of the intervals.
    """
    n, m = len(batch), len(reference)
    if n < LEAST_ROWS or m < LEAST_REFERENCE:
        few = (f"the batch has {n:,} rows, fewer than {LEAST_ROWS}" if n < LEAST_ROWS else
               f"the champion has {m:,} test rows to calibrate on, fewer than {LEAST_REFERENCE}")
        return _declined(few, n, m, confidence, None)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p, chosen = batch.max(axis=1), reference.argmax(axis=1)
    residual = (chosen == labels) - reference.max(axis=1)
    value = float(p.mean() + residual.mean())
    spread = float(residual.var(ddof=1))
    error = sqrt(spread / m + max(spread, float((p * (1 - p)).mean())) / n)
    numbers = {"estimate": min(1.0, max(0.0, value)), "lower": max(0.0, value - z * error),
               "upper": min(1.0, max(0.0, value + z * error)), "error": error}
    if drifted is not None:
        return _declined(
            f"the batch differs from what the champion was trained on ({drifted}), and how often "
            "it is right on such rows is not known", n, m, confidence, numbers)
    missed = _too_many_misses(record)
    if missed is not None:
        return _declined(missed, n, m, confidence, numbers)
    return Estimate(
        numbers["estimate"], numbers["lower"], numbers["upper"], None, n, m, error, confidence,
        None, _recalls(batch, reference, labels, classes, z),
        f"about {_percent(numbers['estimate'])} ({100 * confidence:g} % interval "
        f"{_percent(numbers['lower'])} to {_percent(numbers['upper'])}) of {n:,} rows, estimated "
        "without labels.")


def _declined(why: str, n: int, m: int, confidence: float, withheld: dict[str, float] | None
              ) -> Estimate:
    return Estimate(None, None, None, why, n, m, None, confidence, withheld, [],
                    f"cannot be estimated: {why}.")


def _recalls(batch: np.ndarray, reference: np.ndarray, labels: np.ndarray,
             classes: Sequence[str], z: float) -> list[dict[str, Any]]:
    """Return the recall of each class that the batch is expected to have, with its interval."""
    n, m, recalls = len(batch), len(reference), []
    given, chosen = batch.argmax(axis=1), reference.argmax(axis=1)
    for i, name in enumerate(classes):
        p, own = batch[:, i], given == i
        true, predicted = labels == i, chosen == i
        rest = true - reference[:, i]
        rows = float(p.mean() + rest.mean())
        hits = float((own * p).mean() + (predicted * rest).mean())
        if rows * n < 1:
            continue
        recall = hits / rows
        # a row adds (hit - recall * is of the class) / rows to the error of the ratio
        spread = float(((predicted - recall) * rest).var(ddof=1))
        chance = float(((own - recall) ** 2 * p * (1 - p)).mean())
        error = sqrt(spread / m + max(spread, chance) / n) / rows
        recalls.append({"label": str(name), "estimate": min(1.0, max(0.0, recall)),
                        "lower": min(1.0, max(0.0, recall - z * error)),
                        "upper": min(1.0, max(0.0, recall + z * error)), "rows": rows * n})
    return recalls


def audit(entry: Mapping[str, Any], right: int, n: int) -> dict[str, Any] | None:
    """Return how an estimate does against its batch's audit rows, None if there was none to score.

    entry: as `Estimate.to_dict` gives it; right, n: of the audit rows. The result holds measured,
    lower, upper (95 %), n, right and covered: whether the difference is one that the two sampling
    errors allow. The audit rows are some of the batch's rows, so what they say of it is sharper the
    more of it they are.
    """
    estimate = entry["withheld"] if entry["estimate"] is None else entry
    if estimate is None or n < 1:
        return None
    from ftzard.evaluation.intervals import wilson_interval

    measured, rows = right / n, max(int(entry["n"]), n)
    lower, upper = wilson_interval(right, n, entry["confidence"])
    z = NormalDist().inv_cdf(0.5 + entry["confidence"] / 2)
    share = min(1.0, max(estimate["estimate"], 1 / rows))
    chance = share * (1 - share) / n * (rows - n) / max(1, rows - 1)
    allowed = z * sqrt(estimate["error"] ** 2 + chance)
    return {"measured": measured, "lower": lower, "upper": upper, "n": n, "right": right,
            "covered": bool(abs(measured - estimate["estimate"]) <= allowed + 1e-12)}


def scored(record: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """Return (misses, scored) of the latest estimates that no drift alarm had stopped."""
    audited = [entry for entry in record if entry.get("audit") and (
        entry["estimate"] is not None or "missed" in (entry["why"] or ""))][-RECENT:]
    return sum(not entry["audit"]["covered"] for entry in audited), len(audited)


def _too_many_misses(record: Iterable[Mapping[str, Any]]) -> str | None:
    misses, n = scored(record)
    if not misses:
        return None
    chance = sum(comb(n, k) * 0.05 ** k * 0.95 ** (n - k) for k in range(misses, n + 1))
    if chance >= TOO_UNLIKELY:
        return None
    return (f"{misses} of the last {n} estimates have missed what their audit rows showed, more "
            "than intervals of 95 % may")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
