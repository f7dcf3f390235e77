"""Two people's answers: agreement, the ceiling of a score, and what the gate makes of it."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from ftzard.evaluation import agreement, error_budget, gate, label_noise
from tests.evaluation.simulated import CLASSES, LIMITS, counted


def people(rng, n: int, error: float, classes: int = 3) -> list[tuple[str, str]]:
    """Pairs of answers of two people who err independently, on the other classes alike."""
    truth = rng.integers(0, classes, n)
    said = [np.where(rng.random(n) < error, (truth + rng.integers(1, classes, n)) % classes, truth)
            for _ in range(2)]
    return [(f"c{a}", f"c{b}") for a, b in zip(*said, strict=True)]


def test_kappa_and_the_classes_are_those_of_the_pairs():
    pairs = [("a", "a")] * 40 + [("b", "b")] * 30 + [("a", "b")] * 10 + [("b", "c")] * 5
    found = agreement.of_pairs(pairs, ("a", "b", "c"))
    assert (found.rows, found.agreed) == (85, 70)
    assert found.kappa == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)))
    assert found.kappa_lower < found.kappa < found.kappa_upper
    assert found.confusion == [[40, 10, 0], [0, 30, 5], [0, 0, 0]]
    shares = {line["label"]: line["share"] for line in found.per_class}
    assert shares == {"a": 80 / 90, "b": 60 / 75, "c": 0.0}


def test_the_ceiling_is_the_share_of_right_labels_in_simulations():
    rng = np.random.default_rng(1)
    for classes, error in ((2, 0.05), (3, 0.1), (6, 0.2)):
        inside = 0
        for seed in range(60):
            found = agreement.of_pairs(people(rng, 400, error, classes),
                                       [f"c{i}" for i in range(classes)], resamples=200, seed=seed)
            inside += found.ceiling_lower <= 1 - error <= found.ceiling_upper
        assert inside >= 54, (classes, error)


def test_full_agreement_is_not_certain_and_one_label_has_no_kappa():
    found = agreement.of_pairs([("a", "a"), ("b", "b")] * 20)
    assert found.share == found.kappa == found.ceiling == 1 and found.kappa_lower < 0.95
    alone = agreement.of_pairs([("a", "a")] * 40)
    assert alone.kappa is None and alone.ceiling is None and "kappa" not in alone.sentence
    assert agreement.of_pairs([]) is None
    assert agreement.of_pairs([("a", "b"), ("b", "a")] * 20, "ab").ceiling is None


def judged(won_apart: float, lost_apart: float, overlap: float = 0.3, **limits):
    """The gate on a gain of 3 points where people differ on shares of what was won and lost."""
    after, before = counted(330, 240, 2180)
    rng, differ = np.random.default_rng(0), {}
    for one, other in zip(after.values(), before.values(), strict=True):
        won = (one.predicted == one.labels) & (other.predicted != other.labels)
        lost = (one.predicted != one.labels) & (other.predicted == other.labels)
        share = np.where(won, won_apart, np.where(lost, lost_apart, 0.02))
        asked = rng.random(len(one.ids)) < overlap
        differ |= {row_id: bool(apart) for row_id, apart, twice in zip(
            one.ids, rng.random(len(share)) < share, asked, strict=True) if twice}
    return gate.judge(after, before, replace(LIMITS, **limits), baselines={}, seed=0,
                      classes=CLASSES, differ=differ)


def test_a_gain_that_is_one_persons_view_cannot_be_told():
    view = judged(0.4, 0.05)
    assert view.decision == "cannot tell" and not view.promoted
    assert not view.label_noise["holds"] and view.label_noise["won"][1] > 20
    assert "what people disagree on" in view.reasons[-1]
    shared = judged(0.05, 0.05)
    assert shared.promoted and shared.label_noise["holds"]
    assert shared.label_noise["chance"] > 0.95 > view.label_noise["chance"]
    assert "with another person's labels the gain would be" in shared.reasons[-1]
    assert gate.from_dict(view.to_dict()) == view


def test_too_few_double_answers_have_no_say_and_one_key_turns_it_off():
    few = judged(0.4, 0.05, overlap=0.005)
    assert few.promoted and few.label_noise is None and "label_noise" not in few.to_dict()
    off = judged(0.4, 0.05, label_noise=False)
    assert off.promoted and off.label_noise is None


def test_what_cannot_be_told_earns_nothing_back():
    after, before = counted(330, 240, 2180)
    allowed = error_budget.allowance(0.05, 20, (), cap=0.025)
    differ = {row_id: bool(i % 2) for i, row_id in enumerate(after["first"].ids)}
    found = gate.judge(after, before, LIMITS, baselines={}, seed=0, classes=CLASSES,
                       allowance=allowed, differ=differ)
    assert found.decision == "cannot tell" and found.error_budget["earned"] == 0
    assert found.error_budget["spent"] == allowed.level


def test_a_relabelling_is_drawn_around_what_people_differ_on():
    ids = [str(i) for i in range(1000)]
    after, before = np.arange(1000) < 600, np.arange(1000) >= 500
    differ = {row_id: int(row_id) % 10 == 0 for row_id in ids}
    found = label_noise.of_gain(after, before, ids, differ, 0.95, np.random.default_rng(0))
    assert (found.rows, found.differed, found.won, found.lost) == (1000, 100, (500, 50), (400, 40))
    assert found.gain == pytest.approx(0.1 * (1 - 2 * 0.1), abs=0.01)
