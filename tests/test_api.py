"""The library that `import ftzard` gives: what a notebook or a script does with a workspace."""

import asyncio
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import ftzard
from ftzard import api
from ftzard.data.labeling import labeling_queue
from ftzard.errors import ConfigError, DataError, ModelError, TrackingError, WorkspaceError
from tests.trained import NAME, own, trained  # noqa: F401 - the small trained workspace

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def opened(trained) -> ftzard.Workspace:  # noqa: F811
    return ftzard.open_workspace(trained.root)


def test_the_import_is_light_and_every_name_is_there_when_it_is_used():
    code = ("import json, sys, ftzard; ftzard.open_workspace; "
            "heavy = ('torch', 'mlflow', 'dagster', 'pandas', 'numpy', 'git', 'hydra'); "
            "print(json.dumps([n for n in heavy if n in sys.modules]))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert json.loads(done.stdout) == []
    assert all(getattr(ftzard, name) is not None for name in ftzard.__all__)
    with pytest.raises(AttributeError, match="no attribute 'open_workspaces'"):
        print(ftzard.open_workspaces)


def test_every_public_call_has_types_and_a_docstring():
    calls = [api.open_workspace, api.create_workspace,
             *(value for name, value in vars(api.Workspace).items()
               if inspect.isfunction(value) and not name.startswith("_"))]
    for call in calls:
        signature = inspect.signature(call)
        assert call.__doc__ and signature.return_annotation is not inspect.Signature.empty, call
        assert all(parameter.annotation is not inspect.Parameter.empty or name == "self"
                   for name, parameter in signature.parameters.items()), call


class TestOpening:
    def test_a_folder_that_is_none_is_refused_with_the_remedy(self, tmp_path):
        with pytest.raises(WorkspaceError, match="is no workspace.*ftzard init"):
            ftzard.open_workspace(tmp_path)

    def test_a_new_one_has_the_file_s_rows_and_says_what_it_read(self, tmp_path):
        rows = [f"order {n} was {word},{label}" for n in range(40)
                for word, label in (("lovely", "good"), ("awful", "bad"))]
        (tmp_path / "my.csv").write_text("review,stars\n" + "\n".join(rows) + "\n")
        lines = []
        workspace = ftzard.create_workspace(
            tmp_path / "reviews", data=tmp_path / "my.csv", text="review", label="stars",
            say=lines.append)
        assert (workspace.root / "ftzard.yaml").is_file() and any("80" in line for line in lines)
        assert workspace.champion is None and workspace.versions() == []
        assert workspace.queue().empty
        assert ftzard.open_workspace(workspace.root).config().data.text_column == "review"
        with pytest.raises(WorkspaceError, match="is a workspace already"):
            ftzard.create_workspace(workspace.root)

    def test_the_config_is_that_of_a_run_with_the_overrides(self, opened):
        assert opened.config(["training.epochs=7"]).training.epochs == 7
        with pytest.raises(ConfigError, match="epoch"):
            opened.config(["training.epoch=7"])


class TestModels:
    def test_versions_the_champion_and_one_by_number_or_role(self, opened):
        champion = opened.champion
        assert str(champion) == f"{NAME}@1" and champion.aliases == ["champion"]
        assert opened.version(1) == opened.version("champion") == champion
        assert [v.version for v in opened.versions(NAME)] == [2, 1]
        assert opened.describe("challenger")["version"] == 2
        with pytest.raises(TrackingError, match="9"):
            opened.version(9)

    def test_predictions_are_those_of_the_command(self, opened, ftzard):
        text = "what a lovely day"
        one, = opened.predict(text)
        code, said = ftzard("predict", "--json", text, "-w", opened.root)
        assert code == 0 and json.loads(said) == one
        assert one["label"] in one["probabilities"] and 0 < one["confidence"] <= 1
        assert [row["text"] for row in opened.predict([text, "b"], model=2)] == [text, "b"]
        assert opened.predict([]) == []
        with pytest.raises(ModelError, match="empty text"):
            opened.predict([""])

    def test_two_versions_are_compared_on_a_file(self, opened, tmp_path):
        rows = pd.read_parquet(opened.root / opened.config().paths.tokenized)
        file = tmp_path / "rows.csv"
        rows.loc[rows["split"] == "test", ["text", "label"]].to_csv(file, index=False)
        found = opened.compare(1, "challenger", file=file)
        assert found.names == (f"{NAME}@1", f"{NAME}@2") and "rows" in found.verdict()

    def test_a_promotion_and_back(self, own):  # noqa: F811
        workspace = ftzard.open_workspace(own.root)
        done = workspace.promote(2, reason="a trial of the library", person="ada")
        assert (str(done.champion), str(done.before)) == (f"{NAME}@2", f"{NAME}@1")
        assert workspace.champion.version == 2
        workspace.rollback(reason="and back")
        assert workspace.champion.version == 1

    def test_history_and_lineage(self, opened):
        adapters = opened.history("adapter")
        assert adapters and {line["artifact"] for line in adapters} == {"adapter"}
        assert opened.status()["champion"]["version"] == 1
        assert opened.lineage("champion")["version"] == 1


def test_the_documented_example_runs_on_a_trained_workspace(opened, tmp_path):
    """The other example needs a file and a job: tests/test_readme.py runs both after the rest."""
    text = (ROOT / "docs/how-to/library.md").read_text(encoding="utf-8")
    example, = (block for block in re.findall(r"```python\n(.*?)```", text, flags=re.S)
                if 'open_workspace("reviews")' in block)
    (tmp_path / "reviews").symlink_to(opened.root)
    code = example.replace('versions("reviews")', f'versions("{NAME}")')
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert f"{NAME}@1 ['champion'] promote" in done.stdout
    assert "quick and lovely" in done.stdout and "0 rows wait for labels" in done.stdout


@pytest.fixture
def asked(workspace) -> ftzard.Workspace:
    """A workspace with a batch of four rows that wait for labels."""
    queue = pd.DataFrame({
        "id": [f"b1_{n}" for n in range(4)], "batch": "b1", "text": [f"text {n}" for n in range(4)],
        "suggestion": "", "confidence": "", "side": "train", "chosen_by": "uncertainty",
        "group": "", "blind": "yes", "label": ""})
    (workspace.root / "ftzard.yaml").write_text("data: {labels: {joy: joy, anger: anger}}\n")
    workspace.labelling.mkdir(parents=True, exist_ok=True)
    labeling_queue.queue_csv(queue, workspace.labelling / "b1.csv")
    return ftzard.open_workspace(workspace.root)


class TestLabels:
    def test_a_filled_in_queue_and_a_mapping_become_a_file_of_the_drop_folder(self, asked):
        queue = asked.queue()
        assert queue["id"].tolist() == ["b1_0", "b1_1", "b1_2", "b1_3"]
        first = asked.submit_labels(queue.assign(label=["joy", "", "", "anger"]), person="Ada L.")
        second = asked.submit_labels({"b1_1": "joy"})
        assert first.parent == second.parent == asked.paths.labelled and first != second
        rows = labeling_queue.read_labelled(first)
        assert rows[["id", "text", "label"]].to_numpy().tolist() == [
            ["b1_0", "text 0", "joy"], ["b1_3", "text 3", "anger"]]
        assert set(rows["labelled_by"]) == {"Ada L."} and (rows["labelled_at"] != "").all()

    def test_a_file_is_handed_in_as_it_is_filled_in(self, asked, tmp_path):
        file = tmp_path / "mine.csv"
        asked.queue().assign(label="joy").to_csv(file, index=False)
        rows = labeling_queue.read_labelled(asked.submit_labels(file, person="bob"))
        assert len(rows) == 4 and set(rows["labelled_by"]) == {"bob"}

    @pytest.mark.parametrize(("labels", "words"), [
        ({"b2_7": "joy"}, "unknown id 'b2_7'"), ({"b1_0": "jot"}, "unknown label 'jot'.*'joy'"),
        ({}, "none of the rows has a label"),
        (pd.DataFrame({"id": ["b1_0", "b1_0"], "label": ["joy", "anger"]}), "different labels"),
        (pd.DataFrame({"id": ["b1_0"], "lable": ["joy"]}), "no column 'label'.*'lable'")])
    def test_what_cannot_count_is_refused_and_nothing_is_written(self, asked, labels, words):
        with pytest.raises(DataError, match=words):
            asked.submit_labels(labels)
        assert list(asked.paths.labelled.glob("*.csv")) == []

    def test_without_a_queue_the_error_names_the_job(self, workspace):
        with pytest.raises(DataError, match="inference_pipeline_job"):
            ftzard.open_workspace(workspace.root).submit_labels({"a": "joy"})


def test_a_job_that_cannot_run_is_refused_before_it_begins(opened):
    with pytest.raises(WorkspaceError, match="did you mean 'training_pipeline_job'"):
        opened.run("trainig_pipeline_job")
    with pytest.raises(ConfigError, match="epochs"):
        opened.run("training_pipeline_job", ["training.epoch=1"])


@pytest.mark.jobs
def test_a_run_has_an_outcome_and_a_failed_one_raises(tmp_path, monkeypatch):
    rows = [f"order {n} was {word} {n % 7},{label}" for n in range(60)
            for word, label in (("lovely", "good"), ("awful", "bad"))]
    (tmp_path / "my.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    workspace = ftzard.create_workspace(tmp_path / "ws", data=tmp_path / "my.csv")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    lines = []

    async def in_a_notebook():  # where an event loop runs already
        return workspace.run("cleaning_job", say=lines.append)

    outcome = asyncio.run(in_a_notebook())
    assert outcome.success and outcome.job == "cleaning_job" and outcome.notebooks.is_dir()
    assert {a["name"] for a in outcome.artifacts} >= {"cleaned"}
    assert any(line.startswith("✓ cleaning") for line in lines)
    assert workspace.history("cleaned")[0]["rows"] == 120
    assert "DAGSTER_HOME" not in os.environ
    missing = ["data.source=data/nowhere.csv"]
    with pytest.raises(ftzard.JobError, match="cleaning_job failed in cleaning.*nowhere"):
        workspace.run("cleaning_job", missing)
    failed = workspace.run("cleaning_job", missing, check=False)
    assert not failed.success and failed.failed_step == "cleaning" and failed.to_dict()["failure"]
