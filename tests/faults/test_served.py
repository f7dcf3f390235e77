"""`ftzard ui` and `ftzard mlflow-server` end in every way there is: nothing outlives them by more
than ten seconds, what waits is not lost, and the next start goes on.

A start of the servers takes long, so one workspace goes through all of it, in the order of a bad
day; each part says what it needs of the one before.
"""

import hashlib
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from ftzard import doctor
from ftzard.orchestration.services import answers
from ftzard.workspace import drop_tally
from tests.orchestration.test_servers import free_port, wait_until
from tests.orchestration.texts import easy_texts, end, living, processes, started
from tests.story import begun
from tests.tracking import team

pytestmark = [pytest.mark.jobs, pytest.mark.system]

FILES = 21
LIMIT_S = 10.0


@pytest.fixture(scope="module")
def story(tmp_path_factory, tool):
    return begun(tmp_path_factory.mktemp("served"), tool, rows=400)


@pytest.fixture
def serve(story):
    """Start `ftzard ui` and return its process once it serves, or at once."""
    running = []

    def start(*options: object, until: str = "Ctrl-C"):
        process = started(story.workspace, "ui", "--port", free_port(), "--mlflow-port",
                          free_port(), *options)
        running.append(process)
        for line in process.stdout if until else ():
            if until in line:
                break
        return process

    yield start
    for process in running:
        end(process)


def runs_in(story, *states: DagsterRunStatus) -> list:
    with DagsterInstance.from_config(str(story.workspace.dagster_home)) as instance:
        return list(instance.get_runs(RunsFilter(statuses=list(states))))


def at_work(story) -> bool:
    """Return whether a run has come as far as its first step."""
    for run in runs_in(story, DagsterRunStatus.STARTED):
        if (story.workspace.run_folder(run.run_id) / "config.json").is_file():
            return True
    return False


def pid_of(story, command: str) -> int:
    return next(pid for pid, line in processes(story.workspace).items() if command in line)


def ends_in_time(story, process) -> None:
    """Assert that the servers end, and the command, which then still closes the record."""
    last = time.monotonic() + LIMIT_S

    def servers() -> list[str]:
        found = processes(story.workspace).items()
        return [line for pid, line in found if pid != process.pid]

    while servers() and time.monotonic() < last:
        time.sleep(0.05)
    assert servers() == []
    process.wait(timeout=60)
    assert living(story.workspace) == []


def test_a_termination_while_the_servers_start_leaves_none(story, serve):
    process = serve(until="")
    wait_until(lambda: any("dagster_daemon" in line for line in living(story.workspace)), 60)
    process.terminate()
    ends_in_time(story, process)


def test_a_closed_terminal_leaves_what_waits_in_the_queue(story, serve):
    for number in range(FILES):
        rows = easy_texts(60, seed=100 + number)
        rows.to_csv(story.workspace.raw_incoming / f"{number:02}.csv", index=False)
        os.utime(story.workspace.raw_incoming / f"{number:02}.csv", (10**9 + number,) * 2)
    process = serve()
    wait_until(lambda: at_work(story) and len(runs_in(story, DagsterRunStatus.QUEUED)) >= 5, 120)
    at_once = [line for line in living(story.workspace) if "kernel_server" in line]
    assert len(at_once) <= 3, "one run's servers of kernels and its kernel"
    process.send_signal(signal.SIGHUP)
    ends_in_time(story, process)
    assert process.returncode == 130
    tally = drop_tally.of(story.workspace)["raw_incoming"]
    assert tally.at_work == [] and len(tally.queued) >= 5
    assert len(tally.failed) <= 1 and len(tally.queued) + len(tally.waiting) >= FILES - 1
    said = story.tool("ftzard", "status", "-w", story.root, at=story.root).stdout
    assert "in the queue" in said


