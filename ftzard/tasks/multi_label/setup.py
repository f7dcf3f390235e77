"""What a new workspace for multi-label classification begins with: its labels, its model."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from ftzard.data import reading
from ftzard.data.columns import layout_values, like_labels, require_columns
from ftzard.data.identity import LATEST
from ftzard.errors import DataError
from ftzard.tasks.classification.setup import chosen_model
from ftzard.tasks.multi_label import label_cells, label_sets

#: Options of `ftzard init` that are of this task.
OPTIONS: frozenset[str] = frozenset()


def config_for(file: Path | None, layout: Mapping[str, str], say: Callable[[str], object], *,
               text: str | None = None, label: str | None = None) -> dict:
    """Return what ftzard.yaml says of a user's file: its columns and labels, and the model.

    Args:
        file: the file; None leaves everything but the task at its default.
        layout: encoding, delimiter and quoting of the file.
        say: gets sentences on the rows with their labels and on the model.
        text: the column with the text; None takes `text`.
        label: the column with the labels; None takes `label`.

    Raises:
        DataError: For a file that cannot be used.
    """
    if file is None:
        return {"task": "multi_label"}
    group, rows = describe_data(file, text or "text", label or "label", **layout)
    say(_balance(rows["label"]))
    return {"task": "multi_label", "data": group, **chosen_model(rows["text"], say)}


def describe_data(file: Path, text: str, label: str, *, encoding: str = "utf-8",
                  delimiter: str = ",", quoting: str = "csv") -> tuple[dict, pd.DataFrame]:
    """Return the `data` group for a user's file, its labels by name, and its rows with labels.

    Raises:
        DataError: For a missing column, and for one with fewer than two labels, or with a label for
            every other row.
    """
    written = {"encoding": encoding, "delimiter": delimiter, "quoting": quoting}
    there = reading.header(file, **written)
    require_columns(file, there, {"--text": text, "--label": label}, delimiter)
    rows = reading.read_raw(file, text_column=text, label_column=label, **written)
    try:
        sets, _ = label_cells.read(rows["label"], None, LATEST)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    rows = rows.assign(label=sets)[sets != ""]
    names = label_sets.names_in(rows["label"])
    if len(names) < 2 or len(names) > len(rows) / 2:
        other = like_labels(file, there, {text, label}, written)
        raise DataError(
            f"{file}: column '{label}' has {len(names)} different labels in {len(rows)} filled "
            "rows; expected 2 labels or more, and at most one for every two rows. Name the label "
            f"column, as in --label {shlex.quote(other or 'labels')}.")
    return ({"text_column": text, "label_column": label, **layout_values(**written),
             "labels": {name: name for name in names}}, rows)


def _balance(labels: pd.Series, most: int = 8) -> str:
    """Return a sentence on how many rows have which label, the most frequent ones first."""
    counts = labels.map(label_sets.split).explode().value_counts()
    shown = [f"{name} {count / len(labels):.0%}" for name, count in counts.head(most).items()]
    rest = f", and {len(counts) - most} more" if len(counts) > most else ""
    several = labels.str.contains(label_sets.SEPARATOR, regex=False).mean()
    return (f"rows: {len(labels):,} with {len(counts)} labels, {several:.0%} of them with several: "
            f"{', '.join(shown)}{rest}")
