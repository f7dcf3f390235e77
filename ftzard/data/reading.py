"""Deliveries: how a raw file comes in, is kept under its content's name, and becomes rows.

Every cell is read as the text it is. Nothing guesses at missing values or numbers: 'NA', 'null'
and '007' are texts, and only an empty cell is empty.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import pandas as pd
import pyarrow as pa

from ftzard.core.artifacts import sha256, write_atomically
from ftzard.data import formats, json_lines, parquet
from ftzard.data.csv_table import (
    CsvText,
    delimiter_of,
    fitting_quoting,
    line_counts,
    quoting_of,
)
from ftzard.data.decoding import read_text
from ftzard.data.formats import STORED_TYPES, TYPES, file_type
from ftzard.data.line_counts import LineCounts
from ftzard.errors import DataError, nearest

# Column that files made of several sources have beside the user's own: which source a row is of.
SOURCE = "ftzard_source"
#: Columns of texts: what is no character there spoils a row. A name that has one is refused.
TEXTS = ("text", "input", "messages", "system", "history", "unlearned")


class Written(Protocol):
    """What a config's group `data` says of how files in text are written."""

    encoding: str
    delimiter: str
    quoting: str


def layout(data: Written) -> dict[str, str]:
    """Return how files are written, as a config's group `data` says: arguments of the readers."""
    return {"encoding": data.encoding, "delimiter": data.delimiter, "quoting": data.quoting}


def _existing(path: Path) -> Path:
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a directory, expected one file ({', '.join(TYPES)}).")
    if not path.exists():
        there = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        there = [name for name in there if name.endswith(TYPES)][:20]
        hint = nearest(path.name, there) if there else "."
        raise DataError(f"{path} does not exist{hint} Put the file there, or correct the path.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes), expected rows; was the copy interrupted?")
    return path


def batch_of(path: Path) -> str:
    """Return the batch a delivery is: the first 12 hex digits of its content's SHA-256.

    A file that is kept under `raw/<sha256>.<ext>` is not hashed again.
    """
    path = Path(path)
    stem = path.name.split(".", 1)[0]
    if path.parent.name == "raw" and re.fullmatch(r"[0-9a-f]{64}", stem):
        return stem[:12]
    return sha256(_existing(path))[:12]


def store_raw(path: Path, data_dir: Path,
              opened: Callable[[Path], AbstractContextManager[BinaryIO]] | None = None) -> Path:
    """Keep a delivery as `data_dir/raw/<sha256>.<ext>` and return that path.

    The same content is kept once, whatever its name. opened: how the file is opened, once, so that
    what was checked then is what is kept; default: by its name. Raises DataError for a file that is
    missing, empty, of an unknown type, or that changes while it is copied.
    """
    path = _existing(path)
    ending = file_type(path, STORED_TYPES)
    formats.require(path, ending)
    with (opened or _by_name)(path) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        target = Path(data_dir) / "raw" / f"{digest}{ending}"
        if target.is_file() and sha256(target) == digest:
            return target

        def copy(part: Path) -> None:
            stream.seek(0)
            with open(part, "wb") as written:
                shutil.copyfileobj(stream, written, 1 << 20)
            if sha256(part) != digest:
                raise DataError(
                    f"{path} changed while it was copied; hand it in again when complete.")

        return write_atomically(target, copy)


def _by_name(path: Path) -> BinaryIO:
    return open(path, "rb")


def read_raw(
    path: Path,
    *,
    text_column: str,
    label_column: str | None,
    encoding: str = "utf-8",
    delimiter: str = ",",
    quoting: str = "csv",
    group_column: str | None = None,
    split_column: str | None = None,
) -> pd.DataFrame:
    """Read a delivery as columns row (int64, from 0), text and, where named, label, group, split.

    All but `row` are strings exactly as in the file; a missing value is ''. `row` counts the
    file's records, so that a rejected one can be found again. Labels that are a list are JSON, for
    `label_lists` to refuse. A file that was made of several sources has a column `source` as
    well. Raises DataError, naming the file and the line, for whatever cannot be read without
    guessing.
    """
    wanted = {"text": text_column, "label": label_column}
    wanted |= {"group": group_column, "split": split_column}
    wanted = {name: column for name, column in wanted.items() if column is not None}
    remedy = "Correct the file's header, or set data.{name}_column."
    cells = read_cells(path, wanted, {"source": SOURCE}, nested=("label",), no_bytes=("label",),
                       encoding=encoding, delimiter=delimiter, quoting=quoting, remedy=remedy)
    rows = {"row": pa.array(range(len(cells["text"])), type=pa.int64()), **cells}
    return pa.table(rows).to_pandas()


