"""Where each value of a config comes from, and what a model's own recipe goes over."""

import json

import pytest
import yaml

from ftzard.config import listing
from ftzard.config.compose import compose, resolve, to_record
from ftzard.config.requests import leaves
from ftzard.errors import ConfigError

MODEL = """defaults: [falcon_7b, _self_]
name: mine
recipe:
  training: {learning_rate: 0.0003, epochs: 1, batch_size: 16}
  tuning: {rank: [8, 64], trials: 4}
"""


@pytest.fixture
def folder(tmp_path):
    """A workspace's own config/: a model with a recipe, and a training that says one thing."""
    for name, text in {"model/mine": MODEL, "model/heir": "defaults: [mine, _self_]\nname: heir\n"
                       "recipe: {training: {epochs: 2}}\n",
                       "training/long": "defaults: [default, _self_]\nepochs: 40\n"}.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


class TestSources:
    def test_every_value_has_a_source(self):
        resolved = resolve()
        assert set(resolved.sources) == set(leaves(to_record(resolved.config)))
        assert set(resolved.sources.values()) == {"default"}

    def test_preset_file_launchpad_and_override_are_told_apart(self):
        resolved = resolve({"model": "falcon_7b", "training": {"epochs": 4}, "seed": 1},
                           {"training": {"rank": 8}, "overrides": ["seed=2"]},
                           names=("ftzard.yaml", "Launchpad"))
        assert {key: resolved.sources[key] for key in (
            "model.quantisation", "training.epochs", "training.rank", "seed", "threads")} == {
                "model.quantisation": "preset falcon_7b", "training.epochs": "ftzard.yaml",
                "training.rank": "Launchpad", "seed": "override", "threads": "default"}
        assert resolved.choices["model"] == ("falcon_7b", "ftzard.yaml")

    def test_what_the_file_says_as_an_override_string_is_the_file_s(self):
        resolved = resolve({"overrides": ["seed=2"]}, names=("ftzard.yaml",))
        assert resolved.sources["seed"] == "ftzard.yaml"

    def test_the_later_request_is_the_source(self):
        resolved = resolve({"model": {"build": {"layers": 2}}},
                           {"overrides": ["model.build.layers=3", "model.build.width=60"]},
                           names=("ftzard.yaml", "Launchpad"))
        assert resolved.sources["model.build.layers"] == "override"
        assert resolved.sources["model.build.heads"] == "default"

    def test_a_choice_of_the_workspace_is_named_by_its_file(self, folder):
        resolved = resolve({"training": "long"}, folder=folder)
        assert resolved.sources["training.epochs"] == "config/training/long.yaml"
        assert resolved.sources["training.rank"] == "default"


class TestRecipe:
    def test_it_goes_over_the_packaged_defaults(self, folder):
        resolved = resolve({"model": "mine"}, folder=folder)
        training, tuning = resolved.config.training, resolved.config.tuning
        assert (training.learning_rate, training.epochs, training.batch_size) == (3e-4, 1, 16)
        assert (tuning.rank, tuning.trials) == ([8, 64], 4)
        assert resolved.sources["training.learning_rate"] == "config/model/mine.yaml"
        assert resolved.sources["training.rank"] == "default"

    def test_the_workspace_s_choices_and_values_win(self, folder):
        resolved = resolve({"model": "mine", "training": {"choice": "long", "batch_size": 2}},
                           {"overrides": ["tuning.trials=1"]}, folder=folder,
                           names=("ftzard.yaml", "Launchpad"))
        training = resolved.config.training
        assert (training.epochs, training.batch_size, training.learning_rate) == (40, 2, 3e-4)
        assert resolved.config.tuning.trials == 1
        assert resolved.sources["training.epochs"] == "config/training/long.yaml"

    def test_a_model_inherits_the_recipe_of_the_one_it_is_made_of(self, folder):
        resolved = resolve({"model": "heir"}, folder=folder)
        assert (resolved.config.training.epochs, resolved.config.training.batch_size) == (2, 16)
        assert resolved.sources["training.epochs"] == "config/model/heir.yaml"
        assert resolved.sources["training.batch_size"] == "config/model/mine.yaml"

    def test_a_packaged_model_s_recipe_is_named_by_its_preset(self):
        resolved = resolve({"model": "falcon_7b"})
        assert resolved.config.training.learning_rate == 2e-4
        assert resolved.sources["training.learning_rate"] == "preset falcon_7b"

    @pytest.mark.parametrize(("recipe", "words"), [
        ("{training: {learning_rat: 1}}", "did you mean 'model.recipe.training.learning_rate'"),
        ("{model: {max_length: 8}}", "another group than model"),
        ("{trainnig: {epochs: 1}}", "another group than model"),
        ("3", "expected groups of keys")])
    def test_a_recipe_that_is_not_understood_is_refused(self, folder, recipe, words):
        (folder / "model" / "mine.yaml").write_text(
            f"defaults: [falcon_7b, _self_]\nrecipe: {recipe}\n")
        with pytest.raises(ConfigError, match=words):
            compose({"model": "mine"}, folder=folder)

    def test_a_request_has_no_recipe(self):
        with pytest.raises(ConfigError, match=r"unknown key 'model\.recipe'"):
            compose({"model": {"recipe": {"training": {"epochs": 1}}}})


