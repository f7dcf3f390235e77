"""Files in drop folders: which are completely written, and which have had their run.

A delivery is identified by its content: the same bytes under another name are no new delivery,
other bytes under the same name are one. Runs are looked up in Dagster's run storage by a tag, which
sensors and schedules share. A delivery whose run failed is tried again only after its file has been
put into the folder anew.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRequest

from ftzard.errors import DataError, WorkspaceError
from ftzard.orchestration import past_runs
from ftzard.orchestration.past_runs import CONTENT, DELIVERY, FAILED, PastRun
from ftzard.orchestration.retraining_trigger import labels_needed, too_low
from ftzard.tasks.base import task_named
from ftzard.workspace import (
    batch_log,
    delivery_hashes,
    drop_folders,
    notices,
    round_notices,
)
from ftzard.workspace.drop_folders import Entry, Look
from ftzard.workspace.workspace import Workspace

#: Tag of a run started by hand, which takes its file even if another run has taken it.
BY_HAND = "ftzard/by_hand"
LOOKS_APART_S, EMPTY_FOR_S = 1.0, 10.0
#: The most runs of a sensor in Dagster's queue; further files wait in their folder.
MOST_QUEUED = 20
#: The most files that one check of a folder hashes for the first time, and the most seconds that it
#: takes: Dagster aborts a check after 60.
FRESH_AT_ONCE, LOOK_S = 200, 20.0
#: The most sentences and names in a message; the others are counted.
MOST_LISTED = 20


@dataclass
class Waiting:
    """The files of a drop folder.

    Attributes:
        ready: completely written files whose content has had no run, with its hash, oldest first.
        more: the number of files that were not looked at, since the queue is full or time was up.
        left: a sentence for each file that is not taken although it may look new.
        failed: files of those whose content's run failed, with that run.
        tried: the last run of each content that had one.
        first: the file of each content that is ready.
    """

    ready: dict[Path, str] = field(default_factory=dict)
    more: int = 0
    left: list[str] = field(default_factory=list)
    failed: dict[Path, DagsterRun] = field(default_factory=dict)
    tried: dict[str, str] = field(default_factory=dict)
    first: dict[str, Path] = field(default_factory=dict)


def deliveries(workspace: Workspace, folder: Path) -> list[Path]:
    """Return the files in a drop folder that can be taken, oldest first."""
    return [entry.path for entry in drop_folders.entries(workspace, folder) if entry.look]


def stable_files(files: list[Path]) -> list[Path]:
    """Return the files that did not change within a second and are not open for writing.

    An empty file counts after ten seconds, since it may still be filled.
    """
    before = {p: _look(p) for p in files}
    if before:
        time.sleep(LOOKS_APART_S)
    same = [p for p in files if before[p] is not None and _look(p) == before[p]]
    busy = _open_for_writing() if same else set()
    return [p for p in same if os.path.realpath(p) not in busy and (
        before[p].size > 0 or time.time() - before[p].changed / 1e9 >= EMPTY_FOR_S)]


def _look(path: Path) -> Look | None:
    """Return a file's size and times, or None if they cannot be read."""
    try:
        return drop_folders.look_of(path.stat())
    except OSError:
        return None


def _open_for_writing() -> set[str]:
    """Return the files that this machine's visible processes have open for writing."""
    paths = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            for entry in os.scandir(process / "fd"):
                path = os.readlink(entry.path)
                if path.startswith("/"):
                    flags = (process / "fdinfo" / entry.name).read_text().split("flags:", 1)[1]
                    if int(flags.split()[0], 8) & os.O_ACCMODE != os.O_RDONLY:
                        paths.add(path)
        except OSError:
            continue  # it has ended, or belongs to another user
    return paths


def runs_of(instance: DagsterInstance, job: str, content: str) -> list[PastRun]:
    """Return the runs of a job that have taken this content, newest first."""
    return past_runs.by_content(instance, job, [content]).get(content, [])


