"""The search: trials apart from each other, ranked on validation, the same for the same seed."""

import math
from dataclasses import replace

import numpy
import pytest

from ftzard.errors import ModelError
from ftzard.modeling.adapter import read_meta
from ftzard.modeling.base_model import load_base
from ftzard.tasks.classification.objective import measure
from ftzard.tasks.classification.predictor import bare_classifier, open_classifier
from ftzard.training.search import check_space, startup_points
from tests.training_calls import search

SPACE = {
    "rank": [2, 4],
    "batch_size": [16, 32],
    "learning_rate": [1e-4, 1e-2],
    "weight_decay": [0.0, 0.02],
    "dropout": 0.0,
}


def run(loaded, train_rows, validation_rows, folder, **changes):
    return search(
        loaded,
        train_rows,
        validation_rows,
        **{
            "space": SPACE,
            "trials": 3,
            "metric": "accuracy",
            "seed": 1,
            "training": {"epochs": 1},
            "folder": folder,
            **changes,
        },
    )


@pytest.fixture
def before(loaded, validation_rows):
    return bare_classifier(loaded).logits(validation_rows["input_ids"])


def test_trials_are_ranked_and_saved_and_leave_the_base_bare(
    loaded, train_rows, validation_rows, tmp_path, before
):
    started, ended = [], []
    found = run(
        loaded, train_rows, validation_rows, tmp_path, extra={"cleaning": {"x": 1}},
        on_trial_start=lambda number, params: started.append((number, params)),
        on_trial_end=lambda trial: ended.append(trial.number),
    )
    assert [number for number, _ in started] == ended == [0, 1, 2]
    assert sorted(trial.number for trial in found) == [0, 1, 2]
    accuracy = [trial.metrics["accuracy"] for trial in found]
    assert accuracy == sorted(accuracy, reverse=True)
    assert numpy.array_equal(
        bare_classifier(loaded).logits(validation_rows["input_ids"]), before
    )
    best = found[0]
    assert best.params == started[best.number][1]
    assert best.params["alpha"] == 2 * best.params["rank"] and best.params["dropout"] == 0.0
    assert read_meta(best.folder)["cleaning"] == {"x": 1}
    assert read_meta(best.folder)["lora"]["rank"] == best.params["rank"]
    logits = open_classifier(best.folder, loaded).logits(validation_rows["input_ids"])
    targets = (validation_rows["label"] == "positive").to_numpy().astype(numpy.int64)
    assert measure(logits, targets)["accuracy"] == best.metrics["accuracy"]


def test_the_seed_fixes_the_search_and_a_trial_does_not_depend_on_those_before(
    loaded, train_rows, validation_rows, tmp_path
):
    first = run(loaded, train_rows, validation_rows, tmp_path / "a", trials=2)
    again = run(loaded, train_rows, validation_rows, tmp_path / "b", trials=2)
    other = run(loaded, train_rows, validation_rows, tmp_path / "c", trials=2, seed=9)

    def results(trials):
        return [
            (t.number, t.params, [entry["validation_loss"] for entry in t.trained.history])
            for t in sorted(trials, key=lambda trial: trial.number)
        ]

    assert results(first) == results(again) != results(other)


WIDE = {"rank": [8, 16, 32], "batch_size": 32, "learning_rate": [1e-4, 1e-2],
        "weight_decay": 0.0, "dropout": 0.0}


@pytest.mark.parametrize("seed", range(20))
def test_the_first_trial_has_the_given_values_and_the_next_differ_from_it_and_each_other(seed):
    points = startup_points(WIDE, 4, seed, {"learning_rate": 1e-3, "rank": 16, "dropout": 0.3})
    assert len(points) == 4 and points[0] == {"learning_rate": 1e-3, "rank": 16}
    assert points == startup_points(WIDE, 4, seed, {"learning_rate": 1e-3, "rank": 16})
    for i, one in enumerate(points):
        assert 1e-4 <= one["learning_rate"] <= 1e-2 and one["rank"] in WIDE["rank"]
        for other in points[:i]:
            factor = abs(math.log(one["learning_rate"] / other["learning_rate"]))
            assert factor > math.log(100) / 5 or one["rank"] != other["rank"]


def test_a_value_outside_of_the_space_is_not_the_first_trial():
    point = startup_points(WIDE, 1, 0, {"learning_rate": 0.5, "rank": 16})[0]
    assert point["rank"] == 16 and 1e-4 <= point["learning_rate"] <= 1e-2


def test_a_finite_space_is_gone_through_once_and_no_trial_repeats_another():
    space = {**WIDE, "learning_rate": 1e-3, "rank": [2, 4, 6], "batch_size": [8, 16, 24, 32, 40]}
    points = startup_points(space, 15, 1, {})
    assert len({tuple(point.items()) for point in points}) == 15


