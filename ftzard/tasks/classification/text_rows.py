"""Rows of classification: a text and one label of a few names."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ftzard.core import custom_functions
from ftzard.core.text import clean_texts, replace
from ftzard.data import cleaning, json_lines, label_lists
from ftzard.data.identity import (
    FIRST,
    canonical,
    canonical_labels,
    label_map,
    plain_numbers,
    refuse_rounded,
)
from ftzard.data.normalization import duplicate_keys
from ftzard.data.splitting import canonical_split
from ftzard.errors import DataError
from ftzard.tasks.base import tasks_of

#: Rows for which a function of the workspace's own is called again to see if it is steady.
_STEADY = 1000
_INVISIBLE = r"[\s\p{Z}\p{Cc}\p{Cf}\x{FE00}-\x{FE0F}]+"


def _repeats(texts: pd.Series, labels: pd.Series | None, identity: int
             ) -> tuple[np.ndarray, np.ndarray]:
    """Return (contradicting, duplicate) masks; a duplicate is any but the first of its text."""
    codes = pd.factorize(pd.Series(duplicate_keys(texts, identity).to_pylist(), dtype="str"))[0]
    contradicting = np.zeros(len(codes), dtype=bool)
    if labels is not None:
        label_codes = pd.factorize(labels)[0]
        first = pd.Series(label_codes).groupby(codes).transform("first").to_numpy()
        contradicting = np.isin(codes, codes[first != label_codes])
    return contradicting, pd.Series(codes).duplicated().to_numpy() & ~contradicting


def _named(cells: pd.Series, labels: Mapping | None, identity: int) -> pd.Series:
    """Return the name of each raw label: '' where it is missing, none where the map has none."""
    if identity != FIRST:
        return canonical_labels(cells, labels)
    given, names = plain_numbers(cells), label_map(labels, identity)
    return given if names is None else given.map(names | {"": ""})


def _unknown(cells: pd.Series, unknown: pd.Series, identity: int) -> np.ndarray:
    """Return the reason against each row with an unknown label."""
    reasons = np.full(len(cells), "", dtype=object)
    names = cells[unknown]
    shown = plain_numbers(names) if identity == FIRST else canonical(names, numbers=False)
    shown = shown.where(shown.str.len() <= 40, shown.str.slice(0, 40) + "…")
    reasons[unknown.to_numpy()] = ("unknown label '" + shown + "'").to_numpy(dtype=object)
    return reasons


def clean(
    raw: pd.DataFrame,
    *,
    batch: str,
    labels: Mapping | None = None,
    unescape_html: bool = True,
    mention: str = "@user",
    link: str = "http",
    max_characters: int = 5000,
    identity: int = FIRST,
    own: Mapping | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Clean one delivery and take out the rows that cannot be used.

    Args:
        raw: As `read_raw` returns it (row, text and optionally label, group, split).
        labels: Raw value -> name; None takes the values themselves as names. Returns (cleaned,
            rejected): cleaned has id, batch, row, text and the optional columns that raw has;
            rejected has batch, row, the raw text and one reason each. Both are in the order of
            `raw`. With a published split, repeats are only taken out of training: validation and
            test stay as they were published.
        identity: Version of the rules by which texts and names are the same.
        own: The workspace's own function (see `texts.clean_texts`); cleaned then has a column
            cleaned_by with the beginning of its hash.

    Raises:
        DataError: For labels or names of splits that might be meant as one (from version 2), and
            for a function of one's own that fails or is not steady.
    """
    raw, halved = cleaning.whole_characters(raw, identity)
    settings = {"unescape_html": unescape_html, "mention": mention, "link": link, "own": own}
    given = raw.set_index("row")["text"]
    texts = clean_texts(given, **settings)
    if own is not None:
        _require_steady(given, texts, settings)
    frame = pd.DataFrame({"row": raw["row"].to_numpy(), "text": texts.to_pandas()})
    frame["text"] = frame["text"].astype("str")
    reason = np.full(len(frame), "", dtype=object)

    def reject(mask: np.ndarray, because: str | np.ndarray) -> None:
        mask = np.asarray(mask, dtype=bool) & (reason == "")
        reason[mask] = because if isinstance(because, str) else because[mask]

    reject(halved, json_lines.NO_CHARACTER)
    reject(pc.equal(replace(texts, _INVISIBLE, ""), "").to_numpy(False), "empty text")
    too_long = pc.greater(pc.utf8_length(texts), max_characters).to_numpy(False)
    reject(too_long, f"text longer than {max_characters} characters")
    if "label" in raw:
        cells = raw["label"].fillna("").reset_index(drop=True)
        named = _named(cells, labels, identity)
        reject(named == "", "label missing")
        reject(named.isna(), _unknown(cells, named.isna(), identity))
        frame["label"] = named.astype("str")
    for column in ("split", "group", "source"):
        if column in raw:
            frame[column] = raw[column].fillna("").reset_index(drop=True).astype("str")
    if "split" in frame:
        frame["split"] = canonical_split(frame["split"], identity)
    if "group" in frame and identity != FIRST:
        refuse_rounded(frame["group"], "data.group_column")
        frame["group"] = canonical(frame["group"])

    if own is not None:
        frame["cleaned_by"] = pd.Series(cleaning.cleaned_by(own), frame.index, dtype="str")

    comparable = reason == ""
    if "split" in frame:
        comparable &= ~frame["split"].isin(["validation", "test"]).to_numpy()
    where = np.flatnonzero(comparable)
    label = frame["label"].iloc[where] if "label" in frame else None
    contradicting, duplicate = _repeats(frame["text"].iloc[where], label, identity)
    reason[where[contradicting]] = "contradicting labels"
    reason[where[duplicate]] = cleaning.DUPLICATE

    used = reason == ""
    cleaned = frame[used].reset_index(drop=True)
    cleaned.insert(0, "batch", pd.Series(batch, cleaned.index, dtype="str"))
    ids = cleaning.row_ids(batch, cleaned["row"], cleaned["text"].tolist())
    cleaned.insert(0, "id", pd.Series(ids, dtype="str"))
    return cleaned, cleaning.rejected_rows(
        batch, raw["row"][~used], raw["text"][~used], reason[~used])


