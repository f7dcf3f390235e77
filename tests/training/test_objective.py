"""A task of its own kind brings its loss: here numbers with a squared error, on one output."""

from dataclasses import replace

import numpy
import pytest
import torch

from ftzard.config.training_config import TrainingConfig
from ftzard.errors import ModelError
from ftzard.modeling.adapter import attach
from ftzard.modeling.base_model import load_base
from ftzard.modeling.batching import micro_batches, pad, padding_share
from ftzard.modeling.head import HeadSpec
from ftzard.modeling.inference import logits
from ftzard.training import trainer

ONE_OUTPUT = HeadSpec(
    "stars", "AutoModelForSequenceClassification", "SEQ_CLS", trained=True, fewest_labels=1)


class Numbers:
    """A number per text, learned by its squared error."""

    def __init__(self, rows, validation_rows):
        self.input_ids, self.validation_ids = (
            part["input_ids"].tolist() for part in (rows, validation_rows))
        self.targets, self.validation_targets = (
            (part["label"] == "positive").to_numpy(dtype=numpy.float32)
            for part in (rows, validation_rows))
        self.lengths = numpy.array([len(ids) for ids in self.input_ids])

    def parts(self, rows, tokens):
        return micro_batches(rows, self.lengths, tokens)

    def batch(self, part, pad_id, device):
        return pad([self.input_ids[row] for row in part], pad_id, device), self.targets[part]

    def loss(self, scores, targets):
        return torch.nn.functional.mse_loss(scores.squeeze(-1), torch.from_numpy(targets))

    def part_weight(self, targets):
        return len(targets)

    count = weight = part_weight

    def measure(self, model, pad_id, batch_size, tokens):
        found = logits(model, self.validation_ids, pad_id=pad_id)[:, 0]
        return {"validation_loss": float(((found - self.validation_targets) ** 2).mean())}

    def counted(self):
        return {}

    def padding(self, parts):
        return padding_share(self.lengths, parts)


def test_a_loss_that_the_trainer_does_not_know_is_learned(spec, train_rows, validation_rows):
    base = load_base(replace(spec, head=ONE_OUTPUT), ["stars"], device="cpu")
    model = attach(base, rank=4, alpha=8, dropout=0.0, seed=1)
    config = TrainingConfig(
        rank=4, alpha=8.0, dropout=0.0, learning_rate=5e-3, batch_size=16, weight_decay=0.0,
        epochs=3, metric="validation_loss", seed=3, micro_batch_tokens=200)
    trained = trainer.train(model, Numbers(train_rows, validation_rows), config)
    losses = [entry["validation_loss"] for entry in trained.history]
    assert min(losses) < 0.15 < 0.2 < validation_rows["label"].eq("positive").var()


def test_a_head_of_one_output_is_refused_where_labels_are_told_apart(spec):
    with pytest.raises(ModelError, match=r"labels are \['stars'\]; expected at least 2"):
        load_base(spec, ["stars"], device="cpu")
