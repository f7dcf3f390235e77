"""Find and close runs whose process is gone."""

import json
import socket
import time
from collections.abc import Callable, Iterator

from ftzard.orchestration import lease
from ftzard.workspace.workspace import Workspace

#: Tag of a run that ended before its first step without a fault of its own; its delivery counts as
#: not tried.
NOT_TRIED = "ftzard/not_tried"
#: Seconds after which a running code server has started a run's process.
_SERVER_S = 60.0


def find_dead_runs(instance, workspace: Workspace, start_s: float,
                   now: Callable[[], float] = time.time) -> Iterator[tuple[object, str]]:
    """Yield every unfinished run without a process, and the reason to think so.

    Runs that wait in the queue or for the workspace's lock are alive, and so is a run of another
    machine as long as its lease is renewed.

    Args:
        start_s: seconds after its start in which a run must have a process.
        now: the clock.
    """
    from dagster import DagsterRunStatus, RunsFilter

    unfinished = [DagsterRunStatus.STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.CANCELING,
                  DagsterRunStatus.NOT_STARTED]
    for record in instance.get_run_records(RunsFilter(statuses=unfinished)):
        run = record.dagster_run
        if lease.was_started(workspace, run.run_id):
            why = lease.lost(workspace, run.run_id, now())
            if why is not None:
                yield run, why
            continue
        waited = now() - _started_at(record)
        launched = run.status == DagsterRunStatus.STARTING
        if waited >= start_s or launched and waited >= _SERVER_S and not _code_server_alive(run):
            yield run, f"no process took it up within {waited:.0f} s"


def _code_server_alive(run) -> bool:
    """Return whether the code server that was to start a run's process answers."""
    server = json.loads(run.tags.get(".dagster/grpc_info", "{}"))
    address = server.get("socket") or (server.get("host"), server.get("port"))
    if address == (None, None):
        return False
    with socket.socket(socket.AF_UNIX if "socket" in server else socket.AF_INET) as probe:
        probe.settimeout(1.0)
        try:
            return probe.connect_ex(address) == 0
        except OSError:
            return False


def _started_at(record) -> float:
    """Return the time from which a run should have a process, which is after its queueing."""
    return max(record.create_timestamp.timestamp(), record.update_timestamp.timestamp())


def close_dead_runs(instance, workspace: Workspace, start_s: float = 300.0,
                    now: Callable[[], float] = time.time) -> list[str]:
    """Report dead runs as failed, or as canceled if that was requested; return their ids."""
    closed = []
    for run, why in find_dead_runs(instance, workspace, start_s, now):
        report_ended(instance, run, f"This run was cut off: {why}. Re-execute it from failure, or "
                                    "run the job again.", canceled=run.status.value == "CANCELING")
        lease.give_up(workspace, run.run_id)
        closed.append(run.run_id)
    return closed


def report_ended(instance, run, message: str, *, canceled: bool) -> None:
    """Report the end of a run whose process is gone.

    A run that has begun no step is tagged as not tried, unless a person has canceled it.
    """
    if run.status.value != "CANCELING" and not began_a_step(instance, run.run_id):
        instance.add_run_tags(run.run_id, {NOT_TRIED: "true"})
    (instance.report_run_canceled if canceled else instance.report_run_failed)(run, message=message)


def began_a_step(instance, run_id: str) -> bool:
    """Return whether a run has started a step."""
    from dagster import DagsterEventType

    return bool(instance.all_logs(run_id, of_type=DagsterEventType.STEP_START))
