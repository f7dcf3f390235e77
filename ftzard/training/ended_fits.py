"""Fits that have ended, kept by what they were made from, so that the same fit is only read back.

Each is a folder under the hash of its identity: the adapter, how training went, and the hash of
every file. A folder that lacks something, or has other bytes, counts as missing.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ftzard.core.archive import whole_folder
from ftzard.core.artifacts import sha256, write_json
from ftzard.training.trainer import Trained

#: How many are kept; of more, those that were used least recently go.
MOST = 64
_NOTE = "trained.json"


@dataclass(frozen=True)
class EndedFits:
    """A folder of fits that have ended.

    Attributes:
        folder: where they are.
        origin: returns a name of what makes them now, such as the id of a run.
    """

    folder: Path
    origin: Callable[[], str] = str

    def read(self, identity: Mapping, into: Path) -> Trained | None:
        """Return how a fit went and put its adapter into a folder; None if it is not here."""
        place = self._place(identity)
        trained = read(place, into)
        if trained is None:
            return None
        os.utime(place)
        return replace(trained, origin=json.loads((place / _NOTE).read_text("utf-8"))["origin"])

    def keep(self, identity: Mapping, adapter: Path, trained: Trained) -> None:
        """Keep a fit that has just ended."""
        keep(self._place(identity), adapter, trained, self.origin())
        folders = sorted(self.folder.glob("*"), key=lambda path: path.stat().st_mtime_ns)
        for place in folders[:-MOST]:
            shutil.rmtree(place, ignore_errors=True)

    def _place(self, identity: Mapping) -> Path:
        text = json.dumps(identity, sort_keys=True, default=str)
        return self.folder / hashlib.sha256(text.encode()).hexdigest()[:32]


def keep(place: Path, adapter: Path, trained: Trained, origin: str = "") -> None:
    """Write a fit that has ended to a folder, as a whole."""
    with whole_folder(place) as part:
        shutil.copytree(adapter, part / "adapter")
        write_json(part / _NOTE, {"trained": asdict(trained), "origin": origin,
                                  "files": _hashes(part / "adapter")})


def read(place: Path, into: Path) -> Trained | None:
    """Return how a fit went and put its adapter into a folder; None for one that is not whole."""
    try:
        note = json.loads((place / _NOTE).read_text(encoding="utf-8"))
        trained = Trained(**note["trained"])
        whole = note["files"] == _hashes(place / "adapter") and note["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not whole:
        return None
    with whole_folder(into) as part:
        shutil.copytree(place / "adapter", part, dirs_exist_ok=True)
    return trained


def agrees(trained: Trained, stop: Callable[[list[dict]], bool] | None) -> bool:
    """Return whether training would have gone on, and ended, where it did.

    Args:
        trained: how an earlier training went.
        stop: as for `train`; asked as training asks it, before every epoch but the first.
    """
    if stop is None:
        return not trained.pruned
    for count in range(1, len(trained.history)):
        if stop(trained.history[:count]):
            return False
    return not trained.pruned or stop(trained.history)


def _hashes(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path)
            for path in sorted(folder.rglob("*")) if path.is_file()}
