"""How often a line of champions has a false promotion, and how often a true gain is promoted.

    python bench/error_budget.py [LINES [accuracy|scores]]

LINES (2,000) simulated lines of 20 rounds; each brings 275 test rows, and all rows so far are
tested on. Challengers are no better than the champion they meet, and differ from it on a fifth of
the rows: each in its own way, or nine rows in ten as the ones before (the same model made again).
Beside the budget a gate that tests each round at 95 %. Power: one challenger, in round 10, is truly
better, by 3 points of accuracy or by 0.067 standard deviations of a row's difference (losses, F1
of rows with several labels), after nine rounds of challengers that are not.
"""

import sys
from pathlib import Path

from machine import store

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.evaluation.simulated_lines import ACCURACY, SCORES, promotions

AT_ONCE = 200


def share(lines: int, which: int, **how) -> float:
    """Return a share of all lines, drawn in parts that fit into memory."""
    parts = [promotions(min(AT_ONCE, lines - start), seed=start, **how)[which]
             for start in range(0, lines, AT_ONCE)]
    found = sum(p * min(AT_ONCE, lines - start)
                for p, start in zip(parts, range(0, lines, AT_ONCE), strict=True)) / lines
    named = {name: value for name, value in how.items() if name != "kind"}
    print(f"{named}: {100 * found:.2f} %", flush=True)
    return found


def main(lines: int = 2_000, name: str = "accuracy") -> None:
    kind = {"accuracy": ACCURACY, "scores": SCORES}[name]
    found = {
        "false_promotion": share(lines, 0, kind=kind),
        "false_promotion_alike": share(lines, 0, kind=kind, alike=0.9),
        "power_in_round_10": share(lines, 1, kind=kind, better_in=10, rounds=10),
        "false_promotion_today": share(lines, 0, kind=kind, budget=None),
        "false_promotion_alike_today": share(lines, 0, kind=kind, budget=None, alike=0.9)}
    print(store("error_budget" if name == "accuracy" else f"error_budget_{name}",
                {"lines": lines, "rounds": 20, "budget": 0.05, **found}))


if __name__ == "__main__":
    main(*(int(a) if a.isdigit() else a for a in sys.argv[1:]))
