"""Runs on a real SQLite store: one top-level run per step, children by time, nothing left open."""

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow.utils.file_utils import local_file_uri_to_path

from ftzard.errors import TrackingError
from ftzard.tracking import runs

OPEN = """
import sys
from pathlib import Path
from ftzard.tracking import runs
folder = Path(sys.argv[1])
sys.stdin.readline()
tracking = runs.connect(f"sqlite:///{folder / 'mlflow.db'}", "tests", artifacts=folder / "a",
                        lock=folder / "lock")
parent = runs.top_level(tracking, "DATA_CLEANING", folder / "lock")
runs.start_child(tracking, parent, {"seed": 0}).end()
"""


def entity(tracking, run):
    return tracking.client.get_run(run.id)


@pytest.mark.slow
def test_processes_that_start_at_once_on_a_fresh_store_share_one_top_level_run(tmp_path):
    started = [subprocess.Popen([sys.executable, "-c", OPEN, str(tmp_path)], text=True,
                                stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    tracking = runs.connect(f"sqlite:///{tmp_path / 'mlflow.db'}", "tests",
                            artifacts=tmp_path / "a", lock=tmp_path / "lock")
    top = runs.children(tracking, "DATA_CLEANING", level=runs.TOP)
    assert len(top) == 1 and top[0].info.status == "FINISHED"
    children = runs.children(tracking, "DATA_CLEANING", parent=top[0].info.run_id)
    assert len(children) == 3


@pytest.mark.parametrize("how", [shutil.copytree, shutil.move])
def test_a_copied_or_moved_store_keeps_its_files_beside_itself(tmp_path, capsys, how):
    """MLflow's own addresses are absolute; a copy would write into what it was copied from."""

    def opened(home: Path) -> runs.Tracking:
        return runs.connect(f"sqlite:///{home / 'mlflow.db'}", "moods",
                            artifacts=home / "mlartifacts", lock=home / "lock")

    first, second = tmp_path / "a", tmp_path / "a-second"
    first.mkdir()
    parent = runs.top_level(opened(first), "HP_TUNING", first / "top")
    run = runs.start_child(opened(first), parent, {})
    run.text("of old", "note.txt")
    run.end()
    before = {p.relative_to(first) for p in first.rglob("*") if p.is_file()}
    assert capsys.readouterr().err == ""
    how(first, second)
    there = opened(second)
    assert f"looked for its files in {first / 'mlartifacts'}" in capsys.readouterr().err
    later = runs.start_child(there, parent, {})
    later.text("of new", "note.txt")
    later.end()
    texts = {path.read_text() for path in second.rglob("note.txt")}
    assert texts == {"of old", "of new"}
    assert {Path(local_file_uri_to_path(r.info.artifact_uri)).parent.parent.parent
            for r in runs.children(there)} == {second}
    if first.exists():
        assert {p.relative_to(first) for p in first.rglob("*") if p.is_file()} == before
    opened(second)
    assert capsys.readouterr().err == ""


def test_a_top_level_run_is_finished_from_the_start_and_found_again(tracking, tmp_path):
    first = runs.top_level(tracking, "HP_TUNING", tmp_path / "lock")
    assert entity(tracking, first).info.status == "FINISHED"
    assert runs.top_level(tracking, "HP_TUNING", tmp_path / "lock") == first
    assert runs.top_level(tracking, "INFERENCE", tmp_path / "lock") != first


def test_a_child_is_named_by_its_time_in_utc_and_found_by_tags(tracking, tmp_path):
    parent = runs.top_level(tracking, "HP_TUNING", tmp_path / "lock")
    run = runs.start_child(tracking, parent, {"seed": 3, "dagster_run_id": "d1",
                                              "dagster_step": "tuning"})
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", run.name)
    named = datetime.strptime(run.name, "%Y-%m-%d_%H-%M-%S").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - named) < timedelta(minutes=1)
    tags = entity(tracking, run).data.tags
    assert tags["mlflow.parentRunId"] == parent.id and tags["seed"] == "3"
    assert tags[runs.PID] == str(os.getpid())
    assert runs.of_dagster_step(tracking, "d1", "tuning").id == run.id
    assert runs.of_dagster_step(tracking, "d1", "other") is None


def test_a_top_level_run_shows_its_latest_execution_and_curves_over_rounds(tracking, tmp_path):
    parent = runs.top_level(tracking, "EVALUATION", tmp_path / "lock", "Compare and decide.")
    assert entity(tracking, parent).data.tags[runs.NOTE] == "Compare and decide."
    made = entity(tracking, parent).info.end_time
    for number, accuracy in ((1, 0.7), (2, 0.8)):
        child = runs.start_child(tracking, parent, {})
        child.end()
        parent.show_latest(child, note=f"round {number}", tags={"round": number},
                           metrics={"accuracy": accuracy}, step=number)
    found = entity(tracking, parent)
    assert found.info.status == "FINISHED" and found.info.end_time >= made
    assert found.data.tags[runs.NOTE] == "round 2" and found.data.tags["round"] == "2"
    assert found.data.tags["latest_run_id"] == child.id
    assert found.data.metrics == {"accuracy": 0.8}
    history = tracking.client.get_metric_history(parent.id, "accuracy")
    assert [(m.step, m.value) for m in history] == [(1, 0.7), (2, 0.8)]


def test_a_long_series_is_recorded_whole(tracking, tmp_path):
    run = runs.start_child(tracking, runs.top_level(tracking, "HP_TUNING", tmp_path / "lock"), {})
    run.series("loss", {step: 1 / step for step in range(1, 1203)})
    history = tracking.client.get_metric_history(run.id, "loss")
    assert [m.step for m in history] == list(range(1, 1203))


def test_a_trial_is_a_grandchild_with_its_own_params_and_curve(tracking, tmp_path):
    parent = runs.top_level(tracking, "HP_TUNING", tmp_path / "lock")
    child = runs.start_child(tracking, parent, {})
    trial = child.trial(2, {"rank": 8})
    for epoch, accuracy in enumerate((0.5, 0.7), 1):
        trial.metrics({"accuracy": accuracy, "note": float("nan")}, step=epoch)
    trial.end()
    found, = runs.children(tracking, level=runs.TRIAL, parent=child.id)
    assert found.info.run_name == f"{child.name}_trial_2"
    assert found.data.params == {"rank": "8"}
    history = tracking.client.get_metric_history(trial.id, "accuracy")
    assert [(m.step, m.value) for m in history] == [(1, 0.5), (2, 0.7)]


def test_a_data_set_is_recorded_with_hash_rows_and_use(tracking, tmp_path):
    run = runs.start_child(tracking, runs.top_level(tracking, "INFERENCE", tmp_path / "lock"), {})
    run.dataset("cleaned", "ab" * 16, "data/cleaned/cleaned.parquet", 12, "input")
    logged, = entity(tracking, run).inputs.dataset_inputs
    assert logged.dataset.name == "cleaned" and logged.dataset.digest == "ab" * 16
    assert '"num_rows": 12' in logged.dataset.profile
    assert "data/cleaned/cleaned.parquet" in logged.dataset.source
    assert logged.tags[0].value == "input"


def test_a_failure_is_recorded_with_its_reason(tracking, tmp_path):
    run = runs.start_child(tracking, runs.top_level(tracking, "INFERENCE", tmp_path / "lock"), {})
    run.end("FAILED", "DataError: the file is empty")
    found = entity(tracking, run)
    assert found.info.status == "FAILED" and found.info.end_time
    assert found.data.tags["ftzard.reason"] == "DataError: the file is empty"


def test_reconcile_closes_what_a_dead_process_left_and_nothing_else(tracking, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    parent = runs.top_level(tracking, "HP_TUNING", tmp_path / "lock")
    ours = runs.start_child(tracking, parent, {})
    lost = runs.start_child(tracking, parent, {})
    trial = lost.trial(0, {})
    elsewhere = runs.start_child(tracking, parent, {})
    for run in (lost, trial, elsewhere):
        run.tags({runs.PID: dead.pid})
    elsewhere.tags({runs.HOST: "another-machine"})
    assert len(runs.reconcile(tracking)) == 2
    status = {run: entity(tracking, run).info.status for run in (ours, lost, trial, elsewhere)}
    assert status == {ours: "RUNNING", lost: "KILLED", trial: "KILLED", elsewhere: "RUNNING"}
    assert str(dead.pid) in entity(tracking, lost).data.tags["ftzard.reason"]
    assert runs.reconcile(tracking) == []


def test_a_failed_dagster_run_closes_its_children_and_their_trials(tracking, tmp_path):
    parent = runs.top_level(tracking, "HP_TUNING", tmp_path / "lock")
    done = runs.start_child(tracking, parent, {"dagster_run_id": "d1"})
    done.end()
    left = runs.start_child(tracking, parent, {"dagster_run_id": "d1"})
    trial = left.trial(0, {})
    other = runs.start_child(tracking, parent, {"dagster_run_id": "d2"})
    assert runs.close_failed(tracking, "d1", "FAILED", "it broke") == 2
    status = [entity(tracking, run).info.status for run in (done, left, trial, other)]
    assert status == ["FINISHED", "FAILED", "FAILED", "RUNNING"]


def test_a_run_that_the_store_does_not_know_is_named(tracking):
    with pytest.raises(TrackingError, match="knows no run 0000"):
        runs.reopen(tracking, "0" * 32)


def test_a_store_that_cannot_be_opened_says_what_to_check(tmp_path):
    (tmp_path / "mlflow.db").write_text("this is no database\n" * 100)
    with pytest.raises(TrackingError, match="cannot be opened.*tracking.uri"):
        runs.connect(f"sqlite:///{tmp_path / 'mlflow.db'}", "tests", artifacts=tmp_path / "a",
                     lock=tmp_path / "lock")


def test_long_values_are_cut_instead_of_lost(tracking, tmp_path):
    run = runs.start_child(tracking, runs.top_level(tracking, "INFERENCE", tmp_path / "lock"),
                           {"packages": "p" * 20_000})
    run.params({"data.labels": "x" * 20_000})
    found = entity(tracking, run).data
    assert found.tags["packages"].startswith("ppp") and found.params["data.labels"][:3] == "xxx"
    assert found.tags["packages"].endswith("p…") and found.params["data.labels"].endswith("x…")
