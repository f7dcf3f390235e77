"""Scores agree with scikit-learn, and what cannot be scored is refused by name."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from ftzard.errors import DataError
from ftzard.evaluation.intervals import wilson_interval
from ftzard.tasks.classification.metrics import (
    classification_metrics,
    flat,
    reliability,
)

CLASSES = ["anger", "joy", "sadness"]


@pytest.fixture
def sample() -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.7] * 3, size=500)
    labels = [CLASSES[i] for i in rng.choice(3, 500, p=[0.6, 0.3, 0.1])]
    return labels, probabilities


def test_scores_agree_with_scikit_learn(sample):
    labels, probabilities = sample
    guess = [CLASSES[i] for i in probabilities.argmax(axis=1)]
    found = classification_metrics(labels, probabilities, CLASSES)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(labels, guess))
    assert found["balanced_accuracy"] == pytest.approx(
        reference.balanced_accuracy_score(labels, guess)
    )
    precision, recall, f1, _ = reference.precision_recall_fscore_support(
        labels, guess, average="macro", zero_division=0
    )
    assert found["macro_precision"] == pytest.approx(precision)
    assert found["macro_recall"] == pytest.approx(recall)
    assert found["macro_f1"] == pytest.approx(f1)
    assert found["loss"] == pytest.approx(
        reference.log_loss(labels, probabilities, labels=CLASSES)
    )
    assert found["confusion"] == reference.confusion_matrix(labels, guess).tolist()
    assert found["per_class"]["joy"]["support"] == labels.count("joy")


def test_a_class_that_occurs_nowhere_does_not_pull_the_macro_scores_down():
    probabilities = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    found = classification_metrics(["anger", "joy"], probabilities, CLASSES)
    assert found["macro_f1"] == found["balanced_accuracy"] == 1.0
    assert found["per_class"]["sadness"]["support"] == 0


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    probabilities = np.tile([0.9, 0.1, 0.0], (10, 1))
    labels = ["anger"] * 6 + ["joy"] * 4
    assert classification_metrics(labels, probabilities, CLASSES)["ece"] == pytest.approx(0.3)
    (only,) = reliability(labels, probabilities, CLASSES)
    assert only["n"] == 10
    assert only["accuracy"] == pytest.approx(0.6)
    assert only["lower"] < 0.9 <= only["upper"] + 1e-9


def test_only_scalars_go_to_tracking(sample):
    found = flat(classification_metrics(*sample, CLASSES), prefix="test_")
    assert set(found) == {
        "test_accuracy", "test_balanced_accuracy", "test_macro_precision", "test_macro_recall",
        "test_macro_f1", "test_loss", "test_ece", "test_n",
    }  # fmt: skip
    assert all(isinstance(value, float) for value in found.values())


@pytest.mark.parametrize(
    ("labels", "probabilities", "said"),
    [
        (["joyy"], [[0.2, 0.5, 0.3]], "did you mean 'joy'"),
        (["joy"], [[0.2, 0.8]], r"shape \(1, 2\)"),
        (["joy"], [[0.2, float("nan"), 0.3]], "not finite"),
        (["joy"], [[2.0, 1.5, -0.5]], "softmax"),
        (["joy"], [[0.2, 0.5, 0.4]], "sum to 1"),
        ([], np.zeros((0, 3)), "no rows"),
    ],
)
def test_what_cannot_be_scored_is_refused(labels, probabilities, said):
    with pytest.raises(DataError, match=said):
        classification_metrics(labels, np.array(probabilities), CLASSES)


def test_labels_may_be_a_column_that_was_cut_out_of_a_table():
    column = pd.Series(["joy", "jox"], index=[70, 71])
    probabilities = np.tile([0.2, 0.5, 0.3], (2, 1))
    with pytest.raises(DataError, match="'jox' of row 1"):
        classification_metrics(column, probabilities, CLASSES)
    assert classification_metrics(column[:1], probabilities[:1], CLASSES)["accuracy"] == 1.0


def test_wilson_interval_ends_where_the_share_is_just_1_96_deviations_away():
    for correct, n in ((412, 480), (3, 10), (999, 1000)):
        for end in wilson_interval(correct, n):
            deviation = np.sqrt(end * (1 - end) / n)
            assert abs(correct / n - end) == pytest.approx(1.959964 * deviation, rel=1e-6)
    assert wilson_interval(0, 10)[0] == 0.0
    assert wilson_interval(10, 10)[1] == 1.0
    with pytest.raises(DataError, match="correct=11"):
        wilson_interval(11, 10)
