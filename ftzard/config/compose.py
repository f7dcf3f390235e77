"""Resolve an experiment once: packaged files, then ftzard.yaml, then the overrides of this run.

A request is nested YAML of the same shape everywhere: `{"model": {"choice": "falcon_7b"},
"training": {"epochs": 2}, "overrides": ["tuning.trials=1"]}`. It comes from the workspace's
ftzard.yaml, from the Launchpad's `experiment` resource and from the command line. hydra composes
the groups and reads the override strings; the schema then refuses what it does not know.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import yaml

from ftzard.config import composed_file, own_choices
from ftzard.config.limits import problems
from ftzard.config.requests import leaves, read_request
from ftzard.config.schema import GROUPS, MAPS, Config, parse
from ftzard.config.search import is_packaged, settle_search
from ftzard.core import yaml_file
from ftzard.errors import ConfigError, nearest

PACKAGED = Path(__file__).parent
#: The workspace's own file, whose override strings are its own words too.
MARKER = "ftzard.yaml"


#: What a key's source is called where nobody chose its value, and where an override string did.
DEFAULT, OVERRIDE = "default", "override"


@dataclass(frozen=True)
class Resolved:
    """A config, and where each of its values comes from.

    Attributes:
        sources: Of every dotted key 'default', 'preset CHOICE', 'config/GROUP/CHOICE.yaml',
            'override' or the name of the request that gave it.
        choices: Of every group its choice and what chose it.
    """

    config: Config
    sources: dict[str, str]
    choices: dict[str, tuple[str, str]]


def compose(*requests: Mapping[str, Any], folder: Path | None = None) -> Config:
    """Return the config that the requests ask for, later requests over earlier ones.

    folder: a workspace's own `config/` with more choices for the groups, or None. Within one
    request a key may be given as a value and as an override string only if both agree.
    Raises ConfigError with one line per mistake.
    """
    return resolve(*requests, folder=folder).config


def resolve(*requests: Mapping[str, Any], folder: Path | None = None, names: Sequence[str] = ()
            ) -> Resolved:
    """Return what `compose` returns, and the source of each value.

    A model's `recipe` goes over values that are packaged defaults, and over no other.

    Args:
        names: What each request is called as a source, such as 'ftzard.yaml'; of one without a
            name it is 'request'.
    """
    choices: dict[str, str] = {}
    chosen_by: dict[str, str] = {}
    values: dict[str, object] = {}
    given_by: dict[str, str] = {}
    errors: list[str] = []
    layers: list[Mapping[str, object]] = []
    for number, request in enumerate(requests):
        name = names[number] if number < len(names) else "request"
        its_choices, its_values, overridden = read_request(request, errors)
        says = {key: OVERRIDE if key in overridden and name != MARKER else name
                for key in (*its_choices, *its_values)}
        layers.append(its_values)
        choices |= its_choices
        chosen_by |= {group: says[group] for group in its_choices}
        values = {k: v for k, v in values.items() if k not in its_values} | its_values
        given_by |= _given(its_values, says)
    chosen = _groups(choices, folder, errors)
    of_files = _labels(choices, folder)
    stale = _stale_revision(chosen["model"], layers, of_files)
    _apply_recipe(chosen, of_files, errors)
    merged = deepcopy(chosen)
    for key, value in values.items():
        _put(merged, key.split("."), value, key, errors)
    given = {key for group in ("training", "tuning") for key in leaves({group: merged[group]})
             if not is_packaged(_source(key, given_by, of_files))}
    given_by |= settle_search(merged, given)
    config = parse(Config, merged, "", errors)
    errors += stale
    if not errors:
        errors += problems(config)
    elif not _misfits(chosen):
        errors += problems(_understood(chosen, values))
    if errors:
        raise ConfigError("\n".join(dict.fromkeys(errors)))
    return Resolved(
        config, {key: _source(key, given_by, of_files) for key in leaves(to_record(config))},
        {group: (choices.get(group, packaged), chosen_by.get(group, DEFAULT))
         for group, packaged in defaults().items()})


def _given(values: Mapping[str, object], says: Mapping[str, str]) -> dict[str, str]:
    """Return the source of each key of a request, and of each map that it gives a key of."""
    sources = {key: says[key] for key in values}
    for key in values:
        whole = next((name for name in MAPS if key.startswith(f"{name}.")), None)
        if whole is not None and sources.get(whole) != OVERRIDE:
            sources[whole] = says[key]
    return sources


def _stale_revision(model: Mapping[str, Any], layers: Sequence[Mapping[str, object]],
                    of_files: Mapping[str, str]) -> list[str]:
    """Return a sentence if the revision was given for another source than the one that counts.

    model: the group as the files give it; layers: the dotted values of each request in turn.
    """
    source, revision = model.get("source"), model.get("revision")
    pinned = source
    labels = [_source(f"model.{name}", {}, of_files) for name in ("source", "revision")]
    if labels[0] != labels[1] and labels[1].startswith("preset "):
        preset = _groups({"model": labels[1].removeprefix("preset ")}, None, [])["model"]
        pinned = preset["source"]
    for values in layers:
        source = values.get("model.source", source)
        if "model.revision" in values:
            revision, pinned = values["model.revision"], source
    if revision is None or source is None or source == pinned:
        return []
    return [f"model.source is {source!r}, and model.revision is still {revision!r}, which belongs "
            f"to {pinned!r}; set model.revision too: a commit of {source}, or null for a folder."]


def _apply_recipe(chosen: dict[str, Any], of_files: dict[str, str], errors: list[str]) -> None:
    """Take the model's recipe out of its group and lay it over what the packaged defaults say.

    of_files: the source of what the files say; that of the recipe's values is changed.
    """
    recipe = chosen["model"].pop("recipe", None) or {}
    if not isinstance(recipe, Mapping):
        errors.append(f"model.recipe is {recipe!r}; expected groups of keys, such as training.")
        return
    for group, inner in recipe.items():
        if group == "model" or group not in GROUPS or not isinstance(inner, Mapping):
            errors.append(f"model.recipe has {group!r}: {inner!r}; expected another group than "
                          "model, with its keys.")
            continue
        for key, value in leaves({group: inner}).items():
            if _source(key, {}, of_files) == DEFAULT:
                _put(chosen, key.split("."), value, f"model.recipe.{key}", errors)
                of_files[key] = _source(f"model.recipe.{key}", {}, of_files)


def _labels(choices: Mapping[str, str], folder: Path | None) -> dict[str, str]:
    """Return the source of every group, and of each key that a workspace's own file says itself."""
    labels: dict[str, str] = {}
    for group, packaged in defaults().items():
        labels |= _labels_of(group, choices.get(group, packaged), packaged, folder)
    return labels


