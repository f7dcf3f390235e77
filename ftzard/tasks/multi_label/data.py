"""Data of multi-label classification: a text and any number of labels of a fixed set."""

from collections.abc import Iterable, Mapping

import pandas as pd

from ftzard.config.schema import Data
from ftzard.data import cleaning, label_lists, splitting
from ftzard.errors import DataError
from ftzard.tasks.classification import data as classification
from ftzard.tasks.classification import text_rows
from ftzard.tasks.classification.data import (
    length_in_characters,
    optional_columns,
    read,
    require_tokens_of,
    text_keys,
    tokenize,
    tokenizer_corpus,
    unread_columns,
)
from ftzard.tasks.multi_label import label_cells, label_sets

__all__ = ["length_in_characters", "optional_columns", "read", "require_tokens_of", "text_keys",
           "tokenize", "tokenizer_corpus", "unread_columns"]

ONE_LABEL = True
repeated_of = None
_MISSING = "label missing"


def detect(column: Iterable[str]) -> bool:
    """Return whether a column of labels holds several labels per row."""
    return label_lists.detect(column) is not None


def raw_again(cleaned: pd.DataFrame, data: Data, name: str, *, labelled: bool) -> pd.DataFrame:
    """Return cleaned rows as raw ones, with the raw values of their labels."""
    rows = classification.raw_again(cleaned, data, name, labelled=labelled)
    if not labelled or not data.labels:
        return rows
    raw = {name: value for value, name in data.labels.items()}
    texts = {text: label_sets.join(raw.get(part, part) for part in label_sets.split(text))
             for text in cleaned["label"].unique()}
    return rows.assign(label=cleaned["label"].map(texts).astype("str"))


def clean(raw: pd.DataFrame, data: Data, *, batch: str, identity: int, cleaning: Mapping
          ) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows that can be used, cleaned, and those that cannot, with a reason each.

    A row without a label is written `[]` in the file; an empty cell is a label that is missing.
    """
    if "label" not in raw:
        return text_rows.clean(raw, batch=batch, identity=identity, **cleaning)
    labels, unknown = label_cells.read(raw["label"], data.labels, identity)
    cleaned, rejected = text_rows.clean(raw.assign(label=labels), batch=batch, identity=identity,
                                        **cleaning)
    reasons = rejected["row"].map(dict(zip(raw["row"], unknown, strict=True))).fillna("")
    explained = (rejected["reason"] == _MISSING) & (reasons != "")
    return cleaned, rejected.assign(reason=rejected["reason"].where(~explained, reasons))


def check(cleaned: pd.DataFrame, rejected: pd.DataFrame, repeated: pd.DataFrame | None = None, *,
          min_rows: int, max_rejected: float, labels: Mapping | None = None) -> None:
    """Refuse a delivery that cannot be trained on: as `data.cleaning.check`, and without labels.

    Raises:
        DataError: With counts, reasons and the remedy.
    """
    cleaning.check(cleaned, rejected, repeated, min_rows=min_rows, max_rejected=max_rejected,
                   labels=labels)
    if "label" not in cleaned or "labelled_by" in cleaned:
        return
    sets = cleaned["label"].value_counts()
    if len(sets) < 2:
        raise DataError(
            f"All {len(cleaned)} rows are labelled '{sets.index[0]}'; a model needs rows that "
            "differ in their labels. Check data.label_column and whether the file was cut.")
    names = label_sets.names_in(sets.index)
    if labels is None and len(names) > len(cleaned) / 2:
        raise DataError(
            f"{len(cleaned)} rows have {len(names)} different labels, such as '{names[0][:40]}'; "
            "is data.label_column the label?")


def mark_not_asked(table: pd.DataFrame, arrived: pd.DataFrame, data: Data) -> pd.DataFrame:
    """Return the table as it is."""
    return table


def counted_by(rows: pd.DataFrame) -> pd.Series:
    """Return the labels of each row, [] for none."""
    return rows["label"].map(lambda label: list(label_sets.split(label)) or [label_sets.NONE])


def check_splits(rows: pd.DataFrame) -> None:
    """Raise DataError for a split without rows, and for a label that no training row has."""
    splitting.check_splits(rows)
    training = set(label_sets.names_in(rows.loc[rows["split"] == "train", "label"]))
    absent = [name for name in label_sets.names_in(rows["label"]) if name not in training]
    if absent:
        raise DataError(
            f"The train split has no row with the label '{absent[0]}' (labels without one: "
            f"{len(absent)}); bring more rows with it, or take it out of the file.")


