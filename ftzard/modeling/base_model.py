"""Base models: loading one quantised for a task, and checking that it really is.

Everything that must be right about a base is set here, for a tiny Falcon in a folder and for a
model of seven billion parameters from a hub alike: quantised layers, the head and its type, pad
token, padding side, hashes. Before and after, `checks` looks at all of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import bitsandbytes
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.falcon import modeling_falcon

from ftzard.errors import ModelError
from ftzard.modeling import adapter_checks, architecture, checks, hub, memory
from ftzard.modeling.adapter_meta import read_meta
from ftzard.modeling.hf_logging import quiet_loading
from ftzard.modeling.hub import hash_weights
from ftzard.modeling.inspection import Inspection
from ftzard.modeling.spec import BaseSpec
from ftzard.modeling.tokenizer import load_tokenizer, tokenizer_hash

HEAD_SEED = 0


@dataclass
class LoadedBase:
    """A base in memory; adapters are attached to it one at a time and taken off again.

    Attributes:
        labels: Of the head, none for a base that writes.
        weight_hash: Hex SHA-256 over the safetensors files of a folder, or the hub revision.
        inspection: What its architecture is made of.
        quantised: Number of layers found quantised.
        attachment: What is on it now, kept by adapter.py; held: bytes that the process had in
            memory before it was loaded, None where nobody says.
    """

    spec: BaseSpec
    labels: list[str]
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    weight_hash: str
    tokenizer_hash: str
    device: torch.device
    inspection: Inspection
    quantised: int
    attachment: object | None = field(default=None, repr=False)
    resident_before: int | None = None


def load_base(
    spec: BaseSpec,
    labels: Sequence[str] = (),
    device: str | torch.device | None = None,
    *,
    continues: Path | None = None,
) -> LoadedBase:
    """Load the base of `spec` with a fresh head for `labels`, or its own to write with, checked.

    Args:
        labels: None for a base that writes.
        device: Where to; None takes a GPU if there is one. A fresh head's first weights are always
            the same ones.
        continues: Folder of a saved adapter that will be put on it, which is refused before any
            weight is loaded if it was made with another base, tokenizer, quantisation, for another
            task or with labels that these do not begin with.

    Raises:
        ModelError: If the source is missing or unpinned, if weights are missing from it, or if
            what was loaded is not what `spec` asks for.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    resident = memory.resident()
    weight_hash = hash_weights(spec.source, spec.revision)
    if continues is not None:
        adapter_checks.adapter_weights(continues, spec, weight_hash)
    inspection = checks.before_load(spec, labels, device)
    tokenizer = load_tokenizer(spec.source, spec.revision)
    tokens = tokenizer_hash(tokenizer)
    if continues is not None:
        known = len(read_meta(continues)["labels"])  # a training may add labels to them
        adapter_checks.adapter_fits(
            continues, spec, weight_hash=weight_hash, tokens=tokens, labels=labels[:known]
        )
    model = _load_model(spec, labels, device, inspection)
    model.requires_grad_(False)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    model.config.use_cache = False
    model.eval()
    _keep_weights_unpacked(model)
    _keep_scales(model)
    if spec.quantisation != "none":
        memory.unmap(model)
    if spec.head.is_causal_lm:
        inspection = _as_tied(model, inspection)
    else:
        _start_head(model)
    return LoadedBase(
        spec=spec,
        labels=list(labels),
        model=model,
        tokenizer=tokenizer,
        weight_hash=weight_hash,
        tokenizer_hash=tokens,
        device=device,
        inspection=inspection,
        quantised=checks.after_load(model, tokenizer, spec, inspection),
        resident_before=resident,
    )


