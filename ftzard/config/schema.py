"""The shape of an experiment's config: which keys exist, of which type, within which limits.

The values and what they mean stand in the YAML files beside this module; here is only what makes
a mistyped key or value an error before anything runs. Fields have no defaults on purpose: there is
one place for those.
"""

from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from ftzard.errors import nearest


@dataclass
class Data:
    source: str | None
    incoming: str | None
    labelled: str | None
    mix: dict[str, float] | None
    text_column: str
    input_column: str | None
    messages_column: str | None
    ignored_columns: list[str] | None
    label_column: str
    group_column: str | None
    split_column: str
    encoding: str
    delimiter: str
    labels: dict[str, str] | None
    sample_rows: int | None
    sample_stratified: bool
    split: Literal["text", "given"]
    train_share: float
    validation_share: float
    test_share: float
    salt: str
    mention: str
    link: str
    max_characters: int
    min_rows: int
    max_rejected: float
    trust_joblib: bool


@dataclass
class Instructions:
    template: Literal["model", "alpaca", "chatml"]
    packing: bool
    score: Literal["loss", "rouge_l", "exact_match"]
    max_new_tokens: int
    generated_rows: int


@dataclass
class Task:
    kind: Literal["classification", "instruction_tuning"]
    instructions: Instructions | None


@dataclass
class Build:
    layers: int
    width: int
    heads: int
    vocabulary: int
    seed: int


@dataclass
class Model:
    name: str
    source: str | None
    revision: str | None
    build: Build | None
    gated: bool
    quantisation: Literal["none", "int8", "nf4"]
    double_quantisation: bool
    compute_dtype: Literal["float32", "bfloat16", "float16"]
    attention: Literal["sdpa", "eager", "flash_attention_2"]
    lora_targets: list[str] | None
    train_embeddings: bool
    max_length: int


@dataclass
class Training:
    method: Literal["lora", "rslora", "dora", "full"]
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"]
    micro_batch_tokens: int | None
    gradient_checkpointing: bool
    epochs: int
    learning_rate: float
    batch_size: int
    weight_decay: float
    rank: int
    alpha_ratio: float
    dropout: float
    warmup_ratio: float
    max_grad_norm: float
    patience: int
    checkpoint_steps: int


@dataclass
class Tuning:
    trials: int
    prune: bool
    metric: Literal["accuracy", "balanced_accuracy", "macro_f1", "validation_loss", "perplexity"]
    rank: list[int] | None
    batch_size: list[int] | None
    learning_rate: list[float] | None
    weight_decay: list[float] | None
    dropout: list[float] | None


@dataclass
class Sampling:
    strategy: Literal["least_confidence", "margin", "entropy", "committee", "diversity", "mix",
                      "random"]
    budget: int
    random_share: float
    audit_rows: int
    min_labelled: int


@dataclass
class Drift:
    false_alarms: float
    clearing: float


@dataclass
class Retraining:
    trigger: Literal["labels", "drift", "both"]
    start: Literal["champion", "base"]
    replay_ratio: float | None
    epochs: int
    learning_rate_ratio: float


@dataclass
class Gate:
    min_gain: float
    confidence: float
    resamples: int
    min_rows: int
    max_class_loss: float
    max_forgetting: float
    baseline_veto: bool


@dataclass
class Tracking:
    uri: str | None
    experiment: str
    registered_model: str
    mirror: list[Literal["comet"]]

    @property
    def server(self) -> str | None:
        """The address of the MLflow server that the URI names, or None if it is a database."""
        return self.uri if (self.uri or "").startswith(("http://", "https://")) else None


@dataclass
class Paths:
    cleaned: str
    rejected: str
    tokenized: str
    incoming_tokenized: str
    predictions: str
    queue: str
    min_free_mb: int


@dataclass
class Versioning:
    push: bool
    require_push: bool


@dataclass
class Config:
    """A whole experiment, resolved: what a notebook gets and what is recorded."""

    data: Data
    task: Task
    model: Model
    training: Training
    tuning: Tuning
    sampling: Sampling
    drift: Drift
    retraining: Retraining
    gate: Gate
    tracking: Tracking
    paths: Paths
    versioning: Versioning
    seed: int
    threads: int


GROUPS = tuple(f.name for f in fields(Config) if is_dataclass(f.type))
#: Keys inside a group that have keys of their own, as model.build has.
PARTS = tuple(f"{group.name}.{f.name}" for group in fields(Config) if is_dataclass(group.type)
              for f in fields(group.type)
              if any(is_dataclass(hint) for hint in (f.type, *get_args(f.type))))


