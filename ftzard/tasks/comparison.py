"""What comparisons of two models have in common, whatever their task."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import pandas as pd

from ftzard.core.text import cleaned_as
from ftzard.evaluation.metric_info import Measure
from ftzard.tasks.base import base_spec

if TYPE_CHECKING:
    from ftzard.reporting.html import Markup
    from ftzard.tasks.benchmark import Speed

Line = tuple[str, ...]


class ComparedModel(Protocol):
    """What a comparison needs of a model; see `registry.lookup.Files`."""

    name: str
    adapter: Path | None
    base: dict
    labels: list[str]
    cleaning: dict
    answering: dict


@dataclass(frozen=True, kw_only=True)
class Comparison(ABC):
    """Two models on the same rows.

    Attributes:
        names: as people call them.
        asked: as they were asked for.
        rows: {source, n, batches, rejected {reason: rows} and, of a file, learned, as
            `seen_rows.counted` has it}.
        scores: {score: {first, second, difference (second minus first)}}, each {value, lower,
            upper}.
        n: rows that were compared.
        confidence: of the intervals.
        speeds: of each model.
        disagreements: rows that they answer differently.
        caveat: a sentence on rows that either has learned, or nothing.
        own: the workspace's own metrics, {name: {first, second}}.
    """

    names: tuple[str, str]
    asked: tuple[str, str]
    rows: dict
    scores: dict[str, dict[str, dict[str, float]]]
    n: int
    confidence: float
    speeds: "tuple[Speed, Speed]"
    disagreements: pd.DataFrame
    caveat: str = ""
    own: dict[str, dict[str, float]] = field(default_factory=dict)

    #: Heading of the disagreements, and the columns of a row and of its label.
    disagreements_title: ClassVar[str]
    disagreement_columns: ClassVar[tuple[str, str]]

    @abstractmethod
    def measures(self) -> dict:
        """Return what the task measures, as plain values."""

    @abstractmethod
    def better(self) -> str:
        """Return in sentences whether one is better."""

    @abstractmethod
    def score_lines(self) -> list[Line]:
        """Return (score, of the first, of the second, difference) as texts."""

    def own_lines(self) -> list[Line]:
        """Return (metric, of the first, of the second, difference) as texts, of own metrics."""
        return [number_line(name, values["first"], values["second"], ".4g")
                for name, values in self.own.items()]

    @abstractmethod
    def disagreement_lines(self, most: int) -> list[Line]:
        """Return (row, label, what the first says, what the second says) as texts."""

    @abstractmethod
    def disagreements_summary(self) -> str:
        """Return in a sentence on how many rows they disagree, and which come first."""

    def class_lines(self) -> list[Line]:
        """Return (label, rows, score of the first, of the second) as texts, of classes."""
        return []

    def sections(self) -> "list[tuple[str, list[Markup]]]":
        """Return (heading, content) of what only this task shows on the page."""
        return []

    @property
    def anchor(self) -> str:
        """Return what the anchors of this comparison on a page begin with."""
        return re.sub(r"[^A-Za-z0-9]+", "-", self.asked[1]).strip("-").lower() or "model"

    def subtitle(self) -> str:
        """Return which rows were compared."""
        return f"{self.rows['n']:,} rows of {self.rows['source']}"

    def verdict(self) -> str:
        """Return in sentences whether one is better, and what it is worth if rows were learned."""
        return self.better() + self.caveat

    def to_dict(self, examples: int | None = None) -> dict:
        """Return it as plain values; examples: how many rows they disagree on, default all."""
        shown = self.disagreements if examples is None else self.disagreements.head(examples)
        return {
            "models": [{"name": name, "asked": asked, "speed": asdict(speed)} for
                       name, asked, speed in zip(self.names, self.asked, self.speeds, strict=True)],
            "rows": self.rows, "scores": self.scores, "n": self.n, "confidence": self.confidence,
            **self.measures(), "own_metrics": self.own,
            "disagreements": shown.to_dict("records"),
            "disagreements_in_all": len(self.disagreements),
        }


@dataclass(frozen=True, kw_only=True)
class ClassifierComparison(Comparison):
    """Two models that give labels, on the same rows.

    Attributes:
        first, second: Every score of the task's metrics.
    """

    first: dict
    second: dict

    disagreements_title = "Where they disagree"

    def lines_of(self, names: Mapping[str, str], measure: Measure, plain: Mapping[str, str]
                 ) -> list[Line]:
        """Return the lines of `score_lines`.

        Args:
            names: Scores with an interval, in the unit of the measure, and what they are called.
            plain: Scores without one.
        """
        return [*(score_line(name, self.scores[key], measure) for key, name in names.items()),
                *(number_line(name, self.first[key], self.second[key], ".3f")
                  for key, name in plain.items()),
                *self.own_lines()]

    def class_lines(self) -> list[Line]:
        """Return (label, rows, F1 of the first, of the second) as texts."""
        return [(label, f"{scores['support']:,}", f"{scores['f1']:.3f}",
                 f"{self.second['per_class'][label]['f1']:.3f}")
                for label, scores in self.first["per_class"].items()]


def score_line(name: str, score: Mapping[str, Mapping[str, float]], measure: Measure) -> Line:
    """Return (score, of the first, of the second, difference) as texts, each with its interval."""
    gap = score["difference"]
    return (name, *(
        f"{measure.value(side['value'])} ({measure.value(side['lower'], unit=False)}–"
        f"{measure.value(side['upper'], unit=False)})"
        for side in (score["first"], score["second"])),
        f"{100 * gap['value']:+.1f} ({100 * gap['lower']:+.1f} to "
        f"{100 * gap['upper']:+.1f})".replace("-", "−"))


def number_line(name: str, first: float, second: float, form: str) -> Line:
    """Return (score, of the first, of the second, difference) as texts; form: of a number."""
    return (name, f"{first:{form}}", f"{second:{form}}",
            f"{second - first:+{form}}".replace("-", "−"))


def interval(value: float, draws: np.ndarray, confidence: float) -> dict[str, float]:
    """Return a value with the interval that its values (resamples,) of a bootstrap give."""
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(draws, [tail, 1 - tail])
    return {"value": float(value), "lower": float(lower), "upper": float(upper)}


def predicted_logits(models: Sequence[ComparedModel], rows: pd.DataFrame, threads: int,
                     say: Callable[[str], object]
                     ) -> "tuple[tuple[np.ndarray, ...], tuple[Speed, ...]]":
    """Return both models' logits (rows, labels) of rows and their speeds, each in its process."""
    from ftzard.tasks.benchmark import Subject, measured

    logits, speeds = zip(*measured(
        [Subject(model.adapter, base_spec(model.base), {"labels": list(model.labels)})
         for model in models],
        [cleaned_as(rows["text"], model.cleaning) for model in models], threads=threads,
        on_start=lambda i: say(f"{models[i].name} answers {len(rows):,} rows")), strict=True)
    return logits, speeds


def description(source: str, rows: pd.DataFrame, rejected: Sequence[str] = ()) -> dict:
    """Return what rows are: source, n, batches, and how many of a file cannot be used, and why."""
    reasons = pd.Series(rejected, dtype=object).value_counts()
    return {"source": source, "n": len(rows),
            "batches": {str(b): int(n) for b, n in rows["batch"].value_counts(sort=False).items()},
            "rejected": {str(reason): int(n) for reason, n in reasons.items()}}
