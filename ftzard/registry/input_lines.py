"""The bytes of what `ftzard predict` is asked, as numbered lines, rows of CSV or rows of Parquet.

A stream is read as it arrives and never whole. What cannot be read of one line or row is the error
of that one; all others keep their numbers. A line ends with \\n, \\r\\n or \\r.
"""

import codecs
import csv
import gzip
import io
import json
import os
import re
import stat
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ftzard.data import formats
from ftzard.data.csv_table import delimiter_of
from ftzard.data.stray_quotes import cells_over_lines, swallowed
from ftzard.errors import ConfigError, DataError, nearest

BATCH = 64
#: No line and no cell may be longer, in bytes of text: a stream is never whole in memory.
LONGEST_LINE = 16 << 20
#: What bytes become that are not of the encoding: half a surrogate pair, which no text has.
UNDECODABLE = "\udc80"
_HANDLER = "ftzard-undecodable"
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE:
          "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # those of utf-32 begin like those of utf-16
#: Encodings in which any bytes are a text.
_ONE_BYTE = re.compile(r"iso8859-\d+|cp125\d|cp437|cp850|cp1140|mac-\w+|koi8-\w|latin-1")
#: What a file of bytes has near its start, and a text has not.
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a]")
#: Excel writes, and reads, a first line that says which delimiter a file has.
_SEPARATOR_LINE = re.compile(r'"?sep=([^\r\n])"?[\r\n]*', re.IGNORECASE)

codecs.register_error(_HANDLER, lambda error: (UNDECODABLE, error.end))


class Text(NamedTuple):
    """A line as it stands, with its number from 1, and why it is no text."""

    number: int
    raw: str
    error: str | None = None


class Row(NamedTuple):
    """The cells of a row of CSV, by its first line's number from 1, or why it is no row."""

    number: int
    cells: list[str]
    error: str | None = None


@contextmanager
def opened(source: str, encoding: str) -> Iterator[BinaryIO]:
    """Open a file of text, compressed if its name ends with .gz, whose encoding is not in doubt.

    Raises DataError for one that is of another encoding from its first byte to its last.
    """
    compressed = source.lower().endswith(".gz")
    try:
        with gzip.open(source, "rb") if compressed else open(source, "rb") as stream:
            _refuse_utf8(source, stream, encoding)
            stream.seek(0)
            yield stream
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{source} is not a complete gzip file ({error}); copy it again.") from error


def require_content(path: Path, kind: str) -> None:
    """Raise DataError for a file that is of another format than its name says."""
    if not path.name.lower().removesuffix(".gz").endswith(f".{kind}"):
        return  # --format knows better than the name
    ending = f".{kind}"
    if path.name.lower().endswith(".gz"):
        with gzip.open(path, "rb") as stream:
            try:
                content = stream.read(1 << 10)
            except (gzip.BadGzipFile, EOFError, zlib.error):
                content = None
        if content is not None:
            if kind != "txt" or _CONTROL.search(content):  # any words are a text, '<html>' too
                formats.require_content(path, f"{ending}.gz", content)
            return
        ending = ".csv.gz" if kind == "csv" else f"{ending}.gz"
    if kind == "txt":
        with open(path, "rb") as stream:
            if not _CONTROL.search(stream.read(1 << 9)):
                return
    formats.require(path, ending)


def require_encoding(encoding: str) -> str:
    """Return Python's name of an encoding of text; raises DataError for what is none."""
    try:
        "".encode(encoding)
        return codecs.lookup(encoding).name
    except (LookupError, ValueError) as error:
        raise DataError(
            f"--encoding is '{encoding}', which Python does not know"
            f"{nearest(encoding, ['utf-8', 'latin-1', 'cp1252', 'utf-16'])}") from error


def _refuse_utf8(source: str, stream: BinaryIO, encoding: str) -> None:
    """Raise DataError for a file that is valid utf-8 and would be misread as one byte a letter."""
    if not _ONE_BYTE.fullmatch(require_encoding(encoding)):
        return
    decoder, example = codecs.getincrementaldecoder("utf-8")(), ""
    try:
        while chunk := stream.read(1 << 20):
            text = decoder.decode(chunk)
            example = example or next((c for c in text if ord(c) > 127), "")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return
    if example:
        raise DataError(f"{source} is valid utf-8; {_misread(example, encoding)}")


def _misread(example: str, encoding: str) -> str:
    return (f"read as {encoding}, its '{example}' would become "
            f"'{example.encode().decode(encoding, errors='replace')}'. Add --encoding utf-8.")


def _refuse_other_mark(start: bytes, encoding: str) -> None:
    """Raise DataError for a stream whose byte order mark tells of another encoding."""
    for mark, name in _MARKS.items():
        if start.startswith(mark) and not encoding.startswith(("utf-16", "utf-32")):
            raise DataError(f"the input begins with the byte order mark of {name} and is no "
                            f"{encoding}. Add --encoding {name}.")


