"""Questions to MLflow's store, answered from its SQLite file: MLflow itself is not imported.

Importing MLflow takes longer than any of these questions. Each one is put to the file as it stands
at that moment, so no answer is older than the question. A store that is on a server, or whose
tables are not those this module knows, is asked through MLflow (`asking`): slower, and the same.
Nothing is made or changed here.
"""

import sqlite3
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftzard.config.schema import Config
from ftzard.core.credentials import mask
from ftzard.errors import WorkspaceError
from ftzard.tracking.model_version import Version
from ftzard.tracking.run_facts import RunFacts
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    from ftzard.tracking.mlflow_reading import Asked
    from ftzard.tracking.runs import Tracking

#: The version of MLflow's tables that is read here; any other is left to MLflow.
SCHEMA = "dc11669786a5"
#: MLflow's own names: its only workspace here, and a version that was deleted.
_SPACE, _DELETED = "default", "Deleted_Internal"
_SECONDS = 5.0  # for a file that another process is writing; then MLflow, which waits longer


def of_workspace(workspace: Workspace, config: Config) -> "Reading":
    """Return the reader of the workspace's store."""
    return Reading(workspace, config)


def of(source: "Reading | Tracking") -> "Reading | Asked":
    """Return the reader of an open connection's store."""
    if isinstance(source, Reading):
        return source
    from ftzard.tracking.mlflow_reading import Asked

    return Asked(source)


def connection(source: "Reading | Tracking") -> "Tracking":
    """Return the open connection of a store, opened if it has only been read so far."""
    return source.tracking if isinstance(source, Reading) else source


class Reading:
    """The queries. Each reads the file if that is possible, and else asks MLflow."""

    def __init__(self, workspace: Workspace, config: Config) -> None:
        self.workspace, self.config = workspace, config
        self.uri = config.tracking.uri or workspace.mlflow_uri
        file = _file_of(self.uri)
        self._file = _Tables(file, config.tracking.experiment) if file is not None else None

    @property
    def shown(self) -> str:
        """The URI without its login."""
        return mask(self.uri)

    @property
    def is_there(self) -> bool:
        """Whether the store exists: a file, or a configured server."""
        file = _file_of(self.uri)
        return self.config.tracking.uri is not None if file is None else file.is_file()

    def names(self) -> list[str]:
        """Return the names of all registered models, in order."""
        return self._answer(lambda who: who.names())

    def versions(self, name: str) -> list[Version]:
        """Return all versions of a model, oldest first."""
        return self._answer(lambda who: who.versions(name))

    def aliases(self, name: str) -> dict[str, int]:
        """Return {alias: number} as the store has it, including versions that do not exist."""
        return self._answer(lambda who: who.aliases(name))

    def by_alias(self, name: str, alias: str) -> Version | None:
        """Return the version with an alias, or None."""
        return self._answer(lambda who: who.by_alias(name, alias))

    def executions(self, run_name: str | None = None, *, datasets: bool = False) -> list[RunFacts]:
        """Return the executions of all steps, or of one by its top-level run, newest first.

        Args:
            datasets: With what they logged; metrics only `run` returns.
        """
        return self._answer(lambda who: who.executions(run_name, datasets=datasets))

    def latest(self, run_name: str) -> tuple[int, RunFacts | None]:
        """Return the number of executions of a step, and the newest one."""
        return self._answer(lambda who: who.latest(run_name))

    def run(self, run_id: str) -> RunFacts | None:
        """Return a run by its id, or None."""
        return self._answer(lambda who: who.run(run_id))

    def _answer(self, question: Callable[[Any], Any]) -> Any:
        if not self.is_there and not self.workspace.writable:
            raise self._no_record()
        if self._file is not None:
            try:
                return question(self._file)
            except sqlite3.Error:  # locked, damaged, or other tables: MLflow reports which
                self._file = None
        return question(self._asked)

    @cached_property
    def _asked(self) -> "Asked":
        from ftzard.tracking import mlflow_reading

        return mlflow_reading.opened(self.uri, self.config.tracking.experiment)

    @cached_property
    def tracking(self) -> "Tracking":
        """The open connection, for other queries.

        Where this user may not write, what is recorded can be read; raises WorkspaceError if
        nothing is.
        """
        from ftzard.tracking import runs

        experiment = self.config.tracking.experiment
        if not self.workspace.writable:
            connection = runs.opened(self.uri, experiment) if self.is_there else None
            if connection is None:
                raise self._no_record()
            return connection
        return runs.connect(
            self.uri, experiment, artifacts=self.workspace.mlflow_artifacts,
            lock=self.workspace.state / "mlflow.lock", mirrors=self.config.tracking.mirror)

    def _no_record(self) -> WorkspaceError:
        return WorkspaceError(
            f"{self.workspace.root} has no record of any run, and this user may not write there to "
            "begin one. Ask whoever owns the workspace to let you, or work in a clone of it (git "
            "clone), which is a workspace of your own.")


