"""A person's labeling session: the rows of a batch that need an answer, and the answers.

The queue's file is only read. A person's answers are saved one by one in the workspace's store
until they are submitted, so a closed terminal or page loses nothing, and several people may label
the same batch. Submitting writes them into data/labelled, where the sensor finds them.

`sampling.show_suggestions` decides whether and when the model's suggestion is shown: `never`; after
the person has answered, who may then change the answer (`after`); or from the beginning (`before`).
For a row of the test side, and for one that two people are asked, it is never shown. What was seen
is saved with each answer, and so is the answer that was given before.
"""

import os
import string
from contextlib import suppress
from dataclasses import dataclass, replace
from errno import EXDEV
from pathlib import Path

import pandas as pd

from ftzard.core.artifacts import write_atomically
from ftzard.core.locks import locked
from ftzard.data.labeling.answer_store import Answer, AnswerStore, now
from ftzard.data.labeling.label_formats import LabelFormat
from ftzard.data.labeling.label_studio import AUDITED
from ftzard.data.labeling.labeling_queue import AFTER, BEFORE, NEVER, NO
from ftzard.data.storage import write_csv
from ftzard.errors import DataError
from ftzard.steps.label_submission import submission_name
from ftzard.steps.labeling_batch import (
    LabelingBatch,
    batch_files,
    open_batch,
    require_batch,
    store_of,
)
from ftzard.workspace.workspace import Workspace

SKIP, UNDO, QUIT, HAND_IN = "s", "u", "q", "h"
#: Keys of the labels, in their order: the digits, then letters that mean nothing else.
KEYS = [k for k in "123456789" + string.ascii_lowercase if k not in (SKIP, UNDO, QUIT, HAND_IN)]


@dataclass
class LabelingSession:
    """One person labeling one batch.

    Attributes:
        batch: The batch.
        person: Who labels.
        rows: Those that this person is asked for now.
        at: Position of the current row.
        reviewing: Whether the current row is answered and its suggestion is shown now.
        draft: Text that the editor starts with while an answer is being written, else None.
        marked: The label that is being put together of several names, else ''.
        alone: Whether answers that wait for a second person's are submitted, too.
    """

    batch: LabelingBatch
    person: str
    rows: pd.DataFrame
    at: int = 0
    reviewing: bool = False
    draft: str | None = None
    marked: str = ""
    alone: bool = False

    @property
    def format(self) -> LabelFormat:
        """What a label may be; its names are in the order of their keys."""
        return self.batch.format

    @property
    def keys(self) -> dict[str, str]:
        """Key -> label."""
        return dict(zip(KEYS, self.format.names, strict=False))

    @property
    def offered(self) -> str:
        """The current row's suggestion, if it may be shown at all; else ''."""
        row = self.row
        if (self.batch.show == NEVER or row["side"] == AUDITED
                or self.batch.needed(row["id"]) > 1):
            return ""
        label = self.format.parse(pd.Series([row["suggestion"]], dtype="str")).iloc[0]
        return label if isinstance(label, str) else ""

    @property
    def suggested(self) -> str:
        """The suggestion that is shown now; '' for none."""
        return self.offered if self.batch.show == BEFORE or self.reviewing else ""

    @property
    def row(self) -> pd.Series | None:
        """The current row; None after the last."""
        return self.rows.iloc[self.at] if self.at < len(self.rows) else None

    @property
    def answers(self) -> list[Answer]:
        """This person's answers to the batch so far, as saved."""
        return self.batch.store.answers(self.batch.name, self.person)

    @property
    def pending(self) -> list[Answer]:
        """The answers that are not submitted yet."""
        return [answer for answer in self.answers if answer.label and not answer.handed_in]

    @property
    def ready(self) -> list[Answer]:
        """The answers that would be submitted now."""
        return self.batch.ready(self.person, self.batch.store.answers(self.batch.name),
                                alone=self.alone)

    @property
    def saved(self) -> Answer | None:
        """This person's saved answer to the current row."""
        return next((a for a in self.answers if a.id == self.row["id"]), None)

    @property
    def given(self) -> str:
        """The label of the saved answer to the current row; '' for none."""
        return "" if self.saved is None else self.saved.label

    def answer(self, label: str, note: str = "") -> None:
        """Save the current row's answer and go to the next row.

        With 'after', an answer that differs from the suggestion is first shown beside it.
        """
        saved, offered, differs = self.saved, self.offered, False
        own, seen = ("", "") if saved is None else (saved.own_answer, saved.seen)
        if self.batch.show == BEFORE and not seen:
            own, seen = "", offered
        elif self.batch.show == AFTER and not self.reviewing and offered:
            differs = _same(label) != _same(offered)
            if differs and not seen:
                own, seen = label, offered
        self.batch.store.save(self.batch.name, Answer(
            self.row["id"], self.person, label, now(), "", own, seen, note))
        self.reviewing, self.marked = differs, ""
        self.at += not differs

    def cannot_say(self, note: str = "") -> None:
        """Save that this person cannot label the current row, and go to the next."""
        saved = self.saved or Answer(self.row["id"], self.person)
        self.batch.store.save(self.batch.name, replace(
            saved, label="", labelled_at=now(), handed_in="", note=note, cannot_say="yes"))
        self.reviewing, self.marked = False, ""
        self.at += 1

    def choose(self, name: str) -> None:
        """Take a name for the row: save the label if that completes it, else mark it."""
        label, complete = self.format.choose(self.marked, name)
        if complete:
            self.answer(label)
        else:
            self.marked = label

    def skip(self) -> None:
        """Go to the next row; an answer stays, and a row without one stays in the queue."""
        self.reviewing, self.marked = False, ""
        self.at += 1

    def undo(self) -> None:
        """Take the current row's answer back; without one, go back a row and take that one back."""
        self.marked = ""
        if not self.reviewing:
            if self.at == 0:
                return
            self.at -= 1
        self.reviewing = False
        saved, name = self.saved, self.batch.name
        if saved is not None and saved.own_answer:  # it stays known what was seen
            self.batch.store.save(name, replace(saved, label="", handed_in="", cannot_say=""))
        else:
            self.batch.store.remove(name, self.row["id"], self.person)

    def submit(self) -> Path | None:
        """Write the answers that are ready into data/labelled; return the file, None without any.

        Whenever this process ends, the file is delivered once: it is written beside the store,
        noted there and moved to its place, and what was noted and not moved is moved later.
        """
        outbox = _outbox(self.batch.store)
        with locked(outbox / "lock", {"pid": os.getpid()}):
            ready, name = self.ready, self.batch.name
            if not ready:
                return None
            given = pd.DataFrame({
                "id": [a.id for a in ready], "label": [a.label for a in ready],
                "labelled_by": self.person, "labelled_at": [a.labelled_at for a in ready],
                "own_answer": [a.own_answer for a in ready], "seen": [a.seen for a in ready],
                "note": [a.note for a in ready]}, dtype="str")
            rows = self.batch.queue.drop(columns=["label", "suggestion", "confidence"])
            rows = rows.merge(given, on="id")
            file = submission_name(self.batch.folder, batch=name, person=self.person,
                                   used=self.batch.store.submissions(delivered=True))
            write_csv(rows, outbox / file, encoding="utf-8-sig")
            self.batch.store.hand_in(name, self.person, rows["id"], file)
            _deliver(self.batch.store, self.batch.folder)
        return self.batch.folder / file