def test_the_next_start_goes_on_and_ends_with_its_daemon(story, serve):
    waited = {run.run_id for run in runs_in(story, DagsterRunStatus.QUEUED)}
    assert waited
    process = serve()
    wait_until(lambda: at_work(story), 90)
    assert {run.run_id for run in runs_in(story, DagsterRunStatus.STARTED)} <= waited
    os.kill(pid_of(story, "dagster_daemon"), signal.SIGKILL)
    ends_in_time(story, process)
    assert process.returncode == 1


def test_a_command_that_is_killed_leaves_nothing_and_the_record_is_closed(story, serve):
    process = serve()
    wait_until(lambda: at_work(story), 90)
    process.kill()
    ends_in_time(story, process)
    found = doctor.cure(story.workspace, lambda line: None)
    assert [f.sentence for f in found if f.state == doctor.WRONG] == []
    assert not runs_in(story, DagsterRunStatus.STARTED, DagsterRunStatus.STARTING)
    with DagsterInstance.from_config(str(story.workspace.dagster_home)) as instance:
        for run in runs_in(story, DagsterRunStatus.QUEUED):
            instance.report_run_canceled(run)
    assert story.open_runs() == []


def memory(story) -> int:
    """Return the proportional set size of all processes of the workspace together, in bytes."""
    total = 0
    for pid in processes(story.workspace):
        with suppress(OSError):  # it has ended
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) << 10
    return total


@pytest.mark.timeout(2400)  # ten whole runs
def test_ten_thousand_files_at_once_are_taken_in_order_in_little_memory(story, serve):
    """The first ten are run to their end; `bench/dropped_files.py` runs more."""
    story.run("training_pipeline_job")
    for number in range(10_000):
        file = story.workspace.incoming / f"{number:05}.csv"
        words = hashlib.sha256(file.name.encode()).hexdigest()  # none is like another one's
        file.write_text(f"tweet\nhappy {words[:6]} {words[6:12]} {words[12:18]} street\n")
        os.utime(file, (1_700_000_000 + number,) * 2)
    process, peak, most = serve(), 0, 0
    while len(done := inferences(story, DagsterRunStatus.SUCCESS)) < 10:
        assert process.poll() is None and not inferences(story, DagsterRunStatus.FAILURE)
        peak = max(peak, memory(story))
        most = max(most, len(inferences(story, DagsterRunStatus.QUEUED)))
        assert len(inferences(story, DagsterRunStatus.STARTED, DagsterRunStatus.STARTING)) <= 1
        time.sleep(0.5)
    process.terminate()
    ends_in_time(story, process)
    assert [run.tags["ftzard/delivery"] for run in reversed(done)] == [
        f"data/incoming/{number:05}.csv" for number in range(len(done))]
    # Measured beside other work: 0.8 GB for the servers, 1.05 GB for a run and its kernels.
    assert most <= 20 and peak < 2.4e9
    tally = drop_tally.of(story.workspace)["incoming"]
    assert tally.done == len(done) and len(tally.failed) <= 1
    assert len(tally.queued) + len(tally.waiting) >= 10_000 - len(done) - 1


def inferences(story, *states: DagsterRunStatus) -> list:
    return [run for run in runs_in(story, *states) if run.job_name == "inference_pipeline_job"]


@pytest.mark.parametrize("how", ["SIGHUP", "SIGKILL", "its server is killed"])
def test_an_mlflow_server_frees_its_port(tmp_path, how):
    port = free_port()
    process = team.start(tmp_path, port, MLFLOW_AUTH_ADMIN_PASSWORD=team.ADMIN[1])
    try:
        assert "Ctrl-C" in team.until_it_serves(process)
        if how == "its server is killed":
            server, = (child for child in psutil.Process(process.pid).children()
                       if "mlflow" in " ".join(child.cmdline()))
            server.kill()
        else:
            process.send_signal(getattr(signal, how))
        last = time.monotonic() + LIMIT_S
        while (team.processes_at(tmp_path) or answers("127.0.0.1", port)
               ) and time.monotonic() < last:
            time.sleep(0.05)
        assert team.processes_at(tmp_path) == [] and not answers("127.0.0.1", port)
    finally:
        end(process)

