"""What the page of two classifiers shows beside their scores: classes, confusion, calibration."""

from typing import TYPE_CHECKING

import numpy as np

from ftzard.reporting import confusion, plots
from ftzard.reporting.html import Markup, joined, opening, percent, picture, signed, table, tag

if TYPE_CHECKING:
    from ftzard.tasks.classification.comparison import LabelComparison

#: A confusion matrix of so many classes has room beside another one.
NARROW = 4


def sections(comparison: "LabelComparison") -> list[tuple[str, list[Markup]]]:
    """Return (heading, content) of the sections that only classifiers have."""
    return [("Differences by class", classes(comparison)),
            ("Confusion matrices", matrices(comparison)),
            ("Calibration", calibration(comparison))]


def classes(comparison: "LabelComparison") -> list[Markup]:
    """Return how far recall differs in each class, with intervals."""
    first, second = comparison.names
    rows, strong = [], []
    for number, (label, gap) in enumerate(comparison.class_differences.items()):
        one, two = (side["per_class"][label] for side in (comparison.first, comparison.second))
        rows.append((label, f"{one['support']:,}", percent(one["recall"]), percent(two["recall"]),
                     signed(gap["value"]), f"{signed(gap['lower'])} to {signed(gap['upper'])}"))
        if gap["lower"] > 0 or gap["upper"] < 0:
            strong.append(number)
    return [
        opening("Recall: the share of a class's rows that a model finds. Lines in bold differ by "
                f"more than chance, one by one, at {percent(comparison.confidence, 0)}."),
        table(("class", "rows", first, second, "difference in points", "interval"), rows,
              (None, "number", "number", "number", "number", "number"), strong=strong)]


def matrices(comparison: "LabelComparison") -> list[Markup]:
    """Return both confusion matrices, and the rows behind their cells."""
    parts, behind = [], []
    for number, (name, tested) in enumerate(zip(comparison.names, comparison.tested, strict=True)):
        lines = confusion.cells(tested, f"{comparison.anchor}-cell-{number}")
        parts.append(tag("div", tag("h3", name), confusion.matrix(lines)))
        behind += [tag("h3", f"Rows of {name}", class_="gap"), confusion.cell_rows(lines)]
    wide = len(comparison.tested[0].classes) > NARROW
    return [opening("True classes down, predicted ones across; percentages are of the line. A "
                    "number leads to rows of its cell."),
            tag("div", *parts, class_=None if wide else "two"), *behind]


def calibration(comparison: "LabelComparison") -> list[Markup]:
    """Return both reliability diagrams: whether a confidence is the share that is right."""
    drawn = []
    for name, tested, scores in zip(comparison.names, comparison.tested,
                                    (comparison.first, comparison.second), strict=True):
        right = tested.predicted == tested.true
        drawn.append(picture(
            name, f"Mean confidence {percent(float(np.mean(tested.confidence)))}, "
            f"{percent(float(np.mean(right)))} right; expected calibration error "
            f"{100 * scores['ece']:.1f} points, before temperature scaling.",
            plots.svg(plots.reliability_diagram(comparison.bins(tested)))))
    return [joined([tag("div", *drawn, class_="two")])]
