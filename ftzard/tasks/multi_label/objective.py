"""The objective of multi-label classification: each label by itself, yes or no."""

from collections.abc import Mapping, Sequence

import numpy
import pandas
import torch
from scipy.optimize import minimize_scalar
from torch import nn

from ftzard.errors import ModelError
from ftzard.modeling.batching import micro_batches, pad, padding_share
from ftzard.modeling.inference import logits
from ftzard.tasks.classification.objective import BALANCED, check_class_weights
from ftzard.tasks.multi_label import label_sets
from ftzard.tasks.multi_label.metrics import set_scores
from ftzard.tasks.multi_label.thresholds import fit_thresholds, sigmoid
from ftzard.training.objective import Batch, check_count

#: Largest weight that BALANCED gives a positive row of a rare label.
MOST_WEIGHT = 100.0


class LabelSets:
    """The labels of each text, of which any number may be right: binary cross entropy of each.

    The loss of a step is the mean over its rows and labels; the validation rows are measured
    without weights.

    Attributes:
        class_weights: What a positive row of a label weighs against a negative one, per label, or
            BALANCED: negative / positive training rows; None: 1.
    """

    def __init__(
        self,
        train_rows: pandas.DataFrame,
        validation_rows: pandas.DataFrame,
        labels: Sequence[str],
        class_weights: str | Mapping[str, float] | None = None,
    ):
        self.targets = label_sets.indicators(train_rows["label"].tolist(), labels)
        self.validation_targets = label_sets.indicators(validation_rows["label"].tolist(), labels)
        check_count(self.targets, self.validation_targets)
        if (self.targets == self.targets[0]).all():
            raise ModelError(
                f"all {len(self.targets)} training rows have the labels "
                f"'{train_rows['label'].iloc[0]}'; expected at least two label sets. There is "
                "nothing to tell apart.")
        self.input_ids = train_rows["input_ids"].tolist()
        self.validation_ids = validation_rows["input_ids"].tolist()
        self.lengths = numpy.array([len(ids) for ids in self.input_ids])
        self.class_weights = None
        if class_weights is not None:
            check_class_weights(class_weights, labels)
            self.class_weights = (
                _balanced(self.targets) if class_weights == BALANCED
                else numpy.array([class_weights[label] for label in labels], dtype=numpy.float64))

    def parts(self, rows: numpy.ndarray, tokens: int | None) -> list[numpy.ndarray]:
        """Return a step's rows as they are computed one after the other (see micro_batches)."""
        return micro_batches(rows, self.lengths, tokens)

    def batch(self, part: numpy.ndarray, pad_id: int, device: torch.device) -> Batch:
        """Return what a model takes of a part, and bool (rows, labels): which label is right."""
        return pad([self.input_ids[row] for row in part], pad_id, device), self.targets[part]

    def loss(self, scores: torch.Tensor, targets: numpy.ndarray) -> torch.Tensor:
        """Return the binary cross entropy, in which a positive label weighs as much as its class.
        """
        weight = self.class_weights
        return nn.functional.binary_cross_entropy_with_logits(
            scores.float(), torch.from_numpy(targets).to(scores.device).float(),
            pos_weight=None if weight is None else torch.from_numpy(weight).to(
                scores.device, torch.float32))

    def part_weight(self, targets: numpy.ndarray) -> float:
        """Return the rows."""
        return len(targets)

    def count(self, rows: numpy.ndarray) -> int:
        """Return how many targets the loss of these rows sees."""
        return len(rows)

    def weight(self, rows: numpy.ndarray) -> float:
        """Return what the loss of these rows weighs in a mean over steps."""
        return len(rows)

    def measure(self, model: nn.Module, pad_id: int, batch_size: int, tokens: int
                ) -> dict[str, float]:
        """Return loss and metrics on the validation rows."""
        return measure(self._validation(model, pad_id, batch_size, tokens),
                       self.validation_targets)

    def adapter_meta(self, model: nn.Module, pad_id: int, batch_size: int, tokens: int) -> dict:
        """Return what the trained adapter keeps: thresholds, in the order of the labels."""
        scores = self._validation(model, pad_id, batch_size, tokens)
        thresholds = fit_thresholds(self.validation_targets, sigmoid(scores))
        return {"thresholds": [float(value) for value in thresholds]}

    def counted(self) -> dict[str, int]:
        """Return what an epoch's entry counts besides."""
        return {}

    def padding(self, parts: Sequence[numpy.ndarray]) -> float:
        """Return which share of the computed tokens is padding."""
        return padding_share(self.lengths, parts)

    def _validation(self, model: nn.Module, pad_id: int, batch_size: int, tokens: int
                    ) -> numpy.ndarray:
        return logits(model, self.validation_ids, pad_id=pad_id, batch_size=batch_size,
                      tokens=tokens)


def measure(scores: numpy.ndarray, targets: numpy.ndarray) -> dict[str, float]:
    """Return loss and metrics of logits (rows, labels) against bool (rows, labels).

    The labels are given by the thresholds that suit these rows best, as a trained adapter keeps
    them. calibrated_loss: the loss with the logits divided by the temperature at which it is
    smallest.
    """
    chances = sigmoid(scores)
    result = set_scores(targets, chances >= fit_thresholds(targets, chances))
    return {"validation_loss": _loss(scores, targets), "calibrated_loss": _calibrated(
        scores, targets), **{name: result[name] for name in (
            "micro_f1", "macro_f1", "samples_f1", "subset_accuracy")}}


def _loss(scores: numpy.ndarray, targets: numpy.ndarray) -> float:
    signed = numpy.where(targets, -1.0, 1.0) * numpy.asarray(scores, dtype=numpy.float64)
    return float(numpy.logaddexp(0.0, signed).mean())


def _calibrated(scores: numpy.ndarray, targets: numpy.ndarray) -> float:
    return float(minimize_scalar(lambda power: _loss(scores * numpy.exp(power), targets),
                                 bounds=(-3.0, 3.0), method="bounded",
                                 options={"xatol": 1e-4}).fun)


def _balanced(targets: numpy.ndarray) -> numpy.ndarray:
    """Return negative / positive rows of each label; 1 for a label without positive rows."""
    positive = targets.sum(axis=0)
    ratio = (len(targets) - positive) / numpy.maximum(positive, 1)
    return numpy.where(positive > 0, ratio.clip(1 / MOST_WEIGHT, MOST_WEIGHT), 1.0)
