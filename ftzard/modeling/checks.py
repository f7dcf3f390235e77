"""Checks of a loaded base: storage, head, padding, and that batches do not change answers.

`before_load` checks what can be known without weights, `after_load` what was loaded. Loading goes
through here and nowhere else, so that a load that only looks successful is refused.
"""

import importlib.util
from collections import Counter
from collections.abc import Sequence

import bitsandbytes
import pandas
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ftzard.errors import ModelError, nearest
from ftzard.modeling import architecture
from ftzard.modeling.batching import pad
from ftzard.modeling.hub import require_token
from ftzard.modeling.inspection import Inspection, inspect
from ftzard.modeling.spec import ATTENTIONS, COMPUTE_TYPES, QUANTISATIONS, BaseSpec
from ftzard.modeling.tokenizer import encode, end_id

#: Two texts of different lengths, whose answers may not depend on each other.
PROBE = ("yes", "no, and not even a maybe, however long this one goes on and on")
#: How far a logit may move with its company, as a share of the largest one: rounding only.
COMPANY = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.1, "int8": 0.2}
COMPARED_ROWS = 32


def before_load(spec: BaseSpec, labels: Sequence[str], device: torch.device) -> Inspection:
    """Return what the base is made of, having asked all that needs no weights.

    Raises ModelError for an unknown value, labels that are none (or labels for a base that writes),
    a gated base without a token, an attention or a compute type this machine cannot do, an encoder
    that would have to write, lora_targets that match nothing, and texts that are longer than the
    base was made for.
    """
    for key, value, valid in (
        ("quantisation", spec.quantisation, QUANTISATIONS),
        ("compute_dtype", spec.compute_dtype, COMPUTE_TYPES),
        ("attention", spec.attention, ATTENTIONS),
    ):
        if value not in valid:
            raise ModelError(f"model.{key} is '{value}'{nearest(value, valid)}")
    if spec.head.is_causal_lm and labels:
        raise ModelError(
            f"labels are {list(labels)} for a base that is loaded for {spec.task}; expected none, "
            "because an answer is free text."
        )
    fewest = spec.head.fewest_labels
    if not spec.head.is_causal_lm and (
            len(set(labels)) < fewest or len(set(labels)) != len(labels)):
        raise ModelError(f"labels are {list(labels)}; expected at least {fewest}, each once.")
    require_token(spec)
    if spec.attention == "flash_attention_2" and (
        device.type != "cuda"
        or spec.compute_dtype == "float32"
        or importlib.util.find_spec("flash_attn") is None
    ):
        raise ModelError(
            f"model.attention is 'flash_attention_2' with compute_dtype {spec.compute_dtype} on "
            f"{device.type}; expected bfloat16 or float16 on a GPU and the package flash-attn. "
            "Install it, or set model.attention=sdpa."
        )
    if device.type == "cuda" and spec.compute_dtype == "bfloat16" and (
        torch.cuda.get_device_capability(device) < (8, 0)
    ):
        raise ModelError(
            "model.compute_dtype is 'bfloat16', which this GPU only imitates; expected one of "
            "compute capability 8.0 or newer. Set model.compute_dtype=float16 or float32."
        )
    inspection = inspect(spec, len(labels))
    if inspection.longest is not None and spec.max_length > inspection.longest:
        raise ModelError(
            f"model.max_length is {spec.max_length}, but base '{spec.name}' was made for at most "
            f"{inspection.longest} tokens; expected no more than that."
        )
    return inspection


def after_load(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    spec: BaseSpec,
    inspection: Inspection,
) -> int:
    """Return how many layers are quantised, having looked at everything that a load can get wrong.

    Raises ModelError for a layer that is not stored as asked, a number of quantised layers that is
    not the architecture's, a quantised head, a head for labels that is not in float32, a pad token
    that the model does not know or that ends texts, and answers that depend on the company of a
    text.
    """
    quantised = assert_quantised(model, spec.quantisation, double=spec.double_quantisation)
    if quantised != inspection.quantised:
        raise ModelError(
            f"quantisation: {quantised} layers of base '{spec.name}' are quantised; expected "
            f"{inspection.quantised}, which is how many its config.json makes. The weights belong "
            "to another architecture: take a complete copy of the base."
        )
    own_head = spec.head.is_causal_lm
    assert_head(model, getattr(torch, spec.compute_dtype) if own_head else torch.float32)
    assert_padding(model, tokenizer, inspection.architecture)
    assert_batch_invariance(model, tokenizer, spec)
    return quantised


def assert_quantised(model: PreTrainedModel, quantisation: str, *, double: bool = False) -> int:
    """Return how many layers are quantised, having looked at every linear one but the head's.

    Raises ModelError unless each is stored as `quantisation` (and, of nf4, `double`) says.
    """
    wanted = _storage_name(quantisation, double)
    counts: dict[str, Counter] = {}
    for name, module in architecture.linear_layers(model).items():
        counts.setdefault(name.rsplit(".", 1)[-1], Counter())[_storage(module)] += 1
    for name, storages in counts.items():
        wrong = {storage: n for storage, n in storages.items() if storage != wanted}
        if wrong:
            raise ModelError(
                f"quantisation: {sum(wrong.values())} of {sum(storages.values())} layers "
                f"'{name}' are stored as {', '.join(sorted(wrong))}; expected {wanted}. The "
                "loading library skipped them without an error: nothing is trained on such a "
                "base. Set model.quantisation=none if full precision is wanted."
            )
    return sum(s.total() for s in counts.values()) if quantisation != "none" else 0


