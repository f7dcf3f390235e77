"""Several sources in one delivery: how many rows each gives, and which.

Rows are drawn without replacement and by a seed, so that each source has the share its weight
says. The scarcest source decides how many there are in all. Which rows a source gives follows from
its name, the seed and its rows alone: another weight takes more or fewer of them in the same order.
"""

import hashlib
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from ftzard.errors import ConfigError, DataError


def allocate(available: Mapping[str, int], weights: Mapping[str, float], most: int | None = None
             ) -> dict[str, int]:
    """Return how many rows each source gives, to within one row of its weight's share.

    Args:
        available: Usable rows per source.
        most: Rows in all, at most; None: as many as there are for these shares.

    Raises:
        ConfigError: For a weight that is not a number above zero, DataError for a source without a
            usable row or with none in its share.
    """
    for name in available:
        weight = weights[name]
        if not (math.isfinite(weight) and weight > 0):
            raise ConfigError(f"data.mix gives '{name}' the weight {weight}; expected a number "
                              "above 0. Leave a source out to take nothing of it.")
        if available[name] < 1:
            raise DataError(f"data.mix: '{name}' has no usable row; expected one or more. Take it "
                            "out of data.mix, or mend its rows.")
    sum_ = sum(weights[name] for name in available)
    share = {name: weights[name] / sum_ for name in available}
    total = min(math.floor(available[name] / share[name] + 1e-9) for name in available)
    if most is not None:
        total = min(total, most)
    given = {name: math.floor(share[name] * total + 1e-9) for name in available}
    short = sorted(available, key=lambda name: (given[name] - share[name] * total, name))
    for name in short[: total - sum(given.values())]:
        given[name] += 1
    for name, rows in given.items():
        if rows < 1:
            raise DataError(
                f"data.mix: '{name}' has {share[name]:.2%} of the weights and would give none of "
                f"{total} rows; expected at least one of each source. Raise its weight, or bring "
                "more rows of the others.")
    return given


def draw(parts: Mapping[str, pd.DataFrame], weights: Mapping[str, float], *, seed: int,
         most: int | None = None) -> pd.DataFrame:
    """Return rows of all sources with a column `source`: sources by name, rows in their order.

    Args:
        parts: Usable rows of each source.
        weights, most: As for `allocate`.
    """
    given = allocate({name: len(parts[name]) for name in sorted(parts)}, weights, most)
    drawn = []
    for name, count in given.items():
        rows = parts[name].reset_index(drop=True)
        positions = np.sort(_order(name, len(rows), seed)[:count])
        drawn.append(rows.iloc[positions].assign(source=pd.Series(name, positions, dtype="str")))
    return pd.concat(drawn, ignore_index=True)


def _order(name: str, rows: int, seed: int) -> np.ndarray:
    """Return the order in which a source gives its rows."""
    own = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return np.random.default_rng([seed, own]).permutation(rows)