def test_the_search_begins_with_the_given_values(loaded, train_rows, validation_rows, tmp_path):
    found = run(loaded, train_rows, validation_rows, tmp_path, trials=2,
                first={"learning_rate": 2e-3, "rank": 4, "batch_size": 16, "weight_decay": 0.01})
    first = min(found, key=lambda trial: trial.number)
    assert first.params == {"learning_rate": 2e-3, "rank": 4, "batch_size": 16, "alpha": 8.0,
                            "weight_decay": 0.01, "dropout": 0.0}
    assert first.params != max(found, key=lambda trial: trial.number).params


@pytest.mark.parametrize(("space", "trials", "message"), [
    ({**WIDE, "learning_rate": 1e-3, "rank": 8}, 2, "trials is 2, .* has 1 different set of"),
    ({**WIDE, "learning_rate": [1e-3, 1e-3], "rank": [8]}, 3, "Set tuning.trials=1"),
    ({**WIDE, "learning_rate": 1e-3}, 4, "has 3 different sets of values; expected at most 3"),
])
def test_trials_that_could_not_differ_are_refused(
    loaded, train_rows, validation_rows, tmp_path, space, trials, message
):
    with pytest.raises(ModelError, match=message):
        run(loaded, train_rows, validation_rows, tmp_path, space=space, trials=trials)


def test_a_loss_as_metric_is_ranked_from_the_lowest(
    loaded, train_rows, validation_rows, tmp_path
):
    found = run(loaded, train_rows, validation_rows, tmp_path, metric="validation_loss")
    losses = [trial.metrics["validation_loss"] for trial in found]
    assert losses == sorted(losses)


def test_training_in_full_searches_no_values_of_an_adapter(
    spec, train_rows, validation_rows, tmp_path
):
    loaded = load_base(replace(spec, quantisation="none"), ["negative", "positive"], device="cpu")
    found = run(loaded, train_rows, validation_rows, tmp_path, trials=2,
                training={"epochs": 1, "method": "full"})
    for trial in found:
        assert set(trial.params) == {"batch_size", "learning_rate", "weight_decay"}
        assert read_meta(trial.folder)["method"] == "full"
        assert trial.recipe["training"]["method"] == "full"
    assert set(found[0].recipe["params"]) == {"batch_size", "learning_rate", "weight_decay"}


def test_a_failing_trial_takes_its_adapter_off(
    loaded, train_rows, validation_rows, tmp_path, before
):
    with pytest.raises(ModelError, match="label"):
        run(loaded, train_rows.assign(label="x"), validation_rows, tmp_path)
    assert numpy.array_equal(
        bare_classifier(loaded).logits(validation_rows["input_ids"]), before
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learning_rat": 1}, "'learning_rat'; did you mean 'learning_rate'"),
        ({"rank": []}, "rank is \\[\\]; expected one number, or a list"),
        ({"learning_rate": [0, 1]}, "above 0"),
        ({"learning_rate": [1e-2, 1e-3]}, "lowest, highest"),
        ({"dropout": [0.1]}, "dropout is \\[0.1\\]"),
        ({"rank": [8, "16"]}, "expected one number, or a list"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(change, said):
    with pytest.raises(ModelError, match=said):
        check_space({**SPACE, **change})
    with pytest.raises(ModelError, match="lacks 'rank'"):
        check_space({name: value for name, value in SPACE.items() if name != "rank"})


def test_no_trials_and_an_unknown_metric_are_refused(
    loaded, train_rows, validation_rows, tmp_path
):
    with pytest.raises(ModelError, match="trials is 0"):
        run(loaded, train_rows, validation_rows, tmp_path, trials=0)
    with pytest.raises(ModelError, match="did you mean 'macro_f1'"):
        run(loaded, train_rows, validation_rows, tmp_path, metric="macro_f")


@pytest.mark.slow
def test_a_trial_below_the_earlier_ones_is_stopped_and_ranked_last(
    loaded, train_rows, validation_rows, tmp_path
):
    space = {"rank": 4, "batch_size": 16, "learning_rate": [1e-6, 5e-3], "weight_decay": 0.0,
             "dropout": 0.0}
    found = {}
    for prune in (True, False):
        found[prune] = run(loaded, train_rows, validation_rows, tmp_path / str(prune), trials=4,
                           space=space, training={"epochs": 4, "patience": 9}, prune=prune,
                           metric="validation_loss", seed=2)
    assert not any(trial.trained.pruned for trial in found[False])
    stopped = [trial for trial in found[True] if trial.trained.pruned]
    assert stopped and found[True][-len(stopped):] == stopped
    for trial in stopped:
        whole = next(t for t in found[False] if t.number == trial.number)
        assert 2 <= len(trial.trained.history) < len(whole.trained.history)
        losses = [e["validation_loss"] for e in whole.trained.history]
        told = [e["validation_loss"] for e in trial.trained.history]
        assert told == losses[: len(told)]
    assert found[True][0].recipe == found[False][0].recipe
