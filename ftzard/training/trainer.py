"""Training: one adapter on tokenized rows, watched, with the best epoch's weights at the end.

It refuses what only looks like training: one row, one class, an answer without a token to learn, a
loss that is zero or not a number or that saw other targets than the rows have, nothing to train,
parameters that an optimizer step leaves as they were.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import bitsandbytes
import numpy
import torch
from torch import nn

from ftzard.config.training_config import TrainingConfig
from ftzard.errors import ModelError
from ftzard.modeling.adapter_checks import OPTIMIZERS, optimizer_fits
from ftzard.modeling.architecture import headed_in
from ftzard.modeling.batching import shuffled_batches
from ftzard.modeling.inference import TOKENS, Progress
from ftzard.modeling.reproducibility import set_seed
from ftzard.training.checkpoint import Checkpoints, random_state, set_random_state
from ftzard.training.objective import Objective, better


@dataclass
class Trained:
    """What training did.

    Attributes:
        history: A dict per epoch (epoch from 1, train_loss, validation_loss, the task's metrics
            and counts, learning_rate at its end, tokens_per_second of real tokens, padding_share).
        best_epoch: Whose weights the model has now.
        stopped_early: Whether patience ran out before the last epoch.
        steps: Optimizer steps done.
        resumed_at: Steps that an earlier run had done, from whose checkpoint this one went on.
        pruned: Whether it was stopped from outside.
        origin: What had made it, if it was only read back (`ended_fits`).
    """

    history: list[dict]
    best_epoch: int
    stopped_early: bool
    steps: int
    resumed_at: int = 0
    pruned: bool = False
    origin: str = ""

    @property
    def best(self) -> dict:
        """The best epoch's entry of the history."""
        return self.history[self.best_epoch - 1]


def train(
    model: nn.Module,
    objective: Objective,
    config: TrainingConfig,
    *,
    checkpoints: Checkpoints | None = None,
    stop: Callable[[list[dict]], bool] | None = None,
    on_step: Progress | None = None,
    on_epoch: Callable[[dict], object] | None = None,
) -> Trained:
    """Train what is trainable in `model` and leave it with the best epoch's weights.

    Args:
        model: With what is to be trained attached to it.
        objective: What is minimized, on which rows. A step stays the mean over its rows, or over
            all tokens of their answers, however they are computed.
        config: The values of training; rank, alpha and the like were used to attach the adapter.
        checkpoints: Where to keep the state, and to go on from if one is there, with the losses of
            a run that was never cut off.
        stop: Asked with the history before every epoch but the first whether to leave it at that.
        on_step: Called with (steps done, steps in all).
        on_epoch: Called with the epoch's entry of the history, also of the epochs that an earlier
            run had done; of one that was trained now with `step_losses` as well, {step: loss} of
            its steps, the first is step 1.

    Raises:
        ModelError: As the module says.
    """
    parameters = _trainable(model)
    set_seed(config.seed)
    generator = numpy.random.default_rng(config.seed)
    device = next(model.parameters()).device
    pad_id = model.config.pad_token_id
    lengths = objective.lengths
    steps = config.epochs * math.ceil(len(lengths) / config.batch_size)
    rule = make_optimizer(
        config.optimizer, parameters, config.learning_rate, config.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        rule, _warmup_and_decay(steps, config.warmup_ratio))
    state = _State(parameters, rule, schedule, generator)
    saved = checkpoints.latest() if checkpoints else None
    if saved is not None:
        state.load(saved)
        for entry in state.history:
            if on_epoch is not None:
                on_epoch(dict(entry))
    resumed_at = state.done
    pruned = False
    patience = max(config.patience, 1)
    while len(state.history) < config.epochs and len(state.history) - state.best < patience:
        if state.history and stop is not None and stop(state.history):
            pruned = True
            break
        generator.bit_generator.state = state.shuffle
        batches = shuffled_batches(lengths, config.batch_size, generator)
        computed = [objective.parts(rows, config.micro_batch_tokens) for rows in batches]
        model.train()
        first, started = len(state.losses), time.perf_counter()
        with _recomputing(model, config.gradient_checkpointing):
            for rows, together in list(zip(batches, computed, strict=True))[first:]:
                parts = [objective.batch(part, pad_id, device) for part in together]
                before = _copy(parameters) if state.done == 0 else {}
                rule.zero_grad(set_to_none=True)
                state.losses.append(_gradients(
                    model, parts, state.done, objective, objective.count(rows)))
                nn.utils.clip_grad_norm_(parameters.values(), config.max_grad_norm)
                rule.step()
                schedule.step()
                if before:
                    _check_changed(before, parameters)
                state.done += 1
                if on_step is not None:
                    on_step(state.done, steps)
                if checkpoints and checkpoints.due(state.done) and len(state.losses) < len(batches):
                    checkpoints.save(state.done, state.dump())
        seconds = time.perf_counter() - started
        measured = objective.measure(
            model, pad_id, config.batch_size, config.micro_batch_tokens or TOKENS)
        tokens = lengths[numpy.concatenate(batches[first:])].sum()
        entry = {
            "epoch": len(state.history) + 1,
            "train_loss": float(numpy.average(
                state.losses, weights=[objective.weight(rows) for rows in batches])),
            **measured,
            **objective.counted(),
            "learning_rate": schedule.get_last_lr()[0],
            "tokens_per_second": float(tokens / seconds),
            "padding_share": objective.padding([part for step in computed for part in step]),
        }
        losses = state.losses
        state.end_epoch(entry, config.metric)
        if on_epoch is not None:
            on_epoch({**entry, "step_losses": {state.done - len(losses) + n: loss
                                               for n, loss in enumerate(losses, 1)}})
        if checkpoints and checkpoints.every:
            checkpoints.save(state.done, state.dump())
    if state.best < len(state.history):
        _restore(parameters, state.best_weights)
    model.eval()
    early = len(state.history) < config.epochs and not pruned
    return Trained(state.history, state.best, early, state.done, resumed_at, pruned)


