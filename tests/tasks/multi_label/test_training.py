"""A small model learns label sets; what it keeps, and that batches and weights do what they say."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from ftzard.config.training_config import TrainingConfig
from ftzard.errors import DataError, ModelError
from ftzard.modeling.adapter import attach, detach
from ftzard.modeling.adapter_meta import META
from ftzard.modeling.base_model import BaseSpec, load_base
from ftzard.modeling.tiny_falcon import build
from ftzard.modeling.tokenizer import encode
from ftzard.tasks.multi_label import TASK, label_sets
from ftzard.tasks.multi_label.metrics import set_scores
from ftzard.tasks.multi_label.objective import LabelSets, measure
from ftzard.tasks.multi_label.predictor import LabelSetClassifier, bare_predictor, open_predictor
from ftzard.tasks.multi_label.thresholds import sigmoid
from ftzard.training import trainer
from ftzard.training.fit import fit
from tests.tasks.multi_label.made_up import LABELS, make_rows

CONFIG = TrainingConfig(learning_rate=1e-2, batch_size=16, epochs=6, rank=8, alpha=16.0,
                        metric="micro_f1", seed=3)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = build(tmp_path_factory.mktemp("models") / "base", make_rows(300, 1)["text"], seed=7,
                   layers=2, width=64, heads=4, vocabulary=600, max_positions=64)
    spec = BaseSpec(source=folder, name="falcon_test", max_length=40, head=TASK.head)
    return load_base(spec, LABELS, device="cpu")


@pytest.fixture
def loaded(base):
    yield base
    detach(base)


@pytest.fixture(scope="module")
def rows(base) -> dict[str, pd.DataFrame]:
    found = {}
    for seed, (side, count) in enumerate((("train", 400), ("validation", 120), ("test", 120))):
        part = make_rows(count, seed)
        found[side] = part.assign(input_ids=encode(part["text"], base.tokenizer, 40)[0])
    return found


@pytest.fixture(scope="module")
def fitted(base, rows, tmp_path_factory):
    try:
        yield fit(base, rows["train"], rows["validation"], task=TASK, config=CONFIG,
                  folder=tmp_path_factory.mktemp("adapter") / "adapter", extra={"cleaning": {}})
    finally:
        detach(base)


def test_a_model_learns_sets_of_labels_and_keeps_a_threshold_for_each(fitted, loaded, rows):
    kept = json.loads((fitted.folder / META).read_text())
    assert kept["labels"] == LABELS and len(kept["thresholds"]) == 3
    assert all(0 < threshold < 1 for threshold in kept["thresholds"])
    classifier = open_predictor(fitted.folder, loaded)
    chances = sigmoid(classifier.logits(rows["test"]["input_ids"].tolist()))
    targets = label_sets.indicators(rows["test"]["label"].tolist(), LABELS)
    assert set_scores(targets, classifier.chosen(chances))["micro_f1"] > 0.9
    assert fitted.trained.history[-1]["validation_loss"] < fitted.trained.history[0][
        "validation_loss"]
    assert {"micro_f1", "macro_f1", "samples_f1", "subset_accuracy", "calibrated_loss"} <= set(
        fitted.trained.best)


def test_the_same_training_gives_the_same_thresholds(fitted, loaded, rows, tmp_path):
    again = fit(loaded, rows["train"], rows["validation"], task=TASK, config=CONFIG,
                folder=tmp_path / "adapter", extra={"cleaning": {}})
    assert again.recipe["weights_sha256"] == fitted.recipe["weights_sha256"]
    assert (again.folder / META).read_text() == (fitted.folder / META).read_text()


def test_predictions_are_label_sets_with_the_confidence_of_the_least_sure_label(fitted, loaded):
    classifier = open_predictor(fitted.folder, loaded)
    found = classifier.predict(["the furious phone was scared", "the song this day", "so lovely"])
    for label, sure, labels, chances in found.itertuples(index=False):
        assert label_sets.join(labels) == label
        chosen = [name in labels for name in LABELS]
        assert chosen == (np.array(chances) >= classifier.thresholds).tolist()
        assert sure == pytest.approx(min(p if has else 1 - p for p, has in
                                         zip(chances, chosen, strict=True)))
    detach(loaded)
    assert isinstance(bare_predictor(loaded), LabelSetClassifier)


@pytest.mark.parametrize("weights", [None, "balanced", {"anger": 3.0, "fear": 1.0, "joy": 0.5}])
def test_a_step_in_parts_has_the_loss_of_all_its_rows(loaded, rows, weights):
    objective = LabelSets(rows["train"], rows["validation"], LABELS, weights)
    model = attach(loaded, rank=4, alpha=8, dropout=0.0, seed=1)
    pad_id = loaded.tokenizer.pad_token_id
    numbers, device = np.arange(12), next(loaded.model.parameters()).device
    model.zero_grad()
    losses = []
    for tokens in (None, 40):
        parts = [objective.batch(part, pad_id, device) for part in objective.parts(numbers, tokens)]
        assert (len(parts) == 1) == (tokens is None)
        losses.append(trainer._gradients(model, parts, 0, objective, objective.count(numbers)))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    scores = torch.from_numpy(np.concatenate([
        model(**objective.batch(np.array([n]), pad_id, device)[0]).logits.detach().numpy()
        for n in numbers]))
    targets = torch.from_numpy(objective.targets[numbers]).float()
    expected = binary_cross_entropy_with_logits(
        scores, targets, pos_weight=None if weights is None else torch.from_numpy(
            objective.class_weights).float())
    assert losses[0] == pytest.approx(float(expected), rel=1e-3)


def test_balanced_weights_are_negative_rows_per_positive_one(rows):
    objective = LabelSets(rows["train"], rows["validation"], LABELS, "balanced")
    positive = objective.targets.sum(axis=0)
    assert objective.class_weights == pytest.approx((400 - positive) / positive)


def test_metrics_use_the_thresholds_that_suit_the_rows_best():
    scores = np.array([[-3.0, 2.0], [-2.0, 1.0], [-9.0, -2.0], [-8.0, -3.0]])
    targets = np.array([[1, 1], [1, 1], [0, 0], [0, 0]], dtype=bool)
    found = measure(scores, targets)
    assert found["micro_f1"] == found["subset_accuracy"] == 1
    assert found["calibrated_loss"] <= found["validation_loss"]


@pytest.mark.parametrize(("labels", "weights", "said"), [
    (["joy"] * 4, None, "all 4 training rows have the labels 'joy'"),
    (["joy", "fun", "joy", "[]"], None, "label 'fun' of row 1 is no known label"),
    (["joy", "[]", "joy", "[]"], {"joy": 2.0}, "lacks the label 'anger'")])
def test_what_cannot_be_learned_is_refused(labels, weights, said):
    rows = pd.DataFrame({"label": labels, "input_ids": [[1, 2]] * 4})
    with pytest.raises((ModelError, DataError), match=said):
        LabelSets(rows, rows, LABELS, weights)
