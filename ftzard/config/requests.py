"""What a request says: its choices and values, under dotted keys.

Nothing is composed here, and nothing loads hydra.
"""

from collections.abc import Mapping
from typing import Any

from ftzard.config.overrides import parse_override
from ftzard.config.schema import GROUPS, PARTS, hint_of, parse
from ftzard.errors import ConfigError


def leaves(values: Mapping[str, Any]) -> dict[str, object]:
    """Return nested values under the dotted keys of the schema; maps that are values stay whole."""
    leaves_by_key: dict[str, object] = {}
    for name, value in values.items():
        if name in GROUPS and isinstance(value, Mapping):
            for key, inner in value.items():
                leaves_by_key |= leaves_of(f"{name}.{key}", inner)
        else:
            leaves_by_key[name] = value
    return leaves_by_key


def stated(request: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, object]]:
    """Return the choice of each group and the dotted values that a request itself gives.

    Nothing is composed, and nothing loads hydra. Raises ConfigError, a line per mistake.
    """
    errors: list[str] = []
    choices, values, _ = read_request(request, errors)
    if errors:
        raise ConfigError("\n".join(errors))
    return choices, values


def read_request(request: Mapping[str, Any], errors: list[str]
                 ) -> tuple[dict[str, str], dict[str, object], set[str]]:
    """Split a request into choices, dotted values, and the keys that an override string gives.

    A sentence is added to `errors` for each override that cannot be read, and for each key that is
    given another value before: as an override, dotted, nested, or with the map that it is in.
    """
    overridden: set[str] = set()
    choices: dict[str, str] = {}
    values: dict[str, object] = {}
    of_overrides: dict[str, object] = {}

    def take(key: str, value: object, override: str | None = None) -> None:
        words = repr(value) if override is None else f"as the override '{override}', {value!r}"
        for other, earlier in of_overrides.items():
            if not _agree(key, value, other, earlier):
                which = f"'{key}' is given twice: " if other == key else (
                    f"'{key}' and '{other}' are both given: ")
                errors.append(f"{which}{earlier!r} and{',' if override else ''} {words}; keep one "
                              "of them.")
        of_overrides[key] = value
        if key in GROUPS:
            choices[key] = str(value)
        else:
            values[key] = value

    for key, value in request.items():
        if key == "overrides" or value is None and key in GROUPS:
            continue
        if key in GROUPS and isinstance(value, Mapping):
            inner = dict(value)
            choice = inner.pop("choice", None)
            if choice is not None:
                take(key, str(choice))
            for name, within in inner.items():
                for leaf, its in leaves_of(f"{key}.{name}", within).items():
                    take(leaf, its)
        elif key in GROUPS:
            take(key, str(value))
        else:
            for leaf, its in leaves_of(key, value).items():
                take(leaf, its)
    asked = request.get("overrides") or []
    if not isinstance(asked, (list, tuple)):
        errors.append(f"overrides is {asked!r}; expected a list, as in [training.epochs=2].")
        asked = []
    for text in asked:
        try:
            leaves = leaves_of(*parse_override(text))
        except ConfigError as error:
            errors.append(str(error))
            continue
        for key, value in leaves.items():
            take(key, value, text)
            overridden.add(key)
    return choices, values, overridden


def _agree(key: str, value: object, other: str, its: object) -> bool:
    """Return whether two keys of one request can both hold: one may lie within the other."""
    if key == other:
        return value == its
    if other.startswith(f"{key}."):  # the longer one first
        key, value, other, its = other, its, key, value
    if other in GROUPS or not key.startswith(f"{other}."):  # a group's choice is no value
        return True
    name = key[len(other) + 1:]
    return isinstance(its, Mapping) and name in its and its[name] == value


def typed(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request with its values as the schema's types, where they can be read so.

    For whoever checks them by types of its own: `yes` is a boolean in a key that wants one.
    """
    def of(key: str, value: object) -> object:
        if isinstance(value, Mapping) and (key in GROUPS or key in PARTS):
            return {name: of(f"{key}.{name}", inner) for name, inner in value.items()}
        misfits: list[str] = []
        hint = hint_of(key)
        typed_value = value if hint is None or key in GROUPS else parse(hint, value, key, misfits)
        return value if misfits else typed_value

    return {name: of(str(name), value) for name, value in request.items()}


def leaves_of(key: str, value: object) -> dict[str, object]:
    """Return a value under dotted keys; a part of a group (model.build) is taken key by key."""
    if key in PARTS and isinstance(value, Mapping):
        return {f"{key}.{k}": v for k, v in value.items()}
    return {key: value}
