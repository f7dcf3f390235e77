"""Rows from before a label existed: which are marked, and what they are learned and scored by."""

import numpy as np
import pandas as pd
import pytest
import torch

from ftzard.errors import ModelError
from ftzard.tasks.classification import asked
from ftzard.tasks.classification.checks import require_named
from ftzard.tasks.classification.objective import among_asked, cross_entropy

NAMED = {"0": "bad", "1": "good", "2": "fine", "3": "odd"}


def table(**labels: str) -> pd.DataFrame:
    return pd.DataFrame({"id": list(labels), "label": list(labels.values())})


class TestMarks:
    def test_rows_from_before_are_marked_and_those_that_arrive_are_not(self):
        both = table(a="bad", b="good", c="fine", d="bad")
        found = asked.marked(both, both.iloc[2:], NAMED)
        assert found["not_asked"].tolist() == ['["fine"]', '["fine"]', "", ""]

    def test_a_further_label_adds_to_the_marks(self):
        first = asked.marked(table(a="bad", b="good", c="fine"), table(c="fine"), NAMED)
        more = pd.concat([first, table(d="odd")], ignore_index=True).fillna("")
        found = asked.marked(more, table(d="odd"), NAMED)
        assert found["not_asked"].tolist() == ['["fine", "odd"]'] * 2 + ['["odd"]', ""]

    def test_the_same_delivery_once_more_changes_nothing(self):
        once = asked.marked(table(a="bad", b="good", c="fine"), table(c="fine"), NAMED)
        assert asked.marked(once, table(c="fine"), NAMED).equals(once)

    @pytest.mark.parametrize(("arrived", "labels"), [
        ({"c": "bad"}, NAMED), ({"c": "fine"}, None), ({"c": "fine"}, {"0": "bad", "1": "good"})],
        ids=["known", "no names", "not named"])
    def test_without_a_new_name_nothing_is_marked(self, arrived, labels):
        rows = pd.concat([table(a="bad", b="good"), table(**arrived)], ignore_index=True)
        assert "not_asked" not in asked.marked(rows, table(**arrived), labels)

    def test_the_first_delivery_marks_nothing(self):
        rows = table(a="bad", b="good")
        assert asked.marked(rows, rows, NAMED) is rows


class TestMask:
    rows = table(a="bad", b="good", c="fine").assign(not_asked=['["fine"]', "", ""])

    def test_a_row_is_asked_about_all_labels_but_those_of_its_mark(self):
        found = asked.mask(self.rows, ["bad", "good", "fine"])
        assert found.tolist() == [[True, True, False], [True] * 3, [True] * 3]
        assert asked.mask(self.rows, ["bad", "good"]).all()
        assert asked.mask(self.rows.drop(columns="not_asked"), ["bad", "good", "fine"]) is None

    def test_its_own_label_is_always_among_them(self):
        rows = table(a="fine").assign(not_asked='["fine"]')
        assert asked.mask(rows, ["bad", "fine"]).all()

    def test_logits_and_probabilities_leave_the_others_out(self):
        logits = np.array([[1.0, 2.0, 9.0]] * 3, dtype=np.float32)
        mask = asked.mask(self.rows, ["bad", "good", "fine"])
        among = asked.among(logits, mask)
        assert among[0].argmax() == 1 and among[1].argmax() == 2 and among.dtype == np.float32
        shares = asked.shares(np.array([[0.1, 0.3, 0.6]] * 3), mask)
        assert shares[0] == pytest.approx([0.25, 0.75, 0]) and shares[1, 2] == 0.6


def test_the_loss_of_a_row_is_that_among_its_labels_and_leaves_the_new_one_alone():
    scores = torch.tensor([[1.0, 2.0, 9.0], [0.5, 0.1, 0.2]], requires_grad=True)
    targets = among_asked(np.array([0, 2]), np.array([[True, True, False], [True, True, True]]))
    loss = cross_entropy(scores, targets)
    first = torch.nn.functional.cross_entropy(scores[:1, :2], torch.tensor([0]))
    second = torch.nn.functional.cross_entropy(scores[1:], torch.tensor([2]))
    assert loss.item() == pytest.approx(((first + second) / 2).item())
    loss.backward()
    assert scores.grad[0, 2] == 0 and scores.grad[1, 2] < 0 and torch.isfinite(scores.grad).all()


def test_a_label_that_data_labels_does_not_name_is_refused_with_the_value_to_set():
    require_named(["fine"], ["bad", "good"], "m@1", NAMED)
    with pytest.raises(ModelError, match=r"'odd'.*m@1 knows bad, good.*data.labels to "
                                         r"\{'0': bad, '1': good, odd: odd\}"):
        require_named(["odd"], ["bad", "good"], "m@1", {"0": "bad", "1": "good"})
