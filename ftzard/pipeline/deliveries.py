"""Drop folders: which files lie there, which are whole, and which have had their run already.

A delivery is its content: the same bytes under another name are no new delivery, and other bytes
under the same name are one. What has run is asked of Dagster's own run storage, by a tag on each
run, so that sensors and schedules share one memory. A delivery whose run failed is not tried again
by itself, only after the file has been put there anew.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRecord,
    RunRequest,
    RunsFilter,
)

from ftzard import drift_log, drop_folders
from ftzard.artifact import sha256
from ftzard.errors import WorkspaceError
from ftzard.pipeline.triggers import labels_needed
from ftzard.workspace import Workspace

#: Tags of a run: the file it takes, relative to the workspace, and the SHA-256 of its content.
DELIVERY, CONTENT = "ftzard/delivery", "ftzard/content"
#: Tag of a run that a person started: it takes its file even if another run has.
BY_HAND = "ftzard/by_hand"
FAILED = (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
LOOKS_APART_S, EMPTY_FOR_S = 1.0, 10.0


@dataclass
class Waiting:
    """What a look into a drop folder found.

    ready: whole files whose content has had no run, with that content's hash; left: a sentence
    for each file that is left alone although it may look new; failed: the files among them whose
    content has failed, each with its last run.
    """

    ready: dict[Path, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    failed: dict[Path, DagsterRun] = field(default_factory=dict)


def deliveries(folder: Path) -> list[Path]:
    """Return the data files in a drop folder, oldest first; hidden and temporary ones are not."""
    if not folder.is_dir():
        return []
    found = {p: _look(p) for p in folder.iterdir() if drop_folders.is_delivery(p)}
    there = [p for p, look in found.items() if look is not None]
    return sorted(there, key=lambda p: (found[p][1], p.name))


def nameless(path: Path) -> str | None:
    """Return why a file cannot be taken by its name, or None: neither YAML, JSON nor a database
    can hold bytes that are no text."""
    try:
        path.name.encode("utf-8")
    except UnicodeEncodeError:
        shown = path.name.encode("utf-8", "backslashreplace").decode()
        return f"{shown}: its name holds bytes that are not UTF-8; rename it"
    return None


def settled(files: list[Path]) -> list[Path]:
    """Return the files that two looks, a second apart, find unchanged and closed.

    An empty file counts when it has been empty for ten seconds: until then it may be filled.
    """
    before = {p: _look(p) for p in files}
    if before:
        time.sleep(LOOKS_APART_S)
    same = [p for p in files if before[p] is not None and _look(p) == before[p]]
    return [p for p in same if not _open_for_writing(p) and (
        before[p][0] > 0 or time.time() - before[p][1] / 1e9 >= EMPTY_FOR_S)]


def _look(path: Path) -> tuple[int, int] | None:
    """Return (bytes, time of the last change in ns), or None for a file that is gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def _open_for_writing(path: Path) -> bool:
    """Return whether a process of this machine that we may look at has the file open to write."""
    wanted = os.path.realpath(path)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            for entry in os.scandir(process / "fd"):
                if os.readlink(entry.path) == wanted:
                    flags = (process / "fdinfo" / entry.name).read_text().split("flags:", 1)[1]
                    if int(flags.split()[0], 8) & os.O_ACCMODE != os.O_RDONLY:
                        return True
        except OSError:
            continue  # it has ended in the meantime, or belongs to somebody else
    return False


_known: dict[Path, tuple[tuple[int, int], str]] = {}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's content; one that has not changed is not read again."""
    look = _look(path)
    if path not in _known or _known[path][0] != look:
        _known[path] = look, sha256(path)
    return _known[path][1]


def runs_of(instance: DagsterInstance, job: str, content: str) -> list[RunRecord]:
    """Return the runs of a job that have taken this content, newest first."""
    return list(instance.get_run_records(RunsFilter(job_name=job, tags={CONTENT: content})))


def refuse_taken(instance: DagsterInstance, run: DagsterRun) -> None:
    """Raise WorkspaceError if another run has taken this run's delivery by now.

    A sensor and its schedule that look in the same second both ask for a run; the second of them
    waits for the first, and then has nothing to do. A run that re-executes another may, and so may
    one that a person started.
    """
    content = run.tags.get(CONTENT)
    if content is None or run.parent_run_id is not None or BY_HAND in run.tags:
        return
    for record in runs_of(instance, run.job_name, content):
        other = record.dagster_run
        if other.run_id != run.run_id and other.status == DagsterRunStatus.SUCCESS:
            raise WorkspaceError(
                f"{run.tags.get(DELIVERY)} was taken by run {other.run_id[:8]} meanwhile, so this "
                "run has nothing to do; expected one run per content. Turn off the sensor or the "
                "schedule: one of the two is enough.")


def waiting(instance: DagsterInstance, folder: Path, root: Path, job: str) -> Waiting:
    """Look into a drop folder and return what is there for a run of `job` to take."""
    found, files = Waiting(), deliveries(folder)
    found.left += [reason for path in files if (reason := nameless(path))]
    files = [path for path in files if nameless(path) is None]
    fresh = [p for p in files if p not in _known or _known[p][0] != _look(p)]
    unsettled = set(fresh) - set(settled(fresh))
    for path in files:
        if path in unsettled:
            found.left.append(f"{path.name} is still being written")
            continue
        try:
            content = digest(path)
            records = runs_of(instance, job, content)
            failed, reason = _failed(path, records), _why_done(path, root, records)
        except FileNotFoundError:
            continue  # somebody took it away meanwhile
        if reason is None and failed is not None:
            found.failed[path] = failed
            reason = (f"{path.name}: its run {failed.run_id[:8]} failed; it is tried again when "
                      "the file is put there anew")
        twin = next((p for p, c in found.ready.items() if c == content), None)
        if reason is None and twin is not None:
            reason = f"{path.name} has the same content as {twin.name}"
        if reason is None:
            found.ready[path] = content
        elif reason:
            found.left.append(reason)
    return found


