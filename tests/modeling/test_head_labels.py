"""A head that gets a row for a new label, and a base that is lent to a head of fewer labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ftzard.errors import ModelError
from ftzard.modeling.adapter import attach, detach, read_meta, save
from ftzard.modeling.adapter_meta import weights_file
from ftzard.modeling.base_model import load_base
from ftzard.modeling.head_labels import with_labels
from ftzard.tasks.classification.predictor import bare_classifier, open_classifier
from tests.small_model import LABELS
from tests.training_calls import train

THREE = ["negative", "positive", "neutral"]


@pytest.fixture(scope="module")
def wider(spec):
    return load_base(spec, THREE, device="cpu")


@pytest.fixture
def base(wider):
    yield wider
    detach(wider)


def saved(loaded, rows, settings, folder, **how):
    adapted = attach(loaded, seed=5, **how)
    train(adapted, rows.iloc[:64].reset_index(drop=True), rows.iloc[64:96].reset_index(drop=True),
          **{**settings, "epochs": 1})
    save(loaded, folder)
    detach(loaded)
    return folder


@pytest.mark.parametrize("how", [{"rank": 4, "alpha": 8.0}, {"method": "full"}],
                         ids=["lora", "full"])
def test_known_labels_keep_their_rows_and_logits_and_the_new_one_begins_as_the_base_s(
        how, spec, rows, settings, tmp_path):
    own = replace(spec, quantisation="none") if how.get("method") == "full" else spec
    folder = saved(load_base(own, LABELS, device="cpu"), rows, settings, tmp_path / "two", **how)
    base, head = load_base(own, THREE, device="cpu"), load_file(weights_file(folder))
    name = next(key for key in head if key.endswith("score.weight"))
    attach(base, seed=9, start_from=folder, **how)
    save(base, tmp_path / "three")
    detach(base)
    grown = load_file(weights_file(tmp_path / "three"))
    assert torch.equal(grown[name][:2], head[name])
    assert torch.equal(grown[name][2], base.model.score.weight[2])
    for key in head.keys() - {name}:
        assert torch.equal(grown[key], head[key]), key
    assert read_meta(tmp_path / "three")["labels"] == THREE
    ids = rows["input_ids"].head(8)
    after = open_classifier(tmp_path / "three", base).logits(ids)
    assert np.allclose(after[:, :2], open_classifier(folder, own).logits(ids), atol=1e-5)


def test_labels_in_another_order_are_no_new_ones(loaded, rows, settings, spec, tmp_path):
    folder = saved(loaded, rows, settings, tmp_path / "two", rank=4, alpha=8.0)
    other = load_base(spec, ["positive", "negative", "neutral"], device="cpu")
    with pytest.raises(ModelError, match="was trained with labels"):
        attach(other, seed=9, rank=4, alpha=8.0, start_from=folder)


def test_a_base_is_lent_to_an_adapter_of_fewer_labels_and_comes_back_as_it_was(
        loaded, base, rows, settings, tmp_path):
    folder = saved(loaded, rows, settings, tmp_path / "two", rank=4, alpha=8.0)
    ids = rows["input_ids"].head(8)
    before = bare_classifier(base).logits(ids)
    alone = open_classifier(folder, base.spec).logits(ids)
    with pytest.raises(ModelError, match="was trained with labels"):
        open_classifier(folder, base)
    with with_labels(base, ["negative", "positive"]):
        lent = open_classifier(folder, base)
        assert lent.labels == ["negative", "positive"]
        assert np.array_equal(lent.logits(ids), alone)
        detach(base)
    assert base.labels == THREE and base.model.config.num_labels == 3
    assert np.array_equal(bare_classifier(base).logits(ids), before)
