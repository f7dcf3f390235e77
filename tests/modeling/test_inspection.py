"""What the shipped models are made of, from their architectures alone: no weights, no network."""

from dataclasses import replace

import pytest
import torch
import yaml
from transformers import (
    BertConfig,
    DistilBertConfig,
    FalconConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    T5Config,
)

from ftzard.config.compose import available, compose
from ftzard.errors import ModelError
from ftzard.modeling.adapter import attach
from ftzard.modeling.base_model import BaseSpec, load_base
from ftzard.modeling.inspection import inspect, outline
from ftzard.registry.model_records import base_spec
from ftzard.workspace.workspace import Workspace

ARCHITECTURES = {
    "falcon_7b": FalconConfig(
        vocab_size=65024, hidden_size=4544, num_hidden_layers=32, num_attention_heads=71,
        multi_query=True, parallel_attn=True, new_decoder_architecture=False, bias=False,
        alibi=False),
    "distilbert": DistilBertConfig(),
    "minilm": BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536),
    "mistral_7b_instruct": MistralConfig(
        vocab_size=32768, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=32768),
    "llama_3_8b": LlamaConfig(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=8192),
    "qwen_2_5_7b": Qwen2Config(
        vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_hidden_layers=28,
        num_attention_heads=28, num_key_value_heads=4, max_position_embeddings=131072),
}
# Published counts without the language head, and the head for two labels that takes its place.
PARAMETERS = {
    "falcon_7b": 6_921_720_704 + 2 * 4544,
    "distilbert": 66_955_010,
    "minilm": 22_713_216 + 2 * 384 + 2,
    "mistral_7b_instruct": 7_248_023_552 - 32768 * 4096 + 2 * 4096,
    "llama_3_8b": 8_030_261_248 - 128256 * 4096 + 2 * 4096,
    "qwen_2_5_7b": 7_615_616_512 - 152064 * 3584 + 2 * 3584,
}
ENCODERS = ("distilbert", "minilm")
LINEAR = {"falcon_7b": 32 * 4, "distilbert": 6 * 6, "minilm": 6 * 6 + 1,
          "mistral_7b_instruct": 32 * 7,
          "llama_3_8b": 32 * 7, "qwen_2_5_7b": 28 * 7}


def spec_of(choice) -> BaseSpec:
    return base_spec(Workspace("/nowhere"), compose({"model": choice}).model)


@pytest.mark.parametrize("choice", ARCHITECTURES)
def test_the_shipped_models_have_their_published_sizes(choice):
    spec = spec_of(choice)
    found = inspect(spec, 2, ARCHITECTURES[choice])
    assert found.parameters == PARAMETERS[choice]
    assert len(found.linear) == LINEAR[choice] == len(found.adapted)
    assert found.quantised == (0 if choice in ENCODERS else LINEAR[choice])
    assert found.architecture == ("encoder" if choice in ENCODERS else "decoder")
    assert found.trainable(method="full") == found.parameters
    assert spec.max_length <= found.longest


def test_falcon_7b_trains_what_qlora_trains_of_it():
    found = inspect(spec_of("falcon_7b"), 2, ARCHITECTURES["falcon_7b"])
    adapters = 32 * 16 * (4544 + 4672 + 2 * 4544 + 2 * (4544 + 18176))
    head, embeddings = 2 * 4544, 65024 * 4544
    lengths = 32 * (4672 + 4544 + 18176 + 4544)
    assert found.trainable(rank=16) == found.trainable(method="rslora") == adapters + head
    assert found.trainable(method="dora") == adapters + lengths + head
    assert found.trainable(rank=8) == adapters // 2 + head
    assert found.trainable(train_embeddings=True) == adapters + head + embeddings
    with pytest.raises(ModelError, match="did you mean 'lora'"):
        found.trainable(method="loar")


