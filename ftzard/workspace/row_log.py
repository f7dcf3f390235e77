"""What people said of rows beside the one label that each row keeps: logs of entries about rows.

Each is a JSON file beside the cleaned rows, versioned like them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ftzard.core.artifacts import read_entries, write_json
from ftzard.workspace.workspace import Workspace

CONFIRMED, CHANGED, CANNOT_SAY = "kept", "changed", "cannot say"


@dataclass(frozen=True)
class RowLog:
    """A log of entries about rows.

    Attributes:
        name: The file's, without its type.
        keys: The columns of which one entry of each combination stays, the latest.
    """

    name: str
    keys: tuple[str, ...]

    def path(self, workspace: Workspace) -> Path:
        """Return the path of the file."""
        return workspace.root / "data" / "cleaned" / f"{self.name}.json"

    def entries(self, workspace: Workspace) -> list[dict[str, str]]:
        """Return all entries, oldest first.

        Raises:
            DataError: If the file is not valid JSON.
        """
        return read_entries(self.path(workspace))

    def add(self, workspace: Workspace, lines: Iterable[Mapping[str, str]]) -> Path | None:
        """Add entries and return the file, None if there is nothing new."""
        def key(entry: Mapping[str, str]) -> tuple[str, ...]:
            return tuple(entry[name] for name in self.keys)

        known = {key(entry): entry for entry in self.entries(workspace)}
        before = dict(known)
        for line in lines:
            known.pop(key(line), None)
            known[key(line)] = dict(line)
        return None if known == before else write_json(self.path(workspace), list(known.values()))


#: What two people answered to the same row, each blind to the other and to the model: id,
#: first_person, first, second_person and second, people in the order of their names.
DOUBLE_ANSWERS = RowLog("double_answers", ("id", "first_person", "second_person"))
#: What a person said when a label in doubt was reviewed: id, result (CONFIRMED, CHANGED or
#: CANNOT_SAY), before (the label in doubt), after (the person's), reviewed_by and reviewed_at.
LABEL_REVIEWS = RowLog("label_reviews", ("id", "reviewed_by"))


def reviewed(workspace: Workspace) -> frozenset[str]:
    """Return the rows whose label a person has confirmed or changed."""
    return frozenset(entry["id"] for entry in LABEL_REVIEWS.entries(workspace)
                     if entry["result"] != CANNOT_SAY)
