"""Checks of an adapter: what can be trained, what trains, what was saved, and where it belongs.

Attaching, fitting and saving go through here and nowhere else.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from ftzard.errors import ModelError, nearest
from ftzard.modeling.adapter_meta import read_meta
from ftzard.modeling.inspection import Inspection
from ftzard.modeling.spec import METHODS, BaseSpec
from ftzard.modeling.tokenizer import load_tokenizer, tokenizer_hash

OPTIMIZERS = ("adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit")


def method_fits(spec: BaseSpec, method: str, *, train_embeddings: bool = False) -> None:
    """Raise ModelError for an unknown method and for one that this base cannot be trained with."""
    if method not in METHODS:
        raise ModelError(f"training.method is '{method}'{nearest(method, METHODS)}")
    if method == "full" and spec.quantisation != "none":
        raise ModelError(
            f"training.method is 'full' on a base in {spec.quantisation}; quantised weights cannot "
            "be trained. Set model.quantisation=none, or training.method=lora."
        )
    if method == "full" and spec.compute_dtype != "float32":
        raise ModelError(
            f"training.method is 'full' with compute_dtype {spec.compute_dtype}; expected float32, "
            "because small steps are lost to rounding. Set model.compute_dtype=float32, or "
            "training.method=lora."
        )
    if train_embeddings and method != "full" and spec.compute_dtype != "float32":
        raise ModelError(
            f"train_embeddings with compute_dtype {spec.compute_dtype}; expected float32, "
            "because small steps are lost to rounding. Set model.train_embeddings=false."
        )


def optimizer_fits(name: str, device: torch.device) -> None:
    """Raise ModelError for an unknown optimizer and for a paged one without a GPU to page from."""
    if name not in OPTIMIZERS:
        raise ModelError(f"training.optimizer is '{name}'{nearest(name, OPTIMIZERS)}")
    if name.startswith("paged") and device.type != "cuda":
        raise ModelError(
            f"training.optimizer is '{name}', which moves its state between a GPU's memory and the "
            f"machine's, but training is on {device.type}; expected a GPU. Set training.optimizer="
            f"{name.removeprefix('paged_')}."
        )


def attached(
    adapted: nn.Module, inspection: Inspection, *, method: str, rank: int | None,
    train_embeddings: bool,
) -> None:
    """Raise ModelError unless exactly what the method trains is trainable, in float32.

    A target that was passed over, a head that stayed frozen and a base that trains along unasked
    all change the count.
    """
    trainable = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
    parameters = sum(parameter.numel() for parameter in trainable.values())
    wanted = inspection.trainable(method=method, rank=rank, train_embeddings=train_embeddings)
    if parameters != wanted:
        raise ModelError(
            f"training.method={method}: {parameters:,} parameters are trainable; expected "
            f"{wanted:,}, those of {len(inspection.adapted)} adapted layers and the head "
            f"({', '.join(inspection.head)}"
            f"{', with embeddings' if inspection.is_causal_lm else ''}). "
            "The adapter was not put where the config says."
        )
    narrow = {str(p.dtype): name for name, p in trainable.items() if p.dtype != torch.float32}
    for dtype, name in narrow.items():
        raise ModelError(
            f"the trainable parameter {name} is of {dtype}; expected torch.float32, because small "
            "steps are lost to rounding."
        )


def saved(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise ModelError if the tokenizer in `folder` is not the one that was trained with."""
    tokenizer_there = load_tokenizer(folder)
    if tokenizer_there.pad_token_id != tokenizer.pad_token_id or (
        tokenizer_hash(tokenizer_there) != tokenizer_hash(tokenizer)
    ):
        raise ModelError(
            f"{folder}: the saved tokenizer pads with {tokenizer_there.pad_token!r} (hash "
            f"{tokenizer_hash(tokenizer_there)[:12]}…), the one trained with pads with "
            f"{tokenizer.pad_token!r} (hash {tokenizer_hash(tokenizer)[:12]}…); expected the same."
        )


def adapter_weights(folder: Path, spec: BaseSpec, weight_hash: str) -> None:
    """Raise ModelError if a saved adapter was trained on a base with other weights."""
    meta = read_meta(folder)
    trained_on = meta["base"]["weight_hash"]
    if trained_on != weight_hash:
        raise ModelError(
            f"adapter {folder} was trained on base '{meta['base']['spec']['name']}' with weights "
            f"{trained_on[:12]}…, but the base here is '{spec.name}' with weights "
            f"{weight_hash[:12]}…; expected the same weights. Load the adapter's own base, or "
            "train on this one."
        )


def adapter_fits(
    folder: Path, spec: BaseSpec, *, weight_hash: str, tokens: str, labels: Sequence[str]
) -> None:
    """Raise ModelError, naming both sides, if a saved adapter does not belong on this base.

    Args:
        tokens: Hash of the base's tokenizer.
        labels: In the order of the logits.
    """
    adapter_weights(folder, spec, weight_hash)
    meta = read_meta(folder)
    for what, then, now in (
        ("task", meta["task"], spec.task),
        ("tokenizer", meta["tokenizer_hash"], tokens),
        ("labels", meta["labels"], list(labels)),
        ("quantisation", meta["quantisation"], spec.quantisation),
    ):
        if then != now:
            raise ModelError(
                f"adapter {folder} was trained with {what} {then}, but the base has {now}; "
                "expected the same. Load the base as the adapter's ftzard.json says."
            )


def same_targets(folder: Path, targets: Sequence[str]) -> None:
    """Raise ModelError unless a saved adapter stands on the layers of these names, and no others.

    Args:
        targets: The last parts of the layers' names, in any order.
    """
    path = Path(folder) / "adapter_config.json"
    saved = set(json.loads(path.read_text(encoding="utf-8"))["target_modules"])
    if saved == set(targets):
        return
    missing, more = sorted(saved - set(targets)), sorted(set(targets) - saved)
    differ = "; ".join(f"{sentence}: {', '.join(names)}" for sentence, names in (
        ("only the adapter's", missing), ("only the config's", more)) if names)
    raise ModelError(
        f"adapter {folder} adapts the layers {', '.join(sorted(saved))}, but model.lora_targets is "
        f"{', '.join(sorted(targets))} ({differ}); expected the same to go on from it. Set "
        f"model.lora_targets=[{','.join(sorted(saved))}], or retraining.start=base."
    )