def local_versions(workspace: Workspace) -> list[tuple[Version, list[str]]]:
    """Return the versions of a local store's models with their aliases; none of a server.

    For who has no time to wait, such as a shell that completes a word: the config is not resolved,
    and what cannot be read is left out.
    """
    configured = workspace.own_config().get("tracking")
    uri = (configured.get("uri") if isinstance(configured, dict) else None) or workspace.mlflow_uri
    file = _file_of(str(uri))
    if file is None or not file.is_file():
        return []
    tables = _Tables(file, "")
    try:
        aliases = {name: tables.aliases(name) for name in tables.names()}
        return [(version, sorted(a for a, number in numbers.items() if number == version.number))
                for name, numbers in aliases.items() for version in tables.versions(name)]
    except sqlite3.Error:
        return []


def _file_of(uri: str) -> Path | None:
    """Return the file of a plain SQLite URI; None for any other store."""
    prefix = "sqlite:///"
    return Path(uri[len(prefix):]) if uri.startswith(prefix) and "?" not in uri else None


class _Tables:
    """The queries on a SQLite file; a missing file has no rows.

    Every method raises sqlite3.Error where the file cannot be read, or is of another version.
    """

    def __init__(self, file: Path, experiment: str) -> None:
        self.file, self.experiment = file, experiment

    @cached_property
    def _open(self) -> sqlite3.Connection | None:
        if not self.file.exists():
            return None
        connection = sqlite3.connect(f"{self.file.absolute().as_uri()}?mode=ro", uri=True,
                                     timeout=_SECONDS, isolation_level=None)
        revisions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        if revisions != [(SCHEMA,)]:
            raise sqlite3.DatabaseError(f"tables of version {revisions}")
        stage = connection.execute(
            "SELECT lifecycle_stage FROM experiments WHERE name = ? AND workspace = ?",
            (self.experiment, _SPACE)).fetchone()
        if stage not in (None, ("active",)):
            raise sqlite3.DatabaseError(f"the experiment is {stage[0]}")
        return connection

    def _rows(self, query: str, *values: object) -> Iterator[tuple]:
        # The file may have been made since it was last looked for.
        if self._open is None:
            del self._open
        return iter(()) if self._open is None else self._open.execute(query, values)

    def names(self) -> list[str]:
        return [name for name, in self._rows(
            "SELECT name FROM registered_models m WHERE workspace = ? AND NOT EXISTS (SELECT 1 "
            "FROM registered_model_tags t WHERE t.workspace = m.workspace AND t.name = m.name AND "
            "t.key = 'mlflow.prompt.is_prompt' AND lower(t.value) = 'true') ORDER BY name", _SPACE)]

    def versions(self, name: str) -> list[Version]:
        return self._versions(name, "")

    def by_alias(self, name: str, alias: str) -> Version | None:
        return next(iter(self._versions(
            name, " AND v.version IN (SELECT version FROM registered_model_aliases a WHERE "
                  "a.workspace = v.workspace AND a.name = v.name AND a.alias = ?)", alias)), None)

    def _versions(self, name: str, condition: str, *values: object) -> list[Version]:
        chosen = (f"FROM model_versions v WHERE v.workspace = ? AND v.name = ? AND v.current_stage "
                  f"!= '{_DELETED}'{condition}")
        tags: dict[int, dict[str, str]] = {}
        for number, key, value in self._rows(
                "SELECT t.version, t.key, t.value FROM model_version_tags t WHERE t.workspace = ? "
                f"AND t.name = ? AND t.version IN (SELECT v.version {chosen})",
                _SPACE, name, _SPACE, name, *values):
            tags.setdefault(number, {})[key] = value
        return [Version(name, number, run_id or "", tags.get(number, {}), source or "",
                        int(created or 0))
                for number, run_id, source, created in self._rows(
                    f"SELECT v.version, v.run_id, v.source, v.creation_time {chosen} "
                    "ORDER BY v.version", _SPACE, name, *values)]

    def aliases(self, name: str) -> dict[str, int]:
        return dict(self._rows("SELECT alias, version FROM registered_model_aliases "
                               "WHERE workspace = ? AND name = ?", _SPACE, name))

    def executions(self, run_name: str | None = None, *, datasets: bool = False) -> list[RunFacts]:
        return self._runs(*self._of_step(run_name), datasets=datasets)

    def latest(self, run_name: str) -> tuple[int, RunFacts | None]:
        chosen, values = self._of_step(run_name)
        count = next(self._rows(f"SELECT count(*) FROM runs r {chosen}", *values), (0,))[0]
        return count, next(iter(self._runs(chosen, values, limit=" LIMIT 1")), None)

    def run(self, run_id: str) -> RunFacts | None:
        return next(iter(self._runs("WHERE r.run_uuid = ?", (run_id,), metrics=True,
                                    datasets=True)), None)

    def _of_step(self, run_name: str | None) -> tuple[str, tuple]:
        step = ("" if run_name is None else
                "JOIN tags s ON s.run_uuid = r.run_uuid AND s.key = 'ftzard.step' AND s.value = ? ")
        return (
            "JOIN experiments e ON e.experiment_id = r.experiment_id AND e.workspace = ? AND "
            "e.name = ? JOIN tags l ON l.run_uuid = r.run_uuid AND l.key = 'ftzard.level' AND "
            f"l.value = 'child' {step}WHERE r.lifecycle_stage = 'active'",
            (_SPACE, self.experiment, *(() if run_name is None else (run_name,))))

    def _runs(self, chosen: str, values: tuple, *, limit: str = "", metrics: bool = False,
              datasets: bool = False) -> list[RunFacts]:
        ordered = f"{chosen} ORDER BY r.start_time IS NULL, r.start_time DESC, r.run_uuid{limit}"
        rows = list(self._rows(
            "SELECT r.run_uuid, r.name, r.status, r.start_time, r.end_time FROM runs r "
            f"{ordered}", *values))
        ids = f"(SELECT r.run_uuid FROM runs r {ordered})"
        tags: dict[str, dict] = {run_id: {} for run_id, *_ in rows}
        numbers: dict[str, dict] = {run_id: {} for run_id, *_ in rows}
        logged: dict[str, list] = {run_id: [] for run_id, *_ in rows}
        for run_id, key, value in self._rows(
                f"SELECT run_uuid, key, value FROM tags WHERE run_uuid IN {ids}", *values):
            tags.setdefault(run_id, {})[key] = value
        if metrics:
            for run_id, key, value, missing in self._rows(
                    "SELECT run_uuid, key, value, is_nan FROM latest_metrics WHERE run_uuid IN "
                    f"{ids}", *values):
                numbers.setdefault(run_id, {})[key] = float("nan") if missing else value
        if datasets:
            for run_id, name, source in self._rows(
                    "SELECT i.destination_id, d.name, d.dataset_source FROM inputs i JOIN datasets "
                    "d ON d.dataset_uuid = i.source_id WHERE i.source_type = 'DATASET' AND "
                    f"i.destination_type = 'RUN' AND i.destination_id IN {ids}", *values):
                logged.setdefault(run_id, []).append((name, source))
        return [RunFacts(run_id, name, status, began or 0, ended, tags[run_id], numbers[run_id],
                         tuple(logged[run_id]))
                for run_id, name, status, began, ended in rows]
