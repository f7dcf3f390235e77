"""What a training is for: the labels of texts, or the tokens of answers.

An objective turns rows into batches with their targets, says what a row weighs in a step's mean,
and measures the validation rows. `train` does all the rest, for one as for the other.
"""

from collections.abc import Mapping, Sequence

import numpy
import pandas
import torch
from torch import nn

from ftzard.errors import ModelError
from ftzard.modeling.architecture import writes
from ftzard.modeling.spec import CLASSIFICATION, INSTRUCTION_TUNING

METRICS = {
    CLASSIFICATION: (
        "accuracy",
        "balanced_accuracy",
        "macro_precision",
        "macro_recall",
        "macro_f1",
        "validation_loss",
        "calibrated_loss",
    ),
    INSTRUCTION_TUNING: ("validation_loss", "perplexity", "token_accuracy"),
}
#: Metrics of which the lower one is the better one.
LOWER = ("validation_loss", "perplexity", "calibrated_loss")


Batch = tuple[dict[str, torch.Tensor], numpy.ndarray]


def task_of(model: nn.Module) -> str:
    """Return what a model is for, by its head: one of spec.TASKS."""
    return INSTRUCTION_TUNING if writes(model) else CLASSIFICATION


def objective_of(
    model: nn.Module,
    train_rows: pandas.DataFrame,
    validation_rows: pandas.DataFrame,
    labels: Sequence[str],
    packed_length: int | None,
    class_weights: str | Mapping[str, float] | None = None,
) -> object:
    """Return the objective of a model on these rows. Raises ModelError as `train` says."""
    from ftzard.tasks.classification.objective import Labels
    from ftzard.tasks.instruction_tuning.objective import Answers

    if writes(model):
        if class_weights is not None:
            raise ModelError(
                f"training.class_weights is {class_weights!r} in a training for instruction_tuning,"
                " where an answer has no class; expected null.")
        return Answers(model, train_rows, validation_rows, packed_length)
    if packed_length is not None:
        raise ModelError(
            "packing is asked for in a training for classification, where a text is answered as a "
            "whole; expected none. Remove 'packing' from the training's values."
        )
    return Labels(train_rows, validation_rows, labels, class_weights)


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
    if len(rows) < 2 or len(validation) < 1:
        raise ModelError(
            f"{len(rows)} training and {len(validation)} validation rows; expected at least 2 "
            "and 1. Check the step that made them before training on next to nothing."
        )
