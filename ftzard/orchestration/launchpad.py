"""The default config of a job's Launchpad: `experiment` with the values that people change.

Dagster shows a job's default config sorted by its keys and without comments, so it has only what a
person edits, with the workspace's own values. The schema beside the editor describes all other keys
and the locations of files.

A value in the Launchpad overrides ftzard.yaml and the recipe of a model's preset. So no key that a
preset's recipe sets (`training`, `tuning`) is filled in: with another `model: {choice: …}` the old
preset's value would win.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import yaml

from ftzard.config import effects
from ftzard.config.compose import PACKAGED, available, defaults
from ftzard.config.pipeline import drop_folder
from ftzard.config.requests import leaves, stated
from ftzard.config.schema import hint_of, parse
from ftzard.core.credentials import without_password
from ftzard.errors import FtzardError
from ftzard.workspace import addresses
from ftzard.workspace.workspace import MARKER, Workspace

#: The values that people change from run to run, shown in the jobs in which they have an effect.
CHANGED = ("data.source", "data.incoming", "data.labelled", "data.sample_rows",
           "drift.false_alarms", "sampling.strategy", "sampling.budget", "retraining.epochs",
           "retraining.replay_ratio", "gate.min_gain", "seed")
#: The groups of which people choose another file.
CHOSEN = ("model",)
_GROUPS = {key.partition(".")[0] for key in CHANGED}
#: The placeholder for a delivered file, where the workspace names none.
EXAMPLES = {"data.incoming": "data/incoming/new_data.csv",
            "data.labelled": "data/labelled/labelled.csv"}


def opens_with(job: str, workspace: Workspace | None = None) -> dict:
    """Return the default config of a job's Launchpad.

    Args:
        job: Name of the job.
        workspace: Whose values are filled in; None, or one whose ftzard.yaml cannot be read: the
            packaged ones. The run says what is wrong with it.
    """
    folder = workspace.root / "config" if workspace else None
    try:
        choices, values = stated(workspace.own_config() if workspace else {})
        task = workspace.task if workspace else "classification"
        usual = defaults()
        keys = effects.keys_of(job, task)
        packaged = {group: _values(group, choices.get(group, choice), folder)
                    for group, choice in usual.items() if group in _GROUPS}
    except FtzardError:
        return opens_with(job)
    known = {**leaves(_packaged("config.yaml")), **leaves(packaged), **values}
    experiment: dict = {"overrides": []}
    for group in CHOSEN:
        choice = choices.get(group, usual[group])
        if choice in available(group, folder) and any(k.startswith(f"{group}.") for k in keys):
            experiment[group] = {"choice": choice}
    drop = drop_folder(job)
    for key in CHANGED:
        value = known.get(key)
        if key in EXAMPLES:
            if drop is None or key != f"data.{drop.key}":
                continue
            value = value or EXAMPLES[key]
        elif key == "data.source" and known.get("data.mix") is not None:
            continue
        wrong: list[str] = []
        value = parse(hint_of(key), value, key, wrong)
        if key in keys and not wrong:
            group, _, name = key.rpartition(".")
            (experiment.setdefault(group, {}) if group else experiment)[name] = value
    return {"resources": {"experiment": {"config": experiment}}}


def workspace_here(folder: str | Path) -> Workspace | None:
    """Return the workspace in a folder, or None."""
    workspace = Workspace(Path(folder))
    return workspace if (workspace.root / MARKER).is_file() else None


def mlflow_page(workspace: Workspace) -> str:
    """Return the address of MLflow's pages for a workspace: its server's, or the last one served.
    """
    try:
        uri = str(stated(workspace.own_config())[1].get("tracking.uri") or "")
    except FtzardError:
        uri = ""
    server = without_password(uri)[0] if uri.startswith("http") else None
    address = addresses.mlflow_address(workspace, server)
    return address if server is None else f"{address}/#/experiments?{addresses.TRAINING_SIDE}"


def _values(group: str, choice: str, folder: Path | None) -> dict:
    """Return the values of a choice's files, without what only hydra can read."""
    if (PACKAGED / group / f"{choice}.yaml").is_file():
        values = dict(_packaged(f"{group}/{choice}.yaml"))
    elif folder and (folder / group / f"{choice}.yaml").is_file():
        values = yaml.safe_load((folder / group / f"{choice}.yaml").read_text(encoding="utf-8"))
        values = dict(values) if isinstance(values, Mapping) else {}
    else:
        return {}
    bases = values.pop("defaults", None) or []
    merged: dict = {}
    for base in bases:
        if isinstance(base, str) and base not in ("_self_", choice):
            merged |= _values(group, base, folder)
    return {**merged, **{key: value for key, value in values.items() if "${" not in str(value)}}


@lru_cache(maxsize=64)
def _packaged(name: str) -> Mapping:
    """Return the content of a packaged file, cached."""
    return yaml.safe_load((PACKAGED / name).read_text(encoding="utf-8"))
