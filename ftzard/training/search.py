"""The search for good hyperparameters: trials on one shared base, ranked on validation rows only.

Each trial has an adapter of its own, attached before and taken off after, and all begin with the
same seed, so that only their values tell them apart. The first trial may take given values, so that
no search ends below them on validation. The next ones are points of a low-discrepancy sequence:
few random draws often lie side by side. From the tenth trial on TPE proposes. Everything is
seeded: the same search on the same rows proposes and finds the same.
"""

import math
import numbers
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
import optuna
import pandas
from scipy.stats import qmc

from ftzard.config.training_config import ADAPTER_ONLY, TrainingConfig
from ftzard.errors import ModelError, nearest
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.inference import Progress
from ftzard.training.ended_fits import EndedFits
from ftzard.training.fit import Fitted, fit
from ftzard.training.objective import LOWER, TrainedTask, better
from ftzard.training.trainer import Trained

RANGES = {"learning_rate": True, "weight_decay": False, "dropout": False}
CHOICES = ("rank", "batch_size")
#: Trials whose values are set beforehand; TPE learns from them. All, if the space is finite.
STARTUP = 10
#: Least distance of two of them, where each searched range has length 1.
APART = 0.25


@dataclass(frozen=True)
class Proposed:
    """A trial that is about to be trained: its number, its values, and all it is trained with."""

    number: int
    params: dict
    config: TrainingConfig


@dataclass(frozen=True)
class Ended:
    """An earlier trial as pruning looks at it: its metric at the end and after each epoch."""

    value: float
    epochs: dict[int, float]


#: Trains trials that were proposed together and returns what came out, in their order. Gets the
#: trials and, where pruning looks at them, those that had ended when they were proposed.
FitGroup = Callable[[Sequence[Proposed], Sequence[Ended] | None], Iterable[Fitted]]


@dataclass
class Trial:
    """One trial: number (from 0), its values, its history, where its adapter is.

    Attributes:
        params: learning_rate, batch_size, weight_decay and, of an adapter, rank, alpha and
            dropout.
        recipe: All it was made with, for the model's record.
        peak: As for `fit`, in bytes.
    """

    number: int
    params: dict
    trained: Trained
    folder: Path
    recipe: dict
    peak: int | None = None

    @property
    def metrics(self) -> dict:
        """The entry of the epoch whose weights were kept."""
        return self.trained.best


