"""What a config may say, what is refused, and that a refusal names everything at once."""

import json
import re
from dataclasses import fields, is_dataclass

import pytest
import yaml

from ftzard.config.compose import (
    PACKAGED,
    available,
    compose,
    defaults,
    digest,
    flat,
    from_record,
    to_record,
)
from ftzard.config.schema import GROUPS, Config
from ftzard.errors import ConfigError
from ftzard.workspace.workspace import Workspace

CHOICES = [(group, choice) for group in GROUPS for choice in available(group)]
FILES = sorted(PACKAGED.rglob("*.yaml"))
TYPES = re.compile(r"\b(str|int|float|bool|list|map|null)\b")


def refusal(*requests: dict, **more) -> str:
    with pytest.raises(ConfigError) as refused:
        compose(*requests, **more)
    return str(refused.value)


class TestPackagedFiles:
    @pytest.mark.parametrize(("group", "choice"), CHOICES, ids=str)
    def test_every_choice_composes(self, group, choice):
        more = {}
        if (group, choice) in (("task", "instruction_tuning"), ("data", "instructions")):
            more = {"task": "instruction_tuning", "tuning": {"metric": "validation_loss"}}
        if group == "compute":
            more = {"compute": {"address": "http://head:8265", "storage": "s3://bucket/ftzard"}}
        assert compose(more, {group: {"choice": choice}}) == compose(
            more, {"overrides": [f"{group}={choice}"]}) == compose(more, {group: choice})

    @pytest.mark.parametrize("model", ["mistral_7b_instruct", "falcon_7b", "falcon_tiny"])
    @pytest.mark.parametrize("task", ["classification", "instruction_tuning"])
    def test_a_decoder_is_configured_for_both_tasks(self, model, task):
        metric = "accuracy" if task == "classification" else "validation_loss"
        assert compose({"task": task, "model": model, "tuning": {"metric": metric}})

    @pytest.mark.parametrize(("asked", "expected"), [
        ({"tuning": {"metric": "accuracy"}}, "validation_loss or perplexity"),
        ({"sampling": {"strategy": "margin"}}, "least_confidence, mix or random"),
        ({"data": {"labels": {"0": "no"}}}, "an answer is free text"),
        ({"data": {"sample_rows": 5, "sample_stratified": True}}, "labels to keep the shares of"),
        ({"task": {"instructions": {"score": "rouge_l", "generated_rows": 20}}}, "rouge_l is meas"),
        ({"task": {"instructions": {"max_new_tokens": 0}}}, "1 or more"),
        ({"data": {"mix": {"a.jsonl": 0.0}}}, "each with a weight above 0"),
        ({"data": {"mix": {"a.jsonl": 1.0}, "source": "b.jsonl"}}, "null beside data.mix"),
    ], ids=lambda value: str(value)[:40])
    def test_what_instruction_tuning_cannot_use_is_refused(self, asked, expected):
        begun = {"task": "instruction_tuning", "data": "instructions",
                 "tuning": {"metric": "validation_loss"}}
        assert expected in refusal(begun, asked)

    @pytest.mark.parametrize("asked", [
        {"task": {"instructions": {"template": "alpaca"}}}, {"tuning": {"metric": "perplexity"}},
        {"data": {"input_column": "about"}}, {"data": {"messages_column": "chats"}}], ids=str)
    def test_what_classification_cannot_use_is_refused(self, asked):
        assert "classification" in refusal(asked) or "is missing" in refusal(asked)

    def test_the_groups_of_the_design_are_there(self):
        assert set(GROUPS) >= {"data", "task", "model", "training", "tuning", "sampling", "gate",
                               "tracking", "paths"}
        assert set(defaults()) == set(GROUPS)
        assert set(available("model")) >= {"falcon_tiny", "falcon_7b"}

    def test_falcon_7b_is_the_seed_s_qlora_on_a_pinned_revision(self):
        model = compose({"model": "falcon_7b"}).model
        assert (model.source, model.quantisation, model.compute_dtype, model.build) == (
            "tiiuae/falcon-7b", "nf4", "bfloat16", None)
        assert re.fullmatch("[0-9a-f]{40}", model.revision)
        assert sorted(model.lora_targets) == ["dense", "dense_4h_to_h", "dense_h_to_4h",
                                              "query_key_value"]

    @pytest.mark.parametrize("file", FILES, ids=lambda p: p.relative_to(PACKAGED).as_posix())
    def test_every_key_has_a_comment_above_it(self, file):
        """A comment covers the keys that follow it without a blank line, five at most."""
        bare, comment, covered = [], "", 0
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if line.strip().startswith("#"):
                comment, covered = (comment if not covered else "") + line, 0
            elif not line.strip():
                comment, covered = "", 0
            elif match := re.match(r"(\s*)(\w+):", line):
                if match[2] == "defaults" and not match[1]:
                    continue
                covered += 1
                typed = file.parent.name == "dagster" or TYPES.search(comment)
                if not comment or not typed or file.parent.name != "dagster" and covered > 5:
                    bare.append(f"{file.name}:{number} {line}")
        assert not bare, "\n".join(bare)

    def test_every_key_of_the_schema_stands_in_the_file_of_its_group(self):
        for group, choice in defaults().items():
            said = yaml.safe_load((PACKAGED / group / f"{choice}.yaml").read_text())
            kind = next(f.type for f in fields(Config) if f.name == group)
            assert is_dataclass(kind)
            assert set(said) - {"recipe"} == {f.name for f in fields(kind)}, group