def refuse_duplicate(instance: DagsterInstance, run: DagsterRun) -> None:
    """Raise WorkspaceError if another run has taken this run's delivery meanwhile.

    A sensor and its schedule that check at the same time both request a run; the second one waits
    for the first and then has nothing to do. Re-executions and runs started by hand may repeat a
    delivery.
    """
    content = run.tags.get(CONTENT)
    if content is None or run.parent_run_id is not None or BY_HAND in run.tags:
        return
    for other in runs_of(instance, run.job_name, content):
        if other.run_id != run.run_id and other.status == DagsterRunStatus.SUCCESS:
            raise WorkspaceError(
                f"{run.tags.get(DELIVERY)} was taken by run {other.run_id[:8]} meanwhile, so this "
                "run has nothing to do; expected one run per content. Turn off the sensor or the "
                "schedule: one of the two is enough.")


def waiting(instance: DagsterInstance, workspace: Workspace, folder: Path, job: str,
            most: int | None = None) -> Waiting:
    """Return the files of a drop folder that a run of `job` can take.

    Args:
        most: the number of files to return, the oldest; None for all.
    """
    result, until = Waiting(), time.monotonic() + LOOK_S
    entries = drop_folders.entries(workspace, folder)
    result.left += [f"{entry.shown}: {entry.why}" for entry in entries if entry.why and entry.data]
    files = [entry for entry in entries if entry.look]
    known = {e.path: c for e in files if (c := delivery_hashes.known(workspace, e.path, e.look))}
    runs = past_runs.by_content(instance, job, known.values())
    for at in range(0, len(files), FRESH_AT_ONCE):
        chunk = files[at:at + FRESH_AT_ONCE]
        room = most is None or len(result.ready) < most
        checked = room and time.monotonic() < until
        if checked:
            fresh = _hashed(workspace, [e for e in chunk if e.path not in known], until, result)
            if fresh:
                runs |= past_runs.by_content(instance, job, fresh.values())
                known |= fresh
        for entry in chunk:
            if entry.path in known:
                _classify(result, instance, workspace, entry, known[entry.path], runs, most)
            elif not checked:
                result.more += 1
    return result


def _hashed(workspace: Workspace, fresh: list[Entry], until: float, result: Waiting
            ) -> dict[Path, str]:
    """Return the hashes of files that have none yet and are completely written."""
    hashes: dict[Path, str] = {}
    whole = set(stable_files([entry.path for entry in fresh]))
    for entry in fresh:
        seconds = min(delivery_hashes.SLICE_S, until - time.monotonic())
        if entry.path not in whole:
            result.left.append(f"{entry.shown} is still being written")
            continue
        if seconds <= 0:
            result.more += 1
            continue
        try:
            content = delivery_hashes.of(workspace, entry.path, seconds)
        except FileNotFoundError:
            continue  # removed meanwhile
        except (OSError, DataError) as error:
            result.left.append(f"{entry.shown} cannot be read: {error}")
            continue
        if content is None:
            result.left.append(f"{entry.shown} is large; it is still being read")
        else:
            hashes[entry.path] = content
    return hashes


def _classify(result: Waiting, instance: DagsterInstance, workspace: Workspace, entry: Entry,
             content: str, runs: Mapping[str, list[PastRun]], most: int | None) -> None:
    """Add a file to the ready, failed or left ones, or to none if its run is done."""
    path, records = entry.path, runs.get(content, [])
    reason = _why_done(path, workspace.root, records)
    if reason is None and (failed := _failed(instance, entry, records)) is not None:
        result.failed[path] = failed
        reason = (f"{path.name}: its run {failed.run_id[:8]} failed; it is tried again when "
                  "the file is put there anew")
    if reason is None and content in result.first:
        reason = f"{path.name} has the same content as {result.first[content].name}"
    if reason is None and most is not None and len(result.ready) >= most:
        result.more += 1
    elif reason is None:
        result.ready[path] = content
        result.first[content] = path
        if records:
            result.tried[content] = records[0].run_id
    elif reason:
        result.left.append(reason)


