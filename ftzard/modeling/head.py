"""The head of a base: which of transformers' classes loads it, and how peft trains it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HeadSpec:
    """The head that a base is loaded with for a task.

    Attributes:
        task: Name of the task, as specs and adapters keep it.
        auto_class: Name of the class of transformers that loads it.
        peft_type: PEFT's task type.
        trained: Whether the head is new and trained with the adapter. A head over the base's own
            vocabulary is not.
        fewest_labels: Outputs that a head for labels has at least.
    """

    task: str
    auto_class: str
    peft_type: str
    trained: bool
    fewest_labels: int = 2

    @property
    def is_causal_lm(self) -> bool:
        """Whether the head predicts the next token."""
        return self.auto_class == "AutoModelForCausalLM"


#: The head of specs and adapters that name no task: they are older than the second one.
DEFAULT_HEAD = HeadSpec(
    "classification", "AutoModelForSequenceClassification", "SEQ_CLS", trained=True)
