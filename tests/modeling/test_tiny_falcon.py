"""The small Falcon is a Falcon, and the same texts and seed give the same bytes."""

import json

import pytest

from ftzard.core.artifacts import sha256
from ftzard.errors import ModelError
from ftzard.modeling.tiny_falcon import build

SIZES = dict(layers=2, width=64, heads=4, vocabulary=600, max_positions=64)


def hashes(folder):
    return {file.name: sha256(file) for file in sorted(folder.iterdir())}


def test_the_same_texts_and_seed_give_the_same_bytes(tmp_path, folder, texts):
    again = build(tmp_path / "again", texts["text"], seed=7, **SIZES)
    assert hashes(again) == hashes(folder)


def test_another_seed_gives_other_weights_and_the_same_tokenizer(tmp_path, folder, texts):
    other, first = hashes(build(tmp_path / "o", texts["text"], seed=8, **SIZES)), hashes(folder)
    assert other["model.safetensors"] != first["model.safetensors"]
    assert other["tokenizer.json"] == first["tokenizer.json"]


def test_it_has_the_architecture_of_falcon_7b(folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "falcon"
    assert config["multi_query"] and config["parallel_attn"]
    assert not (config["bias"] or config["alibi"] or config["new_decoder_architecture"])
    assert config["pad_token_id"] != config["eos_token_id"]


def test_a_folder_that_stood_there_is_replaced_whole(tmp_path, texts):
    target = tmp_path / "base"
    target.mkdir()
    (target / "stale.bin").write_text("old")
    build(target, texts["text"], seed=7, **SIZES)
    assert not (target / "stale.bin").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"texts": ["", ""]}, "0 non-empty texts"),
        ({"width": 60, "heads": 8}, "multiple of 16"),
        ({"vocabulary": 100}, "at least 258"),
    ],
)
def test_sizes_that_make_no_model_are_refused(tmp_path, change, said):
    values = {"texts": ["some text"], **SIZES, **change}
    with pytest.raises(ModelError, match=said):
        build(tmp_path / "base", values.pop("texts"), seed=1, **values)
    assert list(tmp_path.iterdir()) == []
