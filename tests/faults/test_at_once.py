"""Several at once in one workspace: one works, the others wait and say for whom."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dagster import DagsterInstance

from ftzard.core.locks import locked
from ftzard.orchestration import dead_runs
from tests.faults.test_killed import sound
from tests.orchestration.texts import end, started

pytestmark = pytest.mark.jobs


def test_two_jobs_and_a_notebook_at_once_wait_for_each_other(story, tmp_path):
    before = story.git("rev-parse", "HEAD")
    at_once = [started(story.workspace, "run", "cleaning_job", "data.sample_rows=500"),
               started(story.workspace, "run", "preprocessing_job", "model.max_length=61"),
               subprocess.Popen(
                   [Path(sys.executable).parent / "jupyter", "nbconvert", "--to", "notebook",
                    "--execute", "--output-dir", tmp_path,
                    story.workspace.notebooks / "Step2_Data_Preprocessing.ipynb"],
                   cwd=story.root, text=True, start_new_session=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)]
    try:
        said = [process.communicate(timeout=300)[0] for process in at_once]
    finally:
        for process in at_once:
            end(process)
    assert [process.returncode for process in at_once] == [0, 0, 0], said
    told = said + [p.read_text() for p in tmp_path.glob("*.ipynb")]
    assert any("waiting:" in words and "holds" in words for words in told), said
    assert story.open_runs() == []
    for job in ("cleaning_job", "preprocessing_job"):  # what was made by hand is not versioned
        assert story.tool("ftzard", "run", job, "-w", story.root, at=story.root).returncode == 0
    sound(story, before)


def test_a_run_that_waits_for_the_workspace_is_not_taken_for_dead(story):
    holder = {"pid": os.getpid(), "run_id": "another run"}
    with locked(story.workspace.state / "run.lock", holder):
        process = started(story.workspace, "run", "cleaning_job")
        try:
            assert any("waiting:" in line for line in process.stdout)
            with DagsterInstance.from_config(str(story.workspace.dagster_home)) as instance:
                assert dead_runs.close_dead_runs(instance, story.workspace, start_s=-1.0) == []
        except BaseException:
            end(process)
            raise
    try:
        said, _ = process.communicate(timeout=120)
    finally:
        end(process)
    assert process.returncode == 0, said