class TestRefusals:
    @pytest.mark.parametrize(("said", "words"), [
        ({"trainnig": {"epochs": 1}}, ["trainnig", "did you mean 'training'"]),
        ({"training": {"epoch": 1}},
         ["unknown key 'training.epoch'; did you mean 'training.epochs'"]),
        ({"overrides": ["training.epoch=1"]}, ["'training.epoch'; did you mean 'training.epochs'"]),
        ({"overrides": ["modle=falcon_tiny"]}, ["'modle'", "did you mean 'model'"]),
        ({"model": {"choice": "falcon_8b"}}, ["falcon_8b", "did you mean 'falcon_7b'"]),
        ({"overrides": ["model=falcon_tin"]}, ["falcon_tin", "did you mean 'falcon_tiny'"]),
        ({"training": {"epochs": "two"}}, ["training.epochs is 'two' (str)", "expected int"]),
        ({"training": {"epochs": 1.5}}, ["training.epochs is 1.5 (float)", "expected int"]),
        ({"training": {"epochs": True}}, ["training.epochs is True (bool)", "expected int"]),
        ({"training": {"epochs": 0}}, ["training.epochs is 0", "1 or more"]),
        ({"training": {"dropout": 1.2}}, ["training.dropout is 1.2", "0 or more and below 1"]),
        ({"tuning": {"metric": "acuracy"}}, ["tuning.metric", "did you mean 'accuracy'"]),
        ({"tuning": {"learning_rate": []}}, ["tuning.learning_rate is []"]),
        ({"sampling": {"strategy": "comittee"}}, ["sampling.strategy", "mean 'committee'"]),
        ({"sampling": {"random_share": 1.2}}, ["sampling.random_share is 1.2", "0 to 1"]),
        ({"data": {"train_share": 0.9}}, ["data.train_share", "expected 1"]),
        ({"data": {"labels": "positive"}}, ["data.labels is 'positive'", "expected a map"]),
        ({"model": {"build": {"layers": 2}}, "seed": "x"}, ["seed is 'x'"]),
        ({"model": {"build": None}}, ["model.source is None", "hub id or folder"]),
        ({"paths": {"cleaned": "/etc/cleaned.parquet"}}, ["paths.cleaned", "inside the workspace"]),
        ({"paths": {"cleaned": "data/../../x.parquet"}}, ["paths.cleaned", "inside the workspace"]),
        ({"paths": {"min_free_mb": -1}}, ["paths.min_free_mb is -1", "0 or more"]),
        ({"gate": {"resamples": 3}}, ["gate.resamples is 3", "200 or more"]),
        ({"drift": {"clearing": 0.01}}, ["drift.clearing is 0.01", "above drift.false_alarms"]),
        ({"drift": {"false_alarms": 0.001}}, ["drift.false_alarms is 0.001", "0.0025"]),
        ({"retraining": {"trigger": "label"}}, ["retraining.trigger", "did you mean 'labels'"]),
        ({"training": {"method": "qlora"}}, ["training.method is 'qlora'", "mean 'lora'"]),
        ({"training": {"method": "full"}},
         ["training.method is 'full'", "base in nf4", "model.quantisation=none"]),
        ({"training": {"method": "full"}, "model": {"choice": "falcon_7b", "quantisation": "none"}},
         ["training.method is 'full'", "model.compute_dtype=bfloat16", "lost to rounding"]),
        ({"model": {"compute_dtype": "bfloat16"}}, ["model.train_embeddings is True", "rounding"]),
        ({"model": {"attention": "flash_attention_2"}}, ["model.attention", "sdpa or eager"]),
        ({"model": {"quantisation": "int4"}}, ["model.quantisation", "mean 'int8'"]),
        ({"model": {"lora_targets": []}}, ["model.lora_targets is []", "null for all"]),
        ({"training": {"optimizer": "adamw8"}}, ["training.optimizer", "did you mean 'adamw"]),
        ({"training": {"micro_batch_tokens": 127}},
         ["training.micro_batch_tokens is 127", "model.max_length (128)"]),
        ({"training": 3}, ["3"]),
    ])
    def test_a_wrong_value_is_named_with_what_was_expected(self, said, words):
        sentence = refusal(said)
        assert all(word in sentence for word in words), sentence

    def test_all_mistakes_come_at_once(self):
        lines = refusal({"training": {"epoch": 1, "rank": "x"}, "tuning": {"trails": 2},
                         "overrides": ["seed=abc"]}).splitlines()
        assert len(lines) == 4
        assert {line.split("'")[1] for line in lines if line.startswith("unknown")} == {
            "training.epoch", "tuning.trails"}

    def test_all_broken_limits_come_at_once(self):
        lines = refusal({"training": {"epochs": 0, "patience": 0}, "threads": 0}).splitlines()
        assert len(lines) == 3

    def test_the_same_key_said_twice_differently_is_refused(self):
        sentence = refusal({"training": {"epochs": 2}, "overrides": ["training.epochs=3"]})
        assert "'training.epochs' is given twice" in sentence
        assert "2" in sentence and "3" in sentence
        assert "given twice" in refusal({"model": {"choice": "falcon_tiny"},
                                        "overrides": ["model=falcon_7b"]})
        assert "given twice" in refusal({"overrides": ["seed=1", "seed=2"]})

    def test_a_nested_key_said_twice_differently_is_refused(self):
        assert "given twice" in refusal({
            "model": {"build": {"layers": 2, "width": 64, "heads": 2, "vocabulary": 1024,
                                "seed": 0}},
            "overrides": ["model.build.layers=3"]})

    @pytest.mark.parametrize(("asked", "words"), [
        ({"training.epochs": 2, "training": {"epochs": 3}}, "'training.epochs' is given twice"),
        ({"training": {"epochs": 3}, "training.epochs": 2}, "'training.epochs' is given twice"),
        ({"model.build.layers": 3, "model": {"build": {"layers": 2}}}, "layers' is given twice"),
        ({"data.labels.a": "x", "data": {"labels": {"b": "y", "c": "z"}}}, "are both given"),
        ({"data": {"labels.a": "x", "labels": {"a": "y", "c": "z"}}}, "are both given"),
        ({"overrides": ["data.labels.5=z", "data.labels={5: x, 6: y}"]}, "are both given"),
        ({"overrides": ["data.labels={5: x, 6: y}", "data.labels.5=z"]}, "are both given"),
        ({"overrides": ["model.build=null", "model.build.layers=2"]}, "are both given")], ids=str)
    def test_a_key_dotted_and_nested_with_two_values_is_refused(self, asked, words):
        assert words in refusal(asked)

    def test_a_key_dotted_and_nested_with_one_value_is_fine(self):
        config = compose({"training.epochs": 3, "training": {"epochs": 3},
                          "data.labels.a": "x", "data": {"labels": {"a": "x", "b": "y"}}})
        assert (config.training.epochs, config.data.labels) == (3, {"a": "x", "b": "y"})

    @pytest.mark.parametrize("text", ["training.epochs", "training.epochs=[1", "=3", ""])
    def test_an_override_that_cannot_be_read_is_shown_with_an_example(self, text):
        assert "key=value" in refusal({"overrides": [text]})

    @pytest.mark.parametrize("text", ["~training.epochs", "training.epochs=1,2"])
    def test_deleting_and_sweeping_are_refused(self, text):
        assert "one value" in refusal({"overrides": [text]})


