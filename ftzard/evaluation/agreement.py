"""How often two people give the same row the same label, and what a model can reach at most.

Both answered blind: neither saw the other's answer or a model's. Cohen's kappa (1960) is the share
on which they agree beyond chance. Its interval has the wider ends of a bootstrap over rows and of
Wilson's interval of the share, since a bootstrap of rows that all agree knows no doubt. By class,
the agreement is that of Cicchetti and Feinstein (1990): of the answers that name a class, those
where the other person names it too.

If each person is right with chance r, independently of the other, and wrong answers fall on the
k - 1 other classes alike, two people agree on

    a = r^2 + (1 - r)^2 / (k - 1)

so that r follows from a (Dawid and Skene, 1979, with one number for all). No model that does not
know who labels is right on more of such labels than r; one that answers as well as another person
is right on a of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import isnan, sqrt
from typing import Any

import numpy as np

from ftzard.evaluation.intervals import wilson_interval

#: Rows below which agreement says nothing of the test rows.
LEAST = 30


@dataclass(frozen=True)
class Agreement:
    """What two blind answers to the same rows say.

    rows: that two people answered; agreed: of them; share, lower, upper: of agreement; kappa,
    kappa_lower, kappa_upper: None where it is not defined, as both always said the same one label;
    ceiling, ceiling_lower, ceiling_upper: the share of labels that are right, None where the
    agreement is no better than chance; classes; confusion: rows by the first's and the second's
    label, people in the order of their names; per_class: [{label, answers, share}]; confidence.
    """

    rows: int
    agreed: int
    share: float
    lower: float
    upper: float
    kappa: float | None
    kappa_lower: float | None
    kappa_upper: float | None
    ceiling: float | None
    ceiling_lower: float | None
    ceiling_upper: float | None
    classes: list[str]
    confusion: list[list[int]]
    per_class: list[dict[str, Any]]
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """Return the values as plain ones that JSON can hold."""
        return asdict(self)

    def flat(self) -> dict[str, float]:
        """Return the numbers under names that tracking takes."""
        named = {"agreement_rows": self.rows, "agreement": self.share,
                 "agreement_kappa": self.kappa, "accuracy_ceiling": self.ceiling}
        return {name: float(value) for name, value in named.items() if value is not None}

    @property
    def sentence(self) -> str:
        """What a person should know of it."""
        kappa = "" if self.kappa is None else f" (kappa {self.kappa:.2f})"
        most = "" if self.ceiling is None else (
            " A model that answers as well as another person scores that; none can score more "
            f"than about {self.ceiling:.1%} on labels of one person.")
        return (f"Two people agree on {self.share:.1%} of {self.rows:,} test rows that both were "
                f"asked blind, {self.confidence:.0%} interval {self.lower:.1%} to {self.upper:.1%}"
                f"{kappa}.{most}").replace("%", " %")


def of_pairs(pairs: Sequence[tuple[str, str]], classes: Iterable[str] = (), *,
             confidence: float = 0.95, resamples: int = 2000, seed: int = 0) -> Agreement | None:
    """Return the agreement of pairs of labels, None without any.

    Args:
        pairs: Of each row what the first and the second person said.
        classes: Labels that there are, in the order of tables; others that were said come after.
        confidence: Of all intervals.
        resamples: Of the bootstrap.
        seed: Of its draws.
    """
    if not pairs:
        return None
    from sklearn.metrics import cohen_kappa_score, confusion_matrix

    first, second = ([str(label) for label in side] for side in zip(*pairs, strict=True))
    names = list(dict.fromkeys([*map(str, classes), *sorted({*first, *second})]))
    counts = confusion_matrix(first, second, labels=names)
    n, agreed, k = len(pairs), int(np.trace(counts)), len(names)
    lower, upper = wilson_interval(agreed, n, confidence)
    kappa = float(cohen_kappa_score(first, second, labels=names)) if len({*first, *second}) > 1 \
        else float("nan")
    ends = None if isnan(kappa) else _kappa_ends(counts, lower, upper, confidence, resamples, seed)
    answers = counts.sum(axis=0) + counts.sum(axis=1)
    return Agreement(
        rows=n, agreed=agreed, share=agreed / n, lower=lower, upper=upper,
        kappa=None if isnan(kappa) else kappa,
        kappa_lower=None if ends is None else ends[0],
        kappa_upper=None if ends is None else ends[1],
        ceiling=right_labels(agreed / n, k), ceiling_lower=right_labels(lower, k),
        ceiling_upper=right_labels(upper, k), classes=names, confusion=counts.tolist(),
        per_class=[{"label": name, "answers": int(answers[i]),
                    "share": float(2 * counts[i, i] / answers[i])}
                   for i, name in enumerate(names) if answers[i]], confidence=confidence)


def right_labels(agreement: float, classes: int) -> float | None:
    """Return the share of right labels of people who agree so often, None below chance."""
    if classes < 2:
        return None
    spread = classes / (classes - 1)
    inside = 1 - spread * (1 - agreement)
    return None if inside < 0 else 1 - (1 - sqrt(inside)) / spread


def _kappa_ends(counts: np.ndarray, lower: float, upper: float, confidence: float, resamples: int,
                seed: int) -> tuple[float, float]:
    n = counts.sum()
    draws = np.random.default_rng(seed).multinomial(
        n, (counts / n).ravel(), size=resamples).reshape(resamples, *counts.shape) / n
    chance = (draws.sum(axis=1) * draws.sum(axis=2)).sum(axis=1)
    same = np.trace(draws, axis1=1, axis2=2)
    kappas = (same - chance)[chance < 1] / (1 - chance[chance < 1])
    tail = (1 - confidence) / 2
    low, high = np.quantile(kappas, [tail, 1 - tail])
    expected = float((counts.sum(axis=0) * counts.sum(axis=1)).sum() / n**2)
    wilson = [(share - expected) / (1 - expected) for share in (lower, upper)]
    return min(float(low), wilson[0]), max(float(high), wilson[1])
