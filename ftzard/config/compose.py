"""Resolve an experiment once: packaged files, then ftzard.yaml, then what this run was told.

A request is nested YAML of the same shape everywhere: `{"model": {"choice": "falcon_7b"},
"training": {"epochs": 2}, "overrides": ["tuning.trials=1"]}`. It comes from the workspace's
ftzard.yaml, from the Launchpad's `experiment` resource and from the command line. hydra composes
the groups and reads the override strings; the schema then refuses what it does not know.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path

import yaml

from ftzard.config.schema import GROUPS, PARTS, Config, parse, problems
from ftzard.errors import ConfigError, nearest

#: Keys whose value is a map from names that a user chose.
USER_NAMED = ("data.labels", "data.mix", "training.class_weights")
PACKAGED = Path(__file__).parent


def compose(*requests: Mapping, folder: Path | None = None) -> Config:
    """Return the config that the requests ask for, later requests over earlier ones.

    folder: a workspace's own `config/` with more choices for the groups, or None. Within one
    request a key may be said as a value and as an override string only if both agree.
    Raises ConfigError with one line per mistake.
    """
    choices: dict[str, str] = {}
    values: dict[str, object] = {}
    found: list[str] = []
    for request in requests:
        its_choices, its_values = _read(request, found)
        choices |= its_choices
        values = {k: v for k, v in values.items() if k not in its_values} | its_values
    chosen = _groups(choices, folder, found)
    merged = deepcopy(chosen)
    for key, value in values.items():
        _put(merged, key.split("."), value, key, found)
    config = parse(Config, merged, "", found)
    found += problems(_understood(chosen, values) if found else config)
    if found:
        raise ConfigError("\n".join(dict.fromkeys(found)))
    return config


def _understood(chosen: dict, values: Mapping[str, object]) -> Config:
    """Return the config of those values that can be read, to hold their limits against them too."""
    for key, value in values.items():
        tried, wrong = deepcopy(chosen), []
        _put(tried, key.split("."), value, key, wrong)
        parse(Config, tried, "", wrong)
        if not wrong:
            chosen = tried
    return parse(Config, chosen, "", [])


def from_record(values: Mapping) -> Config:
    """Return the config that a run's record holds (the inverse of `to_record`).

    A key that did not exist yet when the record was made has its packaged default: what runs did
    before there was a choice.
    """
    found: list[str] = []
    config = parse(Config, dict(values), "", found)
    if found:
        found = []
        config = parse(Config, _filled(values, _groups({}, None, found)), "", found)
    if found:
        raise ConfigError("the recorded config does not fit this version:\n" + "\n".join(found))
    return config


def _filled(values: Mapping, defaults: Mapping) -> dict:
    """Return values, and the defaults of keys that they lack, in groups as well."""
    return {**defaults, **{
        key: _filled(value, defaults[key])
        if isinstance(value, Mapping) and isinstance(defaults.get(key), Mapping) else value
        for key, value in values.items()}}


def to_record(config: Config) -> dict:
    """Return the config as plain nested values, ready for JSON or YAML."""
    return asdict(config)


def digest(config: Config) -> str:
    """Return the first 16 hex of the SHA-256 of the resolved config."""
    text = json.dumps(to_record(config), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def flat(values: Mapping, prefix: str = "") -> dict[str, object]:
    """Return nested values under dotted keys: {'training.epochs': 2, …}.

    What a user names stays one value, as JSON: labels and sources are no names of parameters.
    """
    found: dict[str, object] = {}
    for key, value in values.items():
        if f"{prefix}{key}" in USER_NAMED and isinstance(value, Mapping):
            found[f"{prefix}{key}"] = json.dumps(value, sort_keys=True, ensure_ascii=False)
        elif isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def available(group: str, folder: Path | None = None) -> list[str]:
    """Return the choices that a group has, packaged and of the workspace."""
    places = [PACKAGED / group] + ([folder / group] if folder else [])
    return sorted({p.stem for place in places for p in place.glob("*.yaml")})


def defaults() -> dict[str, str]:
    """Return the packaged choice of every group."""
    listed = yaml.safe_load((PACKAGED / "config.yaml").read_text())["defaults"]
    return {k: v for entry in listed if isinstance(entry, dict) for k, v in entry.items()}


def _read(request: Mapping, found: list[str]) -> tuple[dict[str, str], dict[str, object]]:
    """Split a request into choices and dotted values.

    A sentence is added to `found` for each override that cannot be read or says otherwise.
    """
    choices: dict[str, str] = {}
    values: dict[str, object] = {}
    for key, value in request.items():
        if key == "overrides" or value is None and key in GROUPS:
            continue
        if key in GROUPS and isinstance(value, Mapping):
            inner = dict(value)
            if inner.get("choice") is not None:
                choices[key] = str(inner["choice"])
            inner.pop("choice", None)
            for k, v in inner.items():
                values |= _leaves(f"{key}.{k}", v)
        elif key in GROUPS:
            choices[key] = str(value)
        else:
            values[key] = value
    said = {**choices, **values}
    for text in request.get("overrides") or []:
        try:
            leaves = _leaves(*_override(text))
        except ConfigError as error:
            found.append(str(error))
            continue
        for key, value in leaves.items():
            if key in said and said[key] != value:
                found.append(
                    f"'{key}' is said twice: {said[key]!r} and, as the override '{text}', "
                    f"{value!r}; keep one of them."
                )
            said[key] = value
            if key in GROUPS:
                choices[key] = str(value)
            else:
                values[key] = value
    return choices, values


def _leaves(key: str, value: object) -> dict[str, object]:
    """Return a value under dotted keys; a part of a group (model.build) is taken key by key."""
    if key in PARTS and isinstance(value, Mapping):
        return {f"{key}.{k}": v for k, v in value.items()}
    return {key: value}


def _override(text: str) -> tuple[str, object]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    try:
        parsed = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise ConfigError(_unreadable(text)) from error
    if not parsed.key_or_group:
        raise ConfigError(_unreadable(text))
    if parsed.is_delete() or parsed.is_sweep_override():
        raise ConfigError(
            f"override '{text}' deletes or sweeps; expected key=value with one value."
        )
    value = OmegaConf.create({"value": parsed.value()})
    return parsed.key_or_group, OmegaConf.to_container(value)["value"]


def _unreadable(text: str) -> str:
    return f"override '{text}' cannot be read; expected key=value, as in training.epochs=2."


def _quoted(text: str) -> str:
    """Return a text as hydra's grammar reads it back: nothing in it is an operator."""
    text = re.sub(r"(\\*)('|$)", r"\1\1\2", text).replace("'", "\\'")
    return f"'{text}'"


