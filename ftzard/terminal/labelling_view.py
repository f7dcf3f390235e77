"""Labelling in a terminal: one text at a time, a key per label, every answer saved at once.

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
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from ftzard.dataset import handed_in, labelling
from ftzard.dataset.storage import read_parquet, write_csv
from ftzard.errors import DataError, WorkspaceError, nearest
from ftzard.workspace import Workspace

SKIP, UNDO, QUIT, HAND_IN = "s", "u", "q", "h"
ENTER = ("\r", "\n")
#: Keys of the labels, in their order: the digits, then letters that mean nothing else.
KEYS = [k for k in "123456789" + string.ascii_lowercase if k not in (SKIP, UNDO, QUIT, HAND_IN)]
ANSWERS = ["id", "label", "labelled_by", "labelled_at", "handed_in"]


@dataclass
class Sitting:
    """One person at one queue.

    queue: the rows of the batch as asked; rows: those put before this person now; labels: names
    in the order of their keys; answers: this person's of all sittings, as saved; place: where
    they are saved; folder: where they are handed in to.
    """

    batch: str
    person: str
    queue: pd.DataFrame
    rows: pd.DataFrame
    labels: list[str]
    answers: pd.DataFrame
    place: Path
    folder: Path
    at: int = 0
    _done: list[str] = field(default_factory=list)

    @property
    def keys(self) -> dict[str, str]:
        """Key -> label."""
        return dict(zip(KEYS, self.labels, strict=False))

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
        raise DataError("no batch waits for labels: data/labelling is empty. Drop texts into "
                        "data/incoming, or run 'ftzard run inference_pipeline_job'.")
    if batch is not None:
        found = [p for p in files if p.stem.startswith(batch)]
        if len(found) != 1:
            several = f"; {len(found)} batches begin like that" if found else nearest(
                batch, [p.stem for p in files])
            raise DataError(f"there is no batch '{batch}' in data/labelling{several}")
        files = found
    for file in reversed(files):
        sitting = _sitting(workspace, config.data.labels, file, person, cleaned, refused, twice)
        if sitting.rows.empty and sitting.pending.empty:
            continue
        return sitting
    which = f"batch {files[0].stem}" if len(files) == 1 else f"any of {len(files)} batches"
    raise DataError(
        f"nothing is left for {person} to label in {which}: every row has a label or an answer"
        + ("." if twice else "; --twice asks also for what others have labelled."))


def _sitting(workspace: Workspace, named: dict[str, str] | None, file: Path, person: str,
             cleaned: pd.DataFrame | None, refused: set[str], twice: bool) -> Sitting:
    """Return what is left; an answer that was handed in and refused is asked for again."""
    queue = labelling.read_queue(file)
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
        still = handed_in.waiting(file, cleaned)
        rows = rows[rows["id"].isin([] if still is None else still["id"])]
        others = [counts(_answers(p)) for p in folder.glob("*.csv") if p != place]
        rows = rows[~rows["id"].isin(pd.concat(others) if others else [])]
    elif cleaned is not None and "labelled_by" in cleaned:
        own = cleaned[cleaned["labelled_by"] == person]
        rows = rows[~rows["id"].isin(own["id"])]
    labels = list(dict.fromkeys(named.values())) if named else []
    labels = labels or sorted((cleaned["label"] if cleaned is not None
                               else queue["suggestion"]).unique())
    if len(labels) > len(KEYS):
        raise DataError(f"there are {len(labels)} labels but {len(KEYS)} keys; label this batch in "
                        "a spreadsheet or in Label Studio.")
    return Sitting(file.stem, person, queue, rows.reset_index(drop=True), labels, mine, place,
                   workspace.labelled)


def _answers(place: Path) -> pd.DataFrame:
    if not place.is_file():
        return pd.DataFrame({name: pd.Series(dtype="str") for name in ANSWERS})
    return pd.read_csv(place, dtype="str", keep_default_na=False)


def screen(sitting: Sitting, width: int = 80, height: int = 24) -> str:
    """Return what the terminal shows: how far, the text, the suggestion, the keys."""
    row = sitting.row
    lines = [f" {sitting.batch}   {sitting.at + 1} of {len(sitting.rows)}"
             f"   {len(sitting.pending)} answers not handed in   {sitting.person}", ""]
    text = "".join(c if c.isprintable() else " " for c in row["text"])
    wrapped = textwrap.wrap(text, max(20, width - 4)) or [""]
    room = max(3, height - 9 - len(sitting.labels))
    if len(wrapped) > room:
        wrapped = [*wrapped[:room - 1], "…"]
    lines += [f"  {line}" for line in wrapped]
    confidence = f" ({float(row['confidence']):.2f})" if row["confidence"] else ""
    lines += ["", f"  suggestion: {row['suggestion']}{confidence}", ""]
    lines += [f"  {key}  {label}" for key, label in sitting.keys.items()]
    lines += ["", " enter takes the suggestion   s skip   u undo   h hand in   q quit"]
    return "\n".join(lines)


def press(sitting: Sitting, key: str) -> bool:
    """Do what a key asks for; False when the sitting is to end without handing in."""
    if key == QUIT:
        return False
    if key in ENTER:
        if sitting.row["suggestion"] in sitting.labels:
            sitting.answer(sitting.row["suggestion"])
    elif key in sitting.keys:
        sitting.answer(sitting.keys[key])
    elif key == SKIP:
        sitting.skip()
    elif key == UNDO:
        sitting.undo()
    return True


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
            key = next(keys, QUIT)
            if key == HAND_IN:
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
        sys.stdout.write("\x1b[?1049h")
        yield _pressed(source)
    finally:
        termios.tcsetattr(source, termios.TCSADRAIN, before)
        sys.stdout.write("\x1b[?1049l")
        sys.stdout.flush()


def _pressed(source: int) -> Iterator[str]:
    """Yield one character per key until the terminal is gone; arrow keys and the like are none."""
    while data := _read(source):
        if data != b"\x1b":
            yield data.decode("latin-1")
        elif _more(source) and _read(source) in (b"[", b"O"):
            while _more(source) and not b"@" <= _read(source) <= b"~":
                continue  # the parameters of an escape sequence, up to its last byte


def _more(source: int) -> bool:
    return bool(select.select([source], [], [], 0.02)[0])


def _read(source: int) -> bytes:
    try:
        return os.read(source, 1)
    except OSError:
        return b""  # the terminal has been closed
