"""Labelling in a terminal: one text at a time, a key per label, every answer saved at once.

Where the answers are free, there are no keys for them: the suggestion is taken with enter, changed
in place, or another answer is written.

The queue's file is only read. A person's answers stand in a file of their own under
.ftzard/labelling until they are handed in, so a closed terminal loses nothing and two people may
label the same batch. Handing in writes them into data/labelled, where the sensor finds them.
"""

import contextlib
import os
import select
import shutil
import string
import sys
import termios
import textwrap
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from ftzard.config.schema import Config
from ftzard.dataset import handed_in, labelling
from ftzard.dataset.identity import label_list
from ftzard.dataset.storage import read_parquet, write_csv
from ftzard.errors import DataError, WorkspaceError, nearest
from ftzard.frozen_rules import identity
from ftzard.texts import wording
from ftzard.workspace import Workspace

SKIP, UNDO, QUIT, HAND_IN = "s", "u", "q", "h"
EDIT, WRITE = "e", "w"
ENTER = ("\r", "\n")
ESCAPE = "\x1b"
#: Keys of the labels, in their order: the digits, then letters that mean nothing else.
KEYS = [k for k in "123456789" + string.ascii_lowercase if k not in (SKIP, UNDO, QUIT, HAND_IN)]
ANSWERS = ["id", "label", "labelled_by", "labelled_at", "handed_in"]

# Keys of a free answer's editor: as a terminal sends them, beside the usual ones with Ctrl.
MARK = "▏"
NEW_LINE = ("\x0e", "\x1b\r", "\x1b\n")  # Ctrl-N, or Alt and enter
BACKSPACE, DELETE = ("\x7f", "\x08"), ("\x1b[3~", "\x04")
WORD_AWAY, ALL_AWAY = "\x17", "\x15"  # Ctrl-W, Ctrl-U
# What a terminal that was asked to (bracketed paste) puts around a pasted text.
PASTED, PASTE_ENDS = "\x1b[200~", "\x1b[201~"
#: Key -> where it moves to, of the text before and after.
MOVES: dict[str, Callable[[str, str], int]] = {
    "\x1b[D": lambda before, after: len(before) - 1,
    "\x1b[C": lambda before, after: len(before) + 1,
    **dict.fromkeys(("\x1b[H", "\x1bOH", "\x1b[1~", "\x01"),
                    lambda before, after: before.rfind("\n") + 1),
    **dict.fromkeys(("\x1b[F", "\x1bOF", "\x1b[4~", "\x05"),
                    lambda before, after: len(before) + len(after.split("\n", 1)[0])),
}

ASKING = " enter takes the suggestion   e edit   w write   s skip   u undo   h hand in   q quit"
WRITING = " enter saves   ctrl-n new line   ctrl-u clear   esc back to the suggestion"


@dataclass(frozen=True)
class Draft:
    """A free answer while it is written: its text, and where the next character goes."""

    text: str
    at: int

    def key(self, key: str) -> "Draft":
        """Return the draft after a key; one that means nothing here changes nothing."""
        before, after = self.text[:self.at], self.text[self.at:]
        if key in NEW_LINE:
            return Draft(f"{before}\n{after}", self.at + 1)
        if key in BACKSPACE:
            return Draft(before[:-1] + after, max(0, self.at - 1))
        if key in DELETE:
            return Draft(before + after[1:], self.at)
        if key == WORD_AWAY:
            kept = before.rstrip()
            kept = kept[:max(kept.rfind(" "), kept.rfind("\n")) + 1]
            return Draft(kept + after, len(kept))
        if key == ALL_AWAY:
            return Draft("", 0)
        if key in MOVES:
            return Draft(self.text, min(max(MOVES[key](before, after), 0), len(self.text)))
        if key.startswith(PASTED):
            key = key.removeprefix(PASTED).removesuffix(PASTE_ENDS).replace("\r", "\n")
        elif not (key.isprintable() or key == "\u200d"):  # which joins several emoji to one
            return self
        return Draft(before + key + after, self.at + len(key))

    @property
    def shown(self) -> str:
        """The text with a mark where the next character goes."""
        return f"{self.text[:self.at]}{MARK}{self.text[self.at:]}"


