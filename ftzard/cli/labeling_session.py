"""Labelling in a terminal: one text at a time, a key per label, every answer saved at once.

Where the answers are free, there are no keys for them: an answer is written.

Whether the model's suggestion is shown, and when, `sampling.show_suggestions` says: `never`; once
the person has answered, who may then change the answer (`after`); or from the beginning, to be
taken with enter or changed in place (`before`). Of a row of the test side it is never shown. What
was seen is kept with each answer, and so is the answer that was given before.

The queue's file is only read. A person's answers stand in a file of their own under
.ftzard/labelling until they are handed in, so a closed terminal loses nothing and two people may
label the same batch. Handing in writes them into data/labelled, where the sensor finds them.
"""

import shutil
import string
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from ftzard.cli.keys import ENTER, ESCAPE, MARK, Draft, draw, whole_screen
from ftzard.config.schema import Config
from ftzard.core import escaping
from ftzard.core.text import normalize_instruction
from ftzard.data import spreadsheet
from ftzard.data.identity import label_list
from ftzard.data.labeling import labeling_queue, submissions
from ftzard.data.labeling.label_studio import AUDITED
from ftzard.data.labeling.labeling_queue import AFTER, BEFORE, NEVER, NO
from ftzard.data.storage import read_parquet, write_csv
from ftzard.errors import DataError, WorkspaceError, nearest
from ftzard.steps.label_submission import write_submission
from ftzard.workspace.identity_rules import identity
from ftzard.workspace.workspace import Workspace

SKIP, UNDO, QUIT, HAND_IN = "s", "u", "q", "h"
EDIT, WRITE, TAKE = "e", "w", "t"
#: Keys of the labels, in their order: the digits, then letters that mean nothing else.
KEYS = [k for k in "123456789" + string.ascii_lowercase if k not in (SKIP, UNDO, QUIT, HAND_IN)]
ANSWERS = ["id", "label", "labelled_by", "labelled_at", "handed_in", *labeling_queue.SEEN]

REST = "   s skip   u undo   h hand in   q quit"
TAKING = " enter takes the suggestion"
KEEPING = " enter keeps your answer   u takes it back   h hand in   q quit"
WRITING = " enter saves   ctrl-n new line   ctrl-u clear   esc back"


@dataclass
class Sitting:
    """One person at one queue.

    queue: the rows of the batch as asked; rows: those put before this person now; labels: names
    in the order of their keys, or None where answers are free; answers: this person's of all
    sittings, as saved (an empty label was taken back once the suggestion had been seen after it);
    place: where they are saved; folder: where they are handed in to; show: as
    `sampling.show_suggestions`; reviewing: whether the row has been answered, and the suggestion is
    shown now; draft: the free answer that is being written, None while none is.
    """

    batch: str
    person: str
    queue: pd.DataFrame
    rows: pd.DataFrame
    labels: list[str] | None
    answers: pd.DataFrame
    place: Path
    folder: Path
    show: str = NEVER
    at: int = 0
    reviewing: bool = False
    draft: Draft | None = None

    @property
    def keys(self) -> dict[str, str]:
        """Key -> label."""
        return dict(zip(KEYS, self.labels or [], strict=False))

    @property
    def offered(self) -> str:
        """The suggestion for the row that may be shown before or after its answer; '' for none."""
        row = self.row
        if self.show == NEVER or row["side"] == AUDITED:
            return ""
        if self.labels is None:
            return normalize_instruction(row["suggestion"])
        return row["suggestion"] if row["suggestion"] in self.labels else ""

    @property
    def suggested(self) -> str:
        """The suggestion that is shown now, '' for none."""
        return self.offered if self.show == BEFORE or self.reviewing else ""

    @property
    def row(self) -> pd.Series | None:
        """The row that is shown, or None behind the last."""
        return self.rows.iloc[self.at] if self.at < len(self.rows) else None

    @property
    def pending(self) -> pd.DataFrame:
        """The answers that are not handed in yet."""
        return self.answers[(self.answers["handed_in"] == "") & (self.answers["label"] != "")]

    @property
    def given(self) -> str:
        """The label that this person has saved for the row that is shown, '' for none."""
        return "".join(self._kept()["label"])

    def answer(self, label: str) -> None:
        """Save a label for the row that is shown, at once, and go on.

        With 'after', an answer that differs from the suggestion is first shown beside it.
        """
        kept, offered, differs = self._kept(), self.offered, False
        own, seen = kept[labeling_queue.SEEN].iloc[0] if len(kept) else ("", "")
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
        self.reviewing = differs
        self.at += not differs

    def skip(self) -> None:
        """Go on: a row without an answer stays in the queue, one with an answer keeps it."""
        self.reviewing = False
        self.at += 1

    def undo(self) -> None:
        """Take the answer to the row back, or where it has none, go back to the row before."""
        if not self.reviewing:
            if self.at == 0:
                return
            self.at -= 1
        self.reviewing = False
        kept = self._kept()
        taken_back = kept[kept["own_answer"] != ""].assign(label="", handed_in="")
        self._save(pd.concat([self._without(self.row["id"]), taken_back], ignore_index=True))

    def hand_in(self) -> Path | None:
        """Write the answers into data/labelled and mark them as handed in; None without any."""
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

    def _kept(self) -> pd.DataFrame:
        return self.answers[self.answers["id"] == self.row["id"]]

    def _without(self, row_id: str) -> pd.DataFrame:
        return self.answers[self.answers["id"] != row_id]

    def _save(self, answers: pd.DataFrame) -> None:
        write_csv(answers, self.place)
        self.answers = answers.reset_index(drop=True)


