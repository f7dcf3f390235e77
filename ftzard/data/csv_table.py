"""CSV text as records, under one of two quotings, and never with rows that vanish into a cell.

`csv`: a cell that begins with `"` ends at the next `"` that is not doubled, and may hold delimiters
and line ends. `none`: `"` is an ordinary sign, and each line is a record.
"""

import csv
import io
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ftzard.data.line_counts import LineCounts
from ftzard.data.stray_quotes import Cell, cells_over_lines, swallowed
from ftzard.errors import ConfigError, DataError, nearest

QUOTINGS = ("csv", "none")
# So many rows tell what the cells of a column look like.
_ENOUGH = 5_000
# What Excel writes, and reads, as a first line to say which delimiter a file has.
_SEPARATOR_LINE = re.compile(r'"?sep=([^\r\n])"?(?:\r\n|\n|\r|$)', re.IGNORECASE)


def delimiter_of(value: str) -> str:
    """Return the delimiter that a setting means: 'tab' and '\\t' are a tab.

    Raises ConfigError for what cannot be one.
    """
    meant = "\t" if value.lower() in ("tab", "\\t") else value
    if len(meant) != 1 or meant in '"\r\n\0\ufeff':
        raise ConfigError(
            f"data.delimiter={value!r}, expected one character that separates cells, as ',', ';' "
            "or '|', or the word tab; 'ftzard init' takes it as --delimiter.")
    return meant


def quoting_of(value: str) -> str:
    """Return a setting's quoting, or raise ConfigError for an unknown one."""
    if value not in QUOTINGS:
        raise ConfigError(f"data.quoting={value!r}{nearest(value, QUOTINGS)}")
    return value


class _Misread(DataError):
    """A table that does not read; line: where; swallows: whether rows would vanish into a cell."""

    def __init__(self, message: str, line: int, swallows: bool = False) -> None:
        super().__init__(message)
        self.line, self.swallows = line, swallows