def _why_done(path: Path, root: Path, records: list[PastRun]) -> str | None:
    """Return why a file needs no run: '' if its run is done, a sentence if its content ran under
    another name, None if no run has taken it; failed runs do not count."""
    for past in records:
        if past.status in FAILED:
            continue
        if past.delivery != path.relative_to(root).as_posix():
            return (f"{path.name} has the same content as {past.delivery}, which run "
                    f"{past.run_id[:8]} took")
        return ""
    return None


def _failed(instance: DagsterInstance, entry: Entry, records: list[PastRun]) -> DagsterRun | None:
    """Return the last run that failed since the file was put into the folder, or None."""
    added = entry.look.renewed / 1e9
    since = [past for past in records if past.ended is None or added <= past.ended]
    return next(iter(past_runs.failures(instance, since)), None)


def request(path: Path, content: str, last: str | None, workspace: Workspace, job: str, key: str,
            data: Mapping | None = None, **groups: dict) -> RunRequest:
    """Return the request of a run of `job` on a file.

    The run key consists of the content and of its last run, since Dagster accepts a key only once,
    also after a failure.

    Args:
        content: the file's hash.
        last: the last run of that content.
        key: the key under `data` that names the file.
        data: further values of the group `data`.
        groups: further values of the experiment's config, by group.
    """
    relative = path.relative_to(workspace.root).as_posix()
    return RunRequest(
        run_key=f"{job}:{content}" + (f":{last}" if last else ""),
        run_config={"resources": {"experiment": {"config": {
            "data": {key: relative, **(data or {})}, **groups}}}},
        tags={DELIVERY: relative, CONTENT: content})


@dataclass(frozen=True)
class RequestedRuns:
    """The answer of a sensor or schedule: runs to start, or a sentence why there are none.

    Attributes:
        failed: files in the folder whose content's run failed, with that run.
    """

    requests: list[RunRequest]
    reason: str
    failed: dict[Path, DagsterRun] = field(default_factory=dict)


#: A check of one of the drop folders.
FolderCheck = Callable[[DagsterInstance, Workspace], RequestedRuns]


def incoming(instance: DagsterInstance, workspace: Workspace) -> RequestedRuns:
    """Return the runs of inference for the files in data/incoming."""
    job = "inference_pipeline_job"
    files = waiting(instance, workspace, workspace.incoming, job, _room(instance, job))
    requests = [request(path, content, files.tried.get(content), workspace, job, "incoming")
                for path, content in files.ready.items()]
    return RequestedRuns(requests, _reason("data/incoming", files), files.failed)


def raw_incoming(instance: DagsterInstance, workspace: Workspace) -> RequestedRuns:
    """Return the runs of training for the files in data/raw_incoming.

    A file there is a further batch of labeled rows; the run trains on all batches. It replaces
    `data.source` and `data.mix` for its run.
    """
    job = "training_pipeline_job"
    files = waiting(instance, workspace, workspace.raw_incoming, job, _room(instance, job))
    more = {"mix": None} if files.ready and workspace.config().data.mix is not None else {}
    requests = [request(path, content, files.tried.get(content), workspace, job, "source",
                        data=more)
                for path, content in files.ready.items()]
    return RequestedRuns(requests, _reason("data/raw_incoming", files), files.failed)


