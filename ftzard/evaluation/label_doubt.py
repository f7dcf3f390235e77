"""Labels that are probably wrong, and how many of them would have to be wrong to turn a verdict.

Confident learning (Northcutt, Jiang and Chuang, 2021; by cleanlab) holds each label against
probabilities of a model that has not learned from it: a row whose label is unlikely where its class
is not usually so is in doubt. Rows of training and validation get out-of-fold probabilities. Those
of test rows come from a model that is neither champion nor challenger and learned the training rows
alone, since a review of rows that one of the two finds wrong would move the labels towards it.

How robust a verdict is on n doubtful test labels is the smallest k so that some k of them, changed
to other labels, give another decision. It is found by changing rows in the order that does the most
(see `fewest_wrong`) and asking the gate itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

#: Fewest rows, and rows of a class, that probabilities out of fold are worth asking about.
LEAST_ROWS, FOLDS = 50, 5


@dataclass(frozen=True)
class Robustness:
    """How many of the doubtful test labels have to be wrong for another verdict.

    doubtful: how many there are; wrong: the fewest that would have to be wrong, None if the
    decision stays whatever they are, or is not known; known: whether it is; why: the reason if not.
    """

    doubtful: int
    wrong: int | None
    known: bool = True
    why: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the values as plain ones that JSON can hold."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """What it says of a verdict."""
        if not self.doubtful:
            return "No test label is in doubt."
        rows = "1 doubtful test label" if self.doubtful == 1 else (
            f"these {self.doubtful:,} doubtful test labels")
        if not self.known:
            return f"Whether it would stand without errors in {rows} is not known: {self.why}."
        if self.wrong is None:
            return f"No errors in {rows} would change it."
        return (f"It stands unless at least {self.wrong:,} of {rows} "
                f"{'is' if self.wrong == 1 else 'are'} wrong ('ftzard label --suspects' has them "
                "reviewed).")


def quality(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return how well each label fits: from 0 (in doubt) to 1.

    It is the normalized margin with probabilities that are corrected for how confident the model
    is in each class.

    Args:
        labels: n indices.
        probabilities: (n, k) of a model that has not learned from these labels.
    """
    from cleanlab.rank import get_label_quality_scores

    return np.asarray(get_label_quality_scores(
        labels, _proper(probabilities), method="normalized_margin",
        adjust_pred_probs=len(np.unique(labels)) == probabilities.shape[1]))


def in_doubt(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the rows whose labels are probably wrong, the most doubtful first.

    How many there are is estimated by confident learning; the arguments are those of `quality`.
    """
    if len(labels) < LEAST_ROWS or len(np.unique(labels)) < 2:
        return np.array([], dtype=int)
    from cleanlab.filter import find_label_issues

    there = np.unique(labels)  # it asks for rows of every class
    some = _proper(probabilities[:, there])
    flagged = find_label_issues(np.searchsorted(there, labels), some, n_jobs=1,
                                filter_by="prune_by_noise_rate")
    rows = np.flatnonzero(flagged)
    return rows[np.argsort(quality(labels, probabilities)[rows], kind="stable")]


def fewest_wrong(promoted: Callable[[np.ndarray], bool], labels: np.ndarray,
                 challenger: np.ndarray, champion: np.ndarray, sets: np.ndarray,
                 doubtful: Sequence[int], classes: int, *, vetoed: bool = False) -> Robustness:
    """Return how many doubtful labels have to be wrong for the other verdict.

    The verdict gets worse for the challenger with each row that it alone had right and now the
    champion has, next with each that nobody had right and now the champion has. So some k rows turn
    a promotion by its gain if the first k in this order do. A test set vetoes by its own rows, in
    the same order. A class vetoes by the rows that have its label: first those that the challenger
    alone has right lose it, then those that the champion alone would have right get it, then those
    on which both are alike lose it. The smallest of these numbers is k. To a challenger that was
    not promoted the first two orders apply with the two models exchanged.

    Args:
        promoted: Whether the gate promotes, given all labels.
        labels: n indices.
        challenger: n indices of what it answered; champion likewise.
        sets: n indices of test sets.
        doubtful: Places of the doubtful rows.
        classes: How many labels there are.
        vetoed: Whether the verdict on record has a veto, with which no number is told.
    """
    places = np.array(list(doubtful), dtype=int)
    if not len(places):
        return Robustness(0, None)
    if vetoed:
        return Robustness(len(places), None, False, "a class or a test set vetoes")
    before = promoted(labels)
    gainer, other = (champion, challenger) if before else (challenger, champion)
    orders = [_turned(places, labels, gainer, other)]
    if before:
        orders += [_turned(places[sets[places] == one], labels, gainer, other)
                   for one in np.unique(sets[places])]
        orders += [_out_of_class(places, labels, challenger, champion, one, classes)
                   for one in range(classes)]
    turning = [k for order in orders if (k := _first_turn(promoted, labels, order, before))]
    return Robustness(len(places), min(turning) if turning else None)


#: Places of rows and the labels that they are changed to, in order.
_Order = list[tuple[int, int]]


def _turned(places: np.ndarray, labels: np.ndarray, gainer: np.ndarray, other: np.ndarray
            ) -> _Order:
    """Return the changes that give `gainer` the most: rows of the other alone, then of nobody."""
    apart = places[gainer[places] != other[places]]
    wrong = apart[gainer[apart] != labels[apart]]
    first = wrong[other[wrong] == labels[wrong]]
    then = wrong[other[wrong] != labels[wrong]]
    return [(int(i), int(gainer[i])) for i in (*first, *then)]


def _out_of_class(places: np.ndarray, labels: np.ndarray, challenger: np.ndarray,
                  champion: np.ndarray, one: int, classes: int) -> _Order:
    """Return the changes that let the challenger's recall of a class fall most."""
    inside = places[labels[places] == one]
    outside = places[labels[places] != one]
    won = inside[(challenger[inside] == one) & (champion[inside] != one)]
    lost = outside[(champion[outside] == one) & (challenger[outside] != one)]
    alike = inside[(challenger[inside] == one) == (champion[inside] == one)]
    away = (one + 1) % classes
    return [*((int(i), int(champion[i])) for i in won), *((int(i), one) for i in lost),
            *((int(i), away) for i in alike)]


def _first_turn(promoted: Callable[[np.ndarray], bool], labels: np.ndarray, order: _Order,
                before: bool) -> int | None:
    """Return how many of the first changes it takes for the other verdict, None if all do not."""
    def after(count: int) -> bool:
        changed = labels.copy()
        for place, label in order[:count]:
            changed[place] = label
        return promoted(changed) != before

    if not order or not after(len(order)):
        return None
    low, high = 0, len(order)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if after(middle) else (middle, high)
    return high


def _proper(probabilities: np.ndarray) -> np.ndarray:
    """Return rows that are above 0 and sum to 1."""
    raised = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-9, None)
    return raised / raised.sum(axis=1, keepdims=True)
