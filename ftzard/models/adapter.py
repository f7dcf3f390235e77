"""Adapters: what is trained, attached to a shared base, saved beside the base's hashes, reopened.

A base carries one adapter at a time. Taking it off puts back the very modules that were there
before, so that nothing of one trial reaches the next.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from safetensors import safe_open
from torch import nn

from ftzard.artifact import write_json
from ftzard.errors import ModelError
from ftzard.models.archive import whole_folder
from ftzard.models.base import HEAD, BaseSpec, LoadedBase, hash_weights, load_base
from ftzard.models.meta import META, read_meta
from ftzard.models.prediction import Classifier
from ftzard.models.quiet import quiet_loading

WEIGHTS = "adapter_model.safetensors"


@dataclass
class _Attachment:
    """The adapted model, and the base's own modules by name, to be put back afterwards."""

    adapted: PeftModel
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
    rank: int,
    alpha: float,
    dropout: float,
    seed: int,
    train_embeddings: bool = False,
    start_from: Path | None = None,
) -> PeftModel:
    """Return the base with a LoRA adapter on its targets and a trainable copy of its head.

    rank, alpha, dropout: LoRA's; seed: of its first weights; train_embeddings: train a copy of the
    token embeddings as well; start_from: folder of a saved adapter whose weights to begin with
    (the folder is only read), which must agree in rank, alpha and train_embeddings.
    Raises ModelError if an adapter is attached already, or if `start_from` does not fit.
    """
    if train_embeddings and loaded.spec.compute_dtype != "float32":
        raise ModelError(
            f"train_embeddings with compute_dtype {loaded.spec.compute_dtype}; expected float32, "
            "because small steps are lost to rounding. Set model.train_embeddings=false."
        )
    lora = {"rank": rank, "alpha": alpha, "train_embeddings": train_embeddings}
    if start_from is not None:
        meta = read_meta(start_from)
        saved = {key: meta["lora"][key] for key in lora}
        if saved != lora:
            raise ModelError(
                f"adapter {start_from} was trained with {saved}, but {lora} is asked for; to go on "
                "from it, take its values, or start fresh."
            )
        return _attach_saved(loaded, Path(start_from), meta, dropout=dropout)
    embeddings = [_embeddings(loaded.model.named_modules())] if train_embeddings else []
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=list(loaded.spec.lora_targets),
        modules_to_save=[HEAD, *embeddings],
    )

    def wrap() -> PeftModel:
        torch.manual_seed(seed)
        return get_peft_model(loaded.model, config)

    return _wrap(loaded, wrap)


def detach(loaded: LoadedBase) -> None:
    """Take the adapter off, leaving the base exactly as it was loaded.

    The model that was attached raises from now on: it would answer as the bare base.
    """
    attachment = loaded.attachment
    if attachment is None:
        return
    attachment.adapted.base_model.model = _TakenOff()
    _put_back(loaded, attachment.modules)
    loaded.attachment = None


def save(loaded: LoadedBase, folder: Path, extra: dict | None = None) -> Path:
    """Write the attached adapter, its head, the tokenizer and `ftzard.json` into `folder`.

    extra: more entries for ftzard.json, such as {'cleaning': {...}}. The folder appears complete
    or not at all, and replaces one of the same name. The same weights give the same bytes.
    Raises ModelError if no adapter is attached.
    """
    if loaded.attachment is None:
        raise ModelError("no adapter is attached to the base; expected one to save. Attach first.")
    with whole_folder(folder) as part:
        with quiet_loading():
            loaded.attachment.adapted.save_pretrained(part, save_embedding_layers=False)
            loaded.tokenizer.save_pretrained(part)
        (part / "README.md").unlink(missing_ok=True)
        _tidy_config(part / "adapter_config.json", loaded.spec)
        write_json(part / META, {**(extra or {}), **_describe(loaded)})
    return Path(folder)


def base_spec(folder: Path, source: str | Path) -> BaseSpec:
    """Return how the base of a saved adapter is to be loaded, found at `source`."""
    return BaseSpec(**{**read_meta(folder)["base"]["spec"], "source": source})


def open_classifier(folder: Path, base: BaseSpec | LoadedBase) -> Classifier:
    """Return the classifier of a saved adapter on its base.

    base: a spec, which is loaded, or a base in memory, to which the adapter is attached (one at a
    time: `detach` first). Raises ModelError if the base has other weights, another tokenizer or
    other labels than the adapter was trained with.
    """
    meta = read_meta(folder)
    if isinstance(base, BaseSpec):
        _check_weights(meta, folder, base.name, hash_weights(base.source, base.revision))
        base = load_base(base, meta["labels"])
    adapted = _attach_saved(base, Path(folder), meta, dropout=None)
    adapted.eval()
    return Classifier(adapted, base.tokenizer, list(base.labels), meta["max_length"], meta)


