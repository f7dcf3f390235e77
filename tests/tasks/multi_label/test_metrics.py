"""Scores of label sets equal scikit-learn's, and thresholds are the best of all."""

import numpy as np
import pytest
from sklearn import metrics as sk

from ftzard.errors import DataError
from ftzard.tasks.multi_label import label_sets
from ftzard.tasks.multi_label.metrics import flat, multi_label_metrics, row_f1
from ftzard.tasks.multi_label.thresholds import DEFAULT, fit_thresholds, sigmoid

CLASSES = ["anger", "fear", "joy", "never"]


@pytest.fixture
def drawn():
    draw = np.random.default_rng(7)
    targets = draw.random((300, 4)) < [0.5, 0.2, 0.05, 0.0]
    chances = sigmoid(draw.normal(np.where(targets, 1.0, -1.0), 1.5))
    return targets, chances


def test_scores_equal_scikit_learn_s(drawn):
    targets, chances = drawn
    thresholds = fit_thresholds(targets, chances)
    chosen = chances >= thresholds
    found = multi_label_metrics(label_sets.from_indicators(targets, CLASSES), chosen, chances,
                                CLASSES)
    seen = targets.any(axis=0) | chosen.any(axis=0)
    assert found["micro_f1"] == pytest.approx(sk.f1_score(targets, chosen, average="micro"))
    assert found["macro_f1"] == pytest.approx(
        sk.f1_score(targets[:, seen], chosen[:, seen], average="macro"))
    assert found["samples_f1"] == pytest.approx(
        sk.f1_score(targets, chosen, average="samples", zero_division=1))
    assert found["subset_accuracy"] == pytest.approx(sk.accuracy_score(targets, chosen))
    assert found["loss"] == pytest.approx(np.mean(
        [sk.log_loss(targets[:, k], chances[:, k], labels=[False, True]) for k in range(4)]))
    parts = sk.precision_recall_fscore_support(targets, chosen, zero_division=0)
    for k, name in enumerate(CLASSES):
        told = found["per_class"][name]
        assert [told[key] for key in ("precision", "recall", "f1", "support")] == pytest.approx(
            [part[k] for part in parts])
    assert found["co_occurrence"][0][1] == (targets[:, 0] & targets[:, 1]).sum()
    assert set(flat(found)) == {"micro_f1", "macro_f1", "samples_f1", "subset_accuracy", "loss",
                                "n"}


def test_a_row_without_labels_is_right_when_none_is_given():
    targets = np.array([[0, 0], [0, 0], [1, 0], [1, 1]], dtype=bool)
    chosen = np.array([[0, 0], [1, 0], [0, 0], [1, 0]], dtype=bool)
    assert row_f1(targets, chosen).tolist() == pytest.approx([1, 0, 0, 2 / 3])


def test_no_threshold_has_a_better_f1(drawn):
    targets, chances = drawn
    thresholds = fit_thresholds(targets, chances)
    for k in range(3):
        f1 = [sk.f1_score(targets[:, k], chances[:, k] >= cut) for cut in
              np.unique(np.r_[0.0, chances[:, k], 1.0])]
        assert sk.f1_score(targets[:, k], chances[:, k] >= thresholds[k]) == pytest.approx(max(f1))
    assert thresholds[3] == DEFAULT


@pytest.mark.parametrize(("targets", "chances", "threshold"), [
    ([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9], 0.4),  # the middle of what separates them
    ([0, 0, 0], [0.1, 0.2, 0.3], 0.5),
    ([1, 1], [0.4, 0.8], 0.2),
    ([1, 0, 0, 1, 0, 0], [0.9, 0.5, 0.5, 0.5, 0.1, 0.1], 0.7),  # equal ones stay together
])
def test_a_threshold_stands_in_the_middle(targets, chances, threshold):
    found = fit_thresholds(np.array(targets, dtype=bool)[:, None], np.array(chances)[:, None])
    assert found[0] == pytest.approx(threshold)


def test_what_cannot_be_scored_is_refused():
    for chances, said in (([[0.5]], r"shape \(1, 1\), expected \(1, 2\)"),
                          ([[0.5, 1.5]], "outside 0 to 1")):
        with pytest.raises(DataError, match=said):
            multi_label_metrics(["a"], np.zeros((1, 2), bool), np.array(chances), ["a", "b"])
    with pytest.raises(DataError, match="test set is empty"):
        multi_label_metrics([], np.zeros((0, 1), bool), np.zeros((0, 1)), ["a"])
