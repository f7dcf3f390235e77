"""The objective of classification: the cross entropy of the labels, and its metrics."""

import math
from collections.abc import Mapping, Sequence

import numpy
import pandas
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from torch import nn

from ftzard.errors import ModelError, nearest
from ftzard.modeling.batching import micro_batches, pad, padding_share
from ftzard.modeling.inference import logits
from ftzard.tasks.classification import asked
from ftzard.training.objective import Batch, check_count

#: The least and the largest temperature that logits are divided by.
COLDEST = 0.05


HOTTEST = 20.0


#: The class weights that are worked out from the training rows.
BALANCED = "balanced"


class Labels:
    """The label of each text: every row weighs the same, or as much as its class.

    The loss of a step is the weighted mean of its rows; the validation rows are measured without
    weights. A row that was not asked about a label (`asked`) is learned and measured among the
    others.

    Attributes:
        class_weights: Weight per label, or BALANCED: rows / (classes * rows of the class), so that
            every class weighs the same in sum; None: 1 for every row.
    """

    def __init__(
        self,
        train_rows: pandas.DataFrame,
        validation_rows: pandas.DataFrame,
        labels: Sequence[str],
        class_weights: str | Mapping[str, float] | None = None,
    ):
        self.targets = _targets(train_rows, labels, "training")
        self.validation_targets = _targets(validation_rows, labels, "validation")
        self.asked = asked.mask(train_rows, labels)
        self.validation_asked = asked.mask(validation_rows, labels)
        check_count(self.targets, self.validation_targets)
        present = numpy.unique(self.targets)
        if len(present) < 2:
            raise ModelError(
                f"all {len(self.targets)} training rows have the label '{labels[present[0]]}'; "
                "expected at least two labels. There is nothing to tell apart."
            )
        self.input_ids = train_rows["input_ids"].tolist()
        self.validation_ids = validation_rows["input_ids"].tolist()
        self.lengths = numpy.array([len(ids) for ids in self.input_ids])
        self.class_weights = (None if class_weights is None
                              else _class_weights(class_weights, self.targets, labels))

    def parts(self, rows: numpy.ndarray, tokens: int | None) -> list[numpy.ndarray]:
        """Return a step's rows as they are computed one after the other (see micro_batches)."""
        return micro_batches(rows, self.lengths, tokens)

    def batch(self, part: numpy.ndarray, pad_id: int, device: torch.device) -> Batch:
        """Return what a model takes of a part, and the label numbers (int64) of its rows.

        With rows that were not asked about all labels, also which each one was asked about.
        """
        targets = self.targets[part]
        if self.asked is not None:
            targets = among_asked(targets, self.asked[part])
        return pad([self.input_ids[row] for row in part], pad_id, device), targets

    def loss(self, scores: torch.Tensor, targets: numpy.ndarray) -> torch.Tensor:
        """Return the cross entropy of the labels, weighted by their classes."""
        return cross_entropy(scores, targets, self.class_weights)

    def part_weight(self, targets: numpy.ndarray) -> float:
        """Return the rows, or the sum of the weights of their classes."""
        if self.class_weights is None:
            return len(targets)
        return float(self.class_weights[_numbers(targets)].sum())

    def count(self, rows: numpy.ndarray) -> int:
        """Return how many targets the loss of these rows sees."""
        return len(rows)

    def weight(self, rows: numpy.ndarray) -> float:
        """Return what the loss of these rows weighs in a mean over steps."""
        if self.class_weights is None:
            return len(rows)
        return float(self.class_weights[self.targets[rows]].sum())

    def measure(
        self, model: nn.Module, pad_id: int, batch_size: int, tokens: int
    ) -> dict[str, float]:
        """Return loss and metrics on the validation rows."""
        scores = logits(
            model, self.validation_ids, pad_id=pad_id, batch_size=batch_size, tokens=tokens)
        return measure(asked.among(scores, self.validation_asked), self.validation_targets)

    def adapter_meta(
        self, model: nn.Module, pad_id: int, batch_size: int, tokens: int
    ) -> dict[str, object]:
        """Return nothing that the adapter keeps."""
        return {}

    def counted(self) -> dict[str, int]:
        """Return what an epoch's entry counts besides."""
        return {}

    def padding(self, parts: Sequence[numpy.ndarray]) -> float:
        """Return which share of the computed tokens is padding."""
        return padding_share(self.lengths, parts)


def among_asked(numbers: numpy.ndarray, asked: numpy.ndarray) -> numpy.ndarray:
    """Return label numbers (rows,) with the labels that each of them is chosen among.

    The result is a structured array with the fields 'number' and 'asked'.

    Args:
        asked: Bool (rows, labels).
    """
    fields = [("number", numpy.int64), ("asked", bool, asked.shape[1:])]
    targets = numpy.empty(len(numbers), dtype=fields)
    targets["number"], targets["asked"] = numbers, asked
    return targets


