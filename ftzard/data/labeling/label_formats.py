"""What a label may be, and how one that a person typed is read."""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import pandas as pd

from ftzard.core.text import normalize_instruction
from ftzard.data import spreadsheet
from ftzard.data.identity import canonical
from ftzard.errors import nearest


class LabelFormat(Protocol):
    """What the labels of a task look like.

    Attributes:
        free_text: Whether a label is written, and not picked.
        names: Those that can be picked, in their order.
        queue_columns: Columns of the queue that accepted rows keep.
    """

    free_text: bool
    names: Sequence[str]
    queue_columns: Sequence[str]

    def parse(self, typed: pd.Series) -> pd.Series:
        """Return the label of each typed one: '' for an empty one, NaN for one that is none."""
        ...

    def unknown(self, label: str) -> str:
        """Return the reason against a label that is none."""
        ...

    def agreement_key(self, label: str) -> str:
        """Return what two labels share that say the same."""
        ...

    def choose(self, marked: str, name: str) -> tuple[str, bool]:
        """Return the label after a name is picked beside `marked`, and whether it is complete."""
        ...

    def completed(self, accepted: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
        """Return accepted rows with what else cleaned rows have; asked: in the same order."""
        ...


class OneOf:
    """One of a few names, as a person may type them: 'Sad ' and 'sad', '1' and '1.0'."""

    free_text = False
    queue_columns: Sequence[str] = ()

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(dict.fromkeys(map(str, names)))
        series = pd.Series(self.names, dtype="str")
        # Less is taken as the same where two names share a form.
        forms: tuple[Callable[[pd.Series], pd.Series], ...] = (
            typed, lambda labels: canonical(labels, numbers=False), lambda labels: labels)
        self._form = next(form for form in forms if form(series).is_unique)
        self._by_form = dict(zip(self._form(series), self.names, strict=True))

    def parse(self, typed: pd.Series) -> pd.Series:
        """Return the name of each typed label, NaN for none."""
        labels = self._form(typed).map(self._by_form)
        if labels.isna().any():  # of a file whose columns a person has cut down, say
            labels = labels.fillna(self._form(typed.map(spreadsheet.unescape)).map(self._by_form))
        return labels

    def unknown(self, label: str) -> str:
        """Return the reason against a label that is no name."""
        return unknown(label, self.names)

    def agreement_key(self, label: str) -> str:
        """Return the name."""
        return label

    def choose(self, marked: str, name: str) -> tuple[str, bool]:
        """Return the name: one is all there is."""
        return name, True

    def completed(self, accepted: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
        """Return the rows as they are."""
        return accepted


class FreeText:
    """Any text but an empty one; two agree if they are the same up to case and space."""

    free_text = True
    names: Sequence[str] = ()
    queue_columns: Sequence[str] = ()

    def parse(self, typed: pd.Series) -> pd.Series:
        """Return the texts without what surrounds them."""
        return typed.map(normalize_instruction)

    def unknown(self, label: str) -> str:
        """Return the reason against a label that is no text."""
        return "label empty"

    def agreement_key(self, label: str) -> str:
        """Return the words of a text, in lower case."""
        return spaced(label).casefold()

    def choose(self, marked: str, name: str) -> tuple[str, bool]:
        """Return the text."""
        return name, True

    def completed(self, accepted: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
        """Return the rows as they are."""
        return accepted


def typed(labels: pd.Series) -> pd.Series:
    """Return what labels share that a person means as one: 'Sad ' and 'sad', '1' and '1.0'."""
    return canonical(labels.fillna(""), numbers=True).str.casefold()


def spaced(text: str) -> str:
    """Return a text in composed form with one space between its words."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def unknown(label: str, names: Iterable[str]) -> str:
    """Return the reason against a label that is no name."""
    close = nearest(label.strip(), sorted(set(names))).rstrip(".")
    return f"unknown label '{label.strip()[:40]}'{close}"
