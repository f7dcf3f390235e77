"""Labeling for multi-label classification: a person picks any number of a few names."""

from collections.abc import Iterable, Sequence

import pandas as pd

from ftzard.config.schema import Data
from ftzard.data import spreadsheet
from ftzard.data.identity import label_list
from ftzard.data.labeling import label_studio
from ftzard.tasks.multi_label import label_cells, label_sets
from ftzard.tasks.multi_label.label_sets import NONE

FREE_TEXT = False


class AnyOf:
    """Any number of a few names, as a person may type them: 'Sad, joy', '["joy", "sad"]'."""

    free_text = False
    queue_columns: Sequence[str] = ()

    def __init__(self, labels: Iterable[str]) -> None:
        self.labels = list(dict.fromkeys(map(str, labels)))
        #: What can be picked, the answer that no label fits among them.
        self.names = [*self.labels, NONE]

    def parse(self, typed: pd.Series) -> pd.Series:
        """Return the label set of each typed one: '' for an empty one, NaN for an unknown label."""
        return pd.Series([self._read(cell) for cell in typed.fillna("")], typed.index, dtype=object)

    def unknown(self, label: str) -> str:
        """Return the reason against a label set with an unknown label."""
        return label_cells.unknown_in(label, self.labels)

    def agreement_key(self, label: str) -> str:
        """Return the label set."""
        return label

    def choose(self, marked: str, name: str) -> tuple[str, bool]:
        """Return the label set with a name added or, if it has it, taken away; [] is complete."""
        if name == NONE:
            return NONE, True
        names = set(label_sets.split(marked)) ^ {name}
        return label_sets.join(names) if names else "", False

    def completed(self, accepted: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
        """Return the rows as they are."""
        return accepted

    def _read(self, cell: str) -> str | float:
        if not cell.strip():
            return ""
        labels = label_cells.canonical(cell, self.labels)
        if labels is None:  # of a file whose columns a person has cut down, say
            labels = label_cells.canonical(spreadsheet.unescape(cell), self.labels)
        return float("nan") if labels is None else labels


def label_format(data: Data, identity: int, labels: Iterable[str]) -> AnyOf:
    """Return any of the names of `data.labels`, or of those in `labels`, sorted."""
    return AnyOf(label_list(data.labels, identity) or label_sets.names_in(labels))


def label_studio_interface(names: Iterable[str]) -> str:
    """Return the labeling interface of a new Label Studio project: any number of choices."""
    return label_studio.choices_interface(names, choice="multiple")


def label_studio_value(suggestion: str) -> tuple[str, dict]:
    """Return the type and the value of a suggestion in a task of Label Studio."""
    return "choices", {"choices": list(label_sets.split(suggestion)) or [NONE]}
