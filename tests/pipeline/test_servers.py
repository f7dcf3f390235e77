"""`ftzard ui`: a job started from the running web server, and an end that leaves nothing."""

import json
import re
import socket
import time
import urllib.request

import pytest
import yaml
from dagster import DagsterInstance

from ftzard.config.compose import PACKAGED
from ftzard.running.launch import follow
from ftzard.running.services import answers
from tests.pipeline.texts import easy_texts, end, interrupt, living, started

pytestmark = pytest.mark.jobs

LAUNCH = """mutation($job: String!, $config: RunConfigData) { launchRun(executionParams: {
  selector: {jobName: $job, repositoryName: "__repository__",
             repositoryLocationName: "ftzard.definitions"}, runConfigData: $config}) {
  __typename ... on LaunchRunSuccess { run { runId } }
  ... on PythonError { message } ... on RunConfigValidationInvalid { errors { message } } } }"""
LOADED = """{ workspaceOrError { ... on Workspace { locationEntries { loadStatus
  locationOrLoadError { __typename ... on PythonError { message } } } } } }"""
STATE = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port: int, query: str, **variables) -> dict:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", headers={"Content-Type": "application/json"},
        data=json.dumps({"query": query, "variables": variables}).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]


def jobs_are_there(port: int) -> bool:
    """Return whether the web server, which listens before that, has loaded the code location."""
    entries = ask(port, LOADED)["workspaceOrError"]["locationEntries"]
    assert not any((e["locationOrLoadError"] or {}).get("message") for e in entries), entries
    return bool(entries) and all(e["loadStatus"] == "LOADED" for e in entries)


def wait_until(ready, seconds: float) -> None:
    """Look every moment until `ready`, at most so long."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)


def test_a_launchpad_job_runs_on_the_served_workspace_and_ctrl_c_ends_it_all(workspace):
    easy_texts(200, seed=8).to_csv(workspace.raw / "training.csv", index=False)
    (workspace.root / "ftzard.yaml").write_text(yaml.safe_dump(
        {"data": {"source": "data/raw/training.csv", "text_column": "tweet",
                  "label_column": "mood"}}))
    dagster, mlflow = free_port(), free_port()
    process = started(workspace, "ui", "--port", dagster, "--mlflow-port", mlflow)
    try:
        said = ""
        for line in process.stdout:
            said += line
            if "Ctrl-C" in line:
                break
        assert re.search(rf"Dagster +http://127\.0\.0\.1:{dagster}", said), said
        assert re.search(rf"MLflow +http://127\.0\.0\.1:{mlflow}", said)

        wait_until(lambda: jobs_are_there(dagster), 150)
        config = yaml.safe_load((PACKAGED / "dagster" / "cleaning_job.yaml").read_text())
        launched = ask(dagster, LAUNCH, job="cleaning_job", config=config)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id = launched["run"]["runId"]

        with DagsterInstance.from_config(str(workspace.dagster_home)) as instance:
            outcome = follow(instance, run_id, say=print)
        assert outcome.success, outcome.failure
        assert ask(dagster, STATE, id=run_id)["runOrError"]["status"] == "SUCCESS"
        with urllib.request.urlopen(f"http://127.0.0.1:{mlflow}/", timeout=60) as page:
            assert page.status == 200
        assert (workspace.root / "data/cleaned/cleaned.parquet.dvc").is_file()
    finally:
        interrupt(process)
        try:
            process.communicate(timeout=60)
        finally:
            end(process)
    assert process.returncode == 130
    assert living(workspace) == []
    assert not answers("127.0.0.1", dagster) and not answers("127.0.0.1", mlflow)
    with DagsterInstance.from_config(str(workspace.dagster_home)) as instance:
        assert [r.status.value for r in instance.get_runs()] == ["SUCCESS"]


def test_a_taken_port_is_refused_with_its_number(tool, workspace):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = tool("ftzard", "ui", "-w", workspace.root, "--port", port, at=workspace.root)
    assert done.returncode == 1 and f"port {port} on 127.0.0.1 is taken" in done.stdout
