"""Every picture is drawn, says its numbers in words, and stays inside its frame."""

import re
from dataclasses import replace

import numpy as np
import pytest

from ftzard.errors import DataError
from ftzard.evaluation.drift import compare
from ftzard.evaluation.gate import judge
from ftzard.reporting import plots
from ftzard.reporting.plots.style import BLUE, SOFT
from tests.evaluation.simulated import CLASSES, LIMITS, losses, made, pair


def history(epochs: int) -> list[dict]:
    return [
        {"epoch": e, "train_loss": 0.5, "validation_loss": 0.6 / e, "validation_accuracy": 0.7}
        for e in range(1, epochs + 1)
    ]


def verdict() -> dict:
    sides = pair(np.random.default_rng(0), 900, 0.05, 0.2)
    return judge(*sides, LIMITS, classes=CLASSES, baselines={}, seed=0).to_dict()


def verdict_of_scores() -> dict:
    """Two test sets of losses."""
    rng = np.random.default_rng(0)
    sides = [{}, {}]
    for name in ("first", "second"):
        for side, found in zip(sides, losses(rng, 300, 0.1), strict=True):
            one = found["first"]
            side[name] = type(one)([f"{name} {i}" for i in one.ids], one.scores, one.weights)
    return judge(*sides, replace(LIMITS, min_gain=0.005, resamples=300), measure="loss",
                 baselines={}, seed=0).to_dict()


def entry(score: float, alarm: bool, batch: str = "0a1b2c3d4e5f") -> dict:
    """A batch as the log of drift holds it."""
    names = ("predicted classes", "confidence", "words", "characters", "tokens per character",
             "embedding")
    return {
        "batch": batch, "champion": 1, "alarm": alarm, "score": score, "upper": 4.0, "lower": 2.0,
        "raised_by": ["tokens per character"] if alarm else [],
        "statistics": [
            {"name": name, "value": 0.01 * score, "usual": 0.01, "lower": 0.02, "upper": 0.04,
             "beyond": alarm} for name in names],
    }


def matrix(versions: int, batches: int) -> dict:
    known = [[j <= i + 1 for j in range(batches)] for i in range(versions)]
    return {
        "versions": list(range(1, versions + 1)),
        "batches": [f"{j:012x}" for j in range(batches)],
        "promoted": [i % 2 == 0 for i in range(versions)],
        "trained": [[j <= i for j in range(batches)] for i in range(versions)],
        "accuracy": [[0.6 + 0.05 * (i % 5) if k else None for k in row]
                     for i, row in enumerate(known)],
        "n": [[1200 if k else 0 for k in row] for row in known],
    }


def of_losses(matrix: dict) -> dict:
    """The same matrix of a measure of which less is better."""
    told = {k: v for k, v in matrix.items() if k != "accuracy"}
    return {**told, "measure": "loss", "scores": [
        [None if a is None else 3 - a for a in row] for row in matrix["accuracy"]]}


def guess(value: float, measured: float | None = None) -> dict:
    """An estimate of a batch, audited if `measured` is given."""
    audit = None if measured is None else {
        "measured": measured, "lower": measured - 0.05, "upper": min(1.0, measured + 0.05),
        "covered": abs(measured - value) < 0.05}
    return {"estimate": value, "lower": value - 0.03, "upper": min(1.0, value + 0.03),
            "batch": f"{round(100 * value):012x}", "champion": 1, "audit": audit}


BIN = {"lower": 0.9, "upper": 1.0, "confidence": 0.95, "accuracy": 1.0, "n": 1}
CURVE = [{"coverage": c / 20, "rows": c, "confidence": 1 - c / 50, "accuracy": 1 - c / 60,
          "lower": 0.9 - c / 60, "upper": min(1.0, 1.05 - c / 60)} for c in range(1, 21)]
SURE = np.r_[np.zeros(9), np.geomspace(1e-7, 0.9, 400)] / 9
FILES = {f"{i:012x}": f"reviews_of_{month}_2026.csv" for i, month in enumerate(
    ("march", "april", "march"))}
