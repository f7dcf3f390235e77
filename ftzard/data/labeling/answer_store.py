"""What people have answered and have not handed in yet, in one SQLite file for all batches.

The terminal and the labeling page write here, several people and processes at once. Each answer is
one transaction that is on disk when it returns: one that was confirmed survives a kill, and a
person has one answer to a row however often it is sent. Files of earlier versions, one CSV per
batch and person, are taken over once.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import pandas as pd

from ftzard.data import spreadsheet
from ftzard.errors import WorkspaceError

#: Seconds for which a row that a person looks at is not offered to somebody else.
LEASE_S = 600.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answer (
    batch TEXT, id TEXT, person TEXT, label TEXT, labelled_at TEXT, handed_in TEXT,
    own_answer TEXT, seen TEXT, note TEXT, cannot_say TEXT, PRIMARY KEY (batch, id, person));
CREATE TABLE IF NOT EXISTS lease (
    batch TEXT, id TEXT, person TEXT, until REAL, PRIMARY KEY (batch, id, person));
CREATE TABLE IF NOT EXISTS skipped (
    batch TEXT, id TEXT, person TEXT, at REAL, PRIMARY KEY (batch, id, person));
CREATE TABLE IF NOT EXISTS settled (
    batch TEXT, id TEXT, label TEXT, settled_by TEXT, settled_at TEXT, note TEXT,
    PRIMARY KEY (batch, id));
CREATE TABLE IF NOT EXISTS submission (name TEXT PRIMARY KEY, delivered INTEGER);
CREATE TABLE IF NOT EXISTS login (token TEXT PRIMARY KEY, person TEXT, until REAL);
CREATE TABLE IF NOT EXISTS imported (file TEXT PRIMARY KEY);
"""


@dataclass(frozen=True)
class Answer:
    """A person's answer to a row.

    Attributes:
        id: The row.
        person: Who answered.
        label: The answer; '' if there is none, or it was taken back after the suggestion was seen.
        labelled_at: When, ISO 8601 in UTC.
        handed_in: Name of the file in data/labelled that has it, '' before.
        own_answer: The answer before the suggestion was seen, '' without.
        seen: The suggestion that was seen, '' for none.
        note: What the person wrote beside it.
        cannot_say: 'yes' if the person says that they cannot label the row.
    """

    id: str
    person: str
    label: str = ""
    labelled_at: str = ""
    handed_in: str = ""
    own_answer: str = ""
    seen: str = ""
    note: str = ""
    cannot_say: str = ""


@dataclass(frozen=True)
class Settlement:
    """The label of a row that people had labeled differently, and who decided it when."""

    id: str
    label: str
    settled_by: str
    settled_at: str
    note: str = ""


_NAMES = [field.name for field in fields(Answer)]
_COLUMNS = ", ".join(_NAMES)


