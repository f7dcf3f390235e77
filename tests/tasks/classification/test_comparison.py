"""Two models on the same rows: the intervals are right, and the rows they disagree on are found."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ftzard.cli import model_tables
from ftzard.config.compose import compose
from ftzard.errors import DataError
from ftzard.tasks.benchmark import Speed
from ftzard.tasks.classification.comparison import compared, disagreements, paired_scores
from ftzard.tasks.classification.metrics import classification_metrics
from ftzard.tasks.comparison_page import costs, render

CLASSES = ["bad", "fine", "good"]


def chances(guess: np.ndarray, surety: float = 0.8) -> np.ndarray:
    """Return probabilities that answer `guess` with this surety."""
    found = np.full((len(guess), 3), (1 - surety) / 2)
    found[np.arange(len(guess)), guess] = surety
    return found


@pytest.fixture
def answers():
    """300 rows; the first model is right on 70 %, the second on 80 %, mostly the same rows."""
    rng = np.random.default_rng(3)
    true = rng.integers(0, 3, 300)
    wrong = (true + rng.integers(1, 3, 300)) % 3
    first = np.where(np.arange(300) < 210, true, wrong)
    second = np.where((np.arange(300) >= 20) & (np.arange(300) < 260), true, wrong)
    return np.array(CLASSES)[true], chances(first), chances(second, 0.9)


def test_the_values_are_those_of_each_model_alone(answers):
    labels, first, second = answers
    found = paired_scores(labels, first, second, CLASSES, seed=0)
    for side, given in (("first", first), ("second", second)):
        alone = classification_metrics(labels, given, CLASSES)
        assert all(found["scores"][s][side]["value"] == alone[s] for s in found["scores"])
    assert found["scores"]["accuracy"]["difference"]["value"] == pytest.approx(0.1)
    assert (found["only_first"], found["only_second"], found["n"]) == (20, 50, 300)
    assert found["agreed"] == int((first.argmax(axis=1) == second.argmax(axis=1)).sum())
    json.dumps(found)
    perfect = paired_scores(labels[:60], chances(np.searchsorted(CLASSES, labels[:60])), first[:60],
                           CLASSES, seed=0)["scores"]["accuracy"]["first"]
    assert perfect["value"] == perfect["upper"] == 1 and 0.93 < perfect["lower"] < 0.95


def test_the_interval_of_the_difference_is_the_one_of_paired_rows(answers):
    """Against a plain bootstrap of the rows, and narrower than if the rows were not paired."""
    labels, first, second = answers
    found = paired_scores(labels, first, second, CLASSES, seed=0, resamples=4000)
    rng, gaps = np.random.default_rng(1), {"accuracy": [], "macro_f1": []}
    for _ in range(400):
        rows = rng.integers(0, 300, 300)
        one, two = (classification_metrics(labels[rows], p[rows], CLASSES)
                    for p in (first, second))
        for name in gaps:
            gaps[name].append(two[name] - one[name])
    for name, values in gaps.items():
        gap = found["scores"][name]["difference"]
        assert [gap["lower"], gap["upper"]] == pytest.approx(
            np.quantile(values, [0.025, 0.975]), abs=0.012)
    accuracy = found["scores"]["accuracy"]
    widths = {side: score["upper"] - score["lower"] for side, score in accuracy.items()}
    assert widths["difference"] < np.hypot(widths["first"], widths["second"])


def test_a_model_against_itself_shows_no_difference(answers):
    labels, first, _ = answers
    found = paired_scores(labels, first, first, CLASSES, seed=0)
    assert found["scores"]["macro_f1"]["difference"] == {"value": 0.0, "lower": 0.0, "upper": 0.0}
    assert found["mcnemar_p"] == 1.0 and found["agreed"] == 300
    assert disagreements([""] * 300, labels, first, first, CLASSES).empty


def test_disagreements_say_who_is_right_those_both_are_surest_of_first():
    labels = ["bad", "fine", "good", "bad"]
    first = np.array([[.9, .05, .05], [.1, .8, .1], [.5, .3, .2], [.6, .2, .2]])
    second = np.array([[.1, .8, .1], [.1, .7, .2], [.2, .7, .1], [.0, .1, .9]])
    found = disagreements(["a", "b", "c", "d"], labels, first, second, CLASSES)
    assert found["text"].tolist() == ["a", "d", "c"]
    assert found["right"].tolist() == ["first", "first", "neither"]
    assert found.loc[0, ["row", "label", "first", "second"]].tolist() == [0, "bad", "bad", "fine"]
    with pytest.raises(DataError, match="3 texts, 4 labels"):
        disagreements(["a", "b", "c"], labels, first, second, CLASSES)


def test_the_page_needs_no_other_file_and_escapes_texts(answers):
    labels, first, second = answers
    speed = Speed(1.5, 40_000_000, "cpu", 2, 0, 5, 2.5, 400.0, 9000.0)
    rows = pd.DataFrame({"id": [f"r{n}" for n in range(300)], "batch": "b", "text": "<script>",
                         "label": labels})
    comparison = compared(
        rows, first, second, CLASSES, names=("M@1", "M@2"), asked=("a", "b"), config=compose(),
        described={"n": 300, "source": "rows.csv"}, speeds=(speed, speed), own_metrics={})
    page = render(comparison, 3)
    assert "&lt;script&gt;" in page and page.count("<script") == 1 and "src=" not in page
    for words in ("M@2 is better.", "macro F1", "F1 of each class", "Differences by class",
                  "Confusion matrices", "Calibration", "tokens per second", "9,000", "40 MB",
                  "M@1 says", "the first 3 are shown"):
        assert words in page, words
    own = r'<(?:section|details)[^>]* id="([^"]+)"'  # pictures have anchors of their own
    links = set(re.findall(r'<a href="#([^"]+)"', page))
    assert links <= set(re.findall(own, page)) and "b-cell-0-0-0" in links
    third = replace(comparison, names=("M@1", "M@3"), asked=("a", "champion"))
    both = render(comparison, 3, [third])
    assert "M@1 and M@2, M@3" in both and "All models" in both and "M@3: Calibration" in both
    assert "champion-cell-1-0-0" in both and "b-cell-1-0-0" in both
    ids = re.findall(own, both)
    assert len(set(ids)) == len(ids) > len(links)


def test_recall_differs_by_class_with_an_interval(answers):
    labels, first, second = answers
    found = paired_scores(labels, first, second, CLASSES, seed=0)
    for label, gap in found["class_differences"].items():
        difference = (found["second"]["per_class"][label]["recall"]
                      - found["first"]["per_class"][label]["recall"])
        assert gap["value"] == pytest.approx(difference)
        assert gap["lower"] <= gap["value"] <= gap["upper"] and gap["lower"] < gap["upper"]


def speed(latency: float, low: float, high: float) -> dict:
    return {"latency_ms": latency, "latency_ms_range": (low, high), "rows_per_second": 400.0,
            "rows_per_second_range": (390.0, 410.0), "tokens_per_second": 9000.0,
            "tokens_per_second_range": (8000.0, 9900.0), "passes": 5, "load_s": 1.5,
            "peak_bytes": 4e7, "device": "cpu", "threads": 2, "cut_rows": 0}


def test_times_have_a_range_and_a_factor_only_where_the_ranges_are_apart():
    page = str(costs([speed(2.5, 2.4, 2.6), speed(5, 4.9, 5.2)], "M@1", "M@2"))
    assert "2.5 ms (2.4–2.6)" in page and "timed in turns, 5 passes each" in page
    assert model_tables._times(speed(2.5, 2.4, 2.6), speed(5.0, 4.9, 5.2), "latency_ms") == "2.00 ×"
    assert model_tables._times(speed(2.5, 2.0, 5.0), speed(5.0, 4.9, 5.2), "latency_ms") == "alike"


def test_models_that_could_not_take_turns_have_no_times():
    untimed = {"latency_ms": None, "rows_per_second": None, "tokens_per_second": None, "passes": 0,
               "load_s": 1.5, "peak_bytes": 4e7, "device": "cpu", "threads": 2, "cut_rows": 0}
    page = str(costs([untimed] * 2, "M@1", "M@2"))
    assert page.count(">not timed<") == 6 and "no room in memory side by side" in page
    assert model_tables._times(untimed, untimed, "latency_ms") == ""
