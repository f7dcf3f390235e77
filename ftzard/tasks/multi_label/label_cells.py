"""The labels of a row as files and people write them.

A cell may be a list (of JSON, of Python, of Parquet), or labels with a separator between them.
"""

import ast
import json
from collections.abc import Callable, Collection, Iterable, Mapping

import pandas as pd

from ftzard.data.identity import FIRST, canonical_labels, label_list, label_map, tidy
from ftzard.errors import DataError, nearest
from ftzard.tasks.multi_label.label_sets import NONE, SEPARATOR, join

#: What may stand between labels in a file: of these, the first that a cell has.
SEPARATORS = (SEPARATOR, ";", ",", "\n", "；", "，", "、", "،", "؛")


def parts_of(cell: str, is_name: Callable[[str], bool] = lambda cell: False) -> list[str]:
    """Return the labels in a cell as they are written: of a list, or between separators.

    Args:
        cell: a filled cell of a file, or what a person typed.
        is_name: whether a text is one label, whatever stands in it.
    """
    cell = cell.strip()
    if is_name(cell):
        return [cell]
    listed = _list_in(cell)
    if listed is not None:
        return listed
    separator = next((mark for mark in SEPARATORS if mark in cell), None)
    parts = [cell] if separator is None else cell.split(separator)
    return [part.strip() for part in parts if part.strip()]


def _list_in(cell: str) -> list[str] | None:
    """Return the items of a cell that is written as a list, a tuple or a set, or None."""
    if cell[:1] not in ("[", "(", "{") or cell[-1:] not in ("]", ")", "}"):
        return None
    if not cell[1:-1].strip():
        return []
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, list | tuple | set):
            return [str(item) for item in value if item is not None and str(item).strip()]
        return None
    return None


def read(cells: pd.Series, labels: Mapping | None = None, identity: int = FIRST
         ) -> tuple[pd.Series, pd.Series]:
    """Return (labels of each row as one text, what is unknown in each).

    The first is '' where a cell is empty, the second '' where all is known.

    Args:
        cells: of the label column, as in the file.
        labels: raw value -> name, as `data.labels` has it; None takes the values as names.
        identity: version of the rules by which names are the same.

    Raises:
        DataError: For labels that might be meant as one, or that hold the separator.
    """
    names = label_map(labels, identity) or {}
    filled = cells.fillna("").astype("str")
    unique = [cell for cell in filled.unique() if cell.strip()]
    tidied = dict(zip(unique, tidy(unique).to_pylist(), strict=True))
    parts = {cell: parts_of(cell, lambda _, text=text: text in names)
             for cell, text in tidied.items()}
    written = filled[filled.isin(unique)].map(parts).explode().dropna().astype("str")
    meant = canonical_labels(written, labels) if len(written) else written
    name_of = dict(zip(written, meant, strict=True))
    _refuse_separator(name for name in set(name_of.values()) if isinstance(name, str))
    known = label_list(labels, identity)
    result, unknown = {}, {}
    for cell, own in parts.items():
        missing = [part for part in own if not isinstance(name_of[part], str)]
        result[cell] = "" if missing else join(name_of[part] for part in own)
        if missing:
            unknown[cell] = f"unknown label '{_short(missing[0])}'{nearest(missing[0], known)}"
    return (filled.map(lambda cell: result.get(cell, "")).astype("str"),
            filled.map(lambda cell: unknown.get(cell, "")).astype("str"))


def canonical(answer: str, labels: Collection[str]) -> str | None:
    """Return the text of the labels that a person typed, or None if one of them is unknown.

    Case does not count where the labels differ in more than that.
    """
    folded = {name.casefold(): name for name in labels}
    by = folded if len(folded) == len(set(labels)) else {name: name for name in labels}
    form = str.casefold if by is folded else str

    def name(part: str) -> str | None:
        tidied = tidy([part])[0].as_py()
        return by.get(form(tidied)) or by.get(form(tidied.removesuffix(".0")))

    names = [name(part) for part in parts_of(answer, lambda cell: name(cell) is not None)]
    return None if None in names else join(names)


def unknown_in(answer: str, labels: Collection[str]) -> str:
    """Return a clause on the first unknown label that a person typed."""
    part = next((part for part in parts_of(answer) if canonical(part, labels) is None), answer)
    return f"unknown label '{_short(part)}'{nearest(part, labels)}"


def _refuse_separator(names: Iterable[str]) -> None:
    wrong = sorted(name for name in names if SEPARATOR in name or name == NONE)
    if wrong:
        raise DataError(
            f"the label '{wrong[0]}' cannot be told from several labels: '{SEPARATOR}' stands "
            "between the labels of a row. Give it another name in data.labels.")


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"
