"""Made-up answers of models whose true difference is known, for the gate and the report."""

import numpy as np

from ftzard.evaluation.gate import Predicted

CLASSES = ["negative", "positive"]


def answers(labels: np.ndarray, correct: np.ndarray, name: str = "first") -> dict[str, Predicted]:
    """One test set on which exactly the rows in `correct` are answered rightly."""
    names = np.array(CLASSES)
    predicted = names[np.where(correct, labels, 1 - labels)]
    ids = [f"{name}-{i}" for i in range(len(labels))]
    return {name: Predicted(ids, names[labels], predicted)}


def pair(
    rng: np.random.Generator, n: int, gain: float, discordance: float
) -> tuple[dict[str, Predicted], dict[str, Predicted]]:
    """A challenger and a champion that differ on a share of rows, the challenger truly better."""
    labels = rng.integers(0, 2, n)
    kind = rng.random(n)
    won = kind < (discordance + gain) / 2
    lost = ~won & (kind < discordance)
    both = rng.random(n) < 0.8
    challenger = np.where(won, True, np.where(lost, False, both))
    champion = np.where(won, False, np.where(lost, True, both))
    return answers(labels, challenger), answers(labels, champion)


def counted(wins: int, losses: int, both: int, label: int = 1, name: str = "first") -> tuple:
    """A challenger and a champion with exactly these numbers of rows, all of one class."""
    n = wins + losses + both
    labels = np.full(n, label)
    challenger = np.r_[np.ones(wins), np.zeros(losses), np.ones(both)].astype(bool)
    champion = np.r_[np.zeros(wins), np.ones(losses), np.ones(both)].astype(bool)
    return answers(labels, challenger, name), answers(labels, champion, name)
