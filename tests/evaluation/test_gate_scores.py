"""The gate on scores errs as rarely as it says, and compares like with like."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from ftzard.errors import DataError
from ftzard.evaluation.gate import interval, judge, means
from ftzard.evaluation.paired import Scored, mcnemar, sign_flips
from tests.evaluation.simulated import LIMITS, losses, scored

RULES = replace(LIMITS, min_gain=0.005, resamples=500)


def decide(challenger, champion, **changed):
    limits = {k: changed.pop(k) for k in list(changed) if hasattr(RULES, k)}
    return judge(challenger, champion, replace(RULES, **limits),
                 **{"measure": "loss", "baselines": {}, "seed": 0} | changed)


def shifted(n: int, by: float, seed: int = 0, name: str = "first", spread: float = 0.3):
    """A challenger whose losses lie about `by` nats under the champion's."""
    rng = np.random.default_rng(seed)
    champion = rng.gamma(6, 0.4, n)
    return (scored(champion - by + rng.normal(0, spread, n), name=name),
            scored(champion, name=name))


def promotions(pairs: int, gain: float, seed: int, n: int = 300) -> int:
    rng = np.random.default_rng(seed)
    return sum(decide(*losses(rng, n, gain), seed=i).promoted for i in range(pairs))


@pytest.mark.slow
def test_of_2000_equal_models_hardly_any_is_promoted():
    assert promotions(2000, gain=0.0, seed=1) <= 0.04 * 2000


@pytest.mark.slow
def test_of_2000_models_a_tenth_of_a_nat_better_four_in_five_are_promoted():
    assert promotions(2000, gain=0.1, seed=2) >= 0.8 * 2000


def test_equal_models_are_hardly_ever_promoted_and_a_true_gain_is_mostly_found():
    assert promotions(150, gain=0.0, seed=3) <= 0.05 * 150
    assert promotions(60, gain=0.1, seed=4) >= 0.75 * 60


def test_the_interval_holds_the_true_difference_as_often_as_it_says():
    rng = np.random.default_rng(5)
    verdicts = [decide(*losses(rng, 400, 0.05), seed=i) for i in range(150)]
    assert 0.9 <= np.mean([v.lower <= 0.05 <= v.upper for v in verdicts]) <= 0.99


def test_a_clear_gain_is_promoted_and_said_in_nats():
    verdict = decide(*shifted(400, 0.17))
    assert (verdict.decision, verdict.measure, verdict.per_class) == ("promote", "loss", [])
    assert verdict.difference == pytest.approx(
        verdict.champion_score - verdict.challenger_score) == pytest.approx(0.17, abs=0.05)
    assert 0 < verdict.lower < verdict.difference < verdict.upper and verdict.p < 0.01
    said = verdict.reasons[0]
    assert f"loss on the wanted answers is {verdict.challenger_score:.3f} nats per token" in said
    assert f"the champion's {verdict.champion_score:.3f}: better by" in said
    assert f"interval of the gain +{verdict.lower:.3f} to +{verdict.upper:.3f} nats" in said
    assert "class" not in " ".join(verdict.reasons)


def test_a_mean_over_tokens_counts_long_answers_more():
    rows = np.array([1.0] * 200 + [3.0] * 200)
    tokens = np.array([30] * 200 + [10] * 200)
    better = scored(rows - np.where(rows == 1, 0.1, -0.1), tokens)
    verdict = decide(better, scored(rows, tokens))
    assert verdict.champion_score == pytest.approx(1.5)
    assert verdict.difference == pytest.approx(0.05)
    alike = decide(scored(rows - np.where(rows == 1, 0.1, -0.1)), scored(rows))
    assert alike.champion_score == pytest.approx(2.0)
    assert alike.difference == pytest.approx(0.0, abs=1e-12)


def test_a_tie_keeps_the_champion_and_says_how_many_rows_would_tell():
    verdict = decide(*shifted(400, 0.0, seed=3))
    assert verdict.decision == "refuse" and verdict.lower <= 0 < verdict.upper
    assert any("tie keeps the champion" in reason for reason in verdict.reasons)
    # 80 % power: ((1.96 + 0.84) * 0.3 / 0.005) ** 2
    assert verdict.rows_needed == pytest.approx(28250, rel=0.1)
    assert f"{verdict.rows_needed:,} test rows" in verdict.reasons[-1]


