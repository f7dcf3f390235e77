"""What further labels buy: the learning curve, the gain that it predicts, and the gate's power.

Error rates fall with the number n of training rows about as

    error(n) = a + b n^-c,    a, b >= 0,    0.05 <= c <= 1

(Hestness et al., 2017; of annotated text: Figueroa et al., 2012). Two curves are fitted together:
that of the models of all rounds on today's test rows, and that of TF-IDF with logistic regression
fitted on nested parts of the training rows, which is cheap and has many points. They share c.
For a given c the best a and b are a least-squares problem without a local optimum
(NNLS), and c is the best of a grid. While the models have learned from fewer than `OWN` different
numbers of rows, their b is TF-IDF's: the level is theirs, the slope is not.

The interval is that of a bootstrap over test rows, drawn alike for all points, with noise of the
size of the fit's residuals on each point for what another seed would give; what is measured next
round has the chance in its own test rows besides. The chance of a promotion is the mean, over these
draws, of the normal power of the gate's test at its next level, with as many rows differing as
between the last two models.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

#: Different training sizes from which on models have a slope of their own.
OWN = 3
EXPONENTS = np.linspace(0.05, 1.0, 39)
DRAWS, SPREAD = 200, 0.8
#: Rows beyond which nobody asks whether labelling pays, as a multiple of the rows there are.
FURTHEST = 20


@dataclass(frozen=True)
class Point:
    """A model that learned from `size` rows: which of today's test rows it has right."""

    size: int
    right: np.ndarray


@dataclass(frozen=True)
class Outlook:
    """What further labels are expected to bring.

    labels: how many; rows_then: training rows with them; gain, lower, upper: of accuracy, as it
    would be measured, with an interval of 80 %; chance: of a promotion; stops_after: further labels
    after which as many more bring less
    than `least`, 0 if that is so now, None if it is beyond `FURTHEST` times the rows; least: what a
    change of model must bring; exponent: c; own_slope: whether the models have one; points: [{kind,
    size, accuracy}]; curve: [{size, accuracy}] of the models; sentence: for a person.
    """

    labels: int
    rows_then: int
    gain: float
    lower: float
    upper: float
    chance: float
    stops_after: int | None
    least: float
    exponent: float
    own_slope: bool
    points: list[dict[str, Any]]
    curve: list[dict[str, float]]
    sentence: str

    @property
    def pays(self) -> bool:
        """Whether further labels are expected to bring what a change of model must bring."""
        return self.stops_after is None or self.stops_after > 0

    def to_dict(self) -> dict[str, Any]:
        """Return the values as plain ones that JSON can hold."""
        return {**asdict(self), "pays": self.pays}

    def flat(self) -> dict[str, float]:
        """Return the numbers under names that tracking takes."""
        return {"next_labels_gain": self.gain, "next_labels_chance": self.chance,
                "next_labels_pay": float(self.pays)}


def outlook(models: Sequence[Point], parts: Sequence[Point], labels: int, *, size: int,
            trained_share: float, least: float, confidence: float, more_rows: int, seed: int
            ) -> Outlook | None:
    """Return what `labels` further labels are expected to bring; None without enough points.

    Args:
        models: Of all rounds, the newest last, on the same rows.
        parts: TF-IDF on parts of the training rows, on these rows.
        labels: Further labels, of the training side.
        size: Training rows now.
        trained_share: Share of such labels that is trained on.
        least: The smallest gain that counts, `gate.min_gain`.
        confidence: Of the gate's next test.
        more_rows: Test rows that come with the labels.
        seed: Of the draws.
    """
    if not models or len({p.size for p in parts}) < OWN:
        return None
    points = [*models, *parts]
    kinds = np.array([0] * len(models) + [1] * len(parts))
    sizes = np.array([p.size for p in points], dtype=float)
    right = np.array([p.right for p in points], dtype=float)
    own = len({p.size for p in models}) >= OWN
    errors = 1 - right.mean(axis=1)
    fitted = _fit(kinds, sizes, errors, own)
    rest = errors - _error(fitted, kinds, sizes)
    noise = sqrt(float((rest**2).sum()) / max(1, len(rest) - 3))
    rng, n = np.random.default_rng(seed), right.shape[1]
    then = size + labels * trained_share
    gains = []
    for _ in range(DRAWS):
        drawn = 1 - right @ rng.multinomial(n, np.full(n, 1 / n)) / n
        one = _fit(kinds, sizes, drawn + rng.normal(0, noise, len(drawn)), own)
        gains.append(_gain(one, size, then))
    gains_drawn = np.array(gains)
    gain = _gain(fitted, size, then)
    differ = _differ(models, parts)
    error = sqrt(max(differ - gain**2, 1e-9) / (n + more_rows))
    # Another training, on another seed, has noise of its own.
    measured = gains_drawn + rng.normal(0, sqrt(error**2 + noise**2), DRAWS)
    lower, upper = np.quantile(measured, [(1 - SPREAD) / 2, (1 + SPREAD) / 2])
    needed = max(NormalDist().inv_cdf(0.5 + confidence / 2) * error, least)
    chance = float(np.mean([NormalDist().cdf((g - needed) / error) for g in gains_drawn]))
    stops = _stops(fitted, size, labels, trained_share, least)
    curve = [{"size": float(at), "accuracy": 1 - float(_model_error(fitted, at))}
             for at in np.geomspace(min(sizes.min(), size), 2 * then, 30)]
    drawn_points = [{"kind": "model" if kind == 0 else "TF-IDF", "size": int(at),
             "accuracy": float(1 - wrong)}
            for kind, at, wrong in zip(kinds, sizes, errors, strict=True)]
    return Outlook(labels, round(then), gain, float(lower), float(upper), chance, stops, least,
                   float(fitted[0]), own, drawn_points, curve,
                   _sentence(labels, gain, float(lower), float(upper), chance, stops, least))


