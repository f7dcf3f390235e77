"""Parquet tables as cells of text."""

import json
import math
from collections.abc import Collection, Iterator, Mapping
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


def columns(path: Path, there: Mapping[str, str], *, nested: Collection[str] = ()
            ) -> dict[str, pa.Array]:
    """Read columns as strings, '' where missing; there: the result's name -> the file's column."""
    table = _table(path, list(dict.fromkeys(there.values())))
    return {name: _as_strings(path, column, table[column], name in nested)
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


def _as_strings(path: Path, column: str, values: pa.ChunkedArray, nested: bool) -> pa.Array:
    if nested and (pa.types.is_nested(values.type) or pa.types.is_binary(values.type)):
        cells = (None if cell is None else json.dumps(_plain(cell), ensure_ascii=False, default=str)
                 for cell in values.to_pylist())
        return pc.fill_null(pa.array(cells, type=pa.large_string()), "")
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_finite(values), values, None)
    try:
        values = values.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"{path}: column '{column}' holds {values.type}, expected texts or numbers."
        ) from error
    return pc.fill_null(values, "").combine_chunks()


def _plain(cell: object) -> object:
    """Return a cell without numbers that are none, and without the fields that are filled up with
    nulls, as Parquet does where a neighbour has a field."""
    if isinstance(cell, dict):
        return {k: _plain(v) for k, v in cell.items() if v is not None}
    if isinstance(cell, float) and not math.isfinite(cell):
        return None
    return [_plain(item) for item in cell] if isinstance(cell, list) else cell
