"""What a delivery has come to: which of its rows are in the table, and what they stand beside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from ftzard.data.cleaning import CONTRADICTS
from ftzard.data.line_counts import LineCounts
from ftzard.errors import DataError


@dataclass(frozen=True)
class Arrival:
    """What came of a delivery.

    Attributes:
        read, usable, rejected: Its rows, those of them that are in the table, and the others.
        in_all: Rows of the table.
        replaced: Rows that an earlier delivery of the same batch had there, and that are gone.
        beside: Rows of other batches.
        contradicting: Rows that left since an earlier batch has their text under another label.
        answered_twice: Texts with free answers that it has and other batches too, each with
            another answer.
        rows_by_source: Its rows in the table, if they say which.
        weights: What a mix asked for, by source, else empty.
        lines: How the lines of its file became rows, None where it has none.
    """

    read: int
    usable: int
    rejected: int
    in_all: int
    replaced: int
    beside: int
    contradicting: int
    answered_twice: int
    rows_by_source: dict[str, int]
    weights: dict[str, float]
    lines: LineCounts | None = None

    @property
    def numbers(self) -> dict[str, int]:
        """The counts, under names that tracking takes."""
        return {"rows_read": self.read, "rows_usable": self.usable, "rows_rejected": self.rejected,
                "rows_in_all": self.in_all, "rows_replaced": self.replaced,
                "rows_contradicting_earlier": self.contradicting,
                "texts_answered_twice": self.answered_twice,
                **(self.lines.numbers if self.lines is not None else {})}

    def __str__(self) -> str:
        clauses = [f"{self.usable:,} of {self.read:,} rows are in the table"]
        if self.replaced:
            clauses.append(f"{self.replaced:,} rows of an earlier delivery of this batch are gone, "
                           "replaced by it")
        if self.beside:
            clauses.append(f"{self.beside:,} rows of other deliveries stay")
        if self.contradicting:
            clauses.append(f"{self.contradicting:,} left because an earlier delivery has their "
                           "text with another label, which stays")
        if self.answered_twice:
            clauses.append(f"{self.answered_twice:,} instructions now have two different answers "
                           "or more, of this delivery and of others")
        if self.weights:
            asked, there = sum(self.weights.values()), max(1, sum(self.rows_by_source.values()))
            clauses.append("of the mix there are " + ", ".join(
                f"{self.rows_by_source.get(name, 0):,} rows of {name} "
                f"({self.rows_by_source.get(name, 0) / there:.1%}, asked for {weight / asked:.1%})"
                for name, weight in self.weights.items()))
        if self.lines is not None:
            clauses.append(str(self.lines))
        return "; ".join(clauses)


def arrived(earlier: pd.DataFrame | None, table: pd.DataFrame, cleaned: pd.DataFrame,
            rejected: pd.DataFrame, repeated: pd.DataFrame, sources: Sequence[dict] = (),
            lines: LineCounts | None = None,
            keys: Callable[[pd.DataFrame], pd.Series] | None = None) -> Arrival:
    """Return what came of a delivery.

    Args:
        earlier: The table before it.
        table, repeated: What `cleaning.append` returned.
        cleaned, rejected: All rows of the delivery.
        sources: What it is made of.
        lines: How its file's lines became rows.
        keys: What rows with the same text share, where a text may have several labels.

    Raises:
        DataError: For a source of a mix of which no row is left: its weight would have no effect.
    """
    own = table["id"].isin(cleaned["id"])
    here, others = table[own], table[~own]
    weights = {s["name"]: s["weight"] for s in sources if s["weight"] is not None}
    rows_by_source = here["source"].value_counts() if "source" in here else pd.Series(dtype="int64")
    rows_by_source = {str(name): int(count) for name, count in rows_by_source.items() if name}
    for name in weights:
        if not rows_by_source.get(name):
            raise DataError(
                f"data.mix: all {int((cleaned['source'] == name).sum()):,} rows that were drawn of "
                f"'{name}' stand in the table already, from earlier deliveries, so that its weight "
                "would have no effect. Take it out of data.mix: those rows are trained on anyway.")
    twice = 0
    if keys is not None:
        twice = keys(here).drop_duplicates().isin(set(keys(others))).sum()
    gone = 0
    if earlier is not None:
        gone = len(earlier) - int(earlier["id"].isin(table["id"]).sum())
    return Arrival(
        read=len(cleaned) + len(rejected), usable=len(here),
        rejected=len(cleaned) + len(rejected) - len(here), in_all=len(table), replaced=gone,
        beside=len(others), contradicting=int((repeated["reason"] == CONTRADICTS).sum()),
        answered_twice=int(twice), rows_by_source=rows_by_source, weights=weights, lines=lines)
