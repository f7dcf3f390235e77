"""What each model preset brings: its own recipe, a search that fits it, and what is unusual."""

import pytest

from ftzard.config import unusual
from ftzard.config.compose import available, compose, resolve
from ftzard.config.schema import SEARCHED
from ftzard.errors import ConfigError

TUNING = ("tuning",)
PRESETS = available("model")


def refused(*overrides: str) -> str:
    with pytest.raises(ConfigError) as raised:
        unusual.require_usual(resolve({"overrides": list(overrides)}), TUNING)
    return str(raised.value)


class TestPresets:
    @pytest.mark.parametrize("choice", PRESETS)
    def test_each_trains_with_a_value_of_its_own_range_and_searches_around_it(self, choice):
        training, tuning = (config := compose({"model": choice})).training, config.tuning
        if choice != "local":
            low, high = training.learning_rate_range
            assert low <= training.learning_rate <= high
            assert low <= tuning.learning_rate[0] < tuning.learning_rate[1] <= high
        for name in SEARCHED:  # the first trial has the values of `training`
            space, value = getattr(tuning, name), getattr(training, name)
            assert space is None or value in space or min(space) <= value <= max(space), name

    def test_a_base_of_billions_is_not_trained_as_the_falcon_that_is_built_here(self):
        assert compose().training.learning_rate == 0.002
        config = compose({"model": "falcon_7b"})
        assert config.training.learning_rate == 2e-4 and config.training.epochs == 1
        assert vars(config.tuning) == {
            "trials": 4, "prune": True, "metric": "calibrated_loss", "rank": [8, 16, 32, 64],
            "batch_size": [8, 16, 32, 64], "learning_rate": [6e-5, 4e-4],
            "weight_decay": [5e-4, 2e-2], "dropout": [0.03, 0.06]}

    def test_the_workspace_and_the_user_win(self):
        resolved = resolve({"model": "falcon_7b", "training": {"epochs": 4}},
                           {"overrides": ["tuning.trials=2"]}, names=("ftzard.yaml",))
        assert (resolved.config.training.epochs, resolved.config.tuning.trials) == (4, 2)
        assert {key: resolved.sources[key] for key in (
            "training.epochs", "training.batch_size", "tuning.trials")} == {
                "training.epochs": "ftzard.yaml", "training.batch_size": "preset falcon_7b",
                "tuning.trials": "override"}

    def test_a_local_base_says_that_its_learning_rate_is_a_guess_until_one_is_given(self):
        told = unusual.warnings(resolve({"model": "local"}), TUNING)
        assert "guess" in told[0] and "tuning.trials=4" in told[0]
        for remedy in ("training.learning_rate=0.0003", "tuning.learning_rate=[0.0001,0.001]",
                       "tuning.trials=4"):
            assert unusual.warnings(
                resolve({"model": "local", "overrides": [remedy]}), TUNING) == []
        assert unusual.warnings(resolve({"model": "local"}), ("inference",)) == []


class TestSearch:
    def test_a_value_that_is_given_is_not_searched_unless_its_space_is_given_too(self):
        resolved = resolve({"model": "falcon_7b", "overrides": ["training.rank=8"]})
        assert resolved.config.tuning.rank is None and resolved.config.tuning.trials == 4
        assert resolved.sources["tuning.rank"] == "training.rank is given"
        both = compose({"overrides": ["training.rank=8", "tuning.rank=[4,8]"]})
        assert both.tuning.rank == [4, 8]

    def test_with_all_values_given_one_trial_is_left(self):
        given = {"learning_rate": 2e-4, "rank": 8, "batch_size": 8, "weight_decay": 0.0,
                 "dropout": 0.0}
        resolved = resolve({"model": "falcon_7b", "training": given})
        assert resolved.config.tuning.trials == 1
        assert resolved.sources["tuning.trials"] == "nothing is left to search"

    def test_a_space_that_is_given_is_searched(self):
        resolved = resolve({"overrides": ["tuning.learning_rate=[0.001,0.003]"]})
        assert resolved.config.tuning.trials == 2
        assert resolved.sources["tuning.trials"] == "tuning.learning_rate is given"
        assert compose({"overrides": ["tuning.rank=[8]"]}).tuning.trials == 1

    @pytest.mark.parametrize(("overrides", "most"), [
        (["tuning.trials=2", "tuning.rank=null", "tuning.learning_rate=null"], 1),
        (["tuning.trials=3", "tuning.rank=[8]", "training.learning_rate=0.001"], 1),
        (["tuning.trials=4", "training.learning_rate=0.001"], 3),
        (["tuning.trials=2", "training.method=full", "model.quantisation=none",
          "training.learning_rate=0.001"], 1),
    ])
    def test_trials_that_could_not_differ_are_refused_and_the_remedy_works(self, overrides, most):
        with pytest.raises(ConfigError, match=f"trials is .* expected at most {most}"):
            compose({"overrides": overrides})
        kept = [o for o in overrides if not o.startswith("tuning.learning_rate")]
        assert compose({"overrides": [*kept, "tuning.learning_rate=[0.001,0.004]"]})
        assert compose({"overrides": [f"tuning.trials={most}", *overrides[1:]]})