def search(
    loaded: LoadedBase,
    train_rows: pandas.DataFrame,
    validation_rows: pandas.DataFrame,
    *,
    task: TrainedTask,
    config: TrainingConfig,
    space: dict,
    trials: int,
    folder: Path,
    extra: dict | None = None,
    checkpoints: Path | None = None,
    checkpoint_steps: int = 0,
    results: EndedFits | None = None,
    force: bool = False,
    prune: bool = False,
    parallel: int = 1,
    fit_group: FitGroup | None = None,
    on_trial_start: Callable[[int, dict], object] | None = None,
    on_step: Progress | None = None,
    on_epoch: Callable[[dict], object] | None = None,
    on_trial_end: Callable[[Trial], object] | None = None,
) -> list[Trial]:
    """Return the trials, best first; equal ones by number.

    Args:
        loaded: The base that all trials share.
        train_rows: As for `fit`.
        validation_rows: Rows by which the trials are ranked.
        task: What the rows are for.
        config: What every trial is trained with but for `space`; the first trial takes its values,
            each that is within its entry of `space`. alpha keeps its ratio to the rank.
        space: rank and batch_size as lists of choices, learning_rate (drawn on a log scale),
            weight_decay and dropout as [lowest, highest]; any of them as one value to fix it.
        trials: How many.
        folder: Gets `trial_<number>` per trial.
        extra: Goes into each adapter's ftzard.json.
        checkpoints: As for `fit`, so that a search that was cut off goes on in the trial it was in.
        checkpoint_steps: As for `fit`.
        results: As for `fit`, so that a search that was widened keeps the trials it has.
        force: As for `fit`.
        prune: Stop a trial that, from its second epoch on, is below the median of the earlier
            trials at the same epoch; earlier are those that had ended when it was proposed.
        parallel: How many trials are proposed together, before any of them has ended.
        fit_group: Trains what is proposed together elsewhere; default: here, one after the other.
        on_trial_start: Called with the number and the values of a trial.
        on_step: As for `train`.
        on_epoch: As for `train`.
        on_trial_end: Called with the trial.

    Raises:
        ModelError: For an unknown metric, an unknown or empty entry of `space`, and for more trials
            than it has points.
    """
    metric, seed = config.metric, config.seed
    if metric not in task.metrics:
        raise ModelError(f"tuning.metric is '{metric}'{nearest(metric, task.metrics)}")
    if trials < 1:
        raise ModelError(f"tuning.trials is {trials}; expected at least 1.")
    check_space(space)
    first = {name: getattr(config, name) for name in space}
    if config.method == "full":
        space = {name: value for name, value in space.items() if name not in ADAPTER_ONLY}
    require_points(space, trials)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _study(metric, prune, optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP))
    startup = trials if points(space) < math.inf else min(trials, STARTUP)
    for values in startup_points(space, startup, seed, first):
        study.enqueue_trial(values)

    def fit_here(group: Sequence[Proposed], ended: Sequence[Ended] | None) -> Iterator[Fitted]:
        for one in group:
            if on_trial_start is not None:
                on_trial_start(one.number, dict(one.params))
            yield fit(
                loaded, train_rows, validation_rows, task=task, config=one.config,
                folder=Path(folder) / f"trial_{one.number}", extra=extra, checkpoints=checkpoints,
                checkpoint_steps=checkpoint_steps, results=results, force=force,
                stop=pruner(ended, metric), on_step=on_step, on_epoch=on_epoch)

    done: list[Trial] = []
    for begin in range(0, trials, parallel):
        asked = [(number, study.ask()) for number in range(begin, min(begin + parallel, trials))]
        group = []
        for number, proposal in asked:
            params = _propose(proposal, space)
            if "rank" in params:
                params["alpha"] = config.alpha / config.rank * params["rank"]
            group.append(Proposed(number, params, config.with_params(params)))
        ended = _ended(study) if prune else None
        for (number, proposal), one, fitted in zip(
                asked, group, (fit_group or fit_here)(group, ended), strict=True):
            trial = Trial(
                number, one.params, fitted.trained, fitted.folder, fitted.recipe, fitted.peak)
            _report(proposal, trial.trained.history, metric)
            if trial.trained.pruned:
                study.tell(proposal, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(proposal, trial.metrics[metric])
            done.append(trial)
            if on_trial_end is not None:
                on_trial_end(trial)
    return rank_trials(done, metric)


def rank_trials(trials: Sequence[Trial], metric: str) -> list[Trial]:
    """Return the trials, best first, by `metric` on validation; the earlier wins a tie.

    Those that were pruned come last: what they would have become is not known.
    """
    ranked: list[Trial] = []
    for trial in sorted(trials, key=lambda trial: trial.trained.pruned):
        place = next(
            (i for i, other in enumerate(ranked) if trial.trained.pruned == other.trained.pruned
             and better(trial.metrics, other.metrics, metric)),
            len(ranked),
        )
        ranked.insert(place, trial)
    return ranked


def _study(metric: str, prune: bool, sampler: optuna.samplers.BaseSampler | None = None
           ) -> optuna.Study:
    return optuna.create_study(
        direction="minimize" if metric in LOWER else "maximize", sampler=sampler,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=2)
        if prune else optuna.pruners.NopPruner())


def _ended(study: optuna.Study) -> list[Ended]:
    """Return the trials of a study that were not pruned, as pruning looks at them."""
    return [Ended(trial.value, dict(trial.intermediate_values)) for trial in study.trials
            if trial.state == optuna.trial.TrialState.COMPLETE]


def pruner(ended: Sequence[Ended] | None, metric: str) -> Callable[[list[dict]], bool] | None:
    """Return what says, from a trial's history, whether to stop it; None without pruning.

    Args:
        ended: The earlier trials, None without pruning.
    """
    if ended is None:
        return None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _study(metric, prune=True)
    for trial in ended:
        study.add_trial(optuna.trial.create_trial(
            state=optuna.trial.TrialState.COMPLETE, value=trial.value,
            intermediate_values=dict(trial.epochs)))
    proposal = study.ask()
    pruned: dict[int, bool] = {}  # by epoch: a fit that is read back may be asked for twice

    def stop(history: list[dict]) -> bool:
        for entry in history:
            if entry["epoch"] not in pruned:
                proposal.report(entry[metric], entry["epoch"])
                pruned[entry["epoch"]] = proposal.should_prune()
        return pruned[history[-1]["epoch"]]

    return stop


def _report(proposal: optuna.trial.Trial, history: list[dict], metric: str) -> None:
    """Have a study know a trial's epochs; those that it knows already stay as they are."""
    known = proposal.study.trials[proposal.number].intermediate_values
    for entry in history:
        if entry["epoch"] not in known:
            proposal.report(entry[metric], entry["epoch"])


