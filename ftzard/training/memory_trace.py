"""A training step rehearsed on the meta device: every shape, no numbers, nothing in memory.

The model is built without weights, quantised and adapted as the real one is, and one forward and
backward pass is done on it. Which tensors live at the same time, and how large they are, is then
known for any architecture, and so is the peak that the real step will reach.
"""

import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import bitsandbytes
import torch
from bitsandbytes.functional import QuantState
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)

from ftzard.modeling.adapter import attach
from ftzard.modeling.architecture import head_parts, is_causal_lm, linear_layers
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.hf_logging import quiet_loading
from ftzard.modeling.inspection import Inspection, inspect
from ftzard.modeling.spec import BaseSpec
from ftzard.training import memory_estimate
from ftzard.training.memory_estimate import HEAP_BELOW, Living, Memory, Sizes

META = torch.device("meta")
#: How many numbers share a scale in 4 bit, and how many scales share one if they are quantised too.
BLOCK, BLOCK_OF_SCALES = 64, 256


def peak(
    spec: BaseSpec,
    architecture: PretrainedConfig,
    classes: int,
    rows: int,
    length: int,
    *,
    device: str,
    training: bool = True,
    method: str = "lora",
    rank: int = 16,
    dropout: float = 0.0,
    train_embeddings: bool = False,
    optimizer: str = "adamw",
    gradient_checkpointing: bool = False,
    accumulates: bool = False,
    keeps: bool = True,
    supervised: int | None = None,
) -> tuple[Sizes, Memory]:
    """Return the sizes of a base with what is trained on it, and the peak of its memory.

    architecture: the base's config; classes: labels of the head, unused by a base that writes;
    rows, length: texts and tokens per text, padding included, of the batch that needs most (of
    packed rows: sequences; of answers that are written: those included); device: 'cpu' or 'cuda';
    training: whether it is trained, or only answers; accumulates, keeps: as `training_memory`
    takes them; supervised: tokens of the batch that a base which writes learns, each of which has
    a logit per entry of the vocabulary (None: all); the others: as `fit` and `train` do.
    Raises ModelError as `inspect` does.
    """
    inspection = inspect(spec, classes, architecture)
    trainable = inspection.trainable(method=method, rank=rank, train_embeddings=train_embeddings)
    sizes = Sizes(
        parameters=inspection.parameters,
        computing=inspection.parameters
        - (0 if inspection.tied else inspection.embedding_parameters),
        quantised=inspection.quantised,
        weights=inspection.weight_bytes(spec),
        trainable=trainable,
        trained=4 * trainable,  # always float32
    )
    model = stand_in(architecture, spec, classes)
    if not training:
        alive = living(model, rows, length, device=device, training=False)
        return sizes, memory_estimate.prediction_memory(sizes, alive, device)
    adapted = _adapted(model, inspection, spec, classes, method=method, rank=rank, alpha=2.0 * rank,
                       dropout=dropout, train_embeddings=train_embeddings)
    if gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    alive = living(adapted, rows, length, device=device, supervised=supervised)
    return sizes, memory_estimate.training_memory(
        sizes, alive, device, optimizer=optimizer, accumulates=accumulates, keeps=keeps)


def stand_in(config: PretrainedConfig, spec: BaseSpec, classes: int) -> PreTrainedModel:
    """Return the base of `spec` on the meta device: its layers stored as they will be, unfilled.

    config: its architecture; classes: labels of the head. Raises nothing of its own: `inspect`
    has looked at the same config before.
    """
    values = config.to_dict() | ({} if spec.head.is_causal_lm else {"num_labels": classes})
    values.pop("quantization_config", None)
    attention = "eager" if spec.attention == "eager" else "sdpa"
    dtype = getattr(torch, spec.compute_dtype)
    kind = AutoModelForCausalLM if spec.head.is_causal_lm else AutoModelForSequenceClassification
    with torch.random.fork_rng(devices=[]), META, quiet_loading():
        model = kind.from_config(
            type(config).from_dict(values), attn_implementation=attention, dtype=dtype)
        if spec.quantisation != "none":
            for name, layer in linear_layers(model).items():
                parent, _, last = name.rpartition(".")
                setattr(model.get_submodule(parent), last, _stored(layer, spec))
    for part in () if spec.head.is_causal_lm else head_parts(model).values():
        part.float().register_forward_pre_hook(lambda _, given: (given[0].float(), *given[1:]))
    model.requires_grad_(False)
    model.config.use_cache = False
    if model.config.pad_token_id is None:
        model.config.pad_token_id = 0
    return model


