"""What is unchanged is not run again: on the workspace of the story, whose jobs have all run."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from ftzard.config.pipeline import BY_NAME
from ftzard.core import installed
from ftzard.steps import reuse
from ftzard.steps.inputs import given_or_latest, latest_metadata
from ftzard.tracking import registry, runs
from ftzard.workspace import step_results
from ftzard.workspace.workspace import Workspace
from tests.trained import move_store

pytestmark = pytest.mark.jobs
NAME = "FalconSentiAnalysis"


@pytest.fixture(scope="module")
def ended(story):
    """The story, with executions of three steps that hold, whatever other tests have done."""
    for name in ("preprocessing", "tuning", "choosing"):
        if asked(story.workspace, name).result is None:
            story.run(f"{name}_job")
    return story


def counted(story) -> tuple:
    """Return what a run that computes nothing leaves as it was."""
    tracking = story.tracking()
    return (len(runs.children(tracking)), len(runs.children(tracking, level=runs.TRIAL)),
            len(registry.versions(tracking, NAME)), story.git("rev-parse", "HEAD"),
            story.git("status", "--porcelain"), story.workspace.report.read_bytes(),
            story.artifacts())


def test_an_unchanged_step_is_not_run_again_and_says_whose_outputs_stand(ended):
    story = ended
    before = counted(story)
    done = story.tool("ftzard", "run", "preprocessing_job", "--json", "-w", story.root,
                      at=story.root)
    outcome = json.loads(done.stdout[done.stdout.index("{"):])
    assert done.returncode == 0 and outcome["success"]
    assert counted(story) == before
    latest = latest_metadata(BY_NAME["preprocessing"], story.workspace)
    assert outcome["reused"]["preprocessing"]["run_id"] == latest["run_id"]
    assert outcome["reused"]["preprocessing"]["commit"] == latest["commit"]
    shown = nbformat.read(Path(outcome["notebooks"]) / "preprocessing.ipynb", as_version=4)
    assert latest["run_id"] in shown.cells[0].source and len(shown.cells) > 5
    assert runs.known(story.tracking(), latest["run_id"]).info.status == "FINISHED"


def test_an_unchanged_training_registers_nothing_and_its_verdict_stands(ended):
    story = ended
    before = counted(story)
    said = story.run("tuning_job").said + story.run("choosing_job").said
    assert said.count("not run again") == 2 and "nothing to commit" in said
    assert counted(story) == before
    verdict = latest_metadata(BY_NAME["choosing"], story.workspace)["facts"]["verdict"]
    assert f"verdict: {verdict['decision']}" in said


def test_an_edited_notebook_runs_each_time_and_what_follows_goes_by_the_content(story):
    """The story's user has edited the notebook of step 1."""
    said = story.run("cleaning_job").said
    assert "Step1_Data_Cleaning.ipynb was edited" in said and "not run again" not in said
    assert "not run again" in story.run("preprocessing_job").said


@pytest.fixture
def copied(ended, tmp_path) -> Workspace:
    story, root = ended, tmp_path / "ws"
    shutil.copytree(story.root, root, symlinks=True)
    move_store(root / ".ftzard/mlflow.db", story.root, root)
    return Workspace(root)


def asked(workspace: Workspace, name: str, *overrides: str) -> reuse.Answer:
    """Return whether a job of this step would run it."""
    step, config = BY_NAME[name], workspace.config({"overrides": list(overrides)})
    inputs = {one: given_or_latest(one, None, workspace, config).to_dict() for one in step.takes}
    if step.after:
        inputs[f"{step.after}_metadata"] = latest_metadata(BY_NAME[step.after], workspace)
    question = reuse.question(step, workspace, config, inputs, None)
    return reuse.answer(step, workspace, config, question)


