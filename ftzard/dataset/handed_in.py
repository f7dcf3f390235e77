"""Labelled rows as they come back from a person, in the shape of cleaned rows."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from ftzard.dataset import labelling
from ftzard.errors import DataError


def queues(folder: Path) -> pd.DataFrame | None:
    """Return every row that was ever asked for: all queue files of a folder, or None."""
    files = sorted(Path(folder).glob("*.csv"))
    if not files:
        return None
    read = [pd.read_csv(f, dtype="str", keep_default_na=False, encoding="utf-8-sig") for f in files]
    return pd.concat(read, ignore_index=True).drop_duplicates("id")


def read(path: Path, *, batch: str, queue: pd.DataFrame | None, labels: Iterable[str]
         ) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (cleaned, rejected) of a file with labels that a person handed in.

    queue: what was asked; labels: the label names; batch: of the delivery, under which refused
    rows are kept. Accepted rows keep the id and batch under which they were asked. Rows left
    empty are neither: they stay in the queue. Raises DataError if nothing was asked for yet.
    """
    if queue is None:
        raise DataError(
            f"{path.name} holds labels, but no row was ever asked for: data/labelling is empty. "
            "Run the inference job on a batch first, or hand the rows in as raw data.")
    accepted, refused = labelling.accept(labelling.read_labelled(path), queue, labels)
    cleaned = accepted.assign(row=np.arange(len(accepted), dtype="int64"))
    cleaned = cleaned[["id", "batch", "row", "text", "label"]]
    refused = refused[refused["reason"] != "label empty"].reset_index(drop=True)
    rejected = pd.DataFrame({
        "batch": pd.Series([batch] * len(refused), dtype="str"),
        "row": np.arange(len(refused), dtype="int64"),
        "text": refused["text"].astype("str"),
        "reason": refused["reason"].astype("str")})
    return cleaned, rejected