def cross_entropy(scores: torch.Tensor, targets: numpy.ndarray,
                  class_weights: numpy.ndarray | None = None) -> torch.Tensor:
    """Return the mean cross entropy of logits (rows, labels), each among the labels it is asked.

    Args:
        targets: Label numbers, or what `among_asked` returns.
        class_weights: By label number.
    """
    scores, weight = scores.float(), None
    if class_weights is not None:
        weight = torch.from_numpy(class_weights).to(scores.device, torch.float32)
    if targets.dtype.names:
        allowed = torch.from_numpy(targets["asked"].copy()).to(scores.device)
        scores = scores.masked_fill(~allowed, -math.inf)
    return nn.functional.cross_entropy(
        scores, torch.from_numpy(_numbers(targets)).to(scores.device), weight=weight)


def _numbers(targets: numpy.ndarray) -> numpy.ndarray:
    """Return label numbers without the labels that they are chosen among."""
    return targets["number"].copy() if targets.dtype.names else targets


def measure(scores: numpy.ndarray, targets: numpy.ndarray) -> dict[str, float]:
    """Return loss and metrics of logits (rows, labels) against label numbers (rows).

    calibrated_loss: the mean cross entropy with the logits divided by the temperature at which it
    is smallest, which is told beside it: above 1 the model is surer than it should be. Classes that
    occur neither in the targets nor in the predictions do not count in the averages.
    """
    predicted = scores.argmax(axis=1)
    loss = nn.functional.cross_entropy(torch.from_numpy(scores), torch.from_numpy(targets))
    precision, recall, f1, present = [], [], [], []
    for number in range(scores.shape[1]):
        true, positive = targets == number, predicted == number
        if not (true.any() or positive.any()):
            continue
        hits = int((true & positive).sum())
        precision.append(hits / max(1, int(positive.sum())))
        recall.append(hits / max(1, int(true.sum())))
        f1.append(2 * hits / int(true.sum() + positive.sum()))
        present.append(bool(true.any()))
    calibrated, temperature = _calibrated(scores, targets)
    return {
        "validation_loss": float(loss),
        "calibrated_loss": calibrated,
        "temperature": temperature,
        "accuracy": float((predicted == targets).mean()),
        "balanced_accuracy": float(numpy.mean(
            [value for value, there in zip(recall, present, strict=True) if there])),
        "macro_precision": float(numpy.mean(precision)),
        "macro_recall": float(numpy.mean(recall)),
        "macro_f1": float(numpy.mean(f1)),
    }


def _calibrated(scores: numpy.ndarray, targets: numpy.ndarray) -> tuple[float, float]:
    """Return the smallest loss that a temperature gives, and the temperature.

    In the inverse temperature the loss is convex, so that a bounded search finds its minimum.
    """
    values, own = scores.astype(numpy.float64), (numpy.arange(len(targets)), targets)

    def loss(log_inverse: float) -> float:
        scaled = values * math.exp(log_inverse)
        return float((logsumexp(scaled, axis=1) - scaled[own]).mean())

    minimum = minimize_scalar(loss, bounds=(-math.log(HOTTEST), -math.log(COLDEST)),
                              method="bounded", options={"xatol": 1e-4})
    return float(minimum.fun), math.exp(-float(minimum.x))


def _targets(rows: pandas.DataFrame, labels: Sequence[str], side: str) -> numpy.ndarray:
    """Return the label numbers (int64) of rows."""
    numbers = {label: number for number, label in enumerate(labels)}
    unknown = sorted({str(label) for label in rows["label"] if label not in numbers})
    if unknown:
        raise ModelError(
            f"{side} rows have the label '{unknown[0]}' (unknown labels: {len(unknown)})"
            f"{nearest(unknown[0], labels)}"
        )
    return numpy.array([numbers[label] for label in rows["label"]], dtype=numpy.int64)


def check_class_weights(
    class_weights: str | Mapping[str, float] | None, labels: Sequence[str]
) -> None:
    """Raise ModelError unless class weights are None, BALANCED or one number above 0 per label."""
    if class_weights is None or class_weights == BALANCED:
        return
    if not isinstance(class_weights, Mapping):
        raise ModelError(
            f"training.class_weights is {class_weights!r}; expected '{BALANCED}', a map of label "
            "to weight, or null.")
    unknown = [label for label in class_weights if label not in labels]
    if unknown:
        raise ModelError(
            f"training.class_weights has the label '{unknown[0]}' (unknown labels: {len(unknown)})"
            f"{nearest(unknown[0], labels)}")
    missing = [label for label in labels if label not in class_weights]
    if missing:
        raise ModelError(
            f"training.class_weights lacks the label '{missing[0]}' (missing labels: "
            f"{len(missing)}); expected a weight for each of {', '.join(labels)}. Write 1 where "
            "nothing is to change.")
    for label, weight in class_weights.items():
        if not (math.isfinite(weight) and weight > 0):
            raise ModelError(
                f"training.class_weights.{label} is {weight!r}; expected a finite number above 0.")


def _class_weights(
    class_weights: str | Mapping[str, float], targets: numpy.ndarray, labels: Sequence[str]
) -> numpy.ndarray:
    """Return the weight of each label (float64), by its number; 1 for one without rows."""
    check_class_weights(class_weights, labels)
    if class_weights != BALANCED:
        return numpy.array([class_weights[label] for label in labels], dtype=numpy.float64)
    rows = numpy.bincount(targets, minlength=len(labels))
    return numpy.where(rows > 0, len(targets) / ((rows > 0).sum() * numpy.maximum(rows, 1)), 1.0)
