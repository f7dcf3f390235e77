"""How often the gate promotes: by true gain, rows that differ, and size of the test set.

    python bench/gate_power.py [PAIRS [accuracy|loss]]

Each cell is PAIRS (1,000) pairs of simulated models of known true difference: of right and wrong
answers, judged at the shipped settings, or of losses per token of answers of 2 to some 200 tokens,
judged at those of a workspace for instruction tuning. Nothing else is at work here than chance: no
class and no test set is harmed.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import store

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ftzard.config.compose import compose
from ftzard.evaluation.gate import judge
from tests.evaluation.simulated import CLASSES, losses, pair

ROWS, DISCORDANT = (500, 1_000, 2_000, 4_000), (0.1, 0.2)
GAINS = (0.0, 0.01, 0.02, 0.03, 0.05)
#: Test rows and gains in nats per token; the differences of two models' rows spread by SPREAD
#: nats where an answer has 18 tokens, by more where it has fewer.
ROWS_OF_ANSWERS, SPREAD = (100, 200, 500, 1_000), (0.2, 0.4)
NATS = (0.0, 0.02, 0.05, 0.1, 0.2)
LIMITS = {"min_gain": 0.01, "min_rows": 50, "max_forgetting": 0.1}


def promoted(rows: int, discordant: float, gain: float, pairs: int) -> float:
    """Return the share of pairs whose challenger is promoted."""
    limits = compose().gate
    rng = np.random.default_rng(0)
    return sum(
        judge(*pair(rng, rows, gain, discordant), limits, classes=CLASSES, baselines={},
              seed=number).promoted for number in range(pairs)) / pairs


def promoted_by_loss(rows: int, spread: float, gain: float, pairs: int) -> float:
    """Return the same share for pairs of models that answer freely; gain, spread: in nats."""
    limits = replace(compose().gate, **LIMITS)
    rng = np.random.default_rng(0)
    return sum(
        judge(*losses(rng, rows, gain, spread), limits, measure="loss", baselines={},
              seed=number).promoted for number in range(pairs)) / pairs


def main(pairs: int = 1_000, measure: str = "accuracy") -> None:
    share, varied, sizes, gains, name = {
        "accuracy": (promoted, DISCORDANT, ROWS, GAINS, "discordant"),
        "loss": (promoted_by_loss, SPREAD, ROWS_OF_ANSWERS, NATS, "spread")}[measure]
    cells = []
    for value in varied:
        for rows in sizes:
            shares = {str(gain): share(rows, value, gain, pairs) for gain in gains}
            cells.append({"rows": rows, name: value, "promoted": shares})
            print(f"{value:g} {rows:>6,}  " + "  ".join(
                f"{100 * found:5.1f}" for found in shares.values()), flush=True)
    print(store("gate_power" if measure == "accuracy" else f"gate_power_{measure}",
                {"pairs": pairs, "cells": cells}))


if __name__ == "__main__":
    main(*(int(a) if a.isdigit() else a for a in sys.argv[1:]))
