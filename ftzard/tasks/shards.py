"""Predictions in fixed shards of rows: the same batches, so the same bits, wherever they run."""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ftzard.data import storage
from ftzard.errors import DataError
from ftzard.tasks.base import Predicted

if TYPE_CHECKING:
    from ftzard.tasks.parts import ModelPart, Predictor

#: Rows of a shard. Another number gives other batches, and logits that differ in their last bits.
SHARD_ROWS = 2048


def of(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the shards of rows, in order; one of no rows if there are none."""
    for begin in range(0, max(len(rows), 1), SHARD_ROWS):
        yield rows.iloc[begin:begin + SHARD_ROWS].reset_index(drop=True)


def predict(part: "ModelPart", predictor: "Predictor", rows: pd.DataFrame,
            on_step: Callable[[int, int], object] | None = None) -> Predicted:
    """Return what a model predicts for tokenized rows, shard by shard."""
    parts, begin = [], 0
    for shard in of(rows):
        step = None if on_step is None else _from(begin, len(rows), on_step)
        parts.append(part.predict(predictor, shard, on_step=step))
        begin += len(shard)
    return joined(parts)


def _from(begin: int, total: int, on_step: Callable[[int, int], object]
          ) -> Callable[[int, int], object]:
    return lambda done, _: on_step(begin + done, total)


def joined(parts: Sequence[Predicted]) -> Predicted:
    """Return the predictions of shards as those of all their rows; metrics are counts."""
    first = parts[0]
    if len(parts) == 1:
        return first
    columns = {name: [value for part in parts for value in part.columns[name]]
               for name in first.columns}
    return Predicted(
        columns, {name: sum(part.metrics[name] for part in parts) for name in first.metrics},
        _together([part.answers for part in parts]),
        np.concatenate([part.embeddings for part in parts]))


def _together(values: Sequence[Any]) -> Any:
    if isinstance(values[0], pd.DataFrame):
        return pd.concat(values, ignore_index=True)
    if is_dataclass(values[0]):
        return type(values[0])(**{field.name: _together([getattr(v, field.name) for v in values])
                                  for field in fields(values[0])})
    return np.concatenate(values)


def write(predicted: Predicted, folder: Path) -> dict:
    """Write the predictions of a shard into a folder and return what is not in its files."""
    storage.write_parquet(pd.DataFrame(dict(predicted.columns)), folder / "columns.parquet")
    arrays, kind = {"embeddings": predicted.embeddings}, "array"
    answers = predicted.answers
    if isinstance(answers, pd.DataFrame):
        kind = "table"
        storage.write_parquet(answers, folder / "answers.parquet")
    elif is_dataclass(answers):
        kind = f"{type(answers).__module__}:{type(answers).__qualname__}"
        arrays |= {f"answers.{field.name}": getattr(answers, field.name)
                   for field in fields(answers)}
    else:
        arrays["answers"] = answers
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    (folder / "arrays.npz").write_bytes(stream.getvalue())
    return {"metrics": json.loads(json.dumps(predicted.metrics)), "answers": kind,
            "arrays": {name: str(values[0].dtype) for name, values in predicted.columns.items()
                       if len(values) and isinstance(values[0], np.ndarray)}}


def read(folder: Path, meta: dict) -> Predicted:
    """Return what `write` wrote."""
    table = storage.read_parquet(folder / "columns.parquet")
    columns = {name: [np.asarray(value, meta["arrays"][name]) for value in table[name]]
               if name in meta["arrays"] else table[name].tolist() for name in table}
    with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    kind = meta["answers"]
    if kind == "table":
        answers: Any = storage.read_parquet(folder / "answers.parquet")
    elif kind == "array":
        answers = arrays["answers"]
    else:
        module, _, name = kind.partition(":")
        if not module.startswith("ftzard.tasks."):
            raise DataError(f"a shard's answers are of {kind}; expected a class of ftzard.tasks. "
                            "They were not used: delete the shard, then run the step again.")
        answers = getattr(import_module(module), name)(**{
            key.removeprefix("answers."): value for key, value in arrays.items()
            if key.startswith("answers.")})
    return Predicted(columns, meta["metrics"], answers, arrays["embeddings"])