class TestRevision:
    """A revision belongs to its repository."""

    @pytest.mark.parametrize("requests", [
        ({"model": {"choice": "falcon_7b", "source": "you/yours"}},),
        ({"model": "falcon_7b"}, {"overrides": ["model.source=you/yours"]}),
        ({"overrides": ["model=falcon_7b", "model.source=models/folder"]},),
        ({"model": {"choice": "falcon_7b", "source": "a/b", "revision": "c" * 40}},
         {"overrides": ["model.source=you/yours"]}),
        ({"model": "theirs"},)], ids=str)
    def test_that_of_another_source_is_refused_and_the_remedy_taken(self, requests, folder):
        (folder / "model" / "theirs.yaml").write_text(
            "defaults: [falcon_7b, _self_]\nsource: you/yours\n")
        with pytest.raises(ConfigError, match="set model.revision too"):
            compose(*requests, folder=folder)
        for revision in ("d" * 40, "null"):
            assert compose(*requests, {"overrides": [f"model.revision={revision}"]}, folder=folder)

    def test_the_same_source_and_a_source_without_revision_are_fine(self, folder):
        (folder / "model" / "ours.yaml").write_text(
            "defaults: [falcon_7b, _self_]\nsource: you/yours\nrevision: main\n")
        assert compose({"model": "falcon_7b"}, {"overrides": ["model.source=tiiuae/falcon-7b"]})
        assert compose({"overrides": ["model=local", "model.source=models/mine"]})
        assert compose({"model": "ours"}, folder=folder).model.revision == "main"
        assert compose({"model": {"choice": "ours", "revision": "v2"}}, folder=folder)


class TestShown:
    def test_config_and_plan_show_each_value_s_source(self, ftzard, workspace):
        (workspace.root / "ftzard.yaml").write_text("training: {epochs: 9}\n")
        code, said = ftzard("config", "model=falcon_7b", "seed=3", "-w", workspace.root)
        assert code == 0 and yaml.safe_load(said)["seed"] == 3
        lines = {line.split(":")[0].strip(): line for line in said.splitlines()}
        assert lines["source"].endswith("# preset falcon_7b") or "preset falcon_7b" in said
        assert lines["seed"].endswith("# override")
        assert any(line.strip().startswith("epochs: 9") and line.endswith("# ftzard.yaml")
                   for line in said.splitlines())
        code, said = ftzard("config", "seed=3", "--json", "-w", workspace.root)
        assert code == 0 and json.loads(said)["sources"]["training.epochs"] == "ftzard.yaml"

    def test_values_of_every_shape_are_read_back_from_what_is_shown(self):
        resolved = resolve({"data": {"labels": {"0": "a: b", "#1": "c\nd"}, "link": "x\ny # z",
                                     "mention": "", "delimiter": "\t"},
                            "tuning": {"rank": [8, 16]}})
        assert yaml.safe_load(listing.as_yaml(resolved)) == to_record(resolved.config)