@dataclass
class Sitting:
    """One person at one queue.

    queue: the rows of the batch as asked; rows: those put before this person now; labels: names
    in the order of their keys, or None where answers are free; answers: this person's of all
    sittings, as saved; place: where they are saved; folder: where they are handed in to; draft:
    the free answer that is being written, None while none is.
    """

    batch: str
    person: str
    queue: pd.DataFrame
    rows: pd.DataFrame
    labels: list[str] | None
    answers: pd.DataFrame
    place: Path
    folder: Path
    at: int = 0
    draft: Draft | None = None

    @property
    def keys(self) -> dict[str, str]:
        """Key -> label."""
        return dict(zip(KEYS, self.labels or [], strict=False))

    @property
    def suggested(self) -> str | None:
        """The suggestion for the row that is shown, if it can be taken as its label."""
        suggestion = self.row["suggestion"]
        if self.labels is None:
            return wording(suggestion) or None
        return suggestion if suggestion in self.labels else None

    @property
    def row(self) -> pd.Series | None:
        """The row that is shown, or None behind the last."""
        return self.rows.iloc[self.at] if self.at < len(self.rows) else None

    @property
    def pending(self) -> pd.DataFrame:
        """The answers that are not handed in yet."""
        return self.answers[self.answers["handed_in"] == ""]

    def answer(self, label: str) -> None:
        """Save a label for the row that is shown, at once, and go on."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = pd.DataFrame([[self.row["id"], label, self.person, now, ""]], columns=ANSWERS,
                            dtype="str")
        self._save(pd.concat([self._without(self.row["id"]), line], ignore_index=True))
        self.at += 1

    def skip(self) -> None:
        """Leave the row that is shown in the queue and go on."""
        self.at += 1

    def undo(self) -> None:
        """Go back to the row before, and take its answer back."""
        if self.at == 0:
            return
        self.at -= 1
        self._save(self._without(self.row["id"]))

    def hand_in(self) -> Path | None:
        """Write the answers into data/labelled and mark them as handed in; None without any."""
        pending = self.pending
        if pending.empty:
            return None
        now = datetime.now(UTC)
        rows = self.queue.drop(columns="label").merge(pending.drop(columns="handed_in"), on="id")
        person = "".join(c if c.isalnum() or c in "-_" else "-" for c in self.person)
        path = self.folder / f"{self.batch}_{person}_{now:%Y-%m-%d_%H-%M-%S}.csv"
        while path.exists():
            path = path.with_stem(f"{path.stem}_more")
        write_csv(rows, path, encoding="utf-8-sig")
        mark = self.answers["id"].isin(pending["id"]) & (self.answers["handed_in"] == "")
        self._save(self.answers.assign(
            handed_in=self.answers["handed_in"].where(~mark, path.name)))
        return path

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
    queue, rules = labelling.read_queue(file), identity(workspace, config)
    again = queue.loc[queue["text"].isin(refused), "id"]
    if cleaned is not None:
        again = again[~again.isin(cleaned["id"])]

    def counts(answers: pd.DataFrame) -> pd.Series:
        return answers.loc[(answers["handed_in"] == "") | ~answers["id"].isin(again), "id"]

    folder = workspace.state / "labelling" / file.stem
    place = folder / f"{quote(person, safe='')}.csv"
    mine = _answers(place)
    rows = queue[~queue["id"].isin(counts(mine))]
    if not twice:
        still = handed_in.waiting(file, cleaned, rules)
        rows = rows[rows["id"].isin([] if still is None else still["id"])]
        others = [counts(_answers(p)) for p in folder.glob("*.csv") if p != place]
        rows = rows[~rows["id"].isin(pd.concat(others) if others else [])]
    elif cleaned is not None and "labelled_by" in cleaned:
        own = cleaned[cleaned["labelled_by"] == person]
        rows = rows[~rows["id"].isin(own["id"])]
    return Sitting(file.stem, person, queue, rows.reset_index(drop=True),
                   _labels(config, cleaned, queue, rules), mine, place, workspace.labelled)


def _labels(config: Config, cleaned: pd.DataFrame | None, queue: pd.DataFrame, rules: int
            ) -> list[str] | None:
    """Return the label names in the order of their keys, or None where answers are free."""
    if config.task.kind == "instruction_tuning":
        return None
    labels = label_list(config.data.labels, rules)
    labels = labels or sorted((cleaned["label"] if cleaned is not None
                               else queue["suggestion"]).unique())
    if len(labels) > len(KEYS):
        raise DataError(f"there are {len(labels)} labels but {len(KEYS)} keys; label this batch in "
                        "a spreadsheet or in Label Studio.")
    return labels


def _answers(place: Path) -> pd.DataFrame:
    if not place.is_file():
        return pd.DataFrame({name: pd.Series(dtype="str") for name in ANSWERS})
    return pd.read_csv(place, dtype="str", keep_default_na=False)


def screen(sitting: Sitting, width: int = 80, height: int = 24) -> str:
    """Return what the terminal shows: how far, the text, the suggestion, the keys."""
    row, free = sitting.row, sitting.labels is None
    lines = [f" {sitting.batch}   {sitting.at + 1} of {len(sitting.rows)}"
             f"   {len(sitting.pending)} answers not handed in   {sitting.person}", ""]
    confidence = f" ({float(row['confidence']):.2f})" if row["confidence"] else ""
    if free:
        room = max(3, (height - 8) // 2)
        lines += [f"  {line}" for line in _paragraphs(row["text"], width, room)]
        what, shown = f"suggestion{confidence}", row["suggestion"] or "none"
        if sitting.draft is not None:
            what, shown = "your answer", sitting.draft.shown
        lines += ["", f"  {what}:"]
        lines += [f"  {line}" for line in _paragraphs(shown, width, room, MARK)]
        return "\n".join([*lines, "", WRITING if sitting.draft is not None else ASKING])
    text = "".join(c if c.isprintable() else " " for c in row["text"])
    room = max(3, height - 9 - len(sitting.labels))
    lines += [f"  {line}" for line in _paragraphs(text, width, room)]
    lines += ["", f"  suggestion: {row['suggestion']}{confidence}", ""]
    lines += [f"  {key}  {label}" for key, label in sitting.keys.items()]
    lines += ["", " enter takes the suggestion   s skip   u undo   h hand in   q quit"]
    return "\n".join(lines)


def _paragraphs(text: str, width: int, room: int, mark: str = "") -> list[str]:
    """Return a text on at most `room` lines; nothing in it commands the terminal.

    mark: what must be seen of it, if it is there; else a text that is too long shows its beginning.
    """
    lines = []
    for paragraph in text.split("\n"):
        plain = "".join(c if c.isprintable() else " " for c in paragraph)
        lines += textwrap.wrap(plain, max(20, width - 4), drop_whitespace=not mark) or [""]
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
    if sitting.draft is not None:
        _written(sitting, key)
        return True
    if key == QUIT:
        return False
    if key in ENTER:
        if sitting.suggested is not None:
            sitting.answer(sitting.suggested)
    elif sitting.labels is None and key in (EDIT, WRITE):
        text = (sitting.suggested or "") if key == EDIT else ""
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
        answer = wording(sitting.draft.text)
        if answer:
            sitting.draft = None
            sitting.answer(answer)
    else:
        sitting.draft = sitting.draft.key(key)


def run(sitting: Sitting, say: Callable[[str], None]) -> None:
    """Let a person label at the terminal until the last row or a key that ends it.

    Behind the last row, or with h, the answers are handed in; q keeps them for the next time.
    Raises WorkspaceError without a terminal.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise WorkspaceError(
            f"'ftzard label' needs a terminal; without one fill in data/labelling/{sitting.batch}"
            ".csv in a spreadsheet and put it into data/labelled.")
    hand_in = True
    with _whole_screen() as keys:
        while sitting.row is not None:
            size = shutil.get_terminal_size()
            _draw(screen(sitting, size.columns, size.lines))
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
        rows = len(labelling.read_queue(path))
        say(f"{rows} labels handed in: data/labelled/{path.name}")


