"""Copies of the notebooks: an unedited one follows the installed release, an edited one stays."""

import json
import os
import resource
import shutil
import signal
from pathlib import Path

import pytest

from ftzard.config.pipeline import NOTEBOOKS
from ftzard.core.notebook_hash import notebook_hash
from ftzard.doctor import OK, WARNING, WRONG, machine
from ftzard.errors import WorkspaceError
from ftzard.workspace import notebook_copies
from ftzard.workspace.workspace import Workspace

CLEANING = "Step1_Data_Cleaning.ipynb"


def edit(notebook: Path, old: str = "", new: str = "# mine\n") -> None:
    """Change the notebook's last code cell: replace `old`, or put `new` before it."""
    cells = json.loads(notebook.read_text())
    cell = [cell for cell in cells["cells"] if cell["cell_type"] == "code"][-1]
    text = "".join(cell["source"])
    cell["source"] = text.replace(old, new) if old else new + text
    notebook.write_text(json.dumps(cells))


@pytest.fixture
def older(workspace_v1, tmp_path) -> Workspace:
    """A workspace with the notebooks of the first release."""
    shutil.copytree(workspace_v1, tmp_path / "ws", symlinks=True)
    return Workspace(tmp_path / "ws")


def test_every_packaged_notebook_is_on_the_list_of_released_ones():
    """By it the next release knows an unedited copy: run tools/released_notebooks.py."""
    listed = {tuple(line.split()) for line in notebook_copies.RELEASED.read_text().splitlines()}
    assert {(notebook_hash(path), path.name) for path in NOTEBOOKS.rglob("*.ipynb")} <= listed


def test_packaged_notebooks_use_only_what_this_release_has():
    for notebook in NOTEBOOKS.rglob("*.ipynb"):
        assert notebook_copies._missing(notebook) == [], notebook


def test_unedited_copies_of_the_first_release_become_this_release_s(older):
    finding, = machine.notebooks(older)
    assert finding.state == WARNING and "11 unedited copies" in finding.sentence
    replaced = notebook_copies.refresh(older, [CLEANING, "Git_Dvc.ipynb"])
    assert replaced == [f"notebooks/{CLEANING}", "notebooks/Git_Dvc.ipynb"]
    assert (older.notebooks / CLEANING).read_bytes() == (NOTEBOOKS / CLEANING).read_bytes()
    machine.notebooks(older)[0].mend()
    assert machine.notebooks(older)[0].sentence == "as packaged."
    assert notebook_copies.refresh(older) == []


@pytest.mark.parametrize("written", [0, 3_000, 4_300])
def test_a_kill_in_the_middle_of_refreshing_leaves_no_torn_copy_and_the_next_goes_on(
        older, written):
    """The process is killed by the system at the first file that gets longer than so many bytes."""
    (older.notebooks / "Step1_Data_Cleaning.ipynb").unlink()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (written, written))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        notebook_copies.update(older)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGXFSZ
    for copy in older.notebooks.glob("*.ipynb"):
        notebook_hash(copy)  # raises for a torn one
    assert notebook_copies.edited(older) == []
    notebook_copies.update(older)
    assert [notebook_hash(path) for path in sorted(older.notebooks.glob("*.ipynb"))] == [
        notebook_hash(path) for _, path in sorted(notebook_copies.packaged(older.task).items())]


def test_outputs_and_counts_make_no_copy_an_edited_one(older):
    copy = older.notebooks / CLEANING
    notebook = json.loads(copy.read_text())
    notebook["cells"][-1] |= {"outputs": [], "execution_count": 7}
    copy.write_text(json.dumps(notebook))
    assert notebook_copies.refresh(older, [CLEANING]) == [f"notebooks/{CLEANING}"]


def test_an_edited_copy_of_the_first_release_is_refused_and_nothing_is_replaced(older, ftzard):
    edit(older.notebooks / CLEANING)
    before = {path.name: path.read_bytes() for path in older.notebooks.iterdir()}
    with pytest.raises(WorkspaceError) as refused:
        notebook_copies.refresh(older)
    for words in (f"notebooks/{CLEANING}", "ftzard.notebooks.chapter", "Move it away",
                  "ftzard init .", "bring your edits over"):
        assert words in str(refused.value)
    assert {path.name: path.read_bytes() for path in older.notebooks.iterdir()} == before
    assert {finding.state for finding in machine.notebooks(older)} == {WRONG, WARNING}

    (older.notebooks / CLEANING).rename(older.notebooks / "mine.ipynb")
    code, output = ftzard("init", older.root)
    assert code == 0 and f"notebooks/{CLEANING} is this release's now" in output
    assert (older.notebooks / "mine.ipynb").read_bytes() == before[CLEANING]
    assert machine.notebooks(older)[0].sentence == "as packaged."


@pytest.mark.jobs
def test_a_run_refuses_an_edited_copy_with_that_sentence(older, tool):
    edit(older.notebooks / CLEANING)
    done = tool("ftzard", "run", "cleaning_job", "-w", older.root, at=older.root)
    assert done.returncode == 1 and f"notebooks/{CLEANING} was edited" in done.stdout
    assert "ftzard init ." in done.stdout


def test_an_edited_copy_that_this_release_can_run_stays(workspace):
    edit(workspace.notebooks / CLEANING)
    before = (workspace.notebooks / CLEANING).read_bytes()
    assert notebook_copies.refresh(workspace) == []
    assert (workspace.notebooks / CLEANING).read_bytes() == before
    finding, = machine.notebooks(workspace)
    assert finding.state == OK and CLEANING in finding.sentence


@pytest.mark.parametrize(("code", "missing"), [
    ("from ftzard.steps.step_run import begin\n", "ftzard.steps.step_run.begin"),
    ("from ftzard.data import reading, texts\n", "ftzard.data.texts"),
    ("import ftzard.gone\n", "ftzard.gone"),
    ("from ftzard.data import reading as r\nr.read_everything()\n",
     "ftzard.data.reading.read_everything"),
])
def test_what_an_edited_copy_uses_and_the_release_lacks_is_named(workspace, code, missing):
    edit(workspace.notebooks / CLEANING, new=f"%matplotlib inline\n{code}")
    with pytest.raises(WorkspaceError, match=missing.replace(".", r"\.")):
        notebook_copies.refresh(workspace)
