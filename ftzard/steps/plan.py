"""What a job would take, told before anything loads: rows, tokens, steps, memory and time.

No weight is read and nothing is written. The base is looked at on the meta device, where layers
have shapes and no memory; whatever cannot be known beforehand is an assumption, and is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ftzard.config import compose, effects, listing, unusual
from ftzard.config.pipeline import BY_NAME, JOBS
from ftzard.config.schema import Config
from ftzard.errors import ConfigError, FtzardError
from ftzard.registry import effective_config, model_records
from ftzard.steps.plan_rows import Expected, expected_rows
from ftzard.tracking import workspace_store
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    from ftzard.modeling.memory import Device
    from ftzard.modeling.spec import BaseSpec
    from ftzard.steps.machine import Machine
    from ftzard.training.memory_estimate import Memory, Sizes, Tokens

TRAINING = ("tuning", "retraining")
JUDGING = ("choosing", "evaluation")
#: Models that answer all test rows when one is judged: challenger, champion, bare base.
JUDGED = 3
#: What a process needs on the CPU beside what is estimated: the imported libraries.
IMPORTED = 700 << 20
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Base:
    """What is known of the base: how it will be loaded, its architecture, its tokenizer if here."""

    spec: BaseSpec
    architecture: object
    tokenizer: object | None


@dataclass(frozen=True)
class Training:
    """A training step as the config says: what is trained how often on how many rows."""

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
    """What a job would take.

    rows: by side; tokens: of one pass over the rows it trains on, or answers; batch: rows and
    tokens per row of the one that needs most memory; rate: tokens per second of training; changes:
    config values that make it fit, each with the peak after it and those before it, in bytes;
    config: the values it was reckoned with and their sources, where they are known; not_used: a
    sentence for each value that the workspace sets and the job passes over.
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

    @property
    def fits(self) -> bool:
        """Whether the device has that much memory free."""
        return self.memory is None or self.memory.total <= room(self.device)

    def to_dict(self) -> dict:
        """Return the plan as plain values; sizes in megabytes of 2**20 bytes."""
        return {
            "job": self.job, "steps": list(JOBS[self.job]), "data": self.source,
            "rows": self.rows, "tokens": {**asdict(self.tokens), "padding": self.tokens.padding},
            "training": asdict(self.training) if self.training else None,
            "base": self.base, "sizes": asdict(self.sizes) if self.sizes else None,
            "memory": self.memory.to_dict() if self.memory else None,
            "largest_batch": {"rows": self.batch[0], "tokens_per_row": self.batch[1]},
            "device": {"kind": self.device.kind, "name": self.device.name,
                       "total_mb": _mb(self.device.total), "free_mb": _mb(self.device.free)},
            "fits": self.fits,
            "changes": [{"set": said, "total_mb": _mb(size), "fits": size <= room(self.device)}
                        for said, size in self.changes],
            "tokens_per_second": self.rate, "seconds": self.seconds,
            "assumptions": list(self.assumptions),
            "warnings": unusual.warnings(self.config, JOBS[self.job]) if self.config else [],
            **({"config": listing.to_dict(self.config)} if self.config else {}),
            "not_used": list(self.not_used),
        }


def plan(workspace: Workspace, job: str, *requests: Mapping, device: Device | None = None,
         machine: Machine | None = None) -> Plan:
    """Return what a job would take with a run's requests over the workspace's config.

    device: where it would run; None looks for a GPU, else takes this machine. machine: another one,
    whose speed no run here has measured. Raises ConfigError with a line for everything that is
    wrong: keys and values, or else the base and the data.
    """
    resolved = workspace.resolve(*requests)
    effects.refuse_without_effect(resolved, job)
    told = plan_of(workspace, job, resolved.config, device=device, machine=machine)
    champion = _champion(workspace, resolved.config) if "retraining" in JOBS[job] else None
    return replace(told, config=resolved,
                   not_used=tuple(effective_config.passed_over(resolved, job, champion)))


