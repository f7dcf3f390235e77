"""Making a workspace: folders, ftzard.yaml, a copy of the notebooks, git, DVC, Dagster's home."""

import shutil
from pathlib import Path

import pandas as pd
import yaml

import ftzard.notebooks
from ftzard.dataset import reading
from ftzard.errors import DataError, WorkspaceError
from ftzard.versioning.setup import init_repository
from ftzard.workspace import MARKER, Workspace

DATA_IGNORE = "*\n!*/\n!.gitignore\n!*.dvc\n"
MODELS_IGNORE = DATA_IGNORE + "!*.yaml\n"
IGNORE = ".ftzard/\nreports/\n__pycache__/\n.ipynb_checkpoints/\n.env\n"
DVC_IGNORE = "# Nothing here is DVC's business.\n.ftzard\nreports\nnotebooks\n.venv\n"
DAGSTER = {
    "telemetry": {"enabled": False},
    "nux": {"enabled": False},
    "run_coordinator": {"module": "dagster._core.run_coordinator",
                        "class": "DefaultRunCoordinator"},
    "python_logs": {"managed_python_loggers": ["papermill"], "python_log_level": "INFO"},
    "run_monitoring": {"enabled": False},
    # What a notebook prints is in the event log; four more processes per run would add nothing.
    "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager",
                     "class": "NoOpComputeLogManager"},
}


def create(root: Path, *, config: dict, git_remote: Path | str | None = None,
           dvc_remote: Path | str | None = None, invent_identity: bool = False) -> Workspace:
    """Make `root` a workspace and commit what makes it one; return it.

    config: what ftzard.yaml shall say. A folder that is a workspace already is refused; files of
    the user's own (a README, a .gitignore) stay as they are.
    """
    root = Path(root).resolve()
    if (root / MARKER).exists():
        raise WorkspaceError(f"{root} is a workspace already: it has a {MARKER}.")
    workspace = Workspace(root)
    for folder in (workspace.raw, workspace.incoming, workspace.labelling, workspace.labelled,
                   root / "models", workspace.dagster_home, workspace.notebooks):
        folder.mkdir(parents=True, exist_ok=True)
    files = [
        _write(root / MARKER, _described(config)),
        _write(root / "data" / ".gitignore", DATA_IGNORE),
        _write(root / "models" / ".gitignore", MODELS_IGNORE),
        _write(root / ".dvcignore", DVC_IGNORE),
        _write(root / ".gitignore", IGNORE),
        *copy_notebooks(workspace),
    ]
    _write(workspace.dagster_home / "dagster.yaml", yaml.safe_dump(DAGSTER, sort_keys=False))
    init_repository(root, git_remote=git_remote, dvc_remote=dvc_remote, paths=files,
                    invent_identity=invent_identity)
    return workspace


def copy_notebooks(workspace: Workspace) -> list[Path]:
    """Copy the packaged notebooks that the workspace does not have yet; return their paths."""
    copied = []
    for source in sorted(Path(ftzard.notebooks.__file__).parent.glob("*.ipynb")):
        target = workspace.notebooks / source.name
        if not target.exists():
            shutil.copyfile(source, target)
        copied.append(target)
    return copied


def describe_data(file: Path, text: str, label: str, *, encoding: str = "utf-8") -> dict:
    """Return the `data` group for a user's file: its columns, and its labels by name.

    Raises DataError for a missing column, or for a label column with more than 50 values.
    """
    rows = reading.read_raw(file, text_column=text, label_column=label, encoding=encoding)
    found = rows["label"].replace("", pd.NA).dropna().value_counts()
    if not 2 <= len(found) <= 50:
        raise DataError(
            f"{file}: column '{label}' has {len(found)} different values; expected 2 to 50 labels. "
            "Is it the label column?")
    names = {str(value): str(value) for value in sorted(found.index)}
    return {"text_column": text, "label_column": label, "encoding": encoding, "labels": names}


def _write(path: Path, text: str) -> Path:
    if not path.exists():
        path.write_text(text, encoding="utf-8")
    return path


def _described(config: dict) -> str:
    head = ("# This workspace's config, over FTzard's own files; the Launchpad and the command\n"
            "# line go over it. `ftzard config` shows what comes out.\n")
    return head + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
