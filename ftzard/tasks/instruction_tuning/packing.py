"""Packing: several short rows in one sequence, each of which sees nothing but itself.

A row's tokens see those before them in the same row by an explicit mask, and count their places
from the row's beginning, so that a packed row gets the logits that it gets alone.
"""

from collections.abc import Sequence

import numpy
import torch
from torch import nn

from ftzard.modeling.architecture import headed_in


def bins(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Return row numbers in bins of at most `most` tokens: longest first, each where it fits best.

    The bins of trl's pack_dataset (strategy "bfd"), which makes a data set of them in some 20 ms
    and no longer says which row is where: too much for a call per step.
    Raises ValueError for a row that is longer than a bin.
    """
    packed: list[list[int]] = []
    room: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        length = int(lengths[row])
        if length > most:
            raise ValueError(f"row {row} has {length} tokens; expected at most {most}")
        open_bins = [number for number, left in enumerate(room) if left >= length]
        if open_bins:
            best = min(open_bins, key=lambda number: room[number])
            packed[best].append(row)
            room[best] -= length
        else:
            packed.append([row])
            room.append(most - length)
    return packed


def mask_of(model: nn.Module) -> dict[str, torch.dtype | None]:
    """Return how a model's attention takes a mask: as numbers to add, or as yes and no (None)."""
    inside = headed_in(model)
    eager = inside.config._attn_implementation == "eager"
    return {"additive": inside.get_input_embeddings().weight.dtype if eager else None}


def together(
    packed: Sequence[Sequence[Sequence[int]]],
    pad_id: int,
    device: torch.device | str = "cpu",
    *,
    additive: torch.dtype | None = None,
) -> dict[str, torch.Tensor]:
    """Return a batch of sequences, each of several rows' ids, as a model takes it.

    The batch has input_ids and position_ids, int64 (sequences, longest), padded on the right, and
    attention_mask (sequences, 1, longest, longest). Padding sees padding, since an attention to
    nothing is no number.

    Args:
        additive: Type of a mask that is added to the scores of attention, None for one of yes and
            no.
    """
    longest = max(sum(len(ids) for ids in rows) for rows in packed)
    ids = numpy.full((len(packed), longest), pad_id, dtype=numpy.int64)
    places, owners = numpy.zeros_like(ids), numpy.zeros_like(ids)
    for number, rows in enumerate(packed):
        start = 0
        for owner, values in enumerate(rows, 1):
            end = start + len(values)
            ids[number, start:end] = values
            places[number, start:end] = numpy.arange(len(values))
            owners[number, start:end] = owner
            start = end
    owned = torch.from_numpy(owners).to(device)
    seen = (owned[:, :, None] == owned[:, None, :]).tril()[:, None]
    if additive is not None:
        unseen = torch.finfo(additive).min
        seen = torch.zeros(seen.shape, dtype=additive, device=device).masked_fill(~seen, unseen)
    return {
        "input_ids": torch.from_numpy(ids).to(device),
        "position_ids": torch.from_numpy(places).to(device),
        "attention_mask": seen,
    }
