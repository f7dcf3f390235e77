"""A person's labeling session: the rows of a batch that need an answer, and the answers.

The queue's file is only read. A person's answers are saved one by one in a file of their own under
.ftzard/labelling until they are submitted, so a closed terminal loses nothing and two people may
label the same batch. Submitting writes them into data/labelled, where the sensor finds them.

`sampling.show_suggestions` decides whether and when the model's suggestion is shown: `never`; after
the person has answered, who may then change the answer (`after`); or from the beginning (`before`).
For a row of the test side it is never shown. What was seen is saved with each answer, and so is the
answer that was given before.
"""

import string
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from ftzard.config.schema import Config
from ftzard.data import spreadsheet
from ftzard.data.labeling import labeling_queue, submissions
from ftzard.data.labeling.label_formats import LabelFormat
from ftzard.data.labeling.label_studio import AUDITED
from ftzard.data.labeling.labeling_queue import AFTER, BEFORE, NEVER, NO
from ftzard.data.storage import read_parquet, write_csv
from ftzard.errors import DataError, nearest
from ftzard.steps.label_submission import write_submission
from ftzard.tasks.base import task_named
from ftzard.workspace.identity_rules import identity
from ftzard.workspace.workspace import Workspace

SKIP, UNDO, QUIT, HAND_IN = "s", "u", "q", "h"
#: Keys of the labels, in their order: the digits, then letters that mean nothing else.
KEYS = [k for k in "123456789" + string.ascii_lowercase if k not in (SKIP, UNDO, QUIT, HAND_IN)]
ANSWERS = ["id", "label", "labelled_by", "labelled_at", "handed_in", *labeling_queue.SEEN]


@dataclass
class LabelingSession:
    """One person labeling one batch.

    Attributes:
        batch: The batch's name.
        person: Who labels.
        queue: All rows of the batch that were selected for labeling.
        rows: Those that this person is asked for now.
        format: What a label may be; its names are in the order of their keys.
        answers: This person's answers to the batch so far, as saved. An empty label was taken back
            after the suggestion had been seen.
        path: File of the answers.
        folder: Folder that submissions are written to.
        show: `sampling.show_suggestions`.
        at: Position of the current row.
        reviewing: Whether the current row is answered and its suggestion is shown now.
        draft: Text that the editor starts with while an answer is being written, else None.
        marked: The label that is being put together of several names, else ''.
    """

    batch: str
    person: str
    queue: pd.DataFrame
    rows: pd.DataFrame
    format: LabelFormat
    answers: pd.DataFrame
    path: Path
    folder: Path
    show: str = NEVER
    at: int = 0
    reviewing: bool = False
    draft: str | None = None
    marked: str = ""

    @property
    def keys(self) -> dict[str, str]:
        """Key -> label."""
        return dict(zip(KEYS, self.format.names, strict=False))

    @property
    def offered(self) -> str:
        """The current row's suggestion, if it may be shown at all; else ''."""
        row = self.row
        if self.show == NEVER or row["side"] == AUDITED:
            return ""
        label = self.format.parse(pd.Series([row["suggestion"]], dtype="str")).iloc[0]
        return label if isinstance(label, str) else ""

    @property
    def suggested(self) -> str:
        """The suggestion that is shown now; '' for none."""
        return self.offered if self.show == BEFORE or self.reviewing else ""

    @property
    def row(self) -> pd.Series | None:
        """The current row; None after the last."""
        return self.rows.iloc[self.at] if self.at < len(self.rows) else None

    @property
    def pending(self) -> pd.DataFrame:
        """The answers that are not submitted yet."""
        return self.answers[(self.answers["handed_in"] == "") & (self.answers["label"] != "")]

    @property
    def given(self) -> str:
        """This person's saved answer to the current row; '' for none."""
        return "".join(self._saved()["label"])

    def answer(self, label: str) -> None:
        """Save the current row's answer and go to the next row.

        With 'after', an answer that differs from the suggestion is first shown beside it.
        """
        saved, offered, differs = self._saved(), self.offered, False
        own, seen = saved[labeling_queue.SEEN].iloc[0] if len(saved) else ("", "")
        if self.show == BEFORE and not seen:
            own, seen = "", offered
        elif self.show == AFTER and not self.reviewing and offered:
            differs = _same(label) != _same(offered)
            if differs and not seen:
                own, seen = label, offered
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = pd.DataFrame([[self.row["id"], label, self.person, now, "", own, seen]],
                            columns=ANSWERS, dtype="str")
        self._save(pd.concat([self._without(self.row["id"]), line], ignore_index=True))
        self.reviewing, self.marked = differs, ""
        self.at += not differs

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
        saved = self._saved()
        taken_back = saved[saved["own_answer"] != ""].assign(label="", handed_in="")
        self._save(pd.concat([self._without(self.row["id"]), taken_back], ignore_index=True))

    def submit(self) -> Path | None:
        """Write the pending answers into data/labelled and return the file; None without any."""
        pending = self.pending
        if pending.empty:
            return None
        rows = self.queue.drop(columns=["label", "suggestion", "confidence"])
        rows = rows.merge(pending.drop(columns="handed_in"), on="id")
        path = write_submission(self.folder, rows, batch=self.batch, person=self.person)
        mark = self.answers.index.isin(pending.index)
        self._save(self.answers.assign(
            handed_in=self.answers["handed_in"].where(~mark, path.name)))
        return path

    def _saved(self) -> pd.DataFrame:
        return self.answers[self.answers["id"] == self.row["id"]]

    def _without(self, row_id: str) -> pd.DataFrame:
        return self.answers[self.answers["id"] != row_id]

    def _save(self, answers: pd.DataFrame) -> None:
        write_csv(answers, self.path)
        self.answers = answers.reset_index(drop=True)


