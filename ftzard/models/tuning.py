"""The search for good hyperparameters: trials on one shared base, ranked on validation rows only.

Each trial has an adapter of its own, attached before and taken off after, and all begin with the
same seed, so that only their values tell them apart. The sampler is seeded too: the same search on
the same rows proposes and finds the same.
"""

import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import pandas

from ftzard.errors import ModelError, nearest
from ftzard.models.adapter import read_meta
from ftzard.models.base import LoadedBase
from ftzard.models.fitting import fit
from ftzard.models.objectives import LOWER, METRICS, better
from ftzard.models.prediction import Progress
from ftzard.models.training import Trained

RANGES = {"learning_rate": True, "weight_decay": False, "dropout": False}
CHOICES = ("rank", "batch_size")
#: What only an adapter has, so that the method 'full' does not search it.
ADAPTER_ONLY = ("rank", "dropout")


@dataclass
class Trial:
    """One trial: number (from 0), its values, its history, where its adapter is.

    params: learning_rate, batch_size, weight_decay and, of an adapter, rank, alpha and dropout;
    recipe: all it was made with, for the model's record; peak: as for `fit`, in bytes.
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
    space: dict,
    trials: int,
    metric: str,
    seed: int,
    training: dict,
    folder: Path,
    alpha_ratio: float = 2.0,
    train_embeddings: bool = False,
    start_from: Path | None = None,
    extra: dict | None = None,
    checkpoints: Path | None = None,
    checkpoint_steps: int = 0,
    prune: bool = False,
    on_trial_start: Callable[[int, dict], object] | None = None,
    on_step: Progress | None = None,
    on_epoch: Callable[[dict], object] | None = None,
    on_trial_end: Callable[[Trial], object] | None = None,
) -> list[Trial]:
    """Return the trials, best first; equal ones by number.

    space: rank and batch_size as lists of choices, learning_rate (drawn on a log scale),
    weight_decay and dropout as [lowest, highest]; any of them as one value to fix it. trials: how
    many; metric: one of METRICS of the base's task, on the validation rows; training: the method
    and further keyword values of `train`, as for `fit`; folder: gets `trial_<number>` per
    trial; alpha_ratio: alpha = alpha_ratio * rank; start_from: adapter whose weights every trial
    begins with, and whose rank and alpha it then has; extra: goes into each adapter's ftzard.json;
    checkpoints, checkpoint_steps: as for `fit`, so that a search that was cut off goes on in the
    trial it was in; prune: stop a trial that, from its second epoch on, is below the median of the
    earlier trials at the same epoch. Raises ModelError for an unknown or empty entry of `space`.
    """
    metrics = METRICS[loaded.spec.task]
    if metric not in metrics:
        raise ModelError(f"tuning.metric is '{metric}'{nearest(metric, metrics)}")
    if trials < 1:
        raise ModelError(f"tuning.trials is {trials}; expected at least 1.")
    check_space(space)
    saved = None if start_from is None else read_meta(start_from)["lora"]
    if training.get("method") == "full":
        space = {name: value for name, value in space.items() if name not in ADAPTER_ONLY}
    elif saved is not None:
        space = {**space, "rank": saved["rank"]}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="minimize" if metric in LOWER else "maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=2)
        if prune
        else optuna.pruners.NopPruner(),
    )
    done: list[Trial] = []
    for number in range(trials):
        proposal = study.ask()
        params = _propose(proposal, space)
        if "rank" in params:
            params["alpha"] = saved["alpha"] if saved else alpha_ratio * params["rank"]
        if on_trial_start is not None:
            on_trial_start(number, dict(params))
        stop = _watch(proposal, metric)
        fitted = fit(
            loaded,
            train_rows,
            validation_rows,
            params=params,
            seed=seed,
            metric=metric,
            training=training,
            folder=Path(folder) / f"trial_{number}",
            train_embeddings=train_embeddings,
            start_from=start_from,
            extra=extra,
            checkpoints=checkpoints,
            checkpoint_steps=checkpoint_steps,
            stop=stop,
            on_step=on_step,
            on_epoch=on_epoch,
        )
        trial = Trial(
            number, params, fitted.trained, fitted.folder, fitted.recipe, fitted.peak)
        stop(trial.trained.history)  # the study learns of the last epoch, too
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


def _watch(proposal: optuna.trial.Trial, metric: str) -> Callable[[list[dict]], bool]:
    """Return what tells the study a trial's epochs and says whether to stop the trial."""
    told: set[int] = set()

    def stop(history: list[dict]) -> bool:
        for entry in history:
            if entry["epoch"] not in told:
                told.add(entry["epoch"])
                proposal.report(entry[metric], entry["epoch"])
        return proposal.should_prune()

    return stop


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
