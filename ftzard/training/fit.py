"""Fitting: one adapter on a loaded base, from values that can be written down and used again.

What a search does per trial, what retraining does once and what `ftzard reproduce` does to check
a model are this one function; its recipe goes into the model's record.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy
import pandas
import torch

from ftzard.core.archive import whole_folder
from ftzard.core.artifacts import sha256, write_json
from ftzard.errors import ModelError
from ftzard.modeling import checks, memory
from ftzard.modeling.adapter import attach, detach, save
from ftzard.modeling.adapter_meta import weights_file
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.inference import Progress
from ftzard.modeling.reproducibility import made_with, processor
from ftzard.tasks.classification.checks import tokenized_as
from ftzard.tasks.instruction_tuning import chat_template
from ftzard.tasks.instruction_tuning.checks import answered_as, assert_packing
from ftzard.tasks.instruction_tuning.loading import ANSWERING
from ftzard.training import rows_used
from ftzard.training.checkpoint import Checkpoints
from ftzard.training.trainer import Trained, train


@dataclass
class Fitted:
    """A trained adapter.

    trained: how training went; folder: where the adapter is; recipe: the values it was made with,
    from which it can be made again, the hash of its weights, and its history but for the speed;
    peak: the most bytes that base and training took, None where it was not measured.
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
    params: dict,
    seed: int,
    metric: str,
    training: dict,
    folder: Path,
    train_embeddings: bool = False,
    start_from: Path | None = None,
    extra: dict | None = None,
    checkpoints: Path | None = None,
    checkpoint_steps: int = 0,
    stop: Callable[[list[dict]], bool] | None = None,
    on_step: Progress | None = None,
    on_epoch: Callable[[dict], object] | None = None,
) -> Fitted:
    """Attach an adapter, train it, save it into `folder`, take it off again, whatever happens.

    params: rank, alpha, dropout (of an adapter; 'full' needs none), learning_rate, batch_size,
    weight_decay; training: 'method' (see `attach`, default 'lora'), 'packing' (whether a step's
    rows of instructions are packed into sequences of the base's max_length, default False) and
    further values of `train` (epochs, warmup_ratio, max_grad_norm, patience, optimizer,
    micro_batch_tokens, gradient_checkpointing); start_from: folder of an adapter whose weights to
    begin with; extra: more entries for the adapter's ftzard.json, which for a base that writes must
    have 'template' and 'max_new_tokens'. checkpoints: folder in which the state is kept
    every `checkpoint_steps` steps: the same fit, cut off and called again with the same code and
    libraries, goes on from there, and one that had ended is only read back. stop: as for `train`.
    Raises ModelError as `attach` and `train` do, and if the rows were tokenized for another base.
    """
    method = training.get("method", "lora")
    checks.method_fits(loaded.spec, method, train_embeddings=train_embeddings)
    packing = training.get("packing", False)
    _check_rows(loaded, train_rows, validation_rows, extra or {})
    if packing and loaded.spec.writes:
        assert_packing(loaded.model, loaded.tokenizer, loaded.spec)
    values = {
        "params": params,
        "training": training,
        "seed": seed,
        "metric": metric,
        "train_embeddings": train_embeddings,
        "threads": torch.get_num_threads(),
        "device": next(loaded.model.parameters()).device.type,
        "rows": {"train": rows_digest(train_rows), "validation": rows_digest(validation_rows)},
    }
    kept = None
    if checkpoints is not None and checkpoint_steps > 0:
        start = None if start_from is None else sha256(weights_file(start_from))
        kept = Checkpoints(checkpoints, values | {
            "base": loaded.weight_hash, "tokenizer": loaded.tokenizer_hash,
            "spec": {k: v for k, v in loaded.spec.to_dict().items() if k != "source"},
            "labels": list(loaded.labels), "start": start, "extra": extra,
            "made_with": made_with()}, checkpoint_steps)
        trained = _ended(kept.folder, folder, on_epoch)
        if trained is not None:
            return Fitted(trained, folder, _recipe(values, folder, trained))
    adapted = attach(
        loaded, seed=seed, method=method, rank=params.get("rank"), alpha=params.get("alpha"),
        dropout=params.get("dropout", 0.0), train_embeddings=train_embeddings,
        start_from=start_from)
    try:
        with memory.watched(loaded.device, loaded.held) as peak:
            trained = train(
                adapted, train_rows, validation_rows, labels=loaded.labels,
                learning_rate=params["learning_rate"], batch_size=params["batch_size"],
                weight_decay=params["weight_decay"], seed=seed, metric=metric, checkpoints=kept,
                packed_length=loaded.spec.max_length if packing else None,
                stop=stop, on_step=on_step, on_epoch=on_epoch,
                **{k: v for k, v in training.items() if k not in ("method", "packing")})
        checks.trained(adapted, loaded.tokenizer, loaded.spec)
        save(loaded, folder, extra)
        rows_used.note(folder, train_rows, validation_rows)
    finally:
        detach(loaded)
    if kept is not None:
        _keep_ended(kept, folder, trained)
    return Fitted(trained, folder, _recipe(values, folder, trained), peak.bytes)


