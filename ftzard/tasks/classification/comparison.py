"""Two models on the same rows: scores with intervals, what differs, and where they disagree.

Both have answered each row, so their scores move together: the intervals come from one paired
bootstrap of the rows, in which a resample is a multinomial draw of how often each combination of
(true label, first answer, second answer) occurs. A single accuracy has Wilson's interval, as
everywhere in FTzard.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from ftzard.errors import DataError
from ftzard.evaluation.intervals import class_indices, wilson_interval
from ftzard.evaluation.paired import mcnemar
from ftzard.tasks.classification.metrics import classification_metrics

#: Scores with an interval: they follow from the counts of answers alone.
SCORES = ("accuracy", "balanced_accuracy", "macro_f1")


@dataclass(frozen=True)
class SideBySide:
    """What came of it.

    scores: for each score {first, second, difference (second minus first)}, each {value, lower,
    upper}; the interval of a difference holds zero if none is shown. first, second: every score of
    `classification_metrics`. n: rows; agreed: rows with the same answer; only_first, only_second:
    rows that one alone got right; mcnemar_p: of these two (exact, two-sided).
    """

    scores: dict[str, dict[str, dict[str, float]]]
    first: dict
    second: dict
    n: int
    agreed: int
    only_first: int
    only_second: int
    mcnemar_p: float
    confidence: float

    def to_dict(self) -> dict:
        """Return it as plain values that JSON can hold."""
        return asdict(self)


def side_by_side(
    labels: Sequence[str],
    first: np.ndarray,
    second: np.ndarray,
    classes: Sequence[str],
    *,
    seed: int,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> SideBySide:
    """Compare two models' probabilities of the same rows.

    labels: n true label names; first, second: (n, k) probabilities, columns in the order of
    `classes`. Raises DataError as `classification_metrics` does.
    """
    one, two = (classification_metrics(labels, p, classes) for p in (first, second))
    true = class_indices(labels, classes)
    answers = np.asarray(first).argmax(axis=1), np.asarray(second).argmax(axis=1)
    k, n = len(classes), len(true)
    cells, counts = np.unique((true * k + answers[0]) * k + answers[1], return_counts=True)
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples)
    drawn = [_scores(draws, cells // (k * k), cells // k % k if i == 0 else cells % k, k)
             for i in (0, 1)]
    tail = (1 - confidence) / 2

    def interval(value: float, values: np.ndarray) -> dict[str, float]:
        lower, upper = np.quantile(values, [tail, 1 - tail])
        return {"value": float(value), "lower": float(lower), "upper": float(upper)}

    right = [guess == true for guess in answers]
    scores = {name: {
        "first": interval(one[name], drawn[0][name]),
        "second": interval(two[name], drawn[1][name]),
        "difference": interval(two[name] - one[name], drawn[1][name] - drawn[0][name]),
    } for name in SCORES}
    for i, side in enumerate(("first", "second")):  # a bootstrap of rows all right knows no doubt
        lower, upper = wilson_interval(int(right[i].sum()), n, confidence)
        scores["accuracy"][side] |= {"lower": lower, "upper": upper}
    only = [int((right[i] & ~right[1 - i]).sum()) for i in (0, 1)]
    return SideBySide(
        scores=scores,
        first=one, second=two, n=n, agreed=int((answers[0] == answers[1]).sum()),
        only_first=only[0], only_second=only[1], mcnemar_p=mcnemar(*only),
        confidence=confidence)


def disagreements(
    texts: Sequence[str],
    labels: Sequence[str],
    first: np.ndarray,
    second: np.ndarray,
    classes: Sequence[str],
) -> pd.DataFrame:
    """Return the rows that two models answer differently, those both are surest of first.

    Columns: row (number among the given rows), text, label, first, second (label names),
    first_confidence, second_confidence, right ('first', 'second' or 'neither').
    """
    first, second, names = np.asarray(first), np.asarray(second), np.asarray(classes).astype(str)
    if not len(texts) == len(labels) == len(first) == len(second):
        raise DataError(
            f"{len(texts)} texts, {len(labels)} labels, {len(first)} and {len(second)} answers; "
            "expected one of each per row.")
    said = names[first.argmax(axis=1)], names[second.argmax(axis=1)]
    table = pd.DataFrame({
        "row": np.arange(len(texts)), "text": list(texts), "label": list(labels),
        "first": said[0], "second": said[1],
        "first_confidence": first.max(axis=1), "second_confidence": second.max(axis=1)})
    table["right"] = np.select([table["first"] == table["label"],
                                table["second"] == table["label"]], ["first", "second"], "neither")
    table = table[table["first"] != table["second"]]
    surest = -np.minimum(table["first_confidence"], table["second_confidence"])
    return table.iloc[np.argsort(surest, kind="stable")].reset_index(drop=True)


def _scores(draws: np.ndarray, true: np.ndarray, guess: np.ndarray, k: int) -> dict:
    """Return each score of each resample, from how often each cell was drawn.

    draws: (resamples, cells); true, guess: the class of each cell. What has a denominator of zero
    counts as `classification_metrics` has it.
    """
    hits = _sums(draws[:, true == guess], true[true == guess], k)
    support, predicted = _sums(draws, true, k), _sums(draws, guess, k)
    recall = np.divide(hits, support, out=np.zeros(hits.shape), where=support > 0)
    seen, there = support + predicted, support > 0
    f1 = np.divide(2 * hits, seen, out=np.zeros(hits.shape), where=seen > 0)
    return {
        "accuracy": hits.sum(axis=1) / support.sum(axis=1),
        "balanced_accuracy": (recall * there).sum(axis=1) / there.sum(axis=1),
        "macro_f1": f1.sum(axis=1) / (seen > 0).sum(axis=1),
    }


def _sums(draws: np.ndarray, classes: np.ndarray, k: int) -> np.ndarray:
    """Return (resamples, k): the draws of the cells of each class, added up."""
    return np.stack([draws[:, classes == c].sum(axis=1) for c in range(k)], axis=1).astype(float)