def _outbox(store: AnswerStore) -> Path:
    return store.path.parent / "outbox"


def _deliver(store: AnswerStore, folder: Path) -> None:
    """Move the files of submissions that are not in their place yet; the lock is held."""
    for name in sorted(store.submissions(delivered=False)):
        source = _outbox(store) / name
        if source.is_file():  # else it was moved, and maybe taken, before that could be noted
            target = folder / name
            try:
                os.replace(source, target)
            except OSError as error:
                if error.errno != EXDEV:
                    raise
                content = source.read_bytes()
                write_atomically(target, lambda part, content=content: part.write_bytes(content))
                source.unlink()
        store.mark_delivered(name)


def finish_submissions(workspace: Workspace) -> None:
    """Deliver what was handed in when a process was killed."""
    store = store_of(workspace)
    if not store.path.is_file():
        return
    with locked(_outbox(store) / "lock", {"pid": os.getpid()}):
        _deliver(store, workspace.labelled)
        for file in _outbox(store).glob("*.csv"):  # it was killed before anything was marked
            with suppress(FileNotFoundError):
                file.unlink()


def open_session(workspace: Workspace, batch: str | None, person: str, *, twice: bool = False
                 ) -> LabelingSession:
    """Return what `person` is to label: a batch's rows that have no label yet.

    Args:
        batch: Its name, or the beginning of it; None: the newest that has rows waiting.
        twice: Also the rows that others have labelled, so that their agreement can be told.

    Raises:
        DataError: If no batch is asked for, none has that name, or nothing of it is left for this
            person.
    """
    config = workspace.config()
    finish_submissions(workspace)
    files = batch_files(workspace)
    if not files:
        raise DataError(NOTHING_ASKED)
    if batch is not None:
        files = [require_batch(workspace, batch)]
    for file in reversed(files):
        opened = open_batch(workspace, config, file)
        _require_keys(opened.format)
        answers = opened.store.answers(opened.name)
        left = {row_id for row_id, _ in opened.left(person, answers, twice=twice)}
        rows = opened.queue[opened.queue["id"].isin(left)].reset_index(drop=True)
        session = LabelingSession(opened, person, rows)
        if not rows.empty or session.pending:
            return session
    which = f"batch {files[0].stem}" if len(files) == 1 else f"any of {len(files)} batches"
    raise DataError(
        f"nothing is left for {person} to label in {which}: every row has a label or an answer"
        + ("." if twice else "; --twice asks also for what others have labelled."))


#: Why there is nothing to label in a workspace.
NOTHING_ASKED = (
    "no batch waits for labels: data/labelling is empty. Put a file of texts into data/incoming; "
    "'ftzard run inference_pipeline_job' takes it, and so does 'ftzard ui' as long as it runs.")


def _require_keys(labels: LabelFormat) -> None:
    """Raise DataError for more names than there are keys."""
    if len(labels.names) > len(KEYS):
        raise DataError(f"there are {len(labels.names)} labels but {len(KEYS)} keys; label this "
                        "batch on the page of 'ftzard label --web', in a spreadsheet or in Label "
                        "Studio.")


def _same(answer: str) -> str:
    """Return what two answers share if they say the same."""
    return " ".join(answer.split()).casefold()


def seen_audits(batch: LabelingBatch) -> str:
    """Return a sentence if rows of the test side were asked with a suggestion, '' else."""
    queue = batch.queue
    count = int(((queue["side"] == AUDITED) & (queue["blind"] == NO)).sum())
    return "" if not count else (
        f"{count:,} test rows of batch {batch.name} were asked with a suggestion in their "
        "file, as earlier versions did. It is not shown any more; their labels are used, and do "
        "not count as given blind.")
