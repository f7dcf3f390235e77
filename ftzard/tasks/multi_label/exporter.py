"""What is particular to the export of a multi-label classifier: its config, how it is asked."""

from collections.abc import Sequence

import numpy
from torch import nn
from transformers import PreTrainedTokenizerBase

from ftzard.tasks.classification import exporter as classification
from ftzard.tasks.multi_label import label_sets
from ftzard.tasks.multi_label.predictor import LabelSetClassifier
from ftzard.tasks.multi_label.thresholds import sigmoid


class Exporter(classification.Exporter):
    """As of a classifier, with the problem type and the thresholds in the model's config."""

    output = "label set"

    def __init__(self, classifier: LabelSetClassifier) -> None:
        super().__init__(classifier)
        self.labels, self.thresholds = classifier.labels, classifier.thresholds
        self.values |= {"problem_type": "multi_label_classification",
                        "label_thresholds": self.thresholds.tolist()}

    def expected(self, texts: Sequence[str]) -> tuple[numpy.ndarray, list]:
        """Return logits (rows, labels) and label sets of the model, once; then it is let go of."""
        logits, _ = super().expected(texts)
        return logits, self._sets(logits)

    def actual(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
               ) -> tuple[numpy.ndarray, list]:
        """Return logits and label sets of plain transformers."""
        logits, _ = super().actual(model, tokenizer, texts)
        return logits, self._sets(logits)

    def _sets(self, logits: numpy.ndarray) -> list[str]:
        return label_sets.from_indicators(sigmoid(logits) >= self.thresholds, self.labels)