def open_sitting(workspace: Workspace, batch: str | None, person: str, *, twice: bool = False
                 ) -> Sitting:
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
        sitting = _sitting(workspace, config, file, person, cleaned, refused, twice)
        if sitting.rows.empty and sitting.pending.empty:
            continue
        return sitting
    which = f"batch {files[0].stem}" if len(files) == 1 else f"any of {len(files)} batches"
    raise DataError(
        f"nothing is left for {person} to label in {which}: every row has a label or an answer"
        + ("." if twice else "; --twice asks also for what others have labelled."))


def _sitting(workspace: Workspace, config: Config, file: Path, person: str,
             cleaned: pd.DataFrame | None, refused: set[str], twice: bool) -> Sitting:
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
    return Sitting(file.stem, person, queue, rows.reset_index(drop=True),
                   _labels(config, cleaned, queue, rules), mine, place, workspace.labelled,
                   config.sampling.show_suggestions)


def _labels(config: Config, cleaned: pd.DataFrame | None, queue: pd.DataFrame, rules: int
            ) -> list[str] | None:
    """Return the label names in the order of their keys, or None where answers are free."""
    if config.task.kind == "instruction_tuning":
        return None
    labels = label_list(config.data.labels, rules)
    labels = labels or sorted(set(cleaned["label"] if cleaned is not None
                                  else queue["suggestion"]) - {""})
    if len(labels) > len(KEYS):
        raise DataError(f"there are {len(labels)} labels but {len(KEYS)} keys; label this batch in "
                        "a spreadsheet or in Label Studio.")
    return labels


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


