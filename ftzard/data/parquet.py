"""Parquet tables as cells of text."""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as dataset
import pyarrow.parquet as pq

from ftzard.core import free_memory
from ftzard.data import formats
from ftzard.errors import DataError

#: Rows that are unpacked at once while a file is read.
_ROWS = 1024


def schema(path: Path) -> pa.Schema:
    """Return a file's schema, or raise DataError for what is no Parquet file."""
    formats.require(path, ".parquet")
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def columns(path: Path, there: Mapping[str, str], *, nested: Collection[str] = (),
            no_bytes: Collection[str] = ()) -> dict[str, pa.Array]:
    """Read columns as strings, '' where missing; there: the result's name -> the file's column.

    Args:
        nested: Names whose cells may be lists, objects or bytes.
        no_bytes: Those of them that are refused if they hold bytes that are no UTF-8.
    """
    table = _table(path, list(dict.fromkeys(there.values())))
    return {name: _as_strings(path, column, table[column], name in nested,
                              name in no_bytes)
            for name, column in there.items()}


def records(path: Path) -> Iterator[dict[str, object]]:
    """Yield the rows as column -> value, None where missing."""
    for batch in _table(path, None).to_batches():
        for row in batch.to_pylist():
            yield {name: _plain(value) for name, value in row.items()}


def _table(path: Path, names: list[str] | None) -> pa.Table:
    """Read columns, all without names; raises DataError if they have no room in memory.

    What a file says of its size is looked at first. Repeated cells are stored once, so it may hold
    more than it says: it is read in parts, and no further than there is room for.
    """
    formats.require(path, ".parquet")
    most, size, parts = free_memory.most_text(), 0, []
    try:
        free_memory.require_for_text(path, _declared(path, names), "as it says itself")
        table = dataset.dataset(path, format="parquet", partitioning=None)
        for part in table.to_batches(columns=names, batch_size=_ROWS, batch_readahead=1,
                                     fragment_readahead=1):
            size += _unpacked(part)
            if most is not None and size > most:
                raise free_memory.too_large(
                    path, f"more than {free_memory.shown(most)} once unpacked", most)
            parts.append(part)
        wanted = table.schema if names is None else pa.schema(
            [table.schema.field(name) for name in names])
        return pa.Table.from_batches(parts, wanted)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _unpacked(part: pa.RecordBatch) -> int:
    """Return the bytes of rows as strings: cells that share one, as a dictionary's do, count each.
    """
    size = 0
    for column in part.columns:
        if pa.types.is_dictionary(column.type) and (
                pa.types.is_string(column.type.value_type) or _is_bytes(column.type)):
            lengths = pc.binary_length(column.dictionary).take(column.indices)
            size += pc.sum(pc.cast(lengths, pa.int64())).as_py() or 0
        else:
            size += column.nbytes
    return size


def _declared(path: Path, names: list[str] | None) -> int:
    """Return the unpacked bytes of columns, as a file's own table of contents has them."""
    metadata = pq.read_metadata(path)
    columns = (metadata.row_group(group).column(number) for group in range(metadata.num_row_groups)
               for number in range(metadata.num_columns))
    return sum(column.total_uncompressed_size for column in columns
               if names is None or _top(column.path_in_schema, names))


def _top(path: str, names: list[str]) -> bool:
    """Return whether a column in a file, a part of one if that is nested, is among the names."""
    return any(path == name or path.startswith(f"{name}.") for name in names)


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read as parquet ({error}); copy it again, or give it the ending of "
        "what it holds."
    )


def _as_strings(path: Path, column: str, values: pa.ChunkedArray, nested: bool, text: bool
                ) -> pa.Array:
    if nested and (pa.types.is_nested(values.type) or _is_bytes(values.type)):
        cells = [_plain(cell) for cell in values.to_pylist()]
        if text:
            _require_no_bytes(path, column, cells)
        shown = (cell if cell is None or isinstance(cell, str) else
                 json.dumps(cell, ensure_ascii=False, default=str) for cell in cells)
        return pc.fill_null(pa.array(shown, type=pa.large_string()), "")
    if _is_bytes(values.type):
        cells = [_plain(cell) for cell in values.to_pylist()]
        _require_no_bytes(path, column, cells)
        values = pa.chunked_array([pa.array(cells, type=pa.large_string())])
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_finite(values), values, None)
    try:
        values = values.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"{path}: column '{column}' holds {values.type}, expected texts or numbers."
        ) from error
    return pc.fill_null(values, "").combine_chunks()


def _is_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
            or pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind))


def _require_no_bytes(path: Path, column: str, cells: Sequence[object]) -> None:
    """Raise DataError for a cell, or an item of a list, of bytes that are no UTF-8."""
    for number, cell in enumerate(cells, start=1):
        for item in cell if isinstance(cell, list) else [cell]:
            if isinstance(item, bytes):
                raise DataError(
                    f"{path}, row {number}: column '{column}' holds bytes that are no UTF-8 "
                    f"({item[:20]!r}), expected texts or numbers. Decode the column, and write it "
                    "as strings.")


def _plain(cell: object) -> object:
    """Return a cell without numbers that are none, and without the fields that are filled up with
    nulls, as Parquet does where a neighbour has a field; bytes in UTF-8 as the text they are."""
    if isinstance(cell, bytes):
        try:
            return cell.decode("utf-8")
        except UnicodeDecodeError:
            return cell
    if isinstance(cell, dict):
        return {k: _plain(v) for k, v in cell.items() if v is not None}
    if isinstance(cell, float) and not math.isfinite(cell):
        return None
    return [_plain(item) for item in cell] if isinstance(cell, list) else cell
