"""The life of registered models at the command line: list, show, tag, delete, predict, export."""

import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ftzard.doctor import registered as doctor
from ftzard.errors import ModelError, TrackingError
from ftzard.registry import delete, lookup, register
from ftzard.registry.pyfunc_model import require_own_code
from ftzard.tracking import registry, runs
from ftzard.tracking.workspace_store import connect
from tests.trained import NAME, models, own, trained  # noqa: F401 - the fixtures

pytestmark = pytest.mark.slow

BASE = f"{NAME}-base"
TEXTS = ["a lovely happy &amp; sunny day", "boring @somebody and awful http://x.y train"]


def files_of(workspace, version) -> list[str]:
    """Return every file of a version in MLflow's artifact store."""
    folder = version.source.rpartition("/")[2]
    place = workspace.mlflow_artifacts / version.run_id / "artifacts" / folder
    return [str(path) for path in place.rglob("*")] if place.exists() else []


def version_of(workspace, which):
    return lookup.find(connect(workspace, workspace.config()), workspace.config(), which)


def git(workspace, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=workspace.root, text=True, capture_output=True,
                          check=True).stdout.strip()


class TestLooking:
    def test_list_has_a_line_per_version_of_every_model(self, trained, ftzard):  # noqa: F811
        code, said = ftzard("models", "list", "--json", "-w", trained.root)
        lines = {f"{line['model']}@{line['version']}": line for line in json.loads(said)}
        assert code == 0 and set(lines) == {f"{NAME}@1", f"{NAME}@2", f"{BASE}@1"}
        champion, bare = lines[f"{NAME}@1"], lines[f"{BASE}@1"]
        assert champion["aliases"] == ["champion"] and lines[f"{NAME}@2"]["aliases"] == [
            "challenger"]
        assert (champion["accuracy"], champion["lower"], champion["test_rows"]) == (0.9, 0.8, 60)
        assert champion["verdict"] == "promote" and champion["base"] == "falcon_tiny"
        assert champion["size_bytes"] > 100_000 and champion["created"].endswith("+00:00")
        assert bare["kind"] == "base" and bare["accuracy"] is None
        code, said = ftzard("models", "list", NAME, "-w", trained.root)
        assert code == 0 and "90.0 % (80.0–95.0) of 60" in said and BASE not in said

    def test_show_tells_all_of_a_version(self, trained, ftzard):  # noqa: F811
        code, said = ftzard("models", "show", "challenger", "--json", "-w", trained.root)
        told = json.loads(said)
        assert code == 0 and told["version"] == 2 and told["labels"] == ["glad", "sad"]
        assert told["metrics"][f"{NAME}@2"]["macro_f1"] == 0.89
        assert "challenger" not in told["metrics"]
        assert told["base"]["registered"] == f"{BASE}@1" and len(told["base"]["weight_hash"]) == 64
        assert told["run"]["state"] == "FINISHED" and told["tags"]["ftzard.kind"] == "tuned"
        assert told["record"] == f"models/{NAME}/2.yaml" and "tokenized" in told["data"]
        code, said = ftzard("models", "show", "base", "-w", trained.root)
        assert code == 0 and f"{BASE}@1" in said and told["base"]["weight_hash"] in said

    def test_what_is_not_there_is_named_with_what_is(self, trained, ftzard):  # noqa: F811
        for which, words in (
                (f"{NAME}@7", "has no version 7; it has [1, 2]"), ("champoin", "'champion'?"),
                ("previous", "has no previous. Its versions are [1, 2], its aliases challenger "
                             "(2), champion (1)"), (f"{NAME[:-1]}@1", f"did you mean '{NAME}'?")):
            code, said = ftzard("models", "show", which, "-w", trained.root)
            assert code == 1 and words in said, said


def test_the_base_is_registered_once_with_hash_signature_and_example(trained):  # noqa: F811
    import mlflow

    tracking = connect(trained, trained.config())
    assert models(trained) == {NAME: [1, 2], BASE: [1]}
    bare, = registry.versions(tracking, BASE)
    tuned = registry.version(tracking, NAME, 2)
    assert bare.tags["base_hash"] == tuned.tags["base_hash"] and len(bare.tags["base_hash"]) == 64
    assert tuned.tags["base_version"] == str(bare)
    for version in (bare, tuned):
        info = mlflow.models.get_model_info(f"models:/{version.name}/{version.number}")
        assert info.signature.inputs.input_names() == ["text"]
        assert info.signature.outputs.input_names() == ["label", "confidence", "probabilities",
                                                        "abstains"]
        assert len(info.saved_input_example_info) and info.metadata["labels"] == ["glad", "sad"]


