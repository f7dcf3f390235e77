"""Drop folders: which files lie there, which are whole, and which have had their run already.

A delivery is its content: the same bytes under another name are no new delivery, and other bytes
under the same name are one. What has run is asked of Dagster's own run storage, by a tag on each
run, so that sensors and schedules share one memory. A delivery whose run failed is not tried again
by itself, only after the file has been put there anew.
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
from ftzard.orchestration.retraining_trigger import labels_needed
from ftzard.tasks.base import task_named
from ftzard.workspace import delivery_hashes, drift_log, drop_folders
from ftzard.workspace.drop_folders import Entry, Look
from ftzard.workspace.workspace import Workspace

#: Tag of a run that a person started: it takes its file even if another run has.
BY_HAND = "ftzard/by_hand"
LOOKS_APART_S, EMPTY_FOR_S = 1.0, 10.0
#: Runs of one sensor that wait in Dagster's queue at most; the other files wait in their folder.
MOST_QUEUED = 20
#: Files that are hashed for the first time in one look, and seconds that a look takes at most, so
#: that it ends long before Dagster gives it up (after 60).
FRESH_AT_ONCE, LOOK_S = 200, 20.0
#: Sentences and names of which a person is told; the others are counted.
TOLD = 20


@dataclass
class Waiting:
    """What a look into a drop folder found.

    ready: whole files whose content has had no run, with that content's hash, oldest first; more:
    how many others were not looked at yet, since the queue is full or time was up; left: a sentence
    for each file that is left alone although it may look new; failed: the files among them whose
    content has failed, each with its last run; tried: the last run of each content that had one;
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


def settled(files: list[Path]) -> list[Path]:
    """Return the files that two looks, a second apart, find unchanged and closed.

    An empty file counts when it has been empty for ten seconds: until then it may be filled.
    """
    before = {p: _look(p) for p in files}
    if before:
        time.sleep(LOOKS_APART_S)
    same = [p for p in files if before[p] is not None and _look(p) == before[p]]
    busy = _open_for_writing() if same else set()
    return [p for p in same if os.path.realpath(p) not in busy and (
        before[p].size > 0 or time.time() - before[p].changed / 1e9 >= EMPTY_FOR_S)]


def _look(path: Path) -> Look | None:
    """Return what a file looks like, or None for one that is gone or cannot be looked at."""
    try:
        return drop_folders.look_of(path.stat())
    except OSError:
        return None


def _open_for_writing() -> set[str]:
    """Return the files that the processes of this machine that we may look at have open to write.
    """
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            for entry in os.scandir(process / "fd"):
                place = os.readlink(entry.path)
                if place.startswith("/"):
                    flags = (process / "fdinfo" / entry.name).read_text().split("flags:", 1)[1]
                    if int(flags.split()[0], 8) & os.O_ACCMODE != os.O_RDONLY:
                        found.add(place)
        except OSError:
            continue  # it has ended in the meantime, or belongs to somebody else
    return found


def runs_of(instance: DagsterInstance, job: str, content: str) -> list[PastRun]:
    """Return the runs of a job that have taken this content, newest first."""
    return past_runs.by_content(instance, job, [content]).get(content, [])


