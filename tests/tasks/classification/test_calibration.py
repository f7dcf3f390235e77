"""A known temperature is found again, from validation rows alone; silence is worth what it is."""

import numpy as np
import pytest

from ftzard.errors import DataError
from ftzard.tasks.classification import calibration
from ftzard.tasks.classification.calibration import (
    abstention,
    calibrate,
    coverage_at,
    fit_temperature,
    scaled,
)

CLASSES = ["anger", "joy", "sadness"]


def answered(n: int, temperature: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from what the logits say at a temperature: it is the right one for them."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 2.5, (n, 3))
    chances = scaled(logits, temperature)
    drawn = (chances.cumsum(axis=1) < draw.random((n, 1))).sum(axis=1)
    return np.array(CLASSES)[drawn], logits


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(temperature):
    labels, logits = answered(6000, temperature, seed=1)
    assert fit_temperature(labels, logits, CLASSES) == pytest.approx(temperature, rel=0.07)


def test_calibration_mends_confidence_and_changes_no_answer():
    validation, test = answered(3000, 3.0, seed=2), answered(4000, 3.0, seed=3)
    found = calibrate(*validation, *test, CLASSES)
    assert found.ece_before > 0.15 and found.ece_after < 0.03
    assert found.loss_after < found.loss_before
    assert (found.validation_rows, found.n) == (3000, 4000)
    assert (scaled(test[1], found.temperature).argmax(axis=1) == test[1].argmax(axis=1)).all()
    assert found.flat()["temperature"] == found.temperature
    assert set(found.to_dict()) >= {"temperature", "ece_before", "ece_after"}


@pytest.mark.parametrize("rows", [200, 2000])
def test_the_error_of_a_calibrated_model_is_rarely_above_what_chance_gives(rows):
    above = 0
    for seed in range(100):
        validation = answered(1000, 1.0, seed=2 * seed)
        test = answered(rows, 1.0, seed=2 * seed + 1)
        found = calibrate(*validation, *test, CLASSES)
        above += found.ece_after > found.ece_chance
    assert above <= 6
    assert found.ece_chance == pytest.approx(0.12 if rows == 200 else 0.04, abs=0.02)
    spoilt = calibration.measure(0.2, 1000, *test, CLASSES)
    assert spoilt.ece_after > 2 * spoilt.ece_chance, "one that is too sure is above it"


def test_the_test_rows_have_no_part_in_the_temperature():
    validation, (labels, logits) = answered(500, 2.0, seed=4), answered(500, 2.0, seed=5)
    one = calibrate(*validation, labels, logits, CLASSES)
    other = calibrate(*validation, np.roll(labels, 1), logits, CLASSES)
    assert one.temperature == other.temperature and one.ece_before != other.ece_before


def test_logarithms_of_probabilities_do_as_well_as_logits():
    _, logits = answered(50, 1.0, seed=6)
    assert np.allclose(scaled(np.log(scaled(logits, 1.0)), 2.0), scaled(logits, 2.0))


def test_a_model_that_is_always_right_gets_a_cold_temperature_not_a_crash():
    logits = np.eye(3)[[0, 1, 2, 0]] * 4
    labels = np.array(CLASSES)[[0, 1, 2, 0]]
    assert calibration.COLDEST < fit_temperature(labels, logits, CLASSES) < 0.2


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(DataError, match="above 0"):
        scaled(np.zeros((2, 2)), temperature)


def test_the_curve_answers_the_surest_rows_first():
    p = np.array([0.9, 0.6, 0.8, 0.7])
    labels = ["a", "b", "a", "b"]  # right, wrong, right, wrong, by falling confidence: r r w w
    curve = abstention(labels, np.c_[p, 1 - p], ["a", "b"], points=4)
    assert [(c["rows"], c["coverage"], c["accuracy"], c["confidence"]) for c in curve] == [
        (1, 0.25, 1.0, 0.9), (2, 0.5, 1.0, 0.8), (3, 0.75, 2 / 3, 0.7), (4, 1.0, 0.5, 0.6)]
    assert all(c["lower"] <= c["accuracy"] <= c["upper"] for c in curve)
    assert coverage_at(curve, 0.6) == 0.75 and coverage_at(curve, 1.0) == 0.5
    assert coverage_at(curve[2:], 0.9) == 0


def test_the_curve_ends_with_the_accuracy_on_all_rows():
    labels, logits = answered(777, 1.0, seed=7)
    chances = scaled(logits, 1.0)
    curve = abstention(labels, chances, CLASSES)
    assert curve[-1]["rows"] == 777 and len(curve) == 20
    right = np.array(CLASSES)[chances.argmax(axis=1)] == labels
    assert curve[-1]["accuracy"] == pytest.approx(right.mean())
    assert curve[0]["accuracy"] > curve[-1]["accuracy"] + 0.2
