"""kill -9 of each kind of process at named points: nothing torn, nothing lost, nothing doubled.

Every test runs a job of one workspace, has one of its processes killed at its point, and
then asks what a person would: is anything left running, what does the doctor say, does the job
succeed when it is run again, and is the record whole.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from ftzard import doctor
from ftzard.core.artifacts import dvc_hash
from ftzard.orchestration.launch import environment
from ftzard.orchestration.services import answers
from ftzard.tracking import runs
from ftzard.versioning.dvc import dvc_hash as recorded_hash
from tests import warm_processes
from tests.orchestration.test_servers import (
    LAUNCH,
    ask,
    free_port,
    jobs_are_there,
    wait_until,
)
from tests.orchestration.texts import end, living, processes
from tests.story import begun

pytestmark = pytest.mark.jobs

SITE = Path(__file__).with_name("site")
SEEDS = iter(range(1000, 2000))  # another seed gives another model, so every run has work to do


@pytest.fixture(scope="module")
def story(tmp_path_factory, tool):
    """A workspace of these tests' own, with a first champion."""
    story = begun(tmp_path_factory.mktemp("killed"), tool, rows=700)
    story.run("training_pipeline_job")
    return story


@pytest.fixture(scope="module", autouse=True)
def processes_of_their_own(story):
    """What is killed here has begun as it does for a user, and is known by its command line."""
    with warm_processes.none_forked():
        yield


