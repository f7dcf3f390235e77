"""Registered models after whole jobs: compared, served by MLflow, and their life in a notebook."""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from ftzard.doctor import registered as doctor
from ftzard.registry import model_records
from ftzard.reporting.standings import Standings
from ftzard.tracking import registry, runs
from tests.conftest import TOOLS

pytestmark = pytest.mark.jobs
NAME = "FalconSentiAnalysis"


def test_every_version_has_its_base_registered_once(story):
    tracking = story.tracking()
    bases = registry.versions(tracking, f"{NAME}-base")
    assert len(bases) == 1
    assert {v.tags["base_version"] for v in registry.versions(tracking, NAME)} == {str(bases[0])}


def test_every_page_says_that_the_workspace_is_a_trial(story):
    tracking, mark = story.tracking(), "A trial (gate.trial=true)"
    version = registry.version(tracking, NAME, 1)
    assert version.tags["gate.trial"] == "true"
    choosing = runs.children(tracking, "CHOOSE_BEST_MODEL")[-1]
    assert choosing.data.tags["gate.trial"] == "true"
    card = tracking.client.download_artifacts(choosing.info.run_id, "model_card.md")
    assert "**A trial** (gate.trial=true)" in open(card).read()
    assert mark in story.workspace.report.read_text()
    assert story.record.status["trial"] and story.record.status["champion"]["trial"]
    for asset in ("cleaned", "model_version", "champion", "report"):
        assert story.record.materializations[asset]["trial"].startswith(mark), asset
    done = story.tool("ftzard", "models", "list", "-w", story.root, at=story.root)
    assert "promote (trial)" in done.stdout
    done = story.tool("ftzard", "models", "show", f"{NAME}@1", "-w", story.root, at=story.root)
    assert "promote (trial)" in done.stdout


def test_champion_and_base_are_compared_on_all_test_rows(story, tmp_path):
    done = story.tool("ftzard", "compare", "base", "champion", "--json", "--html",
                      tmp_path / "page.html", "-w", story.root, at=story.root, seconds=600)
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    names = [model["name"] for model in told["models"]]
    assert names[0] == f"{NAME}-base@1" and names[1].startswith(f"{NAME}@")
    assert len(told["rows"]["batches"]) > 1 and told["rows"]["n"] == told["n"]
    assert told["own_metrics"]["cost"]["first"] > told["own_metrics"]["cost"]["second"]
    accuracy = told["scores"]["accuracy"]
    assert accuracy["second"]["value"] > 0.9 and accuracy["difference"]["lower"] > 0
    assert told["agreed"] + told["disagreements_in_all"] == told["n"]
    row = told["disagreements"][0]
    assert row["first"] != row["second"] and row["text"] and row["label"] in ("glad", "sad")
    for model in told["models"]:
        speed = model["speed"]
        low, high = speed["latency_ms_range"]
        assert 0 < low <= speed["latency_ms"] <= high and speed["passes"] > 2
        assert speed["tokens_per_second"] > 100
        assert 1e6 < speed["peak_bytes"] < 2e9 and speed["threads"] == 2
    table = Standings.of(model_records.records(story.workspace, NAME))
    line = table.line(int(names[1].rpartition("@")[2]))
    assert (accuracy["second"]["value"], told["n"]) == (line["accuracy"], line["n"])
    assert accuracy["first"]["value"] == table.beside["base"]["accuracy"]
    page = (tmp_path / "page.html").read_text()
    assert f"{100 * line['accuracy']:.1f} %" in page.replace("\u00a0", " ")
    assert names[1] in page and "tokens per second" in page and "true label" in page


