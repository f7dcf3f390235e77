"""Bad input through whole jobs: our sentence first, a failed run, nothing half-written."""

import json

import pandas as pd
import pytest

from ftzard.tracking import runs
from tests.orchestration.texts import SHIPPED, easy_texts

pytestmark = pytest.mark.jobs


def one_class() -> pd.DataFrame:
    return easy_texts(120, seed=5).assign(mood="glad")


def unknown_labels() -> pd.DataFrame:
    rows = easy_texts(120, seed=6)
    rows.loc[rows.index % 3 == 0, "mood"] = "gladd"
    return rows


def missing_column() -> pd.DataFrame:
    return easy_texts(120, seed=7).rename(columns={"tweet": "twet"})


@pytest.mark.parametrize(("make", "words"), [
    (missing_column, ["tweet", "twet"]),
    (unknown_labels, ["40 of 120 rows cannot be used", "unknown label 'gladd'", "data.labels"]),
    (one_class, ["All 120 rows are labelled 'glad'", "two classes"]),
], ids=["missing column", "unknown labels", "one class"])
def test_bad_rows_fail_the_job_and_change_nothing(story, tmp_path, make, words):
    make().to_csv(tmp_path / "bad.csv", index=False)
    head, artifacts = story.git("rev-parse", "HEAD"), story.artifacts()
    known = {r.info.run_id for r in runs.children(story.tracking())}

    ran = story.tool("ftzard", "run", "cleaning_job", f"data.source={tmp_path / 'bad.csv'}", "-w",
                     story.root, at=story.root)

    assert ran.returncode == 1
    failure = next(line for line in ran.stdout.splitlines()
                   if line.startswith("✗ cleaning_job failed"))
    assert failure.startswith("✗ cleaning_job failed in cleaning: ")
    assert all(word in failure for word in words), failure
    assert "Traceback" not in ran.stdout and "PapermillExecutionError" not in ran.stdout
    assert story.artifacts() == artifacts and story.git("rev-parse", "HEAD") == head
    assert story.git("status", "--porcelain", "data", "models") == ""

    run, = (r for r in runs.children(story.tracking(), "DATA_CLEANING")
            if r.info.run_id not in known)
    assert run.info.status == "FAILED"
    assert all(word in run.data.tags["ftzard.reason"] for word in words)
    kept = story.workspace.executed / run.data.tags["dagster_run_id"] / "cleaning.ipynb"
    assert f"✗ {failure.split(': ', 1)[1]}"[:60] in "".join(
        "".join(output.get("text", "")) for cell in json.loads(kept.read_text())["cells"]
        for output in cell.get("outputs", []))
    assert str(kept.parent) in ran.stdout
    assert story.open_runs() == []


def test_a_place_said_twice_differently_fails_before_a_kernel_starts(story):
    ran = story.tool("ftzard", "run", "inference_preprocessing_job", "data.incoming=other.csv",
                     "-c", SHIPPED / "inference_preprocessing_job.yaml", "-w", story.root,
                     at=story.root)
    assert ran.returncode == 1
    failure = next(line for line in ran.stdout.splitlines() if "is given twice" in line)
    assert "'data.incoming'" in failure and "data/incoming/new_data.csv" in failure
    assert "▸" not in ran.stdout and "Traceback" not in ran.stdout
    assert story.open_runs() == []