PERFECT = [{"name": f"trial {i}", "best": i == 0, "history": [
    {"epoch": e, "validation_loss": 0.0, "validation_accuracy": 1.0} for e in (1, 2, 3)]}
    for i in range(2)]
TOP = [{"name": f"v{i}", "verdict": "promote", "accuracy": 0.995 + i / 1000, "lower": 0.99,
        "upper": 1.0} for i in range(4)]
MANY = [f"a class with quite a long name {i}" for i in range(20)]


def searched(count: int) -> list[dict]:
    """Return so many trials; the third one is chosen, the last one was pruned."""
    return [{"name": f"trial {i}", "value": 0.6 + i / 50, "best": i == 2, "pruned": i == count - 1,
             "params": {"learning_rate": 0.001 * 1.3 ** i, "rank": (8, 16, 32)[i % 3], "alpha": 16,
                        "weight_decay": 0.01}} for i in range(count)]


OUTLOOK = {"labels": 400, "rows_then": 1560, "gain": 0.006, "lower": -0.002, "upper": 0.014,
           "points": [
    {"kind": kind, "size": size, "accuracy": 0.9 - size**-0.4 - (kind != "model") / 50}
    for kind, size in (("TF-IDF", 150), ("TF-IDF", 1200), ("model", 900), ("model", 1200))],
    "curve": [{"size": size, "accuracy": 0.9 - size**-0.4} for size in (150, 600, 1200, 3200)]}
