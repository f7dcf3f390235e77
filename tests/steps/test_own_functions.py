"""A workspace's own code in its notebooks and models: used, counted, kept, and never another's."""

import json
import shutil

import nbformat
import pandas as pd
import pytest
import yaml

from ftzard.core import archive, custom_functions
from ftzard.core.artifacts import write_json
from ftzard.data import storage
from ftzard.errors import DataError, ModelError
from ftzard.evaluation import gate
from ftzard.modeling.adapter_meta import META, read_meta
from ftzard.modeling.tokenizer import encode, load_tokenizer
from ftzard.registry import lookup, model_records, packaging, predict
from ftzard.steps import row_accounts
from ftzard.steps.step_run import start_step
from ftzard.steps.versioning import finished_step
from ftzard.tracking import registry
from ftzard.tracking.registry import Version
from ftzard.training import rows_used
from ftzard.versioning import own_code
from tests.orchestration.texts import easy_texts
from tests.trained import NAME, own, trained  # noqa: F401 - fixtures

CLEAN = 'def quiet(text):\n    return text.replace("ticket", "pass")\n'
OTHER = 'def quiet(text):\n    return text.replace("ticket", "awful")\n'
CONFIG = {"data": {"clean": "texts:quiet", "text_column": "tweet", "label_column": "mood"},
          "versioning": {"push": False}}


@pytest.fixture
def place(workspace, monkeypatch):
    """A workspace with a cleaning function of its own and a delivery of 80 easy texts."""
    monkeypatch.setenv("FTZARD_WORKSPACE", str(workspace.root))
    (workspace.root / "custom").mkdir()
    (workspace.root / "custom" / "texts.py").write_text(CLEAN)
    (workspace.root / "ftzard.yaml").write_text(yaml.safe_dump(CONFIG))
    easy_texts(80, seed=6).to_csv(workspace.root / "data" / "mine.csv", index=False)
    return workspace


def edit(workspace, before: str, after: str, notebook: str = "Step1_Data_Cleaning") -> None:
    """Edit a notebook of the workspace as a person does."""
    file = workspace.notebooks / f"{notebook}.ipynb"
    told = nbformat.read(file, as_version=4)
    cell, = (c for c in told.cells if before in c.source)
    cell.source = cell.source.replace(before, after)
    nbformat.write(told, file)


