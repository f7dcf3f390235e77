"""Estimate a job before it runs: rows, tokens, steps, memory and time.

No weights are read and nothing is written. The base is built on the meta device, where layers have
shapes and no memory. The plan lists its assumptions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ftzard.config import compose, effects, listing, unusual
from ftzard.config.pipeline import BY_NAME, JOBS
from ftzard.config.schema import Config
from ftzard.errors import ConfigError, FtzardError
from ftzard.registry import effective_config, model_records
from ftzard.steps import cluster_plan
from ftzard.steps.cluster_plan import ClusterPlan
from ftzard.steps.plan_rows import Expected, expected_rows
from ftzard.steps.training_rate import TRAINING, training_rate
from ftzard.tracking import workspace_store
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    from ftzard.modeling.memory import Device
    from ftzard.modeling.spec import BaseSpec
    from ftzard.steps.machine import Machine
    from ftzard.training.memory_estimate import Memory, Sizes, Tokens

JUDGING = ("choosing", "evaluation")
#: Models that predict all test rows of an evaluation: challenger, champion, bare base.
JUDGED = 3
#: Bytes on the CPU that the imported libraries take.
IMPORTED = 700 << 20
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Base:
    """A base model: how it is loaded, its architecture, and its tokenizer if that is on disk."""

    spec: BaseSpec
    architecture: object
    tokenizer: object | None


@dataclass(frozen=True)
class Training:
    """The size of a training step: trials, epochs, rows, batch size, rank, optimizer steps."""

    step: str
    method: str
    trials: int
    epochs: int
    rows: int
    batch_size: int
    rank: int
    steps: int


@dataclass(frozen=True)
class Plan:
    """The estimate for a job.

    Attributes:
        rows: the number of rows by split.
        tokens: of one pass over the rows that are trained on, or predicted.
        batch: rows and tokens per row of the batch that needs most memory.
        rate: tokens per second of training.
        changes: overrides that make the job fit, applied one after the other, each with the peak
            memory in bytes that results.
        config: the resolved config with its sources, if known.
        not_used: a sentence for each value that the workspace sets and the job does not use.
    """

    job: str
    source: str
    rows: dict[str, int]
    tokens: Tokens
    training: Training | None
    base: str
    sizes: Sizes | None
    memory: Memory | None
    batch: tuple[int, int]
    device: Device
    changes: tuple[tuple[str, int], ...]
    rate: float
    seconds: float
    assumptions: tuple[str, ...]
    config: compose.Resolved | None = None
    not_used: tuple[str, ...] = ()
    cluster: ClusterPlan | None = None

    @property
    def fits(self) -> bool:
        """Whether the device has enough free memory."""
        return self.memory is None or self.memory.total <= room(self.device)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values; sizes in megabytes of 2**20 bytes."""
        return {
            "job": self.job, "steps": list(JOBS[self.job]), "data": self.source,
            "rows": self.rows, "tokens": {**asdict(self.tokens), "padding": self.tokens.padding},
            "training": asdict(self.training) if self.training else None,
            "base": self.base, "sizes": asdict(self.sizes) if self.sizes else None,
            "memory": self.memory.to_dict() if self.memory else None,
            "largest_batch": {"rows": self.batch[0], "tokens_per_row": self.batch[1]},
            "device": {"kind": self.device.kind, "name": self.device.name,
                       "total_mb": megabytes(self.device.total),
                       "free_mb": megabytes(self.device.free)},
            "fits": self.fits,
            "changes": [{"set": override, "total_mb": megabytes(size),
                         "fits": size <= room(self.device)} for override, size in self.changes],
            "tokens_per_second": self.rate, "seconds": self.seconds,
            "assumptions": list(self.assumptions),
            "warnings": unusual.warnings(self.config, JOBS[self.job]) if self.config else [],
            **({"config": listing.to_dict(self.config)} if self.config else {}),
            "not_used": list(self.not_used),
            **({"cluster": self.cluster.to_dict()} if self.cluster else {}),
        }


def plan(workspace: Workspace, job: str, *requests: Mapping[str, Any], device: Device | None = None,
         machine: Machine | None = None) -> Plan:
    """Return the estimate for a job with a run's requests over the workspace's config.

    Args:
        requests: config values and overrides, as a run takes them.
        device: where the job would run; None is a GPU if there is one, else the CPU.
        machine: a machine other than this one, whose speed no run here has measured.

    Raises:
        ConfigError: with a line for every problem of keys and values, or else of base and data.
    """
    resolved = workspace.resolve(*requests)
    effects.refuse_without_effect(resolved, job)
    estimate = plan_of(workspace, job, resolved.config, device=device, machine=machine)
    champion = _champion(workspace, resolved.config) if "retraining" in JOBS[job] else None
    return replace(estimate, config=resolved,
                   not_used=tuple(effective_config.passed_over(resolved, job, champion)))


