"""Training learns, is repeatable, keeps the best epoch, and refuses what only looks like it."""

import numpy
import pytest
import torch

from ftzard.errors import ModelError
from ftzard.modeling.adapter import attach, detach
from ftzard.modeling.batching import pad
from ftzard.modeling.inference import logits
from ftzard.tasks.classification import objective
from ftzard.tasks.classification.objective import measure
from ftzard.training import trainer
from ftzard.training.objective import better
from tests.training_calls import train

LABELS = ["negative", "positive"]


@pytest.fixture
def adapted(loaded):
    return attach(loaded, rank=4, alpha=8, dropout=0.1, seed=5, train_embeddings=True)


def scores(model, rows):
    return logits(model, rows["input_ids"], pad_id=model.config.pad_token_id)


def test_it_learns_and_says_how(adapted, train_rows, validation_rows, settings):
    steps, epochs = [], []
    trained = train(
        adapted, train_rows, validation_rows, **{**settings, "epochs": 3},
        on_step=lambda done, total: steps.append((done, total)), on_epoch=epochs.append,
    )
    assert trained.best["accuracy"] > 0.9
    losses = [entry.pop("step_losses") for entry in epochs]
    assert [list(steps) for steps in losses] == [
        list(range(start, start + 10)) for start in (1, 11, 21)]
    assert epochs[0]["train_loss"] == pytest.approx(sum(losses[0].values()) / 10, rel=0.05)
    assert trained.history == epochs and [entry["epoch"] for entry in epochs] == [1, 2, 3]
    assert steps == [(n, 30) for n in range(1, 31)] and trained.steps == 30
    assert set(epochs[0]) == {
        "epoch", "train_loss", "validation_loss", "accuracy", "balanced_accuracy",
        "macro_precision", "macro_recall", "macro_f1", "learning_rate", "tokens_per_second",
        "padding_share", "calibrated_loss", "temperature",
    }  # fmt: skip
    assert epochs[2]["train_loss"] < epochs[0]["train_loss"]
    assert epochs[0]["padding_share"] < 0.2


def run(loaded, train_rows, validation_rows, settings):
    model = attach(loaded, rank=4, alpha=8, dropout=0.1, seed=settings["seed"])
    train(model, train_rows, validation_rows, **{**settings, "epochs": 1})
    result = scores(model, validation_rows)
    detach(loaded)
    return result


def test_the_seed_fixes_the_result_and_another_changes_it(
    loaded, train_rows, validation_rows, settings
):
    first = run(loaded, train_rows, validation_rows, settings)
    torch.rand(3)
    assert numpy.array_equal(first, run(loaded, train_rows, validation_rows, settings))
    other = run(loaded, train_rows, validation_rows, {**settings, "seed": 4})
    assert not numpy.array_equal(first, other)


def moved(loaded, train_rows, validation_rows, settings, **changes):
    """Train from the same start and return what came of it: the entry, the adapter's weights."""
    model = attach(loaded, rank=4, alpha=8, dropout=0.0, seed=1, train_embeddings=True)
    done = train(model, train_rows, validation_rows, **{**settings, "epochs": 1, **changes})
    weights = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    detach(loaded)
    return done.best, weights


def apart(ones, others):
    return max(float((ones[name] - others[name]).abs().max()) for name in ones)


@pytest.mark.parametrize("tokens", [40, 130])
def test_a_step_computed_in_parts_is_the_mean_over_its_rows(
    loaded, train_rows, validation_rows, settings, tokens, monkeypatch
):
    sizes, real = [], objective.Labels.loss
    monkeypatch.setattr(objective.Labels, "loss", lambda self, scores, targets:
                        sizes.append(len(targets)) or real(self, scores, targets))
    whole, weights = moved(loaded, train_rows, validation_rows, settings)
    assert sizes == [16] * 10
    sizes.clear()
    parts, others = moved(loaded, train_rows, validation_rows, settings,
                          micro_batch_tokens=tokens)
    assert sum(sizes) == 160 and len(sizes) > 20 and len(set(sizes)) > 1
    assert parts["train_loss"] == pytest.approx(whole["train_loss"], abs=1e-6)
    assert parts["padding_share"] < whole["padding_share"]
    # AdamW divides by a gradient's own size, so rounding shows; a wrong weight shows far more.
    assert apart(weights, others) < 1e-4