def refuse_taken(instance: DagsterInstance, run: DagsterRun) -> None:
    """Raise WorkspaceError if another run has taken this run's delivery by now.

    A sensor and its schedule that look in the same second both ask for a run; the second of them
    waits for the first, and then has nothing to do. A run that re-executes another may, and so may
    one that a person started.
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
    """Look into a drop folder and return what is there for a run of `job` to take.

    most: of how many files, the oldest; None for all. Whatever one entry of the folder is, the
    others are looked at.
    """
    found, until = Waiting(), time.monotonic() + LOOK_S
    there = drop_folders.entries(workspace, folder)
    found.left += [f"{entry.shown}: {entry.why}" for entry in there if entry.why and entry.data]
    files = [entry for entry in there if entry.look]
    known = {e.path: c for e in files if (c := delivery_hashes.known(workspace, e.path, e.look))}
    runs = past_runs.by_content(instance, job, known.values())
    for at in range(0, len(files), FRESH_AT_ONCE):
        some = files[at:at + FRESH_AT_ONCE]
        room = most is None or len(found.ready) < most
        looked = room and time.monotonic() < until
        if looked:
            fresh = _hashed(workspace, [e for e in some if e.path not in known], until, found)
            if fresh:
                runs |= past_runs.by_content(instance, job, fresh.values())
                known |= fresh
        for entry in some:
            if entry.path in known:
                _sort_in(found, instance, workspace, entry, known[entry.path], runs, most)
            elif not looked:
                found.more += 1
    return found


def _hashed(workspace: Workspace, fresh: list[Entry], until: float, found: Waiting
            ) -> dict[Path, str]:
    """Return the hashes of files that were not looked at yet, of those that are whole."""
    hashes: dict[Path, str] = {}
    whole = set(settled([entry.path for entry in fresh]))
    for entry in fresh:
        seconds = min(delivery_hashes.SLICE_S, until - time.monotonic())
        if entry.path not in whole:
            found.left.append(f"{entry.shown} is still being written")
            continue
        if seconds <= 0:
            found.more += 1
            continue
        try:
            content = delivery_hashes.of(workspace, entry.path, seconds)
        except FileNotFoundError:
            continue  # somebody took it away meanwhile
        except (OSError, DataError) as error:
            found.left.append(f"{entry.shown} cannot be read: {error}")
            continue
        if content is None:
            found.left.append(f"{entry.shown} is large; it is still being read")
        else:
            hashes[entry.path] = content
    return hashes


def _sort_in(found: Waiting, instance: DagsterInstance, workspace: Workspace, entry: Entry,
             content: str, runs: Mapping[str, list[PastRun]], most: int | None) -> None:
    """Put a file where it belongs: ready, failed, left with a sentence, or done."""
    path, records = entry.path, runs.get(content, [])
    reason = _why_done(path, workspace.root, records)
    if reason is None and (failed := _failed(instance, entry, records)) is not None:
        found.failed[path] = failed
        reason = (f"{path.name}: its run {failed.run_id[:8]} failed; it is tried again when "
                  "the file is put there anew")
    if reason is None and content in found.first:
        reason = f"{path.name} has the same content as {found.first[content].name}"
    if reason is None and most is not None and len(found.ready) >= most:
        found.more += 1
    elif reason is None:
        found.ready[path] = content
        found.first[content] = path
        if records:
            found.tried[content] = records[0].run_id
    elif reason:
        found.left.append(reason)


def _why_done(path: Path, root: Path, records: list[PastRun]) -> str | None:
    """Return why a run has taken a file: a sentence, '' for one that is simply done, None if none
    has; runs that failed do not count."""
    for past in records:
        if past.status in FAILED:
            continue
        if past.delivery != path.relative_to(root).as_posix():
            return (f"{path.name} has the same content as {past.delivery}, which run "
                    f"{past.run_id[:8]} took")
        return ""
    return None


def _failed(instance: DagsterInstance, entry: Entry, records: list[PastRun]) -> DagsterRun | None:
    """Return the last run that failed since a file was put where it is, or None."""
    put_there = entry.look.renewed / 1e9
    since = [past for past in records if past.ended is None or put_there <= past.ended]
    return next(iter(past_runs.failures(instance, since)), None)


def request(path: Path, content: str, last: str | None, workspace: Workspace, job: str, key: str,
            data: Mapping | None = None, **groups: dict) -> RunRequest:
    """Return the request that lets `job` take a file; `key` is the key under `data` that takes it.

    last: the last run of that content; data: more of the group `data`; groups: more of the
    experiment's config, by group.

    The run key is of the content, and of the last run that has tried it: Dagster remembers a key
    for ever, that of a failed run too.
    """
    relative = path.relative_to(workspace.root).as_posix()
    return RunRequest(
        run_key=f"{job}:{content}" + (f":{last}" if last else ""),
        run_config={"resources": {"experiment": {"config": {
            "data": {key: relative, **(data or {})}, **groups}}}},
        tags={DELIVERY: relative, CONTENT: content})


@dataclass(frozen=True)
class Found:
    """What a sensor or a schedule answers: runs to start, or a sentence why there are none.

    failed: files that still lie there although a run of their content has failed, with that run.
    """

    requests: list[RunRequest]
    reason: str
    failed: dict[Path, DagsterRun] = field(default_factory=dict)


#: A look into one of the drop folders.
LookInto = Callable[[DagsterInstance, Workspace], Found]


def incoming(instance: DagsterInstance, workspace: Workspace) -> Found:
    """Return the runs of inference that data/incoming asks for."""
    job = "inference_pipeline_job"
    found = waiting(instance, workspace, workspace.incoming, job, _room(instance, job))
    asked = [request(path, content, found.tried.get(content), workspace, job, "incoming")
             for path, content in found.ready.items()]
    return Found(asked, _reason("data/incoming", found), found.failed)


def raw_incoming(instance: DagsterInstance, workspace: Workspace) -> Found:
    """Return the runs of training that data/raw_incoming asks for.

    A file there is one more batch of labelled rows: it stands beside the batches before it, and the
    run trains on all of them. It takes the place of `data.source` and `data.mix` for its run.
    """
    job = "training_pipeline_job"
    found = waiting(instance, workspace, workspace.raw_incoming, job, _room(instance, job))
    more = {"mix": None} if found.ready and workspace.config().data.mix is not None else {}
    asked = [request(path, content, found.tried.get(content), workspace, job, "source", data=more)
             for path, content in found.ready.items()]
    return Found(asked, _reason("data/raw_incoming", found), found.failed)


def labelled(instance: DagsterInstance, workspace: Workspace) -> Found:
    """Return the runs of retraining that data/labelled asks for.

    A file starts one when it holds `sampling.min_labelled` new labels, or as many as
    `retraining.trigger` asks for now. Smaller files wait until they have as many together; then
    they are joined into one, and stay under data/labelled/joined.
    """
    job = "retraining_pipeline_job"
    found = waiting(instance, workspace, workspace.labelled, job)
    ready = dict(found.ready)
    groups = {}
    if ready:
        from ftzard.data.labeling import submissions

        config = workspace.config()
        least = labels_needed(config.retraining.trigger, config.sampling.min_labelled,
                              drift_log.alarm(workspace))
        if least is None:
            found.left.append(f"{told([path.name for path in ready])}: waiting for a drift alarm "
                              "(retraining.trigger)")
            return Found([], _reason("data/labelled", found), found.failed)
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
            files = told([f"{path.name} ({count})" for path, count in few.items()])
            found.left.append(f"{total} of {least} new labels (sampling.min_labelled) in {files}")
        ready = {path: content for path, content in ready.items() if path not in few}
    taken = dict(list(ready.items())[:_room(instance, job)])
    found.more += len(ready) - len(taken)
    asked = [request(path, content, found.tried.get(content), workspace, job, "labelled", **groups)
             for path, content in taken.items()]
    return Found(asked, _reason("data/labelled", found), found.failed)


_counts: dict[tuple[str, bool, tuple[int, int] | None], int] = {}


def _new_labels(workspace: Workspace, files: Mapping[Path, str], cleaned: Path, free: bool
                ) -> dict[Path, int]:
    """Return how many new labels each file holds that can be read; each is counted once for each
    state of the table."""
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
                continue  # whatever is wrong with it: its run says so, and no other file waits
        counted[path] = _counts[key]
    return counted


def _room(instance: DagsterInstance, job: str) -> int:
    """Return how many more runs of a job may wait; one that is at work counts, too, for a home of
    Dagster whose owner has turned the queue off."""
    return max(0, MOST_QUEUED - past_runs.unfinished(instance, job))


def told(words: Sequence[str], between: str = ", ") -> str:
    """Return words in a row, and how many more there are than a person would read."""
    rest = len(words) - TOLD
    return between.join(words[:TOLD]) + (f"{between}and {rest:,} more" if rest > 0 else "")


def _reason(folder: str, found: Waiting) -> str:
    left = list(found.left)
    if found.more:
        left.insert(0, f"{found.more:,} more wait there until there is room in the queue "
                       f"({MOST_QUEUED} runs)")
    return f"no new file in {folder}" + (f": {told(left, '; ')}" if left else "")