def bare_classifier(loaded: LoadedBase) -> Classifier:
    """Return the base itself with its untrained head, to compare with."""
    if loaded.attachment is not None:
        raise ModelError("an adapter is attached to the base; detach it to get the bare base.")
    return Classifier(
        loaded.model, loaded.tokenizer, list(loaded.labels), loaded.spec.max_length, {}
    )


def _attach_saved(
    loaded: LoadedBase, folder: Path, meta: dict, *, dropout: float | None
) -> PeftModel:
    """Attach a saved adapter: for training if a dropout is given, else for prediction only."""
    _check_weights(meta, folder, loaded.spec.name, loaded.weight_hash)
    for what, saved, found in (
        ("tokenizer", meta["tokenizer_hash"], loaded.tokenizer_hash),
        ("labels", meta["labels"], loaded.labels),
        ("quantisation", meta["quantisation"], loaded.spec.quantisation),
    ):
        if saved != found:
            raise ModelError(
                f"adapter {folder} was trained with {what} {saved}, but the base has {found}; "
                "expected the same. Load the base as the adapter's ftzard.json says."
            )
    config = LoraConfig.from_pretrained(folder)
    config.inference_mode = dropout is None
    config.lora_dropout = dropout or 0.0
    _check_complete(folder, config, loaded.model)
    return _wrap(
        loaded,
        lambda: PeftModel.from_pretrained(
            loaded.model,
            folder,
            config=config,
            is_trainable=dropout is not None,
            torch_device=str(loaded.device),
        ),
    )


def _wrap(loaded: LoadedBase, wrap: Callable[[], PeftModel]) -> PeftModel:
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
            f"the adapter cannot be attached to base '{loaded.spec.name}': {error}. Expected one "
            "whose layers have the base's shapes."
        ) from error
    loaded.attachment = _Attachment(adapted, modules)
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
    expected = set()
    for name, module in model.named_modules():
        last = name.rsplit(".", 1)[-1]
        if last in config.modules_to_save:
            expected.add(f"base_model.model.{name}.weight")
        elif isinstance(module, nn.Linear) and last in config.target_modules:
            expected |= {f"base_model.model.{name}.lora_{side}.weight" for side in "AB"}
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        missing = sorted(expected - set(file.keys()))
    if missing:
        raise ModelError(
            f"adapter {folder} lacks {len(missing)} of {len(expected)} weights (first: "
            f"{missing[0]}); expected those of every target and of the head. Take a complete "
            "copy, or train again."
        )


def _check_weights(meta: dict, folder: Path, name: str, found: str) -> None:
    saved = meta["base"]["weight_hash"]
    if saved != found:
        raise ModelError(
            f"adapter {folder} was trained on base '{meta['base']['spec']['name']}' with weights "
            f"{saved[:12]}…, but the base here is '{name}' with weights {found[:12]}…; "
            "expected the same weights. Load the adapter's own base, or train on this one."
        )


def _describe(loaded: LoadedBase) -> dict:
    config = loaded.attachment.adapted.peft_config["default"]
    embeddings = _embeddings(loaded.attachment.modules.items())
    spec = loaded.spec
    return {
        "labels": list(loaded.labels),
        "base": {
            "spec": {**asdict(spec), "source": str(spec.source) if spec.revision else spec.name},
            "weight_hash": loaded.weight_hash,
        },
        "tokenizer_hash": loaded.tokenizer_hash,
        "max_length": spec.max_length,
        "quantisation": spec.quantisation,
        "lora": {
            "rank": config.r,
            "alpha": config.lora_alpha,
            "dropout": config.lora_dropout,
            "train_embeddings": embeddings in config.modules_to_save,
        },
    }


def _tidy_config(path: Path, spec: BaseSpec) -> None:
    """Sort what peft writes in any order, and name the base instead of a path on this machine."""
    config = json.loads(path.read_text(encoding="utf-8"))
    for key in ("target_modules", "modules_to_save"):
        config[key] = sorted(config[key])
    config["base_model_name_or_path"] = str(spec.source) if spec.revision else spec.name
    config["revision"] = spec.revision
    write_json(path, config)


def _embeddings(modules: Iterable[tuple[str, nn.Module]]) -> str:
    """Return the last part of the name of the token embeddings among a bare base's modules."""
    return next(name for name, part in modules if isinstance(part, nn.Embedding)).split(".")[-1]
