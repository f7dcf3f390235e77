"""The columns of a user's file: which are there, and which of them look like labels or chats."""

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from ftzard.data import reading
from ftzard.errors import DataError, nearest


def layout_values(encoding: str, delimiter: str, quoting: str) -> dict:
    """Return what ftzard.yaml says of how a file is written."""
    return {"encoding": encoding, **({"delimiter": delimiter} if delimiter != "," else {}),
            **({"quoting": quoting} if quoting != "csv" else {})}


def require_columns(
    file: Path, there: list[str], named: Mapping[str, str | None], delimiter: str, *,
    nested: Callable[[], Mapping[str, bool]] = dict,
) -> None:
    """Raise DataError, with the option that mends it, for a column that a file does not have.

    Args:
        there: The file's columns.
        named: Option -> the column it names, or None.
        nested: Finds the columns that hold lists of objects, and whether these are chats.
    """
    for option, column in named.items():
        if column is None or column in there:
            continue
        others = [mark for mark in ";,\t|" if mark != delimiter and mark in "".join(there)]
        shown = ", ".join(name if len(name) <= 40 else f"{name[:40]}…" for name in there)
        lists = nested()
        chats = [name for name, chat in lists.items() if chat and option != "--messages"]
        close = nearest(column, there) if len(there) > 1 and not chats else ""
        close = close if "did you mean" in close else ""
        free = [name for name in there if name not in named.values()
                and (name not in lists or option == "--messages" and lists[name])]
        if len(there) == 1 and others:
            mark = "$'\\t'" if others[0] == "\t" else f"'{others[0]}'"
            remedy = f"Is it separated by {others[0]!r}? Then add --delimiter {mark}."
        elif chats:
            remedy = f"'{chats[0]}' holds chats: add --messages {shlex.quote(chats[0])}."
        elif close or free:
            like = close.split("'")[1] if close else free[0]
            remedy = f"Name the column, as in {option} {shlex.quote(like)}."
        elif lists:
            name = next(iter(lists))
            remedy = (f"'{name}' holds lists of objects that are no chats (these have role and "
                      "content, or from and value): write each of them as a row with columns of "
                      "its own.")
        else:
            remedy = "Add that column to the file."
        raise DataError(f"{file} has no column '{column}'{close or '.'} Its header is: {shown}. "
                        f"{remedy}")


def columns_of_lists(file: Path, there: list[str], written: Mapping[str, str]) -> dict[str, bool]:
    """Return the columns whose first filled cell is a list of objects, and whether it is a chat."""
    cells = reading.read_cells(file, {name: name for name in there}, nested=there, **written)
    is_chat = {}
    for name, column in cells.items():
        first = next((cell for cell in column.to_pylist() if cell.strip() not in ("", "[]")), "")
        try:
            value = json.loads(first)
        except json.JSONDecodeError:
            continue
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            is_chat[name] = any(
                {"role", "content"} <= item.keys() or {"from", "value"} <= item.keys()
                for item in value)
    return is_chat


def like_labels(file: Path, there: list[str], named: set[str], written: Mapping[str, str]
                 ) -> str | None:
    """Return the column, of those without a name yet, that looks like labels most, or None."""
    others = {name: name for name in dict.fromkeys(there) if name not in named}
    if not others:
        return None
    counts = {name: pd.Series(cells.to_pylist(), dtype="str").replace("", pd.NA).value_counts()
              for name, cells in reading.read_cells(
                  file, others, nested=tuple(others), **written).items()}
    fitting = {name: len(values) for name, values in counts.items()
               if 2 <= len(values) <= values.sum() / 2}
    return min(fitting, key=fitting.__getitem__, default=None)
