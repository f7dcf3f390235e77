"""Tables on disk: written whole or not at all, and to the same bytes for the same rows."""

import csv
import hashlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ftzard.core.artifacts import write_atomically
from ftzard.data import spreadsheet
from ftzard.errors import DataError
from ftzard.workspace.identity_version import FIRST, KEY, identity_of  # noqa: F401

# The types of the columns that artifacts have, whatever the frame in memory happens to hold: an
# empty table and a full one have the same schema.
TYPES = {
    **dict.fromkeys(
        ("id", "batch", "text", "label", "split", "group", "reason", "suggestion", "side",
         "labelled_by", "labelled_at", "own_answer", "messages", "source", "model"),
        pa.large_string(),
    ),
    "row": pa.int64(),
    "length": pa.int32(),
    "cut": pa.int32(),
    "prompt_length": pa.int32(),
    "tokens": pa.int32(),
    "finished": pa.bool_(),
    "input_ids": pa.large_list(pa.int32()),
    "confidence": pa.float64(),
    "logits": pa.large_list(pa.float64()),
    "probabilities": pa.large_list(pa.float64()),
}


def _table(frame: pd.DataFrame) -> pa.Table:
    columns = {}
    for name in frame.columns:
        column = frame[name]
        try:
            columns[name] = pa.array(column, type=TYPES.get(name), from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            expected = f" as {TYPES[name]}" if name in TYPES else ""
            raise DataError(f"Column '{name}' cannot be stored{expected}: {error}") from error
    return pa.table(columns)


def write_parquet(frame: pd.DataFrame, path: Path, *, identity: int = FIRST) -> Path:
    """Write a table as parquet, atomically; the index is not kept.

    The columns named in `TYPES` get those types ('input_ids' becomes a list of int32), all others
    the type of their values.

    Args:
        identity: Version of the rules by which its texts and names are the same; the first is not
            noted, so that tables of before keep their bytes.

    Raises:
        DataError: For values that do not fit.
    """
    table = _table(frame)
    if identity != FIRST:
        noted = {**(table.schema.metadata or {}), KEY: str(identity).encode()}
        table = table.replace_schema_metadata(noted)
    return write_atomically(Path(path), lambda part: pq.write_table(table, part))


def rows_digest(rows: pd.DataFrame) -> str:
    """Return 32 hex digits that tell rows apart: ids, texts and answers, in this order."""
    columns = rows[[name for name in ("id", "text", "messages", "label") if name in rows]]
    hashed = pd.util.hash_pandas_object(columns.astype("str"), index=False).to_numpy()
    return hashlib.sha256(hashed.tobytes()).hexdigest()[:32]


def read_parquet(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a table, or some of its columns; a cell of a list column is a numpy array.

    Raises DataError for a file that is missing or is no parquet.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist; run the step that writes it.")
    try:
        return pq.read_table(path, columns=columns).to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} cannot be read as parquet ({error}); write it again.") from error


def columns(path: Path) -> list[str]:
    """Return the names of a parquet file's columns; raises DataError for a file that is none."""
    try:
        return pq.read_schema(path).names
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} cannot be read as parquet ({error}); write it again.") from error


def write_csv(frame: pd.DataFrame, path: Path, *, encoding: str = "utf-8") -> Path:
    """Write a table as CSV for people, atomically, with a header line and '\\n' line ends.

    Its cells are escaped, so that a spreadsheet takes none of them for a formula;
    `spreadsheet.unescaped` gives the texts again. Raises DataError for a list column: a CSV cell
    would not read back as one.
    """
    for name in frame.columns:
        first = frame[name].iloc[0] if len(frame) else None
        if first is not None and not isinstance(first, str) and hasattr(first, "__len__"):
            raise DataError(
                f"Column '{name}' holds lists, which a CSV file does not keep; write parquet, or "
                "leave the column out."
            )
    safe = spreadsheet.escaped(frame)
    return write_atomically(
        Path(path),
        lambda part: safe.to_csv(part, index=False, lineterminator="\n", encoding=encoding,
                                 quoting=spreadsheet.QUOTING),
    )


def rows(path: Path) -> int:
    """Return the number of rows of a parquet, CSV (less its header) or JSON-lines file."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist; run the step that writes it.")
    if path.suffix == ".parquet":
        return pq.read_metadata(path).num_rows
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as stream:
        if path.suffix == ".jsonl":
            return sum(1 for line in stream if line.strip())
        if path.suffix == ".csv":
            return max(0, sum(1 for record in csv.reader(stream) if record) - 1)
    raise DataError(
        f"{path.name}: rows can be counted in .parquet, .csv and .jsonl files, not '{path.suffix}'."
    )


def read_joblib(path: Path, *, trusted: bool) -> object:
    """Load a `.joblib` file of an older system, if the user said that it may run code.

    A joblib file is a pickle: loading one runs whatever its author put in it.
    """
    path = Path(path)
    if not trusted:
        raise DataError(
            f"{path} is a joblib file: loading it runs any code its author put in it. If you know "
            "where it comes from, set data.trust_joblib=true; or convert it to parquet or JSON."
        )
    if not path.is_file():
        raise DataError(f"{path} does not exist.")
    import joblib

    try:
        return joblib.load(path)
    except (ValueError, EOFError, KeyError, IndexError, AttributeError, ImportError) as error:
        raise DataError(f"{path} cannot be loaded as a joblib file: {error}") from error
