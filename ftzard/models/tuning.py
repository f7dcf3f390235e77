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
from ftzard.models.adapter import attach, detach, read_meta, save
from ftzard.models.base import LoadedBase
from ftzard.models.prediction import Progress
from ftzard.models.training import METRICS, Trained, better, train

RANGES = {"learning_rate": True, "weight_decay": False, "dropout": False}
CHOICES = ("rank", "batch_size")


@dataclass
class Trial:
    """One trial: number (from 0), its values, its history, where its adapter is.

    params: rank, alpha, dropout, learning_rate, batch_size, weight_decay.
    """

    number: int
    params: dict
    trained: Trained
    folder: Path

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
    on_trial_start: Callable[[int, dict], object] | None = None,
    on_step: Progress | None = None,
    on_epoch: Callable[[dict], object] | None = None,
    on_trial_end: Callable[[Trial], object] | None = None,
) -> list[Trial]:
    """Return the trials, best first; equal ones by number.

    space: rank and batch_size as lists of choices, learning_rate (drawn on a log scale),
    weight_decay and dropout as [lowest, highest]; any of them as one value to fix it. trials: how
    many; metric: one of training.METRICS, on the validation rows; training: further keyword values
    of `train` (epochs, warmup_ratio, max_grad_norm, patience); folder: gets `trial_<number>` per
    trial; alpha_ratio: alpha = alpha_ratio * rank; start_from: adapter whose weights every trial
    begins with, and whose rank and alpha it then has; extra: goes into each adapter's ftzard.json.
    Raises ModelError for an unknown or empty entry of `space`.
    """
    if metric not in METRICS:
        raise ModelError(f"tuning.metric is '{metric}'{nearest(metric, METRICS)}")
    if trials < 1:
        raise ModelError(f"tuning.trials is {trials}; expected at least 1.")
    check_space(space)
    saved = None if start_from is None else read_meta(start_from)["lora"]
    if saved is not None:
        space = {**space, "rank": saved["rank"]}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="minimize" if metric == "validation_loss" else "maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
    )
    done: list[Trial] = []
    for number in range(trials):
        proposal = study.ask()
        params = _propose(proposal, space)
        params["alpha"] = saved["alpha"] if saved else alpha_ratio * params["rank"]
        if on_trial_start is not None:
            on_trial_start(number, dict(params))
        trial = _run(
            loaded,
            train_rows,
            validation_rows,
            number=number,
            params=params,
            seed=seed,
            metric=metric,
            training=training,
            folder=Path(folder) / f"trial_{number}",
            train_embeddings=train_embeddings,
            start_from=start_from,
            extra=extra,
            on_step=on_step,
            on_epoch=on_epoch,
        )
        study.tell(proposal, trial.metrics[metric])
        done.append(trial)
        if on_trial_end is not None:
            on_trial_end(trial)
    return rank_trials(done, metric)


def rank_trials(trials: Sequence[Trial], metric: str) -> list[Trial]:
    """Return the trials, best first, by `metric` on validation; the earlier wins a tie."""
    ranked: list[Trial] = []
    for trial in trials:
        place = next(
            (i for i, other in enumerate(ranked) if better(trial.metrics, other.metrics, metric)),
            len(ranked),
        )
        ranked.insert(place, trial)
    return ranked


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
    for name in (*CHOICES, *RANGES):
        value = space[name]
        if _is_number(value):
            params[name] = value
        elif name in CHOICES:
            params[name] = proposal.suggest_categorical(name, list(value))
        else:
            params[name] = proposal.suggest_float(name, *value, log=RANGES[name])
    return params


def _run(
    loaded: LoadedBase,
    train_rows: pandas.DataFrame,
    validation_rows: pandas.DataFrame,
    *,
    number: int,
    params: dict,
    seed: int,
    metric: str,
    training: dict,
    folder: Path,
    train_embeddings: bool,
    start_from: Path | None,
    extra: dict | None,
    on_step: Progress | None,
    on_epoch: Callable[[dict], object] | None,
) -> Trial:
    """Attach, train, save, and take off again, whatever happens in between."""
    adapted = attach(
        loaded,
        rank=params["rank"],
        alpha=params["alpha"],
        dropout=params["dropout"],
        seed=seed,
        train_embeddings=train_embeddings,
        start_from=start_from,
    )
    try:
        trained = train(
            adapted,
            train_rows,
            validation_rows,
            labels=loaded.labels,
            learning_rate=params["learning_rate"],
            batch_size=params["batch_size"],
            weight_decay=params["weight_decay"],
            seed=seed,
            metric=metric,
            on_step=on_step,
            on_epoch=on_epoch,
            **training,
        )
        save(loaded, folder, extra)
    finally:
        detach(loaded)
    return Trial(number, params, trained, folder)
