"""Override strings, `key=value`: which value they give.

A key whose value is text takes what follows the first `=` as it stands, so that no file name, label
or separator means anything but itself. Maps are read as YAML, numbers and lists by hydra's grammar.
"""

import re
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from ftzard.config.schema import GROUPS, hint_of, is_map
from ftzard.core import yaml_file
from ftzard.errors import ConfigError

_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.S)
#: A key and its value in a map with no space after the colon.
_CLOSE = re.compile(r"([\w.+-]+):([^:]*)", re.S)


def parse_override(text: str) -> tuple[str, object]:
    """Return the key and the value of an override; a key that does not exist keeps its text.

    Raises ConfigError for what is no key=value, and for one that deletes or sweeps.
    """
    if not isinstance(text, str):
        raise ConfigError(f"override {text!r} is no text; expected key=value, as in "
                          "training.epochs=2.")
    if text.startswith("~"):
        raise ConfigError(_sweeps(text))
    key, equals, value = text.partition("=")
    key = key.strip().removeprefix("++").removeprefix("+")
    if not (key and equals):
        raise ConfigError(_unreadable(text))
    hint = str if key in GROUPS else hint_of(key)
    if hint is None:
        return key, value
    if _is_text(hint):
        return key, _as_text(value, hint)
    if is_map(hint):
        values = _as_map(key, value, text)
        if values is not None:
            return key, values
    return key, _by_hydra(key, value, text)


def _is_text(hint: object) -> bool:
    """Return whether a value of this type is text: str, one of several words, or either or null."""
    if get_origin(hint) in (Union, UnionType):
        return all(_is_text(part) for part in get_args(hint) if part is not NoneType)
    return hint is str or get_origin(hint) is Literal


def _as_text(value: str, hint: object) -> str | None:
    """Return the text of a value: without quotes around all of it, null as None."""
    if value.strip().lower() == "null":
        return None
    bare = value.strip()
    if _QUOTED.fullmatch(bare):
        mark = bare[0]
        return re.sub(rf"\\([\\{mark}])", r"\1", bare[1:-1])
    return value


def _as_map(key: str, value: str, text: str) -> dict[str, Any] | None:
    """Return a map in braces with its keys as written; None for any other value.

    Raises ConfigError for a key that stands twice, and for a map that cannot be read.
    """
    name = f"override '{text}'"
    try:
        read = yaml_file.parse(value, name)
    except yaml_file.NoYaml as error:
        if value.lstrip().startswith("{"):
            raise ConfigError(_no_map(key, text)) from error
        return None
    if not isinstance(read, dict):
        return None
    values: dict[str, Any] = {}
    for key_, its in read.items():
        if its is None and ":" in key_:  # {a:x}, without the space that YAML asks for
            close = _CLOSE.fullmatch(key_)
            if close is None or f"'{key_}'" in value or f'"{key_}"' in value:
                raise ConfigError(_no_map(key, text))
            key_, its = close[1], yaml_file.parse(close[2], name)
        if key_ in values:
            raise ConfigError(f"{name}: the key '{key_}' stands twice; keep one of them.")
        values[key_] = its
    return values


def _by_hydra(key: str, value: str, text: str) -> object:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    try:
        parsed = OverridesParser.create().parse_override(f"{key}={value}")
        if parsed.is_sweep_override():
            raise ConfigError(_sweeps(text))
        values: Any = OmegaConf.to_container(OmegaConf.create({"value": parsed.value()}))
        return values["value"]
    except (HydraException, ValueError) as error:
        if is_map(hint_of(key)):
            raise ConfigError(_no_map(key, text)) from error
        raise ConfigError(_unreadable(text)) from error


def _no_map(key: str, text: str) -> str:
    return (f"override '{text}' cannot be read as a map; expected {key}={{'a name': value}}, "
            "with a space after each colon and quotes around a name of other signs than letters "
            "and digits.")


def _sweeps(text: str) -> str:
    return f"override '{text}' deletes or sweeps; expected key=value with one value."


def _unreadable(text: str) -> str:
    return f"override '{text}' cannot be read; expected key=value, as in training.epochs=2."