class TestTags:
    def test_set_and_taken_away(self, own, ftzard):  # noqa: F811
        code, said = ftzard("models", "tag", "challenger", "owner=ann", "note=so = so", "-w",
                            own.root)
        assert code == 0 and said == f"✓ {NAME}@2: owner = ann, note = so = so\n"
        assert version_of(own, "challenger").tags["note"] == "so = so"
        assert ftzard("models", "tag", f"{NAME}@2", "note=", "-w", own.root)[0] == 0
        tags = version_of(own, "challenger").tags
        assert "note" not in tags and tags["owner"] == "ann"

    @pytest.mark.parametrize(("pair", "words"), [
        ("owner", "'owner' is no tag; expected KEY=VALUE"), ("nobody=", "has no tag 'nobody'"),
        ("base_hash=0", "'base_hash' is part of what FTzard records"),
        ("gate.decision=promote", "part of what FTzard records")])
    def test_what_is_no_tag_or_not_a_person_s_is_refused(self, trained, ftzard,  # noqa: F811
                                                         pair, words):
        before = version_of(trained, "champion").tags
        code, said = ftzard("models", "tag", "champion", "fine=1", pair, "-w", trained.root)
        assert code == 1 and words in said
        assert version_of(trained, "champion").tags == before


class TestDeleting:
    def test_the_champion_is_refused_and_the_challenger_unless_forced(
            self, trained, ftzard):  # noqa: F811
        before = models(trained)
        code, said = ftzard("models", "delete", f"{NAME}@1", "--yes", "--force", "-w", trained.root)
        assert code == 1 and f"{NAME}@1 is champion and cannot be deleted; promote another" in said
        code, said = ftzard("models", "delete", "challenger", "--yes", "-w", trained.root)
        assert code == 1 and f"{NAME}@2 is challenger" in said and "--force" in said
        code, said = ftzard("models", "delete", NAME, "--yes", "-w", trained.root)
        assert code == 1 and f"{NAME} is in use" in said and f"{NAME}@1 is champion" in said
        assert models(trained) == before

    def test_it_asks_and_no_answer_means_no(self, trained, ftzard, monkeypatch):  # noqa: F811
        for answer in ("n\n", ""):
            monkeypatch.setattr("sys.stdin", io.StringIO(answer))
            code, said = ftzard("models", "delete", f"{NAME}@2", "--force", "-w", trained.root)
            assert code == 1 and "nothing was deleted" in said and "Traceback" not in said
            assert f"- {NAME}@2 in the registry" in said and f"models/{NAME}/2.yaml" in said
        assert models(trained)[NAME] == [1, 2]

    def test_a_version_goes_with_its_files_and_its_record_says_so(self, own, ftzard,  # noqa: F811
                                                                  monkeypatch):
        version = version_of(own, f"{NAME}@2")
        assert files_of(own, version)
        monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
        code, said = ftzard("models", "delete", f"{NAME}@2", "--force", "--reason", "a slip", "-w",
                            own.root)
        assert code == 0 and f"✓ {NAME}@2 is deleted; its record says so at " in said, said
        assert models(own) == {NAME: [1], BASE: [1]} and files_of(own, version) == []
        tracking = connect(own, own.config())
        run = runs.known(tracking, version.run_id)
        assert run.info.lifecycle_stage == "active" and run.info.status == "FINISHED"
        assert registry.aliases(tracking, NAME) == {"champion": 1}
        record = yaml.safe_load((own.root / f"models/{NAME}/2.yaml").read_text())
        assert record["deleted"]["reason"] == "a slip" and record["version"] == 2
        assert (own.root / f"models/{NAME}/2.zip.dvc").is_file()
        assert git(own, "log", "-1", "--format=%s") == (
            f"Delete {NAME}@2 from the registry: a slip")
        assert git(own, "status", "--porcelain", "models") == ""
        assert [f.state for f in doctor.models(own)] == ["ok"]
        code, said = ftzard("lineage", f"{NAME}@2", "-w", own.root)
        assert code == 0 and "deleted from the registry" in said and "a slip" in said

    def test_what_was_cut_off_after_the_record_is_found_and_finished(self, own):  # noqa: F811
        version = version_of(own, f"{NAME}@2")
        plan = delete.planned(own, f"{NAME}@2", force=True)
        with pytest.MonkeyPatch.context() as killed:
            killed.setattr(delete, "finish", lambda *_: [])
            delete.delete(own, plan, say=lambda line: None)
        registry.drop(connect(own, own.config()), NAME, "challenger")
        found, = [f for f in doctor.models(own) if f.state == "wrong"]
        assert "still registered: deleting it was cut off" in found.sentence
        assert f"deleted {NAME}@2" in found.mend()
        assert files_of(own, version) == [] and [f.state for f in doctor.models(own)] == ["ok"]

    def test_a_whole_model_goes_and_its_numbers_are_not_given_again(self, own,  # noqa: F811
                                                                    ftzard):
        both = [version_of(own, f"{NAME}@{n}") for n in (1, 2)]
        code, said = ftzard("models", "delete", NAME, "--yes", "--force", "-w", own.root)
        assert code == 0, said
        assert models(own) == {BASE: [1]} and not any(files_of(own, v) for v in both)
        assert all(yaml.safe_load((own.root / f"models/{NAME}/{n}.yaml").read_text())["deleted"]
                   for n in (1, 2))
        assert [f.state for f in doctor.models(own)] == ["ok"]
        tracking = connect(own, own.config())
        parent = runs.top_level(tracking, "RETRAINING", own.state / "lock")
        run = runs.start_child(tracking, parent, {})
        made = register.register(run, NAME, adapter=own.root / f"models/{NAME}/1.zip", base=None,
                                 example=["a"], labels=["glad", "sad"], tags={}, last_number=2)
        run.end()
        assert made.number == 3 and models(own)[NAME] == [3]

    def test_files_that_another_version_names_too_stay(self, own):  # noqa: F811
        tracking = connect(own, own.config())
        version = version_of(own, f"{NAME}@2")
        tracking.client.create_registered_model("Copy")
        tracking.client.create_model_version("Copy", source=version.source, run_id=version.run_id)
        copy = registry.version(tracking, "Copy", 1)
        assert f"are those of {NAME}@2 too" in registry.delete(tracking, copy)
        assert files_of(own, version) and "Copy" in models(own)


