"""A classifier: a model with its tokenizer and labels, from texts or token ids to predictions.

What ships with a registered model: it imports no evaluation and no reporting.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
import pandas
from torch import nn
from transformers import PreTrainedTokenizerBase

from ftzard.core.text import cleaned_as
from ftzard.modeling.adapter import open_adapter, require_bare
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.inference import Progress, answers, logits, probabilities
from ftzard.modeling.spec import BaseSpec
from ftzard.modeling.tokenizer import encode
from ftzard.tasks.classification import TASK

#: Columns that the registered model returns besides label and confidence, with their types.
OUTPUT = {"probabilities": "array of double", "abstains": "boolean"}
#: Whether confidence can be calibrated with a temperature.
CALIBRATED = True
#: What `fingerprint` returns, and the columns of the rows that it takes.
FINGERPRINT, FINGERPRINT_COLUMNS = "logits", ("input_ids",)


@dataclass
class Classifier:
    """A model that is ready to predict.

    Attributes:
        model: With or without an adapter.
        labels: Names in the order of the logits.
        max_length: Tokens a text may have.
        meta: What the adapter's folder says about it ({} for a bare base).
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    labels: list[str]
    max_length: int
    meta: dict

    def logits(
        self,
        input_ids: Sequence[Sequence[int]],
        *,
        batch_size: int = 64,
        on_step: Progress | None = None,
    ) -> numpy.ndarray:
        """Return float32 (rows, labels), in the order of the rows.

        Args:
            on_step: Called with (rows done, rows in all) after each batch.
        """
        return logits(
            self.model,
            input_ids,
            pad_id=self.tokenizer.pad_token_id,
            batch_size=batch_size,
            on_step=on_step,
        )

    def answers(
        self,
        input_ids: Sequence[Sequence[int]],
        *,
        batch_size: int = 64,
        on_step: Progress | None = None,
    ) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Return (logits, embeddings) of the rows, in their order.

        embeddings: float32 (rows, width), the mean over a text's tokens of the last hidden states,
        taken on their way to the head, so that they cost nothing beside the prediction.
        """
        return answers(
            self.model,
            input_ids,
            pad_id=self.tokenizer.pad_token_id,
            batch_size=batch_size,
            on_step=on_step,
        )

    def predict(
        self,
        texts: Sequence[str],
        *,
        batch_size: int = 64,
        temperature: float | None = None,
        abstain_below: float | None = None,
    ) -> pandas.DataFrame:
        """Return a row per text: label, confidence (0..1), probabilities (label order), abstains.

        A model without a temperature never does.

        Args:
            temperature: Calibrates confidence and probabilities, None leaves them as they are.
            abstain_below: Calibrated confidence below which the model abstains.
        """
        input_ids, _, _ = encode(texts, self.tokenizer, self.max_length)
        chances = probabilities(self.logits(input_ids, batch_size=batch_size), temperature)
        best = chances.argmax(axis=1)
        confidence = chances[numpy.arange(len(best)), best].astype(float)
        return pandas.DataFrame(
            {
                "label": [self.labels[i] for i in best],
                "confidence": confidence,
                "probabilities": [row.tolist() for row in chances],
                "abstains": abstains(confidence, temperature, abstain_below),
            }
        )


def abstains(
    confidence: numpy.ndarray, temperature: float | None, below: float | None
) -> numpy.ndarray:
    """Return for each confidence (rows,) whether a model abstains.

    Args:
        below: The threshold of a calibrated confidence, None for never. Without a temperature the
            confidence is not calibrated, and no threshold means anything.
    """
    limit = 0.0 if temperature is None or below is None else below
    return confidence < limit


def open_classifier(folder: Path, base: BaseSpec | LoadedBase) -> Classifier:
    """Return the classifier of a saved adapter on its base.

    Args:
        base: A spec, which is loaded, or a base in memory, to which the adapter is attached (one
            at a time: `detach` first).

    Raises:
        ModelError: If the base has other weights, another tokenizer or other labels than the
            adapter was trained with, before weights are loaded.
    """
    adapted, base, meta = open_adapter(folder, base, TASK.name)
    return Classifier(adapted, base.tokenizer, list(base.labels), meta["max_length"], meta)


def bare_classifier(loaded: LoadedBase, meta: Mapping | None = None) -> Classifier:
    """Return the base itself with its untrained head, to compare with; meta: unused."""
    require_bare(loaded, TASK.name)
    return Classifier(
        loaded.model, loaded.tokenizer, list(loaded.labels), loaded.spec.max_length, {}
    )


def clean(texts: Iterable[str], cleaning: Mapping) -> list[str]:
    """Return raw texts as the training rows were cleaned; cleaning: from the ftzard.json."""
    return cleaned_as(texts, cleaning)


def answer(predictor: Classifier, texts: Sequence[str], *, temperature: float | None = None,
           abstain_below: float | None = None) -> list[dict]:
    """Return label, confidence, {label: probability}, calibrated, abstains and the tokens cut.

    Args:
        texts: Cleaned.
        temperature, abstain_below: As for `Classifier.predict`.
    """
    input_ids, _, cut = encode(texts, predictor.tokenizer, predictor.max_length)
    chances = probabilities(predictor.logits(input_ids), temperature)
    unsure = abstains(chances.max(axis=1), temperature, abstain_below)
    answers = []
    for row, abstained, lost in zip(chances, unsure, cut, strict=True):
        best = int(row.argmax())
        answers.append({
            "label": predictor.labels[best], "confidence": float(row[best]),
            "probabilities": {label: float(p) for label, p in
                              zip(predictor.labels, row, strict=True)},
            "calibrated": temperature is not None, "abstains": bool(abstained),
            **({"cut": int(lost)} if lost else {})})
    return answers


def fingerprint(predictor: Classifier, rows: Mapping[str, Sequence], batch_size: int = 64
                ) -> numpy.ndarray:
    """Return the logits of tokenized rows, by which a saved model is known again."""
    return predictor.logits(rows["input_ids"], batch_size=batch_size)


open_predictor, bare_predictor = open_classifier, bare_classifier
