"""The notebooks by hand, without Dagster: the same notebook, the same record."""

import json

import pytest

from ftzard.tracking import runs

pytestmark = pytest.mark.jobs


def test_a_notebook_runs_by_hand_and_git_dvc_after_it(story, tmp_path):
    """nbconvert stands in the notebook's folder; nothing tells it where the workspace is."""
    before, artifacts = story.git("rev-parse", "HEAD"), story.artifacts()
    notebook = story.workspace.notebooks / "Step1_Data_Cleaning.ipynb"
    done = story.tool("jupyter", "nbconvert", "--to", "notebook", "--execute", notebook,
                      "--output-dir", tmp_path, at=story.workspace.notebooks)
    assert done.returncode == 0, done.stdout

    tracking = story.tracking()
    top, = runs.children(tracking, "DATA_CLEANING", level=runs.TOP)
    run = runs.children(tracking, "DATA_CLEANING")[0]
    assert run.data.tags["mlflow.parentRunId"] == top.info.run_id
    assert run.info.status == "FINISHED" and run.data.tags["dagster_run_id"] == "none"
    earlier = next(r for r in story.record.children if r.data.tags["step"] == "cleaning"
                   and "data_sha256.raw" in r.data.tags)
    assert run.data.tags["notebook_hash"] == earlier.data.tags["notebook_hash"]
    assert run.data.tags["git_commit"] == before
    told = json.loads(runs.read(tracking, run.info.run_id, "metadata.json"))
    assert told["facts"]["cells_not_saved"] == 0  # what ran is the file, cell by cell
    assert story.artifacts() == artifacts

    done = story.tool("papermill", story.workspace.notebooks / "Git_Dvc.ipynb",
                      tmp_path / "git.ipynb", "-p", "step", "cleaning", at=story.root)
    assert done.returncode == 0, done.stdout
    said = (tmp_path / "git.ipynb").read_text()
    assert "nothing changed, still" in said
    assert story.git("rev-parse", "HEAD") == before
    run = tracking.client.get_run(run.info.run_id)
    assert len(run.data.tags["data_version.cleaned"]) == 40
    assert story.open_runs() == []


def test_a_failing_notebook_by_hand_shows_its_sentence_first(story, tmp_path):
    source = json.loads((story.workspace.notebooks / "Step1_Data_Cleaning.ipynb").read_text())
    cell = next(c for c in source["cells"] if "parameters" in c["metadata"].get("tags", []))
    cell["source"] = ["raw = 'data/raw/nothing.csv'\n", "overrides = []"]
    (tmp_path / "wrong.ipynb").write_text(json.dumps(source))
    done = story.tool("papermill", tmp_path / "wrong.ipynb", tmp_path / "out.ipynb", "--cwd",
                      story.workspace.notebooks, at=story.root)
    assert done.returncode != 0
    outputs = [output for c in json.loads((tmp_path / "out.ipynb").read_text())["cells"]
               for output in c.get("outputs", [])
               if c.get("metadata", {}).get("papermill", {}).get("status") != "completed"]
    first, second = outputs
    assert "".join(first["text"]).startswith("✗ raw: data/raw/nothing.csv does not exist")
    assert second["output_type"] == "error"
    assert story.open_runs() == []
