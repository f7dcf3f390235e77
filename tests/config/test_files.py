"""YAML and .env files as people have them: read as they are meant, or refused with the line."""

import os

import pytest
import yaml

from ftzard.config.compose import compose, resolve
from ftzard.core import yaml_file
from ftzard.errors import ConfigError

TWICE = "training: {epochs: 1}\ndata: {}\ntraining: {rank: 8}\n"


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        yaml_file.parse(text, "mine.yaml")
    return str(refused.value)


class TestKeys:
    @pytest.mark.parametrize(("text", "words"), [
        (TWICE, "'training' stands twice, in line 1 and in line 3"),
        ("data:\n  labels:\n    a: x\n    'a': y\n", "'a' stands twice, in line 3 and in line 4"),
        ("data:\n- {x: 1,\n   x: 2}\n", "'x' stands twice, in line 2 and in line 3"),
        ("data: {labels: {1: a, '1': b}}", "'1' stands twice"),
        ("? [a, b]\n: c\n", "a key is a sequence")])
    def test_a_key_twice_at_any_depth_is_refused_with_both_lines(self, text, words):
        assert words in refusal(text) and refusal(text).startswith("mine.yaml: ")

    def test_it_is_in_every_file_that_a_user_writes(self, workspace, ftzard, tmp_path):
        (workspace.root / "ftzard.yaml").write_text(TWICE)
        assert "'training' stands twice" in ftzard("config", "-w", workspace.root)[1]
        (workspace.root / "ftzard.yaml").write_text("training: long\n")
        own = workspace.root / "config" / "training" / "long.yaml"
        own.parent.mkdir(parents=True)
        own.write_text("defaults: [default, _self_]\nepochs: 3\nepochs: 4\n")
        assert "'epochs' stands twice" in ftzard("config", "-w", workspace.root)[1]
        own.write_text("defaults: [default, _self_]\nepochs: 3\n")
        file = tmp_path / "run.yaml"
        file.write_text("resources:\n  experiment: {}\n  experiment: {}\n")
        said = ftzard("run", "cleaning_job", "-c", file, "-w", workspace.root)[1]
        assert "'experiment' stands twice, in line 2 and in line 3" in said

    def test_raw_labels_stay_as_they_are_written(self):
        text = "data: {labels: {no: a, on: b, 007: c, 1_000: d, 12:30: e, 1.50: f, 1: g, 0x1F: h}}"
        labels = compose(yaml_file.parse(text, "mine.yaml")).data.labels
        assert labels == {"no": "a", "on": "b", "007": "c", "1_000": "d", "12:30": "e",
                          "1.50": "f", "1": "g", "0x1F": "h"}


