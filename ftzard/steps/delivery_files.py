"""The file names of a workspace's batches, from git, and from MLflow's runs for older ones."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ftzard.config.pipeline import BY_NAME
from ftzard.tracking import sqlite_reading
from ftzard.versioning import delivery_names
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    from ftzard.tracking.runs import Tracking


def delivered_as(workspace: Workspace, tracking: "sqlite_reading.Reading | Tracking | None"
                 ) -> dict[str, str]:
    """Return {batch: file name} of every batch with a known name.

    git's `.dvc` files say it. Of deliveries that were versioned before they did, the runs of MLflow
    that took them say where they stood.
    """
    return {**(_by_runs(workspace, tracking) if tracking is not None else {}),
            **delivery_names.known(workspace)}


def name_of(workspace: Workspace, path: Path, digest: str) -> str | None:
    """Return the name of a delivered file, None if it has only a hash.

    A file that stands under that has the name that it came with, or that of its source if it was
    made of one alone.

    Args:
        digest: The SHA-256 of its content.
    """
    if not path.name.startswith(digest):
        return delivery_names.readable(path.name)
    before = delivery_names.remembered(workspace, digest)
    if before is not None:
        return before
    made_of = workspace.root / "data" / "sources" / f"{digest}.json"
    cached = workspace.cache / "sources" / f"{digest}.json"
    if not made_of.is_file() and not cached.is_file():
        return None
    from ftzard import sources

    sources_record = sources.describe(workspace, path)
    name = digest
    if len(sources_record) == 1:
        name = Path(sources.parse(sources_record[0]["name"]).place).name
    return None if name.startswith(digest) else delivery_names.readable(name)


def _by_runs(workspace: Workspace, tracking: "sqlite_reading.Reading | Tracking") -> dict[str, str]:
    names = {}
    for step, artifact in (("cleaning", "raw"), ("inference_preprocessing", "incoming")):
        executions = sqlite_reading.of(tracking).executions(BY_NAME[step].run_name, datasets=True)
        for run in reversed(executions):
            digest = run.tags.get(f"data_sha256.{artifact}")
            place = next((json.loads(source)["path"] for name, source in run.datasets
                          if name == artifact), None)
            name = digest and place and name_of(workspace, Path(place), digest)
            if digest and name:
                names[digest[:delivery_names.DIGITS]] = name
    return names
