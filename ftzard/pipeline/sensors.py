"""Sensors: a new file starts a job, a failed run closes what it left open."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from dagster import (
    DagsterRunStatus,
    DefaultSensorStatus,
    JobDefinition,
    RunRequest,
    RunStatusSensorContext,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    run_status_sensor,
    sensor,
)

from ftzard.workspace import find

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".jsonl")


def deliveries(folder: Path) -> list[Path]:
    """Return the data files in a drop folder, oldest first; hidden and temporary ones are not."""
    if not folder.is_dir():
        return []
    found = [p for p in folder.iterdir()
             if p.is_file() and not p.name.startswith(".") and p.name.endswith(SUFFIXES)]
    return sorted(found, key=lambda p: (p.stat().st_mtime_ns, p.name))


def settled(files: list[Path], pause: float = 1.0) -> list[Path]:
    """Return the files that two looks, `pause` seconds apart, find unchanged and not empty."""
    before = {p: p.stat().st_size for p in files}
    if before:
        time.sleep(pause)
    return [p for p in files if p.exists() and p.stat().st_size == before[p] > 0]


def run_key(path: Path) -> str:
    """Return a key that is the same for the same name and content only."""
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return f"{path.name}:{path.stat().st_size}:{digest}"


def requests(folder: Path, root: Path, key: str) -> Iterator[RunRequest | SkipReason]:
    """Yield a run per settled file of a drop folder; `key` is the config key that takes it."""
    waiting = deliveries(folder)
    ready = settled(waiting)
    for path in ready:
        relative = path.relative_to(root).as_posix()
        yield RunRequest(
            run_key=run_key(path),
            run_config={"resources": {"experiment": {"config": {"data": {key: relative}}}}},
            tags={"ftzard/delivery": relative})
    if not ready:
        still = f"; {len(waiting)} still being written" if waiting else ""
        yield SkipReason(f"no new file in {folder.relative_to(root)}{still}")


def sensors(jobs: Mapping[str, JobDefinition]) -> list[SensorDefinition]:
    """Return every sensor of the code location."""

    @sensor(job=jobs["inference_pipeline_job"], minimum_interval_seconds=5,
            default_status=DefaultSensorStatus.RUNNING,
            description="Starts inference for each new file in data/incoming.")
    def incoming_sensor(context: SensorEvaluationContext):
        workspace = find()
        yield from requests(workspace.incoming, workspace.root, "incoming")

    @sensor(job=jobs["retraining_pipeline_job"], minimum_interval_seconds=5,
            default_status=DefaultSensorStatus.RUNNING,
            description="Starts retraining for each new file in data/labelled.")
    def labelled_sensor(context: SensorEvaluationContext):
        workspace = find()
        yield from requests(workspace.labelled, workspace.root, "labelled")

    def close(context: RunStatusSensorContext, status: str, reason: str) -> None:
        from ftzard.notebooks.chapter import connect
        from ftzard.tracking import runs

        workspace = find()
        runs.close_failed(connect(workspace, workspace.config()), context.dagster_run.run_id,
                          status, reason)

    @run_status_sensor(run_status=DagsterRunStatus.FAILURE,
                       default_status=DefaultSensorStatus.RUNNING,
                       description="Closes the MLflow runs that a failed run left open.")
    def failed_run_sensor(context: RunStatusSensorContext):
        close(context, "FAILED", context.dagster_event.message or "the Dagster run failed")

    @run_status_sensor(run_status=DagsterRunStatus.CANCELED,
                       default_status=DefaultSensorStatus.RUNNING,
                       description="Closes the MLflow runs that a cancelled run left open.")
    def cancelled_run_sensor(context: RunStatusSensorContext):
        close(context, "KILLED", "the Dagster run was cancelled")

    return [incoming_sensor, labelled_sensor, failed_run_sensor, cancelled_run_sensor]
