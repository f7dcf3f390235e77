"""How often the gate promotes: by true gain, rows that differ, and size of the test set.

    python bench/gate_power.py [PAIRS]

Each cell is PAIRS (1,000) pairs of simulated models of known true difference, judged at the shipped
settings. Nothing else is at work here than chance: no class and no test set is harmed.
"""

import sys
from pathlib import Path

import numpy as np
from machine import store

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ftzard.config.compose import compose
from ftzard.evaluation.gate import judge
from tests.evaluation.simulated import CLASSES, pair

ROWS, DISCORDANT = (500, 1_000, 2_000, 4_000), (0.1, 0.2)
GAINS = (0.0, 0.01, 0.02, 0.03, 0.05)


def promoted(rows: int, discordant: float, gain: float, pairs: int) -> float:
    """Return the share of pairs whose challenger is promoted."""
    settings = vars(compose().gate)
    rng = np.random.default_rng(0)
    return sum(
        judge(*pair(rng, rows, gain, discordant), CLASSES, baselines={}, seed=number,
              **settings).promoted for number in range(pairs)) / pairs


def main(pairs: int = 1_000) -> None:
    cells = []
    for discordant in DISCORDANT:
        for rows in ROWS:
            shares = {str(gain): promoted(rows, discordant, gain, pairs) for gain in GAINS}
            cells.append({"rows": rows, "discordant": discordant, "promoted": shares})
            print(f"{discordant:.0%} {rows:>6,}  " + "  ".join(
                f"{100 * share:5.1f}" for share in shares.values()), flush=True)
    print(store("gate_power", {"pairs": pairs, "cells": cells}))


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
