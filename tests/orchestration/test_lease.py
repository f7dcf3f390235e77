"""Which process works on a run: asked here, and known by its lease from elsewhere."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from ftzard.orchestration import dead_runs, lease
from tests.orchestration.test_launch import dead, instance, run_of, status_of  # noqa: F401
from tests.orchestration.texts import queued


def later(seconds: float):
    return lambda: time.time() + seconds


def test_a_run_of_a_container_that_is_gone_is_dead_once_its_lease_ran_out(
        instance, workspace, dead):  # noqa: F811
    run = run_of(instance, workspace, os.getpid(), host="b5f1c0ffee12")
    now = later(lease.LEASE_S - 10)
    assert dead_runs.close_dead_runs(instance, workspace, now=now) == []
    closed = dead_runs.close_dead_runs(instance, workspace, now=later(lease.LEASE_S + 10))
    assert closed == [run.run_id] and status_of(instance, run) == "FAILURE"
    said = [e.message for e in instance.all_logs(run.run_id)]
    assert any("its process on b5f1c0ffee12 has not been heard of" in message for message in said)


def test_a_container_of_the_same_name_is_not_taken_for_the_one_before(
        instance, workspace):  # noqa: F811
    """Its processes are numbered anew: the pid that is alive here is another process."""
    run = run_of(instance, workspace, os.getpid(), processes="pid:[4026500000]")
    assert dead_runs.close_dead_runs(instance, workspace, now=later(lease.LEASE_S + 10)) == [
        run.run_id]


def test_a_pid_that_another_process_has_by_now_is_not_the_run_s(instance, workspace):  # noqa: F811
    run = run_of(instance, workspace, os.getpid(), born="1")
    assert dead_runs.close_dead_runs(instance, workspace) == [run.run_id]


def test_what_waits_in_the_queue_is_not_dead_however_long(instance, workspace):  # noqa: F811
    run = instance.add_run(queued("empty", {}))
    assert dead_runs.close_dead_runs(instance, workspace, now=later(1e6)) == []
    assert status_of(instance, run) == "QUEUED"


def test_a_run_whose_code_server_is_gone_does_not_hold_up_the_queue_for_long(
        instance, workspace, tmp_path):  # noqa: F811
    from dagster import DagsterRunStatus

    from tests.orchestration.test_launch import empty

    place = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        server.listen()
        run = instance.create_run_for_job(empty, status=DagsterRunStatus.STARTING, tags={
            ".dagster/grpc_info": json.dumps({"host": "localhost", "socket": str(place)})})
        assert dead_runs.close_dead_runs(instance, workspace, now=later(120)) == []
    assert dead_runs.close_dead_runs(instance, workspace, now=later(30)) == []
    assert dead_runs.close_dead_runs(instance, workspace, now=later(120)) == [run.run_id]


WORK = """
import sys
from pathlib import Path
from ftzard.orchestration import lease
from ftzard.workspace.workspace import Workspace
lease.RENEW_S = 0.05
with lease.holding(Workspace(Path(sys.argv[1])), "a-run"):
    print("working", flush=True)
    sys.stdin.read()
print("done")
"""


@pytest.fixture
def at_work(workspace):
    """A process that works on a run; it is told to end by its standard input."""
    started = []

    def start(*before: str) -> subprocess.Popen:
        process = subprocess.Popen([*before, sys.executable, "-c", WORK, str(workspace.root)],
                                   text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout.readline() == "working\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def renewed(workspace) -> float:
    return (workspace.run_folder("a-run") / "lease").stat().st_mtime


def test_a_lease_is_renewed_for_as_long_as_the_work_lasts(workspace, at_work):
    process = at_work()
    file = workspace.run_folder("a-run") / "lease"
    os.utime(file, (0, 0))
    deadline = time.monotonic() + 20
    while renewed(workspace) == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lease.lost(workspace, "a-run", time.time()) is None
    assert process.communicate("")[0] == "done\n"
    assert "ended without" in lease.lost(workspace, "a-run", time.time())


def test_a_process_whose_run_was_given_up_ends_itself(workspace, at_work):
    process = at_work()
    lease.give_up(workspace, "a-run")
    assert process.wait(timeout=20) != 0


@pytest.mark.system
def test_a_live_run_under_another_hostname_is_not_touched_and_a_dead_one_is_closed(workspace,
                                                                                   at_work):
    process = at_work("unshare", "--uts", "sh", "-c", 'hostname elsewhere; exec "$@"', "sh")
    worker = json.loads((workspace.run_folder("a-run") / "worker.json").read_text())
    assert worker["host"] == "elsewhere"
    assert lease.lost(workspace, "a-run", renewed(workspace) + 1) is None
    process.kill()
    process.wait()
    last = renewed(workspace)
    assert lease.lost(workspace, "a-run", last + lease.LEASE_S - 1) is None
    assert "elsewhere has not been heard of" in lease.lost(workspace, "a-run",
                                                           last + lease.LEASE_S + 1)