AGREED = {"share": 0.85, "lower": 0.8, "upper": 0.89, "ceiling": 0.92, "models": [
    {"model": "challenger", "share": 0.82, "lower": 0.77, "upper": 0.87},
    {"model": "champion", "share": 0.8, "lower": 0.75, "upper": 0.85}]}
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
    "search": lambda: plots.trials(searched(4), "accuracy"),
    "search_of_one": lambda: plots.trials(searched(1), "validation_loss"),
    "search_of_many": lambda: plots.trials(searched(20), "macro_f1"),
    "confusion_matrix": lambda: plots.confusion_matrix(np.full((20, 20), 9), MANY),
    "reliability_diagram": lambda: plots.reliability_diagram([BIN]),
    "reliability_scaled": lambda: plots.reliability_diagram(
        [BIN], [BIN | {"lower": 0.6, "upper": 0.7, "confidence": 0.65, "accuracy": 0.2}]
    ),
    "abstention": lambda: plots.abstention(CURVE),
    "abstention_of_one": lambda: plots.abstention(CURVE[-1:]),
    "forgetting": lambda: plots.forgetting(matrix(1, 1)),
    "forgetting_many": lambda: plots.forgetting(matrix(12, 13)),
    "drift": lambda: plots.drift(entry(2.0, False)),
    "drift_far": lambda: plots.drift(entry(900.0, True)),
    "drift_over_time": lambda: plots.drift_over_time(
        [entry(1.0, False), entry(300.0, True), entry(3.0, True), entry(-2.0, False)]
    ),
    "drift_over_a_long_time": lambda: plots.drift_over_time(
        [entry(1.0 + i, i > 3) for i in range(40)]
    ),
    "uncertainty_histogram": lambda: plots.uncertainty_histogram([0.0, 0.0], 0.0),
    "uncertainty_of_a_sure_model": lambda: plots.uncertainty_histogram(SURE, 0.004),
    "forgetting_of_named_files": lambda: plots.forgetting(matrix(3, 4), FILES),
    "forgetting_of_many_named_files": lambda: plots.forgetting(matrix(3, 13), FILES),
    "drift_of_named_files": lambda: plots.drift_over_time(
        [entry(1.0, False, batch) for batch in FILES] * 4, FILES),
    "estimates": lambda: plots.estimates([guess(0.8), guess(0.7, 0.5), guess(0.9, 0.88)], FILES),
    "agreement": lambda: plots.agreement(AGREED),
    "learning_curve": lambda: plots.learning_curve(OUTLOOK),
    "agreement_without_ceiling": lambda: plots.agreement({**AGREED, "ceiling": None}),
    "estimates_of_many": lambda: plots.estimates([guess(0.99, 1.0)] * 30),
    "all_right": lambda: plots.learning_curves(PERFECT),
    "rounds_near_the_top": lambda: plots.rounds(TOP),
    "comparison": lambda: plots.comparison(verdict()),
    "comparison_of_scores": lambda: plots.comparison(verdict_of_scores()),
    "score_differences": lambda: plots.score_differences(
        np.random.default_rng(0).standard_t(2, 900), "loss"),
    "score_differences_alike": lambda: plots.score_differences([0.0] * 9, "exact_match", "base"),
    "forgetting_of_losses": lambda: plots.forgetting(of_losses(matrix(3, 4))),
    "token_lengths_of_rows": lambda: plots.token_lengths([3, 9, 200], 64, "row"),
    "token_accuracy": lambda: plots.learning_curves(
        [{"name": "t", "history": [{"epoch": 1, "token_accuracy": 0.5, "train_loss": 2.0,
                                    "validation_loss": 2.5}], "best": True}],
        ("loss", "token_accuracy")),
    "rounds_of_losses": lambda: plots.rounds(
        [{"name": f"v{i}", "verdict": "promote", "measure": "loss", "score": 2.5 - i / 9,
          "lower": 2.4 - i / 9, "upper": 2.6 - i / 9} for i in range(4)]
    ),
    "rounds": lambda: plots.rounds(
        [{"name": f"Round {i}", "verdict": "refuse", "accuracy": 0.7} for i in range(8)]
    ),
    "rounds_with_labels": lambda: plots.rounds(
        [{"name": f"Round {i}", "verdict": "promote", "accuracy": 0.7, "labels": 10 ** i}
         for i in range(6)]
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


def test_a_search_is_drawn_against_what_differs_and_marks_choice_and_what_was_stopped():
    figure = plots.trials(searched(4), "accuracy")
    assert [axes.get_xlabel() for axes in figure.axes] == ["learning rate", "rank"]
    rate, rank = figure.axes
    assert rate.get_xscale() == "log" and rate.get_ylabel() == "accuracy on validation"
    assert [t.get_text() for t in rank.get_xticklabels()] == ["8", "16", "32"]
    for axes in figure.axes:
        faces = [line.get_markerfacecolor() for line in axes.lines]
        assert faces == [SOFT, SOFT, BLUE, "white"]
        assert [t.get_text() for t in axes.texts[:4]] == [f"trial {i}" for i in range(4)]
    assert "hollow: stopped early" in plots.svg(figure)
    alone = plots.trials(searched(1), "accuracy")
    assert [axes.get_xlabel() for axes in alone.axes] == ["learning rate"]


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
        lambda: plots.abstention([]),
        lambda: plots.score_differences([], "loss"),
        lambda: plots.forgetting(matrix(0, 0)),
        lambda: plots.drift({"statistics": []}),
        lambda: plots.drift_over_time([{"score": None}]),
    ],
)
def test_an_empty_picture_is_refused(draw):
    with pytest.raises(DataError, match="nothing to draw"):
        draw()


def words_of(figure) -> str:
    return " ".join(t.get_text() for axes in figure.axes for t in
                    [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels()])


def test_the_heat_map_says_what_was_measured_and_frames_what_was_trained_on():
    figure = plots.forgetting(matrix(2, 3))
    said = words_of(figure)
    assert "60.0" in said and "65.0" in said and "n 1,200" in said and "v1 ●" in said
    assert "v2 ●" not in said and "·" in said
    assert len(figure.axes[0].patches) == 3  # v1 on batch 1, v2 on batches 1 and 2


