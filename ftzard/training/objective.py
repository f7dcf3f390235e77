"""What a training minimizes, and what it needs of a task: protocols that tasks implement."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy
import pandas
import torch
from torch import nn

from ftzard.config.training_config import TrainingConfig
from ftzard.errors import ModelError
from ftzard.modeling.base_model import LoadedBase

#: Metrics of which the lower one is the better one.
LOWER = ("validation_loss", "perplexity", "calibrated_loss")

Batch = tuple[dict[str, torch.Tensor], numpy.ndarray]


class Objective(Protocol):
    """Turns rows into batches with their targets, weighs them, and measures the validation rows.

    Targets are an array with an entry per target, of whatever type `loss` takes: class numbers,
    which labels are right, numbers.

    Attributes:
        lengths: int64 (rows,), tokens of each training row.
    """

    lengths: numpy.ndarray

    def parts(self, rows: numpy.ndarray, tokens: int | None) -> list:
        """Return a step's rows in the parts that are computed one after the other.

        Args:
            tokens: Most padded tokens of a part, None or 0 for no bound.
        """

    def batch(self, part: Any, pad_id: int, device: torch.device) -> Batch:
        """Return what a model takes of a part, and the targets of its loss."""

    def loss(self, scores: torch.Tensor, targets: numpy.ndarray) -> torch.Tensor:
        """Return the mean loss of the targets of a batch; scores: the model's logits of them."""

    def part_weight(self, targets: numpy.ndarray) -> float:
        """Return what the mean loss of these targets weighs beside the other parts of a step."""

    def count(self, rows: numpy.ndarray) -> int:
        """Return how many targets the loss of these rows sees."""

    def weight(self, rows: numpy.ndarray) -> float:
        """Return what the loss of these rows weighs in a mean over steps."""

    def measure(
        self, model: nn.Module, pad_id: int, batch_size: int, tokens: int
    ) -> dict[str, float]:
        """Return validation_loss and the task's metrics on the validation rows."""

    def adapter_meta(
        self, model: nn.Module, pad_id: int, batch_size: int, tokens: int
    ) -> dict[str, Any]:
        """Return what the trained adapter keeps, as measured on the validation rows."""

    def counted(self) -> dict[str, int]:
        """Return what an epoch's entry of the history counts besides."""

    def padding(self, parts: Sequence) -> float:
        """Return which share of the computed tokens is padding."""


class TrainedTask(Protocol):
    """What `fit` and `search` take of a task: its metrics, and two functions of its model part."""

    @property
    def metrics(self) -> tuple[str, ...]: ...

    @property
    def model(self) -> "TrainedModelPart": ...


class TrainedModelPart(Protocol):
    """The functions of a task's model part that training calls."""

    def objective(
        self,
        loaded: LoadedBase,
        train_rows: pandas.DataFrame,
        validation_rows: pandas.DataFrame,
        config: TrainingConfig,
    ) -> Objective:
        """Return the objective on these rows; raises ModelError for rows without anything to learn.
        """

    def check_rows(
        self,
        loaded: LoadedBase,
        train_rows: pandas.DataFrame,
        validation_rows: pandas.DataFrame,
        config: TrainingConfig,
        adapter_meta: Mapping,
    ) -> None:
        """Raise ModelError for rows that were tokenized otherwise than this base takes them."""


def better(entry: dict, than: dict, metric: str) -> bool:
    """Return whether an epoch's entry beats another: higher metric, or lower if it is of LOWER.

    The same metric is broken by the lower validation loss.
    """
    sign = -1 if metric in LOWER else 1
    return (sign * entry[metric], -entry["validation_loss"]) > (
        sign * than[metric],
        -than["validation_loss"],
    )


def check_count(rows: Sequence, validation: Sequence) -> None:
    """Raise ModelError for fewer than two training rows or no validation row."""
    if len(rows) < 2 or len(validation) < 1:
        raise ModelError(
            f"{len(rows)} training and {len(validation)} validation rows; expected at least 2 "
            "and 1. Check the step that made them before training on next to nothing."
        )
