"""Base models: loading one quantised for classification, and checking that it really is.

Everything that must be right about a base is set and asserted here, for a tiny Falcon in a folder
and for Falcon-7B from a hub alike: quantised layers, the head's type, pad token, padding side,
hashes. A load that only looks successful is refused.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import bitsandbytes
import torch
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.falcon import modeling_falcon

from ftzard.artifact import sha256
from ftzard.errors import ModelError, nearest
from ftzard.models.quiet import quiet_loading
from ftzard.models.tokenizing import load_tokenizer, tokenizer_hash

QUANTISATIONS = ("none", "nf4")
COMPUTE_TYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
HEAD = "score"
HEAD_SEED = 0
FALCON_TARGETS = ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")


@dataclass(frozen=True)
class BaseSpec:
    """Which base, and how it is to be loaded.

    source: folder with config.json, safetensors and tokenizer, or a hub id such as
    'tiiuae/falcon-7b'; name: what people call it; revision: the hub's commit (40 hex digits),
    None for a folder; quantisation: 'nf4' (4 bit) or 'none'; double_quantisation: quantise the
    scales as well; compute_dtype: 'float32', 'bfloat16' or 'float16'; lora_targets: names of the
    linear layers that get adapters and are quantised; max_length: tokens a text may have;
    attention: 'sdpa', 'eager' or 'flash_attention_2'.
    """

    source: str | Path
    name: str
    revision: str | None = None
    quantisation: str = "nf4"
    double_quantisation: bool = False
    compute_dtype: str = "float32"
    lora_targets: tuple[str, ...] = FALCON_TARGETS
    max_length: int = 128
    attention: str = "sdpa"

    def __post_init__(self) -> None:
        object.__setattr__(self, "lora_targets", tuple(self.lora_targets))


@dataclass
class LoadedBase:
    """A base in memory; adapters are attached to it one at a time and taken off again.

    weight_hash: hex SHA-256 over the safetensors files of a folder, or the hub revision;
    quantised: number of layers found quantised; attachment: what is on it now, kept by adapter.py.
    """

    spec: BaseSpec
    labels: list[str]
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    weight_hash: str
    tokenizer_hash: str
    device: torch.device
    quantised: int
    attachment: object | None = field(default=None, repr=False)


def load_base(
    spec: BaseSpec, labels: Sequence[str], device: str | torch.device | None = None
) -> LoadedBase:
    """Load the base of `spec` with a fresh head for `labels`, checked.

    device: where to; None takes a GPU if there is one. The head's first weights are always the
    same ones. Raises ModelError if the source is missing or unpinned, if weights are missing from
    it, or if what was loaded is not what `spec` asks for.
    """
    _check_spec(spec, labels)
    weight_hash = hash_weights(spec.source, spec.revision)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    tokenizer = load_tokenizer(spec.source, spec.revision)
    model = _load_model(spec, labels, device)
    _check_length(model, spec)
    model.requires_grad_(False)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.use_cache = False
    model.eval()
    _keep_weights_unpacked(model)
    _start_head(model)
    quantised = assert_quantised(
        model, spec.lora_targets, spec.quantisation, double=spec.double_quantisation
    )
    return LoadedBase(
        spec=spec,
        labels=list(labels),
        model=model,
        tokenizer=tokenizer,
        weight_hash=weight_hash,
        tokenizer_hash=tokenizer_hash(tokenizer),
        device=device,
        quantised=quantised,
    )


def assert_quantised(
    model: nn.Module, targets: Sequence[str], quantisation: str, *, double: bool = False
) -> int:
    """Return how many layers are quantised, having looked at every targeted one.

    Raises ModelError unless each linear layer named in `targets` is stored as `quantisation` says,
    every name matches at least one layer, and the head is in float32.
    """
    wanted = _storage_name(quantisation, double)
    found: dict[str, Counter] = {target: Counter() for target in targets}
    linear_names = set()
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        last = name.rsplit(".", 1)[-1]
        linear_names.add(last)
        if last in found:
            found[last][_storage(module)] += 1
    for target, storages in found.items():
        if not storages:
            raise ModelError(
                f"lora_targets: '{target}' matches no linear layer of this model"
                f"{nearest(target, linear_names - {HEAD})}"
            )
        wrong = {storage: n for storage, n in storages.items() if storage != wanted}
        if wrong:
            raise ModelError(
                f"quantisation: {sum(wrong.values())} of {sum(storages.values())} layers "
                f"'{target}' are stored as {', '.join(sorted(wrong))}; expected {wanted}. The "
                "loading library skipped them without an error: nothing is trained on such a "
                "base. Set model.quantisation=none if full precision is wanted."
            )
    head = _head(model)
    if type(head) is not nn.Linear or head.weight.dtype != torch.float32:
        raise ModelError(
            f"head '{HEAD}' is {type(head).__name__} of {head.weight.dtype}; expected an "
            "unquantised nn.Linear of torch.float32."
        )
    return sum(sum(s.values()) for s in found.values()) if quantisation != "none" else 0


def hash_weights(source: str | Path, revision: str | None) -> str:
    """Return the hex SHA-256 over a folder's safetensors files, or the hub's revision.

    Raises ModelError if the folder holds no weights, or if a hub id comes without a full revision.
    """
    folder = Path(source)
    if folder.is_dir():
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise ModelError(
                f"model folder {folder} holds no *.safetensors; expected the weights of a base. "
                "Build it again or point model.source at the right folder."
            )
        total = hashlib.sha256()
        for file in files:
            total.update(f"{file.name}:{sha256(file)}\n".encode())
        return total.hexdigest()
    if isinstance(source, Path) or not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(source)):
        raise ModelError(
            f"model folder {source} does not exist; expected a folder with config.json, "
            "*.safetensors and tokenizer.json, or a hub id such as 'tiiuae/falcon-7b'."
        )
    if not re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        raise ModelError(
            f"model '{source}' is no folder here, and as a hub id its revision is {revision!r}; "
            "expected the 40 hex digits of a commit, so that the same weights come every time. "
            "Set model.revision."
        )
    return str(revision)


def _check_spec(spec: BaseSpec, labels: Sequence[str]) -> None:
    for key, value, valid in (
        ("quantisation", spec.quantisation, QUANTISATIONS),
        ("compute_dtype", spec.compute_dtype, COMPUTE_TYPES),
    ):
        if value not in valid:
            raise ModelError(f"model.{key} is '{value}'{nearest(value, valid)}")
    if len(set(labels)) < 2 or len(set(labels)) != len(labels):
        raise ModelError(f"labels are {list(labels)}; expected at least two, each once.")


def _check_length(model: PreTrainedModel, spec: BaseSpec) -> None:
    longest = getattr(model.config, "max_position_embeddings", spec.max_length)
    if spec.max_length > longest:
        raise ModelError(
            f"model.max_length is {spec.max_length}, but base '{spec.name}' was made for at most "
            f"{longest} tokens; expected no more than that."
        )


def _load_model(spec: BaseSpec, labels: Sequence[str], device: torch.device) -> PreTrainedModel:
    dtype = COMPUTE_TYPES[spec.compute_dtype]
    quantisation = None
    if spec.quantisation == "nf4":
        quantisation = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=spec.double_quantisation,
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=[HEAD],
        )
    try:
        with _falcon_with_plain_linears(), quiet_loading():
            model, report = AutoModelForSequenceClassification.from_pretrained(
                str(spec.source),
                revision=spec.revision,
                num_labels=len(labels),
                id2label=dict(enumerate(labels)),
                label2id={label: number for number, label in enumerate(labels)},
                quantization_config=quantisation,
                dtype=dtype,
                attn_implementation=spec.attention,
                device_map={"": device},
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as error:
        raise ModelError(
            f"base '{spec.source}' (revision {spec.revision}) cannot be loaded: {error}. Expected "
            "a folder with config.json and *.safetensors, or a reachable hub id."
        ) from error
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(f"{HEAD}."))
    wrong = sorted(str(key) for key in report["mismatched_keys"])
    if missing or wrong:
        raise ModelError(
            f"base '{spec.source}' lacks weights {missing[:3]} ({len(missing)} in all) and has "
            f"{len(wrong)} of another shape {wrong[:3]}; expected a complete checkpoint."
        )
    return model


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


def _start_head(model: nn.Module) -> None:
    """Give the head float32 weights from a fixed seed, and inputs of the same type."""
    head = _head(model)
    generator = torch.Generator().manual_seed(HEAD_SEED)
    weight = torch.empty(head.weight.shape).normal_(0, 0.02, generator=generator)
    head.weight = nn.Parameter(weight.to(head.weight.device), requires_grad=False)
    head.register_forward_pre_hook(_as_float32)


def _as_float32(module: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    return (inputs[0].float(),)


def _head(model: nn.Module) -> nn.Linear:
    head = getattr(model, HEAD, None)
    if not isinstance(head, nn.Linear):
        raise ModelError(
            f"{type(model).__name__} has no linear layer '{HEAD}'; expected a decoder with a "
            "classification head of that name."
        )
    return head


def _storage_name(quantisation: str, double: bool) -> str:
    if quantisation == "none":
        return "full precision"
    return f"{quantisation} with double quantisation" if double else quantisation


def _storage(module: nn.Linear) -> str:
    if not isinstance(module, bitsandbytes.nn.Linear4bit):
        return "full precision" if module.weight.is_floating_point() else type(module).__name__
    state = getattr(module.weight, "quant_state", None)
    if state is None or module.weight.dtype != torch.uint8:
        return f"unfilled Linear4bit ({module.weight.dtype})"
    return _storage_name(state.quant_type, state.nested)