def text_lines(stream: BinaryIO, encoding: str) -> Iterator[list[Text]]:
    """Yield full batches of a file, and lines of a pipe as they arrive: nobody is kept waiting."""
    name = require_encoding(encoding)
    by_bytes = "\r\n".encode("utf-8" if name == "utf-8-sig" else name) == b"\r\n"
    arriving, number, waiting = _arrives(stream), 0, []
    for lines, last in (_split_bytes if by_bytes else _split_text)(stream, name):
        for line in lines:
            number += 1
            waiting.append(_decoded(number, line, encoding, arriving) if by_bytes
                           else _marked(number, line, encoding))
        while len(waiting) >= BATCH:
            yield waiting[:BATCH]
            waiting = waiting[BATCH:]
        if waiting and (arriving or last):
            yield waiting
            waiting = []


def _split_bytes(stream: BinaryIO, encoding: str) -> Iterator[tuple[list[bytes], bool]]:
    """Yield (the lines that are whole by now, whether these are the last)."""
    rest, started, after_return, seen = b"", False, False, 0
    while True:
        chunk = stream.read1(1 << 16)
        if not started and chunk:
            _refuse_other_mark(chunk, encoding)
            started = True
        last = not chunk
        if after_return and chunk:  # the other half of a line end, which has ended its line
            chunk = chunk.removeprefix(b"\n")
            after_return = False
            if not chunk:
                continue
        after_return = chunk.endswith(b"\r") and not last
        first, *others = re.split(rb"\r\n|\n|\r", chunk)  # what is left of before has no end in it
        *whole, rest = [rest + first, *others]
        seen += len(whole)
        _require_length(rest, seen + 1)
        if last and rest:
            whole, rest = [*whole, rest], b""
        yield whole, last
        if last:
            return


def _split_text(stream: BinaryIO, encoding: str) -> Iterator[tuple[list[str], bool]]:
    """As `_split_bytes`, of an encoding in which a line end is more than its byte."""
    decoder = codecs.getincrementaldecoder(encoding)(errors=_HANDLER)
    rest, after_return, seen = "", False, 0
    while True:
        chunk = stream.read1(1 << 16)
        last = not chunk
        text = decoder.decode(chunk, final=last)
        if after_return and text:
            text = text.removeprefix("\n")
            after_return = False
        after_return = after_return or (text.endswith("\r") and not last)
        first, *others = re.split(r"\r\n|\n|\r", text)
        *whole, rest = [rest + first, *others]
        seen += len(whole)
        _require_length(rest, seen + 1)
        if last and rest:
            whole, rest = [*whole, rest], ""
        yield whole, last
        if last:
            return


def _require_length(line: bytes | str, number: int) -> None:
    """Raise DataError for a line that does not end."""
    if len(line) > LONGEST_LINE:
        raise DataError(f"line {number} has more than {LONGEST_LINE >> 20} MB and no end; expected "
                        "a text a line. Is this a file of texts?")


def _arrives(stream: BinaryIO) -> bool:
    """Return whether a stream is written while it is read: a pipe, a terminal, no file."""
    try:
        return not stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except OSError:  # bytes in memory
        return False


def _decoded(number: int, line: bytes, encoding: str, arriving: bool) -> Text:
    try:
        text = line.decode(encoding)
    except UnicodeDecodeError as error:
        return Text(number, line.decode(encoding, errors="replace"),
                    f"not {encoding}: byte {error.start} is 0x{line[error.start]:02x}")
    if arriving and not text.isascii() and _ONE_BYTE.fullmatch(codecs.lookup(encoding).name):
        wrong = _valid_utf8(line, encoding)  # of a file this was asked before its first line
        if wrong:
            return Text(number, text, wrong)
    return Text(number, text.removeprefix("\ufeff") if number == 1 else text)


def _valid_utf8(line: bytes, encoding: str) -> str | None:
    try:
        example = next(c for c in line.decode("utf-8") if ord(c) > 127)
    except (UnicodeDecodeError, StopIteration):
        return None
    return f"valid utf-8; {_misread(example, encoding)}"


def _marked(number: int, line: str, encoding: str) -> Text:
    line = line.removeprefix("\ufeff") if number == 1 else line
    if UNDECODABLE in line:
        return Text(number, line.replace(UNDECODABLE, "\ufffd"), f"not {encoding}: bytes that are "
                    "no character of it")
    return Text(number, line)


