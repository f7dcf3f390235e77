"""What each label of a model of several labels got right and wrong: cells that lead to their rows,
and the threshold of its probability."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ftzard.core.escaping import visible
from ftzard.reporting.confusion import (
    LONGEST_TEXT,
    RIGHT_ROWS_OF_A_CELL,
    ROWS_IN_ALL,
    ROWS_OF_A_CELL,
    STEPS,
)
from ftzard.reporting.html import Markup, digits, percent, render, shortened

#: The heads of the cells' columns.
RIGHT, MISSED, WRONG, NEITHER = "given and right", "missed", "given wrongly", "neither"


@dataclass(frozen=True)
class TestedLabels:
    """The answers of a model of k labels to n test rows.

    labels: k names; having, given: (n, k) truth values; probabilities: (n, k) in [0, 1];
    thresholds: k, from which a label is given; texts, named, ids: of the rows, `named` with all
    labels that a row has.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    labels: Sequence[str]
    having: np.ndarray
    given: np.ndarray
    probabilities: np.ndarray
    thresholds: Sequence[float]
    texts: Sequence[str]
    named: Sequence[str]
    ids: Sequence[str]


@dataclass(frozen=True)
class LabelCell:
    """One cell: share of the rows that have the label; anchor: of its rows, if they are shown."""

    name: str
    right: bool
    n: int
    share: float
    anchor: str | None
    rows: Sequence[tuple[Markup, str, Markup, Markup]]


@dataclass(frozen=True)
class LabelLine:
    """A label and its cells."""

    label: str
    cells: Sequence[LabelCell]


def lines(tested: TestedLabels, prefix: str = "label") -> list[LabelLine]:
    """Return the cells of each label with some of their rows.

    Of wrong answers the surest rows come first, of right ones the least sure; rows that neither
    have a label nor were given it are only counted. prefix: of the anchors, unique on a page.
    """
    most = min(ROWS_OF_A_CELL, max(3, ROWS_IN_ALL // max(2 * len(tested.labels), 1)))
    listed = []
    for k, label in enumerate(tested.labels):
        having, given = tested.having[:, k].astype(bool), tested.given[:, k].astype(bool)
        chance, total = tested.probabilities[:, k], max(int(having.sum()), 1)
        cells = []
        for number, (name, of_cell, right, order, limit) in enumerate((
                (RIGHT, having & given, True, chance, min(RIGHT_ROWS_OF_A_CELL, most)),
                (MISSED, having & ~given, False, chance, most),
                (WRONG, ~having & given, False, -chance, most),
                (NEITHER, ~having & ~given, True, chance, 0))):
            rows = np.flatnonzero(of_cell)
            shown = rows[np.argsort(order[rows], kind="stable")][:limit]
            cells.append(LabelCell(
                name, right, len(rows), len(rows) / total if name in (RIGHT, MISSED) else 0.0,
                f"{prefix}-{k}-{number}" if len(shown) else None,
                [(shortened(tested.texts[n], LONGEST_TEXT), percent(chance[n]),
                  shortened(tested.named[n], LONGEST_TEXT), digits(tested.ids[n]))
                 for n in shown]))
        listed.append(LabelLine(str(label), cells))
    return listed


def matrix(labels: Sequence[LabelLine]) -> Markup:
    """Return the table of the labels' cells, which lead to `label_rows`."""
    return render("label_confusion", heads=(RIGHT, MISSED, WRONG, NEITHER), lines=labels)


def label_rows(labels: Sequence[LabelLine]) -> Markup:
    """Return the rows behind the cells, folded."""
    return render("label_rows", lines=labels)


def threshold(tested: TestedLabels) -> Markup:
    """Return a slider that shows precision and recall of a label for each threshold."""
    steps = np.minimum((tested.probabilities * STEPS + 1e-9).astype(int), STEPS)
    labels = [{
        "name": visible(str(label)),
        "at": min(int(np.ceil(tested.thresholds[k] * STEPS - 1e-9)), STEPS),
        "having": _counted(steps[:, k], tested.having[:, k]),
        "lacking": _counted(steps[:, k], ~tested.having[:, k].astype(bool))}
        for k, label in enumerate(tested.labels)]
    return render("label_threshold", labels=json.dumps(labels), steps=STEPS)


def _counted(steps: np.ndarray, rows: np.ndarray) -> list[int]:
    """Return the number of rows at each step."""
    return np.bincount(steps[rows.astype(bool)], minlength=STEPS + 1).tolist()
