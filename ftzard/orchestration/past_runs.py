"""The runs of deliveries in Dagster's run storage: done, waiting, running, failed, or not tried.

A folder may hold ten thousand files of which nearly all are done. So all contents with a run are
queried at once, done ones are cached, and only the others are queried again.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from dagster import (
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRecord,
    RunsFilter,
)

from ftzard.orchestration.dead_runs import NOT_TRIED, began_a_step
from ftzard.orchestration.run_progress import was_interrupted

#: Tags of a run: the file it takes, relative to the workspace, and the SHA-256 of its content.
DELIVERY, CONTENT = "ftzard/delivery", "ftzard/content"
FAILED = (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
#: Runs that wait in the queue, or are at work.
UNFINISHED = (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.QUEUED, DagsterRunStatus.STARTING,
              DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING)
#: So many runs of a content may end before their first step; then it counts as failed: whatever
#: kills them would kill the next one, too.
TRIES_BEFORE_A_STEP = 10
_AT_ONCE = 200



@dataclass(frozen=True, slots=True)
class PastRun:
    """A run of a delivery.

    Attributes:
        delivery: The file that it took, relative to the workspace.
        ended: When, in seconds since 1970.
        run: All that Dagster has of it, None of a content that is done.
    """

    run_id: str
    status: DagsterRunStatus
    delivery: str
    ended: float | None
    run: DagsterRun | None

    @classmethod
    def of(cls, record: RunRecord) -> "PastRun":
        run = record.dagster_run
        return cls(run.run_id, run.status, run.tags.get(DELIVERY, ""), record.end_time, run)


_done: dict[tuple[str, str], dict[str, list[PastRun]]] = {}


def by_content(instance: DagsterInstance, job: str, contents: Collection[str]
               ) -> dict[str, list[PastRun]]:
    """Return the runs of a job on each of these contents, newest first."""
    done = _done.setdefault((instance.run_storage.get_run_storage_id(), job), {})
    tags = dict(instance.get_run_tags([CONTENT]))
    existing = tags.get(CONTENT, set())
    for content in [content for content in done if content not in existing]:
        del done[content]  # its runs were deleted, so it is new again
    results = {content: done[content] for content in contents if content in done}
    missing = sorted({c for c in contents if c in existing and c not in done})
    for some in _in_batches(missing):
        records = instance.get_run_records(RunsFilter(job_name=job, tags={CONTENT: some}))
        for record in records:
            results.setdefault(record.dagster_run.tags[CONTENT], []).append(PastRun.of(record))
    for content in missing:
        runs = results.get(content, [])
        if any(past.status == DagsterRunStatus.SUCCESS for past in runs):
            done[content] = [replace(past, run=None) for past in runs]  # there may be very many
    return results


def _in_batches(values: list[str]) -> Iterable[list[str]]:
    return (values[at:at + _AT_ONCE] for at in range(0, len(values), _AT_ONCE))


def unfinished(instance: DagsterInstance, job: str) -> int:
    """Return the number of a job's queued and running runs."""
    return instance.get_runs_count(RunsFilter(job_name=job, statuses=list(UNFINISHED)))


def failures(instance: DagsterInstance, runs: Collection[PastRun]) -> list[DagsterRun]:
    """Return the failed ones of a content's runs, newest first.

    One that ended before its first step and not by an error of its own (it was stopped, its process
    was killed) has not tried it; only many of them together count.
    """
    ended = [past.run for past in runs if past.status in FAILED and past.run is not None]
    untried = [run for run in ended if not_tried(instance, run)]
    if len(untried) >= TRIES_BEFORE_A_STEP:
        return ended
    return [run for run in ended if run not in untried]


def not_tried(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Return whether an ended run never came to a step, without an error of its own.

    What comes out is kept as a tag of the run: the status reads that without Dagster. A run that a
    person has canceled was not wanted, which is an answer.
    """
    if NOT_TRIED in run.tags:
        return run.tags[NOT_TRIED] == "true"
    if run.status != DagsterRunStatus.FAILURE:
        return False
    answer = not _own_error(instance, run.run_id) and not began_a_step(instance, run.run_id)
    instance.add_run_tags(run.run_id, {NOT_TRIED: str(answer).lower()})
    return answer


def _own_error(instance: DagsterInstance, run_id: str) -> bool:
    """Return whether a run failed by an error, such as a config that is refused, and not because
    its process was stopped or killed."""
    for entry in instance.all_logs(run_id, of_type={DagsterEventType.RUN_FAILURE,
                                                    DagsterEventType.RESOURCE_INIT_FAILURE}):
        data = entry.dagster_event.event_specific_data
        if entry.dagster_event.event_type == DagsterEventType.RESOURCE_INIT_FAILURE:
            return True
        if getattr(data, "error", None) is not None and not was_interrupted(entry.dagster_event):
            return True
    return False