def _require_steady(raw: pd.Series, texts: pa.Array, settings: Mapping) -> None:
    """Refuse a function that makes something else of a text when it is called again.

    It is asked for a sample of the rows once more, and for what it made of them: labels come back
    with cleaned texts, and models are compared on them.
    """
    rows = np.unique(np.linspace(0, max(0, len(texts) - 1), num=min(len(texts), _STEADY)).astype(
        int))
    once = texts.take(pa.array(rows))
    again = clean_texts(raw.iloc[rows], **settings)
    twice = clean_texts(once.to_pandas(), **settings)
    numbers = raw.index[rows].tolist()
    for made, given in ((again, "the same text"), (twice, "its own result")):
        custom_functions.require_same(once.to_pylist(), made.to_pylist(), settings["own"], numbers,
                                      given)


def check(cleaned: pd.DataFrame, rejected: pd.DataFrame, repeated: pd.DataFrame | None = None, *,
          min_rows: int, max_rejected: float, labels: Mapping | None = None) -> None:
    """Refuse a delivery that no classifier can be trained on.

    The arguments are those of `data.cleaning.check`. The labels must be of two classes or more, but
    for those that people handed in: the rows that were asked may well be of one class, and stand
    beside others in the table.

    Raises:
        DataError: With counts, reasons and the remedy.
    """
    cleaning.check(cleaned, rejected, repeated, min_rows=min_rows, max_rejected=max_rejected,
                   labels=labels)
    if "label" not in cleaned:
        return
    problem = label_lists.problem(cleaned["label"]) if labels is None else None
    if problem is not None:
        raise DataError(f"{problem}; or, if each of them is one name, name every label in "
                        f"data.labels{tasks_of(cleaned['label'])}.")
    counts = cleaned["label"].value_counts()
    if len(counts) < 2 and "labelled_by" not in cleaned:
        raise DataError(
            f"All {len(cleaned)} rows are labelled '{counts.index[0]}'; a classifier needs at "
            "least two classes. Check data.label_column and whether the file is sorted and was cut."
        )
    if labels is None:
        _check_names(counts)


def _check_names(counts: pd.Series) -> None:
    """Labels that are their own names: refuse what looks like a slip, as it would be a class."""
    spellings: dict[str, str] = {}
    for name in counts.index:
        other = spellings.setdefault(name.casefold(), name)
        if other != name:
            raise DataError(
                f"The labels '{other}' ({counts[other]} rows) and '{name}' ({counts[name]}) differ "
                "only in case; make them one in the file, or name both in data.labels."
            )
    if len(counts) > counts.sum() / 2:
        raise DataError(
            f"{counts.sum()} rows have {len(counts)} different labels, such as "
            f"'{counts.index[0][:40]}' and '{counts.index[1][:40]}'; is data.label_column the "
            "label?"
        )
