"""Tables for Dagster's pages; truncated values are marked."""

from collections.abc import Iterable, Mapping, Sequence

from dagster import MetadataValue, TableColumn, TableMetadataValue, TableRecord, TableSchema

from ftzard.core.escaping import visible

#: Longest text of a cell.
WIDTH = 60


def of_rows(rows: Sequence[Mapping], columns: Iterable[str] | None = None,
            width: int | None = WIDTH) -> TableMetadataValue:
    """Return rows as a table.

    Args:
        rows: Maps of column to value.
        columns: Which columns, in order; None: those of any row, in the order they come up.
        width: Longest text of a cell; None cuts none.
    """
    names = list(columns if columns is not None else dict.fromkeys(k for row in rows for k in row))
    return MetadataValue.table(
        [TableRecord({name: cell(row.get(name), width) for name in names}) for row in rows],
        TableSchema([TableColumn(name, "string") for name in names]))


def of_trials(trials: Sequence[Mapping]) -> TableMetadataValue:
    """Return the trials of a search, best first: their values and scores."""
    return of_rows([{"trial": trial.get("number", trial.get("name")), **trial.get("params", {}),
                     **trial.get("metrics", {})} for trial in trials])


def cell(value: object, width: int | None = WIDTH) -> str | int | float | bool:
    """Return a value as a table cell: numbers short, texts on one line."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 10**6 else f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "" if value is None else " ".join(visible(value, line_end=" ", tab=" ").split())
    return f"{text[:width]}…" if width is not None and len(text) > width else text
