"""A model as plain transformers and peft load it, without FTzard: safetensors and a tokenizer.

As an adapter (peft's folder, beside its base where no hub has that), or merged into one model. An
adapter that was trained on a quantised base is merged into what those weights stand for, written
out unquantised: merging into 4 bit, or into weights that it never saw, would change its answers.
What was written is loaded again with plain transformers and asked the same texts. Of a model that
writes answers, the tokenizer brings the template as its chat template.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy
import torch
from peft import LoraConfig, PeftModel
from peft.utils.integrations import dequantize_module_weight
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ftzard.core.archive import whole_folder
from ftzard.core.artifacts import write_json
from ftzard.errors import ModelError
from ftzard.modeling.adapter_meta import WEIGHTS, read_meta
from ftzard.modeling.architecture import linear_layers
from ftzard.modeling.base_model import LoadedBase, load_base
from ftzard.modeling.hf_logging import quiet_loading
from ftzard.modeling.hub import cause, message, token
from ftzard.modeling.spec import BaseSpec
from ftzard.tasks.base import task_named

ADAPTER, MERGED = "adapter", "merged"
FORMS = (ADAPTER, MERGED)
#: Where the base lies beside an exported adapter, if no hub has it.
BASE_FOLDER = "base"
#: The largest difference of a logit that rounding explains, by what is computed in.
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.25, "float16": 0.05}
#: 8-bit layers round what flows through them, too, which a plain layer does not.
TOLERANCE_INT8 = 0.25


@dataclass(frozen=True)
class Parity:
    """What plain transformers answers, against the registered model, on the same texts.

    Attributes:
        largest: Difference of a logit, of the first token's where answers are written.
        changed: Texts with another label or answer.
        rows: Texts asked.
    """

    largest: float
    changed: int
    rows: int


def export(
    adapter: Path,
    base: BaseSpec,
    target: Path,
    texts: Sequence[str],
    *,
    form: str,
    readme: Callable[[Parity], str],
    tolerance: float | None = None,
) -> Parity:
    """Write a saved adapter into the folder `target`, as `form` says, and return its parity.

    A base that lies beside an adapter is written unquantised, as the numbers that its quantised
    weights stand for. The folder appears complete or not at all.

    Args:
        texts: Cleaned ones to ask.
        form: 'adapter' or 'merged'.
        readme: Gives the card's text once the parity is known.
        tolerance: The largest difference of a logit from the registered model's, None for what
            rounding explains.

    Raises:
        ModelError: For a model beyond the tolerance, for an adapter of a model that was trained in
            full, and if plain transformers would read texts as other tokens.
    """
    meta = read_meta(adapter)
    if form == ADAPTER and meta["method"] == "full":
        raise ModelError("this model was trained in full and has no adapter; export it with "
                         "--merged.")
    loaded = load_base(base, meta["labels"], continues=Path(adapter))
    task = task_named(base.task)
    exporter = task.exporter.Exporter(task.predictor.open_predictor(adapter, loaded))
    texts = exporter.usable(texts)
    (expected, outputs), input_ids = exporter.expected(texts), exporter.input_ids(texts)
    with whole_folder(target) as part:
        exporter.write_tokenizer(part)
        if form == ADAPTER:
            _write_adapter(part, adapter, loaded, base)
        else:
            _merge(part, adapter, loaded, exporter.model if meta["method"] == "full" else None)
        exporter.finish(part)
        del loaded
        exporter.model = None
        with _plain(part, base, exporter.loader, exporter.values, form) as (model, tokenizer):
            _require_same_tokens(exporter.ids_of(tokenizer, texts), texts, input_ids)
            logits, plain_outputs = exporter.actual(model, tokenizer, texts)
        parity = Parity(
            largest=float(numpy.abs(logits - expected).max()),
            changed=sum(a != b for a, b in zip(plain_outputs, outputs, strict=True)),
            rows=len(texts))
        limit = _rounding(base) if tolerance is None else tolerance
        if not parity.largest <= limit:
            other = ("export the adapter" if form == MERGED else
                     "export with --merged, which holds the numbers that it was trained on")
            raise ModelError(
                f"{'merged' if form == MERGED else 'on the base as its hub has it'}, its logits "
                f"differ from the registered model's by up to {parity.largest:.2g} on "
                f"{parity.rows} texts ({parity.changed} with another {exporter.output}); expected "
                "at "
                f"most {limit:.2g}. Nothing was written: {other}, or say how much is acceptable "
                "with --tolerance.")
        (part / "README.md").write_text(readme(parity), encoding="utf-8")
    return parity


def _rounding(base: BaseSpec) -> float:
    """Return the largest difference of a logit that rounding explains."""
    least = TOLERANCE_INT8 if base.quantisation == "int8" else 0.0
    return max(TOLERANCE[base.compute_dtype], least)


def _write_adapter(part: Path, adapter: Path, loaded: LoadedBase, base: BaseSpec) -> None:
    shutil.copyfile(adapter / WEIGHTS, part / WEIGHTS)
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    if Path(base.source).is_dir():
        shutil.copytree(base.source, part / BASE_FOLDER, ignore=_only_weights)
        if base.quantisation != "none":
            for file in (part / BASE_FOLDER).glob("*.safetensors*"):
                file.unlink()
            with quiet_loading():
                _unquantised(loaded).save_pretrained(part / BASE_FOLDER, max_shard_size="5GB")
        config |= {"base_model_name_or_path": BASE_FOLDER, "revision": None}
    else:
        config |= {"base_model_name_or_path": str(base.source), "revision": base.revision}
    write_json(part / "adapter_config.json", config | {"inference_mode": True})


def _only_weights(folder: str, names: list[str]) -> list[str]:
    """Return what of a base's folder is not taken along, such as weights in other formats."""
    return [name for name in names if not name.endswith((".json", ".safetensors", ".txt", ".model"))
            or name in ("build.json", "packed.json")]


