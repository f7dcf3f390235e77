"""What comparisons of two models have in common, whatever their task."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import pandas as pd

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
        return [(name, f"{values['first']:.4g}", f"{values['second']:.4g}",
                 f"{values['second'] - values['first']:+.4g}".replace("-", "−"))
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


def description(source: str, rows: pd.DataFrame, rejected: Sequence[str] = ()) -> dict:
    """Return what rows are: source, n, batches, and how many of a file cannot be used, and why."""
    reasons = pd.Series(rejected, dtype=object).value_counts()
    return {"source": source, "n": len(rows),
            "batches": {str(b): int(n) for b, n in rows["batch"].value_counts(sort=False).items()},
            "rejected": {str(reason): int(n) for reason, n in reasons.items()}}