def plan_of(workspace: Workspace, job: str, config: Config, device: Device | None = None,
            machine: Machine | None = None) -> Plan:
    """Return what a job would take with a config that is resolved already, as `plan` does."""
    wrong: list[str] = []
    base = _tried(wrong, lambda: base_of(workspace, config))
    expected = _tried(wrong, lambda: expected_rows(
        workspace, config, job, base.tokenizer if base else None))
    training = None if expected is None else _tried(
        wrong, lambda: training_of(workspace, job, config, expected))
    if expected is not None and "tuning" in JOBS[job]:
        _tried(wrong, lambda: _check_class_weights(config, expected))
    if wrong:
        raise ConfigError("\n".join(dict.fromkeys(wrong)))
    return plan_for(workspace, job, config, base, expected, training, device, machine=machine)


def plan_for(workspace: Workspace, job: str, config: Config, base: Base, expected: Expected,
             training: Training | None, device: Device | None, *, changes: bool = True,
             machine: Machine | None = None) -> Plan:
    """Return the plan of a job for a base, rows and a training that are known.

    changes: look for values that make it fit, if it does not; machine: another one than this.
    """
    from ftzard.modeling.memory import device as found
    from ftzard.training import memory_estimate

    device = machine.device if machine else device or found()
    batches, lengths, cut = batches_of(config, training, expected)
    tokens = memory_estimate.tokens(lengths, cut, batches)
    batch = memory_estimate.largest_batch(lengths, batches)
    answers = [name for name in JOBS[job] if BY_NAME[name].models]
    sizes = memory = None
    mended: tuple[tuple[str, int], ...] = ()
    if training or set(answers) - {"preprocessing", "inference_preprocessing"}:
        sizes, memory = needed(config, base, training, expected, batch, device.kind)
        if changes and memory.total > room(device):
            mended = _changes(workspace, job, config, base, expected, device, memory.total)
    rate, measured = _rate(workspace, config, sizes, device, machine)
    whole = _whole(tokens, expected, "train" if training else None)
    passes = training.trials * training.epochs if training else 0
    answered = (passes * _real(expected, "validation") if training else whole)
    answered += JUDGED * _real(expected, "test") if set(JOBS[job]) & set(JUDGING) else 0
    seconds = memory_estimate.seconds(whole * passes, answered, rate) if sizes else 0.0
    return Plan(
        job=job, source=expected.source,
        rows={side: expected.count(side) for side in ("train", "validation", "test")},
        tokens=tokens, training=training, base=_said(config, sizes), sizes=sizes, memory=memory,
        batch=batch, device=device, changes=mended, rate=rate, seconds=seconds,
        assumptions=(*expected.assumptions, *_assumed(config, training, sizes, measured, device),
                     *([machine.told] if machine and sizes else [])))


def base_of(workspace: Workspace, config: Config) -> Base:
    """Return what is known of the base without loading it.

    Raises ModelError for a folder that is not there, a hub id without its commit, a gated base
    without a token, an architecture that cannot be had, targets that match no layer.
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
                    if here or known_architectures.tokenizer_is_here(str(spec.source), spec.revision) else None)
    inspect(spec, 2, base.architecture)
    return base


def training_of(workspace: Workspace, job: str, config: Config, expected: Expected
                ) -> Training | None:
    """Return the training step of a job, or None if it has none.

    Raises TrackingError for a retraining without a champion.
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


def _tried_values(config: Config, name: str) -> list:
    """Return what a value of `training` may be in the trials; a single trial has the given one."""
    given, space = getattr(config.training, name), getattr(config.tuning, name)
    return [given] if not space or config.tuning.trials == 1 and given in space else space