def _merge(part: Path, adapter: Path, loaded: LoadedBase, whole: PreTrainedModel | None) -> None:
    model = whole
    if model is None:
        with quiet_loading():
            model = PeftModel.from_pretrained(
                _unquantised(loaded), adapter, config=LoraConfig.from_pretrained(adapter),
                torch_device=str(loaded.device)).merge_and_unload(safe_merge=True)
    with quiet_loading():
        model.save_pretrained(part, max_shard_size="5GB")


def _unquantised(loaded: LoadedBase) -> PreTrainedModel:
    """Return the base with plain layers, which hold what the loaded one's layers stand for."""
    spec = replace(loaded.spec, quantisation="none", double_quantisation=False)
    plain = load_base(spec, loaded.labels, loaded.device).model
    if loaded.spec.quantisation != "none":
        _take_dequantised(plain, loaded.attachment.modules)
    return plain


def _take_dequantised(plain: PreTrainedModel, quantised: dict[str, nn.Module]) -> None:
    """Give the linear layers of a plain base the numbers that the quantised ones stand for."""
    with torch.no_grad():
        for name, layer in linear_layers(plain).items():
            weight = dequantize_module_weight(quantised[name])
            layer.weight.copy_(weight.to(layer.weight.device, layer.weight.dtype))


@contextmanager
def _plain(part: Path, base: BaseSpec, loader: type, values: Mapping, form: str
           ) -> Iterator[tuple[nn.Module, PreTrainedTokenizerBase]]:
    """Yield model and tokenizer as somebody without FTzard loads them."""
    values = {**values, "dtype": base.compute_dtype, "attn_implementation": base.attention}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with quiet_loading():
        tokenizer = AutoTokenizer.from_pretrained(part)
        if form == MERGED:
            model = loader.from_pretrained(part, **values)
        else:
            config = json.loads((part / "adapter_config.json").read_text(encoding="utf-8"))
            source = config["base_model_name_or_path"]
            beside = (part / source).is_dir()
            model = loader.from_pretrained(
                part / source if beside else source, revision=config["revision"],
                token=None if beside else token(), **values)
            model.config.pad_token_id = tokenizer.pad_token_id
            model = PeftModel.from_pretrained(model, part)
        yield model.to(device).eval(), tokenizer


def _require_same_tokens(actual: Sequence[Sequence[int]], texts: Sequence[str],
                         expected: Sequence[Sequence[int]]) -> None:
    wrong = [i for i, ids in enumerate(actual) if list(ids) != list(expected[i])]
    if wrong:
        i = wrong[0]
        raise ModelError(
            f"plain transformers reads {len(wrong)} of {len(texts)} texts as other tokens than the "
            f"model was trained on (such as {texts[i][:60]!r}: {list(actual[i])[:8]}…, expected "
            f"{list(expected[i])[:8]}…); nothing was written. The tokenizer of this base cannot "
            "be exported.")


def push(folder: Path, repository: str, secret: str) -> str:
    """Upload a folder to a repository of the hub, making it (private) if need be; return its URL.

    secret: the token. Raises ModelError, without the token, for whatever the hub refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=secret)
    try:
        url = api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder,
                          commit_message="Upload a model exported by FTzard")
    except Exception as error:
        raise ModelError(
            f"the hub did not take '{repository}': {message(error)}. The export itself is whole at "
            f"{folder}. Check the name, the network, and that the token in HF_TOKEN may write "
            "there.") from cause(error)
    return str(url)
