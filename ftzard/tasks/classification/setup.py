"""What a new workspace for classification begins with: its labels, its model, its sample."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from ftzard.config.compose import compose
from ftzard.data import label_lists, language, reading
from ftzard.data.columns import layout_values, like_labels, require_columns
from ftzard.data.identity import canonical, canonical_labels
from ftzard.errors import DataError
from ftzard.tasks.base import tasks_of

#: The preset that own English texts begin with, where its base can be had.
PRETRAINED = "minilm"
_TWO_SPELLINGS = (
    "Write them as one in the file. Or begin without --data, name each in data.labels of "
    "ftzard.yaml, as in 'Positive: positive', and set data.source to the file.")


#: Options of `ftzard init` that are of this task.
OPTIONS = frozenset({"single_label"})


def config_for(file: Path | None, layout: Mapping[str, str], say: Callable[[str], object], *,
               text: str | None = None, label: str | None = None, single_label: bool = False
               ) -> dict:
    """Return what ftzard.yaml says of a user's file: its columns and labels, and the model.

    Args:
        file: the file; None leaves everything at its default.
        layout: encoding, delimiter and quoting of the file.
        say: gets sentences on the rows with their labels and on the model.
        text: the column with the text; None takes `text`.
        label: the column with the label; None takes `label`.
        single_label: whether labels that look like several are names.

    Raises:
        DataError: For a file that cannot be used.
    """
    if file is None:
        return {}
    group, rows = describe_data(file, text or "text", label or "label", single_label=single_label,
                                **layout)
    say(_balance(rows["label"]))
    return {"data": group, **chosen_model(rows["text"], say)}


def sample_config() -> dict:
    """Return what ftzard.yaml says of the sample."""
    return {"data": {"choice": "sentiment140"}}


def describe_data(file: Path, text: str, label: str, *, single_label: bool = False,
                  encoding: str = "utf-8", delimiter: str = ",", quoting: str = "csv"
                  ) -> tuple[dict, pd.DataFrame]:
    """Return the `data` group for a user's file: its columns, and its labels by name. And its rows
    with a label: text and label.

    Raises DataError for a missing column, for a label column with one value or with a value for
    every other row, and, without single_label, for one with several labels in a row.
    """
    written = {"encoding": encoding, "delimiter": delimiter, "quoting": quoting}
    there = reading.header(file, **written)
    require_columns(file, there, {"--text": text, "--label": label}, delimiter)
    rows = reading.read_raw(file, text_column=text, label_column=label, **written)
    tidied = canonical(rows["label"])
    counts = tidied[tidied != ""].value_counts()
    problem = None if single_label else label_lists.problem(rows["label"])
    if len(counts) < 2 or len(counts) > counts.sum() / 2 and problem is None:
        other = like_labels(file, there, {text, label}, written)
        named = None if other is None else shlex.quote(other)
        remedy = (f"Name the label column, as in --label {named}." if named is not None else
                  "No other column of it looks like labels: bring two labels or more, each in two "
                  "rows or more.")
        raise DataError(
            f"{file}: column '{label}' has {len(counts)} different values in {counts.sum()} filled "
            f"rows; expected 2 labels or more, and at most one for every two rows. {remedy}")
    if problem is not None:
        raise DataError(f"{file}, column '{label}': {problem}; or, if each of them is one name, "
                        f"add --single-label{tasks_of(rows['label'])}.")
    try:
        names = canonical_labels(rows["label"], remedy=_TWO_SPELLINGS)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    filled = names != ""
    labels = {str(name): str(name) for name in sorted(names[filled].unique())}
    return ({"text_column": text, "label_column": label, **layout_values(**written),
             "labels": labels}, rows.assign(label=names)[filled])


def _balance(labels: pd.Series, most: int = 8) -> str:
    """Return a sentence on how many rows have which label, the most frequent ones first."""
    counts = labels.value_counts()
    shown = [f"{name} {count / len(labels):.0%}" for name, count in counts.head(most).items()]
    rest = f", and {len(counts) - most} more" if len(counts) > most else ""
    return (f"rows: {len(labels):,} with {len(counts)} labels: {', '.join(shown)}{rest}; the "
            f"rarest has {counts.min():,}")


def chosen_model(texts: pd.Series, say: Callable[[str], object]) -> dict:
    """Return the choice of a pretrained base for these texts, if it suits them and can be had.

    Args:
        say: Gets the sentence on which model the workspace begins with, and what to take for
            results.
    """
    from ftzard.modeling.hub import can_be_had

    base = compose({"model": PRETRAINED}).model
    english = language.looks_english(texts)
    if english and can_be_had(base.source, base.revision):
        say(f"model: {PRETRAINED} ({base.source}, pretrained on English)")
        return {"model": PRETRAINED}
    why = (f"{base.source} cannot be had from its hub now" if english
           else "the texts do not look English")
    better = (f"model: {PRETRAINED} in ftzard.yaml once the hub is reachable, or model=local with "
              "the folder of a base" if english
              else "model=local with a base of their language, or a preset of a multilingual one")
    say(f"model: falcon_tiny, built here, which is for trying the loop: {why}. For results take "
        f"{better}.")
    return {}
