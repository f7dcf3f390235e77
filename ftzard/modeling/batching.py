"""Batches of rows of similar length: less padding, the same rows per step, every row once.

Short texts padded to the longest of a random batch waste about half of all computed tokens. A
step's rows are what the config says; how many of them are computed at once may be bounded by the
tokens they are padded to.
"""

from collections.abc import Sequence

import numpy
import torch

# Rows are sorted by length only inside groups of this many batches, so that batches still differ
# from epoch to epoch.
BATCHES_PER_GROUP = 50


def shuffled_batches(
    lengths: Sequence[int], batch_size: int, generator: numpy.random.Generator
) -> list[numpy.ndarray]:
    """Return row numbers in batches of `batch_size` rows of similar length, in random order.

    Every row is in exactly one batch; only one batch may be smaller, if the rows do not divide.
    """
    lengths = numpy.asarray(lengths)
    order = generator.permutation(len(lengths))
    group = batch_size * BATCHES_PER_GROUP
    batches = []
    for start in range(0, len(order), group):
        rows = order[start : start + group]
        rows = rows[numpy.argsort(lengths[rows], kind="stable")]
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]


def micro_batches(
    rows: numpy.ndarray, lengths: Sequence[int], tokens: int | None
) -> list[numpy.ndarray]:
    """Return one step's rows in parts of at most `tokens` padded tokens, in the same order.

    Args:
        tokens: 0 or None for no bound; a row that is longer by itself stands alone.
    """
    if not tokens:
        return [rows]
    return _bounded(rows, numpy.asarray(lengths), tokens, len(rows))


def sorted_batches(
    lengths: Sequence[int], batch_size: int, tokens: int | None = None
) -> list[numpy.ndarray]:
    """Return row numbers in batches of at most `batch_size` rows, longest first.

    The longest come first so that running out of memory shows at once.

    Args:
        tokens: Most padded tokens of a batch, None for no bound; a row that is longer by itself
            stands alone.
    """
    lengths = numpy.asarray(lengths)
    order = numpy.argsort(-lengths, kind="stable")
    return _bounded(order, lengths, tokens or batch_size * int(lengths.max(initial=1)), batch_size)


def _bounded(
    rows: numpy.ndarray, lengths: numpy.ndarray, tokens: int, most: int
) -> list[numpy.ndarray]:
    """Cut rows into runs of at most `most` rows and `tokens` padded tokens, as few as in turn."""
    batches, start, longest = [], 0, 0
    for place, row in enumerate(rows):
        longest = max(longest, int(lengths[row]))
        count = place - start + 1
        if place > start and (count > most or count * longest > tokens):
            batches.append(rows[start:place])
            start, longest = place, int(lengths[row])
    if len(rows):
        batches.append(rows[start:])
    return batches


def padding_share(lengths: Sequence[int], batches: Sequence[numpy.ndarray]) -> float:
    """Return which part of the computed tokens is padding, from 0 (none) to 1."""
    lengths = numpy.asarray(lengths)
    computed = sum(len(rows) * int(lengths[rows].max()) for rows in batches)
    real = sum(int(lengths[rows].sum()) for rows in batches)
    return 1 - real / computed if computed else 0.0


def pad(
    input_ids: Sequence[Sequence[int]], pad_id: int, device: torch.device | str = "cpu"
) -> dict[str, torch.Tensor]:
    """Return {'input_ids', 'attention_mask'}, int64 (rows, longest), padded on the right."""
    longest = max(len(ids) for ids in input_ids)
    ids = numpy.full((len(input_ids), longest), pad_id, dtype=numpy.int64)
    mask = numpy.zeros((len(input_ids), longest), dtype=numpy.int64)
    for row, values in enumerate(input_ids):
        ids[row, : len(values)] = values
        mask[row, : len(values)] = 1
    return {
        "input_ids": torch.from_numpy(ids).to(device),
        "attention_mask": torch.from_numpy(mask).to(device),
    }
