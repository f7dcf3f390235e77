"""Every picture is drawn, says its numbers in words, and stays inside its frame."""

import numpy as np
import pytest

from ftzard.errors import DataError
from ftzard.evaluation import plots
from ftzard.evaluation.gate import judge
from tests.evaluation.simulated import CLASSES, pair


def history(epochs: int) -> list[dict]:
    return [
        {"epoch": e, "train_loss": 0.5, "validation_loss": 0.6 / e, "validation_accuracy": 0.7}
        for e in range(1, epochs + 1)
    ]


def verdict() -> dict:
    sides = pair(np.random.default_rng(0), 900, 0.05, 0.2)
    return judge(
        *sides, CLASSES, min_gain=0.01, max_class_loss=0.05, max_forgetting=0.05, min_rows=200,
        baselines={}, baseline_veto=False, seed=0,
    ).to_dict()  # fmt: skip


MANY = [f"a class with quite a long name {i}" for i in range(20)]
FIGURES = {
    "class_balance": lambda: plots.class_balance({c: {"train": 3, "test": 1} for c in MANY}),
    "token_lengths": lambda: plots.token_lengths([3, 9, 200], 64),
    "token_lengths_uncut": lambda: plots.token_lengths([1], 1024),
    "rejected_rows": lambda: plots.rejected_rows({"text is empty " * 9: 1_000_000, "other": 1}),
    "one_epoch": lambda: plots.learning_curves(
        [{"name": "trial_1", "history": history(1), "best": True}]
    ),
    "many_trials": lambda: plots.learning_curves(
        [{"name": f"trial_{i}", "history": history(4), "best": i == 3} for i in range(12)]
    ),
    "equal_ends": lambda: plots.learning_curves(
        [{"name": f"trial_{i}", "history": history(4)} for i in range(6)]
    ),
    "confusion_matrix": lambda: plots.confusion_matrix(np.full((20, 20), 9), MANY),
    "reliability_diagram": lambda: plots.reliability_diagram(
        [{"lower": 0.9, "upper": 1.0, "confidence": 0.95, "accuracy": 1.0, "n": 1}]
    ),
    "uncertainty_histogram": lambda: plots.uncertainty_histogram([0.0, 0.0], 0.0),
    "comparison": lambda: plots.comparison(verdict()),
    "rounds": lambda: plots.rounds(
        [{"name": f"Round {i}", "verdict": "refuse", "accuracy": 0.7} for i in range(8)]
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_leaves_the_frame(name):
    figure = FIGURES[name]()
    figure.canvas.draw()
    drawn = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert drawn.x0 >= -0.03 and drawn.x1 <= width + 0.03
    assert drawn.y0 >= -0.03 and drawn.y1 <= height + 0.03


def test_names_at_the_ends_of_lines_do_not_touch():
    figure = FIGURES["equal_ends"]()
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        boxes = [
            t.get_window_extent(renderer) for t in axes.texts if t.get_text().startswith("trial_")
        ]
        assert len(boxes) == 6
        boxes.sort(key=lambda box: box.y0)
        assert all(a.y1 <= b.y0 + 1 for a, b in zip(boxes, boxes[1:], strict=False))


def test_a_figure_becomes_one_svg_with_words_and_a_png():
    figure = plots.rejected_rows({"text is empty": 1234})
    drawing = plots.svg(figure)
    assert drawing.startswith("<svg") and drawing.endswith("</svg>")
    assert "1,234" in drawing and "text is empty" in drawing
    assert drawing == plots.svg(plots.rejected_rows({"text is empty": 1234}))
    assert "$5_ and $x^" in plots.svg(plots.rejected_rows({"$5_ and $x^": 1}))
    assert plots.png(figure)[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_style_of_the_notebook_around_is_left_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    plots.svg(plots.token_lengths([1, 2, 3], 2))
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.class_balance({}),
        lambda: plots.token_lengths([], 8),
        lambda: plots.rejected_rows({}),
        lambda: plots.learning_curves([{"name": "a", "history": []}]),
        lambda: plots.reliability_diagram([]),
        lambda: plots.uncertainty_histogram([], None),
        lambda: plots.rounds([]),
    ],
)
def test_an_empty_picture_is_refused(draw):
    with pytest.raises(DataError, match="nothing to draw"):
        draw()