class TestMerging:
    def test_saying_the_same_twice_is_fine(self):
        said = compose({"training": {"epochs": 2}, "overrides": ["training.epochs=2"]})
        assert said.training.epochs == 2

    def test_a_later_request_goes_over_an_earlier_one(self):
        own, run = {"training": {"epochs": 2, "rank": 8}}, {"overrides": ["training.epochs=5"]}
        both = compose(own, run)
        assert (both.training.epochs, both.training.rank) == (5, 8)

    def test_a_choice_keeps_the_values_that_were_said_over_it(self):
        own = {"model": {"max_length": 64}}
        assert compose(own, {"model": {"choice": "falcon_tiny"}}).model.max_length == 64

    def test_one_key_of_the_build_leaves_its_others_as_they_are(self):
        build = compose({"model": {"build": {"layers": 2}}}).model.build
        assert (build.layers, build.width) == (2, 192)
        assert compose({"overrides": ["model.build={layers: 2}"]}).model.build == build

    def test_composing_leaves_the_request_as_it_was(self):
        said = {"model": {"build": {"layers": 2}}}
        compose(said, {"overrides": ["model.build.layers=3"]})
        assert said == {"model": {"build": {"layers": 2}}}

    def test_all_ways_of_saying_it_end_in_the_same_config(self):
        ways = [{"training": {"epochs": 7}, "model": {"choice": "falcon_7b"}},
                {"overrides": ["training.epochs=7", "model=falcon_7b"]}]
        assert digest(compose(ways[0])) == digest(compose(ways[1])) != digest(compose())

    def test_a_record_gives_the_config_back(self):
        config = compose({"data": "sentiment140", "overrides": ["training.learning_rate=1e-4"]})
        assert from_record(to_record(config)) == config
        assert config.training.learning_rate == 1e-4

    def test_an_old_record_that_no_longer_fits_says_so(self):
        with pytest.raises(ConfigError, match="recorded config does not fit"):
            from_record(to_record(compose()) | {"colour": "red"})

    def test_a_record_from_before_a_key_existed_has_its_default(self):
        older = to_record(compose({"overrides": ["model=falcon_7b", "seed=7"]}))
        for group, key in (("training", "method"), ("model", "attention")):
            del older[group][key]
        config = from_record(older)
        assert (config.training.method, config.model.attention) == ("lora", "sdpa")
        assert (config.model.source, config.seed) == ("tiiuae/falcon-7b", 7)

    def test_a_record_without_what_chose_the_epoch_means_what_chose_it_then(self):
        older = to_record(compose())
        del older["tuning"]["metric"]
        assert from_record(older).tuning.metric == "accuracy"
        assert compose().tuning.metric == "calibrated_loss"

    def test_a_workspace_may_bring_choices_of_its_own(self, tmp_path):
        (tmp_path / "training").mkdir()
        text = (PACKAGED / "training" / "default.yaml").read_text()
        (tmp_path / "training" / "long.yaml").write_text(re.sub(r"epochs: \d+", "epochs: 40", text))
        assert compose({"training": "long"}, folder=tmp_path).training.epochs == 40
        assert "long" in refusal({"training": "longer"}, folder=tmp_path)


