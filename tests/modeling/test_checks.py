"""Checked, not hoped: each thing that can go wrong unseen is made to go wrong, and is seen."""

from dataclasses import replace

import numpy
import pytest
import torch
from peft import LoraConfig

from ftzard.errors import ModelError
from ftzard.modeling import adapter, base_model, checks
from ftzard.modeling import tokenizer as tokenizing
from ftzard.modeling.adapter import attach, detach, save
from ftzard.modeling.base_model import BaseSpec, load_base
from ftzard.modeling.batching import pad
from ftzard.modeling.tokenizer import encode
from ftzard.tasks.classification.checks import same_labels
from ftzard.tasks.classification.predictor import open_classifier
from tests.modeling.families import build
from tests.training_calls import fit

LABELS = ["negative", "positive"]
PARAMS = {"rank": 4, "alpha": 8.0, "dropout": 0.0, "learning_rate": 5e-3, "batch_size": 16,
          "weight_decay": 0.0}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, texts) -> BaseSpec:
    folder = build(tmp_path_factory.mktemp("encoder") / "base", "distilbert", texts["text"])
    return BaseSpec(source=folder, name="encoder", quantisation="none", lora_targets=None,
                    max_length=40)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory, texts) -> BaseSpec:
    folder = build(tmp_path_factory.mktemp("decoder") / "base", "llama", texts["text"])
    return BaseSpec(source=folder, name="decoder", quantisation="none", lora_targets=None,
                    max_length=40)


@pytest.fixture
def fitted(loaded, train_rows, validation_rows, tmp_path):
    def run(**changes):
        values = dict(params=PARAMS, seed=1, metric="accuracy", training={"epochs": 1},
                      folder=tmp_path / "adapter")
        rows = changes.pop("rows", (train_rows, validation_rows))
        return fit(loaded, *rows, **{**values, **changes})

    return run


# After a load


def test_the_number_of_quantised_layers_is_the_architecture_s(loaded, spec):
    more = replace(loaded.inspection, quantised=9)
    with pytest.raises(ModelError, match="8 layers of base 'falcon_test'.*expected 9"):
        checks.after_load(loaded.model, loaded.tokenizer, spec, more)


def test_a_layer_without_an_adapter_is_looked_at_too(spec, monkeypatch):
    """One that is passed over by the quantiser must not hide behind those that are targets."""
    real = base_model._quantisation

    def leave_one(spec, inspection):
        config = real(spec, inspection)
        config.llm_int8_skip_modules.append("dense_4h_to_h")
        return config

    monkeypatch.setattr(base_model, "_quantisation", leave_one)
    with pytest.raises(ModelError, match="2 of 2 layers 'dense_4h_to_h' are stored as full"):
        load_base(replace(spec, lora_targets=("query_key_value",)), LABELS, device="cpu")


@pytest.mark.parametrize("quantisation", ["none", "nf4", "int8"])
def test_every_way_to_store_weights_is_told_from_the_others(encoder, quantisation):
    loaded = load_base(replace(encoder, quantisation=quantisation), LABELS, device="cpu")
    assert loaded.quantised == (12 if quantisation != "none" else 0)
    for other in {"none", "nf4", "int8"} - {quantisation}:
        with pytest.raises(ModelError, match="2 of 2 layers 'q_lin' are stored as"):
            checks.assert_quantised(loaded.model, other)


def test_a_head_in_half_precision_does_not_pass_a_load(encoder, monkeypatch):
    monkeypatch.setattr(base_model, "_start_head", lambda model: None)
    with pytest.raises(ModelError, match="head 'pre_classifier' is Linear of torch.bfloat16"):
        load_base(replace(encoder, compute_dtype="bfloat16"), LABELS, device="cpu")


def test_a_pad_token_that_ends_texts_does_not_pass_a_load(decoder, monkeypatch):
    monkeypatch.setattr(tokenizing, "_pad_token", lambda tokenizer, source: tokenizer.eos_token)
    with pytest.raises(ModelError, match="pad token '</s>' .id 2. ends texts too"):
        load_base(decoder, LABELS, device="cpu")


