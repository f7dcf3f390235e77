"""The shape of an experiment's config: which keys exist, of which type, within which limits.

The values and what they mean stand in the YAML files beside this module; here is only what makes
a mistyped key or value an error before anything runs. Fields have no defaults on purpose: there is
one place for those.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin

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
    quoting: Literal["csv", "none"]
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
    clean: str | None
    max_characters: int
    min_rows: int
    max_rejected: float
    trust_joblib: bool

    @property
    def cleaning(self) -> dict[str, Any]:
        """How texts are cleaned, but for a function of the workspace's own."""
        return {"mention": self.mention, "link": self.link, "max_characters": self.max_characters}

    @property
    def split_ratio(self) -> dict[str, float]:
        """The share of each split."""
        return {"train": self.train_share, "validation": self.validation_share,
                "test": self.test_share}


@dataclass
class Instructions:
    template: Literal["model", "alpaca", "chatml"]
    packing: bool
    score: Literal["loss", "rouge_l", "exact_match"]
    max_new_tokens: int
    generated_rows: int


#: The task of a workspace whose ftzard.yaml names none.
DEFAULT_TASK = "classification"


@dataclass
class Task:
    kind: Literal["classification", "multi_label", "instruction_tuning"]
    instructions: Instructions | None
    abstain_below: float | None


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
    class_weights: Literal["balanced"] | dict[str, float] | None
    learning_rate_range: list[float] | None
    allow_unusual: bool
    checkpoint_steps: int


@dataclass
class Tuning:
    trials: int
    prune: bool
    metric: Literal["accuracy", "balanced_accuracy", "micro_f1", "macro_f1", "samples_f1",
                    "subset_accuracy", "calibrated_loss", "validation_loss", "perplexity"]
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
    quantile: float | None
    random_share: float
    audit_rows: int
    show_suggestions: Literal["never", "after", "before"]
    overlap: float
    min_labelled: int


@dataclass
class Drift:
    false_alarms: float
    clearing: float
    estimate_accuracy: bool


@dataclass
class Retraining:
    trigger: Literal["labels", "drift", "both", "accuracy"]
    min_accuracy: float | None
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
    first_baseline_margin: float
    first_calibration_error: float
    trial: bool
    error_budget: float | None
    rounds: int


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
class Notify:
    events: list[Literal["verdict", "alarm", "refused", "failed", "waiting", "too_few"]]
    row_texts: bool


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
class Compute:
    kind: Literal["local", "ray"]
    address: str | None
    storage: str | None
    parallel: int
    cpus: int | None
    gpus: int
    accelerator: str | None
    memory_mb: int | None
    env: list[str] | None
    python: str
    max_failures: int
    queue_seconds: int


@dataclass
class Config:
    """A resolved experiment: what a notebook gets and what is recorded."""

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
    notify: Notify
    compute: Compute
    seed: int
    threads: int
    metrics: list[str] | None


#: The values of `training` that `tuning` may search, under the same names.
SEARCHED = ("rank", "batch_size", "learning_rate", "weight_decay", "dropout")
GROUPS = tuple(f.name for f in fields(Config) if is_dataclass(f.type))
#: Keys whose values are maps with keys of a user's own.
MAPS = ("data.labels", "data.mix", "training.class_weights")
#: Keys inside a group that have keys of their own, as model.build has.
PARTS = tuple(f"{group.name}.{f.name}" for group in fields(Config) if is_dataclass(group.type)
              for f in fields(group.type)
              if any(is_dataclass(hint) for hint in (f.type, *get_args(f.type))))


def hint_of(key: str) -> object | None:
    """Return the type of a dotted key's value, or None for an unknown key."""
    hint: object = Config
    for part in key.split("."):
        inner = next((h for h in (hint, *get_args(hint)) if is_dataclass(h)), None)
        if inner is not None:
            hint = {f.name: f.type for f in fields(inner)}.get(part)
        elif is_map(hint):
            mapped = next(h for h in (hint, *get_args(hint)) if get_origin(h) is dict)
            hint = get_args(mapped)[1]
        else:
            hint = None
        if hint is None:
            return None
    return hint


def is_map(hint: object) -> bool:
    """Return whether a value of this type may be a map."""
    return any(is_dataclass(h) or get_origin(h) is dict for h in (hint, *get_args(hint)))


def parse(hint: Any, value: Any, key: str, errors: list[str]) -> Any:
    """Return `value` as the type `hint`, or add a sentence to `errors` for every misfit in it."""
    if is_dataclass(hint):
        if not isinstance(value, dict):
            errors.append(f"{key or 'config'} is {value!r}; expected a group of keys.")
            return None
        known = {f.name: f.type for f in fields(hint)}
        for name in value:
            if name not in known:
                errors.append(f"unknown key '{_join(key, name)}'{nearest(name, known)}")
        for name in known:
            if name not in value:
                errors.append(f"key '{_join(key, name)}' is missing.")
        build = cast(Callable[..., Any], hint)
        return build(**{name: parse(kind, value[name], _join(key, name), errors)
                        if name in value else None for name, kind in known.items()})
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        others = [a for a in arguments if a is not NoneType]
        is_map = [a for a in others if get_origin(a) is dict]
        return parse((is_map if isinstance(value, dict) and is_map else others)[0], value, key,
                     errors)
    if origin is Literal:
        if value not in arguments:
            errors.append(f"{key} is {value!r}{nearest(value, arguments)}")
        return value
    if origin is list:
        values = value if isinstance(value, (list, tuple)) else [value]
        return [parse(arguments[0], v, f"{key}[{i}]", errors) for i, v in enumerate(values)]
    if origin is dict:
        if not isinstance(value, dict):
            errors.append(f"{key} is {value!r}; expected a map.")
            return None
        return {str(k): parse(arguments[1], v, f"{key}.{k}", errors) for k, v in value.items()}
    if hint is float and type(value) is int:
        return float(value)
    if hint in _WRITTEN and isinstance(value, str):
        value = _WRITTEN[hint](value)
    if type(value) is not hint:
        quotes = "; put it in quotes" if hint is str and value is not None else ""
        errors.append(
            f"{key} is {value!r} ({type(value).__name__}); expected {hint.__name__}{quotes}.")
    return value


def _as_bool(text: str) -> bool | str:
    """Return text that YAML 1.1 takes for a boolean as one; other text unchanged."""
    known = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    return known.get(text.lower(), text)


def _as_int(text: str) -> int | str:
    """Return a number with separated thousands, as 1_000, as a number; other text unchanged."""
    return int(text) if re.fullmatch(r"[-+]?[1-9]\d{0,2}(_\d{3})+", text) else text


#: Text that is a value of another type all the same.
_WRITTEN = {bool: _as_bool, int: _as_int}


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else str(name)
