"""The confusion matrix of a page: each cell leads to rows of it; and the threshold of confidence.

A page stays small however many rows were tested: each cell has some of its rows, and the threshold
counts rows by steps of confidence.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ftzard.reporting.html import Markup, digits, percent, render, shortened

#: Rows that all cells of wrong answers share, and what one cell has at most.
ROWS_IN_ALL, ROWS_OF_A_CELL, RIGHT_ROWS_OF_A_CELL = 2_000, 150, 15
LONGEST_TEXT = 240
#: Steps of confidence of a threshold.
STEPS = 200


@dataclass(frozen=True)
class Tested:
    """The answers of a model to n test rows.

    Attributes:
        classes: K names.
        true, predicted: N indices of classes.
        confidence: N numbers in [0, 1].
        texts, ids: Of the rows.
    """

    classes: Sequence[str]
    true: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    texts: Sequence[str]
    ids: Sequence[str]

    def counts(self) -> np.ndarray:
        """Return (k, k) numbers of rows: true classes down, predicted ones across."""
        k = len(self.classes)
        cells = np.bincount(self.true * k + self.predicted, minlength=k * k)
        return cells.reshape(k, k)


@dataclass(frozen=True)
class Cell:
    """One cell of a confusion matrix; anchor: of its rows, if it has any."""

    true: str
    predicted: str
    right: bool
    n: int
    share: float
    anchor: str | None
    rows: Sequence[tuple[Markup, str, Markup]]


def cells(tested: Tested, prefix: str = "cell") -> list[list[Cell]]:
    """Return the cells of a confusion matrix, line by line, with some rows of each.

    Of wrong answers the surest rows come first, of right ones the least sure. prefix: of the
    anchors, which are unique on a page.
    """
    counts = tested.counts()
    wrong = int((counts > 0).sum() - (np.diag(counts) > 0).sum())
    most = min(ROWS_OF_A_CELL, max(3, ROWS_IN_ALL // max(wrong, 1)))
    most_right = min(RIGHT_ROWS_OF_A_CELL, most)
    lines = []
    for i, true in enumerate(tested.classes):
        line, total = [], max(int(counts[i].sum()), 1)
        for j, predicted in enumerate(tested.classes):
            of_cell = np.flatnonzero((tested.true == i) & (tested.predicted == j))
            sure = tested.confidence[of_cell]
            order = np.argsort(sure if i == j else -sure, kind="stable")
            shown = of_cell[order][:most_right if i == j else most]
            line.append(Cell(
                str(true), str(predicted), i == j, len(of_cell), len(of_cell) / total,
                f"{prefix}-{i}-{j}" if len(shown) else None,
                [(shortened(tested.texts[n], LONGEST_TEXT), percent(tested.confidence[n]),
                  digits(tested.ids[n])) for n in shown]))
        lines.append(line)
    return lines


def matrix(lines: Sequence[Sequence[Cell]]) -> Markup:
    """Return the table of a confusion matrix; its cells lead to `cell_rows`."""
    return render("confusion", classes=[cell.predicted for cell in lines[0]], lines=[
        {"name": line[0].true, "cells": line, "n": sum(cell.n for cell in line)}
        for line in lines])


def cell_rows(lines: Sequence[Sequence[Cell]]) -> Markup:
    """Return the rows behind each cell, folded: the mistakes with most rows first."""
    listed = sorted((cell for line in lines for cell in line if cell.anchor),
                    key=lambda cell: (cell.right, -cell.n))
    return render("cell_rows", cells=listed)


def threshold(confidence: np.ndarray, right: np.ndarray, start: float, note: str = "") -> Markup:
    """Return a slider that shows coverage and accuracy for each threshold of confidence.

    Args:
        confidence: n numbers in [0, 1].
        right: n truth values.
        start: where the slider stands at first.
        note: what the confidence is, in a part of a sentence.
    """
    step = np.minimum((np.asarray(confidence) * STEPS).astype(int), STEPS)
    rows = np.bincount(step, minlength=STEPS + 1)
    hits = np.bincount(step[np.asarray(right, dtype=bool)], minlength=STEPS + 1)
    return render("threshold", rows=json.dumps(rows.tolist()), right=json.dumps(hits.tolist()),
                  steps=STEPS, start=round(start * STEPS), note=note)
