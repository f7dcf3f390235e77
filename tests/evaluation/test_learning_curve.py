"""What the next labels buy, on curves whose truth is known."""

import numpy as np
import pytest

from ftzard.evaluation import learning_curve
from ftzard.evaluation.learning_curve import Point

HOW = {"trained_share": 0.9, "least": 0.005, "confidence": 0.95, "more_rows": 0}


def points(seed: int, sizes, a: float, b: float, c: float, rows: int = 3000, shared: float = 0.85):
    """Models on the same rows, of which each row's difficulty is mostly the same for all."""
    rng = np.random.default_rng(seed)
    easy = rng.random(rows)
    return [Point(n, np.where(rng.random(rows) < shared, easy, rng.random(rows)) > a + b * n**-c)
            for n in sizes]


def found(seed: int, labels: int = 400, models=(1000, 1300, 1600, 1900), b: float = 2.0, **how):
    return learning_curve.outlook(
        points(seed, models, 0.1, b, 0.4), points(100 + seed, (200, 400, 800, 1900), 0.15, b, 0.4),
        labels, size=models[-1], seed=0, **{**HOW, **how})


def test_the_interval_covers_what_the_next_round_measures():
    covered = 0
    for seed in range(20):
        told = found(seed)
        now, then = points(500 + seed, (1900, 1900 + 360), 0.1, 2.0, 0.4)
        covered += told.lower <= then.right.mean() - now.right.mean() <= told.upper
    assert covered >= 14


def test_more_labels_buy_more_and_steep_curves_pay_longer():
    few, many = found(1, 200), found(1, 3000)
    assert 0 < few.gain < many.gain and few.chance < many.chance
    steep, flat = found(1, b=3.0), found(1, b=0.0)
    assert steep.pays and (steep.stops_after is None or steep.stops_after > 400)
    assert not flat.pays and flat.stops_after == 0 and "stopped paying" in flat.sentence
    assert flat.flat()["next_labels_pay"] == 0 and flat.chance < 0.1


def test_with_few_rounds_the_slope_is_that_of_the_cheap_model():
    told = found(2, models=(1900,))
    assert not told.own_slope and 0 < told.gain < 0.03
    assert found(2).own_slope
    assert learning_curve.outlook([], points(0, (1, 2, 3), 0.1, 0.1, 0.4), 400, size=9, seed=0,
                                  **HOW) is None


def test_the_gate_s_level_and_rows_move_the_chance():
    assert found(3, confidence=0.999).chance < found(3).chance < found(3, more_rows=9000).chance


def test_the_budget_is_what_makes_a_promotion_likely():
    def asked(b: float) -> int:
        return learning_curve.budget(
            points(4, (1000, 1300, 1600, 1900), 0.1, b, 0.4),
            points(104, (200, 400, 800, 1900), 0.15, b, 0.4), step=200, most=2000, default=400,
            size=1900, seed=0, **HOW)

    assert asked(0.0) == 200  # it pays no more: the fewest
    assert 200 <= asked(4.0) <= 2000
    assert learning_curve.budget([], [], step=50, most=100, default=400, size=1, seed=0,
                                 **HOW) == 400


@pytest.mark.parametrize(("exponent", "a", "b"), [(0.3, 0.1, 1.0), (0.7, 0.05, 20.0)])
def test_a_curve_without_noise_is_found_again(exponent, a, b):
    sizes = np.array([200.0, 400, 800, 1600, 3200] * 2)
    kinds = np.array([0] * 5 + [1] * 5)
    fitted = learning_curve._fit(kinds, sizes, a + b * sizes**-exponent, True)
    assert fitted[0] == pytest.approx(exponent, abs=0.02)
    assert learning_curve._model_error(fitted, 6400) == pytest.approx(a + b * 6400**-exponent,
                                                                      abs=0.002)