def read_cells(
    path: Path,
    wanted: dict[str, str],
    optional: dict[str, str] | None = None,
    *,
    nested: Collection[str] = (),
    texts: Collection[str] = TEXTS,
    no_bytes: Collection[str] = (),
    encoding: str = "utf-8",
    delimiter: str = ",",
    quoting: str = "csv",
    remedy: str = "Correct the file's header.",
) -> dict[str, pa.Array]:
    """Read some columns of a file as strings.

    Args:
        wanted: The result's name -> the file's column.
        optional: The same for columns that the file may lack, and the result then too.
        nested: Names whose cells may be lists or objects, which come as JSON, and bytes there,
            such as an image, in Python's spelling if they are no UTF-8.
        no_bytes: Those of them that may not hold such bytes.
        texts: Names whose cells may hold `json_lines.MARK`, for cleaning to reject their rows;
            what is no character in any other is an error.
        encoding, delimiter, quoting: Of a file in text (see `layout`).
        remedy: What to do about a missing column.
    """
    path = _existing(path)
    kind = file_type(path)
    asked = _Asked(dict(wanted), optional or {}, frozenset(nested), frozenset(texts),
                   frozenset(no_bytes), remedy)
    if kind == ".parquet":
        cells = _parquet_columns(path, asked)
    elif kind == ".jsonl":
        cells = _jsonl_columns(path, read_text(path, encoding, kind), asked)
    else:
        cells = _csv_columns(_csv(path, kind, encoding, delimiter, quoting), asked)
    if not all(len(column) for column in cells.values()):
        raise DataError(f"{path} has a header but no rows; expected at least one row below it.")
    return cells