def open_session(workspace: Workspace, batch: str | None, person: str, *, twice: bool = False
                 ) -> LabelingSession:
    """Return what `person` is to label: a batch's rows that have no label yet.

    batch: its name, or the beginning of it; None: the newest that has rows waiting. twice: also
    the rows that others have labelled, so that their agreement can be told. Raises DataError if
    no batch is asked for, none has that name, or nothing of it is left for this person.
    """
    config = workspace.config()
    place = workspace.root / config.paths.cleaned
    cleaned = read_parquet(place) if place.is_file() else None
    place = workspace.root / config.paths.rejected
    refused = set(read_parquet(place, columns=["text"])["text"]) if place.is_file() else set()
    files = sorted(workspace.labelling.glob("*.csv"), key=lambda p: p.stat().st_mtime_ns)
    if not files:
        raise DataError("no batch waits for labels: data/labelling is empty. Put a file of texts "
                        "into data/incoming; 'ftzard run inference_pipeline_job' takes it, and so "
                        "does 'ftzard ui' as long as it runs.")
    if batch is not None:
        found = [p for p in files if p.stem.startswith(batch)]
        if len(found) != 1:
            several = f"; {len(found)} batches begin like that" if found else nearest(
                batch, [p.stem for p in files])
            raise DataError(f"there is no batch '{batch}' in data/labelling{several}")
        files = found
    for file in reversed(files):
        session = _session(workspace, config, file, person, cleaned, refused, twice)
        if session.rows.empty and session.pending.empty:
            continue
        return session
    which = f"batch {files[0].stem}" if len(files) == 1 else f"any of {len(files)} batches"
    raise DataError(
        f"nothing is left for {person} to label in {which}: every row has a label or an answer"
        + ("." if twice else "; --twice asks also for what others have labelled."))


def _session(workspace: Workspace, config: Config, file: Path, person: str,
             cleaned: pd.DataFrame | None, refused: set[str], twice: bool) -> LabelingSession:
    """Return what is left; an answer that was handed in and refused is asked for again."""
    queue, rules = labeling_queue.read_queue(file), identity(workspace, config)
    queue = labeling_queue.with_suggestions(file, queue)
    again = queue.loc[queue["text"].isin(refused), "id"]
    if cleaned is not None:
        again = again[~again.isin(cleaned["id"])]

    def counts(answers: pd.DataFrame) -> pd.Series:
        waits = (answers["handed_in"] == "") | ~answers["id"].isin(again)
        return answers.loc[waits & (answers["label"] != ""), "id"]

    folder = workspace.state / "labelling" / file.stem
    place = folder / f"{quote(person, safe='')}.csv"
    mine = _answers(place)
    rows = queue[~queue["id"].isin(counts(mine))]
    if not twice:
        still = submissions.waiting(file, cleaned, rules)
        rows = rows[rows["id"].isin([] if still is None else still["id"])]
        others = [counts(_answers(p)) for p in folder.glob("*.csv") if p != place]
        rows = rows[~rows["id"].isin(pd.concat(others) if others else [])]
    elif cleaned is not None and "labelled_by" in cleaned:
        own = cleaned[cleaned["labelled_by"] == person]
        rows = rows[~rows["id"].isin(own["id"])]
    return LabelingSession(file.stem, person, queue, rows.reset_index(drop=True),
                           _label_format(config, cleaned, queue, rules), mine, place,
                           workspace.labelled, config.sampling.show_suggestions)


def _label_format(config: Config, cleaned: pd.DataFrame | None, queue: pd.DataFrame, rules: int
                  ) -> LabelFormat:
    """Return what a label may be; raises DataError for more names than there are keys."""
    known = queue["suggestion"] if cleaned is None else cleaned["label"]
    found = task_named(config.task.kind).labeling.label_format(config.data, rules, known)
    if len(found.names) > len(KEYS):
        raise DataError(f"there are {len(found.names)} labels but {len(KEYS)} keys; label this "
                        "batch in a spreadsheet or in Label Studio.")
    return found


def _answers(place: Path) -> pd.DataFrame:
    if not place.is_file():
        return pd.DataFrame({name: pd.Series(dtype="str") for name in ANSWERS})
    answers = pd.read_csv(place, dtype="str", keep_default_na=False)
    if "seen" in answers:
        return spreadsheet.unescaped(answers)
    return answers.reindex(columns=ANSWERS, fill_value="")  # as they were written before


def _same(answer: str) -> str:
    """Return what two answers share if they say the same."""
    return " ".join(answer.split()).casefold()


def seen_audits(session: LabelingSession) -> str:
    """Return a sentence if rows of the test side were asked with a suggestion, '' else."""
    count = int(((session.queue["side"] == AUDITED) & (session.queue["blind"] == NO)).sum())
    return "" if not count else (
        f"{count:,} test rows of batch {session.batch} were asked with a suggestion in their file, "
        "as earlier versions did. It is not shown any more; their labels are used, and do not "
        "count as given blind.")