def run_cells(workspace, notebook: str = "Step1_Data_Cleaning", **parameters) -> dict:
    """Run a notebook of the workspace, cell by cell; return its variables."""
    namespace: dict = {}
    for cell in nbformat.read(workspace.notebooks / f"{notebook}.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, namespace)
            if "parameters" in cell.metadata.get("tags", []):
                namespace |= parameters
    return namespace


class TestStep1:
    def test_it_cleans_with_the_workspace_s_function_and_git_dvc_commits_what_ran(
            self, place, capsys):
        edit(place, "].tail()", "].tail(3)")
        ran = (place.notebooks / "Step1_Data_Cleaning.ipynb").read_bytes()
        run = run_cells(place, raw="data/mine.csv")["run"]
        cleaned = storage.read_parquet(place.root / run.config.paths.cleaned)
        assert not cleaned["text"].str.contains("ticket").any()
        assert cleaned["text"].str.contains("pass").any()
        assert set(cleaned["cleaned_by"]) == {run.own_clean["sha256"][:16]}
        assert run.facts["rows_dropped_by_own_code"] == 0
        assert set(own_code.uncommitted(place)) == {
            "ftzard.yaml", "custom/texts.py", "notebooks/Step1_Data_Cleaning.ipynb"}

        edit(place, "].tail(3)", "].tail(9)")  # before Git_Dvc comes to it
        step_version = finished_step({"step": "cleaning", "overrides": []})
        versioned = step_version.version()
        step_version.publish(versioned)
        root = place.root
        held = {path: own_code.git.git(root, "show", f"{versioned.commit}:{path}").encode()
                for path in run.code}
        assert held["notebooks/Step1_Data_Cleaning.ipynb"] == ran
        assert held["custom/texts.py"] == CLEAN.encode() and "ftzard.yaml" in held
        assert own_code.uncommitted(place) == {"notebooks/Step1_Data_Cleaning.ipynb": "changed"}
        tags = run.tracking.client.get_run(run.mlflow_run.id).data.tags
        assert tags["code_commit"] == versioned.commit
        assert json.loads(tags["own_code"]) == {p: u.sha256[:16] for p, u in run.code.items()}

    def test_rows_that_a_line_of_one_s_own_drops_are_counted_and_said(self, place, capsys):
        edit(place, "everything, repeated =",
             'cleaned = cleaned[cleaned["text"].str.len() > 45]\neverything, repeated =')
        run = run_cells(place, raw="data/mine.csv")["run"]
        cleaned, rejected = (storage.read_parquet(place.root / run.outputs[name].path)
                             for name in ("cleaned", "rejected"))
        gone = run.facts["rows_dropped_by_own_code"]
        assert gone > 0 and len(cleaned) + len(rejected) + gone == 80
        assert f"{gone} rows went in that are neither kept nor rejected" in capsys.readouterr().out
        found = run.tracking.client.get_run(run.mlflow_run.id)
        assert found.data.metrics["rows_dropped_by_own_code"] == gone

    def test_a_notebook_that_passes_the_function_over_is_refused(self, place):
        edit(place, "cleaning.clean(run, delivery, rows)",
             'run.task.data.clean(rows, data, batch="b", identity=run.identity, cleaning={})')
        with pytest.raises(DataError, match="has cleaned no row with it. Let it call"):
            run_cells(place, raw="data/mine.csv")

    def test_rows_cleaned_with_an_earlier_function_are_counted(self, place, capsys):
        run_cells(place, raw="data/mine.csv")
        (place.root / "custom" / "texts.py").write_text(OTHER)
        easy_texts(160, seed=7).tail(60).to_csv(place.root / "data" / "more.csv", index=False)
        run = run_cells(place, raw="data/more.csv")["run"]
        assert run.facts["rows_cleaned_otherwise"] > 70
        assert "were cleaned without data.clean=texts:quiet as it is now" in capsys.readouterr().out


def with_function(workspace, source: str = CLEAN, *, number: int = 1, recorded: bool = True):
    """Let a registered model be one that was trained with a function of its workspace's."""
    value = custom_functions.packed("texts:quiet", {"texts.py": source}, "data.clean")
    version = Version(NAME, number, "", {})
    folder = workspace.root / "unpacked"
    shutil.copytree(model_records.version_folder(workspace, version), folder)
    meta = json.loads((folder / META).read_text())
    meta["cleaning"]["own"] = value
    write_json(folder / META, meta)
    archive.pack(folder, model_records.adapter_archive(workspace, version))
    shutil.rmtree(folder)
    if recorded:
        model_records.write_record(workspace, version, {
            "clean": {key: value[key] for key in ("function", "sha256")}})
    return value


@pytest.mark.slow
class TestModels:
    TEXTS = ["the ticket and this train", "the pass and this train", "so awful, lost train"]

    def test_a_model_cleans_with_its_own_whatever_the_workspace_has(self, own):  # noqa
        before = predict.predict_texts(own, predict.Asked("champion", tuple(self.TEXTS)))
        assert before[0]["probabilities"] != pytest.approx(before[1]["probabilities"], abs=1e-4)
        with_function(own)
        (own.root / "custom").mkdir()
        (own.root / "custom" / "texts.py").write_text(OTHER)
        (own.root / "ftzard.yaml").write_text(yaml.safe_dump(
            yaml.safe_load((own.root / "ftzard.yaml").read_text())
            | {"data": {"clean": "texts:quiet"}}))
        files = lookup.files(own, "champion")
        assert files.cleaned(self.TEXTS[:1]) == self.TEXTS[1:2]
        after = predict.predict_texts(own, predict.Asked("champion", tuple(self.TEXTS)))
        for one, other in ((0, after[1]), (1, before[1]), (2, before[2])):
            assert after[one]["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)
        tokenizer = load_tokenizer(model_records.version_folder(own, Version(NAME, 1, "", {})))
        ids, _, _ = encode(files.cleaned(self.TEXTS[:2]), tokenizer, 64)
        assert list(ids[0]) == list(ids[1])

        challenger = predict.predict_texts(
            own, predict.Asked("challenger", (self.TEXTS[0],)))  # it has none: as before
        assert challenger and lookup.files(own, "challenger").cleaned(["a ticket"]) == ["a ticket"]

    def test_a_text_on_which_it_fails_has_its_error_and_others_an_answer(self, own):  # noqa
        with_function(own, "def quiet(text):\n    assert '!' not in text, 'loud'\n"
                           "    return text\n")
        (own.root / "in.txt").write_text("a calm day\nhelp!\nmy happy song\n")
        lines: list[dict] = []
        asked = predict.Asked("champion", source=str(own.root / "in.txt"))
        predict.predict_stream(own, asked, lambda line: lines.append(json.loads(line)))
        assert [line.get("error") for line in lines] == [
            None, "data.clean=texts:quiet failed: AssertionError: loud", None]

    def test_code_that_is_not_on_record_is_never_run(self, own):  # noqa
        with_function(own, "raise SystemExit('it ran')\ndef quiet(text):\n    return text\n",
                      recorded=False)
        with pytest.raises(ModelError, match="its record says none; it is not run"):
            lookup.files(own, "champion")
        model_records.record_path(own, Version(NAME, 1, "", {})).unlink()
        with pytest.raises(ModelError, match="which no model.s record in this workspace names"):
            model_records.version_folder(own, Version(NAME, 1, "", {}))

    def test_a_record_that_names_a_function_refuses_a_model_without_one(self, own):  # noqa
        model_records.write_record(own, Version(NAME, 1, "", {}), {
            "clean": {"function": "texts:quiet", "sha256": "0" * 64}})
        with pytest.raises(ModelError, match="with hash none, but its record says 000000000000"):
            model_records.version_folder(own, Version(NAME, 1, "", {}))

    def test_the_served_model_cleans_with_it_and_needs_what_it_imports(self, own, tmp_path):  # noqa
        with_function(own, f"import optuna\n{CLEAN}")
        path = model_records.adapter_archive(own, Version(NAME, 1, "", {}))
        base = model_records.base_archive(own, own.config().model.name)
        with packaging.packaged("M", {"adapter": path, "base": base}, example=["a"],
                               labels=["glad", "sad"]) as model:
            assert "optuna==" in (model / "requirements.txt").read_text()
            assert (model / "code" / "ftzard" / "core" / "custom_functions.py").is_file()
            import mlflow.pyfunc

            answers = mlflow.pyfunc.load_model(str(model)).predict(
                pd.DataFrame({"text": self.TEXTS[:2]}))
        assert answers["probabilities"].iloc[0] == pytest.approx(
            answers["probabilities"].iloc[1], abs=1e-6)


@pytest.mark.slow
class TestRows:
    def test_test_rows_that_disappeared_are_a_finding_of_the_gate(self, own, monkeypatch):  # noqa
        monkeypatch.setenv("FTZARD_WORKSPACE", str(own.root))
        run = start_step("evaluation", {"overrides": [], "retraining_metadata": {}})
        rows = run.read("tokenized")
        champion = registry.champion(run.tracking, NAME)
        model_records.write_record(own, champion, {"data": {"tokenized": {
            "path": run.inputs["tokenized"].path, "commit": run.inputs["tokenized"].commit,
            "sha256": run.inputs["tokenized"].sha256}}})
        assert row_accounts.vanished_test_rows(own, champion, rows) == {}
        fewer = rows[~rows["id"].isin(rows.loc[rows["split"] == "test", "id"].head(11))]
        gone = row_accounts.vanished_test_rows(own, champion, fewer)
        assert gone == {"b1": 11}
        assert row_accounts.vanished_sentence(gone, champion).startswith(
            f"11 test rows that {champion} was judged on have disappeared (11 of batch b1)")
        ids, labels = [f"row{n}" for n in range(60)], ["a", "b"] * 30
        verdict = gate.judge(
            {"b1": gate.Predicted(ids, labels, labels)}, None, run.config.gate,
            classes=["a", "b"], seed=0,
            baselines={"majority": {"b1": gate.Predicted(ids, labels, ["a"] * 60)}})
        warned = row_accounts.with_vanished(verdict, gone, champion)
        assert [w for w in warned.warnings if w not in verdict.warnings][0].startswith("11 test")

    def test_rows_that_a_notebook_chose_are_kept_with_the_model_and_others_are_not(self, tmp_path):
        rows = pd.DataFrame({"id": list("abcdef"), "split": ["train"] * 4 + ["validation"] * 2})
        train, validation = rows[rows["split"] == "train"], rows[rows["split"] == "validation"]
        rows_used.note(tmp_path, train, validation)
        assert rows_used.settle(tmp_path, train, validation) is False
        assert not (tmp_path / rows_used.FILE).exists()
        rows_used.note(tmp_path, train.iloc[[2, 0]], validation)
        assert rows_used.settle(tmp_path, train, validation) is True
        chosen, _ = rows_used.chosen(tmp_path, rows)
        assert chosen["id"].tolist() == ["c", "a"]
        with pytest.raises(ModelError, match="1 of the rows .* such as a: a notebook"):
            rows_used.chosen(tmp_path, rows[rows["id"] != "a"])


def test_meta_of_models_of_before_has_no_function(trained):  # noqa
    version = Version(NAME, 1, "", {})
    assert "own" not in read_meta(model_records.version_folder(trained, version))["cleaning"]
