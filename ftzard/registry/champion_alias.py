"""Resolve the champion alias and cross-check it against the decisions on record.

A registry is not in git. One that was lost, or another one than before, has no champion; a gate
that believed it would take the next model for the first and let it win against nobody. And a
process may be killed between a decision's record and the move of the alias: what was begun is
completed by whoever decides next.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftzard.core.artifacts import write_json
from ftzard.errors import TrackingError, VersioningError
from ftzard.registry import model_records, promotions
from ftzard.registry.promotions import TAG, Decision
from ftzard.tracking import registry
from ftzard.tracking.registry import Version
from ftzard.tracking.runs import Tracking
from ftzard.versioning import repository
from ftzard.workspace.workspace import Workspace


def champion(workspace: Workspace, tracking: Tracking, name: str) -> Version | None:
    """Return the champion of a model, or None if none was ever promoted.

    Whoever calls this holds the lock of a run. Raises TrackingError as `current` does, and if the
    registry has no champion and the records in models/<name> tell of one.
    """
    version = current(workspace, tracking, name)
    last = [] if version else promotions.latest(model_records.records(workspace, name))
    if not last:
        return version
    time, number = last[-1].time, last[-1].version
    sentence = (f"{name}@{number} was made champion on {time[:10]}, as models/{name}/{number}.yaml "
                f"says, and the registry at {tracking.client.shown} ")
    if any(v.number == number for v in registry.versions(tracking, name)):
        raise TrackingError(
            f"{sentence}gives nobody the alias '{registry.CHAMPION}'; expected a champion to "
            f"compare with. Give it back with 'ftzard promote {number} --reason …', or name "
            "another.")
    raise TrackingError(
        f"{sentence}does not know that version; expected the registry that the records tell of. "
        "Set tracking.uri to the server that has it, bring the workspace's .ftzard/mlflow.db back, "
        "or begin anew under another name with tracking.registered_model.")


def current(workspace: Workspace, tracking: Tracking, name: str) -> Version | None:
    """Return who holds the champion alias, after completing a promotion that was cut off.

    Raises TrackingError if that champion was decided in a clone whose records are not here: who
    decides without them would decide beside it.
    """
    complete(workspace, tracking)
    version = registry.by_alias(tracking, name, registry.CHAMPION)
    decided = version.tags.get(TAG) if version else None
    if decided and decided not in {d.id for d in promotions.on_record(
            model_records.records(workspace, name))}:
        raise TrackingError(
            f"{version} is the champion of the registry at {tracking.client.shown} by a decision "
            f"({decided}) that no record in models/{name} here knows: it was made in another "
            "clone. Bring its records here first: git pull --no-rebase")
    return version


@contextmanager
def deciding(workspace: Workspace, tracking: Tracking, version: Version, decision_id: str
             ) -> Iterator[None]:
    """Make a promotion one transaction: what is written within, and then the move of the alias.

    A journal in `.ftzard/` says that it has begun, so that whoever comes after a kill completes it
    or takes it back. After an error within, it is taken back unless it is committed.
    """
    journal = _journal(workspace)
    write_json(journal, {"model": version.name, "version": version.number, "id": decision_id})
    try:
        yield
    except BaseException:
        complete(workspace, tracking, undo_only=True)
        raise
    carry_out(tracking, version, decision_id)
    journal.unlink()


def carry_out(tracking: Tracking, version: Version, decision_id: str) -> None:
    """Move the alias to a version that a decision on record names, and note that it was done."""
    registry.move(tracking, version.name, champion=version)
    registry.tag(tracking, version, {TAG: decision_id})


def pending(tracking: Tracking, name: str, last: list[Decision]) -> Version | None:
    """Return the version that the last decision names if the alias was never moved to it.

    Of several decisions side by side none is carried out for a person. One that was carried out
    stays so if somebody moves the alias in MLflow later.

    Args:
        last: What `decisions.latest` returns.
    """
    if len(last) != 1:
        return None
    version = {v.number: v for v in registry.versions(tracking, name)}.get(last[0].version)
    holder = registry.aliases(tracking, name).get(registry.CHAMPION)
    if version is None or holder == version.number or carried_out(version, last[0]):
        return None
    return version


def carried_out(version: Version, decision: Decision) -> bool:
    """Return whether the alias has been moved as a decision says, whoever has it now."""
    if decision.chained:
        return version.tags.get(TAG) == decision.id
    if decision.by_hand:  # written after the move, as the gate's decision is
        return version.tags.get("promotion.time") == decision.time
    return "gate.decision" in version.tags


def complete(workspace: Workspace, tracking: Tracking, *, undo_only: bool = False) -> str | None:
    """Complete, or take back, a promotion that was cut off; return a sentence on it, or None.

    A person's decision that is committed, and the gate's verdict, which the step after it commits,
    are carried out. A person's decision that was not committed is taken back. undo_only: nothing
    is carried out; a decision that is committed waits for the next command.
    """
    journal = _journal(workspace)
    if not journal.is_file():
        return None
    begun = json.loads(journal.read_text(encoding="utf-8"))
    version = Version(begun["model"], begun["version"], "", {})
    record = model_records.read_record(workspace, version) or model_records.ModelRecord()
    by_hand = [entry for entry in record.get("promotions") or [] if entry.get("id") == begun["id"]]
    by_gate = (record.get("decision") or {}).get("id") == begun["id"]
    sentence = None
    if by_hand and not _committed(workspace, version, begun["id"]):
        remaining = [entry for entry in record["promotions"] if entry not in by_hand]
        others = {key: value for key, value in record.items() if key != "promotions"}
        model_records.replace_record(
            workspace, version, {**others, "promotions": remaining} if remaining else others)
        sentence = f"promoting {version} by hand was cut off before its commit, and is undone."
    elif by_hand or by_gate:
        if undo_only:
            return None
        carry_out(tracking, registry.version(tracking, version.name, version.number), begun["id"])
        sentence = f"promoting {version} was cut off before the alias moved, and is completed."
    journal.unlink()
    return sentence


def unfinished(workspace: Workspace) -> bool:
    """Return whether a promotion was begun and neither completed nor taken back."""
    return _journal(workspace).is_file()


def _journal(workspace: Workspace) -> Path:
    return workspace.state / "promotion.json"


def _committed(workspace: Workspace, version: Version, decision_id: str) -> bool:
    """Return whether HEAD's record of a version holds a decision."""
    path = workspace.relative(model_records.record_path(workspace, version))
    try:
        blob = repository.blob_at(workspace.root, "HEAD", path)
    except VersioningError:
        return False
    return blob is not None and decision_id in blob[1]