class TestPredicting:
    def test_texts_and_another_model_than_the_champion(self, trained, ftzard):  # noqa: F811
        code, said = ftzard("predict", *TEXTS, "-w", trained.root)
        assert code == 0 and len(said.splitlines()) == 2 and said.splitlines()[0].endswith(TEXTS[0])
        code, other = ftzard("predict", f"{NAME}@2", *TEXTS, "--json", "-w", trained.root)
        rows = [json.loads(line) for line in other.splitlines()]
        assert code == 0 and [r["text"] for r in rows] == TEXTS
        assert f"{rows[0]['confidence']:.3f}" not in said.splitlines()[0]
        code, bare = ftzard("predict", "base", TEXTS[0], "-w", trained.root)
        assert code == 0 and bare.split()[0] in ("glad", "sad")
        assert f"the confidence of {BASE}@1 is as the model says it, not calibrated" in bare
        assert "not calibrated" not in said

    def test_confidence_is_calibrated_and_a_key_says_when_the_model_abstains(
            self, own, ftzard):  # noqa: F811
        from math import log

        def told(*options: str) -> list[dict]:
            code, said = ftzard("predict", *TEXTS, "--json", "-w", own.root)
            assert code == 0, said
            return [json.loads(line) for line in said.splitlines()]

        marker, record = own.root / "ftzard.yaml", own.root / f"models/{NAME}/1.yaml"
        config, kept = yaml.safe_load(marker.read_text()), yaml.safe_load(record.read_text())
        assert kept["temperature"] == 1.2
        calibrated = told()
        assert [row["calibrated"] for row in calibrated] == [True, True]
        assert not any(row["abstains"] for row in calibrated), "of two labels one has half"
        marker.write_text(yaml.safe_dump(config | {"task": {"abstain_below": 1.0}}))
        code, said = ftzard("predict", *TEXTS, "-w", own.root)
        assert code == 0 and said.count("(abstains)") == 2
        assert [row["label"] for row in told()] == [row["label"] for row in calibrated]
        marker.write_text(yaml.safe_dump(config | {"task": {"abstain_below": None}}))
        assert not any(row["abstains"] for row in told())
        # A record of before has no temperature of its own, and none with its calibration either.
        record.write_text(yaml.safe_dump({k: v for k, v in kept.items() if k not in (
            "temperature", "calibration")}))
        for row, raw in zip(calibrated, told(), strict=True):
            odds, before = ((lambda p: log(p["glad"] / p["sad"]))(r["probabilities"])
                            for r in (row, raw))
            assert not raw["calibrated"] and odds == pytest.approx(before / 1.2, rel=1e-4)

    def test_a_file_comes_out_line_by_line_with_its_bad_lines(self, trained, ftzard,  # noqa: F811
                                                              tmp_path):
        file = tmp_path / "in.jsonl"
        lines = [json.dumps({"text": f"a lovely day {n}", "id": n}) for n in range(150)]
        lines[70] = '{"txt": "no text here"}'
        lines[100] = "{broken"
        file.write_text("\n".join(lines) + "\n")
        code, said = ftzard("predict", file, "-w", trained.root)
        rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        assert code == 1 and "2 of 150 lines could not be predicted" in said
        assert [r["line"] for r in rows] == list(range(1, 151))
        assert [r["line"] for r in rows if "error" in r] == [71, 101]
        assert rows[100]["input"] == "{broken" and "no text under 'text'" in rows[70]["error"]
        assert all(r["id"] == r["line"] - 1 and abs(sum(r["probabilities"].values()) - 1) < 1e-9
                   for r in rows if "error" not in r)


