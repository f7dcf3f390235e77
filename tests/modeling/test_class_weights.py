"""What the rows of a class weigh: exactly that in every step, and what it is good for."""

import numpy
import pandas
import pytest
import torch
from torch.nn.functional import cross_entropy

from ftzard.errors import ModelError
from ftzard.modeling.adapter import attach, detach
from ftzard.modeling.batching import pad
from ftzard.tasks.classification.objective import Labels, check_class_weights
from ftzard.tasks.classification.predictor import open_classifier
from ftzard.tasks.instruction_tuning.objective import Answers
from ftzard.training import trainer
from tests.training_calls import fit, train

LABELS = ["negative", "positive"]


@pytest.fixture
def unbalanced(rows):
    """64 rows, every eighth of them 'positive'."""
    return pandas.concat([rows[rows["label"] == "negative"].head(56),
                          rows[rows["label"] == "positive"].head(8)]).reset_index(drop=True)


def moved(loaded, train_rows, validation_rows, **changes):
    model = attach(loaded, rank=4, alpha=8, dropout=0.0, seed=1, train_embeddings=True)
    done = train(model, train_rows, validation_rows, **{
        "labels": LABELS, "epochs": 1, "learning_rate": 5e-3, "batch_size": 16, "seed": 3,
        **changes})
    weights = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    detach(loaded)
    return done, weights


def apart(ones, others):
    return max(float((ones[name] - others[name]).abs().max()) for name in ones)


def test_the_gradient_is_that_of_torchs_weighted_mean_however_the_step_is_cut(loaded, train_rows):
    model = attach(loaded, rank=4, alpha=8, dropout=0.0, seed=1)
    ids = train_rows["input_ids"].tolist()[:16]
    targets = numpy.array([0, 0, 0, 1] * 4)
    weights = numpy.array([0.5, 7.0])
    objective = Labels(train_rows, train_rows, LABELS, dict(zip(LABELS, weights, strict=True)))

    def gradients():
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    model.zero_grad()
    expected = cross_entropy(model(**pad(ids, 0)).logits.float(), torch.from_numpy(targets),
                             weight=torch.tensor(weights, dtype=torch.float32))
    expected.backward()
    right = gradients()
    for bounds in ([0, 16], [0, 3, 4, 16]):  # one part without the second class
        model.zero_grad()
        parts = [(pad(ids[a:b], 0), targets[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]
        loss = trainer._gradients(model, parts, 0, objective, 16)
        assert loss == pytest.approx(float(expected.detach()), abs=1e-6)
        assert apart(right, gradients()) < 1e-6


def test_balanced_gives_every_class_the_same_weight_in_sum(unbalanced):
    objective = Labels(unbalanced, unbalanced, [*LABELS, "neutral"], "balanced")
    every = numpy.arange(len(unbalanced))
    of = {name: every[unbalanced["label"] == name] for name in LABELS}
    assert objective.weight(of["negative"]) == pytest.approx(objective.weight(of["positive"]))
    assert objective.weight(every) == pytest.approx(len(every))
    assert objective.count(of["positive"]) == 8


def test_weights_of_one_are_no_weights(loaded, train_rows, validation_rows):
    plain, weights = moved(loaded, train_rows, validation_rows)
    ones, others = moved(loaded, train_rows, validation_rows,
                         class_weights={"negative": 1.0, "positive": 1.0})
    assert ones.best["train_loss"] == pytest.approx(plain.best["train_loss"], abs=1e-6)
    assert apart(weights, others) < 1e-4


def test_micro_batches_leave_the_weighted_step_as_it_is(loaded, unbalanced, validation_rows):
    whole, weights = moved(loaded, unbalanced, validation_rows, class_weights="balanced")
    parts, others = moved(loaded, unbalanced, validation_rows, class_weights="balanced",
                          micro_batch_tokens=60)
    assert parts.best["train_loss"] == pytest.approx(whole.best["train_loss"], abs=1e-6)
    assert parts.best["padding_share"] < whole.best["padding_share"]
    assert apart(weights, others) < 1e-4


def test_a_rare_class_is_found_and_the_recipe_makes_the_same_model_again(
    loaded, unbalanced, validation_rows, tmp_path
):
    """Of a class in one row of eight, six epochs without weights learn little but its rarity."""
    positive = (validation_rows["label"] == "positive").to_numpy()

    def fitted(name, **recipe):
        made = fit(loaded, unbalanced, validation_rows, **{
            "params": {"rank": 4, "alpha": 8.0, "dropout": 0.0, "learning_rate": 5e-3,
                       "batch_size": 16, "weight_decay": 0.0},
            "seed": 3, "metric": "balanced_accuracy", "train_embeddings": True, **recipe},
            folder=tmp_path / name)
        classifier = open_classifier(made.folder, loaded)
        answers = classifier.logits(validation_rows["input_ids"].tolist()).argmax(axis=1)
        detach(loaded)
        return made, float((answers[positive] == 1).mean())

    plain, without = fitted("plain", training={"epochs": 6, "patience": 9, "class_weights": None})
    made, recall = fitted("balanced",
                          training={"epochs": 6, "patience": 9, "class_weights": "balanced"})
    assert recall > without + 0.3
    assert made.recipe["training"]["class_weights"] == "balanced"
    again, _ = fitted("again", **{key: made.recipe[key] for key in
                                  ("params", "seed", "metric", "train_embeddings", "training")})
    assert again.recipe == made.recipe != plain.recipe


@pytest.mark.parametrize(("weights", "message"), [
    ({"negative": 1.0, "positiv": 2.0}, "label 'positiv' .* did you mean 'positive'"),
    ({"negative": 1.0}, "lacks the label 'positive' .* each of negative, positive"),
    ({"negative": 0.0, "positive": 1.0}, "class_weights.negative is 0.0; expected a finite"),
    ({"negative": float("nan"), "positive": 1.0}, "expected a finite number above 0"),
    ("balance", "is 'balance'; expected 'balanced', a map"),
])
def test_what_does_not_name_every_label_once_is_refused(loaded, train_rows, weights, message):
    with pytest.raises(ModelError, match=message):
        moved(loaded, train_rows, train_rows, class_weights=weights)
    with pytest.raises(ModelError, match=message):
        check_class_weights(weights, LABELS)


def test_answers_have_no_class_to_weigh():
    assert Answers.part_weight(None, numpy.array([7, 7, 9])) == 3  # tokens, whichever they are