def budget(models: Sequence[Point], parts: Sequence[Point], *, step: int, most: int, default: int,
           **how: Any) -> int:
    """Return how many labels to ask for: the fewest, by steps, with which promotion is likelier
    than not; `step` if labelling pays no more, `default` where even `most` do not reach that or
    nothing is known.
    """
    first = outlook(models, parts, default, **how)
    if first is None:
        return default
    if not first.pays:
        return step
    def likely(steps: int) -> bool:
        ahead = outlook(models, parts, steps * step, **how)
        return ahead is not None and ahead.chance >= 0.5

    low, high = 0, max(1, most // step)
    if not likely(high):
        return default
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if likely(middle) else (middle, high)
    return high * step


_Fitted = tuple[float, np.ndarray]


def _fit(kinds: np.ndarray, sizes: np.ndarray, errors: np.ndarray, own: bool) -> _Fitted:
    """Return the exponent and (a, b) of either curve."""
    from scipy.optimize import nnls

    best: tuple[float, float, np.ndarray] | None = None
    for exponent in EXPONENTS:
        powers, total, lines = (sizes / sizes.max()) ** -exponent, 0.0, np.zeros((2, 2))
        for kind in (1, 0):
            here = kinds == kind
            if kind == 0 and not own:
                level = float((errors[here] - lines[1, 1] * powers[here]).mean())
                lines[0] = level, lines[1, 1]
                continue
            lines[kind], rest = nnls(np.c_[np.ones(here.sum()), powers[here]], errors[here])
            total += rest**2
        if best is None or total < best[0]:
            best = total, exponent, lines
    assert best is not None
    scale = sizes.max() ** best[1]
    return best[1], best[2] * [1, scale]


def _error(fitted: _Fitted, kinds: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    exponent, lines = fitted
    return lines[kinds, 0] + lines[kinds, 1] * sizes**-exponent


def _model_error(fitted: _Fitted, size: float) -> float:
    return float(_error(fitted, np.array([0]), np.array([float(size)]))[0])


def _gain(fitted: _Fitted, now: float, then: float) -> float:
    return _model_error(fitted, now) - _model_error(fitted, then)


def _differ(models: Sequence[Point], parts: Sequence[Point]) -> float:
    """Return the share of rows on which the last two models, or parts, are not alike."""
    two = models[-2:] if len(models) > 1 else parts[-2:]
    return max(float((two[0].right != two[1].right).mean()), 1e-3)


def _stops(fitted: _Fitted, size: int, labels: int, share: float, least: float) -> int | None:
    """Return after how many further labels as many more bring less than `least`."""
    step = max(1, labels // 4)
    for further in range(0, FURTHEST * size + step, step):
        at = size + further * share
        if _gain(fitted, at, at + labels * share) < least:
            return further
    return None


def _sentence(labels: int, gain: float, lower: float, upper: float, chance: float,
              stops: int | None, least: float) -> str:
    first = (f"{labels:,} more labels: {100 * gain:+.1f} points of accuracy expected, measured "
             f"between {100 * lower:+.1f} and {100 * upper:+.1f} in 8 of 10 cases, with a "
             f"{100 * chance:.0f} % chance of a promotion")
    point = f"{100 * least:g} points, which a change of model must bring"
    if stops == 0:
        return (f"{first}. Labelling has stopped paying: {labels:,} labels bring less than {point}."
                ).replace("-", "−")
    if stops is None:
        return f"{first}; no end of what labelling pays is in sight.".replace("-", "−")
    return (f"{first}. At this rate labelling stops paying after about {stops:,}: then {labels:,} "
            f"bring less than {point}.").replace("-", "−")
