"""Whether a column of labels holds several labels per row: `joy|anger`, `joy, anger`, a list.

A classifier with one label per row would take each combination for a class of its own.
"""

import ast
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

SEPARATORS = ("|", ";", ",", "/", "+", "&", "#", "\n", "\t", " ", "、", "，", "；", "،", "؛")
#: Between words and in names such as 'C#' these stand for other reasons: they count only between
#: parts that are labels by themselves.
_WEAK = ("#", " ")
#: Share of the rows with a separator that must be explained by labels beside each other.
SHARE = 0.5
#: Of more different cells the most frequent are looked at for separators: what is no column of
#: labels would take minutes.
LOOKED_AT = 5000
_NUMBERS = re.compile(r"\[\s*-?\d+(\s+-?\d+)*\s*\]")  # as numpy writes an array


@dataclass(frozen=True)
class SeveralLabels:
    """What was found.

    Attributes:
        separator: What stands between the labels of a row, or 'list' for cells that are lists.
        rows: Rows with more than one label (of lists: with a list).
        example: One such cell.
        parts: Its labels.
    """

    separator: str
    rows: int
    example: str
    parts: tuple[str, ...]


def detect(column: Iterable[str]) -> SeveralLabels | None:
    """Return what shows that a column holds several labels per row, or None.

    A list of JSON is several labels; of the ways in which Python and numpy print lists, half of the
    filled cells or more must be written so. With a separator, a cell is explained if all of its
    parts are known: they are labels of other rows by themselves, or stand beside different labels.
    Several labels are found if most cells with the separator are explained, and either two parts of
    each are labels by themselves, or it stands in the other order too, or three combinations or
    more share a part at different places. So 'Rock, Paper' is one name while 'Rock' and 'Paper' are
    none, and 'Paris, France' beside 'Lyon, France' are two.
    """
    counts = Counter(cell.strip() for cell in column if cell.strip())
    lists = {cell: parts for cell in counts if (parts := _listed(cell)) is not None}
    listed = sum(counts[cell] for cell in lists)
    if lists and (listed >= SHARE * counts.total() or any(map(_is_json, lists))):
        example = max(lists, key=lambda cell: (len(lists[cell]) > 1, counts[cell]))
        return SeveralLabels("list", listed, example, lists[example])
    counts = Counter(dict(counts.most_common(LOOKED_AT)))
    candidates = [result for mark in SEPARATORS if (result := _separated(counts, mark)) is not None]
    return max(candidates, key=lambda result: result.rows, default=None)


def problem(column: Iterable[str]) -> str | None:
    """Return a sentence that says which labels stand in one row, or None if no row has several."""
    several = detect(column)
    if several is None:
        return None
    shown = several.example if len(several.example) <= 60 else f"{several.example[:60]}…"
    if several.separator == "list":
        return (f"{several.rows} rows have a list where a label is expected, such as {shown}; a "
                "row has one label here. Write one label per row, as a text")
    mark = {"\n": "a line end", "\t": "a tab", " ": "a space"}.get(
        several.separator, f"'{several.separator}'")
    parts = " and ".join(f"'{part}'" for part in several.parts[:3])
    return (f"{several.rows} rows seem to have several labels with {mark} between them, such as "
            f"'{shown}', of which {parts} stand elsewhere too; a row has one label here. Give each "
            "row one label in the file")


def _listed(cell: str) -> tuple[str, ...] | None:
    """Return the parts of a cell that is written as a list, a set or an object, or None."""
    if cell[0] not in "[{(" or cell[-1] not in "]})":
        return None
    if _NUMBERS.fullmatch(cell):
        return tuple(cell[1:-1].split())
    quoted = re.sub(r"(?<=['\"])\s+(?=['\"])", ", ", cell)  # numpy writes no comma
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(quoted)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, list | tuple | set | frozenset | dict):
            return tuple(map(str, value))
    return None


def _is_json(cell: str) -> bool:
    try:
        json.loads(cell)
    except ValueError:
        return False
    return True


def _separated(counts: Counter, mark: str) -> SeveralLabels | None:
    """Return what shows that the cells with a separator hold several labels each, or None."""
    combined: dict[str, tuple[str, ...]] = {}
    alone = set()
    for cell in counts:
        parts = tuple(dict.fromkeys(p for part in cell.strip("[](){}").split(mark)
                                    if (p := part.strip(" '\"").casefold())))
        if len(parts) > 1:
            combined[cell] = parts
        else:
            alone |= set(parts)
    beside, places = defaultdict(set), defaultdict(set)
    for parts in combined.values():
        for place, part in enumerate(parts):
            beside[part] |= {*parts} - {part}
            places[part].add(place)
    known = alone | {part for part, others in beside.items() if len(others) > 1}
    whole = {cell: parts for cell, parts in combined.items() if known.issuperset(parts)}
    orders = Counter(map(frozenset, combined.values()))
    strong = {cell: parts for cell, parts in combined.items()
              if cell in whole and len(alone.intersection(parts)) > 1
              or orders[frozenset(parts)] > 1 and mark not in _WEAK}
    with_mark = sum(counts[cell] for cell in combined)
    shuffled = len(whole) > 2 and any(
        len(places[part]) > 1 for parts in whole.values() for part in parts)
    explained = {**whole, **strong} if shuffled and mark not in _WEAK else strong
    rows = sum(counts[cell] for cell in explained)
    if not rows or rows < SHARE * with_mark:
        return None
    example = max(strong or explained, key=counts.__getitem__)
    return SeveralLabels(mark, with_mark, example, explained[example])
