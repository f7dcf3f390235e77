"""The Git_Dvc notebook: version a step's outputs, tag its run, pass the outputs on.

MLflow has every version twice: as tags of the execution that made it, and in the append-only list
`commit_history.json` of its step's top-level run.
"""

import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from ftzard.config.pipeline import STEPS, Step, step_named
from ftzard.core.artifacts import ArtifactRef, write_json
from ftzard.core.locks import locked
from ftzard.errors import TrackingError, WorkspaceError
from ftzard.steps.inputs import latest_metadata
from ftzard.steps.notebook_shell import show_messages_first
from ftzard.steps.step_location import StepLocation, locate, used_notebook
from ftzard.tracking import runs
from ftzard.tracking.workspace_store import connect
from ftzard.versioning import commit, own_code, publish, versions
from ftzard.versioning.commit import CodeFile, Versioned
from ftzard.workspace.workspace import Workspace

HISTORY = "commit_history.json"


@dataclass
class StepVersion:
    """A finished step whose outputs are to be versioned.

    Attributes:
        metadata: of the step's execution.
        code: the Git_Dvc notebook, if it is a copy of the workspace's.
    """

    step: Step
    location: StepLocation
    metadata: dict[str, Any]
    artifacts: list[ArtifactRef]
    dagstermill: Any
    code: dict[str, own_code.UsedFile] = field(default_factory=dict)

    def version(self) -> Versioned:
        """Add the outputs to DVC, commit and push.

        Raises:
            VersioningError: if adding or committing fails, or pushing where it is required.
        """
        settings, root = self.location.config.versioning, self.location.workspace.root
        name = self.metadata.get("facts", {}).get("delivered_as")
        return commit.version(
            root, self.artifacts, also=[root / p for p in self.metadata["records"]],
            delivered_as={h.path: name for h in self.artifacts if h.name == "delivery" and name},
            code=[CodeFile(used.path, own_code.snapshot_file(self.location.workspace, used),
                           used.seen_at)
                  for used in own_code.changed(self.location.workspace, {
                      **self.code, **own_code.from_dict(self.metadata.get("code"))})],
            message=f"{self.step.name}: {self._summary()}", run_id=self.metadata["run_id"],
            push=settings.push, require_push=settings.require_push)

    def publish(self, versioned: Versioned) -> pd.DataFrame:
        """Tag the step's run with the versions, pass the handles on and return them as a table."""
        tracking = connect(self.location.workspace, self.location.config)
        run = runs.reopen(tracking, self.metadata["run_id"])
        run.tags({f"data_version.{h.name}": h.commit for h in versioned.handles})
        run.tags({"data_commit": versioned.commit, "data_pushed": versioned.pushed,
                  **({"data_not_pushed": versioned.reason} if versioned.reason else {})})
        if versioned.code_commit is not None:
            run.tags({"code_commit": versioned.code_commit})
        if not versioned.reason and "data_not_pushed" in runs.known(tracking, run.id).data.tags:
            run.untag("data_not_pushed")
        parent = runs.reopen(tracking, self.metadata["base_run_id"])
        names = {h.path: h.name for h in versioned.handles}
        names |= dict.fromkeys(self.metadata["records"], "record")
        extend_history(self.location.workspace, parent, names)
        if versioned.pushed == "pushed":
            sync_push_state(self.location.workspace, tracking)
        metadata = {**self.metadata, "commit": versioned.commit, "pushed": versioned.pushed,
                    "changed": versioned.changed,
                    "artifacts": [h.to_dict() for h in versioned.handles]}
        write_json(self.location.workspace.metadata / f"{self.step.name}.json", metadata)
        by_name = {h.name: h for h in versioned.handles}
        if self.dagstermill is not None:
            for name in self.step.yields:
                self.dagstermill.yield_result(by_name[name].to_dict(), name)
            self.dagstermill.yield_result(json.loads(json.dumps(metadata)), self.step.metadata)
        return pd.DataFrame([{"artifact": h.name, "path": h.path, "rows": h.rows,
                              "data version": (h.commit or "")[:10]} for h in versioned.handles])

    def _summary(self) -> str:
        tables = [f"{h.name} {h.rows:,} rows" for h in self.artifacts if h.rows is not None]
        files = [h.path for h in self.artifacts if h.rows is None]
        return ", ".join(tables or files or self.metadata["records"])


def finished_step(namespace: Mapping[str, Any]) -> StepVersion:
    """Return the step whose outputs are to be versioned.

    Args:
        namespace: the notebook's `globals()`: the metadata of the step that Dagster passed on, or
            by hand the name `step`.

    Raises:
        WorkspaceError: if no step is named, or it has not run.
    """
    show_messages_first()
    location = locate(namespace)
    for step in STEPS:
        if isinstance(namespace.get(step.metadata), Mapping):
            metadata = dict(namespace[step.metadata])
            break
    else:
        if not namespace.get("step"):
            raise WorkspaceError(
                "Git_Dvc follows a step: name it in the parameters cell, as in step = 'cleaning'; "
                f"the steps are {', '.join(s.name for s in STEPS if s.versioned)}.")
        step = step_named(namespace["step"])
        metadata = latest_metadata(step, location.workspace)
    artifacts = [ArtifactRef.from_dict(h) for h in metadata["artifacts"]]
    return StepVersion(step, location, metadata, artifacts, namespace.get("__dm_dagstermill"),
                       used_notebook("Git_Dvc", location))


