"""Classification: one label of a fixed set per text."""

from ftzard.modeling.head import DEFAULT_HEAD
from ftzard.tasks.base import Task

TASK = Task(
    title="text classification",
    head=DEFAULT_HEAD,
    metrics=("accuracy", "balanced_accuracy", "macro_precision", "macro_recall", "macro_f1",
             "validation_loss", "calibrated_loss"),
    labels_grow=True,
)
