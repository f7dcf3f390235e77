"""The heavy call on two real nodes: the same adapters, and nothing left running or half-done."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from ftzard.compute import ray_jobs, waiting
from ftzard.config.training_config import TrainingConfig, search_space
from ftzard.data import storage
from ftzard.errors import ComputeError
from ftzard.steps import inference, tuning
from ftzard.steps.step_run import start_step
from ftzard.tracking import runs
from tests.compute.waits import wait_until
from tests.orchestration.texts import easy_texts

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


def test_four_trials_on_two_nodes_are_those_of_here(own, nodes, monkeypatch, capfd):
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


def predict_file(capsys, *words: str) -> "pytest.CaptureResult[str]":
    from ftzard import cli

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr("sys.argv", ["ftzard", "predict", *map(str, words)])
        cli.main()
    assert ended.value.code == 1  # two lines are empty
    return capsys.readouterr()


def test_a_file_is_predicted_as_here_and_no_shard_twice(
        own, nodes, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ftzard.registry.cluster_lines.SHARD_BATCHES", 4)
    texts = easy_texts(600, seed=9).iloc[:, 0].tolist()
    texts[70] = texts[590] = " "
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(texts) + "\n")
    here = predict_file(capsys, file, "-w", own.root).out
    assert predict_file(capsys, file, *nodes.overrides, "-w", own.root).out == here
    records = sorted((nodes.folder / "storage/shards").glob("*/*.json"))
    assert len(records) == 3 and here.count("\n") == 600
    before = {path: path.stat().st_mtime_ns for path in records}
    records[1].unlink()  # as if its node had died over it
    assert predict_file(capsys, file, *nodes.overrides, "compute.parallel=1", "-w", own.root
                        ).out == here
    again = {path: path.stat().st_mtime_ns for path in records}
    assert [path for path in records if again[path] != before[path]] == [records[1]]
    # What was altered in the storage is refused, and nothing is written.
    for altered in (records[0].parent / "files").iterdir():
        altered.write_bytes(altered.read_bytes()[:-1] + b"?")
    refused = predict_file(capsys, file, *nodes.overrides, "-w", own.root)
    assert "Something changed it in the storage" in refused.err and not refused.out


def test_the_inference_step_gives_the_same_predictions(own, nodes, monkeypatch):
    monkeypatch.setenv("FTZARD_WORKSPACE", str(own.root))
    monkeypatch.setattr("ftzard.tasks.shards.SHARD_ROWS", 64)
    paths = own.config().paths
    rows = storage.read_parquet(own.root / paths.tokenized).drop(columns=["label"])
    storage.write_parquet(rows, own.root / paths.incoming_tokenized)
    written = []
    for more in ([], nodes.overrides):
        run = start_step("inference", {"incoming_tokenized": None, "overrides": list(more)})
        try:
            _, predictor = inference.load_champion(run)
            predicted = inference.predict(run, predictor, rows)
            inference.write(run, rows, predicted)
            written.append(((own.root / paths.predictions).read_bytes(),
                            predicted.answers.tobytes(), predicted.embeddings.tobytes()))
        finally:
            run._close("KILLED")
    assert written[0] == written[1]


@pytest.mark.parametrize(("changed", "expected"), [
    ("compute.address=http://127.0.0.2:9", "no Ray cluster answers at"),
    ("compute.cpus=64", "no node of the cluster has 64 CPU, which each job asks for"),
    ("compute.gpus=1", "1 GPU, which each job asks for"),
    ("compute.env=[FTZARD_NOT_THERE]", "the node has no variable FTZARD_NOT_THERE"),
    ("compute.python=no-python", "failed 1 times, and compute.max_failures is 0")])
def test_what_the_cluster_cannot_do_is_one_sentence(own, nodes, monkeypatch, changed, expected):
    monkeypatch.setenv("FTZARD_WORKSPACE", str(own.root))
    key = changed.partition("=")[0]
    kept = [v for v in nodes.overrides if v.partition("=")[0] != key]
    with pytest.raises(ComputeError, match=expected):
        tune("tuning.trials=1", "compute.max_failures=0", *kept, changed)


def test_another_version_of_ray_is_refused_before_anything_is_sent(nodes, monkeypatch):
    monkeypatch.setattr(ray_jobs, "require_installed", lambda: "2.61.0")
    with pytest.raises(ComputeError, match="runs ray 2.60.0; expected 2.61.0, as here"):
        ray_jobs.RayJobs(nodes.address)


#: A head of its own, which can be killed: it asks for one job, and the nodes' Python is `sleep`.
HEAD = """
import sys
from pathlib import Path
from ftzard.compute.cluster import Cluster
from ftzard.compute.request import Request
from ftzard.config.compose import compose
cluster = Cluster(compose({"overrides": sys.argv[2:]}).compute, 1, Path(sys.argv[1]),
                  lambda line: print(line, flush=True))