class TestPredictingAsTrainingReads:
    @pytest.fixture
    def written(self, trained):  # noqa: F811
        """Let ftzard.yaml say that files are written with ';' in utf-16, as long as a test runs."""
        marker = trained.root / "ftzard.yaml"
        before = marker.read_text()
        said = yaml.safe_load(before)
        marker.write_text(yaml.safe_dump(
            said | {"data": said.get("data", {}) | {"encoding": "utf-16", "delimiter": ";"}}))
        yield trained
        marker.write_text(before)

    def test_files_are_read_as_ftzard_yaml_says_unless_told_otherwise(self, written, ftzard,
                                                                      tmp_path):
        column = written.config().data.text_column

        def texts(name: str, content: bytes, *options: str) -> list[str]:
            (tmp_path / name).write_bytes(content)
            code, said = ftzard("predict", tmp_path / name, *options, "-w", written.root)
            assert code == 0, said
            return [json.loads(line)["text"] for line in said.splitlines()]

        rows = f"{column};n\na, b;1\nc \u00fc;2\n"
        assert texts("in.csv", rows.encode("utf-16")) == ["a, b", "c \u00fc"]
        assert texts("in.csv.gz", gzip.compress(rows.encode("utf-16"))) == ["a, b", "c \u00fc"]
        assert texts("in.txt", "a\r\u00fc\r".encode("utf-16")) == ["a", "\u00fc"]
        assert texts("o.csv", f"{column}\tn\na;b\t1\n".encode(), "--encoding", "utf-8",
                     "--delimiter", "tab") == ["a;b"]
        table = tmp_path / "in.parquet"
        pd.DataFrame({column: ["a\nb", "c"], "other": [1, 2]}).to_parquet(table)
        assert texts("in.parquet", table.read_bytes()) == ["a\nb", "c"]
        for options, words in ((["in.parquet", "--encoding", "utf-8"], "--encoding goes with"),
                               (["in.txt", "--delimiter", ";"], "--delimiter goes with CSV")):
            code, said = ftzard("predict", tmp_path / options[0], *options[1:], "-w", written.root)
            assert code == 1 and words in said
        code, said = ftzard("predict", "a text", "--encoding", "utf-8", "-w", written.root)
        assert code == 1 and "--encoding goes with a file or a pipe" in said

    def test_what_is_empty_once_cleaned_is_no_text(self, trained, ftzard, tmp_path):  # noqa: F811
        unseen = ["", "  ", "\0\0", "\u200b\u200b", "\u00a0\ufeff", "&nbsp;"]
        code, said = ftzard("predict", *(t for t in unseen if "\0" not in t), "-w", trained.root)
        assert code == 1 and said.count("empty text") == 5
        file = tmp_path / "in.txt"
        file.write_text("\n".join([*unseen, "a lovely day"]) + "\n", encoding="utf-8")
        code, said = ftzard("predict", file, "-w", trained.root)
        rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        assert code == 1 and [r["line"] for r in rows] == list(range(1, 8))
        assert [r.get("error") for r in rows] == ["empty text"] * 6 + [None]
        table = tmp_path / "in.parquet"
        column = trained.config().data.text_column
        pd.DataFrame({column: [None, *unseen, "a lovely day"]}).to_parquet(table)
        code, said = ftzard("predict", table, "-w", trained.root)
        rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        assert code == 1 and [r.get("error") for r in rows] == ["empty text"] * 7 + [None]


