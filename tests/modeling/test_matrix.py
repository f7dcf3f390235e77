"""Every family with every method: trains, is saved, comes back to the same logits."""

from dataclasses import replace

import numpy
import pytest
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt

from ftzard.core.artifacts import sha256
from ftzard.errors import ModelError
from ftzard.modeling.adapter import attach, detach, save
from ftzard.modeling.adapter_meta import read_meta, weights_file
from ftzard.modeling.base_model import BaseSpec, load_base
from ftzard.modeling.inference import answers, logits
from ftzard.modeling.tokenizer import encode, frame
from ftzard.tasks.classification.predictor import bare_classifier, open_classifier
from ftzard.tasks.verification import verify_saved
from tests.modeling.families import FAMILIES, LAYERS, LINEAR, build
from tests.training_calls import fit

pytestmark = pytest.mark.slow

LABELS = ["negative", "positive"]
METHODS = [("lora", "none"), ("lora", "nf4"), ("lora", "int8"), ("rslora", "none"),
           ("dora", "none"), ("full", "none")]
STORED = {"none": torch.nn.Linear, "nf4": Linear4bit, "int8": Linear8bitLt}
LENGTH = 40


@pytest.fixture(scope="module")
def folders(tmp_path_factory, texts):
    place = tmp_path_factory.mktemp("families")
    return {family: build(place / family, family, texts["text"]) for family in FAMILIES}


@pytest.fixture(scope="module")
def base_of(folders):
    """Return a base of a family in a quantisation, loaded once for all tests."""
    kept = {}

    def load(family, quantisation):
        key = family, quantisation
        if key not in kept:
            kept[key] = load_base(spec_of(folders, family, quantisation), LABELS, device="cpu")
        detach(kept[key])
        return kept[key]

    return load


def spec_of(folders, family, quantisation) -> BaseSpec:
    return BaseSpec(source=folders[family], name=family, quantisation=quantisation,
                    lora_targets=None, max_length=LENGTH)


def rows_of(texts, base):
    table = texts.assign(input_ids=encode(texts["text"], base.tokenizer, LENGTH)[0])
    return table[:64].reset_index(drop=True), table[160:200].reset_index(drop=True)


def fitted(base, texts, folder, method="lora", **changes):
    train, validation = rows_of(texts, base)
    values = dict(
        params=dict(rank=4, alpha=8.0, dropout=0.0, learning_rate=5e-3, batch_size=16,
                    weight_decay=0.0),
        seed=3, metric="validation_loss", training=dict(method=method, epochs=2), folder=folder)
    return fit(base, train, validation, **{**values, **changes}), validation


