"""Which step of how many, how long the rest takes, and which server is there already."""

import socket
import subprocess
import sys

import pytest

from ftzard.cli.servers import as_they_answer
from ftzard.config.pipeline import BY_NAME, JOBS
from ftzard.errors import WorkspaceError
from ftzard.orchestration.run_progress import RunProgress, ops_of, usual_seconds
from ftzard.tracking import runs
from ftzard.tracking.sqlite_reading import of_workspace


def test_a_step_says_its_place_and_what_is_left_where_that_is_known():
    said: list[str] = []
    job = "retraining_pipeline_job"
    report = RunProgress(said.append, ops_of(job), {"retraining": 150.0, "evaluation": 30.0})
    for when, op in enumerate(ops_of(job)):
        report.event("STEP_START", op, float(when))
    assert len(said) == 8
    assert said[0] == ("▸ cleaning                     step 1 of 8: Step1_Data_Cleaning. "
                       + BY_NAME["cleaning"].about), "a step before it has no known time"
    assert said[4].startswith("▸ retraining                   step 5 of 8: Step7_Retraining, "
                              "about 3 min left. Train a challenger")
    assert said[5].startswith("▸ Git_Dvc_retraining           step 6 of 8: Git_Dvc, "
                              "about 30 s left.")
    assert said[7] == ("▸ Git_Dvc_evaluation           step 8 of 8: Git_Dvc. Version what it "
                       "wrote.")


def test_the_ops_of_a_job_are_those_that_dagster_runs():
    from ftzard import definitions

    for job in JOBS:
        nodes = definitions.defs.resolve_job_def(job).nodes_in_topological_order
        assert ops_of(job) == [node.name for node in nodes]


def test_what_a_step_took_when_it_last_went_well(workspace):
    assert usual_seconds(workspace, ["retraining"]) == {}
    tracking = of_workspace(workspace, workspace.config()).tracking
    parent = runs.top_level(tracking, "RETRAINING", workspace.state / "mlflow.lock")
    for began, seconds, status in ((1_000_000, 90, "FINISHED"), (2_000_000, 60, "FINISHED"),
                                   (3_000_000, 5, "FAILED")):
        made = tracking.client.create_run(
            tracking.experiment_id, start_time=began,
            tags={runs.LEVEL: runs.CHILD, runs.STEP: "RETRAINING", "mlflow.parentRunId": parent.id})
        tracking.client.set_terminated(made.info.run_id, status, began + 1000 * seconds)
    assert usual_seconds(workspace, ["retraining", "evaluation"]) == {"retraining": 60.0}


class TestServers:
    def test_each_is_named_when_it_answers_whichever_is_first(self):
        held, addresses = [], {}
        for name in ("Dagster", "MLflow"):
            listening = socket.create_server(("127.0.0.1", 0))
            held.append(listening)
            addresses[name] = listening.getsockname()[:2]
        with subprocess.Popen(["sleep", "60"]) as process:
            started = {"webserver": process, "mlflow": process}
            held[0].close()  # Dagster is not there yet
            waiting = as_they_answer(addresses, started)
            assert next(waiting) == "MLflow"
            with socket.create_server(addresses["Dagster"]):
                assert list(waiting) == ["Dagster"]
            process.kill()
        held[1].close()

    def test_one_that_ends_is_named_with_its_log(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            address = taken.getsockname()[:2]
            process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
            process.wait()
            with pytest.raises(WorkspaceError, match="MLflow ended with code 3; see its log"):
                list(as_they_answer({"MLflow": address}, {"mlflow": process}))
