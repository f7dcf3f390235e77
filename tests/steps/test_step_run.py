"""A step's run is closed however its notebook ends: last cell, failed cell, exit, kill."""

import subprocess
import sys

import pytest

from ftzard.tracking import runs
from ftzard.tracking.workspace_store import connect

pytestmark = pytest.mark.slow

NOTEBOOK = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("raw, overrides = 'data/raw/mine.csv', ['seed=5']")
shell.run_cell("from ftzard.steps.step_run import start_step")
shell.run_cell("run = start_step('cleaning', globals())")
shell.run_cell("trial = run.trial(0, {'rank': 8})")
shell.run_cell(sys.argv[1])
"""


@pytest.mark.parametrize(("last_cell", "status", "reason"), [
    ("run.end_trial(trial); run.finish()", "FINISHED", None),
    ("1 / 0", "FAILED", "ZeroDivisionError: division by zero"),
    ("'not the last cell'", "KILLED", "the kernel ended before the last cell"),
    ("import os; os.kill(os.getpid(), 9)", "KILLED", "ended without closing the run"),
], ids=["last cell", "failed cell", "kernel ended", "kernel killed"])
def test_a_run_is_closed_as_its_notebook_ends(workspace, last_cell, status, reason):
    (workspace.raw / "mine.csv").write_text("text,label\nhello,glad\n")
    done = subprocess.run([sys.executable, "-c", NOTEBOOK, last_cell], cwd=workspace.notebooks,
                          text=True, capture_output=True)
    tracking = connect(workspace, workspace.config())
    if "kill" in last_cell:
        assert done.returncode == -9
        assert runs.children(tracking)[0].info.status == "RUNNING"
        assert len(runs.reconcile(tracking)) == 2
    run, = runs.children(tracking, "DATA_CLEANING")
    trial, = runs.children(tracking, level=runs.TRIAL)
    assert run.info.status == trial.info.status == status, done.stdout
    assert reason is None or reason in run.data.tags["ftzard.reason"]
    assert run.data.params["seed"] == "5"
    top, = runs.children(tracking, level=runs.TOP)
    assert top.info.status == "FINISHED"


def test_a_refusal_before_the_run_opens_leaves_no_run(workspace):
    code = NOTEBOOK.replace("mine.csv", "nothing.csv")
    done = subprocess.run([sys.executable, "-c", code, "pass"], cwd=workspace.notebooks, text=True,
                          capture_output=True)
    assert "✗ raw: data/raw/nothing.csv does not exist" in done.stderr + done.stdout
    assert runs.children(connect(workspace, workspace.config())) == []
