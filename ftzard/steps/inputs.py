"""The inputs of a step: the handles it receives, or else the workspace's latest artifacts.

The latest ones are used by hand, and by the input managers of a job that starts in the middle.
Imports are light: the process that runs a job loads this module before its first kernel starts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftzard.config.pipeline import Step, step_named
from ftzard.config.schema import Config
from ftzard.core.artifacts import ArtifactRef, dvc_hash, verify
from ftzard.errors import DataError, WorkspaceError
from ftzard.versioning.versions import history
from ftzard.workspace import drop_folders
from ftzard.workspace.artifact_names import DELIVERIES
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    from ftzard.steps.step_location import StepLocation


def step_inputs(step: Step, namespace: Mapping[str, Any], location: StepLocation
                ) -> tuple[dict[str, ArtifactRef], dict[str, Any]]:
    """Return the verified inputs of a step by name, and the metadata of the step it follows."""
    inputs = {}
    for name in step.takes:
        value = namespace.get(name)
        if isinstance(value, Mapping):
            handle = ArtifactRef.from_dict(dict(value))
        else:
            handle = given_or_latest(name, value, location.workspace, location.config)
        verify(handle, location.workspace.root)
        inputs[name] = handle
    metadata: dict[str, Any] = {}
    if step.after:
        metadata = (namespace.get(f"{step.after}_metadata")
                    or latest_metadata(step_named(step.after), location.workspace))
    return inputs, metadata


def given_or_latest(name: str, given: str | None, workspace: Workspace, config: Config
                    ) -> ArtifactRef:
    """Return the handle of an input.

    Args:
        name: the artifact's name.
        given: a path, or for a delivery also a source that is materialized as a file: a folder, a
            version of the workspace's data, a dataset on a hub, a mix (see `ftzard.sources`). None
            is the configured delivery, or the workspace's latest artifact of that name.

    Raises:
        DataError: if no delivery is configured, or the file does not exist.
    """
    if name in DELIVERIES:
        chosen = given or getattr(config.data, DELIVERIES[name])
        if chosen is None and name == "raw" and config.data.mix is not None:
            chosen = _materialized(None, workspace, config)
        elif chosen is not None and name != "labelled" and (
                "://" in chosen or (workspace.root / chosen).is_dir()):
            chosen = _materialized(chosen, workspace, config, answers=name == "raw")
        if chosen is None:
            raise DataError(
                f"no file was given for '{name}': set data.{DELIVERIES[name]} in ftzard.yaml, in "
                "the Launchpad, on the command line or in the notebook's parameters cell"
                + (", or put a file of labelled rows into data/raw_incoming." if name == "raw"
                   else "."))
    else:
        chosen = given or _latest_path(name, workspace, config)
    path = workspace.root / chosen
    drop_folders.refuse_outside(workspace, path)
    if not path.is_file():
        raise DataError(f"{name}: {chosen} does not exist in {workspace.root}; expected a file"
                        + ("." if name in DELIVERIES else ", written by the step before."))
    if name == "raw" and path.is_relative_to(workspace.labelled):
        name = "labelled"
    return workspace.handle(name, path, _rows(path)).at(_version(workspace, path))


def _materialized(source: str | None, workspace: Workspace, config: Config, **more: bool) -> str:
    """Return the file that holds the rows of a source, or of the config's mix."""
    from ftzard import sources

    return str(sources.materialise(workspace, config, source, **more))


def _version(workspace: Workspace, path: Path) -> str | None:
    """Return the commit that versions a file as it stands; None if it has changed since then."""
    if not path.is_relative_to(workspace.root):
        return None
    latest = next(iter(history(workspace.root, workspace.relative(path))), None)
    return latest.commit if latest and latest.md5 == dvc_hash(path) else None


def latest_metadata(step: Step, workspace: Workspace) -> dict[str, Any]:
    """Return the metadata of a step's latest finished execution."""
    path = workspace.metadata / f"{step.name}.json"
    if not path.is_file():
        raise WorkspaceError(
            f"{step.name} has not run in {workspace.root} yet; run '{step.name}_job' or its "
            f"notebook {step.notebook}.ipynb first.")
    return json.loads(path.read_text(encoding="utf-8"))


def _latest_path(name: str, workspace: Workspace, config: Config) -> str:
    pattern = getattr(config.paths, name)
    if "{batch}" not in pattern:
        return pattern
    batches = workspace.root.glob(pattern.replace("{batch}", "*"))
    return str(max(batches, key=lambda path: path.stat().st_mtime_ns, default=pattern))


def _rows(path: Path) -> int | None:
    if path.suffix != ".parquet":
        return None
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        return parquet.read_metadata(path).num_rows
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path} is no whole parquet file ({' '.join(str(error).split())[:160]}); expected the "
            "table that its step wrote. Bring it back with 'dvc checkout', or run the step again."
        ) from error


def metadata_if_any(step: str, workspace: Workspace) -> dict[str, Any] | None:
    """Return the metadata of a step's latest execution, or None if it has not run."""
    path = workspace.metadata / f"{step}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def latest_outputs(workspace: Workspace, steps: tuple[str, ...]
                   ) -> list[tuple[str, str, str, str, str]]:
    """Return the latest outputs of steps as (step, artifact, rows, path, data version)."""
    lines = []
    for step in steps:
        for a in (metadata_if_any(step, workspace) or {}).get("artifacts", []):
            rows = f"{a['rows']:,}" if a["rows"] is not None else ""
            lines.append((step, a["name"], rows, a["path"], (a["commit"] or "not versioned")[:10]))
    return lines
