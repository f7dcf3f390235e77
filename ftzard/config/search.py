"""The packaged search spaces, adapted to the configured values: a value that is set is not
searched.
"""

from collections.abc import Collection
from typing import Any

from ftzard.config.schema import SEARCHED


def is_packaged(source: str) -> bool:
    """Return whether a value of this source is a packaged one."""
    return source == "default" or source.startswith("preset ")


def settle_search(merged: dict[str, Any], keys_set: Collection[str]) -> dict[str, str]:
    """Adapt the packaged search to the configured values; return the sources of the changes.

    A value given for `training` is not searched unless a space is given for it too; a search with
    nothing left to search is one trial; a space that is given is searched, in two trials at least.

    Args:
        merged: Nested values, changed in place.
        keys_set: Dotted keys that a person gave a value.
    """
    tuning, sources = merged["tuning"], {}
    for name in SEARCHED:
        if f"training.{name}" in keys_set and f"tuning.{name}" not in keys_set \
                and tuning.get(name) is not None:
            tuning[name] = None
            sources[f"tuning.{name}"] = f"training.{name} is given"
    if "tuning.trials" in keys_set:
        return sources
    open_ = [name for name in SEARCHED
             if isinstance(tuning.get(name), list) and len(tuning[name]) > 1]
    spaces = [f"tuning.{name}" for name in open_ if f"tuning.{name}" in keys_set]
    if sources and not open_ and tuning.get("trials") != 1:
        tuning["trials"] = 1
        sources["tuning.trials"] = "nothing is left to search"
    elif spaces and tuning.get("trials") == 1:
        tuning["trials"] = 2
        sources["tuning.trials"] = f"{spaces[0]} is given"
    return sources