@dataclass
class _State:
    """All that training goes on from: weights, optimizer, schedule, random draws, the story.

    shuffle: the shuffling generator as it was when the epoch began, from which its batches follow;
    losses: of this epoch's batches so far, so their number says which batch comes next; best: the
    epoch with the best metric (0: none yet) and its weights, empty while the model has them.
    """

    parameters: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    generator: numpy.random.Generator
    done: int = 0
    losses: list[float] = field(default_factory=list)
    history: list[dict] = field(default_factory=list)
    best: int = 0
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shuffle = self.generator.bit_generator.state

    def end_epoch(self, entry: dict, metric: str) -> None:
        self.history.append(entry)
        self.losses, self.shuffle = [], self.generator.bit_generator.state
        if self.best == 0 or better(entry, self.history[self.best - 1], metric):
            self.best, self.best_weights = len(self.history), _copy(self.parameters)

    def dump(self) -> dict:
        return {
            "weights": _copy(self.parameters),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": random_state(),
            "shuffle": self.shuffle,
            "done": self.done,
            "losses": self.losses,
            "history": self.history,
            "best": self.best,
            "best_weights": self.best_weights,
        }

    def load(self, saved: dict) -> None:
        _restore(self.parameters, saved["weights"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        set_random_state(saved["random"])
        self.shuffle = saved["shuffle"]
        self.done, self.losses = saved["done"], saved["losses"]
        self.history, self.best = saved["history"], saved["best"]
        self.best_weights = saved["best_weights"]


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        raise ModelError(
            "0 parameters of this model are trainable; expected those of an adapter. Attach one "
            "before training."
        )
    return parameters


def _gradients(
    model: nn.Module,
    parts: Sequence[tuple[dict[str, torch.Tensor], numpy.ndarray]],
    done: int,
    objective: Objective,
    promised: int | None = None,
) -> float:
    """Add up the gradients of a step's rows and return their mean loss, refusing one that is none.

    parts: (batch, targets) that are computed one after the other, each weighing what the objective
    says, so that the sum is that of all rows at once; promised: how many targets the rows have, all
    of which the loss must see.
    """
    count, value = sum(len(targets) for _, targets in parts), 0.0
    weights = [objective.part_weight(targets) for _, targets in parts]
    if promised is not None:
        _require_all(count, promised, done)
    for (batch, targets), weight in zip(parts, weights, strict=True):
        scores = model(**batch).logits
        _require_all(scores.shape[:-1].numel(), len(targets), done)
        loss = objective.loss(scores, targets)
        if len(parts) > 1:
            loss = loss * (weight / sum(weights))
        value += float(loss.detach())
        loss.backward()
    if not math.isfinite(value) or value == 0.0:
        raise ModelError(
            f"the loss at step {done + 1} is {value}; expected a finite number above zero. "
            "Lower the learning rate, and check the labels and the compute type."
        )
    return value


def _require_all(seen: int, promised: int, done: int) -> None:
    """Raise ModelError unless a loss sees as many targets as its rows have."""
    if seen != promised:
        raise ModelError(
            f"the loss at step {done + 1} would see {seen} targets; expected {promised}, which is "
            "how many its rows have. This architecture does not answer where it is asked: take "
            "another base."
        )


def make_optimizer(
    name: str, parameters: dict[str, nn.Parameter], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return AdamW over `parameters`: torch's, or one of bitsandbytes whose state takes less room.

    Raises ModelError for an unknown name and for a paged one without a GPU.
    """
    optimizer_fits(name, next(iter(parameters.values())).device)
    values = {"lr": learning_rate, "weight_decay": weight_decay}
    if name == OPTIMIZERS[0]:
        return torch.optim.AdamW(parameters.values(), **values, fused=True)
    kind = {
        "adamw_8bit": bitsandbytes.optim.AdamW8bit,
        "paged_adamw": bitsandbytes.optim.PagedAdamW32bit,
        "paged_adamw_8bit": bitsandbytes.optim.PagedAdamW8bit,
    }[name]
    return kind(list(parameters.values()), **values)


@contextmanager
def _recomputing(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Let the blocks compute their activations again for the gradient, if that is wanted."""
    if not wanted:
        yield
        return
    inside = headed_in(model)
    if not inside.supports_gradient_checkpointing:
        raise ModelError(
            f"{type(inside).__name__} cannot recompute its activations; set "
            "training.gradient_checkpointing=false."
        )
    inside.activation_checkpointing_enable({"use_reentrant": False})
    try:
        yield
    finally:
        inside.activation_checkpointing_disable()
        inside.disable_input_require_grads()
        inside.__dict__.pop("_require_grads_hooks", None)


def _check_changed(before: dict[str, torch.Tensor], now: dict[str, nn.Parameter]) -> None:
    without = sorted(name for name, parameter in now.items() if parameter.grad is None)
    if without:
        raise ModelError(
            f"{len(without)} of {len(now)} trainable parameters get no gradient (first: "
            f"{without[0]}); expected all to be part of the loss."
        )
    if all(torch.equal(before[name], parameter) for name, parameter in now.items()):
        raise ModelError(
            f"none of the {len(now)} trainable parameters changed in the first optimizer step; "
            "expected them to move. Check the learning rate."
        )


def _warmup_and_decay(steps: int, warmup_ratio: float) -> Callable[[int], float]:
    """Return the factor on the learning rate per step: up linearly, then down to zero.

    The first and the last step still train, however few steps there are.
    """
    warmup = round(steps * warmup_ratio)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return max(0.0, (steps - step) / (steps - warmup)) if steps > warmup else 1.0

    return factor


def _copy(parameters: dict[str, nn.Parameter]) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


@torch.no_grad()
def _restore(parameters: dict[str, nn.Parameter], weights: dict[str, torch.Tensor]) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(weights[name])
