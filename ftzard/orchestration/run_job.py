"""One run of a job in this process, from overrides to an outcome.

The command `ftzard run` and `ftzard.open_workspace(…).run(…)` are both this function.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftzard.config import effects, unusual
from ftzard.config.pipeline import JOBS, drop_folder, job_named
from ftzard.errors import FtzardError
from ftzard.orchestration import launch, launchpad_file
from ftzard.steps import reuse
from ftzard.steps.inputs import metadata_if_any
from ftzard.workspace import notices, round_notices
from ftzard.workspace.workspace import Workspace


@dataclass(frozen=True)
class JobOutcome:
    """How a run of a job ended.

    Attributes:
        job: name of the job.
        run_id: id of the run in Dagster.
        success: whether every step succeeded.
        seconds: duration of the run.
        step_seconds: duration of each op.
        failed_step: the op that failed, None after a success.
        failure: the message of its error, None after a success.
        notebooks: folder of the executed notebooks.
        artifacts: name, path, rows and commit of each file that the steps wrote.
        verdicts: the gate's verdict by step, for steps that have one.
        reused: the steps that were not run again, each with the MLflow run and the commit of the
            execution that holds.
    """

    job: str
    run_id: str
    success: bool
    seconds: float
    step_seconds: Mapping[str, float]
    failed_step: str | None
    failure: str | None
    notebooks: Path
    artifacts: Sequence[Mapping[str, Any]]
    verdicts: Mapping[str, Mapping[str, Any]]
    reused: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as plain values, as `ftzard run --json` prints it."""
        return {
            "job": self.job, "run": self.run_id, "success": self.success,
            "seconds": round(self.seconds, 1), "step_seconds": dict(self.step_seconds),
            "failed_step": self.failed_step, "failure": self.failure,
            "notebooks": str(self.notebooks), "artifacts": list(self.artifacts),
            "verdicts": dict(self.verdicts), "reused": dict(self.reused)}


class JobError(FtzardError):
    """A run that failed; `outcome` says in which step."""

    def __init__(self, outcome: JobOutcome) -> None:
        step = f" in {outcome.failed_step}" if outcome.failed_step else ""
        super().__init__(f"{outcome.job} failed{step}: {outcome.failure}")
        self.outcome = outcome


def run_job(workspace: Workspace, job: str, overrides: Sequence[str] = (), *,
            launchpad: Path | None = None, force: bool = False, say: Callable[[str], None]
            ) -> JobOutcome:
    """Run a job in this process; a failed run is returned, not raised.

    Args:
        workspace: where it runs.
        job: its name.
        overrides: hydra overrides over the workspace's config.
        launchpad: a YAML file as Dagster's Launchpad takes it; `overrides` go over its values.
        force: run every step, also those for which an earlier execution holds.
        say: called with each line of progress.

    Raises:
        WorkspaceError: there is no such job.
        ConfigError: an unknown key or value.
        DataError: the job takes a file from its drop folder and none, or more than one, waits.
    """
    job = job_named(job)
    values = (launchpad_file.split_launchpad({}) if launchpad is None
              else launchpad_file.read_launchpad(launchpad, job))
    request = launchpad_file.with_overrides(values.experiment, list(overrides))
    resolved = workspace.resolve(request)
    effects.refuse_without_effect(resolved, job)
    unusual.require_usual(resolved, JOBS[job])
    say(f"{job} in {workspace.root}")
    with _environment_restored(), warnings.catch_warnings():
        # Dagster's own, where an event loop runs already, as in a notebook.
        warnings.filterwarnings("ignore", category=RuntimeWarning,
                                module="dagster._core.execution.context_creation_job")
        request, tags = _with_dropped_file(workspace, job, request, values.resources, say)
        ended = launch.run(workspace, job, request, resources=values.resources,
                           dagster=values.dagster, tags=tags, force=force or values.force,
                           say=say)
    if not ended.success:
        notices.add(workspace, resolved.config.notify, round_notices.failed(
            workspace, job, ended.run_id, ended.failed_step, ended.failure))
    notices.deliver(workspace)
    metadata = {step: metadata_if_any(step, workspace) or {} for step in JOBS[job]} if (
        ended.success) else {}
    return JobOutcome(
        job, ended.run_id, ended.success, ended.seconds, ended.step_seconds, ended.failed_step,
        ended.failure, workspace.executed / ended.run_id,
        [{"step": step, **artifact} for step, values in metadata.items()
         for artifact in values.get("artifacts", [])],
        {step: values["facts"]["verdict"] for step, values in metadata.items()
         if values.get("facts", {}).get("verdict")},
        reuse.reused(workspace, ended.run_id))


def _with_dropped_file(workspace: Workspace, job: str, request: dict[str, Any],
                       resources: Mapping[str, Any], say: Callable[[str], None]
                       ) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the request with the file that the job takes from its drop folder, and run tags."""
    drop = drop_folder(job)
    if drop is None or drop.key == "source" and not list(getattr(workspace, drop.name).glob("*")):
        return request, {}  # a job of raw rows without a dropped file: data.source names them
    os.environ.update(launch.environment(workspace))
    from dagster import DagsterInstance

    from ftzard.orchestration.drop_folder_runs import shortened
    from ftzard.orchestration.file_selection import select_file
    from ftzard.orchestration.past_runs import DELIVERY

    with DagsterInstance.get() as instance:
        selected = select_file(instance, workspace, job, request, resources)
    if DELIVERY in selected.tags:
        say(f"file: {selected.tags[DELIVERY]}")
    if selected.waiting:
        folder = f"data/{drop.name}"
        say(f"not taken: {shortened(selected.waiting)} in {folder}, since the config names other "
            f"rows (the sensor takes them; here: data.source={folder}/{selected.waiting[0]})")
    return selected.request, selected.tags


@contextmanager
def _environment_restored() -> Iterator[None]:
    """Undo afterwards what a run sets in `os.environ`, such as DAGSTER_HOME."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
