"""The budget of a line of champions: what a decision may spend, who is promoted, what is stored."""

from dataclasses import replace

import numpy as np
import pytest

from ftzard.evaluation import error_budget, gate
from ftzard.evaluation.error_budget import allowance, levels, standing
from tests.evaluation.simulated import CLASSES, LIMITS, counted, losses, pair
from tests.evaluation.simulated_lines import SCORES, promotions

KEY = error_budget.key_of("challenger", "champion", "rows")


def judged(challenger, champion, accounts=(), *, rounds=20, budget=0.05, **changed):
    allowed = allowance(budget, rounds, accounts, cap=0.025, key=KEY)
    return gate.judge(challenger, champion, LIMITS, **{
        "classes": CLASSES, "baselines": {}, "seed": 0, "allowance": allowed} | changed)


def account(number: int, *, level=0.01, earned=0.0, batches="a", is_counted=True) -> dict:
    return {"round": number, "counted": is_counted, "level": level,
            "spent": level if is_counted else 0.0, "earned": earned,
            "rows": dict.fromkeys(batches, 500), "key": {**KEY, "rows": str(number)}}


def test_the_levels_of_all_rounds_add_up_to_the_budget():
    assert sum(levels(0.05, 20)) == pytest.approx(0.05)
    assert levels(0.05, 20) == sorted(levels(0.05, 20), reverse=True)
    assert levels(0.05, 20)[0] == pytest.approx(0.05 / sum(1 / r for r in range(1, 21)))


def test_hardly_any_line_promotes_a_model_that_is_no_better():
    """At most 6 % of lines of 20 rounds; a gate that begins anew each round does so in a fifth."""
    assert promotions(200, seed=1)[0] <= 0.06
    assert promotions(200, budget=None, seed=1)[0] >= 0.15
    assert promotions(200, alike=0.9, seed=2)[0] <= 0.06


def test_a_true_gain_in_round_ten_is_promoted_in_three_lines_of_five():
    assert promotions(300, better_in=10, rounds=10, seed=3)[1] >= 0.6
    assert promotions(200, kind=SCORES, better_in=10, rounds=10, seed=4)[1] >= 0.6


def test_the_interval_and_the_rows_needed_are_those_of_the_round_s_level():
    sides = counted(wins=70, losses=50, both=880)
    early, late = judged(*sides), judged(*sides, [account(n) for n in range(1, 4)])
    today = judged(*sides, allowance=None)
    assert early.error_budget["level"] > late.error_budget["level"]
    assert late.lower < early.lower < today.lower
    assert late.rows_needed > early.rows_needed > today.rows_needed
    assert "97.2" in early.reasons[0] and "decision 1 of 20" in early.reasons[1]
    assert "error_budget" not in today.to_dict()


def test_a_gain_that_one_round_would_show_is_not_enough_late_in_a_line():
    sides = counted(wins=75, losses=45, both=880)
    assert judged(*sides, allowance=None).promoted and judged(*sides).promoted
    assert not judged(*sides, [account(n, level=0.003) for n in range(1, 15)]).promoted


def test_fresh_rows_earn_the_level_back_and_used_ones_do_not():
    sides = counted(wins=120, losses=20, both=860)
    fresh, used = judged(*sides), judged(*sides, [account(1, batches=["first"])])
    assert fresh.promoted and used.promoted
    assert fresh.error_budget["earned"] == fresh.error_budget["spent"] > 0
    assert fresh.error_budget["left"] == pytest.approx(0.05)
    assert used.error_budget["earned"] == 0 and used.error_budget["used"] == {"first": 1}
    assert used.error_budget["fresh_rows"] == 0


def test_what_could_promote_nothing_spends_nothing():
    few = judged(*counted(wins=5, losses=1, both=100))
    same = judged(*counted(wins=0, losses=0, both=900))
    first = judged(counted(wins=80, losses=20, both=900)[0], None)
    for verdict in (few, same, first):
        assert verdict.error_budget["spent"] == 0 and verdict.error_budget["left"] == 0.05
        assert verdict.error_budget["rows"]  # but it has used the rows
    assert not any("error budget" in reason for reason in first.reasons)


