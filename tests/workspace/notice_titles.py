"""The notices that a workspace holds, for tests of what notifies people."""

import sqlite3
from contextlib import closing

from ftzard.workspace.workspace import Workspace

#: An address that nothing answers.
NOBODY = "json://127.0.0.1:9/"


def noticed(workspace: Workspace) -> list[str]:
    """Return the titles of the notices, delivered or not, in their order."""
    with closing(sqlite3.connect(workspace.state / "notices.db")) as store:
        return [title for title, in store.execute("SELECT title FROM notice ORDER BY added")]
