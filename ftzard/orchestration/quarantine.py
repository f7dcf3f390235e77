"""Bad deliveries are moved to data/quarantine with a report, so that they block no other.

A delivery is bad if the first step of its run refused it as data. A run that failed for another
reason (no champion yet, a full disk) leaves the file where it is.

Sensors and schedules move the files at their next check of the folder, since Dagster's failure
sensors skip the failures before their first evaluation.
"""

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from dagster import DagsterEventType, DagsterInstance, DagsterRun

from ftzard.config.pipeline import JOBS
from ftzard.core.artifacts import write_atomically
from ftzard.core.escaping import visible
from ftzard.errors import DataError
from ftzard.orchestration.drop_folder_runs import CONTENT, FolderCheck, RequestedRuns
from ftzard.workspace import delivery_hashes, notices, round_notices
from ftzard.workspace.workspace import Workspace

#: Bytes that a file's name may have, and what is added to that of one that is set aside: a report's
#: ending, a number, and the signs of a file that is being written.
_LONGEST, _ADDED = 255, len(".report.txt") + len("-99999") + len("..12345678.part")

_refusals: dict[str, tuple[str, str] | None] = {}


def refusal(instance: DagsterInstance, run: DagsterRun) -> tuple[str, str] | None:
    """Return (step, sentence) of a run whose first step refused its delivery, or None.

    Args:
        run: One that has ended, so that it is asked for once.
    """
    if run.run_id not in _refusals:
        _refusals[run.run_id] = _refusal(instance, run)
    return _refusals[run.run_id]


def _refusal(instance: DagsterInstance, run: DagsterRun) -> tuple[str, str] | None:
    first = JOBS[run.job_name][0] if run.job_name in JOBS else None
    for entry in instance.all_logs(run.run_id, of_type=DagsterEventType.STEP_FAILURE):
        event = entry.dagster_event
        failure = getattr(event.event_specific_data, "user_failure_data", None)
        if failure is None or event.step_key != first:
            continue
        kind = failure.metadata.get("error")
        if kind is not None and kind.value == "DataError":
            return event.step_key, failure.description or ""
    return None


def looked(instance: DagsterInstance, workspace: Workspace, look: FolderCheck) -> RequestedRuns:
    """Check a drop folder, and set aside the files that failed runs have refused.

    One that cannot be set aside is told of, and keeps no other from it.
    """
    result, lines = look(instance, workspace), []
    for path, run in result.failed.items():
        try:
            if set_aside(instance, path, run, workspace):
                lines.append(f"{path.name} was set aside in data/quarantine, with its report")
        except (OSError, DataError) as error:
            lines.append(f"{path.name} could not be set aside: {error}")
    return replace(result, reason="; ".join([result.reason, *lines]))


def set_aside(instance: DagsterInstance, path: Path, run: DagsterRun, workspace: Workspace
              ) -> Path | None:
    """Move a delivery that a failed run refused to data/quarantine; return its path, or None.

    None: the run failed for another reason, or the file is gone or has other content by now. The
    file's report stands beside it.
    """
    refused = refusal(instance, run)
    if refused is None or not path.is_file():
        return None
    if delivery_hashes.of(workspace, path) != run.tags.get(CONTENT):
        return None
    target = _free(workspace.quarantine / path.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    text = _report(path.relative_to(workspace.root).as_posix(), path.stat().st_size, run, *refused,
                   workspace)
    report = target.with_name(f"{target.name}.report.txt")
    write_atomically(report, lambda part: part.write_text(visible(text), encoding="utf-8"))
    shutil.move(path, target)  # a drop folder may be a link to another disk
    notices.add(workspace, workspace.config().notify, round_notices.refused(
        workspace, target, run.tags[CONTENT], refused[1]))
    return target


def _free(path: Path) -> Path:
    """Return `path`, or the first of 'name-2.csv', 'name-3.csv', … that does not exist.

    A name that leaves no room for its report's is cut.
    """
    stem, dot, suffix = path.name.partition(".")
    room = _LONGEST - _ADDED - len(os.fsencode(dot + suffix))
    if room < 1:  # it is all endings
        stem, dot, suffix, room = path.name, "", "", _LONGEST - _ADDED
    stem = os.fsencode(stem)[:room].decode("utf-8", "ignore")
    number, free = 2, path.with_name(f"{stem}{dot}{suffix}")
    while free.exists():
        free = path.with_name(f"{stem}-{number}{dot}{suffix}")
        number += 1
    return free


def _report(file: str, size: int, run: DagsterRun, step: str, sentence: str, workspace: Workspace
            ) -> str:
    folder, content = file.rsplit("/", 1)[0], run.tags[CONTENT]
    for stored in workspace.raw.glob(f"{content}.*"):  # by this name the step knows it
        sentence = sentence.replace(str(stored), file)
    sentence = sentence.replace(f"{workspace.root}/", "")
    notebook = workspace.relative(workspace.executed_notebook(run.run_id, step))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return (f"{file} could not be used and was set aside; nothing of it was taken.\n\n"
            f"what        {size:,} bytes, sha256 {content}\n"
            f"when        {now}\n"
            f"run         {run.run_id} ({run.job_name}), which failed in {step}\n"
            f"notebook    {notebook}\n\n"
            f"why         {sentence}\n\n"
            f"what to do  Mend the file, or the config if the sentence above names a key of it, "
            f"and put the file back into {folder}: it is tried again.\n")
