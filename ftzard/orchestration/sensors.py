"""Sensors: a new file starts a job; a failed run's open MLflow runs are closed.

A file that a run refused as data is set aside at the next check, so that it blocks no other.
`drop_folder_runs` finds the new files of the drop folders, for the schedules as well.
"""

from collections.abc import Mapping

from dagster import (
    DagsterRunStatus,
    DefaultSensorStatus,
    JobDefinition,
    RunStatusSensorContext,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    run_status_sensor,
    sensor,
)

from ftzard.orchestration import dead_runs, drop_folder_runs, quarantine
from ftzard.workspace import notices, round_notices
from ftzard.workspace.workspace import find


def answer(context: SensorEvaluationContext, look: drop_folder_runs.FolderCheck) -> SensorResult:
    """Return the result of a drop folder's check as a sensor's result."""
    result = quarantine.looked(context.instance, find(), look)
    return SensorResult(run_requests=result.requests,
                        skip_reason=None if result.requests else result.reason)


def sensors(jobs: Mapping[str, JobDefinition]) -> list[SensorDefinition]:
    """Return every sensor of the code location."""

    @sensor(job=jobs["inference_pipeline_job"], minimum_interval_seconds=5,
            default_status=DefaultSensorStatus.RUNNING,
            description="Starts inference for each new file in data/incoming.")
    def incoming_sensor(context: SensorEvaluationContext):
        return answer(context, drop_folder_runs.incoming)

    @sensor(job=jobs["training_pipeline_job"], minimum_interval_seconds=5,
            default_status=DefaultSensorStatus.RUNNING,
            description="Starts training for each new file of labelled rows in "
                        "data/raw_incoming, beside the batches that are there.")
    def raw_incoming_sensor(context: SensorEvaluationContext):
        return answer(context, drop_folder_runs.raw_incoming)

    @sensor(job=jobs["retraining_pipeline_job"], minimum_interval_seconds=5,
            default_status=DefaultSensorStatus.RUNNING,
            description="Starts retraining when data/labelled holds enough new labels.")
    def labelled_sensor(context: SensorEvaluationContext):
        return answer(context, drop_folder_runs.labelled)

    def close(run_id: str, status: str, reason: str) -> None:
        from ftzard.tracking import runs
        from ftzard.tracking.workspace_store import connect

        workspace = find()
        runs.close_failed(connect(workspace, workspace.config()), run_id, status, reason)

    @sensor(minimum_interval_seconds=5, default_status=DefaultSensorStatus.RUNNING,
            description="Reports a run as failed when the process that worked on it is gone, and "
                        "closes what it left open in MLflow.")
    def dead_run_sensor(context: SensorEvaluationContext):
        closed = dead_runs.close_dead_runs(context.instance, find())
        workspace = find()
        for run_id in closed:
            notices.add(workspace, workspace.config().notify, round_notices.dead(workspace, run_id))
        notices.deliver(workspace)
        for run_id in closed:  # the sensors below may not have been asked for the first time yet
            close(run_id, "KILLED", "the process that worked on the Dagster run is gone")
        yield SkipReason(f"closed {', '.join(closed)}" if closed else "every run is alive")

    @run_status_sensor(run_status=DagsterRunStatus.FAILURE, minimum_interval_seconds=5,
                       default_status=DefaultSensorStatus.RUNNING,
                       description="Closes the MLflow runs that a failed run left open.")
    def failed_run_sensor(context: RunStatusSensorContext):
        sentence = context.dagster_event.message or "the Dagster run failed"
        run, workspace = context.dagster_run, find()
        if quarantine.refusal(context.instance, run) is None:  # which has a notice of its own
            notices.add(workspace, workspace.config().notify, round_notices.failed(
                workspace, run.job_name, run.run_id, None, sentence))
        close(run.run_id, "FAILED", sentence)

    @run_status_sensor(run_status=DagsterRunStatus.CANCELED,
                       default_status=DefaultSensorStatus.RUNNING,
                       description="Closes the MLflow runs that a cancelled run left open.")
    def cancelled_run_sensor(context: RunStatusSensorContext):
        close(context.dagster_run.run_id, "KILLED", "the Dagster run was cancelled")

    return [incoming_sensor, raw_incoming_sensor, labelled_sensor, dead_run_sensor,
            failed_run_sensor, cancelled_run_sensor]
