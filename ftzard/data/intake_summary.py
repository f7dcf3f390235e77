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

    read, usable, rejected: its rows, those of them that are in the table, and the others; in_all:
    rows of the table; replaced: rows that an earlier delivery of the same batch had there, and that
    are gone; beside: rows of other batches; contradicting: rows that left since an earlier batch
    has their text under another label; answered_twice: texts with free answers that it has and
    other batches too, each with another answer; kept: its rows in the table by source, if they say
    which; weights: what a mix asked for, by source, else empty; lines: how the lines of its file
    became rows, None where it has none.
    """

    read: int
    usable: int
    rejected: int
    in_all: int
    replaced: int
    beside: int
    contradicting: int
    answered_twice: int
    kept: dict[str, int]
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
        said = [f"{self.usable:,} of {self.read:,} rows are in the table"]
        if self.replaced:
            said.append(f"{self.replaced:,} rows of an earlier delivery of this batch are gone, "
                        "replaced by it")
        if self.beside:
            said.append(f"{self.beside:,} rows of other deliveries stay")
        if self.contradicting:
            said.append(f"{self.contradicting:,} left because an earlier delivery has their text "
                        "with another label, which stays")
        if self.answered_twice:
            said.append(f"{self.answered_twice:,} instructions now have two different answers or "
                        "more, of this delivery and of others")
        if self.weights:
            asked, there = sum(self.weights.values()), max(1, sum(self.kept.values()))
            said.append("of the mix there are " + ", ".join(
                f"{self.kept.get(name, 0):,} rows of {name} "
                f"({self.kept.get(name, 0) / there:.1%}, asked for {weight / asked:.1%})"
                for name, weight in self.weights.items()))
        if self.lines is not None:
            said.append(str(self.lines))
        return "; ".join(said)


def arrived(earlier: pd.DataFrame | None, table: pd.DataFrame, cleaned: pd.DataFrame,
            rejected: pd.DataFrame, repeated: pd.DataFrame, sources: Sequence[dict] = (),
            lines: LineCounts | None = None,
            keys: Callable[[pd.DataFrame], pd.Series] | None = None) -> Arrival:
    """Return what came of a delivery.

    earlier: the table before it; table, repeated: what `cleaning.append` returned; cleaned,
    rejected: all rows of the delivery; sources: what it is made of; lines: how its file's lines
    became rows; keys: what rows with the same text share, where a text may have several labels.
    Raises DataError for a source of a mix of which no row is left: its weight would
    have no effect.
    """
    own = table["id"].isin(cleaned["id"])
    here, others = table[own], table[~own]
    weights = {s["name"]: s["weight"] for s in sources if s["weight"] is not None}
    kept = here["source"].value_counts() if "source" in here else pd.Series(dtype="int64")
    kept = {str(name): int(count) for name, count in kept.items() if name}
    for name in weights:
        if not kept.get(name):
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
        answered_twice=int(twice), kept=kept, weights=weights, lines=lines)