class TestOwnCode:
    def test_other_code_than_the_registered_is_refused_with_both_places(self, trained,  # noqa: F811
                                                                        tmp_path):
        import shutil

        version = version_of(trained, "champion")
        code = trained.mlflow_artifacts / version.run_id / "artifacts/model/code"
        require_own_code(code)
        other = Path(shutil.copytree(code, tmp_path / "code"))
        changed = other / "ftzard/tasks/classification/predictor.py"
        changed.write_text(changed.read_text() + "\n# another day\n")
        with pytest.raises(TrackingError,
                           match="tasks/classification/predictor.py is not the one") as caught:
            require_own_code(other)
        assert str(other) in str(caught.value) and "mlflow models" in str(caught.value)

    def test_a_row_without_a_text_is_refused(self, trained):  # noqa: F811
        import mlflow
        import pandas

        model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
        answered = model.predict(pandas.DataFrame({"text": TEXTS}))
        assert set(answered) == {"label", "confidence", "probabilities", "abstains"}
        assert len(answered) == 2
        for missing in (None, "", " \u200b", "\0"):
            with pytest.raises(Exception, match="row 1 has no text"):
                model.predict(pandas.DataFrame({"text": ["a", missing]}))


class TestRefusedExports:
    def test_before_anything_is_written(self, trained, ftzard, tmp_path,  # noqa: F811
                                        monkeypatch):
        monkeypatch.delenv("HF_TOKEN", raising=False)
        out = tmp_path / "out"
        (tmp_path / "full").mkdir()
        (tmp_path / "full/mine.txt").write_text("mine")
        for arguments, words in (
                (["champion", out], "--adapter or --merged"),
                (["champion", out, "--adapter", "--merged"], "--adapter or --merged"),
                (["champion", tmp_path / "full", "--merged"], "is there already and not empty"),
                (["base", out, "--merged"], "bare base with an untrained head"),
                (["champion", out, "--merged", "--push", "me/it"], "HF_TOKEN is empty"),
                (["champion", out, "--merged", "--push", "me/it/x"], "expected a repository")):
            code, said = ftzard("export", *arguments, "-w", trained.root)
            assert code == 1 and words in said, said
        assert not out.exists() and (tmp_path / "full/mine.txt").read_text() == "mine"

    def test_a_merged_model_beyond_the_tolerance_leaves_nothing(self, trained, ftzard,  # noqa: F811
                                                                tmp_path):
        code, said = ftzard("export", "champion", tmp_path / "out", "--merged", "--tolerance",
                            "0", "-w", trained.root)
        assert code == 1 and "expected at most 0." in said and "with --tolerance" in said
        assert list(tmp_path.iterdir()) == []


# In a process that cannot import FTzard


