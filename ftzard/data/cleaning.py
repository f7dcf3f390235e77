"""The table of all cleaned rows, and which rows of a delivery cannot be used and why.

A row is never lost: it is in the cleaned table, or in the rejected one with a reason. How the rows
of a delivery are cleaned is the task's matter; what is done to a text stands in `ftzard.core.text`.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from ftzard.data import json_lines, rejection
from ftzard.data.identity import (
    FIRST,
    plain_numbers,
    refuse_lookalikes,
)
from ftzard.data.normalization import duplicate_keys
from ftzard.errors import DataError

DUPLICATE = "duplicate"
EARLIER_DUPLICATE = "duplicate of an earlier batch"
CONTRADICTS = "contradicts the label of an earlier batch"


def row_ids(batch: str, rows: pd.Series, texts: list[str]) -> list[str]:
    """Return each row's id, 16 hex digits of its batch, number and text."""
    return [
        hashlib.sha256(f"{batch}\x00{row}\x00{text}".encode()).hexdigest()[:16]
        for row, text in zip(rows.tolist(), texts, strict=True)
    ]


def cleaned_by(own: Mapping | None) -> str:
    """Return what tells a workspace's own function from another one: its hash's beginning."""
    return "" if own is None else own["sha256"][:16]


def whole_characters(raw: pd.DataFrame, identity: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return raw rows without `json_lines.MARK`, and which rows had one and are to be rejected.

    Under the first rules half of a surrogate pair was a question mark, and no row was rejected.
    """
    cells = raw.select_dtypes(exclude="number")
    marked = cells.apply(lambda column: column.astype("str").str.contains(
        json_lines.MARK, regex=False, na=False))
    halved = marked.any(axis=1).to_numpy(dtype=bool)
    if not halved.any():
        return raw, halved
    sign = "?" if identity == FIRST else "\ufffd"
    whole = {name: column.str.replace(json_lines.MARK, sign, regex=False)
             for name, column in cells.items() if marked[name].any()}
    return raw.assign(**whole), halved & (identity != FIRST)


def rejected_rows(batch: str, rows: pd.Series, texts: pd.Series, reasons: np.ndarray
                  ) -> pd.DataFrame:
    """Return rows of a batch that cannot be used: batch, row, text as given, one reason each."""
    return pd.DataFrame(
        {
            "batch": pd.Series([batch] * len(rows), dtype="str"),
            "row": rows.to_numpy(dtype="int64"),
            "text": texts.fillna("").astype("str").to_numpy(),
            "reason": pd.Series(list(reasons), dtype="str"),
        }
    ).astype({"text": "str"})


def _reasons(rejected: pd.DataFrame, most: int = 5) -> str:
    counted = Counter(rejected["reason"]).most_common()
    shown = ", ".join(f"{count} {reason}" for reason, count in counted[:most])
    rest = sum(count for _, count in counted[most:])
    return shown + (f", {rest} for {len(counted) - most} other reasons" if rest else "")


def check_rejected(cleaned: pd.DataFrame, rejected: pd.DataFrame, *, max_rejected: float,
                   labels: Mapping | None = None) -> None:
    """Refuse rows of which too many cannot be used; the arguments are those of `check`."""
    total = len(cleaned) + len(rejected)
    repeats = rejected["reason"].isin([DUPLICATE, EARLIER_DUPLICATE])
    refused = rejected[~repeats]
    if len(refused) > max_rejected * total:
        raise DataError(
            f"{len(refused)} of {total} rows cannot be used ({len(refused) / total:.1%}, at most "
            f"{max_rejected:.1%} allowed): {_reasons(refused)}. "
            f"{rejection.remedies(refused, labels)} To go on without these rows, "
            f"raise data.max_rejected to {rejection.allowance(len(refused), total)}."
        )


def check(cleaned: pd.DataFrame, rejected: pd.DataFrame, repeated: pd.DataFrame | None = None, *,
          min_rows: int, max_rejected: float, labels: Mapping | None = None) -> None:
    """Refuse a delivery of which too many rows cannot be used, or too few are new.

    Args:
        cleaned: all rows of the delivery that can be used.
        rejected: those that cannot.
        repeated: which of the cleaned rows `append` has rejected, since earlier batches have them.
        min_rows: fewest rows that are left then.
        max_rejected: largest share in [0, 1] of rejected rows among all; duplicates do not count,
            but a delivery without a new row is refused.
        labels: raw label -> name, for the remedy.

    Raises:
        DataError: With counts, reasons and the remedy.
    """
    left = cleaned.iloc[: len(cleaned) - (0 if repeated is None else len(repeated))]
    gone = rejected if repeated is None else pd.concat([rejected, repeated], ignore_index=True)
    check_rejected(left, gone, max_rejected=max_rejected, labels=labels)
    total = len(left) + len(gone)
    if len(cleaned) and left.empty:
        raise DataError(
            f"None of {total} rows is new ({_reasons(gone)}): what can be used of them stands in "
            "the table already, from earlier deliveries, and is trained on without this one. A "
            "delivery adds rows and never takes earlier ones away; bring rows that are new."
        )
    repeats = gone["reason"].isin([DUPLICATE, EARLIER_DUPLICATE])
    if len(left) < min_rows:
        why = _reasons(gone) or "none rejected"
        if repeats.sum() and len(left) + repeats.sum() == total:
            why = f"all {repeats.sum()} others are duplicates"
        least = "sampling.min_labelled" if "labelled_by" in cleaned else "data.min_rows"
        raise DataError(
            f"Only {len(left)} of {total} rows are left after cleaning ({why}); at least "
            f"{min_rows} are needed. "
            + " ".join(filter(None, (rejection.remedies(gone[~repeats], labels),
                                     "Bring more rows")))
            + (f", or lower {least} to {len(left)}." if len(left) else ".")
        )


def text_keys(rows: pd.DataFrame, identity: int = FIRST) -> pd.Series:
    """Return, per row, what two texts share when one repeats the other: their words."""
    return pd.Series(duplicate_keys(rows["text"], identity).to_pylist(), rows.index, dtype="str")


def append(
    existing: pd.DataFrame | None, new: pd.DataFrame, *, replace_batch: bool = True,
    identity: int = FIRST, keys: Callable[[pd.DataFrame, int], pd.Series] = text_keys,
    one_label: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Add a cleaned batch to the table of all batches.

    Rows of the same batch are replaced; other batches stay as they are, and the new batch loses the
    rows that repeat one of theirs. Batches stand in order of arrival, rows by their number.

    Args:
        existing: the table, or None.
        new: the batch.
        replace_batch: False replaces only rows with the same id, for labels that arrive in
            portions.
        identity: version of the rules by which texts and names are the same.
        keys: what two rows share when one repeats the other's text.
        one_label: whether a text has one label, so that another label to it contradicts it. Else a
            row repeats another one only if its label is the same, too.

    Returns:
        The table and the rejected rows.

    Raises:
        DataError: For labels or groups that might be those of another batch (from version 2).
    """
    if identity != FIRST:
        _refuse_two_spellings(existing, new, one_label)
    nothing = rejected_rows("", pd.Series(dtype="int64"), pd.Series(dtype="str"), np.array([]))
    if existing is None or existing.empty:
        return new.reset_index(drop=True), nothing
    if ("label" in existing) != ("label" in new):
        which = "new" if "label" in existing else "existing"
        raise DataError(f"The {which} rows have no labels while the others do; label them first.")
    replaced = existing["batch"].isin(new["batch"].unique())
    others = existing[~replaced]
    if not replace_batch:
        stays = existing[replaced & ~existing["id"].isin(new["id"])]
        new = pd.concat([stays, new], ignore_index=True)

    texts, seen = keys(new, identity), keys(others, identity)
    reason = np.where(texts.isin(seen), EARLIER_DUPLICATE, "").astype(object)
    if "label" in new and not one_label:
        labelled = set(zip(seen, others["label"], strict=True))
        again = [row in labelled for row in zip(texts, new["label"], strict=True)]
        reason = np.where(again, EARLIER_DUPLICATE, "").astype(object)
    elif "label" in new:
        earlier = dict(zip(seen, others["label"], strict=True))
        differs = texts.isin(seen) & (texts.map(earlier).astype("str") != new["label"])
        reason[differs.to_numpy()] = CONTRADICTS
    gone = reason != ""
    rejected = [nothing] + [
        rejected_rows(batch, rows["row"], rows["text"], reason[rows.index])
        for batch, rows in new[gone].groupby("batch", sort=False)
    ]
    table = pd.concat([others, new[~gone]], ignore_index=True)
    for column in ("split", "group", "source", "labelled_by", "labelled_at", "own_answer",
                   "cleaned_by", "not_asked"):
        if column in table:
            table[column] = table[column].fillna("").astype("str")
    arrival = list(dict.fromkeys([*existing["batch"], *new["batch"]]))
    rank = table["batch"].map({batch: place for place, batch in enumerate(arrival)})
    table = table.assign(_rank=rank).sort_values(["_rank", "row"], kind="stable")
    table = table.drop(columns="_rank").reset_index(drop=True)
    return table, pd.concat(rejected, ignore_index=True)


def _refuse_two_spellings(existing: pd.DataFrame | None, new: pd.DataFrame, one_label: bool
                          ) -> None:
    """Raise DataError, with counts, if rows have one label or group in two spellings.

    Groups keep their case. A group '1.0' beside a group '1' is of a column that is not all
    numbers, and so neither rule says whether they are one.
    """
    both = pd.concat([part.filter(["label", "group"])
                      for part in (existing, new) if part is not None], ignore_index=True)
    if "label" in both and one_label:
        refuse_lookalikes(both["label"].value_counts().to_dict(), remedy="Write them as one in the "
                          "file, or give both one name in data.labels.")
    if "group" not in both:
        return
    counts = both.loc[both["group"].fillna("") != "", "group"].value_counts()
    plain = dict(zip(counts.index, plain_numbers(counts.index.to_series()), strict=True))
    twice = [name for name, number in plain.items() if name != number and number in counts]
    if twice:
        name, number = twice[0], plain[twice[0]]
        raise DataError(
            f"{len(twice):,} groups of data.group_column are spelled in two ways, such as "
            f"'{number}' ({counts[number]:,} rows) and '{name}' ({counts[name]:,}): their rows "
            "could be on both sides of the split. '1.0' counts as '1' only where every cell of the "
            "column is a number; write them as one in the file.")
    if existing is not None and "group" in existing and "group" in new:
        _refuse_lost_zeros(set(existing["group"]), set(new["group"]) - {""})


def _refuse_lost_zeros(before: set[str], now: set[str]) -> None:
    """Raise DataError if a delivery's groups are those of before without their leading zeros."""
    unseen = {name for name in now - before if name.isdecimal()}
    for few, many, lost in ((unseen, before, "without"), (before, unseen, "with")):
        padded = {name.lstrip("0"): name for name in many if name.isdecimal() and name[0] == "0"}
        same = sorted(name for name in few if name in padded)
        if len(same) * 2 >= max(1, len(unseen)) and same:
            raise DataError(
                f"{len(same):,} groups of data.group_column stand here {lost} the zeros that "
                f"others have, such as '{same[0]}' and '{padded[same[0]]}': their rows could be on "
                "both sides of the split. A spreadsheet takes leading zeros away; write the column "
                "as text.")


def sample_rows(
    raw: pd.DataFrame, rows: int | None, seed: int = 0, stratified: bool = True
) -> pd.DataFrame:
    """Return at most `rows` raw rows, drawn without repeats, in their order; None returns all.

    Args:
        stratified: Each raw label keeps its share, to within one row.
    """
    if rows is None or rows >= len(raw):
        return raw
    if rows < 1:
        raise DataError(f"data.sample_rows={rows}, expected at least 1, or null for all rows.")
    order = np.random.default_rng(seed).permutation(len(raw))
    if not stratified or "label" not in raw:
        return raw.iloc[np.sort(order[:rows])].reset_index(drop=True)
    codes, values = pd.factorize(raw["label"])
    exact = np.bincount(codes, minlength=len(values)) * rows / len(raw)
    quota = np.floor(exact).astype(int)
    rest = np.argsort(quota - exact, kind="stable")[: rows - quota.sum()]
    quota[rest] += 1
    shuffled = pd.Series(codes[order])
    sample = order[(shuffled.groupby(shuffled).cumcount() < quota[codes[order]]).to_numpy()]
    return raw.iloc[np.sort(sample)].reset_index(drop=True)


def append_rejected(
    existing: pd.DataFrame | None, new: pd.DataFrame, repeated: pd.DataFrame, *, batch: str
) -> pd.DataFrame:
    """Return the rejected rows of all batches; those of `batch` replace what it had before.

    Args:
        new: Rejected rows of `batch`.
        repeated: Rows that `append` has rejected, which are of the batches under which they were
            asked if a person labelled them. What such a batch has rejected for the same text and
            reason already, when labels were handed in before, is not counted twice.
    """
    batches = []
    if existing is not None:
        named = ["batch", "text", "reason"]
        again = pd.MultiIndex.from_frame(existing[named]).isin(
            pd.MultiIndex.from_frame(repeated[named]))
        batches = [existing[(existing["batch"] != batch) & ~again]]
    return pd.concat([*batches, new, repeated], ignore_index=True)
