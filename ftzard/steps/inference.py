"""Step 5: the champion predicts a new batch, which is compared with what it was trained on."""

from typing import TYPE_CHECKING

import pandas as pd

from ftzard.modeling import reproducibility
from ftzard.registry import model_records
from ftzard.steps import cluster_prediction
from ftzard.steps.step_run import StepRun
from ftzard.tasks import shards as prediction_shards
from ftzard.tasks.base import Predicted
from ftzard.tracking import registry
from ftzard.tracking.model_version import Version

if TYPE_CHECKING:
    from ftzard.tasks.parts import Predictor

#: What of the tokenized rows stands beside the predictions, where the rows have it.
COLUMNS = ("id", "batch", "split", "text", "messages", "source", "group")


def load_champion(run: StepRun) -> tuple[Version, "Predictor"]:
    """Return the registry's champion and its model, ready to predict."""
    reproducibility.set_threads(run.config.threads)
    champion = registry.champion(run.tracking, run.config.tracking.registered_model)
    predictor = run.task.predictor.open_predictor(
        *model_records.version_files(run.workspace, champion))
    run.record_facts(champion=champion.number)
    run.mlflow_run.tags({"model_version": str(champion), **model_records.hashes(predictor.meta)})
    return champion, predictor


def predict(run: StepRun, predictor: "Predictor", rows: pd.DataFrame) -> Predicted:
    """Return what a model predicts for tokenized rows, with progress on display.

    The rows are predicted in fixed shards, here or on a cluster, with the same result.
    """
    if run.config.compute.kind == "local":
        return prediction_shards.predict(run.task.model, predictor, rows, on_step=run.progress)
    return cluster_prediction.predict(run, rows)


def write(run: StepRun, rows: pd.DataFrame, predicted: Predicted) -> pd.DataFrame:
    """Write the predictions beside the rows they are for, and return them."""
    predictions = rows.filter(COLUMNS).assign(**predicted.columns)
    run.write("predictions", predictions)
    run.log(rows=len(predictions), mean_confidence=float(predictions["confidence"].mean()),
            **predicted.metrics)
    return predictions
