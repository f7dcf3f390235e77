"""What a run's description says: round, delivery, version, and what came out."""

import pytest

from ftzard.steps import run_description

VERDICT = {"decision": "refuse", "reasons": ["No gain on [rows]."]}


def test_a_verdict_is_told_with_model_and_reasons_that_markdown_leaves_alone():
    said = run_description.of_step(
        "evaluation", {"version": 3, "model": "reviews", "verdict": VERDICT}, {}, round=2,
        batch="march_*.csv", dagster="http://127.0.0.1:3000/runs/d1")
    assert said.tags == {"round": "2", "batch": "march_*.csv", "version": "3",
                         "model_version": "reviews@3", "verdict": "refuse"}
    first, about, where = said.note.split("\n\n")
    assert first == (r"**Round 2**, march\_\*.csv: reviews@3, verdict refuse. No gain on "
                     r"\[rows\].")
    assert about.startswith("Compare challenger") and where == (
        "[Dagster run](http://127.0.0.1:3000/runs/d1)")


@pytest.mark.parametrize(("step", "facts", "rows", "words"), [
    ("cleaning", {}, {"cleaned": 1200, "rejected": 3, "delivery": None},
     "cleaned 1,200 rows, rejected 3 rows."),
    ("tuning", {"trials": [{"metrics": {"accuracy": 0.8125, "epoch": 2}}, {}]}, {},
     "best of 2 trials, on validation rows: accuracy 0.8125."),
    ("retraining", {"trials": [{}], "version": 4, "model": "reviews"}, {},
     "registered reviews@4.")])
def test_other_steps_say_what_they_made(step, facts, rows, words):
    said = run_description.of_step(step, facts, rows, round=1, batch=None, dagster=None)
    assert said.note.startswith(f"**Round 1**: {words}") and "by hand" in said.note


def test_a_round_is_one_per_judged_version_and_the_next(workspace):
    folder = workspace.root / "models" / "reviews"
    assert run_description.round_of(workspace, "reviews", decided=False) == 1
    folder.mkdir()
    (folder / "1.yaml").write_text("version: 1\nverdict:\n  decision: promote\n")
    (folder / "2.yaml").write_text("version: 2\nmodel: reviews\n")
    assert run_description.round_of(workspace, "reviews", decided=False) == 2
    assert run_description.round_of(workspace, "reviews", decided=True) == 1


def test_a_step_is_about_its_own_delivery_before_the_latest():
    assert run_description.batch_of({"delivered_as": "a.csv"}, {"delivered_as": "b.csv"}) == "a.csv"
    assert run_description.batch_of({"batch": "ab12"}, {"delivered_as": "b.csv"}) == "b.csv"
    assert run_description.batch_of({"batch": "ab12"}, {}) == "ab12"
    assert run_description.batch_of({}, {}) is None