def plan_of(workspace: Workspace, job: str, config: Config, device: Device | None = None,
            machine: Machine | None = None) -> Plan:
    """Return the estimate for a job with a resolved config, as `plan` does."""
    problems: list[str] = []
    base = _attempt(problems, lambda: base_of(workspace, config))
    expected = _attempt(problems, lambda: expected_rows(
        workspace, config, job, base.tokenizer if base else None))
    training = None if expected is None else _attempt(
        problems, lambda: training_of(workspace, job, config, expected))
    if expected is not None and "tuning" in JOBS[job]:
        _attempt(problems, lambda: _check_class_weights(config, expected))
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return plan_for(workspace, job, config, base, expected, training, device, machine=machine)


def plan_for(workspace: Workspace, job: str, config: Config, base: Base, expected: Expected,
             training: Training | None, device: Device | None, *, changes: bool = True,
             machine: Machine | None = None) -> Plan:
    """Return the estimate for a job with a base, rows and a training.

    Args:
        changes: whether to look for values that make the job fit, if it does not.
        machine: a machine other than this one.
    """
    from ftzard.modeling.memory import device as available_device
    from ftzard.training import memory_estimate

    device = machine.device if machine else device or available_device()
    batches, lengths, cut = batches_of(config, training, expected)
    tokens = memory_estimate.tokens(lengths, cut, batches)
    batch = memory_estimate.largest_batch(lengths, batches)
    answers = [name for name in JOBS[job] if BY_NAME[name].models]
    sizes = memory = None
    fitting: tuple[tuple[str, int], ...] = ()
    if training or set(answers) - {"preprocessing", "inference_preprocessing"}:
        sizes, memory = needed(config, base, training, expected, batch, device.kind)
        if changes and memory.total > room(device):
            fitting = _changes(workspace, job, config, base, expected, device, memory.total)
    rate, measured = training_rate(workspace, config, sizes, device, machine)
    whole = _whole(tokens, expected, "train" if training else None)
    passes = training.trials * training.epochs if training else 0
    answered = (passes * _real(expected, "validation") if training else whole)
    answered += JUDGED * _real(expected, "test") if set(JOBS[job]) & set(JUDGING) else 0
    seconds = memory_estimate.seconds(whole * passes, answered, rate) if sizes else 0.0
    cluster = None if memory is None else cluster_plan.of(
        config, seconds=seconds, memory=memory.total,
        rows=round(expected.scale * len(expected.rows)),
        trials=training.trials if training else None)
    return Plan(
        job=job, source=expected.source,
        rows={side: expected.count(side) for side in ("train", "validation", "test")},
        tokens=tokens, training=training, base=_base_name(config), sizes=sizes, memory=memory,
        batch=batch, device=device, changes=fitting, rate=rate, seconds=seconds, cluster=cluster,
        assumptions=(*expected.assumptions, *_assumed(config, training, sizes, measured, device),
                     *([machine.assumption] if machine and sizes else [])))


def base_of(workspace: Workspace, config: Config) -> Base:
    """Return the configured base without loading its weights.

    Raises:
        ModelError: for a missing folder, a hub id without its commit, a gated base without a
            token, an architecture that cannot be read, targets that match no layer.
    """
    from ftzard.modeling import known_architectures
    from ftzard.modeling.hub import hash_weights, require_token
    from ftzard.modeling.inspection import inspect, read_config
    from ftzard.modeling.tiny_falcon import architecture
    from ftzard.modeling.tokenizer import load_tokenizer

    model = config.model
    if model.build is not None and not model_records.base_archive(workspace, model.name).is_file():
        spec = model_records.spec_at(model.name, model, config.task.kind)
        base = Base(spec, architecture(**{k: v for k, v in vars(model.build).items()
                                          if k != "seed"}), None)
    else:
        spec = model_records.base_spec(workspace, model, config.task.kind)
        here = Path(spec.source).is_dir()
        if not here:
            hash_weights(spec.source, spec.revision)
            require_token(spec)
        base = Base(spec, (None if here else known_architectures.architecture(str(spec.source)))
                    or read_config(spec),
                    load_tokenizer(spec.source, spec.revision)
                    if here or known_architectures.tokenizer_is_here(
                        str(spec.source), spec.revision) else None)
    inspect(spec, 2, base.architecture)
    return base