def extend_history(workspace: Workspace, parent: runs.Run, names: Mapping[str, str]
                   ) -> list[dict[str, Any]]:
    """Add all versions of artifacts to `commit_history.json` of their step's top-level run.

    Args:
        parent: the top-level run.
        names: the artifacts' names by path.

    Returns:
        An entry per artifact and commit: artifact, path, commit, time (UTC), run_id and run_name
        of the run that made it, rows, pushed, and the reason if it is not pushed.

    Raises:
        TrackingError: if the existing list cannot be read.
    """
    root = workspace.root
    tracked = [path if path.endswith(".yaml") else f"{path}.dvc" for path in names]
    commits = versions.every_version(root, paths=[f":(top,literal){path}" for path in tracked])
    with _one_writer(workspace):
        before = read_history(parent)
        entries = {(entry["artifact"], entry["commit"]): entry for entry in before}
        age = {version.commit: number for number, version in enumerate(commits)}
        for version in sorted(commits, key=lambda v: age[v.commit], reverse=True):
            key = (names[version.path], version.commit)
            if key not in entries:
                entries[key] = _entry(parent.tracking, key[0], version)
        return _write(parent, before, _up_to_date(list(entries.values()), *_pushed(root)))


def _entry(tracking: runs.Tracking, artifact: str, version: versions.Version) -> dict[str, Any]:
    run = runs.known(tracking, version.run_id) if version.run_id else None
    at = datetime.fromisoformat(version.time).astimezone(UTC)
    return {"artifact": artifact, "path": version.path, "commit": version.commit,
            "time": at.isoformat(timespec="seconds"), "run_id": version.run_id,
            "run_name": run.info.run_name if run else None, "rows": version.rows,
            "pushed": False, "reason": None}


def _write(parent: runs.Run, before: list[dict[str, Any]], entries: list[dict[str, Any]]
           ) -> list[dict[str, Any]]:
    if entries != before:
        parent.replace_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", HISTORY)
    return entries


def read_history(parent: runs.Run) -> list[dict[str, Any]]:
    """Return the entries of a top-level run's `commit_history.json`; empty if there is none."""
    content = runs.read(parent.tracking, parent.id, HISTORY)
    if content is None:
        return []
    try:
        entries = json.loads(content)
        if not all(entry["artifact"] and entry["commit"] for entry in entries):
            raise ValueError("an entry without artifact or commit")
    except (ValueError, TypeError, KeyError) as error:
        raise TrackingError(
            f"{HISTORY} of {parent.name} (MLflow run {parent.id}) cannot be read: {error}. It is "
            "not replaced, since it may be the only copy: mend it among the run's artifacts, or "
            "move it away, and the next Git_Dvc begins it again from git.") from error
    return entries


def sync_push_state(workspace: Workspace, tracking: runs.Tracking) -> int:
    """Update what MLflow records of pushes, for versions that a later push has sent.

    Every `commit_history.json` and the tags of the executions are updated.

    Returns:
        The number of changed runs and lists.
    """
    waiting = [run for state in ("not pushed", "off")
               for run in runs.tagged(tracking, "data_pushed", state)]
    if not waiting:
        return 0
    (pushed, reason), changed = _pushed(workspace.root), 0
    for top in runs.children(tracking, level=runs.TOP):
        parent = runs.Run(tracking, top.info.run_id, top.info.run_name)
        with _one_writer(workspace):
            before = read_history(parent)
            changed += _write(parent, before, _up_to_date(before, pushed, reason)) != before
    for execution in waiting:
        if pushed.get(execution.data.tags.get("data_commit")):
            run = runs.Run(tracking, execution.info.run_id, execution.info.run_name)
            run.tags({"data_pushed": "pushed"})
            if "data_not_pushed" in execution.data.tags:
                run.untag("data_not_pushed")
            changed += 1
    return changed


def _pushed(root: Path) -> tuple[dict[str, bool], str]:
    return versions.whether_pushed(root), publish.why_not_pushed(root)


def _up_to_date(entries: list[dict[str, Any]], pushed: Mapping[str, bool], reason: str
                ) -> list[dict[str, Any]]:
    """Return the entries with their current push state; those of unknown commits are unchanged."""
    return [entry if entry["commit"] not in pushed else
            {**entry, "pushed": pushed[entry["commit"]],
             "reason": None if pushed[entry["commit"]] else reason} for entry in entries]


def _one_writer(workspace: Workspace) -> AbstractContextManager[None]:
    return locked(workspace.state / "commit_history.lock",
                  {"pid": os.getpid(), "doing": f"writing {HISTORY}"})