class TestValues:
    @pytest.mark.parametrize(("text", "value"), [
        ("1e-4", 1e-4), ("1E5", 1e5), (".5e-3", 5e-4), ("5.", 5.0), ("1.0e-4", 1e-4), ("+2", 2),
        ("no", "no"), ("on", "on"), ("12:30", "12:30"), ("1_000", "1_000"), ("010", "010"),
        ("2024-01-01", "2024-01-01"), ("~", None), ("True", True), ("'1e-4'", "1e-4")])
    def test_a_number_is_a_number_and_text_is_text(self, text, value):
        found = yaml_file.parse(f"a: {text}", "mine.yaml")["a"]
        assert found == value and type(found) is type(value)

    def test_a_key_that_wants_a_boolean_or_a_count_takes_people_s_ways_of_writing_it(self):
        said = yaml_file.parse("versioning: {push: off}\ntuning: {prune: yes}\n"
                               "training: {learning_rate: 1e-4}\nsampling: {budget: 1_000}", "f")
        config = compose(said)
        assert (config.versioning.push, config.tuning.prune, config.sampling.budget,
                config.training.learning_rate) == (False, True, 1000, 1e-4)

    @pytest.mark.parametrize("text", ["seed: 010", "seed: yes", "training: {epochs: 1:30}",
                                      "versioning: {push: 1}", "data: {salt: 5}"])
    def test_what_could_mean_two_things_is_refused(self, text):
        with pytest.raises(ConfigError, match="expected"):
            compose(yaml_file.parse(text, "f"))

    def test_anchors_and_merges_are_fine_and_one_that_holds_itself_is_not(self):
        assert yaml_file.parse("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}", "f")["b"] == {
            "p": 1, "q": 3}
        assert "refers to itself" in refusal("a: &x [*x]")

    @pytest.mark.parametrize(("text", "words"), [
        ("a:\n\tb: 1\n", "line 2: a tab stands"), ("a: [1", "is not valid YAML: line 1"),
        ("{}\na: 1\n", "Take out the line '{}'"), ("a: 1\n---\nb: 2\n", "another document"),
        ("a: !!python/object:os.x 1", "tag"), ("a: !!int x", "does not fit its tag"),
        ("a: !!bool x", "does not fit its tag"), ("[" * 3000, "nested too deeply"),
        ("a: \x07", "special characters")], ids=lambda text: text[:12])
    def test_what_is_no_yaml_is_a_sentence_with_its_line(self, text, words):
        assert words in refusal(text)

    @pytest.mark.parametrize("values", [
        {"a": ["1e5", "no", "1_000", "~", "007", "", " x ", "a: b", "#1", "12:30", None, True,
               1.5]},
        {"1e5": "x", "no": "\u00e4\n\ud83d\ude00"}, {"a": float("inf"), "b": 1e-7}], ids=str)
    def test_what_is_written_reads_back_the_same(self, values):
        assert yaml_file.parse(yaml_file.dump(values), "f") == values
        assert yaml.safe_load(yaml_file.dump(values)) == values


class TestBytes:
    TEXT = "# Gewichte für später\nseed: 7\n"

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
    def test_a_byte_order_mark_says_the_encoding(self, workspace, encoding):
        (workspace.root / "ftzard.yaml").write_bytes(self.TEXT.encode(encoding))
        assert workspace.config().seed == 7

    @pytest.mark.parametrize(("data", "words"), [
        ("# k\nname: für\n".encode("latin-1"), "line 2 has a byte.*save it as UTF-8"),
        (TEXT.encode("utf-16-le"), "save it as UTF-8"), (b"\xff\xfeabc", "UTF-16")])
    def test_other_bytes_are_refused_with_their_line(self, workspace, ftzard, data, words):
        (workspace.root / "ftzard.yaml").write_bytes(data)
        with pytest.raises(ConfigError, match=words):
            workspace.config()
        code, said = ftzard("config", "-w", workspace.root)
        assert code == 1 and "ftzard.yaml" in said and "Traceback" not in said

    def test_what_is_no_file_is_a_sentence(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "gone").symlink_to(tmp_path / "nothing")
        (tmp_path / "round").symlink_to(tmp_path / "round")
        for name, words in (("", "is a folder"), ("pipe", "no regular file"),
                            ("gone", "is a link to .*nothing"), ("round", "cannot be read"),
                            ("nothing", "does not exist"), ("a\0b", "cannot be read")):
            with pytest.raises(ConfigError, match=words):
                yaml_file.read(tmp_path / name)

    def test_a_workspace_without_data_begins_with_comments_only(self, workspace):
        text = (workspace.root / "ftzard.yaml").read_text()
        assert all(line.startswith("#") for line in text.splitlines())
        (workspace.root / "ftzard.yaml").write_text(text + "seed: 3\n")
        assert workspace.config().seed == 3