def _limits(config: Config) -> list[tuple[str, Any, bool, str]]:
    """Return (key, value, holds, expectation) for every limit a type cannot express."""
    d, m, t, u, s, r, g = (config.data, config.model, config.training, config.tuning,
                           config.sampling, config.retraining, config.gate)
    shares = d.train_share + d.validation_share + d.test_share
    at_least_one = [
        ("threads", config.threads), ("data.max_characters", d.max_characters),
        ("data.min_rows", d.min_rows), ("training.epochs", t.epochs),
        ("training.batch_size", t.batch_size), ("training.rank", t.rank),
        ("training.patience", t.patience), ("tuning.trials", u.trials),
        ("sampling.budget", s.budget), ("sampling.min_labelled", s.min_labelled),
        ("retraining.epochs", r.epochs), ("gate.min_rows", g.min_rows),
    ]
    positive = [
        ("training.learning_rate", t.learning_rate), ("training.alpha_ratio", t.alpha_ratio),
        ("training.max_grad_norm", t.max_grad_norm),
        ("retraining.learning_rate_ratio", r.learning_rate_ratio),
    ]
    fractions = [
        ("data.max_rejected", d.max_rejected), ("training.dropout", t.dropout),
        ("training.warmup_ratio", t.warmup_ratio), ("gate.min_gain", g.min_gain),
        ("gate.max_class_loss", g.max_class_loss), ("gate.max_forgetting", g.max_forgetting),
        ("sampling.random_share", s.random_share),
    ]
    spaces = [(f"tuning.{k}", getattr(u, k)) for k in
              ("rank", "batch_size", "learning_rate", "weight_decay", "dropout")]
    return [
        *_limits_of_a_task(config),
        *((k, v, v >= 1, "1 or more") for k, v in at_least_one),
        *((k, v, v > 0, "above 0") for k, v in positive),
        *((k, v, 0 <= v <= 1, "between 0 and 1") for k, v in fractions),
        *((k, v, v is None or (bool(v) and min(v) >= 0), "a list of one or more numbers, or null")
          for k, v in spaces),
        *((k, v, v is None or len(v) <= 2, "one value or [low, high], or null")
          for k, v in spaces[2:]),
        ("data.sample_rows", d.sample_rows, d.sample_rows is None or d.sample_rows >= 1,
         "1 or more, or null"),
        ("data.train_share + validation_share + test_share", round(shares, 6),
         abs(shares - 1) < 1e-6 and min(d.train_share, d.validation_share, d.test_share) > 0,
         "1, each share above 0"),
        ("training.weight_decay", t.weight_decay, t.weight_decay >= 0, "0 or more"),
        ("model.max_length", config.model.max_length, config.model.max_length >= 8, "8 or more"),
        ("model.lora_targets", m.lora_targets, m.lora_targets is None or bool(m.lora_targets),
         "at least one layer name, or null for all linear layers"),
        ("training.method", t.method, t.method != "full" or m.quantisation == "none",
         f"lora, rslora or dora on a base in {m.quantisation}, whose weights cannot be trained; or "
         "set model.quantisation=none"),
        ("training.method", t.method, t.method != "full" or m.compute_dtype == "float32",
         f"lora, rslora or dora with model.compute_dtype={m.compute_dtype}, in which small steps "
         "are lost to rounding; or set model.compute_dtype=float32"),
        ("model.train_embeddings", m.train_embeddings,
         not m.train_embeddings or m.compute_dtype == "float32" or t.method == "full",
         f"false with model.compute_dtype={m.compute_dtype}, in which small steps are lost to "
         "rounding"),
        ("model.attention", m.attention,
         m.attention != "flash_attention_2" or m.compute_dtype != "float32",
         "sdpa or eager with model.compute_dtype=float32"),
        ("training.micro_batch_tokens", t.micro_batch_tokens,
         not t.micro_batch_tokens or t.micro_batch_tokens >= m.max_length,
         f"null, or at least model.max_length ({m.max_length}), so that every row fits"),
        ("model.source", config.model.source,
         (config.model.source is None) == (config.model.build is not None),
         "a hub id or folder, or null together with model.build"),
        ("sampling.audit_rows", s.audit_rows, s.audit_rows >= 0, "0 or more"),
        ("retraining.replay_ratio", r.replay_ratio,
         r.replay_ratio is None or r.replay_ratio >= 0, "0 or more, or null"),
        ("drift.false_alarms", config.drift.false_alarms, 0.0025 <= config.drift.false_alarms < 0.5,
         "between 0.0025 and 0.5"),
        ("drift.clearing", config.drift.clearing,
         config.drift.false_alarms < config.drift.clearing < 1,
         "above drift.false_alarms and below 1"),
        ("gate.confidence", g.confidence, 0.5 < g.confidence < 1, "between 0.5 and 1"),
        ("gate.resamples", g.resamples, g.resamples >= 200, "200 or more"),
        ("tracking.experiment", config.tracking.experiment,
         0 < len(config.tracking.experiment.strip()) and len(config.tracking.experiment) <= 500
         and config.tracking.experiment.isprintable(), "1 to 500 characters in one line"),
        ("tracking.registered_model", config.tracking.registered_model,
         bool(config.tracking.registered_model)
         and config.tracking.registered_model.replace("_", "").replace("-", "").isalnum(),
         "letters, digits, '_' and '-'"),
        *((f"paths.{f.name}", getattr(config.paths, f.name),
           _inside(getattr(config.paths, f.name))
           and not set("{}") & set(getattr(config.paths, f.name).replace(
               "{batch}" if f.name == "queue" else "", ""))
           and getattr(config.paths, f.name).endswith(f".{_format(f.name)}"),
           f"a path inside the workspace that ends in .{_format(f.name)}, without braces"
           + (" but those of {batch}" if f.name == "queue" else ""))
          for f in fields(Paths) if f.type is str),
        ("paths.min_free_mb", config.paths.min_free_mb, config.paths.min_free_mb >= 0,
         "0 or more"),
    ]


