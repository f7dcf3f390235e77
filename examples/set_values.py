"""Lay the values of a YAML file over a workspace's ftzard.yaml.

    python set_values.py WORKSPACE FILE
"""

import sys
from pathlib import Path

import yaml


def merged(values: dict, more: dict) -> dict:
    """Return values with those of `more` laid over them; a name alone is a group's choice."""
    def inner(value: object) -> dict:
        return {"choice": value} if isinstance(value, str) else value or {}

    return {**values, **{key: merged(inner(values.get(key)), value) if isinstance(value, dict)
                         else value for key, value in more.items()}}


if __name__ == "__main__":
    config = Path(sys.argv[1], "ftzard.yaml")
    values = merged(yaml.safe_load(config.read_text(encoding="utf-8")) or {},
                    yaml.safe_load(Path(sys.argv[2]).read_text(encoding="utf-8")))
    config.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
