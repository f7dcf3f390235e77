"""A person overrules the gate: a version made champion by hand, or the previous one put back.

Both are done under the lock that a run holds, through the registry's one function that moves an
alias, and both are on record: in the model's record, which is committed, and as tags in MLflow.
"""

import getpass
import os
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from ftzard.core.locks import locked
from ftzard.errors import TrackingError
from ftzard.registry import champion_alias, model_records, promotions
from ftzard.tracking import registry
from ftzard.tracking.registry import Version
from ftzard.tracking.runs import Tracking
from ftzard.tracking.workspace_store import connect
from ftzard.versioning import commit, publish
from ftzard.workspace.workspace import Workspace


@dataclass(frozen=True)
class Promotion:
    """What was done: the new champion, the one before, and how far its record got.

    Attributes:
        commit: Of the record.
        pushed: 'pushed', 'not pushed' or 'off'.
        reason: Why not pushed.
    """

    champion: Version
    before: Version | None
    commit: str
    pushed: str
    reason: str | None


def promote(workspace: Workspace, number: int, *, reason: str, who: str | None = None,
            say: Callable[[str], None] = print) -> Promotion:
    """Make version `number` the champion; the champion before becomes previous.

    Args:
        reason: Why the gate is overruled, kept with the version.
        who: The person, default the user.

    Raises:
        TrackingError: For a version that does not exist, that is champion already, or for an empty
            reason; ModelError for one whose record, adapter or base is not in the workspace.
    """
    with _alone(workspace, f"promoting version {number}", say) as (tracking, name):
        version = registry.version(tracking, name, number)
        before = registry.by_alias(tracking, name, registry.CHAMPION)
        if before is not None and before.number == number:
            raise TrackingError(f"{version} is the champion already; nothing was changed.")
        _say_verdict(workspace, version, say)
        return _move(workspace, tracking, version, before, f"Promote {version} by hand",
                     reason, who, say)


def _say_verdict(workspace: Workspace, version: Version, say: Callable[[str], None]) -> None:
    """Say why the gate did not promote a version, before a person does."""
    verdict = (model_records.read_record(workspace, version) or {}).get("verdict") or {}
    if verdict and not verdict.get("promoted"):
        say(f"the gate on {version}: {verdict['decision']}. {' '.join(verdict['reasons'])}")


def rollback(workspace: Workspace, *, reason: str | None = None, who: str | None = None,
             say: Callable[[str], None] = print) -> Promotion:
    """Make the previous champion the champion again; a second rollback undoes the first.

    Raises TrackingError if there is no previous champion.
    """
    with _alone(workspace, "rolling back", say) as (tracking, name):
        version = registry.by_alias(tracking, name, registry.PREVIOUS)
        before = registry.by_alias(tracking, name, registry.CHAMPION)
        if version is None or (before is not None and before.number == version.number):
            champions = (f"{before} is the only champion there has been" if before
                         else "there is none")
            raise TrackingError(
                f"the model '{name}' has no previous champion to go back to: {champions}. Name a "
                "version with 'ftzard promote VERSION --reason …'.")
        return _move(workspace, tracking, version, before, f"Roll back to {version}",
                     reason or "rolled back", who, say)


@contextmanager
def _alone(workspace: Workspace, doing: str, say: Callable[[str], None]):
    config = workspace.config()
    holder = {"pid": os.getpid(), "doing": doing}
    name = config.tracking.registered_model
    with locked(workspace.state / "run.lock", holder, waiting=say):
        tracking = connect(workspace, config)
        _complete(workspace, tracking, say)
        champion_alias.current(workspace, tracking, name)
        yield tracking, name


def complete(workspace: Workspace, tracking: Tracking, say: Callable[[str], None]) -> None:
    """Complete or take back a promotion that was cut off, under the lock of a run; say which."""
    if champion_alias.unfinished(workspace):
        holder = {"pid": os.getpid(), "doing": "completing a promotion"}
        with locked(workspace.state / "run.lock", holder, waiting=say):
            _complete(workspace, tracking, say)


def _complete(workspace: Workspace, tracking: Tracking, say: Callable[[str], None]) -> None:
    sentence = champion_alias.complete(workspace, tracking)
    if sentence:
        say(sentence)


def _move(workspace: Workspace, tracking: Tracking, version: Version, before: Version | None,
          what: str, reason: str, who: str | None, say: Callable[[str], None]) -> Promotion:
    reason = " ".join(reason.split())
    if not reason:
        raise TrackingError("--reason is empty; say in a sentence why the gate is overruled.")
    model_records.version_files(workspace, version)  # refuses what could not be loaded
    record = model_records.read_record(workspace, version)
    if record.get("deleted"):
        raise TrackingError(f"{version} was deleted on {record['deleted']['time'][:10]}, as its "
                            f"record says; 'ftzard doctor --fix -w {workspace.in_shell}' "
                            "finishes what is left of it. Name another version.")
    now = datetime.now(UTC)
    fields = {"who": who or getpass.getuser(), "reason": reason,
              "from": before.number if before else None, "to": version.number}
    decision = promotions.following(model_records.records(workspace, version.name), now)
    path = model_records.record_path(workspace, version)
    with champion_alias.deciding(workspace, tracking, version, decision["id"]):
        entry = {**decision, **fields}
        model_records.write_record(workspace, version,
                                 {"promotions": [*(record.get("promotions") or []), entry]})
        versioned = commit.version(
            workspace.root, [], also=[path], message=f"{what}: {reason}",
            run_id=f"by-hand-{now:%Y%m%dT%H%M%SZ}-v{version.number}", push=False, say=say)
    registry.tag(tracking, version, {f"promotion.{key}": value for key, value in
                                     {"time": decision["time"], **fields}.items()})
    # Sent only when it is whole: a push may take long, and be interrupted.
    pushed, why = (publish.push(workspace.root, say) if workspace.config().versioning.push
                   else ("off", None))
    return Promotion(version, before, versioned.commit, pushed, why)
