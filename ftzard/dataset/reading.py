"""Deliveries: how a raw file comes in, is kept under its content's name, and becomes rows.

Every cell is read as the text it is. Nothing guesses at missing values or numbers: 'NA', 'null'
and '007' are texts, and only an empty cell is empty.
"""

import csv
import gzip
import io
import json
import re
import shutil
import sys
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ftzard.artifact import sha256, write_atomically
from ftzard.errors import ConfigError, DataError, nearest

TYPES = (".csv", ".csv.gz", ".jsonl", ".parquet")
# What may be kept as it was delivered: Label Studio's exports are JSON.
KEPT = (*TYPES, ".json")
# Column that files made of several sources have beside the user's own: which source a row is of.
SOURCE = "ftzard_source"


def file_type(path: Path, valid: tuple[str, ...] = TYPES) -> str:
    """Return the file's type as its name says ('.csv.gz'), or refuse an unknown one."""
    name = Path(path).name.lower()
    for known in sorted(valid, key=len, reverse=True):
        if name.endswith(known):
            return known
    labels = " (handed in labels: .json of Label Studio, too)" if ".json" in valid else ""
    raise DataError(
        f"{path} is of an unknown type '{Path(path).suffix}'; valid are: {', '.join(TYPES)}{labels}"
        ". Convert the file, or give it the ending of what it holds."
    )


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


def store_raw(path: Path, data_dir: Path) -> Path:
    """Keep a delivery as `data_dir/raw/<sha256>.<ext>` and return that path.

    The same content is kept once, whatever its name. Raises DataError for a file that is missing,
    empty, of an unknown type, or that changes while it is copied.
    """
    path = _existing(path)
    ending, digest = file_type(path, KEPT), sha256(path)
    kept = Path(data_dir) / "raw" / f"{digest}{ending}"
    if kept.is_file() and sha256(kept) == digest:
        return kept

    def copy(part: Path) -> None:
        shutil.copyfile(path, part)
        if sha256(part) != digest:
            raise DataError(f"{path} changed while it was copied; hand it in again when complete.")

    return write_atomically(kept, copy)


def read_raw(
    path: Path,
    *,
    text_column: str,
    label_column: str | None,
    encoding: str = "utf-8",
    delimiter: str = ",",
    group_column: str | None = None,
    split_column: str | None = None,
) -> pd.DataFrame:
    """Read a delivery as columns row (int64, from 0), text and, where named, label, group, split.

    All but `row` are strings exactly as in the file; a missing value is ''. `row` counts the
    file's records, so that a rejected one can be found again. Labels that are a list are JSON, for
    `target_checks` to refuse. A file that was made of several sources has a column `source` as
    well. Raises DataError, naming the file and the line, for whatever cannot be read without
    guessing.
    """
    wanted = {"text": text_column, "label": label_column}
    wanted |= {"group": group_column, "split": split_column}
    wanted = {name: column for name, column in wanted.items() if column is not None}
    remedy = "Correct the file's header, or set data.{name}_column."
    cells = read_cells(path, wanted, {"source": SOURCE}, nested=("label",), encoding=encoding,
                       delimiter=delimiter, remedy=remedy)
    rows = {"row": pa.array(range(len(cells["text"])), type=pa.int64()), **cells}
    return pa.table(rows).to_pandas()


def read_cells(
    path: Path,
    wanted: dict[str, str],
    optional: dict[str, str] | None = None,
    *,
    nested: Collection[str] = (),
    encoding: str = "utf-8",
    delimiter: str = ",",
    remedy: str = "Correct the file's header.",
) -> dict[str, pa.Array]:
    """Read some columns of a file as strings.

    wanted: the result's name -> the file's column; optional: the same for columns that the file
    may lack, and the result then too. nested: names whose cells may be lists or objects, which
    come as JSON. remedy: what to do about a missing column.
    """
    path = _existing(path)
    kind = file_type(path)
    asked = _Asked(dict(wanted), optional or {}, frozenset(nested), remedy, delimiter)
    if kind == ".parquet":
        cells = _parquet_columns(path, asked)
    elif kind == ".jsonl":
        cells = _jsonl_columns(path, _decoded(path, encoding, compressed=False), asked)
    else:
        text = _decoded(path, encoding, compressed=kind == ".csv.gz")
        cells = _csv_columns(path, text, asked)
    if not all(len(column) for column in cells.values()):
        raise DataError(f"{path} has a header but no rows; expected at least one row below it.")
    return cells


