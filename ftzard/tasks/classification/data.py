"""Data of classification: a text and one label of a fixed set."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ftzard.config.schema import Config, Data
from ftzard.data import reading, splitting
from ftzard.data.cleaning import text_keys
from ftzard.errors import DataError
from ftzard.tasks.classification import asked, text_rows
from ftzard.tasks.classification.text_rows import check

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["check", "text_keys"]

ONE_LABEL = True
repeated_of = None


def read(path: Path, data: Data, *, labelled: bool = True, lacking: Collection[str] = ()
         ) -> pd.DataFrame:
    """Read the raw rows of a file: row, text and, as the config says, label, group and split."""
    return reading.read_raw(
        path, text_column=data.text_column, label_column=data.label_column if labelled else None,
        group_column=data.group_column,
        split_column=data.split_column if labelled and data.split == "given" else None,
        **reading.layout(data))


def detect(labels: Iterable[str]) -> bool:
    """Return False: other tasks may have such labels, too."""
    return False


def optional_columns(data: Data) -> set[str]:
    """Return no column: every file has a text."""
    return set()


def unread_columns(path: Path, data: Data) -> list[str]:
    """Return no column: what stands beside text and label is no part of either."""
    return []


def raw_again(cleaned: pd.DataFrame, data: Data, name: str, *, labelled: bool) -> pd.DataFrame:
    """Return cleaned rows as raw ones, with the raw values of their labels."""
    if "messages" in cleaned:
        raise DataError(f"{name} holds rows of another task than this workspace's, "
                        "classification; expected rows of the same.")
    rows = cleaned.filter(["text", "label", "group", "split"]).fillna("").astype("str")
    if not labelled:
        return rows.drop(columns="label")
    raw = {name: value for value, name in (data.labels or {}).items()}
    return rows.assign(label=rows["label"].replace(raw))


def clean(raw: pd.DataFrame, data: Data, *, batch: str, identity: int, cleaning: Mapping
          ) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows that can be used, cleaned, and those that cannot, with a reason each."""
    return text_rows.clean(raw, batch=batch, labels=data.labels if "label" in raw else None,
                           identity=identity, **cleaning)


def mark_not_asked(table: pd.DataFrame, arrived: pd.DataFrame, data: Data) -> pd.DataFrame:
    """Return the table with the rows marked that were not asked about a label that is new."""
    return asked.marked(table, arrived, data.labels) if "label" in table else table


def counted_by(rows: pd.DataFrame) -> pd.Series:
    """Return the labels."""
    return rows["label"]


def check_splits(rows: pd.DataFrame) -> None:
    """Raise DataError unless every split has rows of every label."""
    splitting.check_splits(rows, labels=rows["label"].unique())


def tokenizer_corpus(rows: pd.DataFrame, config: Config) -> Iterable[str]:
    """Return the texts."""
    return rows["text"]


def tokenize(rows: pd.DataFrame, tokenizer: "PreTrainedTokenizerBase", config: Config,
             meta: Mapping | None = None) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return rows with input_ids, length and cut (tokens), and the numbers to log."""
    from ftzard.modeling.tokenizer import encode_column

    longest = config.model.max_length if meta is None else meta["max_length"]
    input_ids, length, cut = encode_column(rows["text"], tokenizer, longest)
    columns = ["label", "cleaned_by", asked.COLUMN] if "label" in rows else ["group"]
    tokenized = rows.filter(["id", "batch", "split", "text", *columns]).assign(
        input_ids=input_ids, length=length, cut=cut)
    return tokenized, {"rows": len(rows), "tokens": int(length.sum()),
                       "rows_cut": int((cut > 0).sum()), "tokens_cut": int(cut.sum())}


def require_tokens_of(rows: pd.DataFrame, tokenizer: "PreTrainedTokenizerBase", config: Config
                      ) -> None:
    """Raise ModelError for rows that were tokenized otherwise than the config says."""
    from ftzard.tasks.classification import checks

    checks.tokenized_as(rows, tokenizer, config.model.max_length)


def length_in_characters(rows: pd.DataFrame) -> pd.Series:
    """Return the lengths of the texts."""
    return rows["text"].str.len()
