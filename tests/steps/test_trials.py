"""Choosing takes trials that were trained on the rows it has, and calls batches by their files."""

from types import SimpleNamespace

import pytest

from ftzard.errors import DataError
from ftzard.evaluation import gate
from ftzard.steps import evaluation
from ftzard.steps.step_run import start_step
from ftzard.steps.trials import fetch_adapter
from tests.trained import own, trained  # noqa: F401 - fixtures


@pytest.mark.slow
def test_trials_of_other_rows_are_refused(own, monkeypatch):  # noqa: F811
    """The record of the model would say that it learned rows which it has never seen."""
    monkeypatch.setenv("FTZARD_WORKSPACE", str(own.root))
    told = {"facts": {"trials": [{"name": "trial 0"}], "tokenized": "0" * 64}}
    run = start_step("choosing", {"overrides": [], "tuning_metadata": told})
    with pytest.raises(DataError, match="trained on other rows than .* Run 'ftzard run tuning_job"):
        fetch_adapter(run, told["facts"]["trials"][0])


def test_a_verdict_calls_batches_by_their_files(limits):
    batch, ids, labels = "caaac4d6aecf", [f"r{n}" for n in range(400)], ["a", "b"] * 200
    worse = gate.Predicted(ids, labels, ["a"] * 400)
    verdict = gate.judge({batch: worse}, {batch: gate.Predicted(ids, labels, labels)}, limits,
                         classes=["a", "b"], seed=0, baselines={})
    assert any(f"Veto by test set '{batch}'" in line for line in verdict.reasons)
    named = evaluation._named(SimpleNamespace(delivered_as={batch: "may.csv"}), verdict)
    assert any("Veto by test set 'may.csv (caaac4d)'" in line for line in named.reasons)
    assert (named.decision, named.per_test_set) == (verdict.decision, verdict.per_test_set)


@pytest.fixture
def limits():
    from ftzard.config.compose import compose

    return compose({}, {"gate": {"resamples": 200}}).gate
