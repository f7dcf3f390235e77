"""A base that cannot be there is refused by name, before a hub is asked or anything is written."""

import pytest

from ftzard.config.compose import compose
from ftzard.config.training_config import TrainingConfig, search_space
from ftzard.errors import ModelError
from ftzard.modeling.hub import hash_weights
from ftzard.registry.model_records import base_spec, build_base, shipped_base
from tests.modeling.families import build


def model(workspace, **said):
    return workspace.config({"model": said}).model


@pytest.mark.parametrize("source", ["models/nowhere", "/models/nowhere", "./nowhere"])
def test_a_model_folder_that_does_not_exist_is_named(workspace, source):
    with pytest.raises(ModelError, match="nowhere.*(does not exist|is no folder here)"):
        base_spec(workspace, model(workspace, source=source, build=None))


def test_a_hub_id_without_its_commit_is_refused(workspace):
    asked = model(workspace, source="tiiuae/falcon-7b", build=None, revision="main")
    with pytest.raises(ModelError, match="40 hex digits.*Set model.revision"):
        base_spec(workspace, asked)


def test_a_base_that_no_step_has_built_yet_says_which_one_does(workspace):
    with pytest.raises(ModelError, match="falcon_tiny.zip does not exist.*preprocessing_job"):
        base_spec(workspace, model(workspace))


def test_a_base_is_built_once_and_other_sizes_are_refused(workspace, tmp_path):
    small = {"layers": 1, "width": 32, "heads": 2, "vocabulary": 300, "seed": 0}
    texts = ["one two three", "four five six"] * 20
    built = build_base(workspace, model(workspace, build=small), texts, tmp_path / "a")
    content = built.read_bytes()
    again = build_base(workspace, model(workspace, build=small), ["other texts"], tmp_path / "b")
    assert again == built and built.read_bytes() == content
    with pytest.raises(ModelError, match="frozen at first use"):
        build_base(workspace, model(workspace, build={**small, "layers": 2}), texts, tmp_path / "c")


@pytest.fixture
def local(workspace):
    """The choice `local` with a folder inside the workspace, and that folder."""
    texts = ["one two three", "four five six"]
    return model(workspace, choice="local"), build(workspace.root / "models/local", "llama", texts)


def test_a_folder_s_base_is_packed_once_with_what_it_consists_of(workspace, local, tmp_path):
    asked, folder = local
    (folder / "pytorch_model.bin").write_text("the same weights in another format")
    before = base_spec(workspace, asked)
    assert before.source == folder and before.lora_targets is None
    packed = build_base(workspace, asked, [], tmp_path / "a")
    assert packed == workspace.root / "models/bases/local.zip"
    kept = base_spec(workspace, asked).source
    assert kept != folder and hash_weights(kept, None) == hash_weights(folder, None)
    assert {"config.json", "tokenizer.json"} < {p.name for p in kept.iterdir()}
    assert not (kept / "pytorch_model.bin").exists()
    assert shipped_base(workspace, asked, tmp_path) == packed
    content = packed.read_bytes()
    assert build_base(workspace, asked, [], tmp_path / "b").read_bytes() == content


def test_a_clone_has_the_folder_s_base_from_its_archive(workspace, local, tmp_path):
    asked, folder = local
    packed = build_base(workspace, asked, [], tmp_path / "a")
    found = hash_weights(folder, None)
    folder.rename(tmp_path / "elsewhere")
    assert hash_weights(base_spec(workspace, asked).source, None) == found
    assert build_base(workspace, asked, [], tmp_path / "b") == packed


def test_a_folder_that_has_changed_needs_another_name(workspace, local, tmp_path):
    asked, folder = local
    build_base(workspace, asked, [], tmp_path / "a")
    with open(folder / "model.safetensors", "ab") as stream:
        stream.write(b" ")
    for ask in (lambda: base_spec(workspace, asked),
                lambda: build_base(workspace, asked, [], tmp_path / "b")):
        with pytest.raises(ModelError, match="frozen at first use.*another model.name"):
            ask()


def test_what_the_config_says_of_loading_and_training_arrives(workspace):
    asked = workspace.config({
        "model": {"choice": "llama_3_8b", "attention": "eager", "quantisation": "int8"},
        "training": {"method": "dora", "optimizer": "paged_adamw_8bit",
                     "micro_batch_tokens": 4096, "gradient_checkpointing": True}})
    spec = base_spec(workspace, asked.model)
    assert (spec.attention, spec.quantisation, spec.gated, spec.lora_targets) == (
        "eager", "int8", True, None)
    assert TrainingConfig.of(asked).recipe()["training"] == {
        "method": "dora", "optimizer": "paged_adamw_8bit", "micro_batch_tokens": 4096,
        "gradient_checkpointing": True, "epochs": 1, "warmup_ratio": 0.03, "max_grad_norm": 1.0,
        "patience": 2, "class_weights": None}


def test_what_is_not_searched_is_what_training_says():
    config = compose({"training": {"learning_rate": 1e-3, "rank": 4},
                      "tuning": {"batch_size": [16, 32], "dropout": [0.1]}})
    assert search_space(config.tuning, config.training) == {
        "rank": 4, "batch_size": [16, 32], "learning_rate": 1e-3, "weight_decay": 0.01,
        "dropout": 0.1}
    assert TrainingConfig.of(config).params == {
        "rank": 4, "batch_size": 32, "learning_rate": 1e-3, "weight_decay": 0.01, "dropout": 0.05,
        "alpha": 8.0}