def test_after_the_last_round_nothing_is_promoted_until_the_horizon_is_longer():
    spent = [account(n, level=0.001) for n in range(1, 4)]
    sides = counted(wins=150, losses=10, both=840)
    over = judged(*sides, spent, rounds=3)
    assert (over.decision, over.promoted) == ("cannot tell", False)
    assert "gate.rounds is 3" in over.reasons[1]
    assert judged(*sides, spent, rounds=4).promoted


def test_vetoes_stay_at_the_configured_confidence():
    """What keeps the champion needs no budget: a loss that is shown at 95 % still vetoes."""
    gained = counted(wins=200, losses=0, both=800, label=1)
    lost = counted(wins=1, losses=17, both=102, label=0, name="other")
    sides = [{**gained[i], **lost[i]} for i in range(2)]
    spent = [account(n, level=0.003) for n in range(1, 15)]
    for accounts in ((), spent):
        assert judged(*sides, accounts).decision == "refuse"
        assert any("Veto by class 'negative'" in r for r in judged(*sides, accounts).reasons)


def test_scores_are_tested_at_the_round_s_level_too():
    rng = np.random.default_rng(5)
    verdict = judged(*losses(rng, 600, 0.15), [account(1)], measure="loss", classes=())
    assert verdict.promoted and verdict.error_budget["round"] == 2
    assert gate.from_dict(verdict.to_dict()) == verdict


def test_a_stored_verdict_is_read_back_as_it_was():
    verdict = judged(*pair(np.random.default_rng(0), 1000, 0.05, 0.2))
    assert gate.from_dict(verdict.to_dict()) == verdict
    today = judged(*pair(np.random.default_rng(0), 1000, 0.05, 0.2), allowance=None)
    assert gate.from_dict(today.to_dict()) == today


def decision(version: int, number: int, **key) -> dict:
    return {"version": version, "decisions": [{
        "decision": "refuse", "promoted": False, "decided": f"2026-01-0{number}",
        "rows_needed": 3000, "error_budget": {
            **account(number), "left": 0.05 - 0.01 * number, "fresh_rows": 0,
            "key": KEY | {"rows": f"rows {number}"} | key}}]}


def test_one_challenger_champion_and_row_set_is_one_decision_in_however_many_records():
    records = [decision(2, 1), decision(3, 1), decision(4, 2)]
    made = error_budget.decisions(records)
    assert [entry["version"] for entry in made] == [2, 4]
    assert error_budget.stored(made, KEY | {"rows": "rows 2"})["version"] == 4
    assert error_budget.stored(made, KEY | {"rows": "reviewed"}) is None
    assert error_budget.stored(made, KEY | {"rows": "rows 2", "champion": "other"}) is None


def test_a_promoted_challenger_asked_again_has_the_decision_that_promoted_it():
    record = decision(2, 1)
    record["decisions"][0] |= {"promoted": True, "decision": "promote"}
    itself = KEY | {"rows": "rows 1", "champion": KEY["challenger"]}
    assert error_budget.stored(error_budget.decisions([record]), itself)["version"] == 2
    assert error_budget.stored(error_budget.decisions([decision(2, 1)]), itself) is None


def test_the_standing_says_what_is_left_and_how_many_fresh_rows_would_tell():
    told = standing([decision(2, 1), decision(3, 2)], 0.05, 20, cap=0.025)
    assert told["left"] == pytest.approx(0.03) and told["decided"] == 2
    assert told["fresh_rows_needed"] == 2500
    assert "3 % of 5 % are left after 2 of 20 decisions" in told["sentence"]
    assert "2,500 more audit rows" in told["sentence"]
    assert standing([], None, 20, cap=0.025) is None


def test_a_budget_of_null_is_the_gate_without_one():
    assert replace(LIMITS, error_budget=None) == LIMITS