@dataclass(frozen=True)
class _Asked:
    """What `read_cells` was asked for."""

    wanted: dict[str, str]
    optional: dict[str, str]
    nested: frozenset[str]
    remedy: str
    delimiter: str

    def of(self, header: Collection[str]) -> dict[str, str]:
        """Return name -> column of what is wanted, and of what a file with this header has."""
        return self.wanted | {n: c for n, c in self.optional.items() if c in header}


def header(path: Path, *, encoding: str = "utf-8", delimiter: str = ",") -> list[str]:
    """Return the names of a file's columns, of JSON lines those of all lines, in their order.

    Raises DataError for a file that cannot be read.
    """
    path = _existing(path)
    kind = file_type(path)
    if kind == ".parquet":
        return _parquet_schema(path).names
    text = _decoded(path, encoding, compressed=kind == ".csv.gz")
    if kind != ".jsonl":
        return next(_csv_records(path, text, delimiter), (1, []))[1]
    return list(dict.fromkeys(name for _, value in _json_lines(path, text) for name in value))


def _decoded(path: Path, encoding: str, *, compressed: bool) -> str:
    content = path.read_bytes()
    if compressed:
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"{path} is not a complete gzip file ({error}); copy it again, or drop '.gz' from "
                "its name if it is not compressed."
            ) from error
        if not content:
            raise DataError(f"{path} is empty once decompressed, expected rows.")
    try:
        text = content.decode(encoding)
    except LookupError as error:
        raise ConfigError(
            f"data.encoding='{encoding}' is not an encoding Python knows"
            f"{nearest(encoding, ['utf-8', 'latin-1', 'cp1252', 'utf-16'])}"
        ) from error
    except UnicodeDecodeError as error:
        start = max(0, error.start - 20)
        around = content[start : error.start + 20].decode("latin-1")
        raise DataError(
            f"{path} is not {encoding}: byte {error.start} is 0x{content[error.start]:02x}, near "
            f"{around!r}. Set data.encoding to {_encodings(content, encoding)}; 'ftzard init' "
            "takes it as --encoding."
        ) from error
    _refuse_mojibake(path, content, encoding)
    return text.removeprefix("\ufeff")


def _encodings(content: bytes, tried: str) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    fitting = []
    for encoding in ("utf-8", "cp1252", "latin-1"):
        try:
            content.decode(encoding)
        except UnicodeDecodeError:
            continue
        fitting.append(encoding)
    return " or ".join(e for e in fitting if e != tried.lower()) or "what the file was written in"


def _refuse_mojibake(path: Path, content: bytes, encoding: str) -> None:
    """Any bytes are valid latin-1; those that are valid utf-8 beyond ASCII were hardly meant so."""
    one_byte = {"latin-1", "latin1", "iso-8859-1", "cp1252", "windows-1252", "iso-8859-15"}
    if encoding.lower().replace("_", "-") not in one_byte or content.isascii():
        return
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return
    example = next(character for character in text if ord(character) > 127)
    raise DataError(
        f"{path} is valid utf-8; read as {encoding}, its '{example}' would become "
        f"'{example.encode().decode(encoding, errors='replace')}'. Set data.encoding=utf-8; "
        "'ftzard init' takes it as --encoding."
    )


def _positions(
    path: Path, wanted: dict[str, str], header: list[str], remedy: str, delimiter: str = ""
) -> dict[str, int]:
    """Return where each wanted column stands; one that is missing or doubled is an error."""
    positions = {}
    for name, column in wanted.items():
        found = [place for place, there in enumerate(header) if there == column]
        if len(found) > 1:
            raise DataError(f"{path} has {len(found)} columns named '{column}'; rename one.")
        if not found:
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
        positions[name] = found[0]
    return positions


