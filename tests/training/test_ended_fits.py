"""A search that is widened keeps the trials it has; only what is the same counts as the same."""

import pytest

from ftzard.core import installed
from ftzard.training.ended_fits import EndedFits
from tests.training_calls import search

SPACE = {"rank": [2, 4], "batch_size": 16, "learning_rate": [1e-4, 1e-2], "weight_decay": 0.0,
         "dropout": 0.0}


@pytest.fixture
def searched(loaded, train_rows, validation_rows, tmp_path):
    """Search with a folder of ended fits; returns the trials by number and the steps trained."""
    made = []

    def run(**changes):
        steps = []
        made.append(1)
        results = EndedFits(tmp_path / "results", lambda: f"search {len(made)}")
        trials = search(loaded, train_rows, validation_rows, **{
            "space": SPACE, "trials": 2, "metric": "validation_loss", "seed": 1,
            "training": {"epochs": 3}, "folder": tmp_path / f"search {len(made)}",
            "results": results, "on_step": lambda done, total: steps.append(done), **changes})
        return {trial.number: trial for trial in trials}, len(steps)

    return run


def test_a_widened_search_trains_only_the_new_trials(searched):
    first, before = searched()
    wider, steps = searched(trials=3)
    assert {number: trial.trained.origin for number, trial in wider.items()} == {
        0: "search 1", 1: "search 1", 2: ""}
    assert steps == before // 2
    assert all(wider[number].recipe == first[number].recipe for number in first)
    assert searched(trials=3, force=True)[1] == steps * 3


def test_a_pruned_trial_counts_only_for_a_search_that_would_prune_it_there(searched):
    pruning = {"prune": True, "trials": 4}
    first, steps = searched(**pruning)
    pruned = {number for number, trial in first.items() if trial.trained.pruned}
    assert pruned
    again, none = searched(**pruning)
    assert none == 0
    assert {number for number, trial in again.items() if trial.trained.pruned} == pruned
    whole, trained = searched(trials=4)
    assert not any(trial.trained.pruned for trial in whole.values())
    assert {number for number, trial in whole.items() if not trial.trained.origin} == pruned
    assert trained > 0
    back, _ = searched(**pruning)
    assert {number for number, trial in back.items() if trial.trained.pruned} == pruned
    assert all(back[number].recipe == first[number].recipe for number in first)


def test_a_fit_whose_files_or_packages_have_changed_is_trained_again(searched, tmp_path,
                                                                      monkeypatch):
    _, steps = searched()
    one, other = sorted((tmp_path / "results").iterdir())
    weights = next(one.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0\0")
    next(other.rglob("ftzard.json")).unlink()
    assert searched()[1] == steps
    assert searched()[1] == 0
    monkeypatch.setattr(installed, "packages", lambda: "others")
    assert searched()[1] == steps