def labelled(instance: DagsterInstance, workspace: Workspace) -> RequestedRuns:
    """Return the runs of retraining for the files in data/labelled.

    A file starts a run when it holds `sampling.min_labelled` new labels, or as many as
    `retraining.trigger` currently requires. Smaller files wait until they have as many together;
    then they are joined into one file, and moved to data/labelled/joined.
    """
    job = "retraining_pipeline_job"
    files = waiting(instance, workspace, workspace.labelled, job)
    ready = dict(files.ready)
    groups = {}
    if ready:
        from ftzard.data.labeling import submissions

        config = workspace.config()
        estimated, limit = batch_log.ESTIMATES.last(workspace), config.retraining.min_accuracy
        least = labels_needed(config.retraining.trigger, config.sampling.min_labelled,
                              alarm=batch_log.is_alarm(batch_log.DRIFT.last(workspace)),
                              low=too_low(estimated, limit))
        if least is None:
            names = shortened([path.name for path in ready])
            clause = f"; the latest {estimated['sentence']}" if estimated else ""
            files.left.append(
                f"{names}: waiting for a drift alarm (retraining.trigger)"
                if config.retraining.trigger == "drift" else
                f"{names}: waiting for an estimated accuracy surely below {100 * limit:g} % "
                f"(retraining.min_accuracy){clause}")
            return RequestedRuns([], _reason("data/labelled", files), files.failed)
        if least < config.sampling.min_labelled:
            groups = {"sampling": {"min_labelled": least}}
        free = task_named(config.task.kind).labeling.FREE_TEXT
        counted = _new_labels(workspace, ready, workspace.root / config.paths.cleaned, free)
        few = {path: count for path, count in counted.items() if count < least}
        total = sum(few.values())
        if len(few) > 1 and total >= least:
            name = f"joined_{datetime.now(UTC):%Y-%m-%d_%H-%M-%S}.csv"
            joined = submissions.join([p for p, count in few.items() if count],
                                    workspace.labelled / name, free=free)
            ready[joined] = delivery_hashes.of(workspace, joined)
        elif few:
            names = shortened([f"{path.name} ({count})" for path, count in few.items()])
            files.left.append(f"{total} of {least} new labels (sampling.min_labelled) in {names}")
            notices.add(workspace, config.notify, round_notices.too_few(
                workspace, total, least, few))
        ready = {path: content for path, content in ready.items() if path not in few}
    queued = dict(list(ready.items())[:_room(instance, job)])
    files.more += len(ready) - len(queued)
    requests = [request(path, content, files.tried.get(content), workspace, job, "labelled",
                        **groups)
                for path, content in queued.items()]
    return RequestedRuns(requests, _reason("data/labelled", files), files.failed)


_counts: dict[tuple[str, bool, tuple[int, int] | None], int] = {}


def _new_labels(workspace: Workspace, files: Mapping[Path, str], cleaned: Path, free: bool
                ) -> dict[Path, int]:
    """Return the number of new labels in each readable file, counted once per state of the table.
    """
    from ftzard.data.labeling import submissions

    table = _look(cleaned)
    counted = {}
    for path, content in files.items():
        key = content, free, table and (table.changed, table.inode)
        if key not in _counts:
            try:
                drop_folders.refuse_outside(workspace, path)
                _counts[key] = submissions.new_labels(path, cleaned, free=free)
            except Exception:
                continue  # its run reports the problem, and the other files go on
        counted[path] = _counts[key]
    return counted


def _room(instance: DagsterInstance, job: str) -> int:
    """Return the number of further runs of a job that may be queued; running ones count, too."""
    return max(0, MOST_QUEUED - past_runs.unfinished(instance, job))


def shortened(words: Sequence[str], between: str = ", ") -> str:
    """Return words as a list of at most `MOST_LISTED`, and the number of the others."""
    rest = len(words) - MOST_LISTED
    return between.join(words[:MOST_LISTED]) + (f"{between}and {rest:,} more" if rest > 0 else "")


def _reason(folder: str, files: Waiting) -> str:
    left = list(files.left)
    if files.more:
        left.insert(0, f"{files.more:,} more wait there until there is room in the queue "
                       f"({MOST_QUEUED} runs)")
    return f"no new file in {folder}" + (f": {shortened(left, '; ')}" if left else "")
