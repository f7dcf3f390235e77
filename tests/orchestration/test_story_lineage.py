"""What whole jobs leave for whoever asks later: pages that lead to each other, and lineage."""

import json
from pathlib import Path

import pytest

from ftzard.config.pipeline import STEPS
from ftzard.registry.lineage import history, lineage, records
from ftzard.steps.versioning import HISTORY
from ftzard.tracking import runs

pytestmark = pytest.mark.jobs

MODEL = "FalconSentiAnalysis"


def test_each_artifact_s_page_leads_to_its_mlflow_run_and_shows_the_step_s_plot(story):
    names = {run.info.run_id: run.data.tags["step"] for run in story.record.children}
    for step in STEPS:
        for name in step.yields:
            told = story.record.materializations[name]
            run_id = told["MLflow run"].partition("(")[2].rstrip(")")
            assert names[run_id] == step.name and (
                f"/runs/{run_id}?" in told["MLflow page"])
            assert "data:image/png;base64," in told.get("plots", "") or step.name == "inference"
    columns = story.record.materializations["cleaned"]["dagster/column_schema"].columns
    assert {column.name for column in columns} >= {"id", "batch", "row", "text", "label"}


def test_every_version_of_a_step_is_in_its_commit_history_and_pushed_in_the_end(story):
    sent = story.tool("ftzard", "push", "-w", story.root, at=story.root)
    assert sent.returncode == 0, sent.stdout
    tracking, here = story.tracking(), set(story.git("rev-list", story.record.head).split())
    for run in story.record.top:
        step = next(s for s in STEPS if s.run_name == run.info.run_name)
        if not step.versioned:
            assert HISTORY not in runs.files(tracking, run.info.run_id)
            continue
        entries = json.loads(runs.read(tracking, run.info.run_id, HISTORY))
        keys = [(entry["artifact"], entry["commit"]) for entry in entries]
        assert len(keys) == len(set(keys))
        assert all(entry["pushed"] for entry in entries if entry["commit"] in here)
        for child in story.record.children:
            if child.data.tags["step"] == step.name:
                metadata = json.loads(runs.read(tracking, child.info.run_id, "metadata.json"))
                made = {(a["name"], child.data.tags[f"data_version.{a['name']}"])
                        for a in metadata["artifacts"]}
                assert made <= set(keys)


def test_every_model_s_lineage_holds_together(story):
    kept = records(story.root)[MODEL]
    versions = {(v["path"], v["commit"]): v for v in history(story.workspace)}
    for number, record in kept.items():
        told = lineage(story.workspace, f"{MODEL}@{number}")
        assert told["code"]["commit"] and told["code"]["code_hash"]
        steps = [run["step"] for run in told["runs"]]
        assert {"cleaning", "preprocessing", record["step"]} <= set(steps)
        assert ("tuning" in steps) == (record["step"] == "choosing")
        for run in told["runs"]:
            assert run["state"] == "FINISHED" and run["notebook"]["artifact"]
            assert (story.root / run["notebook"]["file"]).is_file()
        used = {v["artifact"] for v in told["data"] if v["used"]}
        assert {"delivery", "cleaned", "tokenized", "base"} <= used
        for version in told["data"]:
            named = f"{MODEL}@{number}" in versions[version["path"], version["commit"]]["models"]
            assert named == version["used"], version
    assert [p["version"] for p in lineage(story.workspace, f"{MODEL}@2")["parents"]] == [1]


def test_a_clone_tells_every_version_with_its_rows(story, tmp_path):
    story.git("clone", "-q", str(story.remotes / "git"), str(tmp_path / "clone"))
    done = story.tool("ftzard", "history", "--json", "-w", tmp_path / "clone", at=tmp_path)
    told = json.loads(done.stdout)
    tables = [v for v in told if Path(v["path"]).suffix == ".parquet"]
    assert tables and all(v["rows"] for v in tables if v["artifact"] != "rejected")
    done = story.tool("ftzard", "lineage", "-w", tmp_path / "clone", at=tmp_path)
    assert done.returncode == 0 and "not in this MLflow store" in done.stdout