def test_that_many_rows_do_tell():
    found = decide(*shifted(400, 0.0, seed=3), min_gain=0.03)
    n = found.rows_needed
    assert 700 < n < 900
    seen = [decide(*shifted(n, 0.03, seed=100 + i), min_gain=0).promoted for i in range(50)]
    assert 0.65 <= np.mean(seen) <= 0.95


def test_the_same_answers_are_a_tie():
    same, _ = shifted(300, 0.0)
    verdict = decide(same, same)
    assert verdict.decision == "refuse" and verdict.p == 1 and verdict.discordant == 0
    assert verdict.difference == verdict.lower == verdict.upper == 0
    assert "no difference" in verdict.reasons[0]


def test_a_worse_challenger_is_called_worse():
    verdict = decide(*shifted(400, -0.2))
    assert verdict.decision == "refuse" and verdict.rows_needed is None
    assert "worse by" in verdict.reasons[0]
    assert any("worse than the champion" in reason for reason in verdict.reasons)


def test_a_real_gain_below_the_least_gain_is_refused():
    sides = shifted(2000, 0.02, spread=0.05)
    assert decide(*sides).promoted
    refused = decide(*sides, min_gain=0.1)
    assert refused.decision == "refuse" and refused.lower > 0
    assert any("smaller than the 0.100 nats" in reason for reason in refused.reasons)


def test_too_few_rows_cannot_tell_however_clear_it_looks():
    verdict = decide(*shifted(150, 1.0))
    assert (verdict.decision, verdict.promoted) == ("cannot tell", False)
    assert verdict.rows_needed == 200
    assert "it is gate.min_rows that asks for 200 rows" in verdict.reasons[-1]
    assert decide(*shifted(150, 1.0), min_rows=150).promoted


def test_a_handful_of_differing_rows_is_no_evidence_though_the_bootstrap_says_so():
    champion = np.full(300, 0.2)
    challenger = champion.copy()
    challenger[:5] += (0.3, 0.4, 0.5, 0.6, 0.7)
    sides = [{"first": Scored([str(i) for i in range(300)], s)} for s in (challenger, champion)]
    verdict = decide(*sides, measure="rouge_l")
    assert verdict.lower > 0 and verdict.p == pytest.approx(2 / 2 ** 5)
    assert verdict.decision == "refuse"
    assert any("exact test finds no difference" in reason for reason in verdict.reasons)


def test_an_earlier_test_set_that_surely_lost_vetoes():
    new, old = shifted(600, 0.3, name="new"), shifted(200, -0.3, seed=1, name="old")
    sides = [new[i] | old[i] for i in (0, 1)]
    verdict = decide(*sides)
    assert verdict.lower > 0 and verdict.decision == "refuse"
    assert {p["name"]: p["veto"] for p in verdict.per_test_set} == {"new": False, "old": True}
    assert any("Veto by test set 'old': its loss on the wanted answers rose by 0.3" in r
               for r in verdict.reasons)
    assert decide(*sides, max_forgetting=0.9).promoted


def test_the_first_model_must_beat_the_bare_base():
    better, base = shifted(400, 0.3)
    accepted = decide(better, None, baselines={"base": base}, min_gain=0.9)
    assert (accepted.decision, accepted.against) == ("promote", "base")
    assert not any(p["veto"] for p in accepted.per_test_set)
    assert accepted.reasons[-1] == (
        "It is the first model and beats the bare base, so it becomes the champion.")
    refused = decide(base, None, baselines={"base": better})
    assert refused.decision == "no champion yet" and refused.warnings == []
    with pytest.raises(DataError, match="no baseline named 'base'"):
        decide(better, None)


def test_a_base_that_is_better_than_challenger_and_champion_warns_or_vetoes():
    better, champion = shifted(400, 0.1)
    base = scored(-champion["first"].scores - 0.5)
    warned = decide(better, champion, baselines={"base": base})
    assert warned.promoted and len(warned.warnings) == 1 and "'base' has the loss" in (
        warned.warnings[0])
    vetoed = decide(better, champion, baselines={"base": base}, baseline_veto=True)
    assert vetoed.decision == "refuse"