def training_of(workspace: Workspace, job: str, config: Config, expected: Expected
                ) -> Training | None:
    """Return the training step of a job, or None if it has none.

    Raises:
        ConfigError: for a retraining without a champion.
    """
    from ftzard.training import memory_estimate

    step = next((name for name in JOBS[job] if name in TRAINING), None)
    if step is None:
        return None
    rows, t = expected.count("train"), config.training
    if step == "tuning":
        trials, epochs = config.tuning.trials, t.epochs
        sizes, ranks = (_tried_values(config, name) for name in ("batch_size", "rank"))
        batch_size, fewest, rank = max(sizes), min(sizes), max(ranks)
    else:
        record = _champion(workspace, config)
        known, ratio = record["batches"], config.retraining.replay_ratio
        new = expected.side("train")
        new = round(expected.scale * int((~new["batch"].isin(known)).sum()))
        rows = rows if ratio is None or not new else min(rows, round(new * (1 + ratio)))
        trials, epochs = 1, config.retraining.epochs
        fewest = batch_size = record["params"]["batch_size"]
        rank = record["params"].get("rank", 0)
    return Training(step, t.method, trials, epochs, rows, batch_size, rank,
                    trials * memory_estimate.steps(rows, fewest, epochs))


def _check_class_weights(config: Config, expected: Expected) -> None:
    """Raise ModelError unless the weights name the labels, where all rows were looked at."""
    if isinstance(config.training.class_weights, dict) and expected.scale == 1:
        from ftzard.tasks.classification.objective import check_class_weights

        check_class_weights(config.training.class_weights,
                            sorted(expected.rows["label"].unique()))


def _tried_values(config: Config, name: str) -> list[Any]:
    """Return the values of a key of `training` in the trials; one trial has the configured one."""
    configured, space = getattr(config.training, name), getattr(config.tuning, name)
    return [configured] if not space or config.tuning.trials == 1 and configured in space else space