def screen(sitting: Sitting, width: int = 80, height: int = 24) -> str:
    """Return what the terminal shows: how far, the text, the suggestion if it may be, the keys."""
    head = (f" {sitting.batch}   {sitting.at + 1} of {len(sitting.rows)}"
            f"   {len(sitting.pending)} answers not handed in   {sitting.person}")
    free = sitting.labels is None
    room = (height - 8) // 2 if free else height - 9 - len(sitting.labels)
    text = sitting.row["text"] if free else sitting.row["text"].replace("\n", " ")
    lines = [escaping.one_line(head), "", *_indented(text, width, max(3, room))]
    if free:
        return "\n".join([*lines, *_answer(sitting, width, max(3, room // (1 + sitting.reviewing))),
                          "", _free_keys(sitting)])
    if sitting.reviewing:
        lines += ["", f"  your answer: {escaping.one_line(sitting.given)}"]
    if sitting.suggested:
        lines += ["", f"  suggestion: {escaping.one_line(sitting.suggested)}{_confidence(sitting)}"]
    lines += ["", *(f"  {key}  {escaping.one_line(label)}" for key, label in sitting.keys.items())]
    if sitting.reviewing:
        return "\n".join([*lines, "", f"{KEEPING}; another key changes it"])
    return "\n".join([*lines, "", (TAKING if sitting.suggested else " a key labels") + REST])


def _answer(sitting: Sitting, width: int, room: int) -> list[str]:
    """Return the lines of a free answer that is being written, was given, or is suggested."""
    parts = []
    if sitting.draft is not None:
        parts.append(("your answer", sitting.draft.shown))
    elif sitting.reviewing:
        parts.append(("your answer", sitting.given))
    if sitting.suggested and (sitting.draft is None or sitting.reviewing):
        parts.append((f"suggestion{_confidence(sitting)}", sitting.suggested))
    return [line for what, shown in parts
            for line in ("", f"  {what}:", *_indented(shown, width, room, MARK))]


def _free_keys(sitting: Sitting) -> str:
    if sitting.draft is not None:
        return WRITING
    if sitting.reviewing:
        return " enter keeps your answer   e edit   w write   t takes the suggestion   u undo"
    return (f"{TAKING}   e edit   w write" if sitting.suggested else " w write") + REST


def _confidence(sitting: Sitting) -> str:
    value = sitting.row["confidence"]
    return f" ({float(value):.2f})" if value else ""


def _indented(text: str, width: int, room: int, mark: str = "") -> list[str]:
    return [f"  {line}" for line in _paragraphs(text, width, room, mark)]


def _paragraphs(text: str, width: int, room: int, mark: str = "") -> list[str]:
    """Return a text on at most `room` lines; nothing in it commands the terminal.

    mark: what must be seen of it, if it is there; else a text that is too long shows its beginning.
    """
    lines = []
    for paragraph in escaping.visible(text, tab=" ").split("\n"):
        lines += textwrap.wrap(paragraph, max(20, width - 4), drop_whitespace=not mark) or [""]
    if len(lines) <= room:
        return lines
    at = next((n for n, line in enumerate(lines) if mark and mark in line), 0)
    first = min(max(0, at - room + 2), len(lines) - room)
    shown = lines[first:first + room]
    if first:
        shown[0] = "…"
    if first + room < len(lines):
        shown[-1] = "…"
    return shown


def press(sitting: Sitting, key: str) -> bool:
    """Do what a key asks for; False when the sitting is to end without handing in."""
    free = sitting.labels is None
    if sitting.draft is not None:
        _written(sitting, key)
    elif key == QUIT:
        return False
    elif key in ENTER and sitting.reviewing:
        sitting.skip()
    elif key in ENTER and sitting.suggested or free and key == TAKE and sitting.reviewing:
        sitting.answer(sitting.suggested)
    elif free and (key == WRITE or key == EDIT and (sitting.suggested or sitting.reviewing)):
        edited = sitting.given if sitting.reviewing else sitting.suggested
        text = edited if key == EDIT else ""
        sitting.draft = Draft(text, len(text))
    elif key in sitting.keys:
        sitting.answer(sitting.keys[key])
    elif key == SKIP:
        sitting.skip()
    elif key == UNDO:
        sitting.undo()
    return True


def _written(sitting: Sitting, key: str) -> None:
    """Do what a key asks for while a free answer is written; an empty one is not saved."""
    if key == ESCAPE:
        sitting.draft = None
    elif key in ENTER:
        answer = normalize_instruction(sitting.draft.text)
        if answer:
            sitting.draft = None
            sitting.answer(answer)
    else:
        sitting.draft = sitting.draft.key(key)


def seen_audits(sitting: Sitting) -> str:
    """Return a sentence if rows of the test side were asked with a suggestion, '' else."""
    count = int(((sitting.queue["side"] == AUDITED) & (sitting.queue["blind"] == NO)).sum())
    return "" if not count else (
        f"{count:,} test rows of batch {sitting.batch} were asked with a suggestion in their file, "
        "as earlier versions did. It is not shown any more; their labels are used, and do not "
        "count as given blind.")


def run(sitting: Sitting, say: Callable[[str], None]) -> None:
    """Let a person label at the terminal until the last row or a key that ends it.

    Behind the last row, or with h, the answers are handed in; q keeps them for the next time.
    Raises WorkspaceError without a terminal.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise WorkspaceError(
            f"'ftzard label' needs a terminal; without one fill in data/labelling/{sitting.batch}"
            ".csv in a spreadsheet and put it into data/labelled.")
    seen = seen_audits(sitting)
    if seen:
        say(seen)
    hand_in = True
    with whole_screen() as keys:
        while sitting.row is not None:
            size = shutil.get_terminal_size()
            draw(screen(sitting, size.columns, size.lines))
            key = next(keys, None)
            if key is None:  # the terminal has been closed
                hand_in = False
                break
            if key == HAND_IN and sitting.draft is None:
                break
            if not press(sitting, key):
                hand_in = False
                break
    if not hand_in:
        say(f"{len(sitting.pending)} answers are saved and not handed in; go on with "
            f"'ftzard label {sitting.batch}', h hands them in")
        return
    path = sitting.hand_in()
    if path is None:
        say("no answer to hand in; every row stays in the queue")
    else:
        rows = len(labeling_queue.read_queue(path))
        say(f"{rows} labels handed in: data/labelled/{path.name}")