def _labels_of(group: str, choice: str, packaged: str, folder: Path | None) -> dict[str, str]:
    if (PACKAGED / group / f"{choice}.yaml").is_file():
        return {group: DEFAULT if choice == packaged else f"preset {choice}"}
    file = folder / group / f"{choice}.yaml" if folder else None
    label = f"config/{group}/{choice}.yaml"
    if file is None or not file.is_file():
        return {group: label}
    values = yaml_file.read(file) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{file} holds {values!r}; expected keys with values.")
    bases = values.pop("defaults", None) or []
    labels = {group: label}
    for base in bases:
        if isinstance(base, str) and base != "_self_":
            labels |= _labels_of(group, base, packaged, folder)
    recipe = values.pop("recipe", None)
    within = leaves(recipe) if isinstance(recipe, Mapping) else ()
    own = [*leaves({group: values}), *(f"{group}.recipe.{key}" for key in within)]
    return labels | dict.fromkeys(own, label)


def _source(key: str, given_by: Mapping[str, str], of_files: Mapping[str, str]) -> str:
    """Return the source of a key: what a request gave, or else what the files say."""
    for labels in (given_by, of_files):
        inside = key
        while inside:
            if inside in labels:
                return labels[inside]
            inside = inside.rpartition(".")[0]
    return DEFAULT


def _misfits(values: dict[str, Any]) -> list[str]:
    """Return a sentence for everything in nested values that the schema does not take."""
    errors: list[str] = []
    parse(Config, values, "", errors)
    return errors


def _understood(chosen: dict[str, Any], values: Mapping[str, object]) -> Config:
    """Return the config of those values that can be read, to hold their limits against them too."""
    for key, value in values.items():
        tried = deepcopy(chosen)
        wrong: list[str] = []
        _put(tried, key.split("."), value, key, wrong)
        parse(Config, tried, "", wrong)
        if not wrong:
            chosen = tried
    return parse(Config, chosen, "", [])


def from_record(values: Mapping[str, Any]) -> Config:
    """Return the config that a run's record holds (the inverse of `to_record`).

    A key that did not exist yet when the record was made has its packaged default: what runs did
    before there was a choice. Where a default has changed since, it has that of before.
    """
    errors: list[str] = []
    config = parse(Config, dict(values), "", errors)
    if errors:
        errors, packaged = [], _groups({}, None, [])
        packaged["model"].pop("recipe", None)  # before there were recipes, defaults were for all
        packaged["tuning"]["metric"] = "accuracy"
        config = parse(Config, _filled(values, packaged), "", errors)
    if errors:
        raise ConfigError("the recorded config does not fit this version:\n" + "\n".join(errors))
    return config