def test_model_and_tokenizer_pad_with_the_same_id(loaded, spec):
    loaded.model.config.pad_token_id = 7
    try:
        with pytest.raises(ModelError, match="takes id 7 for padding, the tokenizer .* id 0"):
            checks.after_load(loaded.model, loaded.tokenizer, spec, loaded.inspection)
    finally:
        loaded.model.config.pad_token_id = loaded.tokenizer.pad_token_id


def test_padding_stands_on_the_right_and_an_encoder_begins_with_its_own_token(loaded, monkeypatch):
    monkeypatch.setattr(loaded.tokenizer, "padding_side", "left")
    with pytest.raises(ModelError, match="padding_side is 'left'"):
        checks.assert_padding(loaded.model, loaded.tokenizer, "decoder")
    monkeypatch.setattr(loaded.tokenizer, "padding_side", "right")
    with pytest.raises(ModelError, match="has no cls token"):
        checks.assert_padding(loaded.model, loaded.tokenizer, "encoder")


def test_a_mask_that_is_not_used_does_not_pass_a_load(encoder, monkeypatch):
    def without_mask(ids, padding, device):
        batch = pad(ids, padding, device)
        return {**batch, "attention_mask": torch.ones_like(batch["attention_mask"])}

    monkeypatch.setattr(checks, "pad", without_mask)
    with pytest.raises(ModelError, match="padded on the right .* differ"):
        load_base(encoder, LABELS, device="cpu")


def test_a_wrong_token_to_answer_from_is_seen(decoder):
    loaded = load_base(decoder, LABELS, device="cpu")
    loaded.model.config.pad_token_id = 9
    with pytest.raises(ModelError, match="padded on the right .* differ"):
        checks.assert_batch_invariance(loaded.model, loaded.tokenizer, decoder)


def test_padding_on_the_left_is_tried_where_positions_are_relative(decoder, encoder, monkeypatch):
    seen = []
    real = checks._to_the_left
    monkeypatch.setattr(checks, "_to_the_left", lambda *given: seen.append(real(*given)) or
                        seen[-1])
    load_base(encoder, LABELS, device="cpu")
    assert seen == []
    tokenizer = load_base(decoder, LABELS, device="cpu").tokenizer
    short = encode([checks.PROBE[0]], tokenizer, 40)[0][0]
    rows = seen[0].tolist()
    assert rows[0][-len(short):] == short and set(rows[0][: -len(short)]) == {
        tokenizer.pad_token_id}


# Before a load


@pytest.mark.parametrize(("change", "said"), [
    ({"attention": "sdp"}, "did you mean 'sdpa'"),
    ({"attention": "flash_attention_2"}, "flash_attention_2' with compute_dtype float32 on cpu"),
    ({"lora_targets": ("q_porj",)}, "'q_porj' matches no linear layer.*did you mean 'q_proj'"),
    ({"max_length": 65}, "at most 64 tokens"),
    ({"quantisation": "int4"}, "did you mean 'int8'"),
])
def test_what_can_be_known_before_is_refused_before_any_weight_is_loaded(
    decoder, change, said, monkeypatch
):
    monkeypatch.setattr(base_model, "_load_model", None)
    with pytest.raises(ModelError, match=said):
        load_base(replace(decoder, **change), LABELS, device="cpu")


@pytest.fixture(scope="module")
def kept(decoder, tmp_path_factory):
    loaded = load_base(decoder, LABELS, device="cpu")
    attach(loaded, seed=1, rank=4, alpha=8.0)
    return save(loaded, tmp_path_factory.mktemp("kept") / "adapter")


@pytest.mark.parametrize(("change", "labels", "said"), [
    ({"name": "other"}, LABELS, "trained on base 'decoder' with weights .* is 'other' with"),
    ({"quantisation": "nf4"}, LABELS, "with quantisation none, but the base has nf4"),
    ({}, ["neg", "pos"], "labels .'negative', 'positive'., but the base has .'neg', 'pos'."),
])
def test_an_adapter_that_does_not_fit_is_refused_before_any_weight_is_loaded(
    kept, decoder, texts, change, labels, said, tmp_path, monkeypatch
):
    if change.get("name"):
        change = {**change, "source": build(tmp_path / "o", "llama", texts["text"], seed=9)}
    monkeypatch.setattr(base_model, "_load_model", None)
    with pytest.raises(ModelError, match=said):
        load_base(replace(decoder, **change), labels, device="cpu", continues=kept)
    if labels == LABELS:
        with pytest.raises(ModelError, match=said):
            open_classifier(kept, replace(decoder, **change))


