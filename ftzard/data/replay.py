"""Which rows are new to a model, and which earlier ones are trained on again beside them.

A row is what a model learns of it: what is asked (the messages, else the text) and the answer. So
a label that comes late is new, although its batch is known, and so is one that was corrected.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd


def batch_groups(train: pd.DataFrame, learned: pd.DataFrame | None, batches: Iterable[str]) -> dict:
    """Return the arguments of `mix` for an earlier model: known batches, fresh rows within them.

    Args:
        train: Training rows of all batches (id, batch, label, text or messages).
        learned: The rows that the model and those it comes from have learned, None if that is not
            known any more; then all rows of `batches`, those it was made with, count as learned.
    """
    if learned is None:
        return {"known": list(batches), "fresh": []}
    new = is_new(train, learned)
    known = list(dict.fromkeys(train.loc[~new, "batch"]))
    return {"known": known, "fresh": train.loc[new & train["batch"].isin(known), "id"].tolist()}


def is_new(rows: pd.DataFrame, earlier: pd.DataFrame) -> pd.Series:
    """Return which rows are asked and answered as none of the earlier ones is, bool by row."""
    return ~pd.Series(_keys(rows), rows.index, dtype="object").isin(set(_keys(earlier)))


def _keys(rows: pd.DataFrame) -> list[tuple[str, str]]:
    asked = rows["messages" if "messages" in rows else "text"]
    return list(zip(asked, rows["label"], strict=True))


def mix(train: pd.DataFrame, known: Iterable[str], *, ratio: float | None, seed: int,
        fresh: Iterable[str] = ()) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return (rows to train on, counts): all new rows and a replayed share of the known ones.

    The replayed rows are as many as the ratio says and keep the shares of batch and class to
    within a row; of free answers (rows with messages) those of batch and source. Without any new
    row everything is replayed.

    Args:
        train: Training rows of all batches (id, batch, label).
        known: Batches that the earlier model has learned.
        fresh: Ids of rows of these that it has not.
        ratio: Replayed rows per new row, None for all of them.
    """
    is_new = ~train["batch"].isin(list(known))
    fresh = list(fresh)
    if fresh:
        is_new |= train["id"].isin(fresh)
    new, earlier = train[is_new], train[~is_new]
    wanted = len(earlier) if ratio is None or new.empty else round(ratio * len(new))
    if wanted >= len(earlier):
        replayed = earlier
    else:
        kinds = ["batch", "source" if "messages" in earlier else "label"]
        parts = [part for _, part in earlier.groupby(kinds, sort=True)]
        given = _given([len(part) for part in parts], wanted, seed)
        replayed = pd.concat([part.sample(n=count, random_state=seed)
                              for part, count in zip(parts, given, strict=True)]).sort_index()
    rows = pd.concat([replayed, new]).sort_index().reset_index(drop=True)
    return rows, {"new_rows": len(new), "replayed_rows": len(replayed),
                  "earlier_rows": len(earlier)}


def _given(sizes: list[int], wanted: int, seed: int) -> np.ndarray:
    """Return how many of `wanted` rows each part gives, in its share to within one row.

    Of equal claims to the rows that are left over, chance decides and not the order of the parts.
    """
    exact = np.asarray(sizes) * wanted / sum(sizes)
    given = np.floor(exact + 1e-9).astype(int)
    order = np.random.default_rng(seed).permutation(len(sizes))
    rest = order[np.argsort((given - exact)[order].round(9), kind="stable")]
    given[rest[: wanted - given.sum()]] += 1
    return given