def test_the_gradient_of_parts_is_that_of_all_rows(loaded, train_rows):
    """Parts of different sizes, so that a mean of their means would be another."""
    model = attach(loaded, rank=4, alpha=8, dropout=0.0, seed=1)
    ids, targets = train_rows["input_ids"].tolist()[:16], numpy.arange(16) % 2
    labels, found = objective.Labels(train_rows, train_rows, LABELS), []
    for bounds in ([0, 16], [0, 1, 4, 16]):
        model.zero_grad()
        parts = [(pad(ids[a:b], 0), targets[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]
        loss = trainer._gradients(model, parts, 0, labels)
        found.append((loss, {n: p.grad.clone() for n, p in model.named_parameters()
                             if p.grad is not None}))
    (whole, one), (summed, other) = found
    assert summed == pytest.approx(whole, abs=1e-6)
    assert apart(one, other) < 1e-6 < max(float(g.abs().max()) for g in one.values())


def test_recomputing_activations_keeps_less_and_changes_nothing(
    loaded, train_rows, validation_rows, settings
):
    def run(recomputing):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: kept.append(t.numel()) or t, lambda t: t
        ):
            entry, weights = moved(loaded, train_rows, validation_rows, settings,
                                   gradient_checkpointing=recomputing)
        return entry["train_loss"], weights, sum(kept)

    hooks = {name: len(m._forward_hooks) for name, m in loaded.model.named_modules()}
    attributes = set(vars(loaded.model))
    loss, weights, kept = run(False)
    again, others, kept_less = run(True)
    assert again == loss and apart(weights, others) == 0.0
    assert kept_less < 0.9 * kept
    assert {name: len(m._forward_hooks) for name, m in loaded.model.named_modules()} == hooks
    assert set(vars(loaded.model)) == attributes


def test_an_optimizer_in_eight_bit_keeps_less_and_learns_alike(
    loaded, train_rows, validation_rows, settings
):
    model = attach(loaded, rank=4, alpha=8, dropout=0.0, seed=1, train_embeddings=True)
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)
    size = {}
    for name in ("adamw", "adamw_8bit"):
        optimizer = trainer.make_optimizer(name, parameters, 1e-3, 0.01)
        optimizer.step()
        size[name] = sum(t.numel() * t.element_size() for state in optimizer.state.values()
                         for key, t in state.items() if key in (
                             "exp_avg", "exp_avg_sq", "state1", "state2", "absmax1", "absmax2"))
    assert size["adamw_8bit"] < 0.5 * size["adamw"]
    detach(loaded)
    one, _ = moved(loaded, train_rows, validation_rows, settings)
    other, _ = moved(loaded, train_rows, validation_rows, settings, optimizer="adamw_8bit")
    assert other["validation_loss"] != one["validation_loss"]
    assert other["validation_loss"] == pytest.approx(one["validation_loss"], abs=0.03)


def test_the_best_epoch_stays_and_patience_ends_the_rest(
    adapted, train_rows, validation_rows, settings, monkeypatch
):
    accuracy = iter([0.6, 0.8, 0.7, 0.5, 0.9])
    seen = []

    def measured(found, targets):
        seen.append(found)
        return {**measure(found, targets), "accuracy": next(accuracy)}

    monkeypatch.setattr(objective, "measure", measured)
    trained = train(
        adapted, train_rows, validation_rows, **{**settings, "epochs": 5, "patience": 2}
    )
    assert trained.best_epoch == 2 and trained.stopped_early and len(trained.history) == 4
    assert trained.best["accuracy"] == 0.8
    found = logits(adapted, validation_rows["input_ids"], pad_id=0, batch_size=16)
    assert numpy.array_equal(found, seen[1])


@pytest.mark.parametrize("warmup_ratio", [0.0, 0.1, 1.0])
def test_two_rows_are_enough_and_nothing_divides_by_zero(
    adapted, train_rows, validation_rows, settings, warmup_ratio
):
    both = train_rows.groupby("label").head(1)
    trained = train(
        adapted, both, validation_rows, warmup_ratio=warmup_ratio,
        **{**settings, "epochs": 1, "batch_size": 2},
    )
    assert trained.steps == 1


def test_the_learning_rate_rises_and_falls_to_zero():
    factor = trainer._warmup_and_decay(100, 0.1)
    values = [factor(step) for step in range(101)]
    assert 0 < values[0] < values[5] < values[10] == max(values) == 1
    assert values[10:] == sorted(values[10:], reverse=True) and values[99] > values[100] == 0


def test_rows_that_cannot_be_learned_from_are_refused(
    adapted, train_rows, validation_rows, settings
):
    one_class = train_rows[train_rows["label"] == "positive"]
    for rows, said in (
        (train_rows[:1], "1 training and 80 validation rows"),
        (train_rows[:0], "0 training"),
        (one_class, "have the label 'positive'; expected at least two"),
        (train_rows.assign(label="positve"), "label 'positve'.*did you mean 'positive'"),
    ):
        with pytest.raises(ModelError, match=said):
            train(adapted, rows, validation_rows, **settings)
    with pytest.raises(ModelError, match="0 validation rows"):
        train(adapted, train_rows, validation_rows[:0], **settings)