def now() -> str:
    """Return the time, in UTC to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class AnswerStore:
    """The answers of a workspace.

    Args:
        path: The SQLite file, which is made with its first answer.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._prepared = False

    def answers(self, batch: str, person: str | None = None) -> list[Answer]:
        """Return the answers to a batch in the order they were given, of one person or of all."""
        where, values = ("", [batch]) if person is None else (" AND person = ?", [batch, person])
        with self._open() as db:
            return self._answers(db, where, values)

    @staticmethod
    def _answers(db: sqlite3.Connection, where: str, values: list[str]) -> list[Answer]:
        return [Answer(*row) for row in db.execute(
            f"SELECT {_COLUMNS} FROM answer WHERE batch = ?{where} ORDER BY rowid", values)]

    def save(self, batch: str, answer: Answer) -> None:
        """Save an answer in place of this person's former one; a settlement of the row ends."""
        with self._writing() as db:
            self._remove(db, batch, answer.id, answer.person)
            db.execute(f"INSERT INTO answer (batch, {_COLUMNS}) VALUES ({'?, ' * len(_NAMES)}?)",
                       [batch, *(getattr(answer, name) for name in _NAMES)])
            for table in ("lease", "skipped"):
                db.execute(f"DELETE FROM {table} WHERE batch = ? AND id = ? AND person = ?",
                           [batch, answer.id, answer.person])

    def remove(self, batch: str, row_id: str, person: str) -> None:
        """Remove a person's answer to a row."""
        with self._writing() as db:
            self._remove(db, batch, row_id, person)

    @staticmethod
    def _remove(db: sqlite3.Connection, batch: str, row_id: str, person: str) -> None:
        db.execute("DELETE FROM answer WHERE batch = ? AND id = ? AND person = ?",
                   [batch, row_id, person])
        db.execute("DELETE FROM settled WHERE batch = ? AND id = ?", [batch, row_id])

    def people(self) -> list[str]:
        """Return the names of everybody who has answered."""
        with self._open() as db:
            return [name for name, in db.execute("SELECT DISTINCT person FROM answer ORDER BY 1")]

    # Who looks at which row

    def lease(self, batch: str, person: str,
              left: Callable[[list[Answer]], Iterable[tuple[str, int]]]) -> str | None:
        """Return the row that a person is shown next, and keep it from others for a while.

        Nobody answers meanwhile: what is left is worked out in the same transaction.

        Args:
            batch: The batch.
            person: Who asks; they keep the row that they have until it is answered or skipped.
            left: Returns, of everybody's answers to the batch, the rows that the person may answer
                in order, each with the number of people who may still answer it, this one among
                them.
        """
        moment = time.time()
        with self._writing() as db:
            candidates = left(self._answers(db, "", [batch]))
            rows = db.execute("SELECT id, person FROM lease WHERE batch = ? AND until > ?",
                              [batch, moment]).fetchall()
            mine = {row_id for row_id, who in rows if who == person}
            others: dict[str, int] = {}
            for row_id, who in rows:
                if who != person:
                    others[row_id] = others.get(row_id, 0) + 1
            skipped = dict(db.execute("SELECT id, at FROM skipped WHERE batch = ? AND person = ?",
                                      [batch, person]).fetchall())
            free = [row_id for row_id, places in candidates if others.get(row_id, 0) < places]
            free.sort(key=lambda row_id: (row_id not in mine, skipped.get(row_id, 0.0)))
            db.execute("DELETE FROM lease WHERE batch = ? AND person = ?", [batch, person])
            if not free:
                return None
            db.execute("INSERT INTO lease VALUES (?, ?, ?, ?)",
                       [batch, free[0], person, moment + LEASE_S])
            return free[0]

    def hold(self, batch: str, row_id: str, person: str,
             places: Callable[[list[Answer]], int]) -> bool:
        """Keep a row from others for a while; return whether the person may answer it.

        Args:
            batch: The batch.
            row_id: The row that the person is shown.
            person: Who labels.
            places: Returns, of everybody's answers to the batch, the number of people who may still
                answer the row, this one among them; 0 if this one may not.
        """
        moment = time.time()
        with self._writing() as db:
            others = db.execute("SELECT count(*) FROM lease WHERE batch = ? AND id = ? AND "
                                "person != ? AND until > ?", [batch, row_id, person, moment])
            if others.fetchone()[0] >= places(self._answers(db, "", [batch])):
                return False
            db.execute("DELETE FROM lease WHERE batch = ? AND person = ?", [batch, person])
            db.execute("INSERT INTO lease VALUES (?, ?, ?, ?)",
                       [batch, row_id, person, moment + LEASE_S])
            return True

    def release(self, batch: str, person: str) -> None:
        """Let others have the row that a person was shown."""
        with self._writing() as db:
            db.execute("DELETE FROM lease WHERE batch = ? AND person = ?", [batch, person])

    def skip(self, batch: str, row_id: str, person: str) -> None:
        """Put a row behind all others that a person is asked for."""
        with self._writing() as db:
            db.execute("DELETE FROM lease WHERE batch = ? AND person = ?", [batch, person])
            db.execute("INSERT OR REPLACE INTO skipped VALUES (?, ?, ?, ?)",
                       [batch, row_id, person, time.time()])

    # What people disagree on

    def settlements(self, batch: str) -> dict[str, Settlement]:
        """Return what was settled of a batch, by row."""
        with self._open() as db:
            return {row[0]: Settlement(*row) for row in db.execute(
                "SELECT id, label, settled_by, settled_at, note FROM settled WHERE batch = ?",
                [batch])}

    def settle(self, batch: str, settlement: Settlement) -> None:
        """Save the label that counts for a row."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO settled VALUES (?, ?, ?, ?, ?, ?)", [
                batch, settlement.id, settlement.label, settlement.settled_by,
                settlement.settled_at, settlement.note])

    # What is handed in

    def hand_in(self, batch: str, person: str, ids: Iterable[str], name: str) -> None:
        """Mark answers as handed in with a file that is about to be delivered."""
        with self._writing() as db:
            db.executemany("UPDATE answer SET handed_in = ? WHERE batch = ? AND person = ? "
                           "AND id = ?", [(name, batch, person, row_id) for row_id in ids])
            db.execute("INSERT INTO submission VALUES (?, 0)", [name])

    def submissions(self, *, delivered: bool) -> set[str]:
        """Return the names of the files that were delivered, or that are still to be."""
        with self._open() as db:
            return {name for name, in db.execute(
                "SELECT name FROM submission WHERE delivered = ?", [int(delivered)])}

    def mark_delivered(self, name: str) -> None:
        """Save that a file is where it belongs."""
        with self._writing() as db:
            db.execute("UPDATE submission SET delivered = 1 WHERE name = ?", [name])

    # Who is logged in at the page

    def log_in(self, token: str, person: str, seconds: float) -> None:
        """Save a login by the hash of its token, and forget those that have ended."""
        with self._writing() as db:
            db.execute("DELETE FROM login WHERE until < ?", [time.time()])
            db.execute("INSERT INTO login VALUES (?, ?, ?)", [token, person, time.time() + seconds])

    def log_out(self, token: str) -> None:
        """End a login."""
        with self._writing() as db:
            db.execute("DELETE FROM login WHERE token = ?", [token])

    def logged_in(self, token: str) -> str | None:
        """Return who has logged in with a token, or None."""
        with self._open() as db:
            row = db.execute("SELECT person FROM login WHERE token = ? AND until > ?",
                             [token, time.time()]).fetchone()
        return None if row is None else row[0]

    # The file

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            if not self._prepared:
                self._prepare()
            with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as db:
                db.execute("PRAGMA synchronous = EXTRA")  # a commit that returned is on the disk
                yield db
        except (sqlite3.Error, PermissionError) as error:
            raise WorkspaceError(f"{self.path}, which has the answers of those who label, cannot "
                                 f"be used: {error}. Nothing was changed.") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def _prepare(self) -> None:
        """Make the tables, and take over the files of earlier versions."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=30)) as db, db:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                db.execute(statement)
            db.execute("BEGIN IMMEDIATE")
            known = {file for file, in db.execute("SELECT file FROM imported")}
            for path in sorted(self.path.parent.glob("*/*.csv")):
                file = path.relative_to(self.path.parent).as_posix()
                if file not in known:
                    self._take_over(db, path)
                    db.execute("INSERT INTO imported VALUES (?)", [file])
        self._prepared = True

    @staticmethod
    def _take_over(db: sqlite3.Connection, path: Path) -> None:
        table = pd.read_csv(path, dtype="str", keep_default_na=False)
        if "seen" in table:  # earlier ones are not escaped for spreadsheets
            table = spreadsheet.unescaped(table)
        table = table.assign(person=unquote(path.stem)).reindex(columns=_NAMES, fill_value="")
        db.executemany(
            f"INSERT OR IGNORE INTO answer (batch, {_COLUMNS}) VALUES ({'?, ' * len(_NAMES)}?)",
            [(path.parent.name, *row) for row in table.itertuples(index=False)])
