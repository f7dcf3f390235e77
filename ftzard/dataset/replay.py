"""Which earlier training rows are trained on again beside new ones."""

from collections.abc import Iterable

import pandas as pd


def mix(train: pd.DataFrame, known: Iterable[str], *, ratio: float | None, seed: int
        ) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return (rows to train on, counts): all new rows and a replayed share of the known ones.

    train: training rows of all batches (batch, label); known: batches that the earlier model was
    trained on; ratio: replayed rows per new row, None for all of them. The replayed rows keep the
    shares of batch and class; of free answers (rows with messages) those of batch and source.
    Without any new row everything is replayed.
    """
    is_new = ~train["batch"].isin(list(known))
    new, earlier = train[is_new], train[~is_new]
    if ratio is None or new.empty or ratio * len(new) >= len(earlier):
        replayed = earlier
    else:
        share = ratio * len(new) / len(earlier)
        kinds = ["batch", "source" if "messages" in earlier else "label"]
        parts = [part.sample(n=round(share * len(part)), random_state=seed)
                 for _, part in earlier.groupby(kinds, sort=True)]
        replayed = pd.concat(parts).sort_index()
    rows = pd.concat([replayed, new]).sort_index().reset_index(drop=True)
    return rows, {"new_rows": len(new), "replayed_rows": len(replayed),
                  "earlier_rows": len(earlier)}
