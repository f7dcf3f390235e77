"""Who is champion: what the registry says, and whether the records in git agree that it can know.

A registry is not in git. One that was lost, or another one than before, has no champion; a gate
that believed it would take the next model for the first and let it win against nobody.
"""

from collections.abc import Iterable, Mapping

from ftzard.errors import TrackingError
from ftzard.notebooks import model_files
from ftzard.tracking import registry
from ftzard.tracking.registry import Version
from ftzard.tracking.runs import Tracking
from ftzard.workspace import Workspace


def champion(workspace: Workspace, tracking: Tracking, name: str) -> Version | None:
    """Return the champion of a model, or None if none was ever promoted.

    Raises TrackingError if the registry has none and the records in models/<name> tell of one.
    """
    found = registry.by_alias(tracking, name, registry.CHAMPION)
    decided = [] if found else decisions(model_files.records(workspace, name))
    if not decided:
        return found
    time, number, _ = decided[-1]
    told = (f"{name}@{number} was made champion on {time[:10]}, as models/{name}/{number}.yaml "
            f"says, and the registry at {tracking.client.shown} ")
    if any(v.number == number for v in registry.versions(tracking, name)):
        raise TrackingError(
            f"{told}gives nobody the alias '{registry.CHAMPION}'; expected a champion to compare "
            f"with. Give it back with 'ftzard promote {number} --reason …', or name another.")
    raise TrackingError(
        f"{told}does not know that version; expected the registry that the records tell of. Set "
        "tracking.uri to the server that has it, bring the workspace's .ftzard/mlflow.db back, or "
        "begin anew under another name with tracking.registered_model.")


def decisions(records: Iterable[Mapping]) -> list[tuple[str, int, bool]]:
    """Return (time, version, by hand) of every promotion on record, oldest first.

    records: of versions; those of deleted ones are left out.
    """
    kept = [said for said in records if not said.get("deleted")]
    found = [(str(said.get("created")), int(said["version"]), False) for said in kept
             if (said.get("verdict") or {}).get("promoted")]
    found += [(str(entry.get("time")), int(said["version"]), True) for said in kept
              for entry in said.get("promotions") or []]
    return sorted(found)
