"""Training with plain values, as tests ask for it: the config and the objective are made here."""

from ftzard.config.training_config import TrainingConfig
from ftzard.tasks.base import task_named
from ftzard.tasks.classification.objective import Labels
from ftzard.tasks.instruction_tuning.objective import Answers
from ftzard.training import fit as fitting
from ftzard.training import search as searching
from ftzard.training import trainer

#: What is passed on as it is, and is no value of training.
CALLS = ("checkpoints", "stop", "on_step", "on_epoch")


def train(model, train_rows, validation_rows, *, labels, packed_length=None, **values):
    """Train a model on rows; labels: none for one that writes."""
    calls = {name: values.pop(name) for name in CALLS if name in values}
    config = TrainingConfig(**values)
    objective = (Labels(train_rows, validation_rows, labels, config.class_weights) if labels
                 else Answers(model, train_rows, validation_rows, packed_length))
    return trainer.train(model, objective, config, **calls)


def config_of(params, training, **values):
    return TrainingConfig(**params, **{"epochs": 1, **training}, **values)


def fit(loaded, train_rows, validation_rows, *, params, training, seed=0, metric="accuracy",
        train_embeddings=False, **more):
    """Fit an adapter for the task of its base."""
    config = config_of(params, training, seed=seed, metric=metric,
                       train_embeddings=train_embeddings)
    return fitting.fit(loaded, train_rows, validation_rows, config=config,
                       task=task_named(loaded.spec.task), **more)


def search(loaded, train_rows, validation_rows, *, space, training, seed, metric, first=None,
           **more):
    """Search for the task of a base; first: values of the first trial where it may have them."""
    values = {"rank": 5, "dropout": 0.5, "learning_rate": 1e6, "batch_size": 7,
              "weight_decay": 9.0, **(first or {})}  # outside of any space, if not given
    return searching.search(
        loaded, train_rows, validation_rows, space=space, task=task_named(loaded.spec.task),
        config=config_of({**values, "alpha": 2.0 * values["rank"]}, training, seed=seed,
                         metric=metric), **more)
