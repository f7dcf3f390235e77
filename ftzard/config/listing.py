"""A resolved config as text, every value with its source."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ftzard.config.compose import DEFAULT, Resolved, to_record
from ftzard.config.requests import leaves
from ftzard.config.schema import GROUPS, PARTS
from ftzard.core import yaml_file

WIDTH = 44


def as_yaml(resolved: Resolved) -> str:
    """Return the config as YAML, with the source of each value as a comment."""
    lines: list[str] = []
    for name, value in to_record(resolved.config).items():
        if name in GROUPS:
            choice, source = resolved.choices[name]
            lines.append(_with(f"{name}:", "" if source == DEFAULT else f"{choice}, {source}"))
            lines += _entries(name, value, resolved.sources, "  ")
        else:
            lines += _entry(name, value, resolved.sources[name], "")
    return "\n".join(lines)


def to_dict(resolved: Resolved) -> dict[str, Any]:
    """Return the same for JSON: the nested values, and the source of each dotted key."""
    return {"values": to_record(resolved.config), "sources": resolved.sources}


def not_default(resolved: Resolved, keys: Iterable[str] | None = None) -> list[tuple[Any, ...]]:
    """Return (key, value, source) of every value that is no packaged default, of `keys` if set."""
    values = leaves(to_record(resolved.config))
    wanted = values if keys is None else {key: values[key] for key in values if key in set(keys)}
    return [(key, value, resolved.sources[key]) for key, value in wanted.items()
            if resolved.sources[key] != DEFAULT]


def _entries(group: str, values: Mapping[str, Any], sources: Mapping[str, str],
             indent: str) -> list[str]:
    lines: list[str] = []
    for name, value in values.items():
        key = f"{group}.{name}"
        if key in PARTS and isinstance(value, Mapping):
            lines.append(f"{indent}{name}:")
            lines += _entries(key, value, sources, indent + "  ")
        else:
            lines += _entry(name, value, sources[key], indent)
    return lines


def _entry(name: str, value: object, source: str, indent: str) -> list[str]:
    flow = None if isinstance(value, list) else False
    lines = yaml_file.dump({name: value}, flow).splitlines()
    if len(lines) > 1 and not isinstance(value, (list, Mapping)):
        lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}"]  # a text of several lines
    return [_with(indent + lines[0], source), *(indent + line for line in lines[1:])]


def _with(line: str, comment: str) -> str:
    return f"{line:<{WIDTH}}  # {comment}" if comment else line
