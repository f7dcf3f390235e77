"""Instruction tuning: an answer is written for an instruction."""

from ftzard.modeling.head import HeadSpec
from ftzard.tasks.base import Task

TASK = Task(
    title="instruction tuning",
    head=HeadSpec("instruction_tuning", "AutoModelForCausalLM", "CAUSAL_LM", trained=False),
    metrics=("validation_loss", "perplexity", "token_accuracy"),
    prompt_columns=True,
    predictor_meta=("template", "max_new_tokens"),
)