def test_a_labelled_file_is_compared_on_and_what_cannot_be_used_is_counted(story, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("tweet,mood\n" + "".join(
        f"a lovely happy day number {n},glad\nboring and awful train {n},sad\n" for n in range(30))
        + ",glad\nanother text,grumpy\n")
    champion = registry.by_alias(story.tracking(), NAME, "champion").number
    done = story.tool("ftzard", "compare", "champion", f"{NAME}@{2 if champion == 1 else 1}",
                      "--file", file, "-w", story.root, at=story.root, seconds=600)
    assert done.returncode == 0, done.stdout
    assert "rows: 60 of " in done.stdout and "left out: " in done.stdout
    assert "1 empty text" in done.stdout and "grumpy" in done.stdout
    for words in ("accuracy", "macro F1", "one row", "tokens per second", "peak memory"):
        assert words in done.stdout


def test_step_8_shows_the_rows_that_champion_and_challenger_disagree_on(story):
    run = runs.children(story.tracking(), "EVALUATION")[-1]
    kept = story.workspace.executed_notebook(run.data.tags["dagster_run_id"], "evaluation")
    assert "challenger says" in kept.read_text()


def test_mlflow_serves_the_champion(story, tmp_path):
    """As `mlflow models serve` is started: a server of its own, which answers raw texts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen(
            [str(TOOLS / "mlflow"), "models", "serve", "-m", f"models:/{NAME}@champion", "-p",
             str(port), "--env-manager", "local"], cwd=tmp_path, stdout=log, stderr=log,
            start_new_session=True, env={
                **os.environ, "MLFLOW_TRACKING_URI": story.workspace.mlflow_uri,
                "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"})
    try:
        question = json.dumps({"dataframe_split": {
            "columns": ["text"], "data": [["a lovely happy day"], ["boring and awful train"],
                                          ["the ticket and a train"], ["the pass and a train"]]}})
        answer = json.loads(ask(f"http://127.0.0.1:{port}/invocations", question, server))
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)
    said = answer["predictions"]
    assert [row["label"] for row in said[:2]] == ["glad", "sad"]
    one, other = (row["probabilities"] for row in said[2:4])  # by the workspace's own function
    assert one == pytest.approx(other, abs=1e-6)
    assert all(abs(sum(row["probabilities"]) - 1) < 1e-6 for row in said)
    assert [row["abstains"] for row in said[:2]] == [False, False]


def ask(url: str, question: str, server: subprocess.Popen) -> bytes:
    """Ask until the server has come up."""
    for _ in range(1200):
        assert server.poll() is None, "the server ended"
        try:
            request = urllib.request.Request(url, question.encode(),
                                             {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            pytest.fail(error.read().decode())
        except OSError:
            time.sleep(0.1)
    pytest.fail("the server did not come up")


def test_the_notebook_runs_by_hand_and_leaves_the_champion_and_no_model(story, tmp_path):
    tracking = story.tracking()
    before = {name: ([str(v) for v in registry.versions(tracking, name)],
                     registry.aliases(tracking, name)) for name in registry.names(tracking)}
    head, artifacts = story.git("rev-parse", "HEAD"), story.artifacts()
    notebook = story.workspace.notebooks / "Registry_Life_Cycle.ipynb"
    done = story.tool("jupyter", "nbconvert", "--to", "notebook", "--execute", notebook,
                      "--output-dir", tmp_path, at=story.workspace.notebooks, seconds=600)
    assert done.returncode == 0, done.stdout
    text = (tmp_path / "Registry_Life_Cycle.ipynb").read_text()
    for words in (f"{NAME}-life-cycle-base@1 is new", "base@1 was there already",
                  f"{NAME}-life-cycle-base@2 is new", f"{NAME}-life-cycle-base@2 is deleted",
                  f"{NAME}-life-cycle is deleted", "tokens per second", "It never arrived"):
        assert words in text, words
    assert "are those of" not in text, "each version has files of its own"
    after = {name: ([str(v) for v in registry.versions(tracking, name)],
                    registry.aliases(tracking, name)) for name in registry.names(tracking)}
    assert after == before and story.git("rev-parse", "HEAD") == head
    assert story.artifacts() == artifacts
    run, = runs.children(tracking, "REGISTRY_LIFE_CYCLE")
    assert run.info.status == "FINISHED" and run.data.tags["dagster_run_id"] == "none"
    assert {file.path for file in tracking.client.list_artifacts(run.info.run_id)} == {
        "config.yaml", "metadata.json"}
    assert {f.state for f in doctor.models(story.workspace)} <= {"ok", "warning"}
