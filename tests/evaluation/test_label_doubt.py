"""Labels in doubt are found among flipped ones, and how many may be wrong is exact."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest

from ftzard.evaluation import gate, label_doubt
from ftzard.evaluation.paired import Predicted
from tests.evaluation.simulated import LIMITS

NAMES = np.array(["a", "b", "c"])


def case(seed: int, classes: int, **limits):
    """A gate over a few dozen rows: what it decides as a function of the labels."""
    rng = np.random.default_rng(seed)
    n = 60
    labels, sets = rng.integers(0, classes, n), (np.arange(n) >= 30).astype(int)
    right = rng.random((2, n)) < [[0.85], [0.6]] if seed % 2 else rng.random((2, n)) < 0.75
    said = np.where(right, labels, (labels + rng.integers(1, classes, (2, n))) % classes)
    settings = replace(LIMITS, min_rows=20, **limits)

    def judged(given):
        answers = [{f"s{one}": Predicted(
            [f"{one}-{i}" for i in np.flatnonzero(sets == one)], NAMES[given[sets == one]],
            NAMES[who[sets == one]]) for one in (0, 1)} for who in said]
        return gate.judge(*answers, settings, baselines={}, seed=0, classes=NAMES[:classes])

    return labels, said, sets, rng.choice(n, 6, replace=False), judged


def brute_force(promoted, labels, doubtful, classes) -> int | None:
    """The fewest changes of doubtful labels that turn the verdict, by trying every one."""
    before = promoted(labels)
    for k in range(1, len(doubtful) + 1):
        for rows in combinations(doubtful, k):
            for to in product(range(1, classes), repeat=k):
                changed = labels.copy()
                changed[list(rows)] = (labels[list(rows)] + to) % classes
                if promoted(changed) != before:
                    return k
    return None


def test_stands_unless_k_is_what_brute_force_finds():
    found = set()
    for seed in range(14):
        classes = 2 + (seed % 3 == 0)
        labels, said, sets, doubtful, judged = case(
            seed, classes, resamples=200, max_class_loss=0.02, max_forgetting=0.02)
        verdict, known = judged(labels), {}

        def promoted(given, judged=judged, known=known):
            key = given.tobytes()
            if key not in known:
                known[key] = judged(given).promoted
            return known[key]

        if any(p["veto"] for p in (*verdict.per_class, *verdict.per_test_set)):
            continue
        told = label_doubt.fewest_wrong(promoted, labels, *said, sets, doubtful, classes)
        exact = brute_force(promoted, labels, doubtful, classes)
        assert told.wrong == exact, seed
        found.add((verdict.promoted, exact))
    assert len({k for _, k in found}) >= 3 and {p for p, _ in found} == {True, False}


def test_flipped_labels_are_among_the_most_doubtful():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 2000)
    scores = rng.normal(0, 1, (2000, 3)) + 2.5 * np.eye(3)[truth]
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    flipped = rng.random(2000) < 0.05
    labels = np.where(flipped, (truth + rng.integers(1, 3, 2000)) % 3, truth)
    worst = np.argsort(label_doubt.quality(labels, chances))[:160]
    assert flipped[worst].sum() / flipped.sum() > 0.8
    doubtful = label_doubt.in_doubt(labels, chances)
    assert flipped[doubtful].mean() > 0.3 and len(doubtful) < 300
    assert flipped[doubtful[:50]].mean() > flipped[doubtful[-50:]].mean()


def test_few_rows_and_a_class_without_rows_are_no_reason_to_fail():
    chances = np.tile([0.5, 0.3, 0.2], (80, 1))
    labels = np.arange(80) % 2
    assert len(label_doubt.in_doubt(labels[:20], chances[:20])) == 0
    assert set(label_doubt.in_doubt(labels, chances)) <= set(range(80))
    assert label_doubt.quality(labels, chances).shape == (80,)


@pytest.mark.parametrize(("told", "said"), [
    (label_doubt.Robustness(0, None), "No test label is in doubt."),
    (label_doubt.Robustness(9, 3), "unless at least 3 of these 9 doubtful test labels are wrong"),
    (label_doubt.Robustness(9, None), "No errors in these 9 doubtful test labels would change it"),
    (label_doubt.Robustness(9, None, False, "a veto"), "is not known: a veto")])
def test_the_sentence_says_what_a_verdict_hangs_on(told, said):
    assert said in told.sentence