@dataclass(frozen=True)
class CsvText:
    """A CSV file's text and how it is written.

    Attributes:
        path: Named in messages.
        delimiter: One character.
        quoting: One of `QUOTINGS`.
        first_line: The number of the text's first line in the file.
    """

    path: Path
    text: str
    delimiter: str
    quoting: str = "csv"
    first_line: int = 1

    @classmethod
    def of(cls, path: Path, text: str, delimiter: str, quoting: str) -> "CsvText":
        """Return a file's text as a setting says; its own line `sep=X` comes before the setting."""
        delimiter, quoting = delimiter_of(delimiter), quoting_of(quoting)
        own = _SEPARATOR_LINE.match(text)
        if own is None:
            return cls(path, text, delimiter, quoting)
        return cls(path, text[own.end():], delimiter_of(own[1]), quoting, 2)

    def lines(self) -> Iterator[str]:
        """Yield the lines with their ends."""
        return io.StringIO(self.text, newline="")

    def records(self) -> Iterator[tuple[int, int, list[str]]]:
        """Yield (first line, last line, cells) of each record; a blank line is none."""
        return self._quoted() if self.quoting == "csv" else self._unquoted()

    def _unquoted(self) -> Iterator[tuple[int, int, list[str]]]:
        for number, line in enumerate(self.lines(), self.first_line):
            line = line.rstrip("\r\n")
            if line:
                yield number, number, line.split(self.delimiter)

    def _quoted(self) -> Iterator[tuple[int, int, list[str]]]:
        # The limit of a cell's size is a setting of the whole process; a long line is data to
        # reject later, with a reason, and not a reason to stop here.
        limit = csv.field_size_limit(sys.maxsize)
        reader = csv.reader(self.lines(), delimiter=self.delimiter, strict=True)
        before = self.first_line - 1
        first, last = before + 1, before
        try:
            for record in reader:
                last = before + reader.line_num
                if record:
                    yield first, last, record
                first = last + 1
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                problem = "opens a quote that is never closed"
            else:
                problem = f"is malformed: {error}"
            raise _Misread(
                f"{self.path}, line {first}: the record that starts here {problem}. "
                f"{_remedy(self, _DOUBLED)}", first) from error
        finally:
            csv.field_size_limit(limit)

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (first line, cells) of the header, then of each row.

        Raises DataError for a row with more or fewer cells than the header, and for a cell that
        swallowed rows (see `stray_quotes.swallowed`), which is known after the last row.
        """
        header: list[str] = []
        over_lines: list[Cell] = []
        count = 0
        for first, last, record in self.records():
            if count == 0:
                header, width = record, len(record)
            if len(record) != width:
                raise _Misread(_ragged(self, first, last, record, header), first)
            if last > first:
                over_lines += cells_over_lines(first, record)
            count += 1
            yield first, record
        if over_lines:
            _require_no_rows_in(self, over_lines, header, count)
        if len(header) == 1:
            _require_one_line_end(self)

    def misfit(self) -> tuple[int, int, int] | None:
        """Return (line, cells, cells expected) of the first row that does not fit; or None."""
        width = 0
        for first, _, record in self.records():
            width = width or len(record)
            if len(record) != width:
                return first, len(record), width
        return None


_DOUBLED = 'Write a quote inside a quoted cell as "".'


def _remedy(table: CsvText, otherwise: str) -> str:
    """Return what to do about a quote: read without quoting where that fits, else `otherwise`."""
    wrong = replace(table, quoting="none").misfit()
    if wrong is None:
        return ('If " is an ordinary sign in this file, set data.quoting=none; \'ftzard init\' '
                f"takes it as --quoting none. Else: {otherwise[0].lower()}{otherwise[1:]}")
    line, cells, width = wrong
    return (f"{otherwise} (Without quoting it is no table either: line {line} has {cells} cells "
            f"then, expected {width}.)")


def _ragged(table: CsvText, first: int, last: int, record: Sequence[str], header: Sequence[str]
            ) -> str:
    expected = f"expected {len(header)} as in the header ({', '.join(header)[:200]})"
    over = f" (it ends in line {last})" if last > first else ""
    sentence = f"{table.path}, line {first}: {len(record)} cells{over}, {expected}. "
    if table.quoting == "none":
        return sentence + (f"With data.quoting=none every {table.delimiter!r} separates cells: set "
                           "data.quoting=csv if cells that hold it are quoted, or set "
                           "data.delimiter.")
    advice = f"Quote a cell that holds {table.delimiter!r}, or set data.delimiter."
    return sentence + (_remedy(table, advice) if over else advice)


def _require_no_rows_in(table: CsvText, cells: Sequence[Cell], header: Sequence[str], count: int
                        ) -> None:
    """Raise DataError if a cell that runs over line ends holds what looks like rows."""
    lines = list(table.lines())
    step = max(1, count // _ENOUGH)
    sample: list[list[str]] = []
    last_line = blank = 0
    doubled = delimiters = False
    all_quoted = count > 3
    for number, (first, last, record) in enumerate(table.records()):
        blank += first - last_line - 1
        last_line = last
        if number and number % step == 0:
            sample.append(record)
        raw = lines[first - table.first_line]
        quoted = '"' in raw
        all_quoted &= quoted or number == 0
        if quoted and first == last:
            delimiters |= len(raw.split(table.delimiter)) != len(header)
            doubled |= '""' in raw and any('"' in cell for cell in record)
    swallowed_rows = swallowed(
        cells, sample, table.delimiter, blank_lines=blank > table.first_line - 1,
        quoted_well=doubled or all_quoted, commas_quoted=delimiters,
        misfits_without=lambda: sum(len(record) != len(header) for _, _, record in replace(
            table, quoting="none").records()))
    if swallowed_rows is None:
        return
    inside = len(swallowed_rows.pieces) - 1
    raise _Misread(
        f"{table.path}, line {swallowed_rows.line}: the quote that opens here, in column "
        f"'{header[swallowed_rows.column][:40]}', closes in line {swallowed_rows.last_line}, and "
        f"what stands between looks like rows: {inside} of them would vanish into one cell. "
        + _remedy(
            table, f"Close the quote in line {swallowed_rows.line}, or write it twice inside a "
                   "quoted cell; if it is one text, hand the rows in as .jsonl or .parquet."),
        swallowed_rows.line, swallows=True)


def _require_one_line_end(table: CsvText) -> None:
    """Raise DataError if a column's rows end in two ways: where is a row's end then?

    With several columns a line that is no row has too few cells.
    """
    if "\n" not in table.text or not re.search(r"\r(?!\n)", table.text):
        return
    lines = list(table.lines())
    ends = {}
    for _, last, _ in table.records():
        line = lines[last - table.first_line]
        ends.setdefault("\r" if line.endswith("\r") else "\n", last)
    if len(ends) > 1:
        raise _Misread(
            f"{table.path}: line {ends[chr(13)]} ends with a carriage return alone, and line "
            f"{ends[chr(10)]} with a line feed; expected the same end for every row. Save it with "
            "one kind of line ends, or hand the rows in as .jsonl.", min(ends.values()))


def line_counts(table: CsvText) -> LineCounts:
    """Return how the lines of a file became rows."""
    rows = used = over = 0
    for first, last, _ in table.records():
        rows += 1
        used += last - first + 1
        over += last > first and rows > 1
    own = table.first_line - 1
    lines = sum(1 for _ in table.lines())
    return LineCounts(lines + own, max(0, rows - 1), lines - used, over)


def fitting_quoting(table: CsvText) -> tuple[str, str]:
    """Return (the quoting with which a file is a table, why); 'csv' where both or neither fit.

    The reason is '' where the file has no quote, or fits neither. Raises DataError for a file that
    does not read with quotes as in CSV, though something shows that its writer quotes.
    """
    if '"' not in table.text:
        return "csv", ""
    plain = replace(table, quoting="none")
    try:
        for _ in replace(table, quoting="csv").rows():
            pass
    except _Misread as error:
        if plain.misfit() is not None:
            return "csv", ""
        sign = _sign_of_quoting(plain, error)
        if sign:
            raise DataError(f"{error} {sign}") from error
        trouble = str(error).removeprefix(f"{table.path}, ").split(". ")[0]
        return "none", f"with quotes as in CSV, {trouble}"
    if plain.misfit() is None:
        return "csv", "the file reads as a table with quoting and without"
    return "csv", "cells that hold delimiters or line ends are quoted"


def _sign_of_quoting(plain: CsvText, error: _Misread) -> str:
    """Return what shows that a file's writer quotes, '' if nothing does; plain: without quoting."""
    rows = [(line, cells) for line, _, cells in plain.records()]
    if error.swallows and len(rows[0][1]) == 1:
        return "(In a file of one column, a text over several lines looks like several rows.)"
    in_quotes = sum(any(map(_in_quotes, cells)) for _, cells in rows[1:])
    if in_quotes * 5 >= len(rows) - 1:
        return (f"({in_quotes} of {len(rows) - 1} rows have a cell in quotes, which would keep "
                "them as part of the cell without quoting.)")
    for line, cells in rows:
        for cell in filter(_in_quotes, cells):
            inside = cell.strip()[1:-1]
            if line == error.line and not error.swallows and (
                    '\\"' in inside or '"' not in inside and cell != cell.strip()):
                return f"(The cell {cell[:60]!r} of that line is in quotes, as writers of CSV do.)"
    return ""


def _in_quotes(cell: str) -> bool:
    cell = cell.strip()
    return len(cell) > 1 and cell.startswith('"') and cell.endswith('"')