def _why_done(path: Path, root: Path, records: list[RunRecord]) -> str | None:
    """Return why a run has taken a file: a sentence, '' for one that is simply done, None if none
    has; runs that failed do not count."""
    for record in records:
        run = record.dagster_run
        if run.status in FAILED:
            continue
        taken = run.tags.get(DELIVERY, "")
        if taken != path.relative_to(root).as_posix():
            return f"{path.name} has the same content as {taken}, which run {run.run_id[:8]} took"
        return ""
    return None


def _failed(path: Path, records: list[RunRecord]) -> DagsterRun | None:
    """Return the last run that failed since a file was put where it is, or None."""
    put_there = path.stat().st_ctime
    return next((r.dagster_run for r in records if r.dagster_run.status in FAILED
                 and not (r.end_time is not None and put_there > r.end_time)), None)


def request(instance: DagsterInstance, path: Path, content: str, workspace: Workspace, job: str,
            key: str, data: Mapping | None = None, **groups: dict) -> RunRequest:
    """Return the request that lets `job` take a file; `key` is the key under `data` that takes it.

    data: more of the group `data`; groups: more of the experiment's config, by group.

    The run key is of the content, and of how often it has been tried: Dagster remembers a key for
    ever, that of a failed run too.
    """
    tried = len(runs_of(instance, job, content))
    relative = path.relative_to(workspace.root).as_posix()
    return RunRequest(
        run_key=f"{job}:{content}" + (f":{tried}" if tried else ""),
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
Look = Callable[[DagsterInstance, Workspace], Found]


def incoming(instance: DagsterInstance, workspace: Workspace) -> Found:
    """Return the runs of inference that data/incoming asks for."""
    job = "inference_pipeline_job"
    found = waiting(instance, workspace.incoming, workspace.root, job)
    asked = [request(instance, path, content, workspace, job, "incoming")
             for path, content in found.ready.items()]
    return Found(asked, _reason("data/incoming", found.left), found.failed)


def raw_incoming(instance: DagsterInstance, workspace: Workspace) -> Found:
    """Return the runs of training that data/raw_incoming asks for.

    A file there is one more batch of labelled rows: it stands beside the batches before it, and the
    run trains on all of them. It takes the place of `data.source` and `data.mix` for its run.
    """
    job = "training_pipeline_job"
    found = waiting(instance, workspace.raw_incoming, workspace.root, job)
    more = {"mix": None} if found.ready and workspace.config().data.mix is not None else {}
    asked = [request(instance, path, content, workspace, job, "source", data=more)
             for path, content in found.ready.items()]
    return Found(asked, _reason("data/raw_incoming", found.left), found.failed)


def labelled(instance: DagsterInstance, workspace: Workspace) -> Found:
    """Return the runs of retraining that data/labelled asks for.

    A file starts one when it holds `sampling.min_labelled` new labels, or as many as
    `retraining.trigger` asks for now. Smaller files wait until they have as many together; then
    they are joined into one, and stay under data/labelled/joined.
    """
    job = "retraining_pipeline_job"
    found = waiting(instance, workspace.labelled, workspace.root, job)
    left = list(found.left)
    ready = dict(found.ready)
    groups = {}
    if ready:
        from ftzard.dataset import handed_in

        config = workspace.config()
        least = labels_needed(config.retraining.trigger, config.sampling.min_labelled,
                              drift_log.alarm(workspace))
        if least is None:
            files = ", ".join(path.name for path in ready)
            return Found([], _reason("data/labelled", [
                *left, f"{files}: waiting for a drift alarm (retraining.trigger)"]), found.failed)
        if least < config.sampling.min_labelled:
            groups = {"sampling": {"min_labelled": least}}
        counted, free = {}, config.task.instructions is not None
        for path in ready:
            try:
                counted[path] = handed_in.new_labels(
                    path, workspace.root / config.paths.cleaned, free=free)
            except Exception:
                continue  # whatever is wrong with it: its run says so, and no other file waits
        few = {path: count for path, count in counted.items() if count < least}
        total = sum(few.values())
        if len(few) > 1 and total >= least:
            name = f"joined_{datetime.now(UTC):%Y-%m-%d_%H-%M-%S}.csv"
            joined = handed_in.join([p for p, count in few.items() if count],
                                    workspace.labelled / name, free=free)
            ready[joined] = digest(joined)
        elif few:
            files = ", ".join(f"{path.name} ({count})" for path, count in few.items())
            left.append(f"{total} of {least} new labels (sampling.min_labelled) in {files}")
        ready = {path: content for path, content in ready.items() if path not in few}
    asked = [request(instance, path, content, workspace, job, "labelled", **groups)
             for path, content in ready.items()]
    return Found(asked, _reason("data/labelled", left), found.failed)


def _reason(folder: str, left: list[str]) -> str:
    return f"no new file in {folder}" + (": " + "; ".join(left) if left else "")