@pytest.mark.parametrize(("measure", "said"), [
    ("rouge_l", "ROUGE-L is 0.750, the champion's 0.500: better by 0.250 "),
    ("exact_match", "exact match is 75.0 %, the champion's 50.0 %: better by 25.0 points"),
])
def test_other_measures_have_their_own_words(measure, said):
    ids = [str(i) for i in range(400)]
    sides = [{"first": Scored(ids, np.arange(400) < right)} for right in (300, 200)]
    verdict = decide(*sides, measure=measure)
    assert verdict.promoted and said in verdict.reasons[0]
    assert verdict.p == mcnemar(100, 0)
    with pytest.raises(DataError, match="did you mean 'rouge_l'"):
        decide(*sides, measure="rouge")


def test_rows_in_another_order_are_brought_together():
    challenger, champion = losses(np.random.default_rng(0), 300, 0.1)
    one = champion["first"]
    turned = {"first": Scored(one.ids[::-1], one.scores[::-1], one.weights[::-1])}
    assert decide(challenger, turned) == decide(challenger, champion)


def test_what_cannot_be_compared_is_refused():
    challenger, champion = losses(np.random.default_rng(0), 300, 0.1)
    one = champion["first"]
    with pytest.raises(DataError, match="not shared"):
        decide(challenger, {"first": Scored(["x", *one.ids[1:]], one.scores, one.weights)})
    with pytest.raises(DataError, match="same test sets"):
        decide(challenger, {"second": one})
    with pytest.raises(DataError, match="count the same tokens"):
        decide(challenger, {"first": Scored(one.ids, one.scores, one.weights + 1)})
    with pytest.raises(DataError, match="more than one test set"):
        decide(challenger | {"again": challenger["first"]}, champion)
    with pytest.raises(DataError, match="no test set"):
        decide({}, champion)
    with pytest.raises(DataError, match="stands 2 times"):
        Scored(["a", "a"], [1, 2])
    with pytest.raises(DataError, match="row 'b' has the score nan"):
        Scored(["a", "b"], [1, np.nan])
    with pytest.raises(DataError, match="row 'a' has the weight 0.0"):
        Scored(["a"], [1], [0])
    with pytest.raises(DataError, match="one of each per row"):
        Scored(["a"], [1, 2])


def test_a_verdict_is_the_same_each_time_and_is_plain_json_with_its_measure():
    sides = losses(np.random.default_rng(4), 300, 0.1)
    verdict = decide(*sides)
    assert decide(*sides) == verdict and decide(*sides, seed=1) != verdict
    told = json.loads(json.dumps(verdict.to_dict()))
    assert told["measure"] == "loss" and "challenger_accuracy" not in told
    assert means(told) == (verdict.challenger_score, verdict.champion_score, verdict.p)


def test_the_test_of_signs_is_exact_for_few_rows_and_close_for_many():
    rng = np.random.default_rng(0)
    few = rng.normal(0.5, 1, 9)
    reached = [abs(np.dot(signs, few)) >= abs(few.sum()) - 1e-12
               for signs in product((-1, 1), repeat=9)]
    assert sign_flips(few, 1, rng) == pytest.approx(np.mean(reached))
    assert sign_flips(np.r_[few, np.zeros(50)], 1, rng) == pytest.approx(np.mean(reached))
    many = rng.normal(0.1, 1, 500)
    from scipy.stats import norm

    close = 2 * norm.sf(abs(many.sum()) / np.sqrt((many ** 2).sum()))
    assert sign_flips(many, 4000, rng) == pytest.approx(close, abs=0.02)
    assert sign_flips(np.r_[np.full(10, 0.1), np.full(2, -0.1)], 1, rng) == mcnemar(10, 2)


def test_a_model_alone_has_an_interval_in_its_measure_s_unit():
    _, champion = losses(np.random.default_rng(1), 300, 0.0)
    one = champion["first"]
    value, lower, upper = interval(champion, measure="loss")
    assert value == pytest.approx((-one.scores * one.weights).sum() / one.weights.sum())
    assert 0 < lower < value < upper
    ids = [str(i) for i in range(300)]
    value, lower, upper = interval({"a": Scored(ids, np.arange(300) < 150)}, measure="exact_match")
    assert value == 0.5 and 0.43 < lower < 0.46 and 0.54 < upper < 0.57
