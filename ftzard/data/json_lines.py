"""JSON lines as records, and JSON's values as cells.

`NaN` and `Infinity`, which Python writes for a missing number, are missing values, as in Parquet.
"""

import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

from ftzard.data.line_counts import LineCounts
from ftzard.errors import DataError

#: JSON may write half of a surrogate pair, which is no character and stands in no file.
_HALF_PAIR = re.compile("[\ud800-\udfff]")
#: What stands for one in a cell, until cleaning rejects the row: two code points that are none.
MARK = "\ufdd0\ufdd1"
NO_CHARACTER = "half of a surrogate pair, which is no character"


def parse(text: str) -> object:
    """Return the value of a JSON text; a number that is none is None, in lists and objects too.

    Raises ValueError for what is not JSON, and for an object that has a key twice.
    """
    try:
        return json.loads(text, parse_constant=lambda _: None, parse_float=_finite,
                          object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def half_pair(value: object) -> str:
    """Return the escape of the first half of a surrogate pair in a JSON value, '' for none.

    Lists, and the keys and values of objects, are looked through.
    """
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            match = _HALF_PAIR.search(item)
            if match:
                return f"\\u{ord(match[0]):04x}"
        elif isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            waiting += item
    return ""


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _object(pairs: list[tuple[str, object]]) -> dict:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key '{_writable(twice)[:40]}' stands twice in an object")
    return values


def records(path: Path, text: str, example: str = "text") -> Iterator[tuple[int, dict]]:
    """Yield (line number, object) of every line that is not blank; example: a column's name."""
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if not line.strip():
            continue
        try:
            value = parse(line)
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: not JSON ({error}); expected one object a line."
            ) from error
        if not isinstance(value, dict):
            raise DataError(
                f"{path}, line {number}: a JSON {type(value).__name__}, expected an object such as "
                f'{{"{example}": "…"}}.'
            )
        yield number, {_writable(key): cell for key, cell in value.items()}


def line_counts(text: str) -> LineCounts:
    """Return how the lines became rows."""
    lines = [bool(line.strip()) for line in io.StringIO(text, newline=None)]
    return LineCounts(len(lines), sum(lines), len(lines) - sum(lines), 0)


def cell(path: Path, number: int, column: str, value: object, *, nested: bool) -> str:
    """Return a value as the text of a cell, '' where it is missing; lists only where `nested`.

    Half of a surrogate pair becomes `MARK`.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return _HALF_PAIR.sub(MARK, value)
    if nested:
        return _HALF_PAIR.sub(MARK, json.dumps(value, ensure_ascii=False))
    if isinstance(value, list | dict):
        raise DataError(
            f"{path}, line {number}: '{column}' holds a {type(value).__name__}, expected a text or "
            "a number."
        )
    return json.dumps(value)


def _writable(text: str) -> str:
    """JSON may hold half a surrogate pair, which no encoding can write."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
