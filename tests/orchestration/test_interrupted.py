"""Ctrl-C: no process is left, and nothing stays RUNNING."""

import time

import pytest
from dagster import DagsterInstance

from ftzard.tracking import runs
from tests.orchestration.texts import end, interrupt, living, started

pytestmark = pytest.mark.jobs


def test_ctrl_c_in_the_middle_of_training_ends_everything_soon(story):
    known = {r.info.run_id for r in runs.children(story.tracking())}
    process = started(story.workspace, "run", "tuning_job", "training.epochs=200",
                      "training.patience=200")
    for line in process.stdout:
        if "trial 0, step" in line or "epoch 1:" in line:
            break
    assert len(living(story.workspace)) >= 1
    began = time.monotonic()
    interrupt(process)
    try:
        said, _ = process.communicate(timeout=60)
    finally:
        end(process)
    assert time.monotonic() - began < 15
    assert process.returncode == 130 and "interrupted" in said, said
    assert "Traceback" not in said
    assert living(story.workspace) == []

    left = [r for r in runs.children(story.tracking(), "HP_TUNING") if r.info.run_id not in known]
    assert [r.info.status for r in left] == ["KILLED"]
    trials = runs.children(story.tracking(), level=runs.TRIAL, parent=left[0].info.run_id)
    assert {t.info.status for t in trials} == {"KILLED"}
    with DagsterInstance.from_config(str(story.workspace.dagster_home)) as instance:
        run = instance.get_run_by_id(left[0].data.tags["dagster_run_id"])
    assert run.status.value in ("CANCELED", "FAILURE")
    assert story.open_runs() == []