@pytest.fixture(scope="session")
def without_ftzard(tmp_path_factory):
    """Run Python with the installed packages, and without FTzard however it is installed."""
    packages = Path(sys.modules["mlflow"].__file__ if "mlflow" in sys.modules else
                    __import__("mlflow").__file__).parents[1]
    bare = tmp_path_factory.mktemp("packages")
    for entry in packages.iterdir():
        if "ftzard" not in entry.name:
            (bare / entry.name).symlink_to(entry)

    def run(code: str, at: Path, **environment: str) -> str:
        import os

        begin = (f"import sys; sys.path.append({str(bare)!r})\n"
                 "import importlib.util; assert importlib.util.find_spec('ftzard') is None\n")
        done = subprocess.run([sys.executable, "-I", "-S", "-c", begin + code], cwd=at, text=True,
                              capture_output=True, env={**os.environ, **environment})
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_every_version_loads_where_ftzard_is_not_installed(trained, without_ftzard,  # noqa: F811
                                                           ftzard, tmp_path):
    said = without_ftzard(
        "import json, mlflow.pyfunc, pandas\n"
        f"texts = pandas.DataFrame({{'text': {TEXTS!r}}})\n"
        f"for name in ('{NAME}/1', '{NAME}/2', '{BASE}/1'):\n"
        "    model = mlflow.pyfunc.load_model('models:/' + name)\n"
        "    print('>' + json.dumps(model.predict(texts).to_dict('records')))\n"
        "import ftzard; print('<' + ftzard.__file__)\n",
        tmp_path, MLFLOW_TRACKING_URI=trained.mlflow_uri)
    answers = [json.loads(line[1:]) for line in said.splitlines() if line.startswith(">")]
    assert len(answers) == 3 and "/code/ftzard/" in said
    for which, rows in zip((f"{NAME}@1", f"{NAME}@2", "base"), answers, strict=True):
        _, told = ftzard("predict", which, *TEXTS, "--json", "-w", trained.root)
        ours = [json.loads(line) for line in told.splitlines()]
        for row, mine in zip(rows, ours, strict=True):
            assert (row["label"], row["abstains"]) == (mine["label"], mine["abstains"])
            assert mine["calibrated"] == (which != "base")
            assert row["probabilities"] == pytest.approx(list(mine["probabilities"].values()),
                                                         abs=1e-6)


def test_exports_load_with_plain_transformers_and_peft(trained, without_ftzard,  # noqa: F811
                                                       ftzard, tmp_path):
    _, told = ftzard("predict", "champion", "a lovely happy sunny day", "--json", "-w",
                     trained.root)
    ours = json.loads(told)["probabilities"]
    for form, tolerance in (("adapter", 0.1), ("merged", 1e-5)):
        folder = tmp_path / form
        code, said = ftzard("export", "champion", folder, f"--{form}", "-w", trained.root)
        assert code == 0 and "its logits differ by at most" in said, said
        assert not list(folder.rglob("*.bin")) and list(folder.glob("*.safetensors"))
        card = (folder / "README.md").read_text()
        code = card.partition("```python\n")[2].partition("```")[0].replace(
            '["A text of yours.", "Another one."]', '["a lovely happy sunny day"]')
        code += ("import json; print('>' + json.dumps({model.config.id2label[i]: float(p) for i, p "
                 "in enumerate(chances[0])}))")
        found = json.loads(without_ftzard(code, folder).splitlines()[-1][1:])
        assert found == pytest.approx(ours, abs=tolerance)
        for words in ("90.0 % (80.0 to 95.0)", "temperature 1.200", "## Limits", "sha256 `",
                      "## What it is for", "weights `", "labels (glad, sad)"):
            assert words in card, words
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "base"
    assert (tmp_path / "adapter/base/model.safetensors").is_file()


def test_a_model_of_other_labels_is_refused_before_it_is_loaded():
    from ftzard.registry.compare import require_shared_labels

    def files(name, labels):
        return lookup.Files(name, None, None, {}, labels, {})

    require_shared_labels(files("a", ["x", "y"]), files("b", ["y", "x", "z"]))
    require_shared_labels(files("a", []), files("b", []))
    with pytest.raises(ModelError, match=r"a knows the labels \['x', 'y'\] and b \['x', 'z'\]"):
        require_shared_labels(files("a", ["x", "y"]), files("b", ["x", "z"]))


def test_two_models_are_compared_each_in_its_own_process(trained, ftzard, tmp_path):  # noqa: F811
    page = tmp_path / "page.html"
    code, said = ftzard("compare", "base", "champion", "--json", "--html", page, "-w", trained.root)
    assert code == 0, said
    told = json.loads(said)
    gap, champion = told["scores"]["accuracy"], told["models"][1]
    assert told["n"] == 60 and champion["name"] == f"{NAME}@1" and "task" not in told
    assert gap["second"]["value"] > gap["first"]["value"]
    assert champion["speed"]["passes"] > 2 and champion["speed"]["tokens_per_second"] > 0
    assert "F1 of each class" in page.read_text()
