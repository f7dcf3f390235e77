"""Adapters: what is trained, attached to a shared base, saved beside the base's hashes, reopened.

A base carries one adapter at a time. Taking it off puts back the very modules that were there
before, so that nothing of one trial reaches the next. What the method 'full' trains goes the same
way: it is a copy of the base, of which every weight is its own.
"""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from ftzard.core.archive import whole_folder
from ftzard.core.artifacts import write_json
from ftzard.errors import ModelError
from ftzard.modeling import adapter_checks, head_labels
from ftzard.modeling.adapter_meta import META, WEIGHTS, WHOLE, read_meta
from ftzard.modeling.base_model import LoadedBase, load_base
from ftzard.modeling.head import DEFAULT_HEAD
from ftzard.modeling.hf_logging import quiet_loading
from ftzard.modeling.spec import BaseSpec


@dataclass
class _Attachment:
    """The adapted model, its method, and the base's own modules by name, to be put back."""

    adapted: nn.Module
    method: str
    modules: dict[str, nn.Module]


class _TakenOff(nn.Module):
    """Stands where the base was in an adapted model whose adapter has been taken off."""

    def __getattr__(self, name: str) -> None:
        raise ModelError(
            "this adapter has been taken off its base, so it can no longer answer; attach it again "
            "or open the saved one."
        )


def attach(
    loaded: LoadedBase,
    *,
    seed: int,
    method: str = "lora",
    rank: int | None = None,
    alpha: float | None = None,
    dropout: float = 0.0,
    train_embeddings: bool = False,
    start_from: Path | None = None,
) -> nn.Module:
    """Return the base with an adapter on its targets and, for labels, a trainable copy of its head.

    Args:
        seed: Of the adapter's first weights.
        method: 'lora', 'rslora' (alpha counts by the root of the rank), 'dora' (lengths of the
            weights train as well) or 'full' (a copy of the base, all of it trainable; what follows
            but start_from has no meaning for it).
        rank, alpha, dropout: LoRA's.
        train_embeddings: Train a copy of the token embeddings as well, and of a base that writes
            one of its head, tied as in the base.
        start_from: Folder of a saved adapter whose weights to begin with (the folder is only
            read), which must agree in method, rank, alpha, train_embeddings and the layers that it
            adapts; its head gets a row for each label that the base has beside its own.

    Raises:
        ModelError: If an adapter is attached already, if the base cannot be trained so, or if
            `start_from` does not fit.
    """
    adapter_checks.method_fits(loaded.spec, method, train_embeddings=train_embeddings)
    lora = {"rank": rank, "alpha": alpha, "train_embeddings": train_embeddings}
    if start_from is not None:
        meta = read_meta(start_from)
        saved = {"method": meta["method"]}
        if method != "full" and meta["lora"] is not None:
            saved |= {key: meta["lora"][key] for key in lora}
        wanted = {"method": method} | (lora if method != "full" else {})
        if saved != wanted:
            raise ModelError(
                f"adapter {start_from} was trained with {saved}, but {wanted} is asked for; to go "
                "on from it, take its values, or start fresh."
            )
        if method != "full":
            adapter_checks.same_targets(start_from, loaded.inspection.targets)
        with head_labels.grown(start_from, loaded) as folder:
            adapted = _attach_saved(loaded, folder, read_meta(folder), dropout=dropout)
    elif method == "full":
        adapted = _wrap(loaded, method, lambda: _whole_copy(loaded))
    else:
        config = LoraConfig(
            task_type=TaskType[loaded.spec.head.peft_type],
            r=rank,
            lora_alpha=alpha,
            lora_dropout=dropout,
            use_rslora=method == "rslora",
            use_dora=method == "dora",
            target_modules=list(loaded.inspection.targets),
            modules_to_save=_trained_whole(loaded, train_embeddings) or None,
            ensure_weight_tying=loaded.inspection.tied and train_embeddings,
        )

        def wrap() -> PeftModel:
            torch.manual_seed(seed)
            return get_peft_model(loaded.model, config)

        adapted = _wrap(loaded, method, wrap)
    try:
        adapter_checks.attached(
            adapted, loaded.inspection, method=method, rank=rank, train_embeddings=train_embeddings
        )
    except ModelError:
        detach(loaded)
        raise
    return adapted


