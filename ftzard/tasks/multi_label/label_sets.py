"""The labels of a row as one text: `anger|joy` in sorted order, and `[]` for a row without any.

A table of rows keeps this text in its column `label`, so that rows are compared, counted and
corrected as those of any task.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from ftzard.errors import DataError, nearest

SEPARATOR = "|"
#: No label at all; an empty cell is a row that nobody has labeled.
NONE = "[]"


def join(names: Iterable[str]) -> str:
    """Return a set of labels as one text."""
    return SEPARATOR.join(sorted(set(names))) or NONE


def split(label: str) -> tuple[str, ...]:
    """Return the labels of a text that `join` made, in sorted order."""
    return () if label in (NONE, "") else tuple(label.split(SEPARATOR))


def names_in(labels: Iterable[str]) -> list[str]:
    """Return the different labels of many rows, sorted."""
    return sorted({name for label in set(labels) for name in split(label)})


def indicators(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Return bool (rows, classes): which row has which label.

    Raises:
        DataError: For a label that is none of the classes.
    """
    index = {str(name): i for i, name in enumerate(classes)}
    result = np.zeros((len(labels), len(classes)), dtype=bool)
    for row, label in enumerate(labels):
        for name in split(str(label)):
            if name not in index:
                raise DataError(
                    f"label '{name}' of row {row} is no known label{nearest(name, index)}")
            result[row, index[name]] = True
    return result


def from_indicators(chosen: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Return the texts of bool (rows, classes)."""
    return [join(name for name, has in zip(classes, row, strict=True) if has) for row in chosen]