def batches_of(config: Config, training: Training | None, expected: Expected
               ) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Return (micro-batches, lengths, cut) of one pass over what is trained on, or answered."""
    from ftzard.modeling import batching

    rows = expected.side("train") if training else expected.rows
    lengths = rows["length"].to_numpy()
    if training is None:
        return batching.sorted_batches(lengths, 64), lengths, rows["cut"].to_numpy()
    drawn = np.random.default_rng(config.seed)
    steps = batching.shuffled_batches(lengths, training.batch_size, drawn)
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
    """Return the bytes that a job may take on a device."""
    return device.free - (IMPORTED if device.kind == "cpu" else 0)


def _changes(workspace: Workspace, job: str, config: Config, base: Base, expected: Expected,
             device: Device, least: int) -> tuple[tuple[str, int], ...]:
    """Return the values that make a job fit, gentlest first, each over those before it.

    least: bytes that it takes as it is; a value that takes no less than that is left out.
    """
    from ftzard.training import memory_estimate

    said: list[str] = []
    found: list[tuple[str, int]] = []
    for change in _gentlest_first(config, job):
        tried = [*(s for s in said if s.split("=")[0] != change.split("=")[0]), change]
        changed = compose.compose(compose.to_record(config), {"overrides": tried},
                                  folder=workspace.root / "config")
        spec = model_records.spec_at(base.spec.source, changed.model, config.task.kind)
        training = training_of(workspace, job, changed, expected)
        batches, lengths, _ = batches_of(changed, training, expected)
        shorter = np.minimum(lengths, changed.model.max_length)
        memory = needed(changed, Base(spec, base.architecture, None), training, expected,
                        memory_estimate.largest_batch(shorter, batches), device.kind)[1]
        if memory.total >= least:
            continue
        said, least = tried, memory.total
        found.append((change, memory.total))
        if memory.total <= room(device):
            break
    return tuple(found)


def _gentlest_first(config: Config, job: str) -> list[str]:
    """Return overrides that take less memory: first those that leave the result as it is.

    Only what the job reads; a champion's base and method are what they are.
    """
    kept = ("model.", "training.method") if (
        "retraining" in JOBS[job] and config.retraining.start == "champion") else ()
    read = effects.keys_of(job, config.task.kind)
    return [change for change in _smaller(config) if change.partition("=")[0] in read
            and not (kept and change.startswith(kept))]


def _smaller(config: Config) -> list[str]:
    longest, bound = config.model.max_length, config.training.micro_batch_tokens
    found = [f"training.micro_batch_tokens={longest * n}" for n in (8, 2, 1)
             if not bound or longest * n < bound]
    if not config.training.gradient_checkpointing:
        found.append("training.gradient_checkpointing=true")
    if config.model.quantisation != "nf4" and config.training.method != "full":
        found.append("model.quantisation=nf4")
    if config.training.method == "full":
        found += ["training.optimizer=adamw_8bit", "training.method=lora"]
    if config.model.compute_dtype == "float32" and not config.model.train_embeddings:
        found.append("model.compute_dtype=bfloat16")
    if config.model.quantisation == "nf4" and not config.model.double_quantisation:
        found.append("model.double_quantisation=true")
    return [*found, f"model.max_length={max(8, longest // 2)}"]


def _champion(workspace: Workspace, config: Config) -> dict:
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


def _rate(workspace: Workspace, config: Config, sizes: Sizes | None, device: Device,
          machine: Machine | None) -> tuple[float, str | None]:
    """Return tokens per second of training, and the run that measured them, if one did.

    What was measured here says nothing about another machine.
    """
    from ftzard.training import memory_estimate

    measured = _measured(workspace, config) if machine is None else None
    if measured is not None:
        return measured
    threads = machine.threads if machine and machine.threads else config.threads
    return memory_estimate.default_rate(sizes.computing if sizes else 0, device.kind, threads), None


def _measured(workspace: Workspace, config: Config) -> tuple[float, str] | None:
    """Return what the latest training of the same base in the same storage has reached."""
    tracking = workspace_store.store(workspace, config)
    if tracking is None:
        return None
    from ftzard.tracking import runs

    alike = {"model.name": config.model.name, "model.quantisation": config.model.quantisation,
             "model.compute_dtype": config.model.compute_dtype, "threads": str(config.threads)}
    for step in TRAINING:
        for run in runs.children(tracking, BY_NAME[step].run_name, status="FINISHED"):
            if any(run.data.params.get(key) != value for key, value in alike.items()):
                continue
            trials = runs.children(tracking, level=runs.TRIAL, parent=run.info.run_id)
            found = [r.data.metrics["tokens_per_second"] for r in (*trials, run)
                     if "tokens_per_second" in r.data.metrics]
            if found:
                return float(np.median(found)), runs.title(run)
    return None


def _whole(tokens: Tokens, expected: Expected, side: str | None) -> int:
    return _real(expected, side) if side else round(tokens.real * expected.scale)


def _real(expected: Expected, side: str) -> int:
    return round(expected.scale * int(expected.side(side)["length"].sum()))


def _said(config: Config, sizes: Sizes | None) -> str:
    model = config.model
    return model.name + (f" ({model.source})" if model.source else " (built here)")


def _assumed(config: Config, training: Training | None, sizes: Sizes | None, measured: str | None,
             device: Device) -> list[str]:
    """Return what the memory and the time were reckoned with, as sentences."""
    from ftzard.training import memory_estimate

    if sizes is None:
        return ["no model is loaded by this job"]
    said = []
    if training:
        said.append("every trial runs all its epochs: no pruning, no early stop")
        said.append("peak at the end of the largest batch's forward pass, with the gradients of "
                    "the step before")
    if training and training.step == "tuning" and len(_tried_values(config, "batch_size")) > 1:
        said.append("memory for the largest batch size and rank of the search, steps for the "
                    "smallest batch size")
    said.append(f"{memory_estimate.FRAMEWORK[device.kind] >> 20} MB for the framework's own buffers")
    said.append(f"the speed is that of {measured}" if measured else
                f"{memory_estimate.SPEED[device.kind] / 1e9:.0f} GFLOP/s per "
                f"{'thread' if device.kind == 'cpu' else 'GPU'}, until a run here has measured it")
    said.append("time of training and prediction; loading and the steps' own work come on top")
    return said


def lines(told: Plan) -> list[str]:
    """Return the plan as a person reads it."""
    rows = ", ".join(f"{count:,} {side}" for side, count in told.rows.items() if count)
    t, said = told.tokens, [f"{told.job}: {', '.join(JOBS[told.job])}"]
    said.append(f"rows      {rows}; from {told.source}")
    said.append(f"tokens    {t.real:,} in a pass, {t.padded:,} with padding ({t.padding:.1%}); "
                f"{t.cut:,} cut from {t.rows_cut:,} rows")
    if told.config:
        said += [f"warning   {line}" for line in unusual.warnings(told.config, JOBS[told.job])]
        read = effects.keys_of(told.job, told.config.config.task.kind) - {
            line.partition("=")[0] for line in told.not_used}
        for key, value, source in listing.not_default(told.config, read):
            said.append(f"config    {f'{key}={value}':<44}  {source}")
        said.append("          every other value it reads is a default; 'ftzard config' shows all")
    said += [f"not used  {line.replace(' is not used', '', 1)}" for line in told.not_used]
    if told.sizes is None:
        return [*said, *(f"assumed   {line}" for line in told.assumptions)]
    quantised = f", {told.sizes.quantised} layers quantised" if told.sizes.quantised else ""
    said.append(f"base      {told.base}: {told.sizes.parameters:,} parameters{quantised}")
    if told.training:
        one = told.training
        rank = "" if one.method == "full" else f", rank {one.rank}"
        said.append(f"trains    {told.sizes.trainable:,} parameters ({one.method}{rank})")
        said.append(f"steps     {one.steps:,} in {one.step}: {one.trials} × {one.epochs} epochs of "
                    f"{one.rows:,} rows, {one.batch_size} a step")
    parts = told.memory.to_dict()
    total = parts.pop("total_mb")
    shares = ", ".join(f"{name.removesuffix('_mb')} {size:,.0f}" for name, size in parts.items()
                       if size >= 0.5)
    said.append(f"memory    {total:,.0f} MB at the peak: {shares}")
    said.append(f"          largest batch {told.batch[0]} rows of {told.batch[1]} tokens")
    free = f"{_mb(room(told.device)):,.0f} MB are free on {told.device.name}"
    said.append(f"fits      {'yes' if told.fits else 'NO'}: {free}")
    for change, size in told.changes:
        said.append(f"          {change:<36} {_mb(size):,.0f} MB"
                    + (", fits" if size <= room(told.device) else ""))
    if told.changes and told.changes[-1][1] > room(told.device):
        said.append("          nothing here makes it fit: take a smaller base or a larger device")
    said.append(f"time      about {clock(told.seconds)} at {told.rate:,.0f} tokens/s")
    return [*said, *(f"assumed   {line}" for line in told.assumptions)]


def clock(seconds: float) -> str:
    """Return a time as a person reads it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _mb(size: int) -> float:
    return round(size / (1 << 20), 1)


def _tried(wrong: list[str], ask: Callable[[], Answer]) -> Answer | None:
    """Return an answer, or note why there is none and return None."""
    try:
        return ask()
    except FtzardError as error:
        wrong += str(error).splitlines()
        return None
