"""From raw rows to clean ones: what a text becomes, and which rows cannot be used and why.

A row is never lost: it is in the cleaned table, or in the rejected one with a reason. What is done
to a text stands in `ftzard.core.text`, where predictions find it too. Rows that are instructions are
cleaned by `instructions.clean`; what comes after it (`check`, `append`) is here for both, and knows
them by their column `messages`: their label is a free answer, not one of a few names.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ftzard.core.text import clean_texts, replace
from ftzard.data import json_lines, rejection, target_checks
from ftzard.data.identity import (
    FIRST,
    canonical,
    canonical_labels,
    label_map,
    plain_numbers,
    refuse_lookalikes,
    refuse_rounded,
)
from ftzard.data.normalization import duplicate_keys, normalise
from ftzard.data.splitting import canonical_split
from ftzard.errors import DataError

__all__ = ["append", "check", "clean", "clean_texts", "normalise", "sample_rows"]

DUPLICATE = "duplicate"
EARLIER_DUPLICATE = "duplicate of an earlier batch"
CONTRADICTS = "contradicts the label of an earlier batch"
#: Rows for which a function of the workspace's own is called again to see if it is steady.
_STEADY = 1000
_INVISIBLE = r"[\s\p{Z}\p{Cc}\p{Cf}\x{FE00}-\x{FE0F}]+"


def row_ids(batch: str, rows: pd.Series, texts: list[str]) -> list[str]:
    """Return each row's id, 16 hex digits of its batch, number and text."""
    return [
        hashlib.sha256(f"{batch}\x00{row}\x00{text}".encode()).hexdigest()[:16]
        for row, text in zip(rows.tolist(), texts, strict=True)
    ]


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
    found = cells[unknown]
    shown = plain_numbers(found) if identity == FIRST else canonical(found, numbers=False)
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

    raw: as `read_raw` returns it (row, text and optionally label, group, split). labels: raw value
    -> name; None takes the values themselves as names. Returns (cleaned, rejected): cleaned has
    id, batch, row, text and the optional columns that raw has; rejected has batch, row, the raw
    text and one reason each. Both are in the order of `raw`. With a published split, repeats are
    only taken out of training: validation and test stay as they were published. identity: version
    of the rules by which texts and names are the same. own: the workspace's own function (see
    `texts.clean_texts`); cleaned then has a column cleaned_by with the beginning of its hash.
    Raises DataError for labels or names of splits that might be meant as one (from version 2), and
    for a function of one's own that fails or is not steady.
    """
    raw, halved = whole_characters(raw, identity)
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
        frame["cleaned_by"] = pd.Series(cleaned_by(own), frame.index, dtype="str")

    comparable = reason == ""
    if "split" in frame:
        comparable &= ~frame["split"].isin(["validation", "test"]).to_numpy()
    where = np.flatnonzero(comparable)
    label = frame["label"].iloc[where] if "label" in frame else None
    contradicting, duplicate = _repeats(frame["text"].iloc[where], label, identity)
    reason[where[contradicting]] = "contradicting labels"
    reason[where[duplicate]] = DUPLICATE

    used = reason == ""
    cleaned = frame[used].reset_index(drop=True)
    cleaned.insert(0, "batch", pd.Series(batch, cleaned.index, dtype="str"))
    ids = row_ids(batch, cleaned["row"], cleaned["text"].tolist())
    cleaned.insert(0, "id", pd.Series(ids, dtype="str"))
    return cleaned, rejected_rows(batch, raw["row"][~used], raw["text"][~used], reason[~used])


def cleaned_by(own: Mapping | None) -> str:
    """Return what tells a workspace's own function from another one: its hash's beginning."""
    return "" if own is None else own["sha256"][:16]


def _require_steady(raw: pd.Series, texts: pa.Array, settings: Mapping) -> None:
    """Refuse a function that makes something else of a text when it is called again.

    It is asked for a sample of the rows once more, and for what it made of them: labels come back
    with cleaned texts, and models are compared on them.
    """
    rows = np.unique(np.linspace(0, max(0, len(texts) - 1), num=min(len(texts), _STEADY)).astype(
        int))
    name = settings["own"]["function"]
    once = texts.take(pa.array(rows))
    again = clean_texts(raw.iloc[rows], **settings)
    twice = clean_texts(once.to_pandas(), **settings)
    for made, what in ((again, "the same text"), (twice, "its own result")):
        differs = pc.not_equal(once, made)
        if pc.any(differs).as_py():
            place = differs.index(True).as_py()
            raise DataError(
                f"data.clean={name} made {once[place].as_py()[:60]!r} of row "
                f"{raw.index[rows[place]]}, and "
                f"{made[place].as_py()[:60]!r} when it was given {what} again; expected a function "
                "that makes the same of a text each time and leaves a cleaned text as it is.")


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


def check(
    cleaned: pd.DataFrame,
    rejected: pd.DataFrame,
    repeated: pd.DataFrame | None = None,
    *,
    min_rows: int,
    max_rejected: float,
    labels: Mapping | None = None,
) -> None:
    """Refuse a delivery that cannot be trained on: DataError with counts, reasons and remedy.

    repeated: which of the cleaned rows `append` has rejected, since earlier batches have their
    texts; min_rows: fewest rows that are left then. max_rejected: largest share in [0, 1] of
    rejected rows among all; duplicates are not held against a delivery, but without a row that is
    new it is refused. labels: the map that `clean` was given. Of classification, the labels must be
    of two classes or more, but for those that people handed in: the rows that were asked may well
    be of one class, and stand beside others in the table. Free answers may be anything.
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
    if "label" not in cleaned:
        return
    task = "instruction_tuning" if "messages" in cleaned else "classification"
    problem = target_checks.problem(task, cleaned["label"]) if labels is None else None
    if problem is not None:
        raise DataError(f"{problem}; or, if each of them is one name, name every label in "
                        "data.labels.")
    if task != "classification":
        return
    found = cleaned["label"].value_counts()
    if len(found) < 2 and "labelled_by" not in cleaned:
        raise DataError(
            f"All {len(cleaned)} rows are labelled '{found.index[0]}'; a classifier needs at least "
            "two classes. Check data.label_column and whether the file is sorted and was cut."
        )
    if labels is None:
        _check_names(found)