def _groups(choices: Mapping[str, str], folder: Path | None, found: list[str]) -> dict:
    """Return what the packaged files and the workspace's say; an unknown choice is passed over."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    overrides = []
    for group, choice in choices.items():
        valid = available(group, folder)
        if choice in valid and "${" not in choice:  # which OmegaConf would replace by a value
            overrides.append(f"{group}={_quoted(choice)}")
        else:
            found.append(f"{group}: there is no choice '{choice}'{nearest(choice, valid)}")
    if folder and folder.is_dir():
        overrides.append(f"hydra.searchpath=[{_quoted(f'file://{folder}')}]")
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(PACKAGED), version_base="1.3"):
        composed = hydra_compose(config_name="config", overrides=overrides)
    return OmegaConf.to_container(composed, resolve=True)


def _put(merged: dict, parts: list[str], value: object, key: str, found: list[str]) -> None:
    for depth, part in enumerate(parts[:-1]):
        inside = merged.get(part)
        if not isinstance(inside, dict):
            if part not in merged:
                path = ".".join(parts[: depth + 1])
                found.append(f"unknown key '{path}' in '{key}'{nearest(part, merged)}")
                return
            inside = merged[part] = {}
        merged = inside
    known = parts[-1] in merged or len(parts) > 2
    if not known:
        inside = key.rpartition(".")[0]
        hint = nearest(parts[-1], merged)
        if inside:  # the whole key, as it is to be typed
            hint = hint.replace("mean '", f"mean '{inside}.")
        found.append(f"unknown key '{key}'{hint}")
        return
    merged[parts[-1]] = value