def batches_of(config: Config, training: Training | None, expected: Expected
               ) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Return (micro-batches, lengths, cut) of one pass over the rows trained on, or predicted."""
    from ftzard.modeling import batching

    rows = expected.side("train") if training else expected.rows
    lengths = rows["length"].to_numpy()
    if training is None:
        return batching.sorted_batches(lengths, 64), lengths, rows["cut"].to_numpy()
    generator = np.random.default_rng(config.seed)
    steps = batching.shuffled_batches(lengths, training.batch_size, generator)
    parts = [part for step in steps for part in batching.micro_batches(
        step, lengths, config.training.micro_batch_tokens)]
    return parts, lengths, rows["cut"].to_numpy()


def needed(config: Config, base: Base, training: Training | None, expected: Expected,
           batch: tuple[int, int], device: str) -> tuple[Sizes, Memory]:
    """Return the sizes of base and adapter, and the peak of the memory with the largest batch."""
    from ftzard.training import memory_trace

    classes = max(2, expected.rows["label"].nunique())
    t = config.training
    return memory_trace.peak(
        base.spec, base.architecture, classes, *batch, device=device,
        training=training is not None, method=t.method, rank=training.rank if training else t.rank,
        dropout=t.dropout, train_embeddings=config.model.train_embeddings,
        optimizer=t.optimizer, gradient_checkpointing=t.gradient_checkpointing,
        accumulates=training is not None and batch[0] < training.batch_size,
        keeps=training is not None and (training.epochs > 1 or t.checkpoint_steps > 0))


def room(device: Device) -> int:
    """Return the bytes of a device that a job may use."""
    return device.free - (IMPORTED if device.kind == "cpu" else 0)


def _changes(workspace: Workspace, job: str, config: Config, base: Base, expected: Expected,
             device: Device, least: int) -> tuple[tuple[str, int], ...]:
    """Return overrides that make a job fit, each applied over those before it.

    Those that leave the result as it is come first.

    Args:
        least: peak memory in bytes without changes; an override that does not lower the peak is
            left out.
    """
    from ftzard.training import memory_estimate

    applied: list[str] = []
    changes: list[tuple[str, int]] = []
    for change in _gentlest_first(config, job):
        overrides = [*(other for other in applied
                       if other.split("=")[0] != change.split("=")[0]), change]
        changed = compose.compose(compose.to_record(config), {"overrides": overrides},
                                  folder=workspace.root / "config")
        spec = model_records.spec_at(base.spec.source, changed.model, config.task.kind)
        training = training_of(workspace, job, changed, expected)
        batches, lengths, _ = batches_of(changed, training, expected)
        shorter = np.minimum(lengths, changed.model.max_length)
        memory = needed(changed, Base(spec, base.architecture, None), training, expected,
                        memory_estimate.largest_batch(shorter, batches), device.kind)[1]
        if memory.total >= least:
            continue
        applied, least = overrides, memory.total
        changes.append((change, memory.total))
        if memory.total <= room(device):
            break
    return tuple(changes)


def _gentlest_first(config: Config, job: str) -> list[str]:
    """Return overrides that lower the memory; those that leave the result as it is come first.

    Keys that the job does not read are left out, and for a retraining those of the champion's base
    and method.
    """
    fixed = ("model.", "training.method") if (
        "retraining" in JOBS[job] and config.retraining.start == "champion") else ()
    read = effects.keys_of(job, config.task.kind)
    return [change for change in _smaller(config) if change.partition("=")[0] in read
            and not (fixed and change.startswith(fixed))]


def _smaller(config: Config) -> list[str]:
    longest, bound = config.model.max_length, config.training.micro_batch_tokens
    overrides = [f"training.micro_batch_tokens={longest * n}" for n in (8, 2, 1)
             if not bound or longest * n < bound]
    if not config.training.gradient_checkpointing:
        overrides.append("training.gradient_checkpointing=true")
    if config.model.quantisation != "nf4" and config.training.method != "full":
        overrides.append("model.quantisation=nf4")
    if config.training.method == "full":
        overrides += ["training.optimizer=adamw_8bit", "training.method=lora"]
    if config.model.compute_dtype == "float32" and not config.model.train_embeddings:
        overrides.append("model.compute_dtype=bfloat16")
    if config.model.quantisation == "nf4" and not config.model.double_quantisation:
        overrides.append("model.double_quantisation=true")
    return [*overrides, f"model.max_length={max(8, longest // 2)}"]


def _champion(workspace: Workspace, config: Config) -> dict[str, Any]:
    """Return the champion's record."""
    from ftzard.tracking import registry

    tracking, name = workspace_store.store(workspace, config), config.tracking.registered_model
    if tracking is None:
        raise ConfigError(f"there is no champion of '{name}' yet, and retraining goes on from it; "
                          "run 'training_pipeline_job' first.")
    record = model_records.read_record(workspace, registry.champion(tracking, name))
    if record is None:
        raise ConfigError(f"the champion of '{name}' has no record in models/{name}; bring it "
                          "back with git.")
    return record


def _whole(tokens: Tokens, expected: Expected, side: str | None) -> int:
    return _real(expected, side) if side else round(tokens.real * expected.scale)


def _real(expected: Expected, side: str) -> int:
    return round(expected.scale * int(expected.side(side)["length"].sum()))


def _base_name(config: Config) -> str:
    model = config.model
    return model.name + (f" ({model.source})" if model.source else " (built here)")


def _assumed(config: Config, training: Training | None, sizes: Sizes | None, measured: str | None,
             device: Device) -> list[str]:
    """Return the assumptions of the memory and time estimates, as sentences."""
    from ftzard.training import memory_estimate

    if sizes is None:
        return ["no model is loaded by this job"]
    sentences = []
    if training:
        sentences.append("every trial runs all its epochs: no pruning, no early stop")
        sentences.append("peak at the end of the largest batch's forward pass, with the gradients "
                         "of the step before")
    if training and training.step == "tuning" and len(_tried_values(config, "batch_size")) > 1:
        sentences.append("memory for the largest batch size and rank of the search, steps for the "
                         "smallest batch size")
    sentences.append(f"{memory_estimate.FRAMEWORK[device.kind] >> 20} MB for the framework's own "
                     "buffers")
    sentences.append(f"the speed is that of {measured}" if measured else
                     f"{memory_estimate.SPEED[device.kind] / 1e9:.0f} GFLOP/s per "
                     f"{'thread' if device.kind == 'cpu' else 'GPU'}, until a run here has "
                     "measured it")
    sentences.append("time of training and prediction; loading and the steps' own work come on "
                     "top")
    return sentences


def megabytes(size: int) -> float:
    """Return a size in megabytes of 2**20 bytes, rounded to a tenth."""
    return round(size / (1 << 20), 1)


def _attempt(problems: list[str], call: Callable[[], Answer]) -> Answer | None:
    """Return the call's result, or None after adding its error to the problems."""
    try:
        return call()
    except FtzardError as error:
        problems += str(error).splitlines()
        return None