def _limits_of_a_task(config: Config) -> list[tuple[str, Any, bool, str]]:
    """Return, as `_limits` does, what one kind of task needs of the other groups."""
    d, u, s, told = config.data, config.tuning, config.sampling, config.task.instructions
    kind = f"task={config.task.kind}"
    found = [("data.mix", d.mix, d.mix is None or len(d.mix) > 0 and min(d.mix.values()) > 0,
              "one or more sources, each with a weight above 0, or null"),
             ("data.source", d.source, d.source is None or d.mix is None,
              "null beside data.mix, which names the sources")]
    if config.task.kind == "classification":
        return [*found,
                ("task.instructions", told, told is None, f"null with {kind}"),
                ("tuning.metric", u.metric, u.metric != "perplexity",
                 f"a metric of {kind}, such as accuracy"),
                *((f"data.{k}", getattr(d, k), getattr(d, k) is None, f"null with {kind}")
                  for k in ("input_column", "messages_column", "ignored_columns"))]
    return [
        *found,
        ("task.instructions", told, told is not None, f"its keys with {kind}"),
        *((f"task.instructions.{k}", getattr(told, k), getattr(told, k) >= 1, "1 or more")
          for k in ("max_new_tokens", "generated_rows") if told is not None),
        *(("task.instructions.generated_rows", t.generated_rows,
           t.score == "loss" or t.generated_rows >= config.gate.min_rows,
           f"gate.min_rows ({config.gate.min_rows}) or more: {t.score} is measured on these rows")
          for t in (told,) if t is not None),
        ("tuning.metric", u.metric, u.metric in ("validation_loss", "perplexity"),
         f"validation_loss or perplexity with {kind}"),
        ("sampling.strategy", s.strategy, s.strategy in ("least_confidence", "mix", "random"),
         f"least_confidence, mix or random with {kind}, since the others rank by classes"),
        ("data.ignored_columns", d.ignored_columns, not set(d.ignored_columns or ()) & {
            d.text_column, d.input_column, d.messages_column, d.label_column},
         "columns that no other key names"),
        ("data.labels", d.labels, d.labels is None, f"null with {kind}: an answer is free text"),
        ("data.sample_stratified", d.sample_stratified, not d.sample_stratified or
         d.sample_rows is None, f"false with {kind}: there are no labels to keep the shares of"),
    ]


def _format(artifact: str) -> str:
    return "csv" if artifact == "queue" else "parquet"


def _inside(path: str) -> bool:
    return bool(path) and not path.startswith(("/", "~")) and ".." not in path.split("/")


def problems(config: Config) -> list[str]:
    """Return one sentence for every limit that the config breaks."""
    return [f"{key} is {value!r}; expected {expected}."
            for key, value, holds, expected in _limits(config) if not holds]


def parse(hint: Any, value: Any, key: str, found: list[str]) -> Any:
    """Return `value` as the type `hint`, or add a sentence to `found` for every misfit in it."""
    if is_dataclass(hint):
        if not isinstance(value, dict):
            found.append(f"{key or 'config'} is {value!r}; expected a group of keys.")
            return None
        known = {f.name: f.type for f in fields(hint)}
        for name in value:
            if name not in known:
                found.append(f"unknown key '{_join(key, name)}'{nearest(name, known)}")
        for name in known:
            if name not in value:
                found.append(f"key '{_join(key, name)}' is missing.")
        return hint(**{name: parse(kind, value[name], _join(key, name), found)
                       if name in value else None for name, kind in known.items()})
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        if value is None and NoneType in arguments:
            return None
        return parse(next(a for a in arguments if a is not NoneType), value, key, found)
    if origin is Literal:
        if value not in arguments:
            found.append(f"{key} is {value!r}{nearest(value, arguments)}")
        return value
    if origin is list:
        values = value if isinstance(value, (list, tuple)) else [value]
        return [parse(arguments[0], v, f"{key}[{i}]", found) for i, v in enumerate(values)]
    if origin is dict:
        if not isinstance(value, dict):
            found.append(f"{key} is {value!r}; expected a map.")
            return None
        return {str(k): parse(arguments[1], v, f"{key}.{k}", found) for k, v in value.items()}
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        found.append(f"{key} is {value!r} ({type(value).__name__}); expected {hint.__name__}.")
    return value


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else str(name)
