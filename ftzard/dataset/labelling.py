"""The labelling queue as a file a person fills in, and what comes back of it.

A label counts only for the very text that was shown: what a spreadsheet changed, doubled or
invented is refused row by row, with a reason, and stays in the queue.
"""

import unicodedata
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ftzard.dataset.reading import file_type, read_cells
from ftzard.dataset.storage import write_csv
from ftzard.errors import DataError, nearest

QUEUE = ["id", "batch", "text", "suggestion", "confidence", "side", "label"]
LABELLED = ["id", "batch", "text", "label"]


def queue_csv(queue: pd.DataFrame, path: Path) -> Path:
    """Write a queue for a person to fill in its last column, `label`.

    The file starts with a byte order mark, without which Excel would garble every emoji, and with
    it every label of such a row would be refused.
    """
    return write_csv(queue[QUEUE], path, encoding="utf-8-sig")


def read_labelled(path: Path) -> pd.DataFrame:
    """Read a queue that came back, as strings: id, batch, text, label.

    Understands the separators that spreadsheets write (comma, semicolon, tab).
    """
    delimiter = ","
    if Path(path).is_file() and file_type(path) == ".csv":
        with open(path, "rb") as stream:
            header = stream.readline()
        delimiter = max(",;\t", key=lambda mark: header.count(mark.encode()))
    cells = read_cells(path, {name: name for name in LABELLED}, delimiter=delimiter)
    return pa.table(cells).to_pandas()


def _spaced(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _names(labels: Iterable[str]) -> dict[str, str]:
    """Label names by what a person may type for them: case and space around do not matter."""
    names = [str(name) for name in labels]
    typed = {name.casefold(): name for name in names}
    return typed if len(typed) == len(names) else {name: name for name in names}


def accept(
    labelled: pd.DataFrame, queue: pd.DataFrame | None, labels: Iterable[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take the labels a person gave: returns (accepted, refused).

    queue: what was asked (None: whatever ids come are taken). labels: the label names. Accepted
    has row (of `labelled`, from 0), id, batch, text and label, with batch and text as they were
    asked, so that `clean` can take it; refused has row, id, text, label and one reason each. A
    refused row is still in the queue: its label can be handed in again.
    """
    missing = [name for name in LABELLED if name not in labelled]
    if missing:
        raise DataError(
            f"The labelled rows have no column '{missing[0]}'; hand in the queue's file with its "
            f"columns as they were. Found: {', '.join(map(str, labelled.columns))}."
        )
    labelled = labelled[LABELLED].fillna("").astype("str").reset_index(drop=True)
    names = _names(labels)
    typed = labelled["label"].str.strip()
    if any(name != name.casefold() for name in names):
        chosen = typed.map(names)
    else:
        chosen = typed.str.casefold().map(names)
    asked = None if queue is None else queue.drop_duplicates("id").set_index("id")
    answers = chosen.groupby(labelled["id"]).nunique()
    seen: set[str] = set()
    reasons, rows = [], []
    for row, name in zip(labelled.itertuples(index=False), chosen, strict=True):
        reason = ""
        if asked is not None and row.id not in asked.index:
            reason = f"unknown id '{row.id[:40]}'"
        elif asked is not None and _spaced(row.text) != _spaced(asked.at[row.id, "text"]):
            reason = "changed text"
        elif not row.label.strip():
            reason = "label empty"
        elif not isinstance(name, str):
            close = nearest(row.label.strip(), sorted(set(names.values()))).rstrip(".")
            reason = f"unknown label '{row.label.strip()[:40]}'{close}"
        elif answers[row.id] > 1:
            reason = "doubled id with different labels"
        elif row.id in seen:
            reason = "doubled id"
        else:
            seen.add(row.id)
        reasons.append(reason)
        source = row if asked is None or reason else asked.loc[row.id]
        rows.append((row.id, source.batch, source.text, name if not reason else row.label))
    table = pd.DataFrame(rows, columns=LABELLED, dtype="str")
    table.insert(0, "row", range(len(table)))
    reasons = pd.Series(reasons, index=table.index, dtype="str")
    accepted = table[reasons == ""].reset_index(drop=True)
    refused = table[reasons != ""].drop(columns="batch").assign(reason=reasons[reasons != ""])
    return accepted, refused.reset_index(drop=True)
