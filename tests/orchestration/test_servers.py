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
from ftzard.orchestration import launch
from ftzard.orchestration.kernel_server import reconstructable_job
from ftzard.orchestration.launch import follow
from ftzard.orchestration.services import answers
from tests.orchestration.texts import easy_texts, end, interrupt, living, started

pytestmark = pytest.mark.jobs

LAUNCH = """mutation($job: String!, $config: RunConfigData) { launchRun(executionParams: {
  selector: {jobName: $job, repositoryName: "__repository__",
             repositoryLocationName: "ftzard.definitions"}, runConfigData: $config}) {
  __typename ... on LaunchRunSuccess { run { runId } }
  ... on PythonError { message } ... on RunConfigValidationInvalid { errors { message } } } }"""
LOADED = """{ workspaceOrError { ... on Workspace { locationEntries { loadStatus
  locationOrLoadError { __typename ... on PythonError { message } } } } } }"""
SELECTOR = {"pipelineName": "cleaning_job", "repositoryName": "__repository__",
            "repositoryLocationName": "ftzard.definitions"}
JOB = """query($job: PipelineSelector!) { pipelineOrError(params: $job) { ... on Pipeline {
  description presets { runConfigYaml } runs { runId } metadataEntries {
  label ... on UrlMetadataEntry { url } } } } }"""
ASSETS = """{ assetNodes { assetKey { path } groupName description
  dependencyKeys { path } } }"""
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


def run_of_the_command_line(workspace) -> str:
    """Make a run as `ftzard run` does, and leave it as one that was cancelled before it began."""
    recon = reconstructable_job("cleaning_job")
    with DagsterInstance.from_config(str(workspace.dagster_home)) as instance:
        made = launch._created(instance, recon, "cleaning_job", {}, {},
                               launch.job_origin(workspace, "cleaning_job"))
        instance.report_run_canceled(made)
        return made.run_id


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
        by_command = run_of_the_command_line(workspace)
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
            start = page.read().decode()
        assert 'var name = "sentiment_analysis"' in start and "static-files/static/js" in start
        job = ask(dagster, JOB, job=SELECTOR)["pipelineOrError"]
        assert {run["runId"] for run in job["runs"]} == {run_id, by_command}
        assert job["description"].startswith("Keep the rows that can be used")
        assert "Step1_Data_Cleaning" in job["description"]
        assert {"label": "MLflow", "url": f"http://127.0.0.1:{mlflow}"} in job["metadataEntries"]
        opens = yaml.safe_load(job["presets"][0]["runConfigYaml"])
        assert opens == {"resources": {"experiment": {"config": {
            "data": {"sample_rows": None, "source": "data/raw/training.csv"}, "overrides": [],
            "seed": 0}}}}
        nodes = {"/".join(node["assetKey"]["path"]): node for node in
                 ask(dagster, ASSETS)["assetNodes"]}
        made_of = {name: {"/".join(key["path"]) for key in node["dependencyKeys"]}
                   for name, node in nodes.items()}
        assert made_of["cleaned"] == {"delivery"} and made_of["champion"] == {"model_version"}
        assert "champion" in made_of["report"] and "tokenized" in made_of["model_version"]
        assert not [name for name in nodes if "notebook" in name]
        assert all(node["description"] for node in nodes.values())
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
        assert {r.run_id: r.status.value for r in instance.get_runs()} == {
            run_id: "SUCCESS", by_command: "CANCELED"}
        origins = {r.run_id: r.remote_job_origin for r in instance.get_runs()}
        assert origins[by_command] == origins[run_id]


def test_a_taken_port_is_refused_with_its_number(tool, workspace):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = tool("ftzard", "ui", "-w", workspace.root, "--port", port, at=workspace.root)
    assert done.returncode == 1 and f"port {port} on 127.0.0.1 is taken" in done.stdout
