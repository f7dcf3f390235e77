"""Schedules: the same checks as the file sensors, once an hour.

They are off until somebody turns them on in Dagster. Sensors and schedules read the same run
storage, so a delivery runs once even where both are on.
"""

from collections.abc import Mapping

from dagster import (
    DefaultScheduleStatus,
    JobDefinition,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)

from ftzard.orchestration import drop_folder_runs, quarantine
from ftzard.workspace.workspace import find

HOURLY = "0 * * * *"


def schedules(jobs: Mapping[str, JobDefinition]) -> list[ScheduleDefinition]:
    """Return every schedule of the code location."""

    def hourly(name: str, job: str, about: str, look: drop_folder_runs.FolderCheck):
        @schedule(name=name, job=jobs[job], cron_schedule=HOURLY, description=about,
                  default_status=DefaultScheduleStatus.STOPPED)
        def evaluate(context: ScheduleEvaluationContext):
            result = quarantine.looked(context.instance, find(), look)
            return result.requests or SkipReason(result.reason)

        return evaluate

    return [
        hourly("incoming_schedule", "inference_pipeline_job",
               "Once an hour: inference for each new file in data/incoming.",
               drop_folder_runs.incoming),
        hourly("raw_incoming_schedule", "training_pipeline_job",
               "Once an hour: training for each new file of labelled rows in data/raw_incoming.",
               drop_folder_runs.raw_incoming),
        hourly("labelled_schedule", "retraining_pipeline_job",
               "Once an hour: retraining when data/labelled holds enough new labels.",
               drop_folder_runs.labelled),
    ]