def test_only_what_a_step_reads_is_a_reason_to_run_it(copied):
    assert asked(copied, "tuning").result
    assert asked(copied, "tuning", "gate.min_gain=0.03", "drift.clearing=0.1").result
    assert asked(copied, "tuning", "training.epochs=3").why == "training.epochs was 2 and is 3"
    assert asked(copied, "choosing", "gate.min_gain=0.03").why.startswith("gate.min_gain was")
    assert asked(copied, "preprocessing", "training.epochs=3", "tuning.trials=1").result
    assert not asked(copied, "preprocessing", "model.max_length=32").result
    for always in ("inference", "sampling"):
        assert asked(copied, always).why == BY_NAME[always].always


def test_changed_code_packages_functions_or_notebooks_are_reasons(copied, monkeypatch, tmp_path):
    package = tmp_path / "numpy-99.dist-info"
    package.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert asked(copied, "tuning").result  # what is installed is looked at once per process
    installed.packages.cache_clear()
    assert asked(copied, "tuning").why == "the set of packages has changed"
    monkeypatch.undo()
    installed.packages.cache_clear()
    assert asked(copied, "tuning").result
    code = installed.code(Path(reuse.ftzard.__file__).parent)
    library = shutil.copytree(Path(reuse.ftzard.__file__).parent, tmp_path / "ftzard")
    assert installed.code(library) == code
    with open(library / "reporting" / "report.py", "a") as stream:
        stream.write("# another\n")
    assert installed.code(library) != code
    (copied.root / "custom" / "prices.py").write_text('PRICE = {"glad": 2, "sad": 10}\n')
    assert asked(copied, "choosing").why == "the code in custom/ has changed"
    assert asked(copied, "preprocessing").result is None
    shutil.copytree(Path(copied.root) / "custom", tmp_path / "kept")
    notebook = copied.notebooks / "Step2_Data_Preprocessing.ipynb"
    content = nbformat.read(notebook, as_version=4)
    content.cells.append(nbformat.v4.new_code_cell("1 + 1"))
    nbformat.write(content, notebook)
    assert "was edited" in asked(copied, "preprocessing").why


def test_what_is_gone_or_has_other_bytes_is_made_again(copied):
    tokenized = copied.root / copied.config().paths.tokenized
    assert asked(copied, "preprocessing").result
    content = tokenized.read_bytes()
    tokenized.write_bytes(content + b"\0")
    assert asked(copied, "preprocessing").why.startswith("data/tokenized/")
    tokenized.unlink()
    facts = step_results.newest(copied, "preprocessing")
    assert step_results.changed_file(copied, facts) == "data/tokenized/tokenized.parquet"
    tokenized.write_bytes(content)
    trial = latest_metadata(BY_NAME["tuning"], copied)["facts"]["trials"][0]
    adapter = copied.mlflow_artifacts / trial["run_id"] / "artifacts" / trial["adapter"]
    adapter.write_bytes(adapter.read_bytes()[:-4])
    assert "the adapter of" in asked(copied, "tuning").why
    entry = next((step_results.folder(copied) / "choosing").glob("*.json"))
    assert asked(copied, "choosing").result
    for file in entry.parent.glob("*.json"):
        file.write_text(file.read_text()[:200])
    assert asked(copied, "choosing") == reuse.Answer(None)
    shutil.rmtree(step_results.folder(copied))
    assert asked(copied, "preprocessing") == reuse.Answer(None)


def test_git_dvc_is_left_out_only_for_what_git_and_dvc_have_as_it_is(copied):
    config = copied.config()
    metadata = latest_metadata(BY_NAME["preprocessing"], copied)
    assert reuse.is_committed(copied, config, metadata)
    for other in ({"commit": None}, {"pushed": "not pushed"}, {"commit": "0" * 40}):
        assert not reuse.is_committed(copied, config, metadata | other)
    off = replace(config, versioning=replace(config.versioning, push=False))
    assert reuse.is_committed(copied, off, metadata | {"pushed": "off"})
    assert not reuse.is_committed(copied, config, metadata | {"pushed": "off"})
    pointer = copied.root / "data/tokenized/tokenized.parquet.dvc"
    pointer.write_text(pointer.read_text().replace("rows: ", "rows: 1"))
    assert not reuse.is_committed(copied, config, metadata)