def check_space(space: dict) -> None:
    """Raise ModelError unless `space` has every entry, each one value, choices or a range."""
    valid = (*CHOICES, *RANGES)
    for name in space:
        if name not in valid:
            raise ModelError(f"tuning.space has '{name}'{nearest(name, valid)}")
    for name in valid:
        if name not in space:
            raise ModelError(
                f"tuning.space lacks '{name}'; expected one value, or "
                f"{'a list of choices' if name in CHOICES else '[lowest, highest]'}."
            )
        value = space[name]
        if _is_number(value):
            continue
        good = len(value) >= 1 and all(_is_number(v) for v in value)
        if name in RANGES:
            good = good and len(value) == 2 and 0 <= value[0] <= value[1]
            good = good and not (RANGES[name] and value[0] <= 0)
        if not good:
            raise ModelError(
                f"tuning.space.{name} is {value!r}; expected one number, or "
                + (
                    "a list of numbers."
                    if name in CHOICES
                    else "[lowest, highest]" + (" above 0." if RANGES[name] else ".")
                )
            )


def points(space: dict) -> float:
    """Return how many different trials a checked space allows; infinite with an open range."""
    count = 1.0
    for name, value in _searched(space).items():
        count *= len(set(value)) if name in CHOICES else math.inf
    return count


def require_points(space: dict, trials: int) -> None:
    """Raise ModelError if some of the trials would have to repeat another's values."""
    count = points(space)
    if trials > count:
        raise ModelError(
            f"tuning.trials is {trials}, but the search space has {count:.0f} different "
            f"{'set' if count == 1 else 'sets'} of values; expected at most {count:.0f}. Set "
            f"tuning.trials={count:.0f}, or give a wider space, such as "
            "tuning.learning_rate=[0.001,0.004].")


def startup_points(space: dict, count: int, seed: int, first: dict) -> list[dict]:
    """Return the values of the first trials, at least APART from each other where there is room.

    Args:
        space: Checked, as for `search`.
        first: Values of the first of them, each used if it is within its entry of the space.
    """
    searched = _searched(space)
    if not searched:
        return []
    draws = qmc.Halton(len(searched), rng=numpy.random.default_rng(seed)).random(64 * count)
    proposals = [{name: _value(name, searched[name], at)
                  for name, at in zip(searched, draw, strict=True)} for draw in draws]
    given = {name: first[name] for name, values in searched.items()
             if _place(name, values, first.get(name)) is not None}
    chosen = [proposals[0] | given]
    for least in (APART, APART / 4, 0):
        for proposal in proposals:
            apart = min(_distance(proposal, other, searched) for other in chosen)
            if len(chosen) < count and apart > least:
                chosen.append(proposal)
    return chosen


def _distance(one: dict, other: dict, searched: dict) -> float:
    return math.dist(*([_place(name, values, trial[name]) for name, values in searched.items()]
                       for trial in (one, other)))


def _searched(space: dict) -> dict:
    """Return the entries of a space that have more than one value, the learning rate first."""
    order = sorted((*CHOICES, *RANGES), key=lambda name: name != "learning_rate")
    return {name: space[name] for name in order
            if name in space and not _is_number(space[name]) and len(set(space[name])) > 1}


def _value(name: str, values: Sequence, at: float) -> float:
    """Return the value at a place from 0 to 1 of a space's entry."""
    if name in CHOICES:
        ordered = sorted(set(values))
        return ordered[min(int(at * len(ordered)), len(ordered) - 1)]
    low, high = values
    if RANGES[name]:
        return float(min(max(low * (high / low) ** at, low), high))
    return float(min(max(low + at * (high - low), low), high))


def _place(name: str, values: Sequence, value: float | None) -> float | None:
    """Return where a value is within a space's entry, from 0 to 1; None if it is not."""
    if value is None:
        return None
    if name in CHOICES:
        ordered = sorted(set(values))
        return ordered.index(value) / (len(ordered) - 1) if value in ordered else None
    low, high = values
    if not low <= value <= high:
        return None
    if RANGES[name]:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _propose(proposal: optuna.trial.Trial, space: dict) -> dict:
    params = {}
    for name in (name for name in (*CHOICES, *RANGES) if name in space):
        value = space[name]
        if _is_number(value):
            params[name] = value
        elif name in CHOICES:
            params[name] = proposal.suggest_categorical(name, list(value))
        else:
            params[name] = proposal.suggest_float(name, *value, log=RANGES[name])
    return params
