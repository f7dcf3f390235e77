"""What a job that a person starts takes from its drop folder, and what sensors make of it."""

import os

import pytest
import yaml
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.utils import make_new_run_id

from ftzard.config.pipeline import JOBS, drop_folder
from ftzard.errors import ConfigError, DataError
from ftzard.orchestration import drop_folder_runs
from ftzard.orchestration.file_selection import FileSelection, select_file

INFERENCE, RETRAINING = "inference_pipeline_job", "retraining_pipeline_job"
TRAINING = "training_pipeline_job"


@pytest.fixture
def instance(monkeypatch):
    monkeypatch.setattr(drop_folder_runs, "LOOKS_APART_S", 0.01)
    with DagsterInstance.ephemeral() as instance:
        yield instance


def dropped(folder, name: str, text: str = "text\nhello\n"):
    path = folder / name
    path.write_text(text)
    os.utime(path, (1_000_000, 1_000_000))
    return path


def ran(instance, found: FileSelection, job: str = INFERENCE, status=DagsterRunStatus.SUCCESS):
    run = DagsterRun(job_name=job, run_id=make_new_run_id(), tags=found.tags, status=status)
    return instance.add_run(run)


def test_which_jobs_take_a_dropped_file():
    assert {job: drop_folder(job).name for job in JOBS if drop_folder(job)} == {
        INFERENCE: "incoming", "inference_preprocessing_job": "incoming", RETRAINING: "labelled",
        TRAINING: "raw_incoming", "cleaning_job": "raw_incoming"}


@pytest.mark.parametrize(("job", "folder", "key"), [
    (INFERENCE, "incoming", "incoming"), (RETRAINING, "labelled", "labelled"),
    (TRAINING, "raw_incoming", "source")])
def test_the_only_file_that_waits_is_taken_once_and_sensors_know(instance, workspace, job, folder,
                                                                 key):
    dropped(getattr(workspace, folder), "march.csv")
    found = select_file(instance, workspace, job, {"data": {"sample_rows": 5}, "overrides": []}, {})
    assert found.request == {"data": {"sample_rows": 5, key: f"data/{folder}/march.csv"},
                             "overrides": []}
    ran(instance, found, job)
    with pytest.raises(DataError, match=(
            rf"taken already: march.csv.* data.{key}=data/{folder}/march")):
        select_file(instance, workspace, job, {}, {})
    left = drop_folder_runs.waiting(instance, workspace, getattr(workspace, folder), job)
    assert left.ready == {}
    dropped(getattr(workspace, folder), "april.csv", "text\nanother\n")
    assert select_file(instance, workspace, job, {}, {}).request["data"] == {
        key: f"data/{folder}/april.csv"}


@pytest.mark.parametrize("said", [
    {"source": "data/raw/first.csv"}, {"mix": {"data/a.csv": 1.0, "data/b.csv": 2.0}}])
def test_rows_that_the_config_names_are_taken_as_ever_and_what_waits_is_told(instance, workspace,
                                                                             said, ftzard):
    (workspace.root / "ftzard.yaml").write_text(yaml.safe_dump({"data": said}))
    assert select_file(instance, workspace, TRAINING, {}, {}) == FileSelection({})
    dropped(workspace.raw_incoming, "more.csv")
    assert select_file(instance, workspace, TRAINING, {}, {}) == FileSelection(
        {}, waiting=("more.csv",))
    asked = {"data": {"source": "data/raw_incoming/more.csv", "mix": None}}
    found = select_file(instance, workspace, TRAINING, asked, {})
    assert found.request == asked and found.waiting == ()
    assert found.tags[drop_folder_runs.DELIVERY] == "data/raw_incoming/more.csv"
    ran(instance, found, TRAINING)
    assert drop_folder_runs.raw_incoming(instance, workspace).requests == []
    assert select_file(instance, workspace, "cleaning_job", {}, {}) == FileSelection({})


