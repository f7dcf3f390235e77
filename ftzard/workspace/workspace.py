"""A workspace: the git repository that FTzard works in, which contains everything a run writes.

This module defines its paths. `ftzard.yaml` marks the root and holds the workspace's config;
`.ftzard/` holds what git and DVC do not version: MLflow's and Dagster's databases, handles and
executed notebooks.
"""

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ftzard.config.compose import MARKER, Resolved, resolve, to_record
from ftzard.config.schema import DEFAULT_TASK, Config
from ftzard.core import credentials, yaml_file
from ftzard.core.artifacts import ArtifactRef, sha256
from ftzard.core.locks import not_writable
from ftzard.errors import ConfigError, WorkspaceError, in_shell


@dataclass(frozen=True)
class Workspace:
    """The paths of a workspace; creating the object touches no file."""

    root: Path

    @cached_property
    def state(self) -> Path:
        return self.root / ".ftzard"

    @property
    def in_shell(self) -> str:
        """The root, quoted for a shell command."""
        return in_shell(self.root)

    @property
    def writable(self) -> bool:
        """Whether this user may write to the workspace; others can read its records."""
        place = self.state if self.state.is_dir() else self.root
        return os.access(place, os.W_OK | os.X_OK)

    def require_writable(self) -> None:
        """Raise WorkspaceError if this user may not write to the workspace."""
        if not self.writable:
            raise WorkspaceError(not_writable(self.state))

    @property
    def dagster_home(self) -> Path:
        return self.state / "dagster"

    @property
    def mlflow_uri(self) -> str:
        return f"sqlite:///{self.state / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.state / "mlartifacts"

    @property
    def notebooks(self) -> Path:
        return self.root / "notebooks"

    @property
    def checkpoints(self) -> Path:
        return self.state / "checkpoints"

    @property
    def executed(self) -> Path:
        return self.state / "executed"

    def executed_notebook(self, run_id: str, step_key: str) -> Path:
        """Return the path of an executed notebook of a run's step."""
        return self.executed / run_id / f"{step_key.replace('.', '-')}.ipynb"

    @property
    def metadata(self) -> Path:
        return self.state / "metadata"

    @property
    def handles(self) -> Path:
        return self.state / "handles"

    @property
    def cache(self) -> Path:
        return self.state / "cache"

    @property
    def raw(self) -> Path:
        return self.root / "data" / "raw"

    def run_folder(self, run_id: str) -> Path:
        """Return the folder of a Dagster run, with its resolved config and its lease."""
        return self.state / "runs" / run_id

    @property
    def incoming(self) -> Path:
        return self.root / "data" / "incoming"

    @property
    def raw_incoming(self) -> Path:
        return self.root / "data" / "raw_incoming"

    @property
    def labelling(self) -> Path:
        return self.root / "data" / "labelling"

    @property
    def labelled(self) -> Path:
        return self.root / "data" / "labelled"

    @property
    def quarantine(self) -> Path:
        return self.root / "data" / "quarantine"

    @property
    def report(self) -> Path:
        return self.root / "reports" / "index.html"

    def relative(self, path: Path) -> str:
        """Return a path below the root with forward slashes, or an outside path unchanged."""
        path = Path(os.path.abspath(path))
        inside = path.is_relative_to(self.root)
        return path.relative_to(self.root).as_posix() if inside else str(path)

    @property
    def unfinished_restore(self) -> Path:
        """The file that lists what an unfinished restore writes."""
        return self.state / "restore.json"

    def handle(self, name: str, path: Path | str, rows: int | None = None) -> ArtifactRef:
        """Return the handle of a file as it is now; raises WorkspaceError if it is missing."""
        path = Path(path) if Path(path).is_absolute() else self.root / path
        if not path.is_file():
            raise WorkspaceError(f"{name}: {self.relative(path)} does not exist in {self.root}.")
        suffix = path.suffix.lstrip(".") or "file"
        return ArtifactRef(name, self.relative(path), sha256(path), rows, suffix)

    def own_config(self) -> dict:
        """Return the content of ftzard.yaml as a request for `compose`."""
        values = yaml_file.read(self.root / MARKER, "the workspace's config")
        values = {} if values is None else values
        if not isinstance(values, dict):
            raise ConfigError(f"{self.root / MARKER} holds {values!r}; expected groups of keys.")
        return values

    @property
    def task(self) -> str:
        """The task of the workspace by ftzard.yaml."""
        choice = self.own_config().get("task")
        if isinstance(choice, dict):
            choice = choice.get("choice")
        name = str(choice or DEFAULT_TASK)
        own = self.root / "config" / "task" / f"{name}.yaml"
        if not own.is_file():
            return name
        values = yaml_file.read(own) or {}  # a choice of the workspace's
        over = next((d for d in values.get("defaults", []) if d != "_self_"), DEFAULT_TASK)
        return values.get("kind") or over

    def config(self, *requests: dict) -> Config:
        """Return the workspace's config with a run's requests applied."""
        return self.resolve(*requests).config

    def resolve(self, *requests: dict) -> Resolved:
        """Return the same with the source of each value; values that are no overrides are the
        Launchpad's.
        """
        resolved = resolve(self.own_config(), *requests, folder=self.root / "config",
                           names=(MARKER, *("Launchpad" for _ in requests)))
        config = resolved.config
        credentials.refuse_in(to_record(config))
        if config.task.kind != self.task:
            raise ConfigError(
                f"task is '{config.task.kind}', but {self.root / MARKER} says '{self.task}': data, "
                "models and notebooks of this workspace are for that. Begin another one with "
                f"'ftzard init DIR --task {config.task.kind}'.")
        return resolved


