"""Logs with an entry per incoming batch and champion: drift comparisons, estimated accuracies.

Each is a JSON file beside the predictions, versioned like them, with the oldest entry first.
Imports are light, since a sensor and `ftzard status` read them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ftzard.core.artifacts import read_entries, write_json
from ftzard.workspace.workspace import Workspace


@dataclass(frozen=True)
class BatchLog:
    """A log of batches.

    Attributes:
        file: Its name beside the predictions.
        added_later: Fields that are None at first, and that stay when an entry is replaced.
    """

    file: str
    added_later: tuple[str, ...] = ()

    def path(self, workspace: Workspace) -> Path:
        """Return the path of the log."""
        return workspace.root / "data" / "predictions" / self.file

    def entries(self, workspace: Workspace) -> list[dict]:
        """Return all entries, oldest first; raises DataError for a file that is no such log."""
        return read_entries(self.path(workspace))

    def last(self, workspace: Workspace) -> dict | None:
        """Return the entry of the latest batch, or None."""
        return next(reversed(self.entries(workspace)), None)

    def before(self, workspace: Workspace, batch: str, champion: int) -> dict | None:
        """Return the entry that stands before a batch's own, or before the place of a new one."""
        previous = None
        for entry in self.entries(workspace):
            if (entry["batch"], entry["champion"]) == (batch, champion):
                break
            previous = entry
        return previous

    def add(self, workspace: Workspace, result: Mapping, *, batch: str, champion: int) -> Path:
        """Add a result to the log and return the file; an equal entry does not change it.

        An entry of the same batch and champion is replaced where it stands.
        """
        entries = self.entries(workspace)
        same = [i for i, entry in enumerate(entries)
                if (entry["batch"], entry["champion"]) == (batch, champion)]
        known = entries[same[0]] if same else {
            "time": datetime.now(UTC).isoformat(timespec="seconds")}
        entry = {**result, "batch": batch, "champion": champion,
                 **{name: known.get(name) for name in self.added_later}, "time": known["time"]}
        if same:
            entries[same[0]] = entry
        else:
            entries.append(entry)
        return self.replace(workspace, entries)

    def replace(self, workspace: Workspace, entries: Sequence[Mapping]) -> Path:
        """Write the whole log and return the file."""
        return write_json(self.path(workspace), list(entries))


def is_alarm(entry: Mapping | None) -> bool:
    """Return whether an entry of the drift log, if there is one, leaves an alarm on."""
    return bool(entry and entry["alarm"])


#: Comparisons of each batch with the champion's reference, as `Drift.to_dict()` gives them.
DRIFT = BatchLog("drift.json")
#: Accuracies estimated before labels, as `Estimate.to_dict()` gives them, and how they were scored.
ESTIMATES = BatchLog("estimates.json", added_later=("audit",))