def test_dark_is_good_and_the_axis_says_which_way_for_a_loss():
    shares, loss = plots.forgetting(matrix(2, 3)), plots.forgetting(of_losses(matrix(2, 3)))
    assert "2.400" in words_of(loss) and "2.350" in words_of(loss)
    assert loss.axes[0].get_xlabel().endswith("loss in nats per token, lower is better")
    assert shares.axes[0].get_xlabel() == "test set of batch; accuracy in %"
    inks = [{t.get_text().split("\n")[0]: t.get_color() for t in f.axes[0].texts}
            for f in (shares, loss)]
    assert inks[0]["65.0"] == inks[1]["2.350"] == "white"
    assert inks[0]["60.0"] == inks[1]["2.400"] != "white"


def test_row_by_row_the_sides_are_counted_and_the_far_ones_stay_in_the_picture():
    figure = plots.score_differences([0.1] * 700 + [-0.2] * 299 + [50.0, 0.0], "loss", "base")
    said = words_of(figure)
    assert "challenger better\non 701 of 1,001 rows" in said
    assert "base better\non 299 of 1,001 rows" in said
    assert "1 row is alike" in figure.axes[0].get_xlabel() and "nats" in (
        figure.axes[0].get_xlabel())
    assert max(figure.axes[0].get_xlim()) < 1
    heights = sum(p.get_height() for p in figure.axes[0].patches)
    assert heights == 1000


def test_a_verdict_of_scores_has_its_own_unit_and_no_classes():
    figure = plots.comparison(verdict_of_scores())
    said = words_of(figure)
    assert "loss per test set" in said and "recall" not in said
    assert figure.axes[0].get_xlabel().startswith("gain in nats")


def test_rounds_of_another_measure_than_the_last_are_left_out():
    story = [{"name": "old", "verdict": "promote", "accuracy": 0.7},
             {"name": "v1", "verdict": "promote", "measure": "loss", "score": 2.5},
             {"name": "v2", "verdict": "refuse", "measure": "loss", "score": 2.4}]
    figure = plots.rounds(story)
    assert "2.500" in words_of(figure) and "old" not in words_of(figure)
    assert "lower is better" in figure.axes[0].get_ylabel()


def test_the_champion_s_line_follows_who_was_champion_on_the_same_rows():
    story = [{"name": "v1", "verdict": "promote", "accuracy": 0.83, "champion": "v1"},
             {"name": "v2", "verdict": "refuse", "accuracy": 0.81, "champion": "v1"},
             {"name": "v3", "verdict": "refuse", "accuracy": 0.85, "champion": "v3"},
             {"name": "v4", "verdict": "refuse", "accuracy": 0.80, "champion": "v9"}]
    line = plots.rounds(story).axes[0].lines[0].get_ydata()
    assert list(line[:3]) == [0.83, 0.83, 0.85] and np.isnan(line[3])
    by_verdict = [{k: v for k, v in item.items() if k != "champion"} for item in story[:2]]
    assert list(plots.rounds(by_verdict).axes[0].lines[0].get_ydata()) == [0.83, 0.83, 0.83]


def test_a_batch_s_drift_is_the_same_number_in_both_pictures():
    found = compare(made(400, 5, longer=1.3), made(800, 0), CLASSES).to_dict()
    said = f"{found['score'] / found['upper']:.2f} ×"
    over_time = words_of(plots.drift_over_time([{**found, "batch": "b", "champion": 1}]))
    alone = words_of(plots.drift(found))
    assert said in over_time and said in alone
    ratios = [float(word) for word in re.findall(r"(-?[\d.]+) ×", alone)]
    assert max(ratios) == float(said.split()[0]) and len(ratios) == 6
    assert [r > 1 for r in ratios] == [s["beyond"] for s in found["statistics"]]


