"""The log of accuracies that were estimated before labels: one entry per batch and champion.

It is a JSON file beside the predictions, versioned like them, with the oldest entry first. Imports
are light, since a sensor and `ftzard status` read it.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ftzard.core.artifacts import write_json
from ftzard.errors import DataError, in_shell
from ftzard.workspace.workspace import Workspace


def place(workspace: Workspace) -> Path:
    """Return the path of the log."""
    return workspace.root / "data" / "predictions" / "estimates.json"


def entries(workspace: Workspace) -> list[dict]:
    """Return all entries, oldest first; raises DataError for a file that is no such log."""
    path = place(workspace)
    if not path.is_file():
        return []
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}); bring it back with 'dvc "
                        f"checkout {in_shell(path.name)}.dvc', or remove it to begin anew."
                        ) from error


def last(workspace: Workspace) -> dict | None:
    """Return the entry of the latest batch, or None."""
    return next(reversed(entries(workspace)), None)


def add(workspace: Workspace, result: Mapping, *, batch: str, champion: int) -> Path:
    """Add an estimate to the log and return the file; an equal entry does not change it.

    An entry of the same batch and champion is replaced where it stands, and keeps how it was
    scored.

    Args:
        result: `Estimate.to_dict()`.
    """
    entry = {**result, "batch": batch, "champion": champion}
    logged = entries(workspace)
    for at, known in enumerate(logged):
        if (known["batch"], known["champion"]) == (batch, champion):
            logged[at] = {**entry, "audit": known.get("audit"), "time": known["time"]}
            break
    else:
        logged.append({**entry, "audit": None,
                       "time": datetime.now(UTC).isoformat(timespec="seconds")})
    return replace(workspace, logged)


def replace(workspace: Workspace, logged: Sequence[Mapping]) -> Path:
    """Write the whole log and return the file."""
    return write_json(place(workspace), list(logged))
