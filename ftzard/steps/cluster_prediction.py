"""Predictions of tokenized rows on a cluster: the champion goes there once, the rows in shards."""

from pathlib import Path
from typing import Any

import pandas as pd

from ftzard.compute import shards
from ftzard.data import storage
from ftzard.registry import model_records
from ftzard.steps.cluster_fit import open_cluster
from ftzard.steps.step_run import StepRun, scratch
from ftzard.tasks import shards as prediction_shards
from ftzard.tasks.base import Predicted
from ftzard.tracking import registry


def predict(run: StepRun, rows: pd.DataFrame) -> Predicted:
    """Return what the champion predicts for tokenized rows, computed on the cluster's nodes."""
    cluster, folder = open_cluster(run), scratch()
    champion = registry.champion(run.tracking, run.config.tracking.registered_model)
    adapter, base = model_records.version_files(run.workspace, champion)
    spec = base.to_dict()
    inputs: dict[str, Any] = {"adapter": cluster.input_folder(Path(adapter))}
    if Path(spec["source"]).is_dir():
        inputs["base"] = cluster.input_folder(Path(spec["source"]))
        spec["source"] = None
    values = {"spec": spec, "task": run.config.task.kind, "threads": run.config.threads}
    sent = []
    for shard in prediction_shards.of(rows):
        file = storage.write_parquet(shard, folder / "rows.parquet")
        sent.append(cluster.input_file(file))
    parts = []
    for number, result in enumerate(shards.run(
            cluster, "predict_rows", values, inputs, sent,
            lambda done, total: run.progress(done, total, "shard"))):
        place = folder / f"shard_{number}"
        for name in result.files:
            result.fetch(name, place / name)
        parts.append(prediction_shards.read(place, result.values))
    return prediction_shards.joined(parts)
