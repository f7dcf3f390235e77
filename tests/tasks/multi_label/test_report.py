"""The report's cells of each label, the rows behind them, and the threshold of a label."""

import json
import re

import numpy as np
import pytest

from ftzard.reporting import label_confusion
from ftzard.reporting.html import page
from ftzard.reporting.label_confusion import TestedLabels
from tests.hostile import HOSTILE, page_is_safe
from tests.reporting.test_report import Reader

LABELS = ["joy", "<b>fear</b>"]
PROBABILITIES = np.array([[0.9, 0.1], [0.6, 0.7], [0.2, 0.05], [0.3, 0.45], [0.8, 0.1]])
HAVING = np.array([[1, 0], [1, 0], [1, 1], [0, 1], [0, 0]], dtype=bool)


@pytest.fixture
def tested() -> TestedLabels:
    return TestedLabels(LABELS, HAVING, PROBABILITIES >= [0.5, 0.4], PROBABILITIES, [0.5, 0.4],
                        [f"text number {n}" for n in range(5)],
                        ["joy", "joy", "joy, fear", "fear", ""], [f"row-{n}" for n in range(5)])


def test_each_label_has_four_counts_and_the_rows_behind_them(tested):
    found = label_confusion.lines(tested)
    assert [[cell.n for cell in line.cells] for line in found] == [[2, 1, 1, 1], [1, 1, 1, 2]]
    assert [sum(cell.n for cell in line.cells) for line in found] == [5, 5]
    assert found[0].cells[0].share == pytest.approx(2 / 3)
    page_ = f"{label_confusion.matrix(found)}{label_confusion.label_rows(found)}"
    reader = Reader(page_)
    links = {value.lstrip("#") for tag, name, value in reader.attributes if name == "href"}
    anchors = {value for tag, name, value in reader.attributes if name == "id"}
    assert links == anchors and len(anchors) == 6, "'neither' is only counted"
    missed = re.search(r'<details class="cell" id="label-0-1">(.*?)</details>', page_, re.S)[1]
    assert "text number 2" in missed and "20.0\u00a0%" in missed and "text number 1" not in missed
    assert "joy, missed: 1 row" in Reader(missed).text


def test_the_surest_mistakes_come_first_and_a_large_cell_shows_some(tested):
    n = 3000
    rng = np.random.default_rng(0)
    chances = rng.random((n, 1))
    many = TestedLabels(["joy"], np.zeros((n, 1), bool), np.ones((n, 1), bool), chances, [0.0],
                        ["t"] * n, [""] * n, [str(i) for i in range(n)])
    wrong = label_confusion.lines(many)[0].cells[2]
    assert wrong.n == n and len(wrong.rows) == label_confusion.ROWS_OF_A_CELL
    assert float(wrong.rows[0][1].split()[0]) == pytest.approx(100 * chances.max(), abs=0.1)


def test_the_threshold_counts_every_row_and_starts_at_the_labels_own(tested):
    shown = str(label_confusion.threshold(tested))
    reader = Reader(shown)
    labels = json.loads(next(value for tag, name, value in reader.attributes
                             if name == "data-labels"))
    assert [label["name"] for label in labels] == LABELS
    for k, label in enumerate(labels):
        at = label["at"]
        assert sum(label["having"]) == HAVING[:, k].sum()
        assert sum(label["having"]) + sum(label["lacking"]) == 5
        assert sum(label["having"][at:]) == (HAVING[:, k] & tested.given[:, k]).sum()
        assert sum(label["lacking"][at:]) == (~HAVING[:, k] & tested.given[:, k]).sum()
    assert "<b>" not in shown.split("data-labels")[1].split(">")[0]


def test_texts_and_labels_stay_texts():
    k, names = len(HOSTILE), list(HOSTILE.values())
    truth = np.eye(k, dtype=bool)
    hostile = TestedLabels(names, truth, ~truth, np.full((k, k), 0.4), [0.5] * k, names, names,
                           names)
    found = label_confusion.lines(hostile)
    page_is_safe(page("t", "", [label_confusion.matrix(found), label_confusion.label_rows(found),
                                label_confusion.threshold(hostile)], ""))
