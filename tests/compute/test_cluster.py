"""The heavy call on two real nodes: the same adapters, and nothing left running or half-done."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from ftzard.config.training_config import TrainingConfig, search_space
from ftzard.steps import tuning
from ftzard.steps.step_run import start_step
from ftzard.tracking import runs

pytestmark = pytest.mark.system

SEARCH = ["tuning.trials=4", "training.epochs=2", "tuning.rank=[2,4]", "compute.parallel=2"]
TOKEN = "hf_planted0123456789abcdefghij"


@pytest.fixture(scope="module")
def nodes():
    from tests.compute.ray_nodes import Nodes

    cluster = Nodes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", TOKEN)  # as whoever starts the nodes has it
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


def tune(*overrides: str) -> tuple[list[dict], object]:
    """Run the tuning step as its notebook does; return its trials by number, and the step."""
    run = start_step("tuning", {"tokenized": None, "overrides": list(overrides)})
    rows = run.read("tokenized")
    train, validation = rows[rows["split"] == "train"], rows[rows["split"] == "validation"]
    loaded = tuning.load_base(run, rows)
    config = run.config
    try:
        ranked = tuning.search(
            run, loaded, train, validation, TrainingConfig.of(config),
            space=search_space(config.tuning, config.training), trials=config.tuning.trials,
            prune=config.tuning.prune)
        run.finish()
    finally:
        run._close("KILLED")
    return sorted(ranked, key=lambda trial: trial["number"]), run


def test_four_trials_on_two_nodes_are_those_of_this_machine(
        own, nodes, monkeypatch, capfd):
    monkeypatch.setenv("FTZARD_WORKSPACE", str(own.root))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    here, _ = tune(*SEARCH)
    there, run = tune(*SEARCH, *nodes.overrides, "compute.env=[HF_TOKEN]")
    printed = capfd.readouterr().out
    assert [trial["recipe"] for trial in there] == [trial["recipe"] for trial in here]
    assert [trial["history"][-1]["validation_loss"] for trial in there] == [
        trial["history"][-1]["validation_loss"] for trial in here]
    assert {job.driver_node_id for job in nodes.jobs().values()} - {None} != set()
    assert len({job.driver_node_id for job in nodes.jobs().values()}) == 2
    for address in ("127.0.0.2", "127.0.0.3"):
        assert f"runs on {address}" in printed
    children = [runs.reopen(run.tracking, trial["run_id"]) for trial in there]
    for child in children:
        entity = run.tracking.client.get_run(child.id)
        assert entity.info.status == "FINISHED"
        assert {"train_loss", "validation_loss", "best_accuracy"} <= set(entity.data.metrics)
        assert "adapter" in {file.path for file in run.tracking.client.list_artifacts(child.id)}
    assert not (own.state / "cluster-jobs.json").exists()
    # The same again is found in the storage: no job is started.
    before = set(nodes.jobs())
    again, _ = tune(*SEARCH, *nodes.overrides, "compute.env=[HF_TOKEN]")
    assert [trial["recipe"] for trial in again] == [trial["recipe"] for trial in here]
    assert set(nodes.jobs()) == before
    # The token of the environment is nowhere.
    assert TOKEN not in str(list(nodes.jobs().values())) + printed
    for folder in (nodes.folder, own.root):
        for file in (path for path in folder.rglob("*") if path.is_file()):
            assert TOKEN.encode() not in file.read_bytes(), file
    for process in psutil.process_iter(["cmdline"]):
        assert TOKEN not in " ".join(process.info["cmdline"] or ())


#: A run of its own, that can be killed: the tuning step with one long trial.
ALONE = """
import os, sys
from tests.compute.test_cluster import tune
tune(*sys.argv[1:])
"""
LONG = ["tuning.trials=1", "training.epochs=400", "training.patience=400",
        "training.checkpoint_steps=5", "tuning.metric=validation_loss"]


def start_alone(own, nodes, *overrides: str) -> subprocess.Popen:
    log = open(nodes.folder / "alone.log", "ab")
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ALONE), *LONG, *nodes.overrides, *overrides],
        cwd=Path(__file__).parents[2], stdout=log, stderr=log, start_new_session=True,
        env={**os.environ, "FTZARD_WORKSPACE": str(own.root), "PYTHONPATH": "."})


def running(nodes, before: set[str]) -> str | None:
    """The one job that is new and runs, once it has kept a checkpoint."""
    new = {name: job for name, job in nodes.jobs().items() if name not in before}
    there = [name for name, job in new.items() if job.status == "RUNNING"]
    kept = list((nodes.folder / "storage" / "requests").glob("*/checkpoints/*.json"))
    prefix = {path.parents[1].name[:32] for path in kept}
    return next((name for name in there if name.split("-")[1] in prefix), None)