def rows_digest(rows: pandas.DataFrame) -> str:
    """Return a hash over what training sees of rows, in order.

    That is their token ids and their labels, or, of instructions, where their prompts end.
    """
    hasher = hashlib.sha256()
    targets = rows["prompt_length" if "prompt_length" in rows else "label"]
    for ids, target in zip(rows["input_ids"], targets, strict=True):
        hasher.update(numpy.asarray(ids, dtype=numpy.int32).tobytes())
        hasher.update(f"|{target}|".encode())
    return hasher.hexdigest()[:16]


def _check_rows(
    loaded: LoadedBase, train_rows: pandas.DataFrame, validation_rows: pandas.DataFrame, extra: dict
) -> None:
    """Refuse rows that were tokenized otherwise than this base, with its template, does it."""
    missing = [key for key in ANSWERING if key not in extra] if loaded.spec.writes else []
    if missing:
        raise ModelError(
            f"the adapter's entries lack {', '.join(missing)}; expected {' and '.join(ANSWERING)} "
            "in `extra`, because a model that writes is asked as it was trained."
        )
    for rows in (train_rows, validation_rows):
        if loaded.spec.writes:
            answered_as(rows, loaded.tokenizer, chat_template.from_meta(extra["template"]),
                               loaded.spec.max_length)
        else:
            tokenized_as(rows, loaded.tokenizer, loaded.spec.max_length)


def _recipe(values: dict, folder: Path, trained: Trained) -> dict:
    story = [{k: v for k, v in e.items() if k != "tokens_per_second"} for e in trained.history]
    return values | {"weights_sha256": sha256(weights_file(folder)), "history": story,
                     "processor": processor()}


def _keep_ended(kept: Checkpoints, folder: Path, trained: Trained) -> None:
    """Put the ended fit where its checkpoints were: the step it belongs to may still be cut off."""
    with whole_folder(kept.folder / "ended") as part:
        shutil.copytree(folder, part / "adapter")
        write_json(part / "trained.json", asdict(trained))
    kept.clear()


def _ended(kept: Path, folder: Path, on_epoch: Callable[[dict], object] | None) -> Trained | None:
    """Return the fit that an earlier run had ended here, with its adapter in `folder`, or None."""
    told = kept / "ended" / "trained.json"
    if not told.is_file():
        return None
    values = json.loads(told.read_text(encoding="utf-8"))
    trained = Trained(**{**values, "resumed_at": values["steps"]})
    with whole_folder(folder) as part:
        shutil.copytree(told.parent / "adapter", part, dirs_exist_ok=True)
    for entry in trained.history:
        if on_epoch is not None:
            on_epoch(dict(entry))
    return trained