def records(path: Path, *, encoding: str = "utf-8", delimiter: str = ",", quoting: str = "csv"
            ) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield (first line, column -> cell) of each row of a file, as training reads it.

    The cells of CSV are texts, those of JSON lines and Parquet what they are there, None where
    missing; a row of Parquet has its number from 1. Raises DataError as `read_cells` does, for a
    cell that swallowed rows after the last row.
    """
    path = _existing(path)
    kind = file_type(path)
    if kind == ".parquet":
        yield from enumerate(parquet.records(path), start=1)
    elif kind == ".jsonl":
        yield from json_lines.records(path, read_text(path, encoding, kind))
    else:
        rows = _csv(path, kind, encoding, delimiter, quoting).rows()
        _, header = next(rows, (1, []))
        for line, row in rows:
            yield line, dict(zip(header, row, strict=True))


@dataclass(frozen=True)
class _Asked:
    """What `read_cells` was asked for."""

    wanted: dict[str, str]
    optional: dict[str, str]
    nested: frozenset[str]
    texts: frozenset[str]
    no_bytes: frozenset[str]
    remedy: str

    def of(self, header: Collection[str]) -> dict[str, str]:
        """Return name -> column of what is wanted, and of what a file with this header has."""
        return self.wanted | {n: c for n, c in self.optional.items() if c in header}


def _csv(path: Path, kind: str, encoding: str, delimiter: str, quoting: str) -> CsvText:
    return CsvText.of(path, read_text(path, encoding, kind), delimiter, quoting)


def header(path: Path, *, encoding: str = "utf-8", delimiter: str = ",", quoting: str = "csv"
           ) -> list[str]:
    """Return the names of a file's columns, of JSON lines those of all lines, in their order.

    Raises DataError for a file that cannot be read.
    """
    path = _existing(path)
    kind = file_type(path)
    if kind == ".parquet":
        return parquet.schema(path).names
    if kind != ".jsonl":
        return next(_csv(path, kind, encoding, delimiter, quoting).records(), (1, 1, []))[2]
    lines = json_lines.records(path, read_text(path, encoding, kind))
    return list(dict.fromkeys(name for _, value in lines for name in value))


def count_lines(path: Path, *, encoding: str = "utf-8", delimiter: str = ",",
                quoting: str = "csv") -> LineCounts | None:
    """Return how the lines of a file in text became rows; None for a file that has no lines."""
    path = _existing(path)
    kind = file_type(path)
    if kind == ".parquet":
        return None
    if kind == ".jsonl":
        return json_lines.line_counts(read_text(path, encoding, kind))
    return line_counts(_csv(path, kind, encoding, delimiter, quoting))


def find_layout(path: Path, *, encoding: str = "utf-8", delimiter: str = ",",
                quoting: str | None = None) -> tuple[dict[str, str], str]:
    """Return how a file is written (see `layout`), and why, '' where nothing was to be found out.

    Args:
        delimiter: A line `sep=X` in the file comes before it.
        quoting: None finds out which fits; see `csv_table.fitting_quoting`.
    """
    path = _existing(path)
    kind = file_type(path)
    if kind not in (".csv", ".csv.gz"):
        return {"encoding": encoding, "delimiter": delimiter_of(delimiter),
                "quoting": quoting_of(quoting or "csv")}, ""
    table = _csv(path, kind, encoding, delimiter, quoting or "csv")
    why = ""
    if quoting is None:
        quoting, why = fitting_quoting(table)
    return {"encoding": encoding, "delimiter": table.delimiter, "quoting": quoting}, why


def _positions(
    path: Path, wanted: dict[str, str], header: list[str], remedy: str, delimiter: str = ""
) -> dict[str, int]:
    """Return where each wanted column stands; one that is missing or doubled is an error."""
    positions = {}
    for name, column in wanted.items():
        places = [place for place, there in enumerate(header) if there == column]
        if len(places) > 1:
            raise DataError(f"{path} has {len(places)} columns named '{column}'; rename one.")
        if not places:
            shown = ", ".join(there if len(there) <= 40 else there[:40] + "…" for there in header)
            close = nearest(column, header)
            guess = close if "did you mean" in close else "."
            others = [mark for mark in ";,\t|" if delimiter and mark in "".join(header)]
            if len(header) == 1 and others:
                guess, remedy = ".", f"Is it separated by {others[0]!r}? Then set data.delimiter."
            raise DataError(
                f"{path} has no column '{column}'{guess} Its header is: {shown}. "
                f"{remedy.format(name=name)}"
            )
        positions[name] = places[0]
    return positions


def _csv_columns(table: CsvText, asked: _Asked) -> dict[str, pa.Array]:
    rows = table.rows()
    _, header = next(rows, (1, []))
    if not header:
        raise DataError(f"{table.path} holds only blank lines, expected a header line and rows.")
    positions = _positions(table.path, asked.of(header), header, asked.remedy, table.delimiter)
    columns: dict[str, list[str]] = {name: [] for name in positions}
    chosen = [(columns[name], position) for name, position in positions.items()]
    for _, row in rows:
        for cells, position in chosen:
            cells.append(row[position])
    return {name: pa.array(cells, type=pa.large_string()) for name, cells in columns.items()}


def _jsonl_columns(path: Path, text: str, asked: _Asked) -> dict[str, pa.Array]:
    every = asked.wanted | asked.optional
    cells: dict[str, list[str]] = {name: [] for name in every}
    names: dict[str, None] = {}
    for number, value in json_lines.records(path, text, next(iter(every.values()))):
        names |= dict.fromkeys(value)
        for name, column in every.items():
            cell = json_lines.cell(path, number, column, value.get(column),
                                   nested=name in asked.nested)
            if json_lines.MARK in cell and name.partition(" ")[0] not in asked.texts:
                raise DataError(f"{path}, line {number}: '{column}' holds "
                                f"{json_lines.NO_CHARACTER}; correct it, or delete the line.")
            cells[name].append(cell)
    if not next(iter(cells.values())):
        raise DataError(f"{path} holds only blank lines, expected one JSON object a line.")
    there = asked.of(names)
    _positions(path, there, list(names), asked.remedy)
    return {name: pa.array(cells[name], type=pa.large_string()) for name in there}


def _parquet_columns(path: Path, asked: _Asked) -> dict[str, pa.Array]:
    header = parquet.schema(path).names
    there = asked.of(header)
    _positions(path, there, header, asked.remedy)
    return parquet.columns(path, there, nested=asked.nested, no_bytes=asked.no_bytes)
