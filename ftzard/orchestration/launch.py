"""Run a job of the code location in this process, or follow one of another process.

Both print a line per step with its time and result.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ftzard.config.pipeline import JOBS
from ftzard.core import python_settings
from ftzard.core.environment import QUIET
from ftzard.errors import ConfigError
from ftzard.orchestration.code_location import job_origin
from ftzard.orchestration.dead_runs import close_dead_runs
from ftzard.orchestration.kernel_server import Server, reconstructable_job
from ftzard.orchestration.launchpad_file import FORCE
from ftzard.orchestration.run_progress import (
    PrintedLines,
    RunProgress,
    failure_sentence,
    ops_of,
    print_cell_output,
    usual_seconds,
    was_interrupted,
)
from ftzard.steps import reuse
from ftzard.workspace.workspace import Workspace


def environment(workspace: Workspace) -> dict[str, str]:
    """Return the environment of Dagster's processes for a workspace.

    Raises:
        WorkspaceError: if this user may not write to the workspace.
    """
    workspace.require_writable()
    return {**python_settings.cleaned(os.environ), **QUIET, "FTZARD_WORKSPACE": str(workspace.root),
            "DAGSTER_HOME": str(workspace.dagster_home)}


@dataclass(frozen=True)
class Outcome:
    """The result of a run: its Dagster id, its seconds by step, and the message of a failure."""

    run_id: str
    success: bool
    seconds: float
    failure: str | None
    failed_step: str | None
    step_seconds: dict[str, float]


def run(workspace: Workspace, job: str, request: Mapping, *, resources: Mapping | None = None,
        dagster: Mapping | None = None, tags: Mapping[str, str] | None = None,
        force: bool = False, say: Callable[[str], None] = print) -> Outcome:
    """Run a job in this process and print the progress of its steps.

    Args:
        request: the config of the `experiment` resource.
        resources: the Launchpad's other resources.
        dagster: the Launchpad's keys beside `resources`.
        tags: of the run.
        force: whether steps run although an earlier execution holds.
        say: prints a line.

    Raises:
        ConfigError: for keys that this job does not have.
        KeyboardInterrupt: after a run that Ctrl-C has ended.
    """
    os.environ.update(environment(workspace))
    config = workspace.config(dict(request))
    _start_server(workspace, job, ahead=force or not reuse.is_likely(workspace, JOBS[job], config))
    from dagster import DagsterInstance
    from dagster._core.execution.api import execute_run_iterator

    progress = RunProgress(say, ops_of(job), usual_seconds(workspace, JOBS[job]))
    printed = PrintedLines(say)
    logging.getLogger("papermill").addHandler(printed)
    run_config = {
        "resources": {**(resources or {}), "experiment": {
            "config": {**request, **({FORCE: True} if force else {})}}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        **(dagster or {}),
    }
    began = time.time()
    try:
        with DagsterInstance.get() as instance:
            close_dead_runs(instance, workspace)
            recon = reconstructable_job(job)
            created = _created(instance, recon, job, run_config, tags or {},
                               job_origin(workspace, job))
            for event in execute_run_iterator(recon, created, instance):
                if was_interrupted(event):
                    raise KeyboardInterrupt
                progress.event(event.event_type_value, event.step_key, time.time(),
                             failure_sentence(event))
            finished = instance.get_run_by_id(created.run_id)
    finally:
        logging.getLogger("papermill").removeHandler(printed)
        if (unused := take_server()) is not None:
            unused.close()
    return Outcome(created.run_id, finished.is_success, time.time() - began, progress.failure,
                   progress.failed_step, progress.seconds)


def _created(instance, recon, job: str, config: Mapping, tags: Mapping[str, str], remote):
    """Create the run; raises ConfigError with a line per mistake in the config."""
    from dagster import DagsterInvalidConfigError

    try:
        return instance.create_run_for_job(
            job_def=recon.get_definition(), run_config=config, tags=dict(tags),
            job_code_origin=recon.get_python_origin(), remote_job_origin=remote)
    except DagsterInvalidConfigError as error:
        raise ConfigError("\n".join(
            f"{job}: {_refused(mistake.message)}" for mistake in error.errors)) from error


def _refused(message: str) -> str:
    """Return one of Dagster's messages without the schema that it expected, if that is long."""
    problem, _, expected = message.partition(" Expected: ")
    return message if len(expected) <= 200 else problem


_server: Server | None = None


def _start_server(workspace: Workspace, job: str, *, ahead: bool) -> None:
    """Make the server of the kernels; ahead: start its imports before this process has its own."""
    global _server
    _server = Server(workspace, list(JOBS[job]), ahead=ahead)


def take_server() -> Server | None:
    """Return the kernel server that `run` has started, once; else None."""
    global _server
    server, _server = _server, None
    return server


def follow(instance, run_id: str, *, say: Callable[[str], None], pause: float = 0.5) -> Outcome:
    """Print the progress of a run of another process until it ends."""
    began, cursor = time.time(), None
    job = instance.get_run_by_id(run_id).job_name
    progress = RunProgress(say, ops_of(job) if job in JOBS else ())
    while True:
        batch = instance.get_records_for_run(run_id, cursor=cursor)
        cursor = batch.cursor
        for record in batch.records:
            entry = record.event_log_entry
            if entry.dagster_event is not None:
                event = entry.dagster_event
                progress.event(event.event_type_value, event.step_key, entry.timestamp,
                             failure_sentence(event))
            elif entry.level < logging.WARNING:
                print_cell_output(entry.user_message, say)
        current = instance.get_run_by_id(run_id)
        if current.is_finished and not batch.has_more:
            return Outcome(run_id, current.is_success, time.time() - began, progress.failure,
                           progress.failed_step, progress.seconds)
        time.sleep(pause)


def new_runs(instance, known: set[str], job: str) -> Iterator[str]:
    """Yield the ids of runs of a job that are not in `known`."""
    from dagster import RunsFilter

    for new in instance.get_runs(RunsFilter(job_name=job)):
        if new.run_id not in known:
            yield new.run_id
