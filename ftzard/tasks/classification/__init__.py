"""Classification: one label of a fixed set per text."""

from ftzard.tasks.base import HeadSpec, Task

TASK = Task(
    name="classification",
    title="text classification",
    head=HeadSpec("AutoModelForSequenceClassification", "SEQ_CLS", trained=True),
    metrics=("accuracy", "balanced_accuracy", "macro_precision", "macro_recall", "macro_f1",
             "validation_loss", "calibrated_loss"),
)
