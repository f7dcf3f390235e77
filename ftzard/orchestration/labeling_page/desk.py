"""What the labeling page shows and does: batches, a person's next row, decisions, submissions."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from ftzard.core.text import normalize_instruction
from ftzard.data.labeling.answer_store import Answer, AnswerStore
from ftzard.data.labeling.label_formats import LabelFormat
from ftzard.data.labeling.labeling_queue import AFTER, suggestions_file
from ftzard.errors import DataError
from ftzard.reporting.batch_names import named
from ftzard.steps.labeling_batch import (
    LabelingBatch,
    batch_files,
    open_batch,
    require_batch,
    store_of,
)
from ftzard.steps.labeling_session import KEYS, LabelingSession
from ftzard.versioning import delivery_names
from ftzard.workspace.workspace import Workspace

#: A longer time between two answers was a break.
BREAK_S = 300.0
LONGEST_NOTE, LONGEST_ANSWER = 2_000, 200_000


@dataclass(frozen=True)
class Progress:
    """How far a batch is, for everybody and for one person.

    Attributes:
        total: Rows of the batch.
        done: Those that need no further answer.
        mine: Answers of the person that are not handed in.
        left: Rows that this person may still answer.
        seconds: The person's usual time for a row, None before the third.
    """

    total: int
    done: int
    mine: int
    left: int
    seconds: float | None

    @property
    def pace(self) -> str:
        """The pace and the time that the rest takes, '' while nothing is known."""
        if self.seconds is None or not self.left:
            return ""
        minutes = self.seconds * self.left / 60
        rest = "less than a minute" if minutes < 1 else f"about {minutes:.0f} min"
        return f"{self.seconds:.0f} s a row, {rest} left"


@dataclass(frozen=True)
class Choice:
    """A label that can be picked: its number, its key if it has one, and its name."""

    number: int
    key: str
    name: str
    #: Whether picking it is the whole answer; others are marked, and then saved.
    complete: bool
    marked: bool = False


class Desk:
    """The batches of a workspace as the page sees them; files are read again when they change."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.store: AnswerStore = store_of(workspace)
        self._files: tuple[Path, ...] = ()
        self._read: dict[Path, tuple[object, LabelingBatch]] = {}
        self._lock = threading.Lock()

    def batches(self) -> list[LabelingBatch]:
        """Return the batches, the newest first."""
        return [self._opened(file) for file in reversed(batch_files(self.workspace))]

    def batch(self, name: str) -> LabelingBatch:
        """Return a batch by its name."""
        return self._opened(require_batch(self.workspace, name))

    def _opened(self, file: Path) -> LabelingBatch:
        with self._lock:
            if file not in self._read or self._read[file][0] != self._stamp(file):
                config = self.workspace.config()
                self._files = tuple(self.workspace.root / path for path in (
                    config.paths.cleaned, config.paths.rejected, "ftzard.yaml"))
                stamp = self._stamp(file)
                self._read[file] = (stamp, open_batch(self.workspace, config, file))
            return self._read[file][1]

    def _stamp(self, file: Path) -> object:
        files = (file, file.with_suffix(".json"), suggestions_file(file), *self._files)
        return tuple((p.stat().st_mtime_ns, p.stat().st_size) if p.exists() else None
                     for p in files)

    def title(self, batch: LabelingBatch) -> str:
        """Return what a person calls a batch."""
        return named(batch.name, delivery_names.known(self.workspace))

    def progress(self, batch: LabelingBatch, person: str, answers: Sequence[Answer]) -> Progress:
        """Return how far a batch is."""
        left = batch.left(person, answers)
        open_to_anybody = batch.left("", answers)
        mine = [a for a in answers if a.person == person and a.label and not a.handed_in]
        return Progress(len(batch.queue), len(batch.queue) - len(open_to_anybody), len(mine),
                        len(left), _seconds_per_row(answers, person))

    def next_session(self, batch: LabelingBatch, person: str) -> LabelingSession | None:
        """Return a session at the person's next row, which is kept for them; None after the last.
        """
        row_id = self.store.lease(batch.name, person, lambda answers: batch.left(person, answers))
        return None if row_id is None else self.session(batch, person, row_id)

    def session(self, batch: LabelingBatch, person: str, row_id: str) -> LabelingSession:
        """Return a session at one row; raises DataError if the batch does not have it."""
        rows = batch.queue[batch.queue["id"] == row_id].reset_index(drop=True)
        if rows.empty:
            raise DataError(f"batch {batch.name} has no row '{row_id[:40]}'; it was queued again "
                            "in the meantime. Go on with the next row.")
        return LabelingSession(batch, person, rows)

    def reviewed(self, batch: LabelingBatch, person: str, row_id: str) -> LabelingSession | None:
        """Return the session of an answer beside which the suggestion may be shown, or None."""
        session = self.session(batch, person, row_id)
        saved = session.saved
        if batch.show != AFTER or saved is None or not saved.label or not saved.seen:
            return None
        session.reviewing = True
        return session

    def undo(self, batch: LabelingBatch, person: str) -> str | None:
        """Take a person's last answer back; return its row, or None if there is none to take."""
        last = self.last_answer(batch, person)
        if last is None:
            return None
        session = self.session(batch, person, last.id)
        session.at = 1
        session.undo()
        self.store.lease(batch.name, person, lambda answers: [
            row for row in batch.left(person, answers) if row[0] == last.id])
        return last.id

    def last_answer(self, batch: LabelingBatch, person: str) -> Answer | None:
        """Return the answer that undo takes back."""
        answers = [a for a in self.store.answers(batch.name, person)
                   if (a.label or a.cannot_say) and not a.handed_in]
        return answers[-1] if answers else None


def _seconds_per_row(answers: Sequence[Answer], person: str) -> float | None:
    times = [datetime.fromisoformat(a.labelled_at) for a in answers
             if a.person == person and a.labelled_at][-30:]
    gaps = [(b - a).total_seconds() for a, b in zip(times, times[1:], strict=False)]
    gaps = [max(gap, 1.0) for gap in gaps if 0 <= gap <= BREAK_S]
    return median(gaps) if len(gaps) >= 2 else None


def choices(labels: LabelFormat, marked: str = "") -> list[Choice]:
    """Return the labels that can be picked, with those marked that stand in a label."""
    result = []
    for number, name in enumerate(labels.names):
        complete = labels.choose("", name)[1]
        # Picking a name that is marked takes it away, so the label gets shorter.
        in_it = bool(marked) and not complete and len(labels.choose(marked, name)[0]) < len(marked)
        result.append(Choice(number, KEYS[number] if number < len(KEYS) else "", name, complete,
                             in_it))
    return result


def label_of(labels: LabelFormat, numbers: Sequence[str], text: str) -> str:
    """Return the label that a form says: names by their numbers, or a text.

    Raises:
        DataError: It says none, or a number that is none.
    """
    if labels.free_text:
        answer = normalize_instruction(text[:LONGEST_ANSWER])
        if not answer:
            raise DataError("the answer is empty; write one, or say that you cannot answer.")
        return answer
    label, complete = "", False
    for number in numbers:
        if not number.isascii() or not number.isdigit() or int(number) >= len(labels.names):
            raise DataError("the form names a label that is none; load the page again.")
        label, complete = labels.choose("" if complete else label, labels.names[int(number)])
    if not label:
        raise DataError("no label was picked; pick one, or say that you cannot.")
    return label
