"""The number of dropped files that wait, are queued, running or failed.

It is read from Dagster's database without importing Dagster. Contents are known from the hashes
that the sensors cache; some of the other files are hashed now, and the rest counts as waiting.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ftzard.errors import DataError
from ftzard.workspace import delivery_hashes, drop_folders
from ftzard.workspace.drop_folders import Entry
from ftzard.workspace.workspace import Workspace

#: The chained job that takes the files of each drop folder.
JOBS = {"incoming": "inference_pipeline_job", "raw_incoming": "training_pipeline_job",
        "labelled": "retraining_pipeline_job"}
#: Bytes of files that are hashed for a tally, of those that no sensor has looked at yet.
HASHED = 64 << 20
#: The most names in a message.
NAMES = 5


@dataclass
class Tally:
    """The files of one drop folder by their state.

    Attributes:
        waiting: No run was made for them yet.
        queued: Their runs wait in Dagster's queue.
        at_work: A run takes them now.
        failed: {name: the first signs of the run that failed}, not tried again until they are put
            there anew.
        done: Taken, or of a content that was.
    """

    waiting: list[str] = field(default_factory=list)
    queued: list[str] = field(default_factory=list)
    at_work: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    done: int = 0

    def to_dict(self) -> dict:
        """Return the counts, and the names of the failed files."""
        return {"waiting": len(self.waiting), "queued": len(self.queued),
                "at_work": len(self.at_work), "failed": dict(self.failed), "done": self.done}

    def sentence(self) -> str:
        """Return a sentence about the counts, '' if all files are done."""
        parts = [f"{len(names):,} {what}" for names, what in (
            (self.waiting, "waiting"), (self.queued, "in the queue"), (self.at_work, "at work"))
            if names]
        if self.failed:
            more = f" and {len(self.failed) - NAMES:,} more" if len(self.failed) > NAMES else ""
            names = ", ".join(f"{name} (run {run})"
                              for name, run in list(self.failed.items())[:NAMES])
            parts.append(f"{len(self.failed):,} failed: {names}{more}")
        return ", ".join(parts)


def of(workspace: Workspace) -> dict[str, Tally] | None:
    """Return the tally of each drop folder by its name; None if Dagster's runs are in a database
    that is not looked at here."""
    runs = _runs(workspace)
    if runs is None:
        return None
    tallies, left = {}, HASHED if runs else 0
    for name, job in JOBS.items():
        tally = tallies[name] = Tally()
        for entry in drop_folders.entries(workspace, getattr(workspace, name)):
            if not entry.look:
                continue
            content = delivery_hashes.known(workspace, entry.path, entry.look)
            if content is None and entry.look.size <= left:
                left -= max(entry.look.size, 1 << 16)
                with suppress(OSError, DataError):  # it has vanished, or cannot be read
                    content = delivery_hashes.of(workspace, entry.path, keep=False)
            _count(tally, entry, runs.get((job, content), []))
    return tallies


def _count(tally: Tally, entry: Entry, runs: list[tuple]) -> None:
    name = entry.path.name
    states = {status for _, status, _, _ in runs}
    if "SUCCESS" in states:
        tally.done += 1
    elif states & {"STARTING", "STARTED", "CANCELING"}:
        tally.at_work.append(name)
    elif states & {"QUEUED", "NOT_STARTED"}:
        tally.queued.append(name)
    else:
        put_there = entry.look.renewed / 1e9
        tried = [run for run, _, ended, untried in runs
                 if not untried and not (ended is not None and put_there > ended)]
        if tried:
            tally.failed[name] = tried[0][:8]
        else:
            tally.waiting.append(name)


def _runs(workspace: Workspace) -> Mapping[tuple[str, str], list[tuple]] | None:
    """Return {(job, content): [(run, status, when it ended, whether it was not tried)]}, newest
    first; None if that cannot be read here."""
    database = workspace.dagster_home / "history" / "runs.db"
    settings = workspace.dagster_home / "dagster.yaml"
    text = settings.read_text(encoding="utf-8", errors="replace") if settings.is_file() else ""
    if any(line.startswith(("storage:", "run_storage:")) for line in text.splitlines()):
        return None
    if not database.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=rw", uri=True, timeout=2)) as opened:
            rows = opened.execute(_RUNS).fetchall()
    except sqlite3.Error:  # the doctor reports the problem
        return None
    by_content: dict[tuple[str, str], list[tuple]] = {}
    for job, content, run, status, ended, untried in rows:
        by_content.setdefault((job, content), []).append((run, status, ended, bool(untried)))
    return by_content


_RUNS = """SELECT r.pipeline_name, t.value, r.run_id, r.status, r.end_time, u.value = 'true'
FROM run_tags t JOIN runs r ON r.run_id = t.run_id
LEFT JOIN run_tags u ON u.run_id = r.run_id AND u.key = 'ftzard/not_tried'
WHERE t.key = 'ftzard/content' ORDER BY r.id DESC"""


def not_in_table(workspace: Workspace, cleaned: Path) -> list[str]:
    """Return the names of files in data/raw_incoming of which the table has no row yet."""
    files = [e.path for e in drop_folders.entries(workspace, workspace.raw_incoming) if e.look]
    if not files or not cleaned.is_file():
        return [path.name for path in files]
    from pyarrow import parquet

    batches = parquet.read_table(cleaned, columns=["batch"])["batch"]
    known, missing = set(batches.unique().to_pylist()), []
    for path in files:
        with suppress(OSError, DataError):  # it has vanished, or cannot be read
            if delivery_hashes.of(workspace, path, keep=False)[:12] not in known:
                missing.append(path.name)
    return missing