class TestOwnChoices:
    def test_they_are_read_as_every_other_file(self, tmp_path):
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "mine.yaml").write_bytes(
            "defaults: [default, _self_]\nlabels: {no: nein, on: für}\n".encode("utf-16"))
        config = resolve({"data": "mine"}, folder=tmp_path).config
        assert config.data.labels == {"no": "nein", "on": "für"}

    @pytest.mark.parametrize(("text", "words"), [
        ("defaults: [defaul, _self_]\n", "did you mean 'default'"), ("- a\n", "expected keys"),
        ("defaults: [default, _self_]\nepochs: ${nothing}\n", "epochs is '\\${nothing}'"),
        ("defaults: [mine, _self_]\n", "mine.yaml: its defaults lead back to it"),
        ("defaults: [./mine]\n", "mine.yaml: its defaults lead back to it"),
        ("defaults: default\n", r"mine.yaml: defaults is 'default'; .* \[default, _self_\]"),
        ("defaults: {a: b}\n", "mine.yaml: defaults is"), ("defaults: 3\n", "defaults is 3"),
        ("defaults: [null, 3]\n", "mine.yaml: defaults is"),
        ("defaults: [{a: b}, _self_]\n", "mine.yaml: defaults is"),
        ("defaults: ['']\n", "mine.yaml: defaults has ''"),
        ("defaults: [default, _self_]\nepochs: two\n", "expected int")])
    def test_one_that_cannot_be_used_is_a_sentence(self, tmp_path, text, words):
        (tmp_path / "training").mkdir()
        (tmp_path / "training" / "mine.yaml").write_text(text)
        with pytest.raises(ConfigError, match=words):
            compose({"training": "mine"}, {"overrides": ["seed=x"]}, folder=tmp_path)

    def test_one_that_a_packaged_choice_would_hide_is_refused(self, tmp_path):
        (tmp_path / "training").mkdir()
        (tmp_path / "training" / "default.yaml").write_text("epochs: 40\n")
        with pytest.raises(ConfigError, match="has no effect.*give it another name"):
            compose(folder=tmp_path)
        (tmp_path / "training" / "default.yaml").rename(tmp_path / "training" / "mine.yaml")
        with pytest.raises(ConfigError, match="is missing"):
            compose({"training": "mine"}, folder=tmp_path)

    def test_two_that_are_each_other_s_base_are_refused(self, tmp_path):
        (tmp_path / "training").mkdir()
        for name, base in (("one", "two"), ("two", "one")):
            (tmp_path / "training" / f"{name}.yaml").write_text(f"defaults: [{base}, _self_]\n")
        with pytest.raises(ConfigError, match="one.yaml: its defaults lead back.*one -> two -> on"):
            compose({"training": "two"}, folder=tmp_path)

    def test_text_is_text_and_a_map_of_one_s_own_replaces_that_of_the_base(self, tmp_path):
        for name, text in {"data/own": "defaults: [sentiment140, _self_]\nsalt: ${oc.env:HOME}\n"
                           "text_column: ${seed}\nmention: '???'\nlink: a\\${x}\n"
                           "ignored_columns: null\nlabels: {x: '${seed}', y: '???'}\n",
                           "data/heir": "defaults: [own, _self_]\nlabels: {z: a, w: b}\n",
                           "data/bare": "defaults: [own, _self_]\nlabels: null\n",
                           "model/mine": "defaults: [falcon_tiny, _self_]\nrecipe: {training: "
                           "{class_weights: {a: 2}}}\n", "model/yours": "defaults: [mine, _self_]\n"
                           "build: {layers: 2}\nrecipe: {training: {class_weights: {b: 3}}}\n"
                           }.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / f"{name}.yaml").write_text(text)
        data = compose({"data": "own"}, folder=tmp_path).data
        assert (data.salt, data.text_column, data.mention, data.link, data.labels) == (
            "${oc.env:HOME}", "${seed}", "???", "a\\${x}", {"x": "${seed}", "y": "???"})
        heir = compose({"data": "heir"}, folder=tmp_path).data
        assert (heir.labels, heir.salt) == ({"z": "a", "w": "b"}, "${oc.env:HOME}")
        assert compose({"data": "bare"}, folder=tmp_path).data.labels is None
        yours = compose({"model": "yours"}, folder=tmp_path)
        assert yours.training.class_weights == {"b": 3}
        assert (yours.model.build.layers, yours.model.build.width) == (2, 192)
