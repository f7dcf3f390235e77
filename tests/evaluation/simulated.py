"""Made-up answers of models whose true difference is known, and made-up rounds of them."""

import numpy as np

from ftzard.config.schema import Gate
from ftzard.evaluation.drift import Sample
from ftzard.evaluation.paired import Predicted, Scored

CLASSES = ["negative", "positive"]
LIMITS = Gate(
    min_gain=0.01, confidence=0.95, resamples=2000, min_rows=200, max_class_loss=0.05,
    max_forgetting=0.05, baseline_veto=False, first_baseline_margin=0.02,
    first_calibration_error=0.1, trial=False, error_budget=None, rounds=20,
    label_noise=True, doubtful_labels=True)


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


def scored(losses: np.ndarray, tokens=None, name: str = "first") -> dict[str, Scored]:
    """One test set of rows with these losses."""
    return {name: Scored([f"{name}-{i}" for i in range(len(losses))], -np.asarray(losses), tokens)}


def losses(
    rng: np.random.Generator, n: int, gain: float, spread: float = 0.4
) -> tuple[dict[str, Scored], dict[str, Scored]]:
    """A challenger and a champion whose losses per token differ by `gain` nats and by chance.

    Answers have from 2 to some 200 tokens, most of them few; the fewer they are the more a row's
    loss varies, and one row in twenty is far off for one of the two.
    """
    tokens = 2 + rng.geometric(1 / 18, n)
    hard = rng.gamma(6, 0.4, n)
    noise = rng.normal(0, spread, n) * np.sqrt(18 / tokens)
    noise += np.where(rng.random(n) < 0.05, rng.normal(0, 3 * spread, n), 0)
    champion = np.maximum(hard + noise / 2, 0.0)
    return scored(np.maximum(hard - noise / 2 - gain, 0.0), tokens), scored(champion, tokens)


def made(n: int, seed: int, *, share=0.5, surer=0.0, longer=1.0, pieces=1.0, moved=0.0) -> Sample:
    """Rows as a model may see them: n lengths, answers and embeddings, changed as one is told."""
    draw = np.random.default_rng(seed)
    words = 2 + draw.poisson(12 * longer, n)
    characters = words * draw.normal(5.2, 0.4, n).clip(3)
    tokens = np.ceil(characters / draw.normal(4.0 / pieces, 0.3, n).clip(1))
    positive = draw.random(n) < share
    logit = draw.normal(np.where(positive, 1.6, -1.6), 1.2) * (1 + surer)
    p = 1 / (1 + np.exp(-logit))
    topics = draw.normal(0, 1, (n, 4)) @ np.linspace(-1, 1, 4 * 24).reshape(4, 24)
    embeddings = topics + draw.normal(moved, 1, (n, 24)) + 0.4 * np.where(positive, 1, -1)[:, None]
    return Sample(np.c_[1 - p, p], words, characters, tokens, embeddings)


def freely(sample: Sample) -> Sample:
    """The same rows as a model has that answers in free text."""
    return Sample(sample.probabilities.max(axis=1, keepdims=True), sample.words, sample.characters,
                  sample.tokens, sample.embeddings)


def record(version: int, batches: str, promoted: bool, **tested: dict[str, float]) -> dict:
    """A version's record; tested: v1={'a': 0.9} is the accuracy of version 1 on batch a."""
    return {
        "version": version, "batches": list(batches), "verdict": {"promoted": promoted},
        "tested": {number[1:]: {b: {"accuracy": a, "n": 100} for b, a in measured.items()}
                   for number, measured in tested.items()}}


def of_measure(entry: dict, measure: str = "loss") -> dict:
    """The same record of a round that was judged by another measure."""
    return {**entry, "measure": measure,
            "tested": {v: {b: {"score": s["accuracy"], "n": s["n"]} for b, s in measured.items()}
                       for v, measured in entry["tested"].items()}}
