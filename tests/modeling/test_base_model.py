"""A base is what its spec asks for, or it is refused."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from transformers.models.falcon import modeling_falcon

from ftzard.errors import ModelError
from ftzard.modeling import base_model
from ftzard.modeling.base_model import BaseSpec, hash_weights, load_base
from ftzard.modeling.checks import assert_head, assert_quantised

LABELS = ["negative", "positive"]


def test_every_targeted_layer_is_stored_in_four_bits_and_the_head_is_not(loaded):
    layers = [m for m in loaded.model.modules() if isinstance(m, Linear4bit)]
    assert loaded.quantised == len(layers) == 2 * 4
    assert {layer.weight.dtype for layer in layers} == {torch.uint8}
    assert type(loaded.model.score) is torch.nn.Linear
    assert loaded.model.score.weight.dtype == torch.float32


def test_without_the_remedy_the_load_is_refused(spec, monkeypatch):
    monkeypatch.setattr(base_model, "_falcon_with_plain_linears", nullcontext)
    with pytest.raises(ModelError, match="2 of 2 layers 'query_key_value' are stored as full"):
        load_base(spec, LABELS)


def test_the_remedy_ends_with_the_load(loaded):
    assert modeling_falcon.FalconLinear is not torch.nn.Linear


def test_double_quantisation_and_none_are_checked_as_well(spec):
    double = load_base(replace(spec, double_quantisation=True), LABELS)
    assert double.quantised == 8
    with pytest.raises(ModelError, match="nf4 with double quantisation; expected nf4"):
        assert_quantised(double.model, "nf4")
    plain = load_base(replace(spec, quantisation="none"), LABELS)
    assert plain.quantised == 0
    with pytest.raises(ModelError, match="full precision; expected nf4"):
        assert_quantised(plain.model, "nf4")
    with pytest.raises(ModelError, match="nf4 with double quantisation; expected full precision"):
        assert_quantised(double.model, "none")


def test_half_precision_computes_with_a_full_precision_head(spec):
    loaded = load_base(replace(spec, compute_dtype="bfloat16"), LABELS)
    assert loaded.model.transformer.word_embeddings.weight.dtype == torch.bfloat16
    ids = torch.tensor([[5, 6, 7]])
    assert loaded.model(input_ids=ids).logits.dtype == torch.float32


def test_a_quantised_head_is_refused(spec, monkeypatch):
    loaded = load_base(spec, LABELS)
    loaded.model.score = loaded.model.score.to(torch.bfloat16)
    with pytest.raises(ModelError, match="head 'score' is Linear of torch.bfloat16"):
        assert_head(loaded.model)


def test_the_head_starts_the_same_each_time(spec, loaded):
    assert torch.equal(load_base(spec, LABELS).model.score.weight, loaded.model.score.weight)


def test_pad_is_not_eos_and_the_model_knows_it(loaded):
    tokenizer = loaded.tokenizer
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert loaded.model.config.pad_token_id == tokenizer.pad_token_id
    assert tokenizer.padding_side == "right"


def test_a_target_that_matches_nothing_is_named_with_the_nearest(spec):
    with pytest.raises(ModelError, match="'query_key_vale' matches no .* 'query_key_value'"):
        load_base(replace(spec, lora_targets=("query_key_vale",)), LABELS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": Path("nowhere/base")}, "nowhere/base does not exist"),
        ({"source": "/nowhere/base"}, "/nowhere/base does not exist"),
        ({"source": "some/model"}, "40 hex digits"),
        ({"source": "some/model", "revision": "main"}, "revision is 'main'"),
        ({"max_length": 65}, "max_length is 65, .* at most 64 tokens"),
        ({"quantisation": "nf5"}, "did you mean 'nf4'"),
        ({"compute_dtype": "bfloat"}, "did you mean 'bfloat16'"),
    ],
)
def test_a_spec_that_cannot_be_met_is_refused(spec, change, said):
    with pytest.raises(ModelError, match=said):
        load_base(replace(spec, **change), LABELS)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_is_computed_as_the_spec_says(spec, attention):
    loaded = load_base(replace(spec, attention=attention), LABELS, device="cpu")
    assert loaded.model.config._attn_implementation == attention


def test_a_base_that_was_a_classifier_of_other_labels_gets_a_fresh_head(spec, loaded, tmp_path):
    other = load_base(replace(spec, quantisation="none"), ["a", "b", "c"], device="cpu")
    other.model.save_pretrained(tmp_path)
    other.tokenizer.save_pretrained(tmp_path)
    found = load_base(replace(spec, source=tmp_path), LABELS, device="cpu")
    assert torch.equal(found.model.score.weight, loaded.model.score.weight)


def test_labels_must_be_two_or_more_and_differ(spec):
    for labels in (["one"], ["one", "one"]):
        with pytest.raises(ModelError, match="at least 2, each once"):
            load_base(spec, labels)


def test_a_hub_that_cannot_be_reached_is_said(spec, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    absent = BaseSpec(source="some/model", name="x", revision="0" * 40)
    with pytest.raises(ModelError, match="'some/model'.*cannot be loaded"):
        load_base(absent, LABELS)


def test_weights_that_are_missing_or_of_another_shape_are_refused(tmp_path, folder, spec):
    broken = shutil.copytree(folder, tmp_path / "broken")
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(ModelError, match="lacks weights .*transformer.h.2"):
        load_base(replace(spec, source=broken), LABELS)
    (broken / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no \\*.safetensors"):
        load_base(replace(spec, source=broken), LABELS)


def test_the_weight_hash_follows_the_weights(tmp_path, folder, loaded):
    assert hash_weights(folder, None) == loaded.weight_hash
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "config.json").write_text("{}")
    assert hash_weights(other, None) == loaded.weight_hash
    with open(other / "model.safetensors", "ab") as stream:
        stream.write(b"x")
    assert hash_weights(other, None) != loaded.weight_hash
    assert hash_weights("tiiuae/falcon-7b", "a" * 40) == "a" * 40


def test_validation_does_not_cost_the_gradient_through_the_base(loaded):
    """On some CPUs a forward pass in evaluation mode repacks the weights without a gradient."""
    layer = loaded.model.transformer.h[0].mlp.dense_h_to_4h
    with torch.no_grad():
        loaded.model(input_ids=torch.tensor([[5, 6, 7]]))
    values = torch.ones(1, 64, requires_grad=True)
    layer(values).sum().backward()
    assert values.grad is not None and values.grad.abs().sum() > 0
