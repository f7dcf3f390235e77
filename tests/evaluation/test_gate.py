"""The gate errs as rarely as it says, and each of its rules decides a case of its own."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ftzard.config.compose import compose
from ftzard.errors import DataError
from ftzard.evaluation.gate import NO_CHAMPION, is_trial, judge, means
from ftzard.evaluation.paired import Predicted, mcnemar
from tests.evaluation.simulated import CLASSES, LIMITS, answers, counted, pair

RULES = replace(LIMITS, max_class_loss=0.02, max_forgetting=0.02)
SHIPPED = compose().gate


def decide(challenger, champion, **changed):
    limits = {k: changed.pop(k) for k in list(changed) if hasattr(RULES, k)}
    return judge(challenger, champion, replace(RULES, **limits),
                 **{"classes": CLASSES, "baselines": {}, "seed": 0} | changed)


def together(*pairs):
    """Join (challenger, champion) pairs into one pair; equal set names are joined row by row."""
    sides = []
    for side in range(2):
        joined: dict[str, Predicted] = {}
        for item in pairs:
            for name, new in item[side].items():
                old = joined.get(name)
                joined[name] = new if old is None else Predicted(
                    [*old.ids, *(f"{len(old.ids)}+{i}" for i in new.ids)],
                    [*old.labels, *new.labels],
                    [*old.predicted, *new.predicted],
                )
        sides.append(joined)
    return sides


def promotions(pairs: int, gain: float, discordance: float, seed: int) -> int:
    """Return how many of so many challengers, tested on 2,000 rows, are promoted."""
    rng = np.random.default_rng(seed)
    return sum(judge(*pair(rng, 2000, gain, discordance), SHIPPED, classes=CLASSES, baselines={},
                     seed=number).promoted for number in range(pairs))


@pytest.mark.slow
def test_of_2000_equal_models_hardly_any_is_promoted():
    assert promotions(2000, gain=0.0, discordance=0.2, seed=1) <= 0.04 * 2000


@pytest.mark.slow
def test_of_2000_models_truly_three_points_better_four_in_five_are_promoted():
    assert promotions(2000, gain=0.03, discordance=0.2, seed=2) >= 0.8 * 2000


def test_equal_models_that_hardly_differ_are_hardly_ever_promoted():
    assert promotions(300, gain=0.0, discordance=0.02, seed=1) <= 0.04 * 300


def test_the_interval_holds_the_true_difference_as_often_as_it_says():
    rng = np.random.default_rng(3)
    verdicts = [decide(*pair(rng, 1000, 0.03, 0.2), seed=i) for i in range(300)]
    assert 0.91 <= np.mean([v.lower <= 0.03 <= v.upper for v in verdicts]) <= 0.98


def test_a_clear_gain_is_promoted_and_said_in_words():
    verdict = decide(*counted(wins=80, losses=20, both=900))
    assert (verdict.decision, verdict.promoted) == ("promote", True)
    assert verdict.difference == pytest.approx(0.06)
    assert 0 < verdict.lower < verdict.difference < verdict.upper
    assert (verdict.n, verdict.discordant, verdict.rows_needed) == (1000, 100, None)
    assert "98.0 %" in verdict.reasons[0] and "92.0 %" in verdict.reasons[0]
    assert "+6.0 points" in verdict.reasons[0]


def test_a_tie_keeps_the_champion_and_says_how_many_rows_would_tell():
    verdict = decide(*counted(wins=60, losses=50, both=890))
    assert verdict.decision == "refuse"
    assert verdict.lower <= 0 < verdict.upper
    assert any("tie keeps the champion" in reason for reason in verdict.reasons)
    assert verdict.rows_needed == pytest.approx(8628, rel=0.01)


def test_identical_answers_are_a_tie():
    verdict = decide(*counted(wins=0, losses=0, both=500))
    assert verdict.decision == "refuse"
    assert verdict.difference == verdict.lower == verdict.upper == 0
    assert verdict.p == 1


def test_a_worse_challenger_is_called_worse():
    verdict = decide(*counted(wins=20, losses=80, both=900))
    assert verdict.decision == "refuse"
    assert any("worse than the champion" in reason for reason in verdict.reasons)
    assert verdict.rows_needed is None


def test_a_real_gain_below_the_least_gain_is_refused():
    sides = counted(wins=16, losses=2, both=1982)
    assert decide(*sides, min_gain=0.005).promoted
    verdict = decide(*sides, min_gain=0.01)
    assert verdict.decision == "refuse"
    assert verdict.lower > 0
    assert any("smaller than the 1.0 points" in reason for reason in verdict.reasons)


def test_a_handful_of_differing_rows_is_no_evidence_though_the_bootstrap_says_so():
    verdict = decide(*counted(wins=5, losses=0, both=300))
    assert verdict.lower > 0
    assert verdict.p == pytest.approx(0.0625)
    assert verdict.decision == "refuse"


def test_too_few_rows_cannot_tell_however_clear_it_looks():
    verdict = decide(*counted(wins=60, losses=0, both=100))
    assert (verdict.decision, verdict.promoted) == ("cannot tell", False)
    assert verdict.rows_needed == RULES.min_rows
    assert any("fewer than the 200" in reason for reason in verdict.reasons)
    assert verdict.reasons[-1] == (
        "The interval excludes zero already; it is gate.min_rows that asks for 200 rows.")
    assert not any("would be needed" in reason for reason in verdict.reasons)
    assert decide(*counted(wins=60, losses=0, both=100), min_rows=160).promoted


def test_too_few_rows_that_lose_are_not_told_how_many_would_show_a_gain():
    verdict = decide(*counted(wins=0, losses=60, both=100))
    assert verdict.decision == "cannot tell" and verdict.rows_needed == RULES.min_rows
    assert "gate.min_rows that asks for 200 rows" in verdict.reasons[-1]


def test_too_few_rows_without_a_difference_are_told_how_many_would_show_one():
    verdict = decide(*counted(wins=6, losses=4, both=50))
    assert verdict.decision == "cannot tell" and verdict.lower <= 0 < verdict.upper
    assert verdict.rows_needed > 1000
    assert f"About {verdict.rows_needed:,} test rows would be needed" in verdict.reasons[-1]
    enough = decide(*counted(wins=6, losses=4, both=50), min_gain=0.2)
    assert enough.rows_needed == RULES.min_rows
    assert "gate.min_rows asks for 200, which would do to show a gain of 20.0 points" in (
        enough.reasons[-1])


def test_a_class_that_surely_lost_vetoes():
    sides = together(
        counted(wins=200, losses=20, both=600, label=1), counted(0, 40, 160, label=0)
    )
    verdict = decide(*sides)
    assert verdict.lower > 0
    assert verdict.decision == "refuse"
    assert {p["label"]: p["veto"] for p in verdict.per_class} == {
        "negative": True,
        "positive": False,
    }
    assert any("'negative'" in r and "20.0 points" in r for r in verdict.reasons)
    assert decide(*sides, max_class_loss=0.3).promoted


def test_a_class_that_lost_but_perhaps_less_than_the_limit_does_not_veto():
    sides = together(
        counted(wins=200, losses=20, both=600, label=1), counted(10, 30, 160, label=0)
    )
    verdict = decide(*sides, max_class_loss=0.05)
    (loser,) = [p for p in verdict.per_class if p["label"] == "negative"]
    assert loser["difference"] < -0.05 < loser["upper"] < 0
    assert verdict.promoted


def test_two_lost_rows_of_a_tiny_class_do_not_veto():
    sides = together(counted(wins=100, losses=20, both=600, label=1), counted(0, 2, 0, label=0))
    assert decide(*sides).promoted


def test_an_earlier_test_set_that_surely_lost_vetoes():
    sides = together(
        counted(wins=200, losses=20, both=600, name="new"),
        counted(wins=0, losses=40, both=160, name="old"),
    )
    verdict = decide(*sides, max_class_loss=1)
    assert verdict.decision == "refuse"
    assert {p["name"]: p["veto"] for p in verdict.per_test_set} == {"new": False, "old": True}
    assert any("Veto by test set 'old'" in reason for reason in verdict.reasons)
    assert decide(*sides, max_class_loss=1, max_forgetting=0.3).promoted


def test_the_first_model_must_beat_the_majority_class():
    labels = np.r_[np.ones(600, int), np.zeros(400, int)]
    good = answers(labels, np.r_[np.ones(500), np.zeros(100), np.ones(250), np.zeros(150)] > 0)
    lazy = answers(labels, labels == 1)
    accepted = decide(good, None)
    assert (accepted.decision, accepted.against) == ("promote", "majority class")
    assert accepted.champion_score == pytest.approx(0.6)
    assert not any(p["veto"] for p in accepted.per_class)
    refused = decide(lazy, None)
    assert refused.decision == NO_CHAMPION == "no champion yet" and not refused.promoted
    assert "majority class" in refused.reasons[0]
    assert not decide(lazy, None, trial=True).promoted


def first(right: int, baseline: int, n: int = 1000, **changed):
    """Judge a first model that is right on some of n rows; TF-IDF is right on the first ones."""
    labels = np.arange(n) % 2
    challenger = answers(labels, np.arange(n) < right)
    best = answers(labels, np.arange(n) < baseline)
    return decide(challenger, None, baselines={"TF-IDF": best, "majority": answers(
        labels, labels == 1)}, **changed)


class TestFirstModel:
    def test_one_that_is_surely_worse_than_a_count_of_words_is_no_champion(self):
        verdict = first(right=700, baseline=800)
        assert verdict.decision == NO_CHAMPION and verdict.lower > 0
        said = " ".join(verdict.reasons)
        assert "Baseline 'TF-IDF' is surely better: 80.0 % against 70.0 %" in said
        assert "all of it below −2.0 points (gate.first_baseline_margin)" in said
        assert first(right=700, baseline=800, first_baseline_margin=0.15).promoted

    def test_one_that_is_worse_as_far_as_chance_goes_is_warned_of(self):
        """51.3 % against 53.9 % on 300 rows: the interval reaches above the margin."""
        labels = np.r_[np.zeros(129, int), np.ones(171, int)]
        draw = np.random.default_rng(3)
        mine = answers(labels, draw.permutation(300) < 200)
        other = answers(labels, draw.permutation(300) < 208)
        verdict = decide(mine, None, baselines={"TF-IDF": other})
        assert verdict.baselines[0]["difference"] < -0.02 < verdict.baselines[0]["upper"]
        assert "TF-IDF" in verdict.warnings[0]
        assert not any("surely better" in reason for reason in verdict.reasons)

    def test_one_whose_confidence_is_far_off_is_no_champion(self):
        verdict = first(right=700, baseline=600, calibration_error=0.372)
        assert verdict.decision == NO_CHAMPION
        assert "off by 37.2 points" in verdict.reasons[-1] and "10.0 points" in verdict.reasons[-1]
        assert first(right=700, baseline=600, calibration_error=0.1).promoted
        assert first(right=700, baseline=600, calibration_error=0.372,
                     first_calibration_error=0.4).promoted
        assert first(right=700, baseline=600, calibration_error=0.12,
                     calibration_chance=0.13).promoted, "so few rows cannot tell it from chance"

    def test_in_a_trial_both_only_warn_and_the_verdict_says_that_it_is_one(self):
        verdict = first(right=700, baseline=800, calibration_error=0.372, trial=True)
        assert verdict.promoted and is_trial(verdict.to_dict())
        assert sum("only a warning" in warning for warning in verdict.warnings) == 2
        assert not is_trial(first(right=700, baseline=600).to_dict()) and not is_trial(None)

    def test_a_challenger_of_a_champion_is_judged_as_ever(self):
        sides = counted(wins=80, losses=20, both=800)
        best, _ = counted(wins=100, losses=0, both=800)
        assert decide(*sides, baselines={"TF-IDF": best}, first_baseline_margin=0.0,
                      calibration_error=0.9).promoted

    def test_the_rows_that_would_show_a_gain_are_told(self):
        labels = np.arange(400) % 2
        verdict = decide(answers(labels, np.random.default_rng(0).permutation(400) < 210), None)
        assert verdict.decision == NO_CHAMPION and verdict.rows_needed > 400


def test_the_first_model_needs_no_least_gain_but_evidence():
    labels = np.r_[np.ones(600, int), np.zeros(400, int)]
    correct = np.r_[np.ones(598), np.zeros(2), np.ones(12), np.zeros(388)] > 0
    assert decide(answers(labels, correct), None, min_gain=0.5).promoted


def test_a_better_baseline_warns_and_vetoes_only_if_the_configuration_says_so():
    challenger, champion = counted(wins=80, losses=20, both=900)
    best, _ = counted(wins=100, losses=0, both=900)
    warned = decide(challenger, champion, baselines={"TF-IDF": best})
    assert warned.promoted
    assert len(warned.warnings) == 1 and "TF-IDF" in warned.warnings[0]
    vetoed = decide(challenger, champion, baselines={"TF-IDF": best}, baseline_veto=True)
    assert vetoed.decision == "refuse"
    assert not decide(challenger, champion, baselines={"base": champion}).warnings


def test_rows_in_another_order_are_brought_together():
    challenger, champion = counted(wins=80, losses=20, both=900)
    one = champion["first"]
    turned = {"first": Predicted(one.ids[::-1], one.labels[::-1], one.predicted[::-1])}
    assert decide(challenger, turned) == decide(challenger, champion)


def test_other_rows_sets_or_labels_are_refused():
    challenger, champion = counted(wins=80, losses=20, both=100)
    one = champion["first"]
    renamed = {"first": Predicted(["x", *one.ids[1:]], one.labels, one.predicted)}
    with pytest.raises(DataError, match="not shared"):
        decide(challenger, renamed)
    with pytest.raises(DataError, match="same test sets"):
        decide(challenger, {"second": one})
    relabelled = {"first": Predicted(one.ids, ["negative", *one.labels[1:]], one.predicted)}
    with pytest.raises(DataError, match="different labels"):
        decide(challenger, relabelled)
    with pytest.raises(DataError, match="stands 2 times"):
        Predicted(["a", "a"], CLASSES, CLASSES)
    with pytest.raises(DataError, match="more than one test set"):
        decide(challenger | {"again": challenger["first"]}, None)
    with pytest.raises(DataError, match="did you mean 'positive'"):
        decide({"first": Predicted(["a"], ["positiv"], ["positive"])}, None)
    with pytest.raises(DataError, match="no test set"):
        decide({}, None)


def test_a_verdict_is_the_same_each_time_and_is_plain_json():
    sides = pair(np.random.default_rng(4), 1000, 0.03, 0.2)
    verdict = decide(*sides)
    assert decide(*sides) == verdict
    assert json.loads(json.dumps(verdict.to_dict()))["limits"]["min_gain"] == 0.01


def test_a_verdict_of_accuracy_is_told_under_the_names_it_has_always_had():
    verdict = decide(*counted(wins=80, losses=20, both=900))
    assert verdict.measure == "accuracy"
    assert list(verdict.to_dict()) == [
        "promoted", "decision", "reasons", "warnings", "against", "challenger_accuracy",
        "champion_accuracy", "difference", "lower", "upper", "n", "discordant", "mcnemar_p",
        "rows_needed", "per_class", "per_test_set", "baselines", "limits"]
    assert means(verdict.to_dict()) == (0.98, 0.92, verdict.p)


def test_predictions_come_from_the_most_likely_class():
    made = Predicted.from_probabilities(
        ["a", "b"], CLASSES, np.array([[0.9, 0.1], [0.6, 0.4]]), CLASSES
    )
    assert made.predicted.tolist() == ["negative", "negative"]


@pytest.mark.parametrize(
    ("wins", "losses", "p"), [(0, 0, 1.0), (5, 0, 0.0625), (10, 2, 0.0385742), (7, 7, 1.0)]
)
def test_mcnemar_is_exact(wins, losses, p):
    assert mcnemar(wins, losses) == pytest.approx(p, abs=1e-6)


def test_mcnemar_holds_for_many_rows():
    from scipy.stats import binomtest

    assert mcnemar(5300, 5000) == pytest.approx(binomtest(5300, 10300).pvalue, rel=1e-6)
