"""Multi-label classification: any number of labels of a fixed set per text."""

from ftzard.tasks.base import HeadSpec, Task

TASK = Task(
    name="multi_label",
    title="multi-label classification",
    head=HeadSpec("AutoModelForSequenceClassification", "SEQ_CLS", trained=True),
    metrics=("micro_f1", "macro_f1", "samples_f1", "subset_accuracy", "validation_loss",
             "calibrated_loss"),
)
