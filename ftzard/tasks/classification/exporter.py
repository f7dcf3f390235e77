"""What is particular to the export of a classifier: tokenizer, loader, and how it is asked."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy
import torch
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase

from ftzard.core.artifacts import write_json
from ftzard.modeling.hf_logging import quiet_loading
from ftzard.modeling.tokenizer import encode, frame
from ftzard.tasks.classification.predictor import Classifier


class Exporter:
    """What is particular to the export of a model that chooses labels.

    SAMPLE: most texts that it is asked; output: what it gives a text.
    """

    SAMPLE, output, loader = 64, "label", AutoModelForSequenceClassification

    def __init__(self, classifier: Classifier) -> None:
        labels = classifier.labels
        self.model, self.tokenizer = classifier.model, classifier.tokenizer
        self.max_length, self._classifier = classifier.max_length, classifier
        self.values = {
            "num_labels": len(labels), "id2label": dict(enumerate(labels)),
            "label2id": {label: number for number, label in enumerate(labels)}}

    def usable(self, texts: Sequence[str]) -> list[str]:
        """Return the texts that can be asked: all of them."""
        return list(texts)

    def input_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return texts as the model was trained to read them."""
        return encode(texts, self.tokenizer, self.max_length)[0]

    def expected(self, texts: Sequence[str]) -> tuple[numpy.ndarray, list]:
        """Return logits (rows, labels) and labels of the model, once; then it is let go of."""
        logits = self._classifier.logits(self.input_ids(texts))
        self._classifier = None
        return logits, logits.argmax(axis=1).tolist()

    def write_tokenizer(self, part: Path) -> None:
        """Save the tokenizer so that it puts the frame around a text by itself, cut where it was.
        """
        _write_tokenizer(part, self.tokenizer, self.max_length)

    def finish(self, part: Path) -> None:
        """Nothing more is written."""

    def ids_of(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
        """Return texts as plain transformers reads them."""
        return tokenizer(list(texts), truncation=True)["input_ids"]

    def actual(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
              ) -> tuple[numpy.ndarray, list]:
        """Return logits and labels of plain transformers."""
        logits = _logits(model, tokenizer, texts)
        return logits, logits.argmax(axis=1).tolist()


def _write_tokenizer(part: Path, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
    """Save the tokenizer so that it puts the frame around a text by itself, cut where it was."""
    before, after = frame(tokenizer)
    names = tokenizer.convert_ids_to_tokens([*before, *after])
    special = sorted(set(zip(names, [*before, *after], strict=True)))
    pieces = [*names[:len(before)], "$A", *names[len(before):]]
    original = tokenizer.backend_tokenizer.post_processor, tokenizer.model_max_length
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=" ".join(pieces), pair=None, special_tokens=special)
    tokenizer.model_max_length = max_length
    try:
        with quiet_loading():
            tokenizer.save_pretrained(part)
    finally:
        if original[0] is not None:
            tokenizer.backend_tokenizer.post_processor = original[0]
        tokenizer.model_max_length = original[1]
    file = part / "tokenizer_config.json"
    original_values = json.loads(file.read_text(encoding="utf-8"))
    write_json(file, {**original_values, "split_special_tokens": True,
                      "model_max_length": max_length, "padding_side": "right"})


def _logits(model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str],
            batch_size: int = 32) -> numpy.ndarray:
    device = next(model.parameters()).device
    logits = []
    with torch.inference_mode():
        for start in range(0, len(texts), batch_size):
            batch = tokenizer(list(texts[start:start + batch_size]), truncation=True, padding=True,
                              return_tensors="pt").to(device)
            batch.pop("token_type_ids", None)
            logits.append(model(**batch).logits.float().cpu().numpy())
    return numpy.concatenate(logits)
