"""Which side of a split a row is on, for ever.

A row's side is a function of its group or its words, and of nothing else: neither the rows around
it nor the order of deliveries can move it, and two rows with the same words share a side.
"""

import hashlib
from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ftzard.data.identity import FIRST, tidy
from ftzard.data.normalization import arrow, normalise_all
from ftzard.errors import ConfigError, DataError, nearest

SPLITS = ("train", "validation", "test")
ALIASES = {"val": "validation", "valid": "validation", "dev": "validation", "training": "train"}


def canonical_split(names: pd.Series, identity: int = FIRST) -> pd.Series:
    """Return published split names as train, validation or test; '' stays ''.

    Case and the aliases val, valid, dev and training are understood; any other name is an error.
    From version 2 of the rules, so are two spellings of one split in a column.
    """
    names_of = {name: str(name).strip().lower() for name in names.unique()}
    if identity != FIRST:
        spelled = dict(zip(names_of, tidy(list(names_of)).to_pylist(), strict=True))
        names_of = {name: shown.casefold() for name, shown in spelled.items()}
    names_of = {name: ALIASES.get(lower, lower) for name, lower in names_of.items()}
    for name, canonical in names_of.items():
        if canonical and canonical not in SPLITS:
            raise DataError(
                f"Split '{name}' of data.split_column is unknown"
                f"{nearest(canonical, [*SPLITS, *ALIASES])} Rename it in the file, or set "
                "data.split=text."
            )
    if identity != FIRST:
        _refuse_two_spellings(names.map(spelled), names.map(names_of))
    return names.map(names_of)


def _refuse_two_spellings(spelled: pd.Series, split: pd.Series) -> None:
    """Raise DataError, with their counts, for two names of one split: they may be two splits."""
    for name in SPLITS:
        counts = spelled[split == name].value_counts()
        if len(counts) > 1:
            spellings = ", ".join(f"'{spelling}' ({rows:,} rows)"
                                  for spelling, rows in counts.items())
            raise DataError(f"data.split_column has several names for the {name} split: "
                            f"{spellings}. Write them as one in the file, or set data.split=text.")


def _checked(ratio: Mapping[str, float]) -> dict[str, float]:
    ratio = {str(name): float(share) for name, share in ratio.items()}
    total = sum(ratio.values())
    if set(ratio) != set(SPLITS) or min(ratio.values()) <= 0 or abs(total - 1) > 1e-6:
        raise ConfigError(
            f"The split ratio is {ratio} (sum {total:g}), expected shares above zero for train, "
            "validation and test that add up to 1."
        )
    return ratio


def keys(frame: pd.DataFrame, identity: int = FIRST) -> pa.Array:
    """Return what decides each row's side: its group if it has one, else its text's words."""
    words = normalise_all(frame["text"], identity)
    if "group" not in frame:
        return words
    groups = pc.utf8_trim_whitespace(arrow(frame["group"]))
    named = pc.binary_join_element_wise(*arrow(["group"]), groups, *arrow(["\x00"]))
    return pc.if_else(pc.equal(groups, ""), words, named)


