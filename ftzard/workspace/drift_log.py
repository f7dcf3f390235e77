"""The log of drift comparisons: one per incoming batch and champion, and whether an alarm is on.

It is a JSON file beside the predictions, versioned like them, with the oldest entry first. Imports
are light, since a sensor and `ftzard status` read it.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from ftzard.core.artifacts import write_json
from ftzard.errors import DataError, in_shell
from ftzard.workspace.workspace import Workspace


def place(workspace: Workspace) -> Path:
    """Return the path of the log."""
    return workspace.root / "data" / "predictions" / "drift.json"


def entries(workspace: Workspace) -> list[dict]:
    """Return all entries, oldest first; raises DataError for a file that is no such log."""
    path = place(workspace)
    if not path.is_file():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}); bring it back with 'dvc "
                        f"checkout {in_shell(path.name)}.dvc', or remove it to begin anew."
                        ) from error
    return content


def last(workspace: Workspace) -> dict | None:
    """Return the entry of the latest batch, or None."""
    return next(reversed(entries(workspace)), None)


def alarm(workspace: Workspace) -> bool:
    """Return whether an alarm is on after the latest batch."""
    return bool((last(workspace) or {}).get("alarm"))


def stood_before(workspace: Workspace, batch: str, champion: int) -> bool:
    """Return whether an alarm was on before this batch was compared.

    A batch that is compared once more takes its own place again, and so the state before it.
    """
    before = []
    for entry in entries(workspace):
        if (entry["batch"], entry["champion"]) == (batch, champion):
            break
        before.append(entry)
    return bool(before and before[-1]["alarm"])


def add(workspace: Workspace, result: Mapping, *, batch: str, champion: int) -> Path:
    """Add a result to the log and return the file; an equal entry does not change it.

    An entry of the same batch and champion is replaced where it stands.

    Args:
        result: `Drift.to_dict()`.
    """
    entry = {**result, "batch": batch, "champion": champion}
    logged = entries(workspace)
    for place_in_log, known in enumerate(logged):
        if (known["batch"], known["champion"]) == (batch, champion):
            logged[place_in_log] = {**entry, "time": known["time"]}
            break
    else:
        logged.append({**entry, "time": datetime.now(UTC).isoformat(timespec="seconds")})
    return write_json(place(workspace), logged)
