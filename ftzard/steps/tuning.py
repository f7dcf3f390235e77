"""Step 3: a search for good hyperparameters, each trial an adapter on one shared base."""

from typing import Any

import pandas as pd

from ftzard.config.training_config import TrainingConfig
from ftzard.modeling import base_model, reproducibility
from ftzard.modeling.base_model import LoadedBase
from ftzard.registry import model_records
from ftzard.steps import cluster_fit
from ftzard.steps.step_run import StepRun, scratch
from ftzard.steps.trials import TrialLog
from ftzard.tasks.base import Baseline
from ftzard.training import search as training_search


def load_base(run: StepRun, rows: pd.DataFrame) -> LoadedBase:
    """Load the base with the head that the rows need, and record what it is.

    Every layer that should be quantised is counted and checked on the way.

    Args:
        run: The step.
        rows: All tokenized rows.

    Raises:
        ModelError: What was loaded is not what the config asks for.
    """
    config = run.config
    reproducibility.set_threads(config.threads)
    loaded = base_model.load_base(
        model_records.base_spec(run.workspace, config.model, config.task.kind),
        run.task.model.head_labels(rows))
    run.mlflow_run.tags({"base_hash": loaded.weight_hash, "tokenizer_hash": loaded.tokenizer_hash})
    print(f"{loaded.quantised} layers in {config.model.quantisation}, base "
          f"{loaded.weight_hash[:12]}")
    return loaded


def baseline(run: StepRun, loaded: LoadedBase, train: pd.DataFrame, validation: pd.DataFrame
             ) -> Baseline:
    """Return, record and print what a trained model has to beat on the validation rows."""
    scores = run.task.model.validation_baseline(loaded, train, validation, run.config)
    run.log(**scores.metrics)
    print(scores.sentence)
    return scores


def search(run: StepRun, loaded: LoadedBase, train: pd.DataFrame, validation: pd.DataFrame,
           training: TrainingConfig, *, space: dict[str, Any], trials: int, prune: bool
           ) -> list[dict[str, Any]]:
    """Search, and record each trial with its adapter as a run of MLflow.

    Args:
        run: The step.
        loaded: The base that the trials share.
        train: Tokenized training rows.
        validation: Tokenized validation rows; only these rank the trials.
        training: What every trial is trained with but for `space`.
        space: What is searched, as `ftzard.training.search.search` takes it.
        trials: How many.
        prune: Whether to stop trials that fall behind.

    Returns:
        The recorded trials, best first.
    """
    log = TrialLog(run)
    extra = run.task.model.adapter_meta(run.config, loaded.tokenizer, run.cleaning)
    fit_group = None
    if run.config.compute.kind != "local":
        cluster = cluster_fit.ClusterFit(run, loaded, train, validation, extra)
        fit_group = cluster.fit_group(log)
    ranked = log.ranked(training_search.search(
        loaded, train, validation, task=run.task, config=training, space=space, trials=trials,
        prune=prune, parallel=run.config.compute.parallel, fit_group=fit_group, folder=scratch(),
        extra=extra, **run.checkpoints, **log.callbacks))
    run.record_facts(trials=ranked, tokenized=run.inputs["tokenized"].sha256)
    run.log(**{f"best_validation_{name}": value for name, value in ranked[0]["metrics"].items()
               if name != "epoch"})
    return ranked