def test_several_or_none_are_listed_with_how_to_name_one(instance, workspace):
    with pytest.raises(DataError, match=r"no file waits in data/incoming \(.csv, .csv.gz,"):
        select_file(instance, workspace, INFERENCE, {}, {})
    dropped(workspace.incoming, "a.csv")
    dropped(workspace.incoming, "b.csv", "text\nanother\n")
    with pytest.raises(DataError, match=r"2 files wait in data/incoming: a.csv, b.csv. .*a.csv$"):
        select_file(instance, workspace, INFERENCE, {}, {})


def test_a_file_whose_run_failed_is_taken_again(instance, workspace):
    dropped(workspace.incoming, "a.csv")
    ran(instance, select_file(instance, workspace, INFERENCE, {}, {}),
        status=DagsterRunStatus.FAILURE)
    assert select_file(instance, workspace, INFERENCE, {}, {}).request["data"]["incoming"]


def test_one_that_is_named_is_taken_however_often(instance, workspace):
    dropped(workspace.incoming, "a.csv")
    dropped(workspace.incoming, "b.csv", "text\nanother\n")
    asked = {"overrides": ["data.incoming=data/incoming/b.csv"]}
    by_manager = {"incoming_input_manager": {"config": {"base_path": "data/incoming",
                                                        "file_name": "b.csv"}}}
    for _ in range(2):
        for found in (select_file(instance, workspace, INFERENCE, asked, {}),
                      select_file(instance, workspace, INFERENCE, {}, by_manager)):
            assert found.tags[drop_folder_runs.DELIVERY] == "data/incoming/b.csv"
            drop_folder_runs.refuse_duplicate(instance, ran(instance, found))
    ready = drop_folder_runs.waiting(instance, workspace, workspace.incoming, INFERENCE).ready
    assert [path.name for path in ready] == ["a.csv"]
    assert select_file(instance, workspace, INFERENCE, asked, {}).request == asked
    with pytest.raises(ConfigError, match="given twice"):
        select_file(instance, workspace, INFERENCE, {"data": {"incoming": "other.csv"}}, by_manager)


def test_one_from_elsewhere_is_left_to_the_step(instance, workspace):
    for name in ("data/nowhere.csv", "dvc://cleaned@" + "0" * 40):
        asked = {"data": {"incoming": name}}
        assert select_file(instance, workspace, INFERENCE, asked, {}) == FileSelection(asked)


def test_the_command_line_asks_which(ftzard, workspace):
    code, said = ftzard("run", INFERENCE, "-w", workspace.root)
    assert code == 1 and "no file waits in data/incoming" in said
    assert "data.incoming=data/incoming/march.csv" in said


def test_a_file_whose_name_is_no_text_is_named_and_holds_up_no_other(instance, workspace):
    dropped(workspace.incoming, "m\udcffrz.csv")
    dropped(workspace.incoming, "we?ird %20 'name' \U0001f600\n#.csv", "text\nanother\n")
    found = drop_folder_runs.waiting(instance, workspace, workspace.incoming, INFERENCE)
    assert [path.name for path in found.ready] == ["we?ird %20 'name' \U0001f600\n#.csv"]
    assert found.left == [r"m\udcffrz.csv: its name holds bytes that are not UTF-8; rename it"]
    tags = select_file(instance, workspace, INFERENCE, {}, {}).tags
    assert tags[drop_folder_runs.DELIVERY] == "data/incoming/we?ird %20 'name' \U0001f600\n#.csv"
    ran(instance, FileSelection({}, tags))
    with pytest.raises(DataError, match=r"was taken already"):
        select_file(instance, workspace, INFERENCE, {}, {})
    (workspace.incoming / "we?ird %20 'name' \U0001f600\n#.csv").unlink()
    with pytest.raises(DataError, match=r"no file waits.*m.*rz.csv: its name holds.*rename it"):
        select_file(instance, workspace, INFERENCE, {}, {})