def test_the_bytes_of_the_weights_follow_how_they_are_stored():
    spec = spec_of("falcon_7b")
    found = inspect(spec, 2, ARCHITECTURES["falcon_7b"])
    linear, rest = 6_625_951_744, 6_921_720_704 - 6_625_951_744
    assert found.linear_parameters == linear
    head = 4 * 2 * 4544
    assert found.weight_bytes(replace(spec, quantisation="none")) == 2 * (linear + rest) + head
    assert found.weight_bytes(spec) == int(linear * 0.5625) + 2 * rest + head < 7e9
    double = found.weight_bytes(replace(spec, double_quantisation=True))
    assert found.weight_bytes(spec) - double == pytest.approx(linear * (3 / 64 - 1 / 4096), abs=2)
    rows = 32 * (4672 + 4544 + 18176 + 4544)
    assert found.weight_bytes(replace(spec, quantisation="int8")) == (
        linear + 4 * rows + 2 * rest + head)


def test_no_number_is_made_for_it():
    model = outline(ARCHITECTURES["falcon_7b"], 2)
    assert {p.device.type for p in model.parameters()} == {"meta"}


def test_what_is_inspected_is_what_is_loaded(spec, loaded):
    found = inspect(spec, 2)
    assert found == loaded.inspection
    assert found.parameters == inspect(spec, 2, loaded.model.config).parameters
    for method, embeddings in (("lora", True), ("dora", False)):
        adapted = attach(loaded, seed=1, method=method, rank=4, alpha=8,
                         train_embeddings=embeddings)
        counted = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
        assert counted == found.trainable(method=method, rank=4, train_embeddings=embeddings)
        from ftzard.modeling.adapter import detach

        detach(loaded)


@pytest.mark.parametrize("quantisation", ["none", "int8", "nf4"])
def test_the_bytes_are_those_of_the_loaded_weights(spec, quantisation):
    base = load_base(replace(spec, quantisation=quantisation), ["no", "yes"], device="cpu")
    held = sum(p.numel() * p.element_size() for p in base.model.parameters())
    scales = base.inspection.weight_bytes(base.spec) - held
    expected = {"none": 0, "int8": 4 * sum(out for out, _ in base.inspection.linear.values()),
                "nf4": base.inspection.linear_parameters * 4 // 64}
    assert scales == expected[quantisation]


def test_all_linear_layers_are_targets_unless_some_are_named():
    config = ARCHITECTURES["llama_3_8b"]
    spec = replace(spec_of("llama_3_8b"), lora_targets=None)
    assert inspect(spec, 2, config).targets == (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    some = inspect(replace(spec, lora_targets=("q_proj", "v_proj")), 2, config)
    assert some.targets == ("q_proj", "v_proj") and len(some.adapted) == 64
    assert some.quantised == 224  # what has no adapter is stored like the rest
    for wrong, said in (("qproj", "did you mean 'q_proj'"), ("score", "no linear layer")):
        with pytest.raises(ModelError, match=f"'{wrong}' matches no .*{said}|{said}"):
            inspect(replace(spec, lora_targets=(wrong,)), 2, config)


@pytest.mark.parametrize(("config", "said"), [
    (T5Config(), "'t5' is encoder and decoder in one"),
    (GPT2Config(), "'gpt2' has no linear layers but its head"),
])
def test_an_architecture_that_cannot_be_served_is_refused_before_it_is_fetched(config, said):
    with pytest.raises(ModelError, match=said):
        inspect(spec_of("falcon_7b"), 2, config)


def test_every_shipped_hub_model_is_pinned_and_gated_ones_say_so():
    chosen = {choice: compose({"model": choice}).model for choice in available("model")}
    assert set(chosen) == {"falcon_tiny", "falcon_tiny_answers", "local", *ARCHITECTURES}
    for choice in ARCHITECTURES:
        assert len(chosen[choice].revision) == 40, yaml.safe_dump(vars(chosen[choice]))
    assert {choice for choice, model in chosen.items() if model.gated} == {"llama_3_8b"}
    assert torch.bfloat16.itemsize == 2
