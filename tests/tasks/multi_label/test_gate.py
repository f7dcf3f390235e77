"""The gate on label sets: equal models stay, a true gain is found, a lost label vetoes."""

from dataclasses import replace

import numpy as np
import pytest

from ftzard.evaluation.gate import NO_CHAMPION, judge
from ftzard.evaluation.paired import Scored
from ftzard.tasks.multi_label.evaluation import MOST_FREQUENT
from ftzard.tasks.multi_label.metrics import row_f1
from tests.evaluation.simulated import LIMITS

CLASSES = ["anger", "fear", "joy", "rare"]
SHARES = np.array([0.4, 0.3, 0.3, 0.05])


def scored(targets: np.ndarray, chosen: np.ndarray, name: str = "first") -> dict[str, Scored]:
    hits = np.where(targets, chosen.astype(float), np.nan)
    return {name: Scored([f"{name}-{i}" for i in range(len(targets))], row_f1(targets, chosen),
                         hits=hits)}


def flipped(targets: np.ndarray, chance: float | np.ndarray, draw: np.random.Generator
            ) -> np.ndarray:
    """Label sets of which each decision is wrong by some chance."""
    return targets ^ (draw.random(targets.shape) < chance)


def pair(draw: np.random.Generator, n: int, gain: float) -> tuple[dict, dict]:
    """A challenger and a champion that are wrong on 15 % of all decisions, the first on fewer."""
    targets = draw.random((n, 4)) < SHARES
    shared = draw.random(targets.shape) < 0.1
    one, two = (targets ^ shared ^ (draw.random(targets.shape) < chance)
                for chance in (0.05 - gain, 0.05))
    return scored(targets, one), scored(targets, two)


def decide(challenger, champion, limits=LIMITS, baselines=None, seed: int = 0):
    return judge(challenger, champion, limits, baselines=baselines or {}, seed=seed,
                 measure="samples_f1", classes=CLASSES, first_opponent=MOST_FREQUENT)


def promotions(pairs: int, gain: float, seed: int) -> int:
    draw = np.random.default_rng(seed)
    return sum(decide(*pair(draw, 500, gain), replace(LIMITS, resamples=500), seed=i).promoted
               for i in range(pairs))


@pytest.mark.slow
def test_of_1000_equal_models_hardly_any_is_promoted():
    assert promotions(1000, gain=0.0, seed=1) <= 0.04 * 1000


def test_equal_models_are_hardly_ever_promoted_and_a_true_gain_is_mostly_found():
    assert promotions(150, gain=0.0, seed=3) <= 0.05 * 150
    assert promotions(60, gain=0.04, seed=4) >= 0.75 * 60


def test_a_label_that_lost_its_recall_vetoes_whatever_is_gained_elsewhere():
    draw = np.random.default_rng(5)
    targets = draw.random((2000, 4)) < SHARES
    better = flipped(targets, np.array([0.02, 0.02, 0.02, 0.0]), draw)
    better[:, 3] = False
    worse = flipped(targets, np.array([0.1, 0.1, 0.1, 0.0]), draw)
    verdict = decide(scored(targets, better), scored(targets, worse))
    assert verdict.decision == "refuse" and verdict.lower > 0
    assert [p["label"] for p in verdict.per_class if p["veto"]] == ["rare"]
    assert verdict.per_class[3]["champion"] == 1 and verdict.per_class[3]["challenger"] == 0
    assert verdict.per_class[3]["n"] == targets[:, 3].sum()
    assert any(reason.startswith("Veto by class 'rare': its recall fell by 100.0 points")
               for reason in verdict.reasons)


def test_the_first_model_has_to_beat_the_most_frequent_label_set():
    draw = np.random.default_rng(6)
    targets = draw.random((500, 4)) < SHARES
    none, good = np.zeros_like(targets), flipped(targets, 0.05, draw)
    for chosen, tfidf, decision in ((good, none, "promote"), (none, none, NO_CHAMPION),
                                    (good, targets, NO_CHAMPION)):
        verdict = decide(scored(targets, chosen), None, baselines={
            MOST_FREQUENT: scored(targets, none), "TF-IDF": scored(targets, tfidf)})
        assert verdict.decision == decision and verdict.against == MOST_FREQUENT
    assert "Baseline 'TF-IDF' is surely better" in " ".join(verdict.reasons)


def test_the_verdict_tells_of_f1_in_percent():
    draw = np.random.default_rng(7)
    verdict = decide(*pair(draw, 2000, 0.04))
    said = verdict.reasons[0]
    assert verdict.measure == "samples_f1" and "mean F1 of the rows' labels is" in said
    assert f"{100 * verdict.challenger_score:.1f}" in said and "points" in said
    assert verdict.to_dict()["limits"]["max_class_loss"] == LIMITS.max_class_loss


def test_rows_in_another_order_and_several_test_sets_are_compared_alike():
    draw = np.random.default_rng(8)
    targets = draw.random((400, 4)) < SHARES
    one, two = flipped(targets, 0.1, draw), flipped(targets, 0.1, draw)
    sets = {"a": slice(0, 150), "b": slice(150, 400)}
    challenger, champion, shuffled = {}, {}, {}
    for name, where in sets.items():
        challenger |= scored(targets[where], one[where], name)
        champion |= scored(targets[where], two[where], name)
        old, order = champion[name], draw.permutation(len(targets[where]))
        shuffled[name] = Scored(old.ids[order], old.scores[order], hits=old.hits[order])
    assert decide(challenger, champion).to_dict() == decide(challenger, shuffled).to_dict()