def csv_rows(stream: BinaryIO, encoding: str, delimiter: str, quoting: str) -> Iterator[Row]:
    """Yield the header of a CSV file, then its rows; bytes that are no text are `UNDECODABLE`."""
    name = require_encoding(encoding)
    if hasattr(stream, "peek"):
        _refuse_other_mark(stream.peek(4)[:4], name)
    limit = csv.field_size_limit(LONGEST_LINE)  # a long text is a text
    text = io.TextIOWrapper(stream, encoding=name, errors=_HANDLER, newline="")
    try:
        lines = _lines(text)
        first = next(lines, "")
        own = _SEPARATOR_LINE.fullmatch(first.removeprefix("\ufeff"))
        delimiter = own[1] if own else _delimiter(delimiter)
        reader = csv.reader(lines if own else chain([first.removeprefix("\ufeff")], lines),
                            delimiter=delimiter, strict=True,
                            quoting=csv.QUOTE_NONE if quoting == "none" else csv.QUOTE_MINIMAL)
        before, seen = (1 if own else 0), _Seen(delimiter)
        while True:
            number = before + reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                yield Row(number, [], f"malformed CSV up to line {before + reader.line_num}: "
                                      f"{error}")
                continue
            if cells:
                yield Row(number, cells, seen.swallowed(number, before + reader.line_num, cells))
    finally:
        csv.field_size_limit(limit)
        text.detach()


def _lines(text: io.TextIOBase) -> Iterator[str]:
    """Yield the lines of a stream with their ends, none longer than may be."""
    number = 0
    while line := text.readline(LONGEST_LINE + 1):
        number += 1
        _require_length(line, number)
        yield line


class _Seen:
    """The rows of a stream of CSV that have passed: what a cell over several lines is held against.
    """

    def __init__(self, delimiter: str) -> None:
        self._delimiter, self._rows = delimiter, deque(maxlen=1_000)
        self._width = 0
        self._quotes = False  # a quote in a cell shows a writer that doubles it
        self._misfits = 0  # rows that would not fit without quoting: a cell holds a delimiter

    def swallowed(self, first: int, last: int, cells: list[str]) -> str | None:
        """Return why a row is none: a stray quote let a cell swallow what looks like rows."""
        if not self._width:
            self._width = len(cells)
            return None
        if last == first:
            if len(cells) == self._width:
                self._rows.append(cells)
            self._quotes |= any('"' in cell for cell in cells)
            self._misfits += any(self._delimiter in cell for cell in cells)
            return None
        cells_inside = None if len(cells) != self._width else swallowed(
            cells_over_lines(first, cells), list(self._rows), self._delimiter, blank_lines=False,
            quoted_well=self._quotes, commas_quoted=self._misfits > 0,
            misfits_without=lambda: self._misfits)
        return None if cells_inside is None else (
            f"the quote that opens in line {cells_inside.line} closes in line "
            f"{cells_inside.last_line}, and what stands between looks like rows. If a quote is an "
            "ordinary sign in this input, set data.quoting=none in ftzard.yaml; if it is one "
            "text, hand it in as .jsonl.")


def _delimiter(value: str) -> str:
    try:
        return delimiter_of(value)
    except ConfigError as error:
        raise DataError(f"the delimiter is {value!r}, expected one character that separates cells, "
                        "as ',' or ';', or the word tab; see --delimiter and data.delimiter."
                        ) from error


def parquet_rows(path: Path, columns: list[str] | None, needed: list[str]
                 ) -> Iterator[list[tuple[int, dict]]]:
    """Yield batches of (number from 1, {column: value}) of the columns that are there.

    Args:
        columns: Those that are wanted, None for all.
        needed: One of these must be there.

    Raises:
        DataError: For a file that is no Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            header = file.schema_arrow.names
            if not set(needed) & set(header):
                raise missing_column(needed[0], header)
            number = 0
            wanted = [name for name in header if columns is None or name in columns]
            for batch in file.iter_batches(batch_size=BATCH, columns=wanted):
                rows = [_without_nulls(row) for row in batch.to_pylist()]
                yield list(enumerate(rows, number + 1))
                number += len(rows)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as parquet ({error}); copy it again, or give it "
                        "the ending of what it holds.") from error


def _without_nulls(row: dict) -> dict:
    """Return a row whose lists of objects have no field that parquet filled up with nulls."""
    return {name: [{k: v for k, v in item.items() if v is not None} if isinstance(item, dict)
                   else item for item in value] if isinstance(value, list) else value
            for name, value in row.items()}


def missing_column(column: str, header: list[str], delimiter: str = "") -> DataError:
    """Return the error for a header that has no column of the texts."""
    others = [mark for mark in ";,\t|" if delimiter and mark in "".join(header)]
    if len(header) == 1 and others:
        shown = "tab" if others[0] == "\t" else f"'{others[0]}'"
        return DataError(f"the header has no column '{column}': it is {header[0][:80]!r}. Is it "
                         f"separated by {others[0]!r}? Then add --delimiter {shown}.")
    return DataError(f"the header has no column '{column}'{nearest(column, header)} Name the "
                     "column of the texts with --text.")


def shown(row: dict) -> str:
    """Return a row as a line of JSON, to say which one it was."""
    return json.dumps(row, ensure_ascii=False, default=str)
