"""Rows that were labeled before a label existed: nobody was asked whether they are of it.

Such a row says which of the labels it was asked about is right, and nothing of the later ones. So
it is learned and scored among the former alone: the logits of the others count as minus infinity,
which takes them out of softmax, loss and answer.
"""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

#: Of a table: the labels that a row was not asked about, as a JSON list; '' where there are none.
COLUMN = "not_asked"


def marked(table: pd.DataFrame, arrived: pd.DataFrame, labels: Mapping[str, str] | None
           ) -> pd.DataFrame:
    """Return the rows of all batches with those marked that were not asked about a new label.

    A label is new if `data.labels` names it, rows that arrive now have it, and no row that was
    there before. Rows that arrive, for the first time or once more, are asked about all of them.

    Args:
        table: the rows of all batches.
        arrived: those of them that arrive now.
        labels: data.labels, raw value -> name; None names no label.
    """
    before = ~table["id"].isin(arrived["id"])
    there = set(table.loc[before, "label"])
    new = {*arrived["label"]} & {*(labels or {}).values()} - there
    if not new or not there:
        return table
    marks = table[COLUMN] if COLUMN in table else pd.Series("", table.index, dtype="str")
    more = marks.map(lambda mark: json.dumps(sorted({*_labels(mark), *new}), ensure_ascii=False))
    return table.assign(**{COLUMN: marks.where(~before, more).astype("str")})


def mask(rows: pd.DataFrame, labels: Sequence[str]) -> np.ndarray | None:
    """Return which labels each row was asked about, bool (rows, labels); None where all were."""
    if COLUMN not in rows or not (rows[COLUMN].fillna("") != "").any():
        return None
    marks, asked = rows[COLUMN].fillna(""), np.ones((len(rows), len(labels)), dtype=bool)
    for mark in set(marks) - {""}:
        asked[np.ix_((marks == mark).to_numpy(), np.isin(labels, [*_labels(mark)]))] = False
    asked[rows["label"].to_numpy()[:, None] == np.array(labels, dtype=object)] = True
    return asked


def among(logits: np.ndarray, asked: np.ndarray | None) -> np.ndarray:
    """Return logits (rows, labels) with minus infinity where a row was not asked about a label."""
    return logits if asked is None else np.where(asked, logits, -np.inf).astype(logits.dtype)


def shares(probabilities: np.ndarray, asked: np.ndarray | None) -> np.ndarray:
    """Return probabilities (rows, labels) among the labels that each row was asked about."""
    if asked is None:
        return probabilities
    left = np.where(asked, probabilities, 0.0)
    return left / left.sum(axis=1, keepdims=True)


def _labels(mark: str) -> list[str]:
    return json.loads(mark) if mark else []
