"""Which rows of an unlabelled batch a person is asked to label.

The most uncertain rows of the training side, to learn from, and rows drawn uniformly from the
test side alone, to measure with: a test set of uncertain rows would say little about the batch.
"""

import numpy as np
import pandas as pd

from ftzard.dataset.labelling import QUEUE
from ftzard.dataset.normalising import normalise_all
from ftzard.errors import ConfigError, DataError, nearest

STRATEGIES = ("least_confidence", "margin", "entropy", "random")


def uncertainty(probabilities: np.ndarray, strategy: str, *, seed: int = 0) -> np.ndarray:
    """Return each row's uncertainty in [0, 1]; 1 is a model that knows nothing.

    probabilities: (rows, classes), each row adding up to 1. least_confidence is (1 - max p) ·
    k / (k - 1), margin 1 less the lead of the first class over the second, entropy is divided by
    log k, random draws a number per row from `seed`.
    """
    if strategy not in STRATEGIES:
        hint = nearest(strategy, STRATEGIES)
        raise ConfigError(f"sampling.strategy='{strategy}' is unknown{hint}")
    p = np.asarray(probabilities, dtype=float)
    if p.ndim != 2 or p.shape[1] < 2:
        raise DataError(f"Probabilities have shape {p.shape}, expected (rows, at least 2 classes).")
    wrong = ~(np.isfinite(p).all(axis=1) & (p >= 0).all(axis=1) & (abs(p.sum(axis=1) - 1) < 1e-3))
    if wrong.any():
        raise DataError(
            f"{wrong.sum()} of {len(p)} rows have probabilities that are no distribution, such as "
            f"{p[wrong][0].tolist()}; predict again."
        )
    classes = p.shape[1]
    if strategy == "random":
        return np.random.default_rng(seed).random(len(p))
    if strategy == "least_confidence":
        return (1 - p.max(axis=1)) * classes / (classes - 1)
    if strategy == "margin":
        ordered = np.sort(p, axis=1)
        return 1 - (ordered[:, -1] - ordered[:, -2])
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1) / np.log(classes)


def _askable(predictions: pd.DataFrame, exclude_texts: pd.Series | list[str]) -> pd.DataFrame:
    """Rows in order of id with their scores' positions; known and repeated texts left out."""
    words = normalise_all(predictions["text"]).to_pylist()
    words = pd.Series(words, predictions.index, dtype="str")
    known = words.isin(normalise_all(exclude_texts).to_pylist())
    ordered = predictions["id"].sort_values(kind="stable").index
    repeated = words.loc[ordered].duplicated().reindex(predictions.index)
    return predictions.assign(known=known, repeated=repeated & ~known)


def select(
    predictions: pd.DataFrame,
    *,
    strategy: str,
    budget: int,
    audit_rows: int,
    seed: int,
    exclude_texts: pd.Series | list[str] = (),
) -> tuple[pd.DataFrame, float]:
    """Return (queue, threshold): the rows to label, and the score of the last uncertain one.

    predictions: id, batch, split, text, suggestion, confidence, probabilities. Ranked are the
    rows of the training side (train and validation); `audit_rows` are drawn uniformly from the
    test side. Of texts with the same words one is asked, and none of those in `exclude_texts`.
    Fewer rows than asked for are all taken (`counts` says how many were missing); no row at all
    is a DataError. The threshold is NaN when the queue has only audit rows.
    """
    if budget < 0 or audit_rows < 0 or budget + audit_rows == 0:
        raise ConfigError(
            f"sampling.budget={budget} and sampling.audit_rows={audit_rows}, expected numbers from "
            "0 that are not both 0."
        )
    if predictions.empty:
        raise DataError("There are no predictions to choose from; run the inference step first.")
    scores = uncertainty(np.stack(predictions["probabilities"].to_list()), strategy, seed=seed)
    rows = _askable(predictions.reset_index(drop=True), exclude_texts).assign(score=scores)
    free = rows[~rows["known"] & ~rows["repeated"]]
    test = free["split"] == "test"
    ranked = free[~test].sort_values(["score", "id"], ascending=[False, True]).head(budget)
    audited = free[test].sort_values("id")
    drawn = np.random.default_rng(seed).permutation(len(audited))[:audit_rows]
    audited = audited.iloc[np.sort(drawn)]
    if ranked.empty and audited.empty:
        raise DataError(
            f"None of {len(rows)} predicted rows is left to label: {rows['known'].sum()} are "
            f"labelled already, {rows['repeated'].sum()} repeat another's words; bring a new batch."
        )
    queue = pd.concat([ranked.assign(side="train"), audited.assign(side="test")])
    queue = queue.assign(label="")[QUEUE].reset_index(drop=True)
    return queue, float(ranked["score"].iloc[-1]) if len(ranked) else float("nan")


def counts(
    predictions: pd.DataFrame,
    queue: pd.DataFrame,
    *,
    budget: int,
    audit_rows: int,
    exclude_texts: pd.Series | list[str] = (),
) -> dict[str, int]:
    """Return the numbers behind a queue, for the report, and how many rows it is short of."""
    rows = _askable(predictions.reset_index(drop=True), exclude_texts)
    asked = int((queue["side"] == "train").sum())
    audited = int((queue["side"] == "test").sum())
    return {
        "predicted": len(rows),
        "already labelled": int(rows["known"].sum()),
        "same words as another": int(rows["repeated"].sum()),
        "uncertain rows asked": asked,
        "audit rows asked": audited,
        "short of the budget": max(0, budget - asked),
        "short of the audit rows": max(0, audit_rows - audited),
    }