def detach(loaded: LoadedBase) -> None:
    """Take the adapter off, leaving the base exactly as it was loaded.

    The model that was attached raises from now on, for it would answer as the bare base; one that
    was trained in full is a model of its own and goes on answering.
    """
    attachment = loaded.attachment
    if attachment is None:
        return
    if attachment.method != "full":
        attachment.adapted.base_model.model = _TakenOff()
    _put_back(loaded, attachment.modules)
    loaded.attachment = None


def save(loaded: LoadedBase, folder: Path, extra: dict | None = None) -> Path:
    """Write the attached adapter, its head, the tokenizer and `ftzard.json` into `folder`.

    The same weights give the same bytes.

    Args:
        extra: More entries for ftzard.json, such as {'cleaning': {...}}. The folder appears
            complete or not at all, and replaces one of the same name.

    Raises:
        ModelError: If no adapter is attached, or if the tokenizer would not come back the same.
    """
    if loaded.attachment is None:
        raise ModelError("no adapter is attached to the base; expected one to save. Attach first.")
    adapted, method = loaded.attachment.adapted, loaded.attachment.method
    with whole_folder(folder) as part:
        with quiet_loading():
            if method == "full":
                adapted.save_pretrained(part, max_shard_size="10TB")
            else:
                adapted.save_pretrained(part, save_embedding_layers=False)
            loaded.tokenizer.save_pretrained(part)
        (part / "README.md").unlink(missing_ok=True)
        _tidy_config(part, loaded)
        write_json(part / META, {**(extra or {}), **_describe(loaded)})
        adapter_checks.saved(part, loaded.tokenizer)
    return Path(folder)


def open_adapter(
    folder: Path, base: BaseSpec | LoadedBase, task: str
) -> tuple[nn.Module, LoadedBase, dict]:
    """Return a saved adapter on its base for prediction, the base, and what the folder says."""
    meta = read_meta(folder)
    _require_task(f"adapter {folder}", meta["task"], task)
    if isinstance(base, BaseSpec):
        base = load_base(base, meta["labels"], continues=Path(folder))
    adapted = _attach_saved(base, Path(folder), meta, dropout=None)
    adapted.eval()
    return adapted, base, meta


def require_bare(loaded: LoadedBase, task: str) -> None:
    _require_task(f"base '{loaded.spec.name}'", loaded.spec.task, task)
    if loaded.attachment is not None:
        raise ModelError("an adapter is attached to the base; detach it to get the bare base.")


def _require_task(what: str, actual: str, task: str) -> None:
    if actual != task:
        raise ModelError(
            f"{what} is for {actual}; expected one for {task}. Take one of that task, or set "
            f"task={actual}."
        )


def _attach_saved(
    loaded: LoadedBase, folder: Path, meta: dict, *, dropout: float | None
) -> nn.Module:
    """Attach a saved adapter: for training if a dropout is given, else for prediction only."""
    adapter_checks.adapter_fits(
        folder, loaded.spec, weight_hash=loaded.weight_hash, tokens=loaded.tokenizer_hash,
        labels=loaded.labels)
    if meta["method"] == "full":
        return _wrap(loaded, "full", lambda: _whole_saved(loaded, folder, dropout is not None))
    config = LoraConfig.from_pretrained(folder)
    config.inference_mode = dropout is None
    config.lora_dropout = dropout or 0.0
    _check_complete(folder, config, loaded.model)
    return _wrap(
        loaded,
        meta["method"],
        lambda: PeftModel.from_pretrained(
            loaded.model,
            folder,
            config=config,
            is_trainable=dropout is not None,
            torch_device=str(loaded.device),
        ),
    )


def _whole_copy(loaded: LoadedBase, trainable: bool = True) -> nn.Module:
    """Return a copy of the base that shares nothing with it."""
    return copy.deepcopy(loaded.model).requires_grad_(trainable)


def _whole_saved(loaded: LoadedBase, folder: Path, trainable: bool) -> nn.Module:
    """Return a copy of the base with the weights of a folder, all of which must be there."""
    adapted, weights = _whole_copy(loaded, trainable), load_file(
        folder / WHOLE, device=str(loaded.device))
    if loaded.inspection.tied:  # a matrix that stands in two places is written once
        embedding = weights.get(f"{loaded.inspection.embedding}.weight")
        for head in loaded.inspection.head if embedding is not None else ():
            weights.setdefault(f"{head}.weight", embedding)
    adapted.load_state_dict(weights, strict=True)
    return adapted


