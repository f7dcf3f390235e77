"""Made-up lines of champions: round after round a challenger, on test rows that are used again."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, norm

from ftzard.evaluation import error_budget

NEW_ROWS, ROUNDS, DIFFER, MIN_GAIN = 275, 20, 0.2, 0.005
#: A gain of three points where a fifth of the rows differ, in standard deviations of a row.
STANDARDISED = 0.067
CAP = 0.025


@dataclass(frozen=True)
class Kind:
    """How models differ on rows: what each round draws, and the test of the differences.

    first(rng, shape): the first champion's rows; next(rng, champion, gain, same): a challenger's,
    better by `gain` (in points or standard deviations), whose draw is `same` again where that is
    given; p(differences, rows): two-sided p-values and gains of the first `rows` rows of each line.
    """

    first: Callable
    next: Callable
    p: Callable
    gain: float
    least: float


def _right(rng, shape):
    return (rng.random(shape) < 0.8).astype(np.int8)


def _flipped(rng, champion, gain, draw):
    lost, won = (DIFFER - gain) / 2 / 0.8, (DIFFER + gain) / 2 / 0.2
    return champion ^ (draw < np.where(champion == 1, lost, won)).astype(np.int8)


def _mcnemar(differences):
    wins, losses = (differences == 1).sum(axis=1), (differences == -1).sum(axis=1)
    larger = np.maximum(wins, losses)
    p = np.minimum(1.0, 2 * binom.sf(larger - 1, wins + losses, 0.5))
    return p, (wins - losses) / differences.shape[1]


def _scores(rng, shape):
    return (rng.standard_t(5, shape) / np.sqrt(5 / 3) / np.sqrt(2)).astype(np.float32)


def _scored(rng, champion, gain, draw):
    return (norm.ppf(np.clip(draw, 1e-6, 1 - 1e-6)) / np.sqrt(2) + gain).astype(np.float32)


def _normal(differences):
    means = differences.mean(axis=1)
    errors = differences.std(axis=1, ddof=1) / np.sqrt(differences.shape[1])
    return 2 * norm.sf(abs(means) / errors), means


ACCURACY = Kind(_right, _flipped, _mcnemar, 0.03, MIN_GAIN)
SCORES = Kind(_scores, _scored, _normal, STANDARDISED, 0.0)


def promotions(lines: int, *, kind: Kind = ACCURACY, budget: float | None = 0.05,
               better_in: int | None = None, rounds: int = ROUNDS, alike: float = 0.0,
               seed: int = 0) -> tuple[float, float]:
    """Return the shares of lines (with any false promotion, with the true one promoted).

    Args:
        lines: how many.
        kind: what is compared.
        budget: of each line; None is a gate that tests each round at 95 %.
        better_in: the only round whose challenger is truly better.
        rounds: of the line, of `ROUNDS` that share the budget.
        alike: share of rows on which every challenger differs from its champion in the same way,
            as one that is made again and again of the same data does.
        seed: of all that is drawn.
    """
    rng, size = np.random.default_rng(seed), NEW_ROWS * rounds
    champion = kind.first(rng, (lines, size))
    same = rng.random((lines, size), dtype=np.float32)
    accounts: list[list[dict]] = [[] for _ in range(lines)]
    wrong, found = np.zeros(lines, dtype=bool), np.zeros(lines, dtype=bool)
    for number in range(1, rounds + 1):
        n = NEW_ROWS * number
        gain = kind.gain if number == better_in else 0.0
        draw = rng.random((lines, size), dtype=np.float32)
        draw = np.where(rng.random((lines, size), dtype=np.float32) < alike, same, draw)
        challenger = kind.next(rng, champion, gain, draw)
        differences = challenger[:, :n].astype(np.float32) - champion[:, :n]
        p, gained = kind.p(differences)
        fresh_p, fresh_gained = kind.p(differences[:, n - NEW_ROWS:])
        batches = {f"batch {i}": NEW_ROWS for i in range(number)}
        allowed = [None if budget is None else error_budget.allowance(
            budget, ROUNDS, made, cap=CAP) for made in accounts]
        level = np.array([CAP if a is None else a.level for a in allowed])
        promoted = (p < 2 * level) & (gained > 0) & (gained >= kind.least)
        earned = promoted & (fresh_p < 2 * level) & (fresh_gained > 0)
        for made, one, back in zip(accounts, allowed, earned, strict=True):
            if one is not None:
                made.append(one.account(counted=True, earned=bool(back), rows=batches, fresh=None))
        if number == better_in:
            found |= promoted
        else:
            wrong |= promoted
        champion = np.where(promoted[:, None], challenger, champion)
    return float(wrong.mean()), float(found.mean())
