"""Parquet tables as cells of text."""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ftzard.dataset import formats
from ftzard.errors import DataError


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

    nested: names whose cells may be lists, objects or bytes; no_bytes: those of them that are
    refused if they hold bytes that are no UTF-8.
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
    formats.require(path, ".parquet")
    try:
        return pq.read_table(path, columns=names, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


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
