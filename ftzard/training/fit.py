"""Fitting: one adapter on a loaded base, from values that can be written down and used again.

What a search does per trial, what retraining does once and what `ftzard reproduce` does to check
a model are this one function; its recipe goes into the model's record.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy
import pandas
import torch

from ftzard.config.training_config import TrainingConfig
from ftzard.core import installed
from ftzard.core.artifacts import sha256
from ftzard.errors import ModelError, nearest
from ftzard.modeling import adapter_checks, checks, memory
from ftzard.modeling.adapter import attach, detach, save
from ftzard.modeling.adapter_meta import weights_file
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.inference import TOKENS, Progress
from ftzard.modeling.reproducibility import made_with, processor
from ftzard.training import ended_fits, rows_used
from ftzard.training.checkpoint import Checkpoints
from ftzard.training.ended_fits import EndedFits
from ftzard.training.objective import TrainedTask
from ftzard.training.trainer import Trained, train


@dataclass
class Fitted:
    """A trained adapter.

    Attributes:
        trained: How training went.
        folder: Where the adapter is.
        recipe: The values it was made with, from which it can be made again, the hash of its
            weights, and its history but for the speed.
        peak: The most bytes that base and training took, None where it was not measured.
    """

    trained: Trained
    folder: Path
    recipe: dict
    peak: int | None = None


def fit(
    loaded: LoadedBase,
    train_rows: pandas.DataFrame,
    validation_rows: pandas.DataFrame,
    *,
    task: TrainedTask,
    config: TrainingConfig,
    folder: Path,
    start_from: Path | None = None,
    extra: dict | None = None,
    checkpoints: Path | None = None,
    checkpoint_steps: int = 0,
    results: EndedFits | None = None,
    force: bool = False,
    stop: Callable[[list[dict]], bool] | None = None,
    on_step: Progress | None = None,
    on_epoch: Callable[[dict], object] | None = None,
) -> Fitted:
    """Attach an adapter, train it, save it into `folder`, take it off again, whatever happens.

    Args:
        loaded: The base, with nothing attached.
        train_rows: Tokenized rows, as the task's objective takes them.
        validation_rows: Rows of the same kind.
        task: What the rows are for.
        config: How to train.
        folder: Gets the adapter.
        start_from: Folder of an adapter whose weights to begin with.
        extra: More entries for the adapter's ftzard.json, those that the task requires among them.
        checkpoints: Folder in which the state is kept every `checkpoint_steps` steps: the same fit,
            cut off and called again with the same code and libraries, goes on from there, and one
            that had ended is only read back.
        checkpoint_steps: Optimizer steps between two checkpoints.
        results: Where fits that have ended are kept: the same fit with the same code, packages,
            threads and processor is only read back, if `stop` would have let it go as it went.
        force: Train although `results` has the fit.
        stop: As for `train`.
        on_step: As for `train`.
        on_epoch: As for `train`.

    Raises:
        ModelError: As `attach` and `train` do, for an unknown metric, and if the rows were
            tokenized for another base.
    """
    if config.metric not in task.metrics:
        raise ModelError(f"metric is '{config.metric}'{nearest(config.metric, task.metrics)}")
    adapter_checks.method_fits(loaded.spec, config.method, train_embeddings=config.train_embeddings)
    task.model.check_rows(loaded, train_rows, validation_rows, config, extra or {})
    values = config.recipe() | {
        "threads": torch.get_num_threads(),
        "device": next(loaded.model.parameters()).device.type,
        "rows": {"train": rows_digest(train_rows), "validation": rows_digest(validation_rows)},
    }
    start = None if start_from is None else sha256(weights_file(start_from))
    identity = values | {
        "base": loaded.weight_hash, "tokenizer": loaded.tokenizer_hash,
        "spec": {k: v for k, v in loaded.spec.to_dict().items() if k != "source"},
        "labels": list(loaded.labels), "start": start, "extra": extra,
        "made_with": made_with()}
    states = None
    if checkpoints is not None and checkpoint_steps > 0:
        states = Checkpoints(checkpoints, identity, checkpoint_steps)
        trained = ended_fits.read(states.folder / "ended", folder)
        if trained is not None and ended_fits.agrees(trained, stop):
            return _read_back(replace(trained, resumed_at=trained.steps), values, folder, on_epoch)
    identity = identity | {"packages": installed.packages(), "processor": processor()}
    trained = results.read(identity, folder) if results and not force else None
    if trained is not None and ended_fits.agrees(trained, stop):
        return _read_back(trained, values, folder, on_epoch)
    adapted = attach(
        loaded, seed=config.seed, method=config.method, rank=config.rank, alpha=config.alpha,
        dropout=config.dropout, train_embeddings=config.train_embeddings, start_from=start_from)
    try:
        with memory.watched(loaded.device, loaded.resident_before) as peak:
            objective = task.model.objective(loaded, train_rows, validation_rows, config)
            trained = train(adapted, objective, config, checkpoints=states, stop=stop,
                            on_step=on_step, on_epoch=on_epoch)
            measured = objective.adapter_meta(
                adapted, adapted.config.pad_token_id, config.batch_size,
                config.micro_batch_tokens or TOKENS)
        checks.assert_batch_invariance(adapted, loaded.tokenizer, loaded.spec)
        save(loaded, folder, {**(extra or {}), **measured})
        rows_used.note(folder, train_rows, validation_rows)
    finally:
        detach(loaded)
    if states is not None:  # the step that this fit belongs to may still be cut off
        ended_fits.keep(states.folder / "ended", folder, trained)
        states.clear()
    if results is not None and config.method != "full":
        results.keep(identity, folder, replace(trained, resumed_at=0))
    return Fitted(trained, folder, _recipe(values, folder, trained), peak.bytes)


def _read_back(trained: Trained, values: dict, folder: Path,
               on_epoch: Callable[[dict], object] | None) -> Fitted:
    """Return a fit that had ended before, and tell of its epochs."""
    for entry in trained.history:
        if on_epoch is not None:
            on_epoch(dict(entry))
    return Fitted(trained, folder, _recipe(values, folder, trained))


def rows_digest(rows: pandas.DataFrame) -> str:
    """Return a hash over what training sees of rows, in order.

    That is their token ids and their labels, with those that a row was not asked about, or, of
    instructions, where their prompts end.
    """
    hasher = hashlib.sha256()
    targets = rows["prompt_length" if "prompt_length" in rows else "label"]
    if "not_asked" in rows:
        targets = targets.astype("str") + rows["not_asked"].fillna("")
    for ids, target in zip(rows["input_ids"], targets, strict=True):
        hasher.update(numpy.asarray(ids, dtype=numpy.int32).tobytes())
        hasher.update(f"|{target}|".encode())
    return hasher.hexdigest()[:16]


def _recipe(values: dict, folder: Path, trained: Trained) -> dict:
    story = [{k: v for k, v in e.items() if k != "tokens_per_second"} for e in trained.history]
    return values | {"weights_sha256": sha256(weights_file(folder)), "history": story,
                     "processor": processor()}