def _load_model(
    spec: BaseSpec, labels: Sequence[str], device: torch.device, inspection: Inspection
) -> PreTrainedModel:
    kind, head = AutoModelForCausalLM, {}
    if not spec.head.is_causal_lm:
        kind, head = AutoModelForSequenceClassification, {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {label: number for number, label in enumerate(labels)},
        }
    try:
        with _falcon_with_plain_linears(), quiet_loading():
            model, report = kind.from_pretrained(
                str(spec.source),
                revision=spec.revision,
                token=hub.token(),
                **head,
                quantization_config=_quantisation(spec, inspection),
                dtype=getattr(torch, spec.compute_dtype),
                attn_implementation=spec.attention,
                device_map={"": device},
                trust_remote_code=False,
                ignore_mismatched_sizes=True,  # a head of other labels; the rest is checked below
                output_loading_info=True,
            )
    except Exception as error:
        raise ModelError(hub.refusal(spec, error)) from hub.cause(error)
    heads = () if spec.head.is_causal_lm else tuple(f"{name}." for name in inspection.head)
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(heads))
    wrong = sorted(
        str(key) for key in report["mismatched_keys"] if not _first(key).startswith(heads)
    )
    if missing or wrong:
        raise ModelError(
            f"base '{spec.source}' lacks weights {missing[:3]} ({len(missing)} in all) and has "
            f"{len(wrong)} of another shape {wrong[:3]}; expected a complete checkpoint"
            + (" with the head that it writes with." if spec.head.is_causal_lm else ".")
        )
    return model


def _as_tied(model: PreTrainedModel, inspection: Inspection) -> Inspection:
    """Return the inspection as the weights say it, where config.json ties what they do not.

    A checkpoint that has another matrix for its head than for its token embeddings keeps both,
    whatever its config says, and so does everything that is trained on it.
    """
    if architecture.tied(model) == inspection.tied:
        return inspection
    model.config.get_text_config().tie_word_embeddings = False
    head = architecture.head_parts(model).values()
    count = sum(p.numel() for part in head for p in part.parameters())
    return replace(
        inspection, tied=False, head_parameters=count, parameters=inspection.parameters + count
    )


def _first(key: object) -> str:
    return key if isinstance(key, str) else str(key[0])


def _quantisation(spec: BaseSpec, inspection: Inspection) -> BitsAndBytesConfig | None:
    """Return how bitsandbytes is to store every linear layer but those of the head."""
    if spec.quantisation == "none":
        return None
    if spec.quantisation == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(inspection.head))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=spec.double_quantisation,
        bnb_4bit_compute_dtype=getattr(torch, spec.compute_dtype),
        llm_int8_skip_modules=list(inspection.head),
    )


@contextmanager
def _falcon_with_plain_linears() -> Iterator[None]:
    """Let Falcon build nn.Linear layers, the only class that the quantiser replaces.

    transformers skips subclasses, so Falcon's own FalconLinear would stay in full precision.
    """
    original = modeling_falcon.FalconLinear
    modeling_falcon.FalconLinear = nn.Linear
    try:
        yield
    finally:
        modeling_falcon.FalconLinear = original


def _keep_weights_unpacked(model: nn.Module) -> None:
    """Switch off bitsandbytes' repacking of 4-bit weights on CPUs with AVX-512 BF16.

    It happens at the first forward pass in evaluation mode, rounds to bf16, and has no gradient:
    training that goes on after a validation would silently lose what flows through the base.
    """
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _keep_scales(model: nn.Module) -> None:
    """Leave int8 weights their scales, which bitsandbytes takes off them at the first forward pass.

    peft moves the weights whenever DoRA looks at them, and those without scales are lost by that.
    """
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear8bitLt):
            module.init_8bit_state = partial(_share_scales, module)


def _share_scales(module: bitsandbytes.nn.Linear8bitLt) -> None:
    module.state.CB, module.state.SCB = module.weight.CB, module.weight.SCB


def _start_head(model: PreTrainedModel) -> None:
    """Give the head float32 weights from a fixed seed, and inputs of the same type."""
    generator = torch.Generator().manual_seed(HEAD_SEED)
    for part in architecture.head_parts(model).values():
        part.float().requires_grad_(False)
        for layer in part.modules():
            if isinstance(layer, nn.Linear):
                weight = torch.empty(layer.weight.shape).normal_(0, 0.02, generator=generator)
                layer.weight = nn.Parameter(weight.to(layer.weight.device), requires_grad=False)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        part.register_forward_pre_hook(_as_float32)


def _as_float32(module: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    return (inputs[0].float(), *inputs[1:])