def test_learning_curves_show_the_epoch_that_was_kept_and_what_a_temperature_cures():
    epochs = [{"epoch": e, "train_loss": 0.5 / e, "validation_loss": 0.4 * e, "accuracy": 0.8,
               "calibrated_loss": 0.35, "temperature": 1.0 * e} for e in (1, 2, 3)]
    curve = {"name": "t", "best": True, "history": epochs, "best_epoch": 2}
    figure = plots.learning_curves([curve], ["loss"])
    key = [text.get_text() for text in figure.legends[0].get_texts()]
    assert key == ["validation", "training", "validation, temperature scaled", "epoch kept"]
    ring, = (line for line in figure.axes[0].lines if line.get_markersize() == 11)
    assert (list(ring.get_xdata()), list(ring.get_ydata())) == ([2], [0.8])


def test_drift_marks_what_is_beyond_its_limit():
    assert "tokens per character" in words_of(plots.drift(entry(9.0, True)))
    drawn = plots.drift_over_time([entry(1.0, False), entry(9.0, True), entry(3.0, True)])
    assert "no alarm" in words_of(drawn) and "tokens per character" in words_of(drawn)


def test_a_long_drift_that_was_only_not_cleared_says_so():
    lasting = entry(3.0, True) | {"raised_by": []}
    assert "alarm stays" in words_of(plots.drift_over_time([lasting]))


@pytest.mark.parametrize(("figure", "panel"), [
    (lambda: plots.learning_curves(PERFECT), 1),
    (lambda: plots.reliability_diagram([BIN]), 0),
    (lambda: plots.abstention([p | {"accuracy": 1.0, "upper": 1.0} for p in CURVE]), 0),
    (lambda: plots.rounds(TOP), 0),
], ids=["learning", "reliability", "abstention", "rounds"])
def test_no_share_is_said_to_go_beyond_all_and_five_points_are_seen_at_least(figure, panel):
    axes = figure().axes[panel]
    low, high = axes.get_ylim()
    assert high >= 1 and high - 1 < 0.04 * (high - low) and high - low >= 0.05
    ticks = axes.get_yticks()
    assert max(ticks) <= 1 + 1e-9 and len(ticks) >= 3
    assert axes.yaxis.get_major_formatter()(max(ticks), None) == "100 %"


def test_a_small_change_of_accuracy_does_not_fill_the_picture():
    story = [{"name": "t", "best": True, "history": [
        {"epoch": e, "validation_loss": 1.0, "accuracy": 0.85 + e / 1000} for e in (1, 2, 3)]}]
    low, high = plots.learning_curves(story, ["accuracy"]).axes[0].get_ylim()
    assert high - low == pytest.approx(0.05)
    assert low < 0.851 and high > 0.853


def test_a_sure_model_s_uncertainty_is_seen_and_its_threshold_is_no_zero():
    axes = plots.uncertainty_histogram(SURE, 0.004).axes[0]
    assert axes.get_xscale() == "log" and "logarithmic" in axes.get_xlabel()
    picked = int((SURE >= 0.004).sum())
    assert f"threshold 0.004\n{picked} of {len(SURE)} rows at or above" in words_of(axes.figure)
    heights = [p.get_height() for p in axes.patches]
    assert sum(heights) == len(SURE) and sum(h > 0 for h in heights) > 20
    unsure = plots.uncertainty_histogram(np.linspace(0, 1, 400), 0.75).axes[0]
    assert unsure.get_xscale() == "linear"


def test_batches_are_called_by_their_files_and_two_of_one_name_by_their_hash_as_well():
    told = words_of(plots.forgetting(matrix(3, 4), FILES))
    assert "1\nreviews…h_2026\n0000000" in told and "2\nreviews…l_2026 " in told
    assert "4\n00000000" in told  # not known by a name
    told = words_of(plots.drift_over_time([entry(1.0, False, batch) for batch in FILES], FILES))
    assert "reviews…l_2026\nv1" in told and "reviews…h_2026\n0000000\nv1" in told
    parted = verdict_of_scores()
    parted["per_test_set"][0]["name"] = "7d0a323bc6a8"
    told = words_of(plots.comparison(parted, {"7d0a323bc6a8": "march.csv"}))
    assert "march.csv" in told and "second" in told and "7d0a" not in told