def _check_names(found: pd.Series) -> None:
    """Labels that are their own names: refuse what looks like a slip, as it would be a class."""
    spellings: dict[str, str] = {}
    for name in found.index:
        other = spellings.setdefault(name.casefold(), name)
        if other != name:
            raise DataError(
                f"The labels '{other}' ({found[other]} rows) and '{name}' ({found[name]}) differ "
                "only in case; make them one in the file, or name both in data.labels."
            )
    if len(found) > found.sum() / 2:
        raise DataError(
            f"{found.sum()} rows have {len(found)} different labels, such as "
            f"'{found.index[0][:40]}' and '{found.index[1][:40]}'; is data.label_column the label?"
        )


def text_keys(rows: pd.DataFrame, identity: int = FIRST) -> pd.Series:
    """Return, per row, what two texts share when one repeats the other.

    Of rows with messages that is the text up to white space: in an instruction, a sign or a capital
    can change what is asked.
    """
    if "messages" in rows:
        keys = [" ".join(text.split()) for text in rows["text"]]
    else:
        keys = duplicate_keys(rows["text"], identity).to_pylist()
    return pd.Series(keys, rows.index, dtype="str")


def append(
    existing: pd.DataFrame | None, new: pd.DataFrame, *, replace_batch: bool = True,
    identity: int = FIRST,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Add a cleaned batch to the table of all batches; returns (table, rejected).

    Rows of the same batch are replaced (replace_batch=False: only those with the same id, for
    labels that arrive in portions); other batches stay as they are, and the new batch loses the
    rows that repeat one of theirs. A free answer repeats a row only if it is the same answer to the
    same text: another answer to it is a row of its own. Batches stand in order of arrival, rows by
    their number. identity: version of the rules by which texts and names are the same. Raises
    DataError for labels or groups that might be those of another batch (from version 2).
    """
    if identity != FIRST:
        _refuse_two_spellings(existing, new)
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

    free = "messages" in new
    keys, seen = text_keys(new, identity), text_keys(others, identity)
    reason = np.where(keys.isin(seen), EARLIER_DUPLICATE, "").astype(object)
    if "label" in new and free:
        said = set(zip(seen, others["label"], strict=True))
        again = [answer in said for answer in zip(keys, new["label"], strict=True)]
        reason = np.where(again, EARLIER_DUPLICATE, "").astype(object)
    elif "label" in new:
        earlier = dict(zip(seen, others["label"], strict=True))
        differs = keys.isin(seen) & (keys.map(earlier).astype("str") != new["label"])
        reason[differs.to_numpy()] = CONTRADICTS
    gone = reason != ""
    rejected = [nothing] + [
        rejected_rows(batch, rows["row"], rows["text"], reason[rows.index])
        for batch, rows in new[gone].groupby("batch", sort=False)
    ]
    table = pd.concat([others, new[~gone]], ignore_index=True)
    for column in ("split", "group", "source", "labelled_by", "labelled_at", "own_answer",
                   "cleaned_by"):
        if column in table:
            table[column] = table[column].fillna("").astype("str")
    arrival = list(dict.fromkeys([*existing["batch"], *new["batch"]]))
    rank = table["batch"].map({batch: place for place, batch in enumerate(arrival)})
    table = table.assign(_rank=rank).sort_values(["_rank", "row"], kind="stable")
    table = table.drop(columns="_rank").reset_index(drop=True)
    return table, pd.concat(rejected, ignore_index=True)


def _refuse_two_spellings(existing: pd.DataFrame | None, new: pd.DataFrame) -> None:
    """Raise DataError, with counts, if rows have one label or group in two spellings.

    Groups keep their case. A group '1.0' beside a group '1' is of a column that is not all
    numbers, and so neither rule says whether they are one.
    """
    both = pd.concat([part.filter(["label", "group", "messages"])
                      for part in (existing, new) if part is not None], ignore_index=True)
    if "label" in both and "messages" not in both:
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

    stratified: each raw label keeps its share, to within one row.
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
    taken = order[(shuffled.groupby(shuffled).cumcount() < quota[codes[order]]).to_numpy()]
    return raw.iloc[np.sort(taken)].reset_index(drop=True)


def append_rejected(
    existing: pd.DataFrame | None, new: pd.DataFrame, repeated: pd.DataFrame, *, batch: str
) -> pd.DataFrame:
    """Return the rejected rows of all batches; those of `batch` replace what it had before.

    new: rejected rows of `batch`; repeated: rows that `append` has rejected, which are of the
    batches under which they were asked if a person labelled them. What such a batch has rejected
    for the same text and reason already, when labels were handed in before, is not counted twice.
    """
    kept = []
    if existing is not None:
        named = ["batch", "text", "reason"]
        again = pd.MultiIndex.from_frame(existing[named]).isin(
            pd.MultiIndex.from_frame(repeated[named]))
        kept = [existing[(existing["batch"] != batch) & ~again]]
    return pd.concat([*kept, new, repeated], ignore_index=True)