def test_label_maps_that_differ_are_named_on_both_sides():
    same_labels(["a", "b"], ["a", "b"], whose="x", others="y")
    same_labels(["b"], ["a", "b"], whose="x", others="y", subset=True)
    with pytest.raises(ModelError, match=r"the data has the labels \['a', 'c'\], tweets@3 has "
                                         r"\['a', 'b'\]; unknown to it: \['c'\]"):
        same_labels(["a", "c"], ["a", "b"], whose="the data", others="tweets@3",
                           subset=True)
    with pytest.raises(ModelError, match=r"\['b', 'a'\], y has \['a', 'b'\]\."):
        same_labels(["b", "a"], ["a", "b"], whose="x", others="y")


# Around a training


def test_a_target_that_peft_passes_over_is_seen(loaded, monkeypatch):
    monkeypatch.setattr(adapter, "LoraConfig", lambda **values: LoraConfig(
        **{**values, "target_modules": ["query_key_value"]}))
    with pytest.raises(ModelError, match="parameters are trainable; expected .* 8 adapted layers"):
        attach(loaded, seed=1, rank=4, alpha=8.0)
    assert loaded.attachment is None


def test_rows_of_another_tokenizer_or_another_length_are_refused(
    fitted, loaded, train_rows, validation_rows
):
    shifted = train_rows.assign(input_ids=[[i + 1 for i in ids[:-1]] + ids[-1:]
                                           for ids in train_rows["input_ids"]])
    longer = validation_rows.assign(
        input_ids=encode(validation_rows["text"], loaded.tokenizer, 8)[0])
    for rows in ((shifted, validation_rows), (train_rows, longer)):
        with pytest.raises(ModelError, match="tokenized otherwise .* preprocessing step again"):
            fitted(rows=rows)
    bare = [table.drop(columns="text") for table in (train_rows, validation_rows)]
    assert fitted(rows=bare).trained.steps == 10


def test_a_trained_model_whose_answers_depend_on_company_is_not_saved(fitted, loaded, tmp_path):
    def spoil(entry):
        loaded.model.config.pad_token_id = 9

    try:
        with pytest.raises(ModelError, match="padded on the right .* differ"):
            fitted(on_epoch=spoil)
    finally:
        loaded.model.config.pad_token_id = loaded.tokenizer.pad_token_id
    assert not (tmp_path / "adapter").exists() and loaded.attachment is None


def test_a_tokenizer_that_does_not_come_back_the_same_is_not_saved(
    loaded, decoder, tmp_path, monkeypatch
):
    other = tokenizing.load_tokenizer(decoder.source)
    attach(loaded, seed=1, rank=4, alpha=8.0)
    monkeypatch.setattr(loaded.tokenizer, "save_pretrained", other.save_pretrained)
    with pytest.raises(ModelError, match="saved tokenizer pads with '<reserved>'"):
        save(loaded, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_a_paged_optimizer_needs_a_gpu_and_an_unknown_one_is_named(fitted):
    for name, said in (("paged_adamw_8bit", "on cpu.*training.optimizer=adamw_8bit"),
                       ("adamw8", "did you mean 'adamw_8bit'|did you mean 'adamw'")):
        with pytest.raises(ModelError, match=said):
            fitted(training={"epochs": 1, "optimizer": name})


def test_the_probe_leaves_model_and_random_state_as_they_were(loaded, spec):
    torch.manual_seed(4)
    before = torch.get_rng_state()
    loaded.model.train()
    checks.assert_batch_invariance(loaded.model, loaded.tokenizer, spec)
    assert loaded.model.training and torch.equal(before, torch.get_rng_state())
    loaded.model.eval()
    assert not numpy.isnan(checks.COMPANY["float32"])
    detach(loaded)


def test_a_gpu_that_only_imitates_bfloat16_is_refused_before_anything_loads(decoder, monkeypatch):
    wanted, gpu = replace(decoder, compute_dtype="bfloat16"), torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(ModelError, match="only imitates.*compute_dtype=float16"):
        checks.before_load(wanted, LABELS, gpu)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    checks.before_load(wanted, LABELS, gpu)
