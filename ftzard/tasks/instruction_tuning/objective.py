"""The objective of instruction tuning: the cross entropy of the answers' tokens."""

import math
from collections.abc import Sequence

import numpy
import pandas
import torch
from torch import nn

from ftzard.errors import ModelError
from ftzard.modeling.batching import micro_batches, pad
from ftzard.modeling.checks import row_name
from ftzard.tasks.instruction_tuning import packing
from ftzard.tasks.instruction_tuning.token_loss import asked_alone, require_supervised, row_losses
from ftzard.training.objective import Batch, check_count


class Answers:
    """The tokens of each answer: every one of them weighs the same, those of prompts nothing.

    Rows have input_ids, a prompt and its answer, and prompt_length. packed_length: most tokens of a
    sequence into which a step's rows are packed, None for a row per sequence.
    """

    def __init__(
        self,
        model: nn.Module,
        train_rows: pandas.DataFrame,
        validation_rows: pandas.DataFrame,
        packed_length: int | None,
    ):
        self.input_ids, self.prompts = _prompts(train_rows, "training", packed_length)
        self.validation_ids, self.validation_prompts = _prompts(validation_rows, "validation")
        check_count(self.input_ids, self.validation_ids)
        self.lengths = numpy.array([len(ids) for ids in self.input_ids])
        self.packed_length = packed_length
        self.mask = packing.mask_of(model)

    def parts(self, rows: numpy.ndarray, tokens: int | None) -> list[list[list[int]]]:
        """Return a step's rows by sequence, as they are computed one after the other.

        Args:
            tokens: Most padded tokens of a part, None or 0 for no bound.
        """
        rows = numpy.asarray(rows)
        if self.packed_length is None:
            together = [[row] for row in rows]
        else:
            sequences = packing.bins(self.lengths[rows], self.packed_length)
            together = [[rows[place] for place in places] for places in sequences]
        lengths = [self._length(sequence) for sequence in together]
        return [[together[number] for number in part]
                for part in micro_batches(numpy.arange(len(together)), lengths, tokens)]

    def batch(self, part: list[list[int]], pad_id: int, device: torch.device) -> Batch:
        """Return what a model takes of a part, and the ids (int64) of all its supervised tokens.

        The batch asks for logits only where one of them is predicted, in the order of the ids.
        """
        ids = [[self.input_ids[row] for row in sequence] for sequence in part]
        prompts = [[self.prompts[row] for row in sequence] for sequence in part]
        if self.packed_length is None:
            batch = pad([one for sequence in ids for one in sequence], pad_id, device)
        else:
            batch = packing.together(ids, pad_id, device, **self.mask)
        return asked_alone(batch, ids, prompts)

    def loss(self, scores: torch.Tensor, targets: numpy.ndarray) -> torch.Tensor:
        """Return the cross entropy of the supervised tokens."""
        return nn.functional.cross_entropy(
            scores.float(), torch.from_numpy(targets).to(scores.device))

    def part_weight(self, targets: numpy.ndarray) -> float:
        """Return the supervised tokens."""
        return len(targets)

    def count(self, rows: numpy.ndarray) -> int:
        """Return how many supervised tokens the loss of these rows sees."""
        return int((self.lengths[rows] - self.prompts[rows]).sum())

    def weight(self, rows: numpy.ndarray) -> int:
        """Return what the loss of these rows weighs in a mean over steps: its tokens."""
        return self.count(rows)

    def measure(
        self, model: nn.Module, pad_id: int, batch_size: int, tokens: int
    ) -> dict[str, float]:
        """Return loss (mean over all supervised tokens) and metrics on the validation rows."""
        losses = row_losses(model, self.validation_ids, self.validation_prompts, pad_id=pad_id,
                            batch_size=batch_size, tokens=tokens)
        loss = float(numpy.average(losses.loss, weights=losses.tokens))
        return {
            "validation_loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "token_accuracy": float(losses.hits.sum() / losses.tokens.sum()),
        }

    def adapter_meta(
        self, model: nn.Module, pad_id: int, batch_size: int, tokens: int
    ) -> dict[str, object]:
        """Return nothing that the adapter keeps."""
        return {}

    def counted(self) -> dict[str, int]:
        """Return the supervised tokens of an epoch, which the loss of every step has seen."""
        return {"supervised_tokens": self.count(numpy.arange(len(self.lengths)))}

    def padding(self, parts: Sequence[list[list[int]]]) -> float:
        """Return which share of the computed tokens is padding."""
        lengths = [[self._length(sequence) for sequence in part] for part in parts]
        computed = sum(len(lengths_of) * max(lengths_of) for lengths_of in lengths)
        return 1 - sum(map(sum, lengths)) / computed

    def _length(self, sequence: list[int]) -> int:
        return int(sum(self.lengths[row] for row in sequence))


def _prompts(
    rows: pandas.DataFrame, side: str, packed_length: int | None = None
) -> tuple[list, numpy.ndarray]:
    """Return the ids of rows and their prompt lengths (int64), each with something to learn."""
    if "prompt_length" not in rows:
        raise ModelError(
            f"{side} rows have no column 'prompt_length' but {list(rows.columns)}; expected rows "
            "of instructions. Run the preprocessing step with task=instruction_tuning."
        )
    input_ids = rows["input_ids"].tolist()
    lengths = numpy.array([len(ids) for ids in input_ids], dtype=numpy.int64)
    prompts = rows["prompt_length"].to_numpy(dtype=numpy.int64)
    require_supervised(side, rows, prompts, lengths)
    long = numpy.flatnonzero(lengths > packed_length) if packed_length is not None else []
    if len(long):
        raise ModelError(
            f"{side} row {row_name(rows, long[0])} has {lengths[long[0]]} tokens (so long rows: "
            f"{len(long)}); expected at most {packed_length}, which is what rows are packed into. "
            "Run the preprocessing step again with this model.max_length."
        )
    return input_ids, prompts
