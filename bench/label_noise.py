"""How often the gate promotes on labels of people who differ, with and without `gate.label_noise`.

    python bench/label_noise.py [PAIRS]

A challenger and a champion answer 2,750 test rows of two classes and differ on 20 % of them; a
share of the rows is labelled by a second person. Two kinds of noise: people who err by chance,
where the challenger is 3 points better or no better; and one labeller with a habit (a share of the
rows that nobody else would label so) of which the challenger has learned half, and which makes it
no better. Two minutes with 200 pairs.
"""

import sys
from dataclasses import replace

import numpy as np
from machine import store

from ftzard.config.compose import compose
from ftzard.evaluation import gate
from ftzard.evaluation.paired import Predicted

ROWS, DISCORDANT = 2750, 0.2
NAMES = np.array(["negative", "positive"])


def pair(rng, *, gain=0.0, error=0.0, habit=0.0):
    """Return which rows each model has right by the first person, and where the second differs."""
    kind = rng.random(ROWS)
    won = kind < (DISCORDANT + gain) / 2
    lost = ~won & (kind < DISCORDANT)
    both = rng.random(ROWS) < 0.85
    after, before = np.where(won, True, np.where(lost, False, both)), np.where(
        won, False, np.where(lost, True, both))
    first, second = (rng.random(ROWS) < error for _ in range(2))
    habits = ~won & ~lost & before & (rng.random(ROWS) < habit)
    learned = habits & (rng.random(ROWS) < 0.5)
    after = after & ~learned          # by the truth it is wrong there, as the labeller is
    after, before = after ^ first ^ habits, before ^ first ^ habits
    return after, before, first ^ habits ^ second


def predicted(right):
    labels = NAMES[np.arange(len(right)) % 2]
    other = NAMES[1 - np.arange(len(right)) % 2]
    ids = [str(i) for i in range(len(right))]
    return {"all": Predicted(ids, labels, np.where(right, labels, other))}


def cell(pairs, overlap, limits, **noise):
    rng = np.random.default_rng(20)
    plain = with_rule = apart = 0
    for seed in range(pairs):
        after, before, differ = pair(rng, **noise)
        asked = np.flatnonzero(rng.random(ROWS) < overlap)
        verdict = gate.judge(
            predicted(after), predicted(before), limits, baselines={}, seed=seed,
            classes=list(NAMES), differ={str(i): bool(differ[i]) for i in asked})
        with_rule += verdict.promoted
        plain += verdict.promoted or not (verdict.label_noise or {"holds": True})["holds"] and (
            verdict.decision == "cannot tell")
        apart += differ.mean()
    return {**noise, "overlap": overlap, "people_differ": round(float(apart) / pairs, 3),
            "promoted_without": round(plain / pairs, 3),
            "promoted_with": round(with_rule / pairs, 3)}


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    limits = replace(compose().gate, error_budget=None)
    cells = [cell(pairs, overlap, limits, gain=gain, error=error)
             for gain in (0.0, 0.03) for error in (0.0, 0.03, 0.06, 0.1)
             for overlap in ((0.2,) if gain == 0 else (0.05, 0.2))]
    cells += [cell(pairs, overlap, limits, habit=habit)
              for habit in (0.05, 0.08, 0.12) for overlap in (0.05, 0.1, 0.2, 0.4)]
    for line in cells:
        print(line)
    print(store("label_noise", {"pairs": pairs, "rows": ROWS, "discordant": DISCORDANT,
                                "cells": cells}))


if __name__ == "__main__":
    main()
