"""Multi-label classification: any number of labels of a fixed set per text."""

from ftzard.modeling.head import HeadSpec
from ftzard.tasks.base import Task

TASK = Task(
    title="multi-label classification",
    head=HeadSpec("multi_label", "AutoModelForSequenceClassification", "SEQ_CLS", trained=True),
    metrics=("micro_f1", "macro_f1", "samples_f1", "subset_accuracy", "validation_loss",
             "calibrated_loss"),
)