cluster.run([Request("fit", {"number": 7}, {})])
"""


def start_head(nodes, state: Path) -> subprocess.Popen:
    python = nodes.folder / "sleeps"
    python.write_text("#!/bin/sh\nsleep 600\n")
    python.chmod(0o755)
    return subprocess.Popen(
        [sys.executable, "-c", HEAD, str(state), *nodes.overrides[:-1], f"compute.python={python}"],
        stdout=open(state / "head.log", "ab"), stderr=subprocess.STDOUT, start_new_session=True)


def test_whatever_ends_a_run_its_job_is_stopped_and_a_dead_head_finds_its_job(nodes, tmp_path):
    before, log = set(nodes.jobs()), tmp_path / "head.log"

    def begun() -> str | None:
        return next((name for name, job in nodes.jobs().items()
                     if name not in before and job.status == "RUNNING"), None)

    def stopped(job: str) -> bool:
        return nodes.jobs()[job].status == "STOPPED"

    head = start_head(nodes, tmp_path)
    try:
        job = wait_until(begun)
        # Head and watchdog lose their power: the job goes on, and the next head finds it.
        (watchdog,) = [p for p in psutil.Process(head.pid).children()
                       if "ftzard.compute.watchdog" in p.cmdline()]
        watchdog.kill()
        head.kill()
        head.wait()
        assert nodes.jobs()[job].status == "RUNNING"
        head = start_head(nodes, tmp_path)
        wait_until(lambda: f"found the job {job}" in log.read_text())
        status = wait_until(lambda: [one for one in waiting.jobs(tmp_path)
                                     if one["state"] == "RUNNING"])
        assert status[0]["job"] == job and set(nodes.jobs()) - before == {job}
        # Ctrl-C.
        head.send_signal(signal.SIGINT)
        wait_until(lambda: stopped(job), 10)
        head.wait()
        assert waiting.jobs(tmp_path) == []
        # Killed at once, with no time to say anything: the watchdog outlives it.
        before.add(job)
        head = start_head(nodes, tmp_path)
        second = wait_until(begun)
        head.kill()
        wait_until(lambda: stopped(second), 10)
    finally:
        head.kill()
        head.wait()


def begun(nodes, before: set[str]) -> str | None:
    """Return a job on the far node that is new, once it has kept a checkpoint."""
    kept = {path.parents[1].name[:32] for path in
            (nodes.folder / "storage/requests").glob("*/checkpoints/*.json")}
    return next((name for name, job in nodes.jobs().items() if name not in before
                 and "127.0.0.3" in (job.driver_agent_http_address or "")
                 and job.status == "RUNNING" and name.split("-")[1] in kept), None)


def test_a_node_that_dies_costs_no_adapter_and_no_finished_step(own, nodes, monkeypatch):
    monkeypatch.setenv("FTZARD_WORKSPACE", str(own.root))
    two = ["tuning.trials=2", "training.epochs=30", "training.patience=30",
           "training.checkpoint_steps=4", "tuning.prune=false", "seed=5"]
    here, _ = tune(*two)
    before, killed = set(nodes.jobs()), []

    def kill_far() -> None:
        killed.append(wait_until(lambda: begun(nodes, before), 120))
        nodes.kill("127.0.0.3")

    thread = threading.Thread(target=kill_far)
    thread.start()
    there, run = tune(*two, *nodes.overrides)
    thread.join()
    assert [trial["recipe"] for trial in there] == [trial["recipe"] for trial in here]
    assert f"{killed[0].rpartition('-')[0]}-2" in nodes.jobs()
    tags = [run.tracking.client.get_run(trial["run_id"]).data.tags for trial in there]
    assert any(int(tag.get("resumed_at_step", 0)) > 0 for tag in tags)
