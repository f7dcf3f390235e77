"""Whether a new batch still looks like what the champion was trained on.

Six statistics compare the batch with the reference, which are the test rows of the champion's own
data version: of the same deliveries as its training rows and on the same side of chance, but never
trained on, so that the champion is no surer of them than of new rows. Where answers are free texts
there are five: the shares of predicted classes are left out.

How large a statistic may be is not a table's word but measured: `draws` times, a batch of as many
rows as the new one and a reference of as many as the old one are drawn with replacement from the
reference, and all statistics are computed between the two. Each statistic is then counted in
standard deviations above its mean over these draws, and the *score* is the largest of them.
The upper threshold is the score that a share of `false_alarms` of the drawn batches passes: since
it is set on the largest, it holds for all of them together. The lower one is passed by a
share of `clearing`. Both draws are needed: a new batch differs from the reference by the chance of
either.

Hysteresis: an alarm is raised above the upper threshold and stays until a batch lies under the
lower one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ftzard.errors import DataError

STATISTICS = ("predicted classes", "confidence", "words", "characters", "tokens per character",
              "embedding")
LEAST_ROWS = 30
MOST_ROWS = 4000
_AT_ONCE = 100


@dataclass(frozen=True, eq=False)
class Sample:
    """What is known of n rows without their labels.

    probabilities: (n, k) of the classes, or (n, 1) where the model answers freely: its confidence
    in each answer (`of_answers`); words, characters, tokens: n counts of the text that was asked,
    tokens before cutting; embeddings: (n, d), the model's mean hidden state of each row; chosen:
    (n, k), 1 for the classes that a row was given where that may be any number, else None.
    """

    probabilities: np.ndarray
    words: np.ndarray
    characters: np.ndarray
    tokens: np.ndarray
    embeddings: np.ndarray
    chosen: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in self.columns():
            values = np.asarray(getattr(self, name), dtype=float)
            object.__setattr__(self, name, values)
            if len(values) != len(self.probabilities):
                raise DataError(f"{len(values)} {name} for {len(self.probabilities)} rows; "
                                "expected one of each per row.")
            if not np.isfinite(values).all():
                raise DataError(f"the {name} of {len(values)} rows hold values that are not "
                                "finite; predict the batch again.")
        if self.probabilities.ndim != 2 or self.embeddings.ndim != 2:
            raise DataError(f"probabilities {self.probabilities.shape} and embeddings "
                            f"{self.embeddings.shape}; expected (rows, classes) and (rows, width).")

    def __len__(self) -> int:
        return len(self.words)

    def columns(self) -> dict[str, np.ndarray]:
        """Return what it has of each row, by name."""
        return {name: values for name in self.__dataclass_fields__
                if (values := getattr(self, name)) is not None}

    @classmethod
    def of(cls, texts: Sequence[str], tokens: Sequence[int], probabilities: np.ndarray,
           embeddings: np.ndarray, chosen: np.ndarray | None = None) -> "Sample":
        """Return the sample of n texts; tokens: per text, before cutting."""
        words = [len(str(text).split()) for text in texts]
        return cls(probabilities, words, [len(str(text)) for text in texts], tokens, embeddings,
                   chosen)

    @classmethod
    def of_answers(cls, texts: Sequence[str], tokens: Sequence[int], confidence: Sequence[float],
                   embeddings: np.ndarray) -> "Sample":
        """Return the sample of n texts that were answered freely.

        tokens: of the prompts alone, since new rows have no wanted answers yet; confidence: between
        0 and 1, of the generated answers; embeddings: of the prompts alone.
        """
        column = np.asarray(confidence, dtype=float).reshape(-1, 1)
        if len(column) and not (column.min() >= 0 and column.max() <= 1):
            raise DataError(f"confidences from {column.min():.3g} to {column.max():.3g}; expected "
                            "numbers between 0 and 1.")
        return cls.of(texts, tokens, column, embeddings)

    @property
    def statistics(self) -> tuple[str, ...]:
        """The statistics that this kind of sample has: a free answer is no class."""
        free = self.probabilities.shape[1] == 1 and self.chosen is None
        return STATISTICS[1:] if free else STATISTICS

    def values(self, name: str) -> np.ndarray:
        """Return what a statistic looks at, one number per row (not for classes, embedding)."""
        if name == "confidence" and self.chosen is not None:
            return np.where(self.chosen > 0, self.probabilities, 1 - self.probabilities).min(axis=1)
        if name == "confidence":
            return self.probabilities.max(axis=1)
        if name == "tokens per character":
            return self.tokens / np.maximum(self.characters, 1)
        return getattr(self, name)

    def predicted(self) -> np.ndarray:
        """Return (n, k), 1 for the classes that a row was given: the likeliest, or those chosen."""
        if self.chosen is not None:
            return self.chosen
        return np.eye(self.probabilities.shape[1])[self.probabilities.argmax(axis=1)]

    def shares(self) -> np.ndarray:
        """Return the share of rows with each class, k numbers."""
        return self.predicted().sum(axis=0) / len(self)


@dataclass(frozen=True)
class Statistic:
    """One comparison of the batch with the reference.

    value: what was found; usual: its mean among batches of the same distribution; lower, upper:
    the thresholds, in its own units; beyond: whether it passes the upper one; batch, reference:
    the means on either side ({class: share} for the classes, None for the embedding).
    """

    name: str
    value: float
    usual: float
    lower: float
    upper: float
    beyond: bool
    batch: float | dict[str, float] | None
    reference: float | dict[str, float] | None


@dataclass(frozen=True)
class Drift:
    """What came of comparing a batch with what the champion was trained on.

    verdict: 'drift' (the score passes the upper threshold), 'unclear' (between the two), 'none'
    (under the lower), or 'cannot tell' (too few rows); alarm: whether the alarm stands after this
    batch, stood: whether it did before. score, upper, lower: in standard deviations of the
    calibration; rows, reference_rows: of either side; statistics: empty if it cannot tell.
    """

    verdict: str
    alarm: bool
    stood: bool
    score: float | None
    upper: float | None
    lower: float | None
    rows: int
    reference_rows: int
    statistics: tuple[Statistic, ...]
    settings: dict

    @property
    def raised_by(self) -> list[str]:
        """The names of the statistics that pass their upper threshold, the furthest first."""
        beyond = [s for s in self.statistics if s.beyond]
        return [s.name for s in sorted(beyond, key=lambda s: -_ratio(s))]

    def to_dict(self) -> dict:
        """Return everything as plain values that JSON can hold."""
        return {**asdict(self), "statistics": [asdict(s) for s in self.statistics],
                "raised_by": self.raised_by, "sentence": sentence(self)}

    def flat(self) -> dict[str, float]:
        """Return the numbers under names that tracking takes."""
        if self.score is None:
            return {"drift_alarm": float(self.alarm), "drift_rows": float(self.rows)}
        metrics = {"drift_alarm": self.alarm, "drift_score": self.score, "drift_upper": self.upper,
                 "drift_lower": self.lower, "drift_rows": self.rows}
        for statistic in self.statistics:
            key = "drift_" + statistic.name.replace(" ", "_")
            metrics |= {key: statistic.value, f"{key}_upper": statistic.upper}
        return {key: float(value) for key, value in metrics.items()}


def compare(
    batch: Sample,
    reference: "Sample | Ruler",
    classes: Sequence[str],
    *,
    false_alarms: float = 0.01,
    clearing: float = 0.1,
    draws: int = 2000,
    seed: int = 0,
    stood: bool = False,
) -> Drift:
    """Compare a batch with the reference; see the module's text for how the thresholds come about.

    classes: names of the columns of the probabilities, () for free answers; false_alarms,
    clearing: shares of batches of the same distribution that pass the upper and the lower
    threshold, 0 < false_alarms < clearing < 1; stood: whether an alarm stood before. At most 4,000
    rows of either side are looked at, drawn by `seed`. With fewer than 30 rows on a side it cannot
    tell, and the alarm stays what it was. reference: a sample, or the ruler of one, which spares
    many batches of one size the draws. Raises DataError for samples of different classes or widths.
    """
    ruler = reference if isinstance(reference, Ruler) else Ruler(reference, seed)
    reference = ruler.reference
    _check(batch, reference, classes, false_alarms, clearing, draws)
    settings = {"false_alarms": false_alarms, "clearing": clearing, "draws": draws, "seed": seed}
    if min(len(batch), len(reference)) < LEAST_ROWS:
        return Drift("cannot tell", stood, stood, None, None, None, len(batch), len(reference), (),
                     settings)
    batch = fewer(batch, np.random.default_rng(seed))
    distances = ruler.measure(batch)
    drawn = ruler.drawn(len(batch), draws, seed)
    usual = drawn.mean(axis=0)
    # A statistic that never varies among the draws may still differ by a row or so.
    names = ruler.names
    row = np.where(np.array(names) == "embedding", 1e-9, 1 / min(len(batch), len(reference)))
    spread = np.maximum(drawn.std(axis=0), row)
    lower, upper = np.quantile(((drawn - usual) / spread).max(axis=1),
                               [1 - clearing, 1 - false_alarms])
    scores = (distances - usual) / spread
    beyond = scores > upper
    verdict = "drift" if beyond.any() else "none" if scores.max() <= lower else "unclear"
    means = [(_mean(batch, name, classes), _mean(reference, name, classes)) for name in names]
    return Drift(
        verdict=verdict,
        alarm=bool(verdict == "drift" or (stood and verdict != "none")),
        stood=stood,
        score=float(scores.max()),
        upper=float(upper), lower=float(lower),
        rows=len(batch), reference_rows=len(reference),
        statistics=tuple(
            Statistic(name, float(distances[i]), float(usual[i]),
                      float(usual[i] + lower * spread[i]), float(usual[i] + upper * spread[i]),
                      bool(beyond[i]), *means[i])
            for i, name in enumerate(names)),
        settings=settings)


def sentence(drift: Drift) -> str:
    """Say in one sentence what was found and what became of the alarm."""
    if drift.verdict == "cannot tell":
        return (f"Drift cannot be told from {drift.rows:,} rows against {drift.reference_rows:,}; "
                f"{LEAST_ROWS} on either side are needed.")
    if drift.verdict == "drift":
        worst = ", ".join(_sentence(s) for s in drift.statistics if s.beyond)
        what = "The alarm stays" if drift.stood else "Alarm"
        return f"{what}: the batch differs from what the champion was trained on in {worst}."
    if not drift.stood:
        return "No drift: the batch looks like what the champion was trained on."
    if drift.alarm:
        return ("The alarm stays: the batch is under the upper threshold, but not yet under the "
                "lower one.")
    return "The alarm is cleared: the batch looks like what the champion was trained on."


class Ruler:
    """Measures a batch, or what is drawn from the reference, against the reference.

    Numbers are compared by the largest distance of their two distribution functions (Kolmogorov
    and Smirnov), class shares by half the sum of their differences, embeddings by the distance of
    their means in standard deviations of each dimension. A drawn batch is how often each row of
    the reference was drawn, so that thousands of draws are a few products of matrices.
    """

    def __init__(self, reference: Sample, seed: int = 0):
        reference = fewer(reference, np.random.default_rng(seed))
        self.reference = reference
        self._drawn: dict[tuple[int, int, int], np.ndarray] = {}
        self.names = reference.statistics
        self.numbers = [n for n in self.names if n not in ("predicted classes", "embedding")]
        self.order, self.last, self.edges = {}, {}, {}
        for name in self.numbers:
            values = reference.values(name)
            order = np.argsort(values, kind="stable")
            ordered = values[order]
            self.order[name] = order
            self.last[name] = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
            self.edges[name] = ordered[self.last[name]]
        self.chosen = reference.predicted().astype(np.float32)
        spread = reference.embeddings.std(axis=0)
        self.varies = spread > 1e-12
        self.centre = reference.embeddings.mean(axis=0)
        self.scale = np.where(self.varies, spread, 1.0)
        self.embedded = self._standard(reference.embeddings).astype(np.float32)

    def _standard(self, embeddings: np.ndarray) -> np.ndarray:
        return ((embeddings - self.centre) / self.scale)[:, self.varies]

    def measure(self, batch: Sample) -> np.ndarray:
        """Return the statistics of a batch against the whole reference."""
        distances = {
            "predicted classes": abs(batch.shares() - self.chosen.mean(axis=0)).sum() / 2,
            "embedding": _length(self._standard(batch.embeddings).mean(axis=0)[None]
                                 - self.embedded.mean(axis=0))[0]}
        for name in self.numbers:
            values, edges = np.sort(batch.values(name)), self.edges[name]
            ours = [np.searchsorted(values, edges, side) / len(values)
                    for side in ("right", "left")]
            theirs = (self.last[name] + 1) / len(self.reference)
            distances[name] = max(abs(ours[0] - theirs).max(),
                              abs(ours[1] - np.append(0.0, theirs[:-1])).max())
        return np.array([distances[name] for name in self.names])

    def drawn(self, rows: int, draws: int, seed: int) -> np.ndarray:
        """Return (draws, statistics): batches of drawn rows against drawn references."""
        key = rows, draws, seed
        if key not in self._drawn:
            rng = np.random.default_rng(seed)
            self._drawn[key] = np.concatenate([
                self._some_drawn(min(_AT_ONCE, draws - start), rows, rng)
                for start in range(0, draws, _AT_ONCE)])
        return self._drawn[key]

    def _some_drawn(self, draws: int, rows: int, rng: np.random.Generator) -> np.ndarray:
        m = len(self.reference)
        batch, other = (_counted(rng, draws, size, m) / size for size in (rows, m))
        difference = (batch - other).astype(np.float32)
        distances = np.zeros((draws, len(self.names)))
        for i, name in enumerate(self.names):
            if name in self.numbers:
                running = np.cumsum(difference[:, self.order[name]], axis=1)
                distances[:, i] = abs(running[:, self.last[name]]).max(axis=1)
            elif name == "predicted classes":
                distances[:, i] = abs(difference @ self.chosen).sum(axis=1) / 2
            else:
                distances[:, i] = _length(difference @ self.embedded)
        return distances


def _counted(rng: np.random.Generator, draws: int, size: int, m: int) -> np.ndarray:
    """Return (draws, m): how often each of m rows is among `size` drawn with replacement."""
    drawn = rng.integers(0, m, (draws, size), dtype=np.int32) + m * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * m).reshape(draws, m)


def _length(differences: np.ndarray) -> np.ndarray:
    """Return the root mean square over the dimensions, one number per line."""
    width = max(differences.shape[1], 1)
    return np.sqrt((differences ** 2).sum(axis=1) / width)


def _check(batch: Sample, reference: Sample, classes: Sequence[str], false_alarms: float,
           clearing: float, draws: int) -> None:
    for what in ("probabilities", "embeddings"):
        ours, theirs = getattr(batch, what).shape[1], getattr(reference, what).shape[1]
        if len(batch) and len(reference) and ours != theirs:
            raise DataError(f"the batch has {ours} columns of {what}, the reference {theirs}; "
                            "both must come from the same model.")
    free = reference.probabilities.shape[1] == 1 and not len(classes)
    if not free and len(classes) != reference.probabilities.shape[1]:
        raise DataError(f"{len(classes)} classes {list(classes)}, but probabilities of "
                        f"{reference.probabilities.shape[1]}.")
    if not 0 < false_alarms < clearing < 1 or draws * false_alarms < 5:
        raise DataError(
            f"false_alarms={false_alarms}, clearing={clearing}, draws={draws}; expected 0 < "
            "false_alarms < clearing < 1 and at least 5 / false_alarms draws.")


def fewer(sample: Sample, rng: np.random.Generator) -> Sample:
    """Return the sample, or 4,000 of its rows drawn by chance if it has more."""
    if len(sample) <= MOST_ROWS:
        return sample
    rows = np.sort(rng.permutation(len(sample))[:MOST_ROWS])
    return Sample(**{name: values[rows] for name, values in sample.columns().items()})


def _mean(sample: Sample, name: str, classes: Sequence[str]) -> float | dict[str, float] | None:
    if name == "embedding":
        return None
    if name == "predicted classes":
        return {str(c): float(s) for c, s in zip(classes, sample.shares(), strict=True)}
    return float(sample.values(name).mean())


def _sentence(statistic: Statistic) -> str:
    name, batch, reference = statistic.name, statistic.batch, statistic.reference
    if isinstance(batch, Mapping):
        label = max(batch, key=lambda c: abs(batch[c] - reference[c]))
        return (f"{name} ({100 * batch[label]:.0f} % '{label}' instead of "
                f"{100 * reference[label]:.0f} %)")
    if batch is None:
        return f"{name} ({statistic.value:.2f}, usually {statistic.usual:.2f})"
    return f"{name} (mean {batch:.3g} instead of {reference:.3g})"


def _ratio(statistic: Statistic) -> float:
    return (statistic.value - statistic.usual) / max(statistic.upper - statistic.usual, 1e-12)