class TestWorkspaceFile:
    def test_ftzard_yaml_is_read_and_a_run_goes_over_it(self, workspace: Workspace):
        (workspace.root / "ftzard.yaml").write_text("training: {epochs: 9}\nseed: 5\n")
        config = workspace.config({"overrides": ["seed=6"]})
        assert (config.training.epochs, config.seed) == (9, 6)

    @pytest.mark.parametrize(("text", "words"), [
        ("training: [", "is not valid YAML"), ("just words", "expected groups of keys")])
    def test_a_file_that_is_no_config_is_refused(self, workspace: Workspace, text, words):
        (workspace.root / "ftzard.yaml").write_text(text)
        with pytest.raises(ConfigError, match=words):
            workspace.config()


class TestNamesThatHydraMeansSomethingWith:
    @pytest.mark.parametrize("name", [
        "o'neil", "a\\", "a\\'b", "$HOME", "a,b", "[x]", "a b ", "{x: 1}", "a:b", "a=b", 'q"q',
        "#c", "(x)", "50%41", "\u00fc\U0001f600", "~x", "@a", "null", "1e3", "true", "''"])
    def test_a_folder_and_a_choice_of_any_name_are_found(self, name, tmp_path):
        choice = tmp_path / name / "config" / "training" / f"{name}.yaml"
        choice.parent.mkdir(parents=True)
        choice.write_text("defaults: [default, _self_]\nepochs: 7\n")
        config = compose({"training": {"choice": name}}, folder=tmp_path / name / "config")
        assert config.training.epochs == 7

    def test_a_folder_named_like_an_interpolation_is_one(self, tmp_path):
        folder = tmp_path / "${oc.env:HOME}"
        (folder / "training").mkdir(parents=True)
        (folder / "training" / "mine.yaml").write_text("defaults: [default, _self_]\nepochs: 7\n")
        assert compose({"training": {"choice": "mine"}}, folder=folder).training.epochs == 7


def test_what_a_user_names_is_one_value_of_the_record():
    labels = {"0": "Q&A, \u00fc", "1": "a/../b", "2": "x" * 500}
    told = flat({"data": {"labels": labels, "mix": None, "encoding": "utf-8"}, "seed": 1})
    assert json.loads(told.pop("data.labels")) == labels
    assert told == {"data.mix": None, "data.encoding": "utf-8", "seed": 1}


@pytest.mark.parametrize("name", ["", " ", "x" * 501, "two\nlines"])
def test_an_experiment_s_name_is_one_line(name):
    with pytest.raises(ConfigError, match="tracking.experiment"):
        compose({"tracking": {"experiment": name}})
