"""Accuracy without labels: it covers the truth, declines where it cannot know, and is audited."""

import numpy as np
import pytest

from ftzard.evaluation import estimates
from ftzard.evaluation.estimates import audit, estimate
from tests.evaluation.simulated import CLASSES


def made(n: int, seed: int, *, too_sure: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, 2) and labels that they are right about, but for too much confidence."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 1.6, n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(int)
    p = 1 / (1 + np.exp(-logit * too_sure))
    return np.c_[1 - p, p], labels


def accuracy(chances: np.ndarray, labels: np.ndarray) -> float:
    return float((chances.argmax(axis=1) == labels).mean())


@pytest.mark.parametrize("too_sure", [1.0, 2.5])
def test_the_interval_holds_the_truth_as_often_as_it_says(too_sure):
    """Also of a model that is too sure of itself: the reference's rows tell by how much."""
    covered, recalls, widths = 0, 0, []
    for seed in range(200):
        reference, known = made(1500, 2 * seed, too_sure=too_sure)
        batch, hidden = made(1000, 2 * seed + 1, too_sure=too_sure)
        found = estimate(batch, reference, known, CLASSES)
        covered += found.lower <= accuracy(batch, hidden) <= found.upper
        own = found.per_class[1]
        recalls += own["lower"] <= accuracy(batch[hidden == 1], 1) <= own["upper"]
        widths.append((found.upper - found.lower) / 2)
    assert 180 <= covered <= 200 and 178 <= recalls <= 200
    assert np.mean(widths) < 0.05


def test_a_batch_that_is_harder_is_estimated_lower():
    reference, known = made(2000, 0)
    batch, _ = made(1000, 1)
    easy = np.sort(batch.max(axis=1))
    hard = batch[batch.max(axis=1) <= easy[500]]
    assert estimate(hard, reference, known, CLASSES).upper < estimate(
        batch, reference, known, CLASSES).lower


def test_a_drift_alarm_turns_the_estimate_into_a_reason():
    (reference, known), (batch, _) = made(500, 0), made(400, 1)
    found = estimate(batch, reference, known, CLASSES, drifted="words, embedding")
    assert (found.estimate, found.lower, found.upper, found.per_class) == (None, None, None, [])
    assert found.sentence.startswith("cannot be estimated: ") and "(words, embedding)" in found.why
    assert found.flat() == {"accuracy_estimated": 0.0}
    assert found.withheld == pytest.approx({
        key: value for key, value in estimate(batch, reference, known, CLASSES).to_dict().items()
        if key in ("estimate", "lower", "upper", "error")})


def test_too_few_rows_cannot_be_estimated():
    (reference, known), (batch, _) = made(500, 0), made(29, 1)
    assert "29 rows" in estimate(batch, reference, known, CLASSES).sentence
    assert "50 test rows" in estimate(reference, reference[:50], known[:50], CLASSES).sentence


def entry(covered: bool | None, **values) -> dict:
    (reference, known), (batch, _) = made(500, 0), made(400, 1)
    told = estimate(batch, reference, known, CLASSES).to_dict()
    return told | {"audit": None if covered is None else {"covered": covered}} | values


def test_after_too_many_misses_nothing_is_estimated_until_it_covers_again():
    (reference, known), (batch, _) = made(500, 0), made(400, 1)

    def told(record):
        return estimate(batch, reference, known, CLASSES, record=record)

    assert told([entry(True), entry(False)] + [entry(None)] * 9).estimate is not None
    missed = told([entry(True), entry(False), entry(False)])
    assert missed.estimate is None and "2 of the last 3 estimates have missed" in missed.sentence
    silent = entry(True, estimate=None, why=missed.why)
    assert told([entry(False)] * 2 + [silent] * 18).estimate is not None
    drifted = entry(False, estimate=None, why="the batch differs")
    assert told([drifted] * 5).estimate is not None  # that the alarm was right is no miss


def test_an_audit_says_whether_two_sampling_errors_allow_the_difference():
    told = entry(None)
    n = 200
    near = audit(told, round(n * told["estimate"]), n)
    assert near["covered"] and near["measured"] == pytest.approx(told["estimate"], abs=0.01)
    assert not audit(told, round(n * (told["estimate"] - 0.15)), n)["covered"]
    assert audit(told, round(20 * (told["estimate"] - 0.15)), 20)["covered"]  # 20 rows know little
    assert audit(entry(None, estimate=None, withheld=None), 10, 20) is None


def test_audits_call_as_few_right_estimates_missed_as_they_say():
    covered = 0
    for seed in range(200):
        reference, known = made(1500, 2 * seed)
        batch, hidden = made(1000, 2 * seed + 1)
        told = estimate(batch, reference, known, CLASSES).to_dict()
        right = int((batch.argmax(axis=1) == hidden)[:250].sum())
        covered += audit(told, right, 250)["covered"]
    assert 180 <= covered <= 199


def test_what_was_scored_is_counted_over_the_latest():
    record = [entry(False)] * 5 + [entry(True)] * estimates.RECENT
    assert estimates.scored(record) == (0, estimates.RECENT)
