"""Runs whose process is gone are closed; those that live, or live elsewhere, are left alone."""

import json
import os
import subprocess
import sys

import pytest
from dagster import DagsterInstance, DagsterRunStatus, job, op

from ftzard.orchestration import lease, services
from ftzard.orchestration.dead_runs import close_dead_runs


@op
def nothing():
    pass


@job
def empty():
    nothing()


@pytest.fixture
def instance():
    with DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def dead() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def run_of(instance, workspace, pid: int, status=DagsterRunStatus.STARTED, **worker):
    run = instance.create_run_for_job(empty, status=status)
    lease.take(workspace, run.run_id)
    file = workspace.run_folder(run.run_id) / "worker.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "pid": pid, **worker}))
    return run


def status_of(instance, run) -> str:
    return instance.get_run_by_id(run.run_id).status.value


def test_a_run_whose_process_is_gone_is_reported_as_failed(instance, workspace, dead):
    run = run_of(instance, workspace, dead)
    assert close_dead_runs(instance, workspace) == [run.run_id]
    assert status_of(instance, run) == "FAILURE"
    said = [e.message for e in instance.all_logs(run.run_id)]
    assert any(f"its process {dead} ended" in message for message in said), said
    assert close_dead_runs(instance, workspace) == []


def test_one_that_was_being_cancelled_ends_as_cancelled(instance, workspace, dead):
    run = run_of(instance, workspace, dead, DagsterRunStatus.CANCELING)
    close_dead_runs(instance, workspace)
    assert status_of(instance, run) == "CANCELED"


def test_one_that_lives_or_works_elsewhere_is_left_alone(instance, workspace, dead):
    mine = run_of(instance, workspace, os.getpid())
    elsewhere = run_of(instance, workspace, dead, host="another-machine")
    ended = run_of(instance, workspace, dead, DagsterRunStatus.SUCCESS)
    assert close_dead_runs(instance, workspace) == []
    assert [status_of(instance, r) for r in (mine, elsewhere, ended)] == [
        "STARTED", "STARTED", "SUCCESS"]


def test_a_run_that_nobody_takes_up_is_closed_after_a_while(instance, workspace):
    run = instance.create_run_for_job(empty, status=DagsterRunStatus.STARTING)
    assert close_dead_runs(instance, workspace) == []
    assert close_dead_runs(instance, workspace, start_s=-1.0) == [run.run_id]


def test_dagster_s_tables_are_made_once_before_its_processes_open_them(workspace):
    services.make_dagster_store(workspace)
    made = {p.name for p in workspace.dagster_home.rglob("*.db")}
    assert made == {"runs.db", "index.db", "schedules.db"}
