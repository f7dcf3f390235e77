"""A classifier: a model with its tokenizer and labels, from texts or token ids to predictions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import pandas
from torch import nn
from transformers import PreTrainedTokenizerBase

from ftzard.modeling.inference import Progress, answers, logits, probabilities
from ftzard.modeling.tokenizer import encode


@dataclass
class Classifier:
    """A model that is ready to predict.

    model: with or without an adapter; labels: names in the order of the logits; max_length: tokens
    a text may have; meta: what the adapter's folder says about it ({} for a bare base).
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

        on_step: called with (rows done, rows in all) after each batch.
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

        temperature: calibrates confidence and probabilities, None leaves them as they are;
        abstain_below: calibrated confidence below which the model abstains. A model without a
        temperature never does.
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

    below: the threshold of a calibrated confidence, None for never. Without a temperature the
    confidence is not calibrated, and no threshold means anything.
    """
    limit = 0.0 if temperature is None or below is None else below
    return confidence < limit