def _csv_records(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (first line number, cells) of each record; blank lines are none."""
    # The limit of a cell's size is a setting of the whole process; a long line is data to reject
    # later, with a reason, and not a reason to stop here.
    limit = csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for record in reader:
            if record:
                yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            problem = "opens a quote that is never closed"
        else:
            problem = f"is malformed: {error}"
        raise DataError(
            f"{path}, line {line}: the record that starts here {problem}. Write a quote inside a "
            'quoted cell as "".'
        ) from error
    finally:
        csv.field_size_limit(limit)


def _csv_columns(path: Path, text: str, asked: _Asked) -> dict[str, pa.Array]:
    delimiter = asked.delimiter
    if len(delimiter) != 1:
        raise ConfigError(f"data.delimiter={delimiter!r}, expected one character, as ',' or ';'.")
    records = _csv_records(path, text, delimiter)
    _, header = next(records, (1, []))
    if not header:
        raise DataError(f"{path} holds only blank lines, expected a header line and rows.")
    positions = _positions(path, asked.of(header), header, asked.remedy, delimiter)
    columns: dict[str, list[str]] = {name: [] for name in positions}
    taken = [(columns[name], position) for name, position in positions.items()]
    width = len(header)
    for line, record in records:
        if len(record) != width:
            raise DataError(
                f"{path}, line {line}: {len(record)} cells, expected {width} as in the header "
                f"({', '.join(header)[:200]}). Quote a cell that holds {delimiter!r}, or set "
                "data.delimiter."
            )
        for cells, position in taken:
            cells.append(record[position])
    return {name: pa.array(cells, type=pa.large_string()) for name, cells in columns.items()}


def _json_lines(path: Path, text: str, example: str = "text") -> Iterator[tuple[int, dict]]:
    """Yield (line number, object) of every line that is not blank; example: a column's name."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}, line {number}: not JSON ({error}); expected one object a line."
            ) from error
        if not isinstance(value, dict):
            raise DataError(
                f"{path}, line {number}: a JSON {type(value).__name__}, expected an object such as "
                f'{{"{example}": "…"}}.'
            )
        yield number, value


def _jsonl_columns(path: Path, text: str, asked: _Asked) -> dict[str, pa.Array]:
    every = asked.wanted | asked.optional
    cells: dict[str, list[str]] = {name: [] for name in every}
    names: dict[str, None] = {}
    for number, value in _json_lines(path, text, next(iter(every.values()))):
        names |= dict.fromkeys(value)
        for name, column in every.items():
            nested = name in asked.nested
            cells[name].append(_json_cell(path, number, column, value.get(column), nested))
    if not next(iter(cells.values())):
        raise DataError(f"{path} holds only blank lines, expected one JSON object a line.")
    there = asked.of(names)
    _positions(path, there, list(names), asked.remedy)
    return {name: pa.array(cells[name], type=pa.large_string()) for name in there}


def _json_cell(path: Path, number: int, column: str, value: object, nested: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        # JSON may hold half a surrogate pair, which no encoding can write.
        return value.encode("utf-8", errors="replace").decode("utf-8")
    if nested:
        text = json.dumps(value, ensure_ascii=False)
        return text.encode("utf-8", errors="replace").decode("utf-8")
    if isinstance(value, list | dict):
        raise DataError(
            f"{path}, line {number}: '{column}' holds a {type(value).__name__}, expected a text or "
            "a number."
        )
    return json.dumps(value)


def _parquet_schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise _no_parquet(path, error) from error


def _no_parquet(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read as parquet ({error}); copy it again, or give it the ending of "
        "what it holds."
    )


def _parquet_columns(path: Path, asked: _Asked) -> dict[str, pa.Array]:
    header = _parquet_schema(path).names
    there = asked.of(header)
    _positions(path, there, header, asked.remedy)
    try:
        table = pq.read_table(path, columns=list(dict.fromkeys(there.values())))
    except (pa.ArrowInvalid, OSError) as error:
        raise _no_parquet(path, error) from error
    return {name: _as_strings(path, column, table[column], name in asked.nested)
            for name, column in there.items()}


def _as_strings(path: Path, column: str, values: pa.ChunkedArray, nested: bool) -> pa.Array:
    if nested and (pa.types.is_nested(values.type) or pa.types.is_binary(values.type)):
        cells = (None if cell is None else
                 json.dumps(_without_nulls(cell), ensure_ascii=False, default=str)
                 for cell in values.to_pylist())
        return pc.fill_null(pa.array(cells, type=pa.large_string()), "")
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    try:
        values = values.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"{path}: column '{column}' holds {values.type}, expected texts or numbers."
        ) from error
    return pc.fill_null(values, "").combine_chunks()


def _without_nulls(cell: object) -> object:
    """Return a nested cell without the fields that parquet filled up with nulls."""
    if isinstance(cell, dict):
        return {k: _without_nulls(v) for k, v in cell.items() if v is not None}
    return [_without_nulls(item) for item in cell] if isinstance(cell, list) else cell
