"""Two models on the same rows: their answers or scores brought together, and what chance allows.

What is compared is either right or wrong (`Predicted`) or a score per row (`Scored`). A paired
bootstrap gives the interval of the difference; an exact test says how likely so large a difference
is by chance alone: McNemar's for right and wrong, sign flips of the differences for scores.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import NormalDist

import numpy as np

from ftzard.errors import DataError
from ftzard.evaluation.intervals import class_indices
from ftzard.evaluation.metric_info import ACCURACY, Measure

#: So few rows that differ are tested with every pattern of signs, more with drawn ones.
_ALL_SIGNS = 12
_AT_ONCE = 100
#: Of the test that tells how many rows would show a gain.
POWER = 0.8
#: The bare base among the baselines: what the first model judged by scores has to beat.
BASE = "base"
EVERY_ROW = slice(None)


@dataclass(frozen=True, eq=False)
class Predicted:
    """One model's answers on one test set: three aligned sequences, one entry per row.

    ids: unique row ids; labels: the true label names; predicted: the model's label names.
    """

    ids: Sequence[str]
    labels: Sequence[str]
    predicted: Sequence[str]

    def __post_init__(self) -> None:
        for field in ("ids", "labels", "predicted"):
            object.__setattr__(self, field, np.asarray(getattr(self, field)).astype(str))
        sizes = {len(self.ids), len(self.labels), len(self.predicted)}
        if len(sizes) != 1:
            raise DataError(
                f"{len(self.ids)} ids, {len(self.labels)} labels and {len(self.predicted)} "
                "predictions; expected one of each per row."
            )
        _refuse_twice(self.ids)

    @classmethod
    def from_probabilities(
        cls,
        ids: Sequence[str],
        labels: Sequence[str],
        probabilities: np.ndarray,
        classes: Sequence[str],
    ) -> "Predicted":
        """Take the most likely class of each row of an (n, k) array as the prediction."""
        return cls(ids, labels, np.asarray(classes)[np.asarray(probabilities).argmax(axis=1)])


@dataclass(frozen=True, eq=False)
class Scored:
    """One model's scores on one test set, one entry per row; more is better.

    ids: unique row ids; scores: n finite numbers, a loss as its negative; weights: how much each
    row counts, n numbers above 0, or None for all alike. A loss per token counts by the row's
    supervised tokens, so that its mean is the loss over all tokens. hits: of rows with several
    labels (n, classes), 1 where a label of the row was given, 0 where it was missed, NaN where the
    row does not have it; None for rows without labels.
    """

    ids: Sequence[str]
    scores: Sequence[float]
    weights: Sequence[float] | None = None
    hits: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", np.asarray(self.ids).astype(str))
        object.__setattr__(self, "scores", np.asarray(self.scores, dtype=np.float64))
        weights = np.ones(len(self.ids)) if self.weights is None else self.weights
        object.__setattr__(self, "weights", np.asarray(weights, dtype=np.float64))
        if self.scores.shape != self.ids.shape or self.weights.shape != self.ids.shape:
            raise DataError(
                f"{len(self.ids)} ids, scores of shape {self.scores.shape} and weights of shape "
                f"{self.weights.shape}; expected one of each per row."
            )
        _refuse_twice(self.ids)
        for name, values, wrong in (
            ("score", self.scores, ~np.isfinite(self.scores)),
            ("weight", self.weights, ~(np.isfinite(self.weights) & (self.weights > 0))),
        ):
            if wrong.any():
                row = int(wrong.argmax())
                expected = "a finite number" if name == "score" else "a finite number above 0"
                raise DataError(
                    f"row '{self.ids[row]}' has the {name} {values[row]}; expected {expected}. "
                    "Measure the row again, or leave it out for both models."
                )


def without_labels(answers: Mapping[str, Predicted], labels: Collection[str]
                   ) -> dict[str, Predicted]:
    """Return a model's answers on the rows of other labels than these; a set may lose all rows."""
    remaining = {}
    for name, one in answers.items():
        stays = ~np.isin(one.labels, list(labels))
        if stays.any():
            remaining[name] = Predicted(one.ids[stays], one.labels[stays], one.predicted[stays])
    return remaining


