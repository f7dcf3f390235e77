"""What a training will take, by arithmetic: steps, tokens, bytes, seconds.

Nothing here loads anything: sizes come from shapes (`rehearsal`), lengths from the rows, and what
cannot be known beforehand is an assumption that is written out beside its result.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy

from ftzard.modeling.batching import padding_share

MB = 1 << 20
#: Bytes per trained weight that an optimizer keeps on the device: two moments of 4 bytes or of 1
#: with their scales. A paged one lies in memory that a GPU's allocator does not count.
OPTIMIZER = {"adamw": 8.0, "adamw_8bit": 2.04, "paged_adamw": 0.0, "paged_adamw_8bit": 0.0}
#: What the framework takes beside all tensors, once it computes: thread pools and scratch of the
#: matrix libraries (CPU), the matrix library's workspace (GPU). Measured by bench/plan_memory.py.
FRAMEWORK = {"cpu": 60 * MB, "cuda": 64 * MB}
#: Tensors of less than 32 MB lie in the C library's heap, which grows by this share of them: what
#: is freed leaves gaps that the next one does not fit. A GPU's allocator has none worth counting.
HEAP_BELOW, HEAP_GAPS = 32 * MB, {"cpu": 0.85, "cuda": 0.0}
#: Floating-point operations per second that training reaches, per thread and per GPU, until a run
#: of the workspace has measured it.
SPEED = {"cpu": 30e9, "cuda": 60e12}
#: Operations per weight and token: forward, and backward through frozen weights.
FORWARD, TRAINING = 2, 4


@dataclass(frozen=True)
class Tokens:
    """What the model computes in one pass: real tokens, with padding, and what was cut away."""

    real: int
    padded: int
    cut: int
    rows_cut: int

    @property
    def padding(self) -> float:
        """The share of padding in what is computed, from 0 to 1."""
        return 1 - self.real / self.padded if self.padded else 0.0


@dataclass(frozen=True)
class Sizes:
    """A base with what is trained on it, in numbers of weights and bytes as they are stored.

    Attributes:
        parameters: Of the base with its head.
        computing: Those without the token embeddings, which are only looked up.
        quantised: Its quantised layers.
        weights: Bytes of all that is frozen.
        trainable: Trained weights.
        trained: Their bytes.
    """

    parameters: int
    computing: int
    quantised: int
    weights: int
    trainable: int
    trained: int


@dataclass(frozen=True)
class Living:
    """Most bytes beside the weights in a forward and in a backward pass over one micro-batch.

    Attributes:
        backward: The gradients that it leaves included.
        heap: Of tensors that lie in the heap, in either pass.
    """

    forward: int
    backward: int
    heap: int


@dataclass(frozen=True)
class Memory:
    """The peak of a training in bytes, by what takes it."""

    weights: int
    trained: int
    gradients: int
    optimizer: int
    best_weights: int
    activations: int
    gaps: int
    framework: int

    @property
    def total(self) -> int:
        return sum(asdict(self).values())

    def to_dict(self) -> dict[str, float]:
        """Return every part and the total in megabytes (2**20 bytes)."""
        parts = {**asdict(self), "total": self.total}
        return {f"{name}_mb": round(size / MB, 1) for name, size in parts.items()}


def training_memory(
    sizes: Sizes,
    living: Living,
    device: str,
    *,
    optimizer: str = "adamw",
    accumulates: bool = False,
    keeps: bool = True,
) -> Memory:
    """Return the peak of a training.

    Between two steps the weights are copied once more, for a checkpoint or as the best.

    Args:
        living: Of the largest micro-batch.
        accumulates: Whether a step has more than one, so that gradients are there during forward
            passes too.
        keeps: Whether a copy of the best epoch's weights is held, as from the second epoch on.
    """
    gradients = sizes.trained
    most = max(living.forward, living.backward - gradients) + gradients if accumulates else max(
        living.forward, living.backward)
    most = max(most, 2 * gradients)
    return Memory(
        weights=sizes.weights,
        trained=sizes.trained,
        gradients=gradients,
        optimizer=round(OPTIMIZER[optimizer] * sizes.trainable),
        best_weights=sizes.trained if keeps else 0,
        activations=most - gradients,
        gaps=round(HEAP_GAPS[device] * living.heap),
        framework=FRAMEWORK[device],
    )


def prediction_memory(sizes: Sizes, living: Living, device: str) -> Memory:
    """Return the peak of answering rows: no gradients, no optimizer, nothing kept."""
    return Memory(
        weights=sizes.weights, trained=sizes.trained, gradients=0, optimizer=0, best_weights=0,
        activations=living.forward, gaps=round(HEAP_GAPS[device] * living.heap),
        framework=FRAMEWORK[device])


def tokens(lengths: Sequence[int], cut: Sequence[int], batches: Sequence[numpy.ndarray]) -> Tokens:
    """Return the tokens of one pass over rows of these lengths in these batches."""
    lengths, cut = numpy.asarray(lengths), numpy.asarray(cut)
    share = padding_share(lengths, batches)
    real = int(lengths.sum())
    return Tokens(real=real, padded=round(real / (1 - share)) if real else 0, cut=int(cut.sum()),
                  rows_cut=int((cut > 0).sum()))


def largest_batch(lengths: Sequence[int], batches: Sequence[numpy.ndarray]) -> tuple[int, int]:
    """Return (rows, tokens per row) of the batch that computes most."""
    lengths = numpy.asarray(lengths)
    shapes = [(len(rows), int(lengths[rows].max())) for rows in batches]
    return max(shapes, key=lambda shape: (shape[0] * shape[1], shape[1]), default=(0, 0))


def steps(rows: int, batch_size: int, epochs: int) -> int:
    """Return the optimizer steps of a training."""
    return epochs * math.ceil(rows / batch_size)


def default_rate(parameters: int, device: str, threads: int) -> float:
    """Return the tokens per second that training is assumed to reach before one was measured.

    Args:
        parameters: Those that compute, without the token embeddings.
    """
    speed = SPEED[device] * (threads if device == "cpu" else 1)
    return speed / (TRAINING * max(parameters, 1))


def seconds(training_tokens: int, answered_tokens: int, rate: float) -> float:
    """Return how long it takes to train on and to answer so many tokens.

    Args:
        rate: Tokens per second of training; answering needs no backward pass and is that much
            faster.
    """
    return training_tokens / rate + answered_tokens / (rate * TRAINING / FORWARD)
