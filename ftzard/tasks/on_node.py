"""What a node of a cluster computes: one training, or the predictions of some shards."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ftzard.config.training_config import TrainingConfig
from ftzard.data import storage
from ftzard.errors import ComputeError
from ftzard.modeling import base_model, reproducibility
from ftzard.tasks import base as tasks
from ftzard.tasks import shards
from ftzard.training.fit import fit
from ftzard.training.search import Ended, pruner

if TYPE_CHECKING:
    from ftzard.compute.worker import Work


def fit_request(values: Mapping, inputs: Mapping[str, Path], work: "Work") -> dict:
    """Train one adapter as its request says, and leave it in the folder of the result."""
    reproducibility.set_threads(values["threads"])
    task = tasks.task_named(values["task"])
    loaded = base_model.load_base(tasks.base_spec(_spec(values["spec"], inputs)), values["labels"])
    if loaded.weight_hash != values["weight_hash"]:
        raise ComputeError(f"the base on the node has the hash {loaded.weight_hash[:12]}…; "
                           f"expected {values['weight_hash'][:12]}…. Nothing was trained.")
    rows = storage.read_parquet(inputs["rows"])
    earlier = values["earlier"]
    ended = None if earlier is None else [
        Ended(value, {int(epoch): metric for epoch, metric in epochs})
        for value, epochs in earlier]
    config = TrainingConfig(**values["config"])
    fitted = fit(
        loaded, rows[rows["split"] == "train"].reset_index(drop=True),
        rows[rows["split"] == "validation"].reset_index(drop=True),
        task=task, config=config, folder=work.folder,
        start_from=inputs.get("start_from"), extra=values["extra"],
        checkpoints=work.checkpoints, checkpoint_steps=values["checkpoint_steps"],
        stop=pruner(ended, config.metric), on_step=work.progress,
        on_epoch=lambda entry: work.report(epoch=entry))
    return {"trained": asdict(fitted.trained), "recipe": fitted.recipe, "peak": fitted.peak}


def predict_request(values: Mapping, inputs: Mapping[str, Path], work: "Work") -> dict:
    """Predict the shards of tokenized rows that no other attempt has predicted."""
    reproducibility.set_threads(values["threads"])
    task = tasks.task_named(values["task"])
    predictor = task.predictor.open_predictor(
        inputs["adapter"], tasks.base_spec(_spec(values["spec"], inputs)))

    def one(source: Path, folder: Path) -> dict:
        rows = storage.read_parquet(source)
        return shards.write(task.model.predict(predictor, rows), folder)

    return work.compute_shards(values, one)


def _spec(values: Mapping, inputs: Mapping[str, Path]) -> dict:
    """Return a spec's values with the base where it is on this node."""
    return {**values, "source": str(inputs["base"]) if "base" in inputs else values["source"]}
