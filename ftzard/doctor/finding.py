"""The result of a check: an area, a state, a sentence, and its fix."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from ftzard.config.compose import compose
from ftzard.config.schema import Config
from ftzard.errors import FtzardError
from ftzard.workspace.workspace import MARKER, Workspace

OK, WARNING, WRONG = "ok", "warning", "wrong"


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes:
        state: 'ok', 'warning' (it works, but look) or 'wrong'.
        command: What a person types to mend it.
        mend: Does it for `--fix` and returns a sentence, None where only a person can decide.
    """

    area: str
    state: str
    sentence: str
    command: str | None = None
    mend: Callable[[], str] | None = None

    def to_dict(self) -> dict:
        """Return the finding for JSON."""
        return {"area": self.area, "state": self.state, "sentence": self.sentence,
                "command": self.command, "fixable": self.mend is not None}


def settings(place: Workspace) -> Config:
    """Return the workspace's config; the packaged one if ftzard.yaml cannot be read."""
    file = place.root / MARKER
    return _composed(place, file.stat().st_mtime_ns if file.is_file() else 0)


@lru_cache(maxsize=4)
def _composed(place: Workspace, changed: int) -> Config:
    try:
        return place.config()
    except (FtzardError, OSError, ValueError):
        return compose()


def listed(names: list[str], most: int = 3) -> str:
    """Return 'a, b, c and 4 more'."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def counted(number: int, thing: str, things: str | None = None) -> str:
    """Return '1 file' or '3 files'; things: the plural, if it is not formed with an s."""
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"