def _wrap(loaded: LoadedBase, method: str, wrap: Callable[[], nn.Module]) -> nn.Module:
    if loaded.attachment is not None:
        raise ModelError(
            "an adapter is attached to this base already; expected a bare base, because a second "
            "one would be stacked on the first. Call detach(loaded) first."
        )
    modules = dict(loaded.model.named_modules())
    try:
        with torch.random.fork_rng(devices=[]), quiet_loading():
            adapted = wrap()
    except Exception as error:
        _put_back(loaded, modules)
        raise ModelError(
            f"the adapter cannot be attached to base '{loaded.spec.name}': "
            f"{' '.join(str(error).split())} Expected one whose layers have the base's shapes."
        ) from error
    loaded.attachment = _Attachment(adapted, method, modules)
    return adapted


def _put_back(loaded: LoadedBase, modules: dict[str, nn.Module]) -> None:
    """Make the base of these modules again, frozen and without a trace of an adapter."""
    for name, module in modules.items():
        if name:
            parent, _, child = name.rpartition(".")
            modules[parent]._modules[child] = module
    for attribute in ("peft_config", "_hf_peft_config_loaded"):
        loaded.model.__dict__.pop(attribute, None)
    loaded.model.requires_grad_(False)
    loaded.model.eval()


def _check_complete(folder: Path, config: LoraConfig, model: nn.Module) -> None:
    """Refuse a saved adapter that lacks a weight: peft would fill in a fresh one."""
    expected, whole = set(), config.modules_to_save or ()
    for name, module in model.named_modules():
        last = name.rsplit(".", 1)[-1]
        if last in whole:
            expected |= {f"base_model.model.{name}.{key}" for key in module.state_dict()}
        elif isinstance(module, nn.Linear) and last in config.target_modules and not any(
            part in whole for part in name.split(".")
        ):
            expected |= {f"base_model.model.{name}.lora_{side}.weight" for side in "AB"}
            if config.use_dora:
                expected.add(f"base_model.model.{name}.lora_magnitude_vector")
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        missing = sorted(expected - set(file.keys()))
    if missing:
        raise ModelError(
            f"adapter {folder} lacks {len(missing)} of {len(expected)} weights (first: "
            f"{missing[0]}); expected those of every target and of the head. Take a complete "
            "copy, or train again."
        )


def _describe(loaded: LoadedBase) -> dict:
    spec, method = loaded.spec, loaded.attachment.method
    described = {
        "labels": list(loaded.labels),
        "base": {
            "spec": {**spec.to_dict(), "source": str(spec.source) if spec.revision else spec.name},
            "weight_hash": loaded.weight_hash,
        },
        "tokenizer_hash": loaded.tokenizer_hash,
        "max_length": spec.max_length,
        "quantisation": spec.quantisation,
        "method": method,
        "lora": None,
    }
    if method != "full":
        config = loaded.attachment.adapted.peft_config["default"]
        described["lora"] = {
            "rank": config.r,
            "alpha": config.lora_alpha,
            "dropout": config.lora_dropout,
            "train_embeddings": _embeddings(loaded) in (config.modules_to_save or ()),
        }
    return described | ({} if spec.head == DEFAULT_HEAD else {"task": spec.task})


def _tidy_config(folder: Path, loaded: LoadedBase) -> None:
    """Sort what peft writes in any order, and name the base instead of a path on this machine.

    Where head and embeddings are tied, peft writes the names as it has worked them out, from which
    it would not tie them again; the config gets those that it was given.
    """
    spec, method = loaded.spec, loaded.attachment.method
    source = str(spec.source) if spec.revision else spec.name
    if method == "full":
        path = folder / "config.json"
        write_json(path, {**json.loads(path.read_text(encoding="utf-8")), "_name_or_path": source})
        return
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("ensure_weight_tying"):
        config["modules_to_save"] = _trained_whole(loaded, True)
    for key in ("target_modules", "modules_to_save"):
        config[key] = config[key] and sorted(config[key])
    config["base_model_name_or_path"] = source
    config["revision"] = spec.revision
    write_json(path, config)


def _trained_whole(loaded: LoadedBase, train_embeddings: bool) -> list[str]:
    """Return the last parts of the names of the layers of which an adapter trains a copy."""
    embeddings = [_embeddings(loaded)] if train_embeddings else []
    head = list(loaded.inspection.head)
    return [*head, *embeddings] if train_embeddings or not loaded.spec.head.is_causal_lm else []


def _embeddings(loaded: LoadedBase) -> str:
    """Return the last part of the name of the token embeddings."""
    return loaded.inspection.embedding.split(".")[-1]