def mcnemar(wins: int, losses: int) -> float:
    """Return the exact two-sided McNemar p-value of `wins` against `losses` discordant rows."""
    from scipy.stats import binomtest  # half a second, which only what is measured pays

    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def sign_flips(
    differences: np.ndarray, resamples: int, rng: np.random.Generator
) -> float:
    """Return the two-sided p-value of a mean of n differences, had each sign come by chance.

    Differences of one size give McNemar's exact test, a dozen or fewer every pattern of signs, more
    `resamples` drawn ones. Rows without a difference say nothing.
    """
    moved = differences[differences != 0]
    m = len(moved)
    if m == 0:
        return 1.0
    if np.ptp(abs(moved)) <= 1e-12 * abs(moved).max():
        return mcnemar(int((moved > 0).sum()), int((moved < 0).sum()))
    # What every flip that reaches as far has, rounding apart.
    far = abs(moved.sum()) * (1 - 1e-12)
    if m <= _ALL_SIGNS:
        flipped = np.arange(2 ** m)[:, None] >> np.arange(m) & 1
        return float(np.mean(abs(moved.sum() - 2 * (flipped @ moved)) >= far))
    reached = 0
    for start in range(0, resamples, _AT_ONCE):
        draws = min(_AT_ONCE, resamples - start)
        bits = np.unpackbits(np.frombuffer(rng.bytes(-(-draws * m // 8)), dtype=np.uint8))
        flipped = bits[:draws * m].reshape(draws, m)
        reached += int((abs(moved.sum() - 2 * (flipped @ moved)) >= far).sum())
    return (reached + 1) / (resamples + 1)


def _refuse_twice(ids: np.ndarray) -> None:
    values, counts = np.unique(ids, return_counts=True)
    if len(values) != len(ids):
        raise DataError(
            f"row id '{values[counts.argmax()]}' stands {counts.max()} times in one test set; "
            "a row counts once, so remove the duplicates."
        )


def _refuse_shared(challenger: Mapping[str, Predicted] | Mapping[str, Scored]) -> None:
    if not challenger:
        raise DataError("the gate got no test set; give at least one, keyed by its name.")
    ids = np.concatenate([s.ids for s in challenger.values()])
    if len(ids) == 0:
        raise DataError(f"the test sets {list(challenger)} hold no rows; nothing can be judged.")
    values, counts = np.unique(ids, return_counts=True)
    if counts.max() > 1:
        raise DataError(
            f"row id '{values[counts.argmax()]}' stands in more than one test set; a row counted "
            "twice makes the interval too narrow, so keep it in one."
        )


def compare_hits(after: np.ndarray, before: np.ndarray, confidence: float, resamples: int,
                 rng: np.random.Generator) -> dict:
    """Compare two models on rows that each got right or wrong: two bool arrays.

    A resample of rows with replacement is a multinomial draw of how many rows were won, lost and
    equal, so the whole bootstrap is one call.
    """
    n = len(after)
    wins, losses = int((after & ~before).sum()), int((before & ~after).sum())
    draws = rng.multinomial(n, [wins / n, losses / n, 1 - (wins + losses) / n], size=resamples)
    tail = (1 - confidence) / 2
    lower, upper = np.quantile((draws[:, 0] - draws[:, 1]) / n, [tail, 1 - tail])
    return {
        "difference": (wins - losses) / n,
        "lower": float(lower),
        "upper": float(upper),
        "n": n,
        "challenger": float(after.mean()),
        "champion": float(before.mean()),
        "discordant": wins + losses,
        "p": mcnemar(wins, losses),
    }


class LabelPairs:
    """The rows of all test sets, on which models are right or wrong."""

    measure = ACCURACY
    first_opponent = "majority class"

    def __init__(self, challenger: Mapping[str, Predicted], classes: Sequence[str]):
        _refuse_shared(challenger)
        self.sets, self.classes = dict(challenger), classes
        joined = self.sets.values()
        self.true = class_indices(np.concatenate([s.labels for s in joined]), classes)
        self.correct = self.true == class_indices(
            np.concatenate([s.predicted for s in joined]), classes)
        self.set = np.repeat(np.arange(len(joined)), [len(s.ids) for s in joined])

    def matched(self, answers: Mapping[str, Predicted], who: str) -> np.ndarray:
        """Return which of the challenger's rows `who` got right, in the challenger's order."""
        _refuse_other_sets(self.sets, answers, who)
        correct = []
        for name, mine in self.sets.items():
            theirs = answers[name]
            order = _order(mine.ids, theirs.ids, name, who)
            labels, predicted = theirs.labels[order], theirs.predicted[order]
            if (labels != mine.labels).any():
                row = mine.ids[(labels != mine.labels).argmax()]
                raise DataError(
                    f"test set '{name}': row '{row}' has different labels for the challenger and "
                    f"{who}; both must be scored against the same truth."
                )
            class_indices(predicted, self.classes)
            correct.append(labels == predicted)
        return np.concatenate(correct)

    def before_first(self, baselines: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return which rows the most frequent class of the test sets gets right."""
        return self.true == np.bincount(self.true).argmax()

    def by_class(self, answers: object, before: np.ndarray
                 ) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """Return (class, right after, right before) of the rows of each class that occurs."""
        return [(str(name), self.correct[where], before[where])
                for i, name in enumerate(self.classes) if (where := self.true == i).any()]

    def by_set(self) -> list[tuple[str, np.ndarray]]:
        """Return the rows of each test set."""
        return [(name, self.set == i) for i, name in enumerate(self.sets)]

    def compare(self, where: np.ndarray | slice, before: np.ndarray, confidence: float,
                resamples: int, rng: np.random.Generator) -> dict:
        """Compare two models on some of the rows."""
        return compare_hits(self.correct[where], before[where], confidence, resamples, rng)

    def rows_needed(self, gain: float, before: np.ndarray, confidence: float) -> int:
        """Return the rows that show a gain with 80 % power, if as many of them differ."""
        discordance = max(self._discordance(before), gain)
        z_alpha, z_power = _quantiles(confidence)
        root = z_alpha * sqrt(discordance) + z_power * sqrt(max(0.0, discordance - gain * gain))
        return ceil((root / gain) ** 2)

    def variation(self, before: np.ndarray) -> str:
        """Return what `rows_needed` goes by, as the end of a sentence."""
        return f"where {ACCURACY.value(self._discordance(before))} of the rows differ"

    def _discordance(self, before: np.ndarray) -> float:
        return int((self.correct != before).sum()) / len(before)


class ScorePairs:
    """The rows of all test sets, on which models have scores.

    classes: names of the columns of `Scored.hits`; first_opponent: the baseline that a first model
    has to beat.
    """

    def __init__(self, challenger: Mapping[str, Scored], measure: Measure,
                 classes: Sequence[str] = (), first_opponent: str = BASE):
        _refuse_shared(challenger)
        self.sets, self.measure, self.classes = dict(challenger), measure, classes
        self.first_opponent = first_opponent
        joined = self.sets.values()
        self.scores = np.concatenate([s.scores for s in joined])
        self.weights = np.concatenate([s.weights for s in joined])
        self.set = np.repeat(np.arange(len(joined)), [len(s.ids) for s in joined])

    def matched(self, answers: Mapping[str, Scored], who: str) -> np.ndarray:
        """Return the scores that `who` has on the challenger's rows, in the challenger's order."""
        _refuse_other_sets(self.sets, answers, who)
        scores = []
        for name, mine in self.sets.items():
            theirs = answers[name]
            order = _order(mine.ids, theirs.ids, name, who)
            weights = theirs.weights[order]
            apart = ~np.isclose(weights, mine.weights, rtol=1e-9, atol=0)
            if apart.any():
                row = int(apart.argmax())
                raise DataError(
                    f"test set '{name}': row '{mine.ids[row]}' counts {mine.weights[row]:g} for "
                    f"the challenger and {weights[row]:g} for {who}; a mean over tokens is "
                    "comparable only where both count the same tokens, so express the other's loss "
                    "in the challenger's tokens (answer_metrics.in_tokens)."
                )
            scores.append(theirs.scores[order])
        return np.concatenate(scores)

    def before_first(self, baselines: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the scores of the baseline that a first model has to beat."""
        name = self.first_opponent
        if name not in baselines:
            raise DataError(
                f"there is no champion and no baseline named '{name}' among {sorted(baselines)}; "
                "the first model must beat it, so measure it on the same rows."
            )
        return baselines[name]

    def by_class(self, answers: Mapping[str, Scored], before: np.ndarray
                 ) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """Return (label, given after, given before) of the rows with each label that occurs.

        answers: of the other model, by test set.
        """
        if not len(self.classes):
            return []
        after = np.concatenate([mine.hits for mine in self.sets.values()])
        other = np.concatenate([
            answers[name].hits[_order(mine.ids, answers[name].ids, name, "the other model")]
            for name, mine in self.sets.items()])
        return [(str(name), after[where, i] > 0, other[where, i] > 0)
                for i, name in enumerate(self.classes)
                if (where := ~np.isnan(after[:, i])).any()]

    def by_set(self) -> list[tuple[str, np.ndarray | slice]]:
        """Return the rows of each test set; those of a single one are all rows."""
        if len(self.sets) == 1:
            return [(name, EVERY_ROW) for name in self.sets]
        return [(name, self.set == i) for i, name in enumerate(self.sets)]

    def compare(self, where: np.ndarray | slice, before: np.ndarray, confidence: float,
                resamples: int, rng: np.random.Generator) -> dict:
        """Compare two models on some of the rows."""
        after, before, weights = self.scores[where], before[where], self.weights[where]
        difference = after - before
        lower, upper = bootstrap(difference, weights, confidence, resamples, rng)
        return {
            "difference": mean(difference, weights),
            "lower": lower,
            "upper": upper,
            "n": len(difference),
            "challenger": self.measure.goodness(mean(after, weights)),
            "champion": self.measure.goodness(mean(before, weights)),
            "discordant": int((difference != 0).sum()),
            "p": sign_flips(weights * difference, resamples, rng),
        }

    def rows_needed(self, gain: float, before: np.ndarray, confidence: float) -> int:
        """Return the rows that show a gain with 80 % power, if differences vary as these do."""
        difference = self.scores - before
        deviation = float((self.weights * (difference - mean(difference, self.weights))).std()
                          / self.weights.mean())
        return ceil((sum(_quantiles(confidence)) * deviation / gain) ** 2)

    def variation(self, before: np.ndarray) -> str:
        """Return what `rows_needed` goes by, as the end of a sentence."""
        return "at how much the rows' differences vary"


def _quantiles(confidence: float) -> tuple[float, float]:
    """Return the normal quantiles of a two-sided confidence and of the power."""
    return NormalDist().inv_cdf(0.5 + confidence / 2), NormalDist().inv_cdf(POWER)


def mean(values: np.ndarray, weights: np.ndarray) -> float:
    """Return the weighted mean."""
    return float((weights * values).sum() / weights.sum())


def bootstrap(values: np.ndarray, weights: np.ndarray, confidence: float, resamples: int,
              rng: np.random.Generator) -> tuple[float, float]:
    """Return the percentile interval of the weighted mean over resamples of the n rows."""
    n, parts, means = len(values), weights * values, []
    alike = weights.min() == weights.max()
    for start in range(0, resamples, _AT_ONCE):
        drawn = rng.integers(0, n, (min(_AT_ONCE, resamples - start), n), dtype=np.int32)
        whole = n * weights[0] if alike else weights[drawn].sum(axis=1)
        means.append(parts[drawn].sum(axis=1) / whole)
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(lower), float(upper)


def _refuse_other_sets(sets: Mapping, answers: Mapping, who: str) -> None:
    if set(answers) != set(sets):
        raise DataError(
            f"the challenger was tested on {sorted(sets)} but {who} on {sorted(answers)}; "
            "both must answer the same test sets."
        )


def _order(mine: np.ndarray, theirs: np.ndarray, name: str, who: str) -> np.ndarray | slice:
    """Return how to bring their rows into the order of mine."""
    if len(mine) == len(theirs) and (mine == theirs).all():
        return slice(None)
    lost, extra = np.setdiff1d(mine, theirs), np.setdiff1d(theirs, mine)
    if len(lost) or len(extra):
        raise DataError(
            f"test set '{name}': the challenger answered {len(mine)} rows and {who} {len(theirs)}, "
            f"{len(lost) + len(extra)} of them not shared (such as "
            f"'{(lost if len(lost) else extra)[0]}'); a paired comparison needs the same rows, so "
            "predict both on the same test set."
        )
    sorter = np.argsort(theirs)
    return sorter[np.searchsorted(theirs, mine, sorter=sorter)]