def find(start: Path | str | None = None) -> Workspace:
    """Return the workspace of `start`, of FTZARD_WORKSPACE, or of the current folder and its
    parents.

    Links on the way to it are followed, so that a workspace has one path whichever way it is
    named. The credentials in its `.env` are in the environment from then on. Raises WorkspaceError
    for a place that is none, or that cannot be worked in.
    """
    workspace = Workspace(Path(os.path.realpath(_root(start))))
    unusable = unusable_folder_name(workspace.root) or _linked_away(workspace.root)
    if unusable:
        raise WorkspaceError(unusable)
    credentials.load(workspace.root)
    return workspace


def unusable_folder_name(path: Path | str) -> str | None:
    """Return why a path cannot be that of a workspace and its servers, or None.

    Dagster and MLflow write the path of their SQLite files into URLs unquoted, where '?' and '%41'
    mean something else; Dagster looks for its settings with a pattern ('*', '['); and DVC takes a
    name in braces for one that it is to fill in.
    """
    path = os.path.realpath(path)
    match = _UNUSABLE.search(path)
    if match is None:
        return None
    part = next(part for part in path.split(os.sep) if _UNUSABLE.search(part))
    shown, part, sign = (text.encode("utf-8", "backslashreplace").decode()
                         for text in (path, part, match[0]))
    return (f"{shown!r} cannot be used: Dagster, MLflow or DVC cannot work in a folder with "
            f"{sign!r} in its name ({part!r}). Rename that folder, or choose another one: letters "
            "of any script, spaces and most signs will do, but not ? * [ { } %41 (a percent sign "
            "before two hexadecimal digits) or control characters.")


#: What URLs, patterns and templates mean otherwise; bytes that are no text; control characters.
_UNUSABLE = re.compile(r"[?*\[{}\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]|%[0-9A-Fa-f]{2}")


def _linked_away(root: Path) -> str | None:
    """Return why a folder of versioned data that is a link cannot be used, or None.

    Neither git nor DVC versions what lies behind a link. What is only dropped (data/incoming,
    data/labelled) may lie anywhere.
    """
    inside = [folder for folder in (root / "data").glob("*")
              if folder.name not in ("incoming", "labelled", "quarantine") and folder.is_dir()]
    for folder in (root / "data", root / "models", *inside):
        if folder.is_symlink():
            return (f"{folder} is a link to {os.path.realpath(folder)}: git and DVC cannot version "
                    "what lies behind it. Put the folder itself there again; to keep the data on "
                    "another disk, move the whole workspace there and make a link to it, or keep "
                    "DVC's copies there with 'dvc cache dir FOLDER'.")
    return None


def _root(start: Path | str | None) -> Path:
    if start is not None or os.environ.get("FTZARD_WORKSPACE"):
        root = Path(os.path.abspath(start or os.environ["FTZARD_WORKSPACE"]))
        if (root / MARKER).is_file():
            return root
        raise WorkspaceError(
            f"{root} is no workspace: it has no {MARKER}. Make one with 'ftzard init "
            f"{in_shell(root)}'."
        )
    for place in (Path.cwd(), Path(os.environ.get("PWD", "."))):
        for folder in (place, *place.parents):
            if (folder / MARKER).is_file():
                return folder
    raise WorkspaceError(
        f"no {MARKER} in {Path.cwd()} or above it; change into a workspace, name one with -w or "
        "FTZARD_WORKSPACE, or make one with 'ftzard init DIR'."
    )