def _filled(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return values, and the defaults of keys that they lack, in groups as well."""
    return {**defaults, **{
        key: _filled(value, defaults[key])
        if isinstance(value, Mapping) and isinstance(defaults.get(key), Mapping) else value
        for key, value in values.items()}}


def to_record(config: Config) -> dict[str, Any]:
    """Return the config as plain nested values, ready for JSON or YAML."""
    return asdict(config)


def digest(config: Config) -> str:
    """Return the first 16 hex of the SHA-256 of the resolved config."""
    text = json.dumps(to_record(config), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Return nested values under dotted keys: {'training.epochs': 2, …}.

    What a user names stays one value, as JSON: labels and sources are no names of parameters.
    """
    leaves: dict[str, object] = {}
    for key, value in values.items():
        if f"{prefix}{key}" in MAPS and isinstance(value, Mapping):
            leaves[f"{prefix}{key}"] = json.dumps(value, sort_keys=True, ensure_ascii=False)
        elif isinstance(value, Mapping) and value:
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def available(group: str, folder: Path | None = None) -> list[str]:
    """Return the choices that a group has, packaged and of the workspace."""
    places = [PACKAGED / group] + ([folder / group] if folder else [])
    return sorted({p.stem for place in places for p in place.glob("*.yaml")})


def defaults() -> dict[str, str]:
    """Return the packaged choice of every group."""
    listed = yaml.safe_load((PACKAGED / "config.yaml").read_text())["defaults"]
    return {k: v for entry in listed if isinstance(entry, dict) for k, v in entry.items()}


def _groups(choices: Mapping[str, str], folder: Path | None, errors: list[str]) -> dict[str, Any]:
    """Return what the packaged files and the workspace's say; an unknown choice is passed over."""
    overrides = []
    for group, choice in choices.items():
        valid = available(group, folder)
        if choice in valid and "${" not in choice:  # which OmegaConf would replace by a value
            overrides.append(f"{group}={_quoted(choice)}")
        else:
            errors.append(f"{group}: there is no choice '{choice}'{nearest(choice, valid)}")
    with own_choices.copied(folder, PACKAGED) as (own, meant):
        if own is None:
            return deepcopy(composed_file.composed(
                tuple(overrides), PACKAGED, folder,
                lambda: _composed(tuple(overrides), str(PACKAGED))))
        searched = f"hydra.searchpath=[{_quoted(f'file://{own}')}]"
        composed = _composed.__wrapped__((*overrides, searched), str(PACKAGED))
        return cast(dict[str, Any], own_choices.restored(composed, meant))


def _quoted(text: str) -> str:
    """Return a text as hydra's grammar reads it back: nothing in it is an operator."""
    text = re.sub(r"(\\*)('|$)", r"\1\1\2", text).replace("'", "\\'")
    return f"'{text}'"


@lru_cache(maxsize=64)
def _composed(overrides: tuple[str, ...], packaged: str) -> dict[str, Any]:
    """Return what hydra makes of the files; the packaged ones stay the same while we run."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=packaged, version_base="1.3"):
        try:
            composed = hydra_compose(config_name="config", overrides=list(overrides))
            return cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True))
        except (HydraException, OmegaConfBaseException) as error:
            chosen = [text for text in overrides if not text.startswith("hydra.")]
            raise ConfigError(f"the choices {', '.join(chosen)} do not compose: "
                              f"{' '.join(str(error).split())}") from error


def _put(merged: dict[str, Any], parts: list[str], value: object, key: str, errors: list[str]
         ) -> None:
    for depth, part in enumerate(parts[:-1]):
        inside = merged.get(part)
        if not isinstance(inside, dict):
            if part not in merged:
                path = ".".join(parts[: depth + 1])
                errors.append(f"unknown key '{path}' in '{key}'{nearest(part, merged)}")
                return
            inside = merged[part] = {}
        merged = inside
    known = parts[-1] in merged or len(parts) > 2
    if not known:
        inside = key.rpartition(".")[0]
        hint = nearest(parts[-1], merged)
        if inside:  # the whole key, as it is to be typed
            hint = hint.replace("mean '", f"mean '{inside}.")
        errors.append(f"unknown key '{key}'{hint}")
        return
    merged[parts[-1]] = deepcopy(value)  # which a key within it may change
