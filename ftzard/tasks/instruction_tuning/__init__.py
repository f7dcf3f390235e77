"""Instruction tuning: an answer is written for an instruction."""

from ftzard.tasks.base import HeadSpec, Task

TASK = Task(
    name="instruction_tuning",
    title="instruction tuning",
    head=HeadSpec("AutoModelForCausalLM", "CAUSAL_LM", trained=False),
    metrics=("validation_loss", "perplexity", "token_accuracy"),
)