class TestUnusual:
    def test_ten_times_outside_stops_and_names_preset_range_value_and_source(self):
        text = refused("model=falcon_7b", "training.learning_rate=0.01")
        for part in ("training.learning_rate is 0.01 (override)", "25 times above",
                     "preset falcon_7b", "6e-05 to 0.0004", "training.allow_unusual=true"):
            assert part in text
        assert "12 times below" in refused("model=falcon_7b", "training.learning_rate=5e-6")
        assert "tuning.learning_rate is 0.5" in refused("tuning.learning_rate=[0.001,0.5]")
        assert "preset falcon_7b (model.name=mine)" in refused(
            "model=falcon_7b", "model.name=mine", "training.learning_rate=1.0")

    @pytest.mark.parametrize("remedy", ["training.allow_unusual=true",
                                        "training.learning_rate=0.0001"])
    def test_the_remedy_works(self, remedy):
        asked = {"model": "falcon_7b", "training": {"learning_rate": 0.01}}
        unusual.require_usual(resolve(asked, {"overrides": [remedy]}), TUNING)

    def test_a_null_in_place_of_the_range_does_not_lift_the_stop(self):
        off = "training.learning_rate_range=null"
        assert "25 times above" in refused("model=falcon_7b", "training.learning_rate=0.01", off)
        unusual.require_usual(resolve({"overrides": [
            "model=falcon_7b", "training.learning_rate=0.01", off,
            "training.allow_unusual=true"]}), TUNING)
        unusual.require_usual(resolve({"overrides": [
            "model=local", "training.learning_rate=0.01", off]}), TUNING)
        assert unusual.warnings(resolve({"overrides": ["model=falcon_7b", off]}), TUNING) == []

    @pytest.mark.parametrize("ratio", ["500", "10.5", "0", "-1"])
    def test_a_retraining_s_learning_rate_stays_near_the_champion_s(self, ratio):
        said = refused(f"retraining.learning_rate_ratio={ratio}")
        assert f"retraining.learning_rate_ratio is {float(ratio)}" in said
        assert "above 0 and at most 10" in said
        assert compose({"overrides": ["retraining.learning_rate_ratio=10"]})

    def test_outside_by_less_is_only_warned_of(self):
        resolved = resolve({"model": "falcon_7b", "overrides": ["training.learning_rate=0.002"]})
        unusual.require_usual(resolved, TUNING)
        assert "5 times above" in unusual.warnings(resolved, TUNING)[0]
        assert unusual.warnings(resolve({"model": "falcon_7b"}), TUNING) == []

    def test_a_step_that_does_not_train_with_it_is_left_alone(self):
        resolved = resolve({"overrides": ["training.learning_rate=1.0"]})
        unusual.require_usual(resolved, ("cleaning", "inference", "retraining"))
        assert unusual.warnings(resolved, ("inference",)) == []


class TestClassWeights:
    @pytest.mark.parametrize(("given", "kept"), [
        ("balanced", "balanced"), ({"joy": 2, "sad": 0.5}, {"joy": 2.0, "sad": 0.5}),
        ({1: 2}, {"1": 2.0}), (None, None)])
    def test_the_word_a_map_and_nothing_are_taken(self, given, kept):
        assert compose({"training": {"class_weights": given}}).training.class_weights == kept

    @pytest.mark.parametrize(("request_", "words"), [
        ({"training": {"class_weights": "balance"}}, "did you mean 'balanced'"),
        ({"training": {"class_weights": {"joy": 0}}}, "{'joy': 0.0}; expected above 0"),
        ({"training": {"class_weights": {"joy": "x"}}}, "training.class_weights.joy is 'x'"),
        ({"training": {"class_weights": "balanced", "batch_size": 1}}, "batch_size=1"),
        ({"training": {"class_weights": "balanced"}, "task": "instruction_tuning",
          "tuning": {"metric": "perplexity"}}, "an answer has no class"),
        ({"sampling": {"quantile": 1.0}}, "sampling.quantile is 1.0; expected above 0 and below 1"),
        ({"sampling": {"quantile": 0.7, "strategy": "random"}}, "ranks by no uncertainty"),
    ])
    def test_what_cannot_have_an_effect_is_refused(self, request_, words):
        with pytest.raises(ConfigError, match=words):
            compose(request_)