def killing(tmp_path, at: str, whom: str) -> dict[str, str]:
    """Return the environment in which a process is killed at a point."""
    path = os.pathsep.join(filter(None, [str(SITE), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, "KILL_AT": at, "KILL_WHOM": whom,
            "KILL_ONCE": str(tmp_path / "struck")}


def gone(story, seconds: float = 10.0) -> list[str]:
    """Wait for the workspace's processes to end; return those that have not after `seconds`."""
    last = time.monotonic() + seconds
    while living(story.workspace) and time.monotonic() < last:
        time.sleep(0.1)
    return living(story.workspace)


def sound(story, before: str) -> None:
    """Assert that the doctor mends what is left, and that then nothing is torn, open or doubled."""
    found = doctor.cure(story.workspace, lambda line: None)
    wrong = [f.sentence for f in found if f.state == doctor.WRONG]
    assert wrong == []
    assert story.open_runs() == []
    for pointer in [*story.root.glob("data/**/*.dvc"), *story.root.glob("models/**/*.dvc")]:
        file = pointer.with_suffix("")
        relative = file.relative_to(story.root).as_posix()
        assert dvc_hash(file) == recorded_hash(story.root, relative), relative
    assert story.own_work() == story.mine
    head = story.git("rev-parse", "HEAD")
    assert story.git("rev-parse", "main", at=story.remotes / "git") == head
    story.git("merge-base", "--is-ancestor", before, "HEAD")
    made = story.git("log", "--format=%H", f"{before}..HEAD").split()
    touched = [
        (path, story.git("show", f"{sha}:{path}")) for sha in made
        for path in story.git("diff-tree", "-r", "--name-only", "--no-commit-id", sha).split()
        if path.endswith(".dvc")]
    assert max(Counter(touched).values(), default=1) == 1, "one version in two commits"
    story.git("fsck", "--no-dangling")


def run(story, job: str, *overrides: str, **environment: str) -> subprocess.CompletedProcess:
    return story.tool("ftzard", "run", job, "-w", story.root, *overrides, at=story.root,
                      **environment)


POINTS = {
    "tuning_job": [
        ("the kernel in the middle of an epoch", "ftzard.training.trainer:_gradients:before:30",
         "self"),
        ("the kernel while it saves a checkpoint", "ftzard.training.checkpoint:write_json:before:2",
         "self"),
        ("the process of the run in the middle of an epoch",
         "ftzard.training.trainer:_gradients:before:20", "run"),
        ("the kernel between two trials", "ftzard.training.ended_fits:keep:after:1", "self")],
    "preprocessing_job": [
        ("the kernel while an artifact is written",
         "ftzard.data.storage:write_atomically:before:1", "self"),
        ("the kernel between the artifact and its handle",
         "ftzard.steps.step_run:StepRun._yield_results:before:1", "self"),
        ("the process of the run between a step and Git_Dvc",
         "ftzard.steps.versioning:finished_step:before:1", "run"),
        ("between dvc add and git commit", "ftzard.versioning.commit:commit_paths:before:1",
         "self"),
        ("between commit and push", "ftzard.versioning.commit:publish:before:1", "self"),
        ("between the data's push and git's", "ftzard.versioning.publish:_why_not_git:before:1",
         "self")],
    "choosing_job": [
        ("during registration", "ftzard.registry.model_records:write_record:before:1", "self"),
        ("while an alias moves", "ftzard.tracking.registry:move:after:1", "self")],
}


def trained_until(story) -> int:
    """Return the step of the newest checkpoint."""
    markers = (story.workspace.state / "checkpoints").rglob("0*.json")
    return max((int(marker.stem) for marker in markers), default=0)


@pytest.mark.parametrize("job", POINTS)
def test_killed(story, tmp_path, job):
    """The same request again and again, killed at a later point each time; then it goes through."""
    seed, steps = next(SEEDS), []
    changes = {"tuning_job": [f"seed={seed}", "training.checkpoint_steps=10"],
               "preprocessing_job": [f"model.max_length={40 + seed % 60}"],
               "choosing_job": [f"seed={seed}"]}[job]
    for point, at, whom in POINTS[job]:
        before = story.git("rev-parse", "HEAD")
        known = {r.info.run_id for r in runs.children(story.tracking())}
        (tmp_path / "struck").unlink(missing_ok=True)
        struck = run(story, job, *changes, **killing(tmp_path, at, whom))
        assert (tmp_path / "struck").exists(), (point, struck.stdout[-2000:])
        assert struck.returncode != 0, (point, struck.stdout[-2000:])
        assert gone(story) == [], point
        steps.append(trained_until(story))
        sound(story, before)
        mine = [r for r in runs.children(story.tracking()) if r.info.run_id not in known]
        cut_off = [r for r in mine if r.info.status in ("KILLED", "FAILED")]
        assert cut_off or whom == "run" or "push" in point or "commit" in point, (point, [
            (r.data.tags["step"], r.info.status) for r in mine])

    before = story.git("rev-parse", "HEAD")
    again = run(story, job, *changes)
    assert again.returncode == 0, again.stdout[-3000:]
    if job == "tuning_job":
        assert 0 < steps[0] < steps[1] < steps[2], "each goes on where the one before was cut off"
        assert "went on from the checkpoint of an interrupted run" in again.stdout
    sound(story, before)


def test_no_kernel_depends_on_the_process_that_forked_it_and_the_next_gets_a_new_one(
        story, tmp_path):
    before = story.git("rev-parse", "HEAD")
    done = run(story, "preprocessing_job", f"model.max_length={40 + next(SEEDS) % 60}", **killing(
        tmp_path, "ftzard.steps.step_run:StepRun._yield_results:before:1", "server"))
    assert (tmp_path / "struck").exists() and done.returncode == 0, done.stdout[-2000:]
    assert gone(story) == []
    sound(story, before)


def test_a_kernel_that_has_long_to_train_ends_with_the_process_of_its_run(story, tmp_path):
    before = story.git("rev-parse", "HEAD")
    known = {r.info.run_id for r in runs.children(story.tracking())}
    run(story, "tuning_job", f"seed={next(SEEDS)}", "training.epochs=500", "training.patience=500",
        **killing(tmp_path, "ftzard.training.trainer:_gradients:before:20", "run"))
    assert (tmp_path / "struck").exists()
    assert gone(story) == []
    mine = [r for r in runs.children(story.tracking()) if r.info.run_id not in known]
    assert [r.info.status for r in mine] == ["KILLED"]
    assert "process of its run" in str(mine[0].data.tags)
    sound(story, before)


def test_a_killed_run_is_re_executed_from_failure_and_goes_on_where_it_was(story, tmp_path):
    """The steps before the failure are not done again; the failed one goes on from its state."""
    changes = [f"seed={next(SEEDS)}", "training.checkpoint_steps=10"]
    struck = run(story, "training_pipeline_job", *changes, **killing(
        tmp_path, "ftzard.training.trainer:_gradients:before:40", "self"))
    assert struck.returncode != 0 and (tmp_path / "struck").exists(), struck.stdout[-2000:]
    assert gone(story) == []
    code = """
import os, sys
from pathlib import Path
from ftzard.orchestration.launch import environment, reconstructable_job
from ftzard.workspace.workspace import Workspace
os.environ.update(environment(Workspace(Path(sys.argv[1]))))
from dagster import DagsterInstance, ReexecutionOptions, execute_job
with DagsterInstance.get() as instance:
    failed = next(r for r in instance.get_runs(limit=5) if r.is_failure)
    options = ReexecutionOptions.from_failure(failed.run_id, instance)
    done = execute_job(reconstructable_job("training_pipeline_job"), instance,
                       run_config=failed.run_config, reexecution_options=options)
    print("ran", [e.step_key for e in done.all_events if e.event_type_value == "STEP_START"])
    sys.exit(0 if done.success else 1)
"""
    done = subprocess.run([sys.executable, "-c", code, str(story.root)], cwd=story.root, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "ran ['tuning', 'choosing', 'Git_Dvc_choosing']" in done.stdout
    tuned = runs.children(story.tracking(), "HP_TUNING")[0]
    trials = runs.children(story.tracking(), level=runs.TRIAL, parent=tuned.info.run_id)
    assert max(int(t.data.tags.get("resumed_at_step", 0)) for t in trials) > 0
    sound(story, story.git("rev-parse", "HEAD"))


def test_the_whole_of_dagster_dev_is_killed(tool, tmp_path):
    """Web server, daemon, code server and whatever they started, at once; then everything again."""
    story = begun(tmp_path, tool, rows=400)
    before, port = story.git("rev-parse", "HEAD"), free_port()
    dev = subprocess.Popen(
        [Path(sys.executable).parent / "dagster", "dev", "-m", "ftzard.definitions", "-p",
         str(port)], cwd=story.root, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True, env=environment(story.workspace))
    try:
        wait_until(lambda: answers("127.0.0.1", port) and jobs_are_there(port), 150)
        launched = ask(port, LAUNCH, job="training_pipeline_job", config={})["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        wait_until(lambda: training(story), 150)
        for line in processes(story.workspace):
            os.kill(line, signal.SIGKILL)
    finally:
        end(dev)
    assert gone(story) == []
    sound(story, before)
    closed, = runs.children(story.tracking(), "HP_TUNING")
    assert closed.info.status in ("KILLED", "FAILED")
    again = run(story, "training_pipeline_job")
    assert again.returncode == 0, again.stdout[-3000:]
    sound(story, before)


def training(story) -> bool:
    """Return whether a trial is being trained."""
    tracking = story.tracking()
    return bool(tracking.client.search_runs(
        [tracking.experiment_id],
        f"attributes.status = 'RUNNING' and tags.`{runs.LEVEL}` = '{runs.TRIAL}'"))
