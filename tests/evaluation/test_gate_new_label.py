"""The gate on a challenger that knows a label which the champion does not know."""

import numpy as np
import pytest

from ftzard.config.compose import compose
from ftzard.evaluation import gate
from ftzard.evaluation.gate import Predicted

CLASSES = ["bad", "good", "new"]


def answers(n: int, right: int, new: int = 0, found: int = 0, **sets: int) -> dict:
    """Return a model's answers: `right` of n shared rows, `found` of `new` rows of the new label.
    """
    labels = np.array(["bad", "good"])[np.arange(n) % 2]
    wrong = np.where(labels == "bad", "good", "bad")
    given = np.where(np.arange(n) < right, labels, wrong)
    return {"b1": Predicted(
        [f"r{i}" for i in range(n + new)], [*labels, *["new"] * new],
        [*given, *["new"] * found, *["bad"] * (new - found)])}


def judged(challenger: dict, champion: dict, **limits: float) -> gate.Verdict:
    config = compose({"gate": {"min_rows": 50, "resamples": 400, **limits}})
    return gate.judge(challenger, champion, config.gate, classes=CLASSES, seed=0, baselines={},
                      new_labels={"new": 7})


def test_a_tie_on_the_shared_rows_is_enough_if_the_new_label_is_found():
    verdict = judged(answers(200, 180, new=40, found=30), answers(200, 180, new=40))
    assert verdict.decision == "promote" and verdict.n == 200 and verdict.difference == 0
    new, = verdict.to_dict()["new_labels"]
    assert new["label"] == "new" and new["recall"] == 0.75 and new["n"] == 40
    assert 0.55 < new["lower"] < 0.65 and 0.85 < new["upper"] < 0.9 and new["not_asked"] == 7
    assert [part["label"] for part in verdict.per_class] == ["bad", "good"]
    said = " ".join(verdict.reasons)
    assert "found in 75.0 % of its 40 test rows" in said and "7 test rows were not asked" in said
    assert "not surely worse" in said


@pytest.mark.parametrize(("found", "decision"), [(0, "refuse"), (3, "refuse"), (4, "promote")])
def test_the_interval_of_the_new_label_s_recall_must_begin_above_zero(found, decision):
    verdict = judged(answers(200, 180, new=40, found=found), answers(200, 180, new=40))
    assert verdict.decision == decision
    assert ("does not show that it is found" in " ".join(verdict.reasons)) == (found < 4)


def test_rows_all_found_have_an_interval_all_the_same():
    new, = judged(answers(100, 90, new=20, found=20), answers(100, 90, new=20)).new_labels
    assert new["upper"] == 1 and 0.8 < new["lower"] < 0.9


def test_shared_rows_that_may_have_lost_too_much_refuse_it():
    champion = answers(200, 180, new=40)
    verdict = judged(answers(200, 174, new=40, found=40), champion)
    assert verdict.decision == "refuse" and verdict.lower <= -0.05
    assert "may have lost too much" in " ".join(verdict.reasons)
    assert judged(answers(200, 174, new=40, found=40), champion, max_class_loss=0.2).promoted


def test_few_shared_rows_cannot_tell_and_no_test_row_of_the_label_is_not_found():
    few = judged(answers(40, 36, new=40, found=40), answers(40, 36, new=40))
    assert few.decision == "cannot tell" and few.rows_needed == 50
    none = judged(answers(200, 180), answers(200, 180))
    assert none.decision == "refuse" and "no test row has it" in " ".join(none.reasons)


def test_without_a_new_label_a_verdict_is_as_ever():
    config = compose({"gate": {"min_rows": 50, "resamples": 400}})
    verdict = gate.judge(answers(200, 180), answers(200, 180), config.gate, classes=CLASSES,
                         seed=0, baselines={})
    assert verdict.decision == "refuse" and "new_labels" not in verdict.to_dict()
