"""A multi-label classifier: from texts or token ids to label sets, each label by its threshold.

What ships with a registered model: it imports no evaluation and no reporting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy
import pandas

from ftzard.modeling.adapter import open_adapter, require_bare
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.spec import BaseSpec
from ftzard.modeling.tokenizer import encode
from ftzard.tasks.classification.predictor import Classifier, clean, fingerprint
from ftzard.tasks.multi_label import TASK, label_sets
from ftzard.tasks.multi_label.thresholds import DEFAULT, sigmoid

__all__ = ["clean", "fingerprint"]

#: Columns that the registered model returns besides label and confidence, with their types.
OUTPUT = {"labels": "array of string", "probabilities": "array of double"}
#: Whether confidence can be calibrated with a temperature.
CALIBRATED = False
#: What `fingerprint` returns, and the columns of the rows that it takes.
FINGERPRINT, FINGERPRINT_COLUMNS = "logits", ("input_ids",)


@dataclass
class Answered:
    """A model's answers to rows: probabilities and bool chosen, each (rows, labels)."""

    probabilities: numpy.ndarray
    chosen: numpy.ndarray


@dataclass
class LabelSetClassifier(Classifier):
    """A model that gives any number of labels.

    Attributes:
        thresholds: (labels,), the probabilities from which a label is given.
    """

    thresholds: numpy.ndarray = field(default_factory=lambda: numpy.zeros(0))

    def chosen(self, chances: numpy.ndarray) -> numpy.ndarray:
        """Return bool (rows, labels): which labels are given."""
        return chances >= self.thresholds

    def predict(self, texts: Sequence[str], *, batch_size: int = 64, **_: object
                ) -> pandas.DataFrame:
        """Return a row per text: label, confidence, labels and probabilities (in label order).

        label: the labels as one text, `anger|joy`, or `[]` for none; labels: the same as a list;
        confidence: as `confidence` returns it.
        """
        input_ids, _, _ = encode(texts, self.tokenizer, self.max_length)
        chances = sigmoid(self.logits(input_ids, batch_size=batch_size))
        chosen = self.chosen(chances)
        labels = label_sets.from_indicators(chosen, self.labels)
        return pandas.DataFrame({
            "label": labels, "confidence": confidence(chances, chosen),
            "labels": [list(label_sets.split(label)) for label in labels],
            "probabilities": [row.tolist() for row in chances]})


def confidence(chances: numpy.ndarray, chosen: numpy.ndarray) -> numpy.ndarray:
    """Return each row's confidence (rows,): of the label that the model is least sure about.

    It is the probability that the label is right to be given, or not to be.
    """
    return numpy.where(chosen, chances, 1 - chances).min(axis=1)


def open_predictor(folder: Path, base: BaseSpec | LoadedBase) -> LabelSetClassifier:
    """Return the classifier of a saved adapter on its base.

    Args:
        base: A spec, which is loaded, or a base in memory, to which the adapter is attached (one
            at a time: `detach` first).

    Raises:
        ModelError: If the base has other weights, another tokenizer or other labels than the
            adapter was trained with, before weights are loaded.
    """
    adapted, base, meta = open_adapter(folder, base, TASK.name)
    return LabelSetClassifier(adapted, base.tokenizer, list(base.labels), meta["max_length"], meta,
                              numpy.array(meta["thresholds"]))


def bare_predictor(loaded: LoadedBase, meta: Mapping | None = None) -> LabelSetClassifier:
    """Return the base itself with its untrained head, to compare with; meta: unused."""
    require_bare(loaded, TASK.name)
    return LabelSetClassifier(
        loaded.model, loaded.tokenizer, list(loaded.labels), loaded.spec.max_length, {},
        numpy.full(len(loaded.labels), DEFAULT))


def answer(predictor: LabelSetClassifier, texts: Sequence[str], **_: object) -> list[dict]:
    """Return label, labels, confidence, {label: probability} and the tokens cut.

    Args:
        texts: Cleaned.
    """
    input_ids, _, cut = encode(texts, predictor.tokenizer, predictor.max_length)
    chances = sigmoid(predictor.logits(input_ids))
    chosen = predictor.chosen(chances)
    labels = label_sets.from_indicators(chosen, predictor.labels)
    return [{
        "label": label, "labels": list(label_sets.split(label)), "confidence": float(sure),
        "probabilities": {name: float(p) for name, p in zip(predictor.labels, row, strict=True)},
        **({"cut": int(lost)} if lost else {})}
        for label, sure, row, lost in zip(
            labels, confidence(chances, chosen), chances, cut, strict=True)]
