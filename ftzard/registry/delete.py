"""Deleting a registered version, or a whole registered model, with nothing left over in MLflow.

What goes: the version in the registry, and its files in MLflow's artifact store. What stays on
purpose: the run that made it, its record in git, which then says that it was deleted, and its
adapter in DVC. History is never rewritten, and lineage, the forgetting matrix and `reproduce` still
know the version. Its number is never given again.
"""

import getpass
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from ftzard.core.artifacts import write_atomically
from ftzard.core.locks import locked
from ftzard.errors import TrackingError, nearest
from ftzard.registry import lookup, model_records
from ftzard.tracking import registry
from ftzard.tracking.registry import Version
from ftzard.tracking.runs import Tracking
from ftzard.tracking.workspace_store import connect
from ftzard.versioning import commit, publish, repository
from ftzard.workspace.workspace import Workspace


@dataclass(frozen=True)
class Deletion:
    """What is to be deleted: versions, and `model`, the whole registered model, if it goes too.

    Attributes:
        asked, force: As `planned` was told.
        goes, stays: What a person is shown before.
    """

    asked: str
    force: bool
    versions: tuple[Version, ...]
    model: str | None
    goes: tuple[str, ...]
    stays: tuple[str, ...]

    @property
    def name(self) -> str:
        """What goes, as a person calls it."""
        return self.model or str(self.versions[0])


@dataclass(frozen=True)
class Deleted:
    """What was deleted.

    Attributes:
        stays: Sentences on files that stay although they were to go.
        commit: Of the records, None if there are none here.
        pushed: 'pushed', 'not pushed' or 'off'.
        reason: Why not pushed.
    """

    name: str
    versions: tuple[str, ...]
    stays: tuple[str, ...]
    commit: str | None
    pushed: str | None
    reason: str | None


def planned(workspace: Workspace, which: str, *, force: bool = False) -> Deletion:
    """Return what deleting would take away and what would stay; changes nothing.

    Args:
        which: NAME@VERSION, NAME@ALIAS or a role for one version, NAME for a whole model.
        force: Also what is previous or challenger, and a whole model with its champion.

    Raises:
        TrackingError: For what does not exist, and for what carries an alias and is not forced.
    """
    config = workspace.config()
    tracking = connect(workspace, config)
    if lookup.is_reference(which) or "@" in which:
        version = lookup.find(tracking, config, which)
        registry.require_deletable(
            tracking, version, [a for a in registry.ALIASES if force and a != registry.CHAMPION])
        versions, model = (version,), None
    else:
        if which not in registry.names(tracking):
            raise TrackingError(f"there is no model '{which}' in {tracking.client.shown}"
                                f"{nearest(which, registry.names(tracking))}")
        versions, model = tuple(registry.versions(tracking, which)), which
        aliases = registry.aliases(tracking, which)
        if aliases and not force:
            carried = ", ".join(f"{which}@{n} is {a}" for a, n in sorted(aliases.items()))
            raise TrackingError(f"{which} is in use: {carried}. Add --force if the whole model is "
                                "to go nevertheless.")
    return Deletion(which, force, versions, model, tuple(_goes(versions, model)),
                    tuple(_stays(workspace, versions)))


def delete(workspace: Workspace, deletion: Deletion, *, reason: str = "", who: str | None = None,
           say: Callable[[str], object] = print) -> Deleted:
    """Carry out what `planned` returned, under the lock that a run holds.

    Raises TrackingError if what was asked for has become something else meanwhile; then nothing
    was changed.
    """
    holder = {"pid": os.getpid(), "doing": f"deleting {deletion.name}"}
    with locked(workspace.state / "run.lock", holder, waiting=say):
        now = planned(workspace, deletion.asked, force=deletion.force)
        if [str(v) for v in now.versions] != [str(v) for v in deletion.versions]:
            raise TrackingError(f"'{deletion.asked}' has changed meanwhile; look again with "
                                "'ftzard models list'. Nothing was deleted.")
        return carry_out(workspace, now, reason=reason, who=who, say=say)


def carry_out(workspace: Workspace, deletion: Deletion, *, reason: str = "",
              who: str | None = None, say: Callable[[str], object] = print) -> Deleted:
    """Delete; whoever calls this holds the lock of a run.

    First the records say it and are committed, then files and versions go: what is cut off in
    between is finished by the same command, or by 'ftzard doctor --fix'.
    """
    noted = _note(workspace, deletion.versions, reason, who, say)
    left = finish(connect(workspace, workspace.config()), deletion)
    pushed, why = (None, None) if noted is None else (
        publish.push(workspace.root, say) if workspace.config().versioning.push else ("off", None))
    return Deleted(deletion.name, tuple(map(str, deletion.versions)), tuple(left),
                   noted.commit if noted else None, pushed, why)


def finish(tracking: Tracking, deletion: Deletion) -> list[str]:
    """Take files and versions out of MLflow; return why files stay, if any do."""
    if deletion.model is not None:
        return registry.delete_model(tracking, deletion.model)
    version, = deletion.versions
    left = registry.delete(tracking, version, allowed=registry.aliases_of(tracking, version))
    return [left] if left else []


def _goes(versions: tuple[Version, ...], model: str | None) -> list[str]:
    lines = [f"{version} in the registry, and its files in MLflow ({version.source})"
             for version in versions]
    return [*lines, *([f"the registered model {model} itself"] if model else [])]


def _stays(workspace: Workspace, versions: tuple[Version, ...]) -> list[str]:
    lines = []
    recorded = [v for v in versions if model_records.record_path(workspace, v).is_file()]
    runs = {version.run_id for version in versions if version.run_id}
    if runs:
        lines.append(f"{'the run that' if len(runs) == 1 else f'the {len(runs)} runs that'} made "
                     "it in MLflow, with metrics and notebooks, without the model's files")
    if recorded:
        lines += [f"{workspace.relative(model_records.record_path(workspace, v))} in git, which "
                  "will say that it was deleted, and its adapter in DVC" for v in recorded]
    return lines


def _note(workspace: Workspace, versions: tuple[Version, ...], reason: str, who: str | None,
          say: Callable[[str], object]) -> commit.Versioned | None:
    """Let the records of versions say that they were deleted, and commit that; None without any."""
    recorded = [v for v in versions if model_records.record_path(workspace, v).is_file()]
    if not recorded:
        return None
    now = datetime.now(UTC)
    note = {"time": now.isoformat(timespec="seconds"), "who": who or getpass.getuser(),
            "reason": " ".join(reason.split()) or None}
    paths = [model_records.record_path(workspace, version) for version in recorded]
    before = {path: path.read_bytes() for path in paths}
    for version in recorded:
        if not (model_records.read_record(workspace, version) or {}).get("deleted"):
            model_records.write_record(workspace, version, {"deleted": note})
    try:
        return commit.version(
            workspace.root, [], also=paths,
            message=f"Delete {', '.join(map(str, recorded))} from the registry"
                    + (f": {note['reason']}" if note["reason"] else ""),
            run_id=f"by-hand-{now:%Y%m%dT%H%M%SZ}-delete", push=False, say=say)
    except BaseException:
        # Interrupted after the commit, it stands, and the doctor finishes it.
        for path, content in before.items():
            blob = repository.blob_at(workspace.root, "HEAD", workspace.relative(path))
            if blob is None or blob[1].encode() != path.read_bytes():
                write_atomically(path, lambda part, content=content: part.write_bytes(content))
        raise
