"""What a training really takes, where that is not what the config asks for.

A retraining takes rank, batch size and the like from the champion's record, and a search replaces
what it searches. A record says what ran: these functions give the config that did.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace

from ftzard.config import effects
from ftzard.config.compose import DEFAULT, Resolved
from ftzard.config.effects import INSTEAD
from ftzard.config.pipeline import JOBS
from ftzard.config.schema import Config, Training

_PARAMS = ("learning_rate", "batch_size", "weight_decay", "rank", "dropout")


def retrained(config: Config, record: Mapping) -> Config:
    """Return the config that a retraining of the model with this record takes.

    Keys that an old record lacks stay as the config has them.
    """
    params = dict(record.get("params") or {})
    if "learning_rate" in params:
        params["learning_rate"] *= config.retraining.learning_rate_ratio
    values = {**_of_params(params), "epochs": config.retraining.epochs,
              "class_weights": ((record.get("recipe") or {}).get("training") or {}).get(
                  "class_weights")}
    return replace(config, training=replace(config.training, **values))


def made(config: Config, recipe: Mapping) -> Config:
    """Return the config with the values of `training` that a fit's recipe says it took."""
    known = {f.name for f in fields(Training)}
    values = {k: v for k, v in (recipe.get("training") or {}).items() if k in known}
    return replace(config, training=replace(
        config.training, **values, **_of_params(recipe.get("params") or {})))


def not_used(asked: Config, effective: Config, sources: Mapping[str, str]) -> dict[str, tuple]:
    """Return {key: (asked, taken)} of what somebody set and a retraining takes otherwise.

    Args:
        sources: Of the keys, as `Resolved` has them; packaged values were set by nobody.
    """
    differing = {}
    for key in INSTEAD:
        name = key.partition(".")[2]
        one, other = getattr(asked.training, name), getattr(effective.training, name)
        source = sources.get(key, DEFAULT)
        if one != other and source != DEFAULT and not source.startswith("preset "):
            differing[key] = (one, other)
    return differing


def sentence(key: str, values: tuple) -> str:
    """Return what is said of a value that a retraining does not use."""
    return f"{key}={values[0]} is not used: {INSTEAD[key].partition(';')[0]}, here {values[1]}"


def passed_over(resolved: Resolved, job: str, champion: Mapping | None) -> Iterator[str]:
    """Yield a sentence for every value that the workspace sets and a job does not use.

    Args:
        champion: Its record, where the job retrains it.
    """
    replaced = {} if champion is None else not_used(
        resolved.config, retrained(resolved.config, champion), resolved.sources)
    for key, value, why in effects.without_effect(resolved, job):
        if key in replaced:
            yield sentence(key, replaced[key])
        elif key not in effects.INSTEAD or "retraining" not in JOBS[job]:
            yield f"{key}={value} is not used: {why}"


def _of_params(params: Mapping) -> dict:
    values = {name: params[name] for name in _PARAMS if params.get(name) is not None}
    if params.get("alpha") is not None and params.get("rank"):
        values["alpha_ratio"] = params["alpha"] / params["rank"]
    return values
