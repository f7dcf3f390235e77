"""Notices to people: what happened in two sentences, once, by services that they choose.

`add` keeps a notice in the workspace under a key that it has only once; `deliver` sends what was
not delivered yet, by apprise. Neither raises: a service that is down, or an address that is wrong,
fails no run. What could not be delivered is tried again later, and the doctor shows it.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ftzard.config.schema import Notify
from ftzard.core.escaping import one_line, visible
from ftzard.workspace.workspace import Workspace

#: The variable with the addresses, which are credentials and stand nowhere else.
VARIABLE = "FTZARD_NOTIFY"
#: Seconds before a failed delivery is tried again: doubled each time, at most an hour.
FIRST_S, LONGEST_S = 15.0, 3600.0
#: Older ones are not tried any more.
OUTDATED_S = 7 * 86400.0
_SCHEMA = ("CREATE TABLE IF NOT EXISTS notice (key TEXT PRIMARY KEY, title TEXT, body TEXT, "
           "added REAL, delivered_to TEXT, done INTEGER, attempts INTEGER, due REAL, problem TEXT)")


@dataclass(frozen=True)
class Notice:
    """A notice to people.

    Attributes:
        key: What it is about; of notices with one key, only the first is sent.
        event: Of those in `notify.events`.
        title: In a few words.
        sentences: What happened, and what can be done.
        quoting: Sentences that may hold texts of rows; only sent with `notify.row_texts`.
        links: Names and addresses of pages and files.
    """

    key: str
    event: str
    title: str
    sentences: Sequence[str]
    quoting: Sequence[str] = ()
    links: Sequence[tuple[str, str]] = field(default_factory=tuple)


def add(workspace: Workspace, settings: Notify, notice: Notice) -> None:
    """Keep a notice to be delivered, if somebody shall have it and it was not kept before."""
    if not addresses() or notice.event not in settings.events:
        return
    lines = [*notice.sentences, *(notice.quoting if settings.row_texts else ())]
    body = "\n".join([" ".join(lines), "", *(f"{name}: {link}" for name, link in notice.links)])
    with contextlib.suppress(sqlite3.Error, OSError), _opened(workspace) as db:
        db.execute("INSERT OR IGNORE INTO notice VALUES (?, ?, ?, ?, '[]', 0, 0, 0, '')", [
            notice.key, one_line(f"{workspace.root.name}: {notice.title}"), visible(body).strip(),
            time.time()])


def addresses() -> list[str]:
    """Return the addresses of the environment."""
    return os.environ.get(VARIABLE, "").split()


def deliver(workspace: Workspace) -> int:
    """Send what was not delivered yet; return the number of notices that everybody has now."""
    if not addresses() or not _file(workspace).is_file():
        return 0
    done = 0
    try:
        with open(workspace.state / "notices.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for row in _due(workspace):
                done += _send(workspace, *row)
    except (sqlite3.Error, OSError):
        pass  # another process delivers, or the disk is full: the next call tries again
    return done


def undelivered(workspace: Workspace) -> list[tuple[str, str]]:
    """Return title and problem of the notices that were tried and did not reach everybody."""
    if not _file(workspace).is_file():
        return []
    with _opened(workspace) as db:
        return db.execute("SELECT title, problem FROM notice WHERE done = 0 AND attempts > 0 "
                          "ORDER BY added").fetchall()


def unknown_addresses() -> list[int]:
    """Return the places, from 1, of addresses that apprise does not understand."""
    if not addresses():
        return []
    with _quiet():
        from apprise import Apprise

        return [number for number, address in enumerate(addresses(), 1)
                if Apprise.instantiate(address, suppress_exceptions=True) is None]


def _due(workspace: Workspace) -> list[tuple[str, str, str, str, int]]:
    now = time.time()
    with _opened(workspace) as db:
        return db.execute(
            "SELECT key, title, body, delivered_to, attempts FROM notice WHERE done = 0 "
            "AND due <= ? AND added > ? ORDER BY added", [now, now - OUTDATED_S]).fetchall()


def _send(workspace: Workspace, key: str, title: str, body: str, delivered_to: str, attempts: int
          ) -> bool:
    """Send one notice to whom it has not reached; save what came of it."""
    reached, missed = set(json.loads(delivered_to)), []
    for number, address in enumerate(addresses(), 1):
        name = hashlib.sha256(address.encode()).hexdigest()[:16]
        if name in reached:
            continue
        if _sent(address, title, body):
            reached.add(name)
        else:
            missed.append(f"address {number} ({address.partition(':')[0]}) did not take it")
    wait = min(LONGEST_S, FIRST_S * 2.0 ** min(attempts, 12))
    with _opened(workspace) as db:
        db.execute("UPDATE notice SET delivered_to = ?, done = ?, attempts = ?, due = ?, "
                   "problem = ? WHERE key = ?", [
                       json.dumps(sorted(reached)), int(not missed), attempts + 1,
                       time.time() + wait, "; ".join(missed), key])
    return not missed


def _sent(address: str, title: str, body: str) -> bool:
    with _quiet():
        try:
            from apprise import Apprise, NotifyFormat

            service = Apprise.instantiate(address, suppress_exceptions=True)
            return service is not None and bool(service.notify(
                body=body, title=title, body_format=NotifyFormat.TEXT))
        except Exception:  # of a service's own code: it is as if the service were down
            return False


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what apprise logs to itself: it may name addresses."""
    logger = logging.getLogger("apprise")
    before = logger.level, logger.propagate
    logger.setLevel(logging.CRITICAL + 1)
    logger.propagate = False
    try:
        yield
    finally:
        logger.setLevel(before[0])
        logger.propagate = before[1]


def _file(workspace: Workspace) -> Path:
    return workspace.state / "notices.db"


@contextmanager
def _opened(workspace: Workspace) -> Iterator[sqlite3.Connection]:
    _file(workspace).parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(_file(workspace), timeout=10)) as db, db:
        db.execute(_SCHEMA)
        yield db