def assert_head(model: PreTrainedModel, dtype: torch.dtype = torch.float32) -> None:
    """Raise ModelError if a layer of the head is quantised or not of `dtype`.

    A head over the vocabulary is of the compute type: it may be one matrix with the embeddings.
    """
    for name, part in architecture.head_parts(model).items():
        for inner in part.modules():
            weight = getattr(inner, "weight", None)
            plain = not isinstance(inner, nn.Linear) or type(inner) is nn.Linear
            if weight is not None and not (plain and weight.dtype == dtype):
                raise ModelError(
                    f"head '{name}' is {type(inner).__name__} of {weight.dtype}; expected an "
                    f"unquantised layer of {dtype}."
                )


def assert_padding(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, kind: str
) -> None:
    """Raise ModelError unless tokenizer and model agree on a pad token that ends no text.

    Args:
        kind: 'decoder', which answers from the last token that is no padding, or 'encoder', which
            answers from the first token, for which the tokenizer must have one of its own.
    """
    padding, end = tokenizer.pad_token_id, end_id(tokenizer)
    if padding is None or padding == end:
        raise ModelError(
            f"pad token {tokenizer.pad_token!r} (id {padding}) ends texts too (id {end}); expected "
            "one distinct from it, or the model cannot tell where a text ends."
        )
    known = model.config.get_text_config().pad_token_id
    if known != padding:
        raise ModelError(
            f"the model takes id {known} for padding, the tokenizer pads with id {padding}; "
            "expected the same, because the model answers from the last token that is no padding."
        )
    rows = model.get_input_embeddings().weight.shape[0]
    if padding >= rows:
        raise ModelError(
            f"pad token {tokenizer.pad_token!r} has id {padding}, but the model has {rows} token "
            "embeddings; expected one of them."
        )
    if tokenizer.padding_side != "right":
        raise ModelError(
            f"padding_side is '{tokenizer.padding_side}'; expected 'right', as in training."
        )
    if kind == architecture.ENCODER and tokenizer.cls_token_id is None:
        raise ModelError(
            "this encoder answers from the first token of a text, but its tokenizer has no cls "
            "token to put there; expected one. Take the tokenizer that belongs to the base."
        )


def assert_batch_invariance(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, spec: BaseSpec
) -> None:
    """Raise ModelError if a short text is answered otherwise beside a longer one than alone.

    The longer one pads it: on the right, as everywhere here, and on the left as well where the
    architecture allows it (a decoder whose positions are relative). A wrong pad token, a wrong
    token to answer from and a mask that is not used show here, at the cost of three small batches.
    Of a base that writes, the answer is what it says of the token that would come next.
    """
    ids, _, _ = encode(PROBE, tokenizer, spec.max_length)
    device, padding = next(model.parameters()).device, tokenizer.pad_token_id
    inside = architecture.headed_in(model)
    together = pad(ids, padding, device)
    companies = {"right": together}
    kind = architecture.architecture_of(inside.config)
    if kind == architecture.DECODER and not architecture.counts_positions(inside):
        companies["left"] = {name: _to_the_left(values, together["attention_mask"])
                             for name, values in together.items()}
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            alone = _first_answer(model, pad(ids[:1], padding, device), len(ids[0]) - 1)
            last = {"right": len(ids[0]) - 1, "left": -1}
            answers = {side: _first_answer(model, batch, last[side])
                       for side, batch in companies.items()}
    finally:
        model.train(training)
    limit = max(COMPANY[spec.compute_dtype], COMPANY.get(spec.quantisation, 0.0))
    limit *= float(alone.abs().max())
    for side, logits in answers.items():
        difference = float((logits - alone).abs().max())
        if not difference <= limit:
            raise ModelError(
                f"base '{spec.name}': a text padded on the {side} beside a longer one is answered "
                f"with logits that differ by {difference:.2g} from those of the text alone; "
                f"expected at most {limit:.1g}. Its pad token, its attention mask or the token it "
                "answers from is wrong: nothing is trained on such a base."
            )


def _first_answer(model: nn.Module, batch: dict[str, torch.Tensor], last: int) -> torch.Tensor:
    """Return what the first row of a batch is answered: logits of labels, or of the next token.

    last: place of the row's last token.
    """
    logits = model(**batch).logits.float()[0]
    return logits[last] if logits.ndim > 1 else logits


def row_name(rows: pandas.DataFrame, place: int) -> str:
    """Return what a person finds a row by: its id if the table has ids, else its number."""
    return f"'{rows['id'].iloc[place]}'" if "id" in rows else str(place)


def _to_the_left(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return (rows, tokens) with each row's padding moved from its right to its left."""
    lengths, longest = mask.sum(dim=1).tolist(), mask.shape[1]
    return torch.stack([row.roll(longest - length) for row, length in zip(
        values, lengths, strict=True)])


def _storage_name(quantisation: str, double: bool) -> str:
    if quantisation == "none":
        return "full precision"
    return f"{quantisation} with double quantisation" if double and quantisation == "nf4" else (
        quantisation)


def _storage(module: nn.Linear) -> str:
    if isinstance(module, bitsandbytes.nn.Linear8bitLt):
        filled = module.weight.dtype == torch.int8 and not module.state.has_fp16_weights
        return "int8" if filled else f"unfilled Linear8bitLt ({module.weight.dtype})"
    if not isinstance(module, bitsandbytes.nn.Linear4bit):
        return "full precision" if module.weight.is_floating_point() else type(module).__name__
    state = getattr(module.weight, "quant_state", None)
    if state is None or module.weight.dtype != torch.uint8:
        return f"unfilled Linear4bit ({module.weight.dtype})"
    return _storage_name(state.quant_type, state.nested)
