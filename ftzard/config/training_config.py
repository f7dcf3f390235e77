"""The values that one adapter is trained with: from the config to the optimizer, and on record.

A model's record keeps them as its recipe, from which `ftzard reproduce` trains it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ftzard.config.schema import SEARCHED, Config, Training, Tuning

#: What a search may vary, and alpha, which follows from the rank: `params` of a recipe.
PARAMS = (*SEARCHED, "alpha")
#: What the method 'full' has no use for, and its recipes do not hold.
ADAPTER_ONLY = ("rank", "alpha", "dropout")
_OF_RUN = ("seed", "metric", "train_embeddings")


@dataclass(frozen=True)
class TrainingConfig:
    """How one adapter is trained.

    Attributes:
        learning_rate: The highest, after a linear warm-up over `warmup_ratio` of all steps and
            before a linear decay to zero.
        batch_size: Rows per optimizer step.
        rank, alpha, dropout: Of an adapter.
        method: 'lora', 'rslora', 'dora' or 'full'.
        patience: Epochs without a better `metric` (on validation) before training stops.
        max_grad_norm: Longer gradients are shortened.
        optimizer: One of checks.OPTIMIZERS, '8bit' keeps its state in 8 bit, 'paged' outside the
            GPU while it is full.
        micro_batch_tokens: Most padded tokens that are computed at once (None or 0: a step's rows
            at once).
        gradient_checkpointing: Compute activations again for the gradient instead of keeping them.
        class_weights: Per label or 'balanced'.
        packing: Whether a step's rows are packed into sequences, None for a task without packing.
        train_embeddings: Train the token embeddings, too.
    """

    learning_rate: float
    batch_size: int
    epochs: int
    rank: int | None = None
    alpha: float | None = None
    dropout: float = 0.0
    weight_decay: float = 0.01
    method: str = "lora"
    warmup_ratio: float = 0.1
    max_grad_norm: float = 1.0
    patience: int = 2
    optimizer: str = "adamw"
    micro_batch_tokens: int | None = None
    gradient_checkpointing: bool = False
    class_weights: str | Mapping[str, float] | None = None
    packing: bool | None = None
    seed: int = 0
    metric: str = "accuracy"
    train_embeddings: bool = False

    @classmethod
    def of(cls, config: Config) -> "TrainingConfig":
        """Return the values of an experiment's config."""
        training = config.training
        names = {f.name for f in fields(cls)} & {f.name for f in fields(Training)}
        instructions = config.task.instructions
        return cls(
            **{name: getattr(training, name) for name in names},
            alpha=training.alpha_ratio * training.rank,
            packing=None if instructions is None else instructions.packing,
            seed=config.seed, metric=config.tuning.metric,
            train_embeddings=config.model.train_embeddings)

    @classmethod
    def from_recipe(cls, recipe: Mapping[str, Any]) -> "TrainingConfig":
        """Return the values of a model's recipe; older ones lack what did not exist yet."""
        return cls(**recipe["params"], **recipe["training"],
                   **{name: recipe[name] for name in _OF_RUN if name in recipe})

    def with_params(self, params: Mapping[str, Any]) -> "TrainingConfig":
        """Return these values with others for some of PARAMS."""
        return replace(self, **params)

    @property
    def params(self) -> dict[str, Any]:
        """The values of PARAMS, without those that the method has no use for."""
        return {name: getattr(self, name) for name in PARAMS
                if not (self.method == "full" and name in ADAPTER_ONLY)}

    def recipe(self) -> dict[str, Any]:
        """Return the values as a model's record keeps them."""
        apart = (*PARAMS, *_OF_RUN)
        return {
            "params": self.params,
            "training": {f.name: getattr(self, f.name) for f in fields(self)
                         if f.name not in apart
                         and not (f.name == "packing" and self.packing is None)},
            **{name: getattr(self, name) for name in _OF_RUN}}


def search_space(tuning: Tuning, training: Training) -> dict[str, Any]:
    """Return the space of `search`: lists, and single values for what is not searched."""
    space = {name: getattr(tuning, name) or [getattr(training, name)] for name in SEARCHED}
    return {name: values[0] if len(values) == 1 else values for name, values in space.items()}
