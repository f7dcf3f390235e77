"""Whether a gain would outlast another person's labels.

A test row has the label of one person. Rows that two people answered blind show how often another
person would have said something else. Where exactly one of two models is right, another label
turns the row against the model that has it right. So with W rows that only the challenger has
right and L that only the champion has, of n, another person's labels would show

    gain = ((W - 2 X) - (L - 2 Y)) / n,    X ~ Binomial(W, q_W),  Y ~ Binomial(L, q_L)

where q_W and q_L are the shares on which people differ on such rows. They are not known but
estimated: the share on all test rows has a Beta posterior (Jeffreys), and each of the two begins
with `PRIOR` rows of that share and learns from its own doubly answered rows. The gain outlasts
other labels if it is above zero in at least `gate.confidence` of the draws.

Labels that are wrong at random make a gain smaller, never its sign another one, and an interval
over rows knows that part of the chance already. It does not know a person: a challenger that has
learned one labeller's habits wins rows on which the next one differs. There q_W is above q_L, and
that is what this sees. With several classes another label may also be wrong for both models, so
that a row counts too much here: the doubt is then too large rather than too small.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ftzard.evaluation.agreement import LEAST

#: Rows of the overall share that each kind of row begins with, and draws of a relabelling.
PRIOR, DRAWS = 20, 20_000


@dataclass(frozen=True)
class LabelNoise:
    """What another person's labels would do to a gain.

    rows, differed: test rows that two people answered, and those on which they differ; won, lost:
    of the rows that only the challenger, or only the champion, has right, [answered twice,
    differed]; gain, lower: the mean and the lower end of the gain with other labels; chance: that
    it is above zero; holds: whether that is enough; confidence: what it has to be.
    """

    rows: int
    differed: int
    won: tuple[int, int]
    lost: tuple[int, int]
    gain: float
    lower: float
    chance: float
    holds: bool
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """Return the values as plain ones that JSON can hold."""
        return {**asdict(self), "won": list(self.won), "lost": list(self.lost)}


def of_gain(after: np.ndarray, before: np.ndarray, ids: Sequence[str], differ: Mapping[str, bool],
            confidence: float, rng: np.random.Generator) -> LabelNoise | None:
    """Return what other labels would do to a gain; None if too few rows were answered twice.

    Args:
        after: Which rows the challenger has right.
        before: Which the champion has.
        ids: The rows.
        differ: Of rows that two people answered blind, whether they differ.
        confidence: The chance that the gain has to be above zero with.
        rng: Of the draws.
    """
    twice = np.array([row_id in differ for row_id in ids], dtype=bool)
    apart = np.array([bool(differ.get(row_id)) for row_id in ids], dtype=bool)
    rows, differed = int(twice.sum()), int(apart.sum())
    if rows < LEAST:
        return None
    overall = rng.beta(differed + 0.5, rows - differed + 0.5, DRAWS)
    kinds, turned = [], []
    for kind in (after & ~before, before & ~after):
        seen, other = int((kind & twice).sum()), int((kind & apart).sum())
        chance = rng.beta(PRIOR * overall + other, PRIOR * (1 - overall) + seen - other)
        kinds.append((seen, other))
        turned.append(int(kind.sum()) - 2 * rng.binomial(int(kind.sum()), chance))
    gains = (turned[0] - turned[1]) / len(after)
    above = float((gains > 0).mean())
    return LabelNoise(rows, differed, kinds[0], kinds[1], float(gains.mean()),
                      float(np.quantile(gains, 1 - confidence)), above, above >= confidence,
                      confidence)
