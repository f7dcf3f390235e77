"""The SQLite files of a team's server, each made whole or not at all.

MLflow makes its tables in the file itself, by dozens of migrations in a row; after a kill in the
middle none of its servers can open the file again. Run as a module: the URI of the store, then that
of the users.
"""

import os
import sys

import sqlalchemy

from ftzard.core.artifacts import write_atomically
from ftzard.core.locks import locked
from ftzard.tracking.store import make_sqlite, sqlite_file

#: Where the runs of a server that serves their files have them.
SERVED = "mlflow-artifacts:/"


def make_users(uri: str) -> None:
    """Create the SQLite file of MLflow's users atomically, unless it exists."""
    file = sqlite_file(uri)
    if file is None or file.exists():
        return
    from mlflow.server.auth.db.utils import migrate_if_needed

    def fill(part: os.PathLike) -> None:
        engine = sqlalchemy.create_engine(f"sqlite:///{part}")
        try:
            migrate_if_needed(engine, "head")
        finally:
            engine.dispose()

    with locked(file.with_name(f"{file.name}.lock"), {"pid": os.getpid(), "doing": "making it"}):
        if not file.exists():
            write_atomically(file, fill)


def main() -> None:
    """Make both files, if they are files and not there."""
    store, users = sys.argv[1:]
    make_sqlite(store, SERVED)
    make_users(users)


if __name__ == "__main__":
    main()
