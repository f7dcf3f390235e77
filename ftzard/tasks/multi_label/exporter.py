"""What is particular to the export of a multi-label classifier: thresholds, how it is asked."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy
from torch import nn
from transformers import PreTrainedTokenizerBase

from ftzard.core.artifacts import write_json
from ftzard.tasks.classification import exporter as classification
from ftzard.tasks.multi_label import label_sets
from ftzard.tasks.multi_label.predictor import LabelSetClassifier
from ftzard.tasks.multi_label.thresholds import sigmoid


class Exporter(classification.Exporter):
    """As of a classifier; the thresholds stand in a file, the problem type in the config."""

    output = "label set"

    def __init__(self, classifier: LabelSetClassifier) -> None:
        super().__init__(classifier)
        self.labels, self.thresholds = classifier.labels, classifier.thresholds
        self.values |= {"problem_type": "multi_label_classification"}

    def expected(self, texts: Sequence[str]) -> tuple[numpy.ndarray, list]:
        """Return logits (rows, labels) and label sets of the model, once; then it is let go of."""
        logits, _ = super().expected(texts)
        return logits, self._sets(logits)

    def finish(self, part: Path) -> None:
        """Write the threshold of each label, and the problem type where there is a config."""
        write_json(part / "thresholds.json",
                   dict(zip(self.labels, self.thresholds.tolist(), strict=True)))
        config = part / "config.json"
        if config.is_file():
            write_json(config, json.loads(config.read_text(encoding="utf-8"))
                       | {"problem_type": "multi_label_classification"})

    def actual(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
               ) -> tuple[numpy.ndarray, list]:
        """Return logits and label sets of plain transformers."""
        logits, _ = super().actual(model, tokenizer, texts)
        return logits, self._sets(logits)

    def _sets(self, logits: numpy.ndarray) -> list[str]:
        return label_sets.from_indicators(sigmoid(logits) >= self.thresholds, self.labels)
