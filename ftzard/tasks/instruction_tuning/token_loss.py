"""How likely a model finds answers that are given: the loss of each row, of its answer alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy
import pandas
import torch
from torch import nn

from ftzard.errors import ModelError
from ftzard.modeling.architecture import headed_in
from ftzard.modeling.batching import pad, sorted_batches
from ftzard.modeling.checks import row_name

Progress = Callable[[int, int], object]

#: Most padded tokens that are computed at once, however many rows a batch may have.
TOKENS = 16384
#: Most logits that are computed at once, in numbers: 256 MB of float32.
LOGITS = 1 << 26


@dataclass(frozen=True)
class RowLosses:
    """What a model makes of given answers, one entry per row.

    Attributes:
        loss: float64, mean negative log-likelihood per supervised token in nats.
        tokens: int64, how many those are.
        hits: int64, how many of them the model holds most likely.
    """

    loss: numpy.ndarray
    tokens: numpy.ndarray
    hits: numpy.ndarray


def row_losses(
    model: nn.Module,
    input_ids: Sequence[Sequence[int]],
    prompt_lengths: Sequence[int],
    *,
    pad_id: int,
    batch_size: int = 64,
    tokens: int = TOKENS,
    on_step: Progress | None = None,
) -> RowLosses:
    """Return the losses of rows, batched by length, order restored.

    Args:
        input_ids: Of prompts, each with its answer.
        prompt_lengths: How many ids are the prompt's.
        batch_size, tokens: Most rows and most padded tokens of a batch, which is smaller where the
            vocabulary is large.
        on_step: Called with (rows done, rows in all).

    Raises:
        ModelError: For a row without a prompt or a supervised token, and if a loss is not finite.
    """
    prompts = numpy.asarray(prompt_lengths, dtype=numpy.int64)
    lengths = numpy.array([len(ids) for ids in input_ids], dtype=numpy.int64)
    require_supervised("given", pandas.DataFrame(index=range(len(lengths))), prompts, lengths)
    inside = headed_in(model)
    bound = min(tokens, max(1, LOGITS // inside.config.get_text_config().vocab_size))
    device = next(model.parameters()).device
    loss = numpy.zeros(len(lengths), dtype=numpy.float64)
    hits = numpy.zeros(len(lengths), dtype=numpy.int64)
    training, done = model.training, 0
    model.eval()
    try:
        with torch.inference_mode():
            for rows in sorted_batches(lengths, batch_size, bound):
                ids = [[input_ids[row]] for row in rows]
                batch, targets = asked_alone(pad([one for one, in ids], pad_id, device), ids,
                                             [[prompts[row]] for row in rows])
                scores, wanted = model(**batch).logits.float(), torch.from_numpy(targets).to(device)
                each = nn.functional.cross_entropy(scores, wanted, reduction="none")
                right = scores.argmax(dim=-1) == wanted
                ends = numpy.cumsum(lengths[rows] - prompts[rows])[:-1]
                loss[rows] = [part.mean() for part in numpy.split(
                    each.cpu().numpy().astype(numpy.float64), ends)]
                hits[rows] = [part.sum() for part in numpy.split(right.cpu().numpy(), ends)]
                done += len(rows)
                if on_step is not None:
                    on_step(done, len(lengths))
    finally:
        model.train(training)
    broken = numpy.flatnonzero(~numpy.isfinite(loss))
    if len(broken):
        raise ModelError(
            f"losses of {len(broken)} of {len(loss)} rows are not finite (first: row {broken[0]}); "
            "expected numbers. The weights are broken: lower the learning rate or choose "
            "compute_dtype=bfloat16 instead of float16."
        )
    return RowLosses(loss, lengths - prompts, hits)


def asked_alone(
    batch: dict[str, torch.Tensor],
    ids: Sequence[Sequence[Sequence[int]]],
    prompts: Sequence[Sequence[int]],
) -> tuple[dict[str, torch.Tensor], numpy.ndarray]:
    """Return a batch that asks for the logits of supervised tokens alone, and those tokens' ids.

    A token is predicted at the place before it.

    Args:
        ids, prompts: Of each sequence's rows, in order.
    """
    keep = numpy.zeros(batch["input_ids"].shape, dtype=bool)
    targets: list[int] = []
    for number, (rows, lengths) in enumerate(zip(ids, prompts, strict=True)):
        start = 0
        for values, prompt in zip(rows, lengths, strict=True):
            keep[number, start + prompt - 1 : start + len(values) - 1] = True
            targets.extend(values[prompt:])
            start += len(values)
    asked = torch.from_numpy(keep).to(batch["input_ids"].device)
    return {**batch, "logits_to_keep": asked}, numpy.array(targets, dtype=numpy.int64)


def require_supervised(
    side: str, rows: pandas.DataFrame, prompts: numpy.ndarray, lengths: numpy.ndarray
) -> None:
    """Raise ModelError, naming the row, unless each has a prompt and an answer after it.

    Args:
        side: What the rows are called in the message.
        rows: With or without ids.
    """
    if len(prompts) != len(lengths):
        raise ModelError(
            f"{len(lengths)} {side} rows have {len(prompts)} prompt lengths; expected one each."
        )
    wrong = numpy.flatnonzero((prompts < 1) | (prompts >= lengths))
    if len(wrong):
        row = wrong[0]
        raise ModelError(
            f"{side} row {row_name(rows, row)} has {lengths[row]} tokens of which {prompts[row]} "
            f"are its prompt (such rows: {len(wrong)}); expected at least one of a prompt and one "
            "supervised token after it. Its answer is empty or was cut away: leave the row out, or "
            "raise model.max_length."
        )
