"""Step 7: a challenger that goes on from the champion, with new rows and some of the old ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ftzard.config.training_config import TrainingConfig
from ftzard.data import replay
from ftzard.modeling import base_model, reproducibility
from ftzard.modeling.adapter_meta import read_meta
from ftzard.modeling.base_model import LoadedBase
from ftzard.registry import model_records
from ftzard.registry.model_record import ModelRecord
from ftzard.steps import candidate, cluster_fit
from ftzard.steps.step_run import StepRun, scratch
from ftzard.steps.trials import log_epoch, note_peak, note_plan, note_resumption
from ftzard.tracking import registry
from ftzard.tracking.model_version import Version
from ftzard.training import fit as training_fit
from ftzard.training.fit import Fitted


@dataclass(frozen=True)
class Champion:
    """The model that a retraining goes on from: its version, its record and its adapter's folder.
    """

    version: Version
    record: ModelRecord
    adapter: Path


def champion(run: StepRun) -> Champion:
    """Return the registry's champion with its files."""
    reproducibility.set_threads(run.config.threads)
    version = registry.champion(run.tracking, run.config.tracking.registered_model)
    record = model_records.read_record(run.workspace, version)
    adapter, _ = model_records.version_files(run.workspace, version)
    return Champion(version, record, adapter)


def mix(run: StepRun, champion: Champion, train: pd.DataFrame, ratio: float | None
        ) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the training rows: all that are new to the champion, and some of those that are not.

    Args:
        run: The step.
        champion: Whose data version says which rows are new.
        train: Training rows of all batches.
        ratio: Replayed rows per new one; None replays all.

    Returns:
        The rows, and what `replay.mix` was told, for the record.
    """
    seen = candidate.seen_rows(run, champion.version, champion.record, train)
    replayed = {**seen, "ratio": ratio}
    rows, counts = replay.mix(train, **replayed, seed=run.config.seed)
    run.log(**counts)
    return rows, replayed


def training_config(run: StepRun, champion: Champion) -> TrainingConfig:
    """Return the champion's values, with the learning rate times retraining.learning_rate_ratio."""
    params = champion.record["params"]
    ratio = run.config.retraining.learning_rate_ratio
    return TrainingConfig.of(run.config).with_params(
        {**params, "learning_rate": params["learning_rate"] * ratio})


def load_base(run: StepRun, champion: Champion, rows: pd.DataFrame) -> LoadedBase:
    """Load the champion's base, its head with a row for each label that the rows bring new.

    Raises:
        ModelError: The rows have labels that the champion does not know and nobody named.
    """
    config = run.config
    known = read_meta(champion.adapter)["labels"]
    labels = run.task.model.continued_labels(
        rows, champion.adapter, str(champion.version), config.data)
    new = labels[len(known):]
    if new:
        print(f"new to {champion.version}: {', '.join(new)}; its head gets a row for each, and the "
              "rows of the other labels keep their weights")
    return base_model.load_base(
        model_records.base_spec(run.workspace, config.model, config.task.kind), labels,
        continues=start_from(run, champion))


def start_from(run: StepRun, champion: Champion) -> Path | None:
    """Return the adapter whose weights training begins with; None for retraining.start=base."""
    return champion.adapter if run.config.retraining.start == "champion" else None


def train(run: StepRun, loaded: LoadedBase, champion: Champion, training_rows: pd.DataFrame,
          validation: pd.DataFrame, training: TrainingConfig) -> Fitted:
    """Train the challenger, and record its epochs and its peak of memory."""
    note_plan(run)
    start, part = start_from(run, champion), run.task.model
    extra = part.adapter_meta(run.config, loaded.tokenizer, run.cleaning, continues=start)

    def record(entry: dict[str, Any]) -> None:
        log_epoch(run.mlflow_run, entry, part.EPOCH_METRIC)

    if run.config.compute.kind == "local":
        fitted = training_fit.fit(
            loaded, training_rows, validation, task=run.task, config=training,
            folder=scratch() / "adapter", start_from=start, extra=extra, **run.checkpoints,
            on_step=run.progress, on_epoch=record)
    else:
        fitted = cluster_fit.ClusterFit(
            run, loaded, training_rows, validation, extra, start).fit(training, record)
    note_resumption(run.mlflow_run, fitted.trained.resumed_at)
    note_peak(run, fitted.peak)
    run.record_facts(trials=[{
        "name": "retraining", "params": fitted.recipe["params"],
        "history": fitted.trained.history, "best_epoch": fitted.trained.best_epoch}])
    return fitted


def register(run: StepRun, fitted: Fitted, rows: pd.DataFrame, champion: Champion, *,
             replayed: dict[str, Any], trained_rows: int) -> Version:
    """Register the adapter as a new version, and make it the challenger.

    Args:
        run: The step.
        fitted: What was trained.
        rows: All tokenized rows.
        champion: Where it started.
        replayed: As `mix` returned it.
        trained_rows: How many rows it was trained on.
    """
    start = run.config.retraining.start
    version = candidate.register(
        run, fitted.folder, rows, params=champion.record["params"], recipe=fitted.recipe,
        replayed=replayed, trained_rows=trained_rows,
        parent=champion.version if start == "champion" else None)
    registry.move(run.tracking, version.name, challenger=version)
    print(f"registered {version}, started from {start} {champion.version.number}")
    return version