def _draw(text: str) -> None:
    sys.stdout.write("\x1b[2J\x1b[H" + text.replace("\n", "\r\n"))
    sys.stdout.flush()


@contextlib.contextmanager
def _whole_screen() -> Iterator[Iterator[str]]:
    """Show a screen of its own and yield the keys; the terminal is as before, however it ends."""
    source = sys.stdin.fileno()
    before = termios.tcgetattr(source)
    try:
        tty.setcbreak(source)  # Ctrl-C stays Ctrl-C
        sys.stdout.write("\x1b[?1049h\x1b[?2004h")
        yield _pressed(source)
    finally:
        termios.tcsetattr(source, termios.TCSADRAIN, before)
        sys.stdout.write("\x1b[?2004l\x1b[?1049l")
        sys.stdout.flush()


def _pressed(source: int) -> Iterator[str]:
    """Yield what each key sends until the terminal is gone: a character, or an escape sequence.

    A pasted text is one key, so that nothing in it is taken for a command.
    """
    while data := _read(source):
        if data == b"\x1b":
            data += _sequence(source)
            while data.startswith(PASTED.encode()) and not data.endswith(PASTE_ENDS.encode()):
                more = _read(source)
                if not more:
                    return
                data += more
            yield data.decode("utf-8", errors="replace")
            continue
        while 0xC0 <= data[0] < 0xF8 and len(data) < 2 + (data[0] >= 0xE0) + (data[0] >= 0xF0):
            more = _read(source)
            if not more:
                return
            data += more
        yield data.decode("utf-8", errors="replace")


def _sequence(source: int) -> bytes:
    """Return what follows an escape character at once: nothing if the key was Escape itself."""
    if not _more(source):
        return b""
    found = last = _read(source)
    if found in (b"[", b"O"):
        while _more(source) and (last := _read(source)):
            found += last
            if b"@" <= last <= b"~":
                break  # the parameters of a sequence end with such a byte
    return found


def _more(source: int) -> bool:
    return bool(select.select([source], [], [], 0.02)[0])


def _read(source: int) -> bytes:
    try:
        return os.read(source, 1)
    except OSError:
        return b""  # the terminal has been closed
