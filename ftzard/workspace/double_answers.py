"""What two people answered to the same row, each blind to the other and to the model.

It is a JSON file beside the cleaned rows, versioned like them. A row keeps one label; what two
people said of it before somebody settled it is here alone.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from ftzard.core.artifacts import write_json
from ftzard.errors import DataError, in_shell
from ftzard.workspace.workspace import Workspace


def place(workspace: Workspace) -> Path:
    """Return the path of the file."""
    return workspace.root / "data" / "cleaned" / "double_answers.json"


def entries(workspace: Workspace) -> list[dict[str, str]]:
    """Return a line per row and pair of people; raises DataError for a file that is none.

    Each has id, first_person, first, second_person and second, people in the order of their names.
    """
    path = place(workspace)
    if not path.is_file():
        return []
    try:
        lines: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}); bring it back with 'dvc "
                        f"checkout {in_shell(path.name)}.dvc', or remove it to begin anew."
                        ) from error
    return lines


def add(workspace: Workspace, lines: Iterable[Mapping[str, str]]) -> Path | None:
    """Add answers and return the file, None if there is nothing new.

    The same two people's later answers to a row replace their earlier ones.
    """
    known = {(e["id"], e["first_person"], e["second_person"]): e for e in entries(workspace)}
    before = dict(known)
    for line in lines:
        known[line["id"], line["first_person"], line["second_person"]] = dict(line)
    return None if known == before else write_json(place(workspace), list(known.values()))