def test_a_model_with_nothing_to_train_is_refused(loaded, train_rows, validation_rows, settings):
    with pytest.raises(ModelError, match="0 parameters of this model are trainable"):
        train(loaded.model, train_rows, validation_rows, **settings)


def test_an_optimizer_that_moves_nothing_is_refused(
    adapted, train_rows, validation_rows, settings
):
    with pytest.raises(ModelError, match="none of the .* parameters changed"):
        train(adapted, train_rows, validation_rows, **{**settings, "learning_rate": 0.0})


@pytest.mark.parametrize(("value", "said"), [(float("nan"), "is nan"), (0.0, "is 0.0")])
def test_a_loss_that_is_zero_or_no_number_is_refused(
    adapted, train_rows, validation_rows, settings, monkeypatch, value, said
):
    real = objective.Labels.loss
    monkeypatch.setattr(objective.Labels, "loss", lambda *given: real(*given) * 0 + value)
    with pytest.raises(ModelError, match=f"loss at step 1 {said}"):
        train(adapted, train_rows, validation_rows, **settings)


def test_logits_that_are_no_numbers_are_refused(adapted, validation_rows):
    with torch.no_grad():
        next(p for p in adapted.parameters() if p.requires_grad).fill_(float("nan"))
    with pytest.raises(ModelError, match="of 80 rows are not finite"):
        scores(adapted, validation_rows)


def test_a_trainable_parameter_outside_the_loss_is_refused(
    adapted, train_rows, validation_rows, settings
):
    adapted.register_parameter("forgotten", torch.nn.Parameter(torch.ones(1)))
    with pytest.raises(ModelError, match="get no gradient .*forgotten"):
        train(adapted, train_rows, validation_rows, **settings)


def test_the_metrics_agree_with_scikit_learn():
    from sklearn import metrics

    draw = numpy.random.default_rng(0)
    targets = draw.integers(0, 3, 200)
    found = draw.normal(size=(200, 4)).astype(numpy.float32)
    predicted = found.argmax(axis=1)
    result = measure(found, targets)
    values = dict(average="macro", zero_division=0)
    assert result["accuracy"] == pytest.approx(metrics.accuracy_score(targets, predicted))
    assert result["macro_f1"] == pytest.approx(metrics.f1_score(targets, predicted, **values))
    assert result["macro_recall"] == pytest.approx(
        metrics.recall_score(targets, predicted, **values)
    )
    assert result["macro_precision"] == pytest.approx(
        metrics.precision_score(targets, predicted, **values)
    )
    recalls = metrics.recall_score(targets, predicted, average=None, labels=[0, 1, 2])
    assert result["balanced_accuracy"] == pytest.approx(recalls.mean())


def test_the_lower_loss_breaks_a_tie_and_wins_as_a_metric():
    one = {"accuracy": 0.8, "validation_loss": 0.5}
    two = {"accuracy": 0.8, "validation_loss": 0.4}
    assert better(two, one, "accuracy") and not better(one, two, "accuracy")
    assert better(two, one, "validation_loss") and not better(one, one, "accuracy")


def test_the_calibrated_loss_sees_what_no_temperature_cures_and_nothing_else():
    """A model that is too sure of all is as good as before; one that is sure of its mistakes is
    not."""
    from scipy.stats import norm

    draw = numpy.random.default_rng(0)
    hidden = draw.normal(size=4000)
    targets = (draw.random(4000) < norm.cdf(hidden)).astype(numpy.int64)
    right = numpy.log(numpy.c_[norm.cdf(-hidden), norm.cdf(hidden)]).astype(numpy.float32)
    honest, sure = measure(right, targets), measure(8 * right, targets)
    assert honest["temperature"] == pytest.approx(1.0, abs=0.1)
    assert sure["temperature"] == pytest.approx(8.0, rel=0.1)
    assert sure["validation_loss"] > 3 * honest["validation_loss"]
    assert sure["calibrated_loss"] == pytest.approx(honest["calibrated_loss"], abs=1e-4)
    wrong = right.copy()
    mistaken = wrong.argmax(axis=1) != targets
    wrong[mistaken] *= 20
    assert measure(wrong, targets)["accuracy"] == honest["accuracy"]
    assert measure(wrong, targets)["calibrated_loss"] > honest["calibrated_loss"] + 0.05
    for metric in ("calibrated_loss", "accuracy"):
        assert better({**honest, "accuracy": 0.9}, measure(wrong, targets), metric)
    assert not better(measure(wrong, targets), honest, "calibrated_loss")


def test_labels_keep_their_order(adapted, train_rows, validation_rows, settings):
    trained = train(adapted, train_rows, validation_rows, **settings)
    found = scores(adapted, validation_rows).argmax(axis=1)
    names = [LABELS[number] for number in found]
    assert numpy.mean(names == validation_rows["label"]) == trained.best["accuracy"]
