"""What a person said when labels in doubt were reviewed: kept, changed, or cannot say.

It is a JSON file beside the cleaned rows, versioned like them; a row that two people reviewed has
an entry of each.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from ftzard.core.artifacts import write_json
from ftzard.errors import DataError, in_shell
from ftzard.workspace.workspace import Workspace

CONFIRMED, CHANGED, CANNOT_SAY = "kept", "changed", "cannot say"


def place(workspace: Workspace) -> Path:
    """Return the path of the file."""
    return workspace.root / "data" / "cleaned" / "label_reviews.json"


def entries(workspace: Workspace) -> list[dict[str, str]]:
    """Return all reviews, oldest first; raises DataError for a file that is none.

    Each has id, result, before (the label in doubt), after (the person's), reviewed_by and
    reviewed_at.
    """
    path = place(workspace)
    if not path.is_file():
        return []
    try:
        reviews: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}); bring it back with 'dvc "
                        f"checkout {in_shell(path.name)}.dvc', or remove it to begin anew."
                        ) from error
    return reviews


def reviewed(workspace: Workspace) -> frozenset[str]:
    """Return the rows whose label a person has kept or changed."""
    return frozenset(entry["id"] for entry in entries(workspace) if entry["result"] != CANNOT_SAY)


def add(workspace: Workspace, lines: Iterable[Mapping[str, str]]) -> Path | None:
    """Add reviews and return the file, None if there is nothing new.

    A person's later review of a row replaces the earlier one.
    """
    known = {(entry["id"], entry["reviewed_by"]): entry for entry in entries(workspace)}
    before = dict(known)
    for line in lines:
        known.pop((line["id"], line["reviewed_by"]), None)
        known[line["id"], line["reviewed_by"]] = dict(line)
    return None if known == before else write_json(place(workspace), list(known.values()))
