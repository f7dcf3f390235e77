"""The facts of a step as its notebook shows them: a line each, numbers short, nested ones named."""

from collections.abc import Mapping
from typing import Any

#: Most characters of a value, and most names of what is nested.
LONGEST, NAMES = 76, 6


class ShownFacts(dict):
    """A step's facts; IPython prints them a line each, and what is nested by its names alone."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        width = max((len(str(name)) for name in self), default=0)
        printer.text("\n".join(f"{name:<{width}}  {shown(value)}" for name, value in self.items()))


def shown(value: object) -> str:
    """Return a value in a line: a number short, a list or mapping by how much is in it."""
    if value is None:
        return "none"
    if isinstance(value, bool | str):
        text = " ".join(str(value).split())
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, Mapping) and len(value) <= NAMES and all(
            isinstance(part, int | float) for part in value.values()):
        return ", ".join(f"{name} {shown(part)}" for name, part in value.items()) or "none"
    if isinstance(value, Mapping):
        names = list(map(str, value))
        return ", ".join(names[:NAMES]) + (f" and {len(names) - NAMES} more"
                                           if len(names) > NAMES else "")
    if isinstance(value, list | tuple):
        return f"{len(value):,} entr{'y' if len(value) == 1 else 'ies'}" if value else "none"
    return shown(str(value))
