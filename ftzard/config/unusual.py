"""A check of learning rates that are far from those of the model's preset."""

from collections.abc import Iterable

from ftzard.config.compose import Resolved, available, compose
from ftzard.config.schema import Config
from ftzard.config.search import is_packaged
from ftzard.errors import ConfigError

#: How far outside the usual range a learning rate stops a run.
FACTOR = 10
#: The step that trains with the config's learning rate; a retraining has the champion's.
STEP = "tuning"


def warnings(resolved: Resolved, steps: Iterable[str]) -> list[str]:
    """Return a sentence for each learning rate of these steps outside the preset's range.

    And one if the preset knows no range, and nobody gave a learning rate or has it searched.
    """
    steps, training, tuning = tuple(steps), resolved.config.training, resolved.config.tuning
    searched = tuning.trials > 1 and len(set(tuning.learning_rate or ())) > 1
    if STEP in steps and _usual(resolved) is None and not searched \
            and is_packaged(resolved.sources.get("training.learning_rate", "")):
        return [f"preset {resolved.choices['model'][0]} does not know which learning rate suits "
                f"this base; training.learning_rate={training.learning_rate:g} is a guess. Take "
                "that of its model card, or search with tuning.trials=4."]
    return [sentence for sentence, _ in _outside(resolved, steps)]


def require_usual(resolved: Resolved, steps: Iterable[str]) -> None:
    """Raise ConfigError for a learning rate FACTOR times outside the preset's range."""
    if resolved.config.training.allow_unusual:
        return
    far = [sentence for sentence, factor in _outside(resolved, steps) if factor >= FACTOR]
    if far:
        raise ConfigError("\n".join(far) + "\nTake a value within the range, or say that it is "
                          "meant: training.allow_unusual=true.")


def _outside(resolved: Resolved, steps: Iterable[str]) -> list[tuple[str, float]]:
    """Return (sentence, factor) of each learning rate outside the preset's range."""
    config, usual = resolved.config, _usual(resolved)
    if usual is None or STEP not in steps:
        return []
    low, high = usual
    choice = resolved.choices["model"][0]
    preset = f"preset {choice}" + (
        "" if config.model.name == choice else f" (model.name={config.model.name})")
    sentences = []
    for key, value in _learning_rates(config):
        factor = max(value / high, low / value)
        if factor > 1:
            where = "above" if value > high else "below"
            source = resolved.sources.get(key, "")
            sentences.append((
                f"{key} is {value:g}{f' ({source})' if source else ''}, {factor:.3g} times {where} "
                f"the range that is usual for {preset}, {low:g} to {high:g}.", factor))
    return sentences


def _usual(resolved: Resolved) -> list[float] | None:
    """Return the usual range of learning rates for the base, None if unknown.

    A null that somebody set takes no preset's range away: a stop is only lifted by its own key.
    """
    usual, choice = resolved.config.training.learning_rate_range, resolved.choices["model"][0]
    if usual is not None or is_packaged(resolved.sources.get("training.learning_rate_range", "")):
        return usual
    if choice not in available("model"):
        return None
    return compose({"model": choice}).training.learning_rate_range


def _learning_rates(config: Config) -> list[tuple[str, float]]:
    """Return (key, value) of the possible learning rates; of a search space, its ends."""
    space = config.tuning.learning_rate
    if not space:
        return [("training.learning_rate", config.training.learning_rate)]
    return [("tuning.learning_rate", value) for value in dict.fromkeys(space)]
