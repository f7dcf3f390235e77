"""Logits, probabilities and embeddings of token ids, batch by batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy
import torch
from torch import nn

from ftzard.errors import ModelError
from ftzard.modeling.architecture import backbone, last_hidden
from ftzard.modeling.batching import pad, sorted_batches

Progress = Callable[[int, int], object]


#: Most padded tokens that are predicted at once, however many rows a batch may have.
TOKENS = 16384


def logits(
    model: nn.Module,
    input_ids: Sequence[Sequence[int]],
    *,
    pad_id: int,
    batch_size: int = 64,
    tokens: int = TOKENS,
    on_step: Progress | None = None,
) -> numpy.ndarray:
    """Return the float32 logits (rows, labels) of `model`, batched by length, order restored.

    Args:
        batch_size, tokens: Most rows and most padded tokens of a batch.

    Raises:
        ModelError: If a row has no token or a logit is not finite.
    """
    return _predicted(
        model, input_ids, pad_id, batch_size, tokens, on_step, lambda rows, mask: None
    )


def answers(
    model: nn.Module,
    input_ids: Sequence[Sequence[int]],
    *,
    pad_id: int,
    batch_size: int = 64,
    on_step: Progress | None = None,
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return (logits, embeddings): the logits as `logits` gives them, and float32 (rows, width).

    A row's embedding is the mean over its tokens of the last hidden states. Raises ModelError as
    `logits` does.
    """
    embeddings = numpy.zeros((len(input_ids), model.config.hidden_size), dtype=numpy.float32)
    with _leaving_backbone(model) as seen:

        def take(rows: numpy.ndarray, mask: torch.Tensor) -> None:
            weights = mask.unsqueeze(-1).float()
            sums = (seen.pop().float() * weights).sum(dim=1)
            embeddings[rows] = (sums / weights.sum(dim=1)).cpu().numpy()

        outputs = _predicted(model, input_ids, pad_id, batch_size, TOKENS, on_step, take)
    return outputs, embeddings


def _predicted(
    model: nn.Module,
    input_ids: Sequence[Sequence[int]],
    pad_id: int,
    batch_size: int,
    tokens: int,
    on_step: Progress | None,
    take: Callable[[numpy.ndarray, torch.Tensor], None],
) -> numpy.ndarray:
    """Return the logits; after each batch `take` gets its row numbers and attention mask."""
    lengths = numpy.array([len(ids) for ids in input_ids], dtype=numpy.int64)
    if len(lengths) == 0:
        return numpy.zeros((0, model.config.num_labels), dtype=numpy.float32)
    if lengths.min() == 0:
        raise ModelError(
            f"row {int(lengths.argmin())} has 0 tokens; expected at least one. Tokenize the texts "
            "with ftzard's encode, which ends each in the eos token."
        )
    device = next(model.parameters()).device
    result = numpy.zeros((len(lengths), model.config.num_labels), dtype=numpy.float32)
    training, done = model.training, 0
    model.eval()
    try:
        with torch.inference_mode():
            for rows in sorted_batches(lengths, batch_size, tokens):
                batch = pad([input_ids[row] for row in rows], pad_id, device)
                result[rows] = model(**batch).logits.float().cpu().numpy()
                take(rows, batch["attention_mask"])
                done += len(rows)
                if on_step is not None:
                    on_step(done, len(lengths))
    finally:
        model.train(training)
    broken = numpy.flatnonzero(~numpy.isfinite(result).all(axis=1))
    if len(broken):
        raise ModelError(
            f"logits of {len(broken)} of {len(result)} rows are not finite (first: row "
            f"{broken[0]}); expected numbers. The weights are broken: lower the learning rate or "
            "choose compute_dtype=bfloat16 instead of float16."
        )
    return result


@contextmanager
def _leaving_backbone(model: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Collect what the backbone gives the head: the last hidden states, one tensor per batch."""
    seen: list[torch.Tensor] = []
    hook = backbone(model).register_forward_hook(
        lambda _, given, outputs: seen.append(last_hidden(outputs))
    )
    try:
        yield seen
    finally:
        hook.remove()


def probabilities(logits: numpy.ndarray, temperature: float | None = None) -> numpy.ndarray:
    """Return the softmax of logits (rows, labels), float64, each row summing to 1.

    Args:
        temperature: Divides the logits; None: as they are. It changes no row's likeliest label.
    """
    shifted = logits.astype(numpy.float64) - logits.max(axis=1, keepdims=True)
    if temperature is not None:
        shifted /= temperature
    powers = numpy.exp(shifted)
    return powers / powers.sum(axis=1, keepdims=True)