@pytest.mark.parametrize(("method", "quantisation"), METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_it_learns_and_comes_back_to_the_same_logits(
    family, method, quantisation, base_of, texts, tmp_path
):
    base = base_of(family, quantisation)
    layers = [m for name, m in base.model.named_modules() if name.split(".")[-1] in LINEAR[family]]
    assert {type(layer) for layer in layers} == {STORED[quantisation]}
    assert len(layers) == LAYERS * len(LINEAR[family]) == len(base.inspection.linear)
    assert base.quantised == (len(layers) if quantisation != "none" else 0)
    bare = bare_classifier(base).logits(rows_of(texts, base)[1]["input_ids"])
    done, validation = fitted(base, texts, tmp_path / "adapter", method)
    first, last = done.trained.history
    assert last["train_loss"] < first["train_loss"]
    meta = read_meta(done.folder)
    assert meta["method"] == method and meta["quantisation"] == quantisation
    classifier = open_classifier(done.folder, base)
    found = classifier.logits(validation["input_ids"])
    assert numpy.abs(found - bare).max() > 1e-3
    entry = done.trained.best
    assert float(numpy.mean([LABELS[n] for n in found.argmax(axis=1)] == validation["label"])) == (
        entry["accuracy"])
    again = [classifier.logits([ids], batch_size=1)[0] for ids in validation["input_ids"][:4]]
    # LLM.int8 computes the large activations of a whole batch apart, and so depends on them.
    tolerance = 0.05 if quantisation == "int8" else 1e-5
    assert numpy.abs(numpy.stack(again) - found[:4]).max() < tolerance
    detach(base)
    assert numpy.array_equal(bare_classifier(base).logits(validation["input_ids"]), bare)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_is_the_family_s_own_and_all_of_it_is_saved(family, base_of, texts, tmp_path):
    base = base_of(family, "none")
    heads = {"distilbert": ("pre_classifier", "classifier")}.get(family, ("score",))
    assert base.inspection.head == heads
    assert base.inspection.architecture == ("encoder" if family == "distilbert" else "decoder")
    adapted = attach(base, seed=1, rank=4, alpha=8.0)
    trainable = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert {name.split(".")[2] for name in trainable if "modules_to_save" in name} == set(heads)
    assert sum("lora_A" in name for name in trainable) == LAYERS * len(LINEAR[family])
    folder = save(base, tmp_path / "adapter")
    with open(weights_file(folder), "rb") as stream:
        written = stream.read(20000).decode("latin-1")
    assert all(f"base_model.model.{name}.weight" in written for name in heads)


def test_an_adapter_without_one_layer_of_its_head_is_refused(base_of, tmp_path):
    from safetensors.torch import load_file, save_file

    base = base_of("distilbert", "none")
    attach(base, seed=1, rank=4, alpha=8.0)
    folder = save(base, tmp_path / "adapter")
    detach(base)
    whole = load_file(weights_file(folder))
    lost = "base_model.model.pre_classifier.bias"
    save_file({n: t for n, t in whole.items() if n != lost}, weights_file(folder))
    with pytest.raises(ModelError, match=f"lacks 1 of .* weights .first: {lost}"):
        open_classifier(folder, base)


@pytest.mark.parametrize(("family", "around"), [
    ("falcon", "… <eos>"), ("distilbert", "[CLS] … [SEP]"), ("mistral", "<s> … </s>"),
    ("llama", "<s> … </s>"), ("qwen", "… <|endoftext|>")])
def test_a_text_stands_in_its_family_s_frame_and_padding_ends_none(family, around, base_of):
    tokenizer = base_of(family, "none").tokenizer
    before, after = (tokenizer.convert_ids_to_tokens(part) for part in frame(tokenizer))
    assert " ".join([*before, "…", *after]) == around
    ids = encode(["happy train"], tokenizer, LENGTH)[0][0]
    words = tokenizer.convert_ids_to_tokens(ids)
    assert words[: len(before)] == before and words[-len(after) :] == after
    inside = ids[len(before) : len(ids) - len(after)]
    assert tokenizer.decode(inside).split() == ["happy", "train"]
    assert tokenizer.pad_token_id not in ids and tokenizer.padding_side == "right"


@pytest.mark.parametrize("family", FAMILIES)
def test_embeddings_are_the_mean_of_the_last_hidden_states(family, base_of, texts):
    base = base_of(family, "none")
    ids = rows_of(texts, base)[1]["input_ids"].tolist()[:8]
    scores, found = answers(base.model, ids, pad_id=base.tokenizer.pad_token_id)
    assert numpy.array_equal(scores, logits(base.model, ids, pad_id=base.tokenizer.pad_token_id))
    with torch.inference_mode():
        hidden = base.model.base_model(input_ids=torch.tensor([ids[3]]))[0]
    assert numpy.allclose(found[3], hidden[0].mean(dim=0).numpy(), atol=1e-5)


# What method 'full' does beside its training


def test_a_model_trained_in_full_is_opened_by_a_fresh_process(base_of, folders, texts, tmp_path):
    family = "distilbert"
    base = base_of(family, "none")
    done, validation = fitted(base, texts, tmp_path / "whole", "full")
    assert {p.name for p in done.folder.iterdir()} >= {
        "model.safetensors", "config.json", "tokenizer.json", "ftzard.json"}
    assert str(folders[family]) not in (done.folder / "config.json").read_text()
    assert read_meta(done.folder)["lora"] is None
    expected = open_classifier(done.folder, base).logits(validation["input_ids"])
    spec = spec_of(folders, family, "none")
    assert verify_saved(done.folder, spec, validation, expected) == 0.0


def test_training_in_full_goes_on_from_what_was_trained_in_full_and_is_repeatable(
    base_of, texts, tmp_path
):
    base = base_of("llama", "none")
    first, validation = fitted(base, texts, tmp_path / "one", "full")
    again, _ = fitted(base, texts, tmp_path / "two", "full")
    assert sha256(weights_file(first.folder)) == sha256(weights_file(again.folder))
    assert first.recipe == again.recipe
    attach(base, seed=3, method="full", start_from=first.folder)
    started = base.attachment.adapted
    before = logits(started, validation["input_ids"], pad_id=base.tokenizer.pad_token_id)
    detach(base)
    later, _ = fitted(base, texts, tmp_path / "three", "full", start_from=first.folder)
    expected = open_classifier(first.folder, base).logits(validation["input_ids"])
    assert numpy.array_equal(before, expected)
    assert later.trained.history[0]["train_loss"] < first.trained.history[0]["train_loss"]
    detach(base)
    with pytest.raises(ModelError, match="'method': 'full'.*'method': 'lora'"):
        attach(base, seed=3, rank=4, alpha=8.0, start_from=first.folder)


def test_a_model_in_full_that_lacks_a_weight_is_refused(base_of, texts, tmp_path):
    from safetensors.torch import load_file, save_file

    base = base_of("llama", "none")
    attach(base, seed=1, method="full")
    folder = save(base, tmp_path / "whole")
    detach(base)
    whole = load_file(weights_file(folder))
    save_file({n: t for n, t in whole.items() if n != "model.norm.weight"}, weights_file(folder))
    with pytest.raises(ModelError, match="cannot be attached .*model.norm.weight"):
        open_classifier(folder, base)
    bare_classifier(base)


def test_a_full_fit_that_was_cut_off_goes_on_as_if_nothing_had_happened(base_of, texts, tmp_path):
    base = base_of("distilbert", "none")
    whole, _ = fitted(base, texts, tmp_path / "whole", "full")

    def cut(done, total):
        if done == 5:
            raise KeyboardInterrupt

    kept = dict(checkpoints=tmp_path / "kept", checkpoint_steps=2)
    with pytest.raises(KeyboardInterrupt):
        fitted(base, texts, tmp_path / "cut", "full", on_step=cut, **kept)
    assert base.attachment is None
    second, _ = fitted(base, texts, tmp_path / "second", "full", **kept)
    assert second.trained.resumed_at == 4
    assert sha256(weights_file(second.folder)) == sha256(weights_file(whole.folder))


@pytest.mark.parametrize(("quantisation", "dtype", "said"), [
    ("nf4", "float32", "'full' on a base in nf4.*training.method=lora"),
    ("int8", "float32", "'full' on a base in int8"),
    ("none", "bfloat16", "'full' with compute_dtype bfloat16"),
])
def test_a_base_that_cannot_be_trained_in_full_is_refused(
    base_of, quantisation, dtype, said, texts, tmp_path
):
    base = base_of("llama", quantisation)
    base = replace(base, spec=replace(base.spec, compute_dtype=dtype))
    with pytest.raises(ModelError, match=said):
        fitted(base, texts, tmp_path / "whole", "full")
    assert base.attachment is None


# What tells the methods apart


def test_each_method_is_the_one_it_says(base_of, tmp_path):
    base = base_of("llama", "none")
    names, scales = {}, {}
    for method in ("lora", "rslora", "dora"):
        adapted = attach(base, seed=1, method=method, rank=4, alpha=8.0)
        names[method] = {n for n, p in adapted.named_parameters() if p.requires_grad}
        layer = next(m for m in adapted.modules() if hasattr(m, "lora_A"))
        scales[method] = layer.scaling["default"]
        save(base, tmp_path / method)
        detach(base)
        with pytest.raises(ModelError, match=f"'method': '{method}'.*'method': 'full'"):
            attach(base, seed=1, method="full", start_from=tmp_path / method)
    assert scales == {"lora": 2.0, "rslora": 4.0, "dora": 2.0}
    assert names["lora"] == names["rslora"] < names["dora"]
    extra = names["dora"] - names["lora"]
    assert len(extra) == LAYERS * 7 and all("magnitude" in name for name in extra)


def test_an_unknown_method_is_named(base_of):
    with pytest.raises(ModelError, match="'dorra'; did you mean 'dora'"):
        attach(base_of("llama", "none"), seed=1, method="dorra", rank=4, alpha=8.0)


@pytest.mark.parametrize("quantisation", ["nf4", "int8"])
def test_dora_on_a_quantised_base_trains_and_comes_back(base_of, quantisation, texts, tmp_path):
    """peft moves int8 weights whenever DoRA reads them, which used to cost them their scales."""
    base = base_of("mistral", quantisation)
    done, validation = fitted(base, texts, tmp_path / "adapter", "dora")
    assert done.trained.history[1]["train_loss"] < done.trained.history[0]["train_loss"]
    assert open_classifier(done.folder, base).logits(validation["input_ids"]).any()


def test_dora_without_its_lengths_is_refused(base_of, tmp_path):
    from safetensors.torch import load_file, save_file

    base = base_of("falcon", "none")
    attach(base, seed=1, method="dora", rank=4, alpha=8.0)
    folder = save(base, tmp_path / "adapter")
    detach(base)
    part = "h.1.mlp.dense_4h_to_h.lora_magnitude_vector"
    whole = load_file(weights_file(folder))
    save_file({n: t for n, t in whole.items() if not n.endswith(part)}, weights_file(folder))
    with pytest.raises(ModelError, match=f"lacks 1 of .*{part}"):
        open_classifier(folder, base)


def test_a_folder_of_an_earlier_release_opens_as_lora(base_of, tmp_path):
    """Such a folder says nothing of a method, of attention or of gates."""
    import json

    base = base_of("falcon", "nf4")
    attach(base, seed=1, rank=4, alpha=8.0)
    folder = save(base, tmp_path / "adapter")
    detach(base)
    meta = json.loads((folder / "ftzard.json").read_text())
    del meta["method"], meta["base"]["spec"]["attention"], meta["base"]["spec"]["gated"]
    (folder / "ftzard.json").write_text(json.dumps(meta))
    assert read_meta(folder)["method"] == "lora"
    assert open_classifier(folder, base).logits([[2, 1]]).shape == (1, 2)