def living(
    model: nn.Module,
    rows: int,
    length: int,
    *,
    device: str,
    training: bool = True,
    supervised: int | None = None,
) -> Living:
    """Return the most bytes that live beside the weights while some texts pass the model.

    Args:
        model: On the meta device, adapted as it will be trained.
        rows, length: Texts and tokens per text, padding included.
        device: 'cpu' or 'cuda', which have other kernels for attention.
        training: Without it there is a forward pass alone, in which a model that writes keeps what
            it needs of all tokens to write the next one.
        supervised: As for `peak`.
    """
    batch = _batch(model, rows, length)
    if is_causal_lm(model):
        writing = {"logits_to_keep": 1, "use_cache": True}
        batch |= _asked(rows, length, supervised) if training else writing
    alive = _Living(model)
    model.train(training)
    with _fused_attention(device), alive, torch.set_grad_enabled(training):
        answer = model(**batch)  # held, with the cache of a model that writes
        forward = alive.peak
        if training:
            scores = answer.logits.flatten(0, -2)
            targets = torch.zeros(len(scores), dtype=torch.int64, device=META)
            alive.peak = alive.now
            nn.functional.cross_entropy(scores.float(), targets).backward()
    model.zero_grad(set_to_none=True)
    return Living(forward, alive.peak if training else 0, alive.heap_peak)


def _adapted(model: PreTrainedModel, inspection: Inspection, spec: BaseSpec, classes: int,
             **values: object) -> nn.Module:
    """Return the model on the meta device with what is trained on it."""
    loaded = LoadedBase(
        spec=spec, labels=[str(number) for number in range(classes)], model=model, tokenizer=None,
        weight_hash="", tokenizer_hash="", device=META, inspection=inspection,
        quantised=inspection.quantised)
    with META:
        return attach(loaded, seed=0, **values)