def position(key: str, salt: str) -> float:
    """Return where a key lies in [0, 1): uniform over keys, fixed for one salt."""
    digest = hashlib.sha256(f"{salt}\x00{key}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)


def assign(
    frame: pd.DataFrame, *, ratio: Mapping[str, float], salt: str, by: str = "text",
    identity: int = FIRST,
) -> pd.DataFrame:
    """Return the rows with a column `split`: 'train', 'validation' or 'test'.

    by='text': the hash of the salt with the row's group or words decides. by='given': the column
    `split` does, under its canonical names; a batch that has none at all (rows labelled later) is
    assigned by its text. `ratio`, `salt` and `identity`, the version of the rules by which texts
    and names are the same, must stay what they were when first used.
    """
    ratio = _checked(ratio)
    if by not in ("text", "given"):
        raise ConfigError(f"data.split='{by}' is unknown{nearest(by, ['text', 'given'])}")
    if by == "text":
        return frame.assign(split=_by_hash(frame, ratio, salt, identity))
    if "split" not in frame:
        raise DataError(
            "data.split=given needs a column with the published split; set data.split_column to "
            "its name, or data.split=text."
        )
    split = canonical_split(frame["split"].fillna(""), identity)
    missing = split == ""
    if missing.any():
        batch = frame["batch"] if "batch" in frame else pd.Series("", index=frame.index)
        partly = set(batch[missing]) & set(batch[~missing])
        if partly:
            raise DataError(
                f"{int(missing.sum())} rows of batch {sorted(partly)[0]} have no split while "
                "others do; fill data.split_column for all of them, or set data.split=text."
            )
        split = split.where(~missing, _by_hash(frame, ratio, salt, identity))
    return frame.assign(split=split)


def _by_hash(frame: pd.DataFrame, ratio: dict[str, float], salt: str, identity: int) -> pd.Series:
    places = [position(key, salt) for key in keys(frame, identity).to_pylist()]
    bounds = [ratio["test"], ratio["test"] + ratio["validation"]]
    sides = np.array(["test", "validation", "train"], dtype=object)
    codes = np.searchsorted(bounds, np.array(places, dtype=float), side="right")
    return pd.Series(sides[codes], frame.index, dtype="str")


def check_splits(
    frame: pd.DataFrame,
    *,
    min_rows: int | Mapping[str, int] = 1,
    labels: Collection[str] = (),
) -> None:
    """Refuse splits that cannot be trained on or measured with.

    Args:
        min_rows: Fewest rows of every split, or of each by name.
        labels: The label names that every split must hold.
    """
    needed = min_rows if isinstance(min_rows, Mapping) else dict.fromkeys(SPLITS, min_rows)
    counts = frame["split"].value_counts()
    for split in SPLITS:
        rows = int(counts.get(split, 0))
        least = max(1, int(needed.get(split, 1)))
        if rows < least:
            raise DataError(
                f"The {split} split has {rows} of {len(frame)} rows, at least {least} needed; "
                f"bring more rows, or {_larger(split)} before the first use."
            )
    for split in SPLITS if labels else ():
        present = set(frame.loc[frame["split"] == split, "label"])
        absent = [label for label in sorted(labels) if label not in present]
        if absent:
            by_hand = "labelled_by" in frame and (
                frame.loc[frame["label"].isin(absent), "labelled_by"].fillna("") != "").any()
            raise DataError(
                f"The {split} split has no row labelled {', '.join(map(repr, absent))} among its "
                f"{int(counts[split])} rows; " + (
                    "hand in more rows of that label: those that were handed in stay and count "
                    "then." if by_hand else
                    f"bring more rows of that label, {_larger(split)} before the first use, or "
                    "leave it out of data.labels, which rejects its rows.")
            )


def _larger(split: str) -> str:
    other = "test" if split == "train" else "train"
    return f"raise data.{split}_share (and lower data.{other}_share by as much)"


def refuse_moved(now: pd.DataFrame, earlier: pd.DataFrame | None) -> None:
    """Refuse sides that differ from those an earlier run gave the same rows.

    Shares and salt are frozen at first use: a row that has been trained on must not become a test
    row. earlier: id and split of the rows as they were tokenized before, or None.
    """
    if earlier is None:
        return
    both = now[["id", "split", "text"]].merge(
        earlier[["id", "split"]], on="id", suffixes=("", "_before"))
    moved = both[both["split"] != both["split_before"]]
    if len(moved):
        first = moved.iloc[0]
        raise DataError(
            f"{len(moved):,} rows would change sides, such as {first['id']} from "
            f"{first['split_before']} to {first['split']}: data.salt, the shares or data.split "
            "differ from those that this workspace began with. Set them back, or begin a new one."
        )
