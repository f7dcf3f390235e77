"""Quote signs that open a cell by mistake and swallow the rows below.

In a file that was written without quoting, a text may begin with `"` and a later one end with it.
Read by the rules of CSV, all that stands between is one cell, and the rows in it are gone. A cell
over several lines may as well be one text that was quoted rightly. `swallowed` tells them apart.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

_LINE_END = re.compile(r"\r\n|\n|\r")
# No number, date or id is longer.
_LONGEST = 64


@dataclass(frozen=True)
class Cell:
    """A cell that runs over line ends.

    Attributes:
        line: Where it opens.
        column: Its position.
        pieces: What stands between its line ends, without blank lines in the middle.
        record: All cells of its row.
    """

    line: int
    column: int
    pieces: tuple[str, ...]
    record: tuple[str, ...]

    @property
    def last_line(self) -> int:
        """The line in which it closes."""
        return self.line + len(_LINE_END.findall(self.record[self.column]))


def cells_over_lines(line: int, record: Sequence[str]) -> list[Cell]:
    """Return the cells of a row that run over line ends; line: where the row begins."""
    cells = []
    for column, cell in enumerate(record):
        ends = len(_LINE_END.findall(cell))
        if ends:
            first, *middle, last = _LINE_END.split(cell)
            pieces = (first, *(piece for piece in middle if piece.strip()), last)
            cells.append(Cell(line, column, pieces, tuple(record)))
        line += ends
    return cells


def swallowed(cells: Sequence[Cell], rows: Sequence[Sequence[str]], delimiter: str, *,
              blank_lines: bool, quoted_well: bool, commas_quoted: bool,
              misfits_without: Callable[[], int]) -> Cell | None:
    """Return the first cell that holds what looks like further rows, or None.

    A line end in a cell looks like the end of a row if the lines before and after it, split at
    every delimiter, have as many cells as a row has behind and before the cell's own column, and
    these look like their columns: like a value that recurs there, or, where values are numbers,
    dates or ids, like one of that form. A delimiter before white space, at a line's end or between
    two digits is what prose has (`Well, 3,500`), and proves nothing. A cell is refused if half of
    its line ends look like that, or three in a row.

    Line ends with the right number of cells are doubtful where the other columns tell nothing
    (there is none, or all hold free texts). A cell with such line ends is refused if nothing in the
    file shows a writer that quotes (a doubled quote in a quoted cell, blank lines in quoted cells
    alone, quotes in every row, another cell over lines that is surely one text) and the whole
    file, read without quoting, has the same number of cells in every line, or the cell has three
    line ends or more (20 where there is no other column).
    Where some row in one line only fits with quoting, which a text such as `"Well, yes"` does by
    chance, it takes a cell whose line ends are all doubtful, three or more, and that are more than
    the lines that do not fit without quoting.

    Args:
        cells: All cells that run over line ends.
        rows: Enough rows of the file, from all over it.
        blank_lines: Whether there are blank lines between rows.
        quoted_well: Whether a row shows a writer that quotes.
        commas_quoted: Whether a row in one line only fits with quoting.
        misfits_without: Counts the lines that do not fit without quoting.
    """
    if not cells:
        return None
    width = len(cells[0].record)
    rows = [row for row in rows if len(row) == width]
    columns = _columns(rows, width)
    doubtful = None
    for cell in cells:
        own = columns
        inside = [piece.split(delimiter) for piece in cell.pieces[1:-1]]
        if len(inside) * 3 > len(rows):  # the rows outside are too few to tell
            own = _columns([*rows, *(piece for piece in inside if len(piece) == width)], width)
        verdicts = _verdicts(cell, own, delimiter)
        run = max((len(list(same)) for verdict, same in groupby(verdicts) if verdict == "row"),
                  default=0)
        if verdicts.count("row") * 2 >= len(verdicts) or run >= 3:
            return cell
        if verdicts.count("text") * 2 > len(verdicts):
            quoted_well = True
        elif doubtful is None and not (commas_quoted and "text" in verdicts):
            doubtful = cell
    if doubtful is None or quoted_well or any(
            '"' in piece for cell in cells for piece in cell.pieces):
        return None
    if not blank_lines and any(len(cell.pieces) < cell.last_line - cell.line + 1 for cell in cells):
        return None
    several = len(doubtful.pieces) > (3 if width > 1 else 20)
    if commas_quoted:
        return doubtful if several and misfits_without() < len(doubtful.pieces) - 1 else None
    return doubtful if several or not misfits_without() else None


def _columns(rows: Sequence[Sequence[str]], width: int) -> "list[_Column]":
    return [_Column.of([row[c] for row in rows if not _LINE_END.search(row[c])])
            for c in range(width)]


@dataclass(frozen=True)
class _Column:
    """What the cells of a column look like: the values that recur, or their forms; else neither."""

    values: frozenset[str] = frozenset()
    forms: frozenset[str] = frozenset()

    @classmethod
    def of(cls, cells: Sequence[str]) -> "_Column":
        values = frozenset(cell.strip() for cell in cells)
        if 0 < len(values) * 3 <= len(cells):
            return cls(values=values)
        forms = frozenset(map(_form, values))
        if len(forms) * 10 <= len(cells) and all("9" in form for form in forms):
            return cls(forms=forms)
        return cls()

    @property
    def tells(self) -> bool:
        return bool(self.values or self.forms)

    def has(self, cell: str) -> bool:
        """Return whether a cell looks like those of this column; True if it tells nothing."""
        return not self.tells or cell.strip() in self.values or _form(cell) in self.forms


def _form(cell: str) -> str:
    """Return a cell with each word that has a digit as '9' and each other as 'a'."""
    if len(cell) > _LONGEST:
        return "text"
    return re.sub(r"[^\W_]+", lambda word: "9" if re.search(r"\d", word[0]) else "a", cell.strip())


def _verdicts(cell: Cell, columns: Sequence[_Column], delimiter: str) -> list[str]:
    """Return what each line end in a cell looks like: 'row', 'doubtful' or 'text'."""
    return [_verdict(cell.column, before, after, number == 0, number + 2 == len(cell.pieces),
                     columns, delimiter)
            for number, (before, after) in enumerate(zip(cell.pieces, cell.pieces[1:],
                                                         strict=False))]


def _verdict(column: int, before: str, after: str, first: bool, last: bool,
             columns: Sequence[_Column], delimiter: str) -> str:
    """Return what a line end looks like, between two lines of a cell in `column`.

    first, last: whether `before` begins with the cell itself, `after` ends with it; any other line
    is a whole one.
    """
    behind = len(columns) - 1 - column
    left, right = before.split(delimiter), after.split(delimiter)
    left_fits = len(left) == behind + (1 if first else column + 1)
    right_fits = len(right) == column + (1 if last else behind + 1)
    if not (left_fits or right_fits):
        return "text"
    left = left[len(left) - behind - 1:] if left_fits else []
    right = right[:column + 1] if right_fits else []
    pairs = [pair for side in (left, right) for pair in zip(side, side[1:], strict=False)]
    written = len(columns) > 1 and delimiter != "\t"
    prose = written and all(not b or b[0].isspace() for _, b in pairs)
    number = written and all(_in_prose(a, b) for a, b in pairs)
    around = [(columns[column + n], cell) for n, cell in enumerate(left) if n]
    around += [(columns[n], cell) for n, cell in enumerate(right[:-1])]
    # A cell of one character, such as a rating, may stand at the end of a line by chance.
    sure = 1 if left_fits and right_fits else 2
    telling = any(look.tells and len(cell.strip()) >= sure for look, cell in around)
    alike = all(look.has(cell) for look, cell in around)
    if telling and alike:
        return "doubtful" if number else "row"
    return "doubtful" if left_fits and right_fits and not prose else "text"


def _in_prose(before: str, after: str) -> bool:
    """Return whether a delimiter between two pieces is as prose, or a number in it, has it."""
    return not after or after[0].isspace() or (before[-1:].isdigit() and after[0].isdigit())