class _Living(TorchDispatchMode):
    """Counts the bytes of all tensors that are alive, but for the weights of `model`."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.now = self.peak = self.heap = self.heap_peak = 0
        self._known = {_key(t) for t in (*model.parameters(), *model.buffers())}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self._see, result)
        self.peak = max(self.peak, self.now + _passing(func, args))
        self.heap_peak = max(self.heap_peak, self.heap)
        return result

    def _see(self, tensor: torch.Tensor) -> torch.Tensor:
        key, storage = _key(tensor), tensor.untyped_storage()
        if key not in self._known:
            self._known.add(key)
            self._count(storage.nbytes())
            weakref.finalize(storage, self._gone, key, storage.nbytes())
        return tensor

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._count(-size)

    def _count(self, size: int) -> None:
        self.now += size
        self.heap += size if abs(size) < HEAP_BELOW else 0


def _key(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _passing(func: Callable, args: tuple) -> int:
    """Return the bytes that an operation takes and gives back inside: 4-bit weights, unpacked."""
    if func is torch.ops.bitsandbytes.gemm_4bit.default:
        entering, _, (out_features, in_features) = args[:3]
        return out_features * in_features * entering.element_size()
    return 0


def _batch(model: nn.Module, rows: int, length: int) -> dict[str, torch.Tensor]:
    """Return a batch with its mask as attention takes it, since values cannot be looked at."""
    config = next(m.config for m in model.modules() if isinstance(m, PreTrainedModel))
    eager = config._attn_implementation == "eager"
    floating = next(p.dtype for p in model.parameters() if p.dtype.is_floating_point)
    return {
        "input_ids": torch.ones(rows, length, dtype=torch.int64, device=META),
        "attention_mask": torch.ones(rows, 1, length, length, device=META,
                                     dtype=floating if eager else torch.bool),
    }


def _asked(rows: int, length: int, supervised: int | None) -> dict[str, torch.Tensor]:
    """Return which logits a batch asks for: as many in each row, for values cannot be looked at."""
    each = length - 1 if supervised is None else min(length - 1, math.ceil(supervised / rows))
    return {"logits_to_keep": torch.zeros(rows, max(1, each), dtype=torch.int64, device=META)}


@contextmanager
def _fused_attention(device: str) -> Iterator[None]:
    """Let attention keep what the device's fused kernels keep, where these would be chosen.

    On the meta device torch takes the plain way, which keeps the scores of all pairs of tokens.
    """
    plain = nn.functional.scaled_dot_product_attention

    def attend(query, key, value, attn_mask=None, dropout_p=0.0, **more):
        same_heads = query.shape[:-2] == key.shape[:-2]
        if same_heads and (dropout_p == 0.0 or device == "cuda"):
            return _Fused.apply(query, key, value)
        return plain(query, key, value, attn_mask=attn_mask, dropout_p=dropout_p, **more)

    nn.functional.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        nn.functional.scaled_dot_product_attention = plain


class _Fused(torch.autograd.Function):
    """Attention that keeps its inputs, its output and a number per row of the scores."""

    @staticmethod
    def forward(ctx, query, key, value):
        result = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, result,
                              query.new_empty(query.shape[:-1], dtype=torch.float32))
        return result

    @staticmethod
    def backward(ctx, gradient):
        return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors[:3])


def _stored(layer: nn.Linear, spec: BaseSpec) -> nn.Linear:
    """Return the layer in the storage of `spec`."""
    size, bias = (layer.in_features, layer.out_features), layer.bias is not None
    if spec.quantisation == "int8":
        return _Int8(*size, bias=bias, dtype=layer.weight.dtype, device=META)
    stored = bitsandbytes.nn.Linear4bit(
        *size, bias=bias, compute_dtype=layer.weight.dtype, quant_type="nf4",
        compress_statistics=spec.double_quantisation, device=META)
    count, empty = layer.weight.numel(), partial(torch.empty, device=META)
    packed, blocks = empty((count + 1) // 2, 1, dtype=torch.uint8), math.ceil(count / BLOCK)
    scales, nested = empty(blocks), {}
    if spec.double_quantisation:
        scales = empty(blocks, dtype=torch.uint8)
        nested = {"offset": empty(()), "state2": QuantState(
            absmax=empty(math.ceil(blocks / BLOCK_OF_SCALES)), code=empty(256),
            blocksize=BLOCK_OF_SCALES, dtype=torch.float32)}
    state = QuantState(absmax=scales, shape=layer.weight.shape, code=empty(16), blocksize=BLOCK,
                       quant_type="nf4", dtype=layer.weight.dtype, **nested)
    stored.weight = bitsandbytes.nn.Params4bit(
        packed, requires_grad=False, quant_state=state, quant_type="nf4", module=stored,
        compress_statistics=spec.double_quantisation, bnb_quantized=True)
    stored.quant_state = state
    return stored


class _Int8(nn.Linear):
    """A layer in 8 bit: it keeps what enters it, and unpacks its weights on the way back."""

    def forward(self, entering: torch.Tensor) -> torch.Tensor:
        return _Int8Product.apply(entering, self.weight)


class _Int8Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, entering, weight):
        ctx.save_for_backward(entering, weight)
        return entering.new_empty((*entering.shape[:-1], weight.shape[0]))

    @staticmethod
    def backward(ctx, gradient):
        entering, weight = ctx.saved_tensors
        return gradient @ torch.empty_like(weight), None
