"""The limits of a config's values that a type cannot express, as the YAML files document them.

`RANGES` holds what a number may be; what one value asks of another, and what a text may be, stands
in the functions below it.
"""

import codecs
import math
import re
import string
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import PurePosixPath
from typing import Any

from ftzard.config import compute_limits
from ftzard.config.schema import GROUPS, SEARCHED, Config, Paths, Tuning, hint_of
from ftzard.core import custom_functions

#: Largest whole number where no smaller limit is given: what every library here can count with.
LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Range:
    """What a number may be; an end that is open does not belong to it."""

    low: float
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: float) -> bool:
        return (value > self.low if self.low_open else value >= self.low) and (
            value < self.high if self.high_open else value <= self.high) and math.isfinite(value)

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"above {self.low:g}" if self.low_open else f"{self.low:g} or more"
        if not (self.low_open or self.high_open):
            return f"{_shown(self.low)} to {_shown(self.high)}"
        low = f"above {self.low:g}" if self.low_open else f"{self.low:g} or more"
        high = f"below {self.high:g}" if self.high_open else f"at most {self.high:g}"
        return f"{low} and {high}"


def _shown(end: float) -> str:
    return str(end) if isinstance(end, int) else f"{end:g}"


_POSITIVE, _COUNT, _NONE_OR_MORE = Range(0, low_open=True), Range(1), Range(0)
_SHARE, _BELOW_ONE = Range(0, 1), Range(0, 1, high_open=True)
_WITHIN = Range(0, 1, low_open=True, high_open=True)

#: What the number of a key may be, or each number of its list.
RANGES = {
    "seed": Range(0, 2**32 - 1),
    "threads": Range(1, 1024),
    "data.sample_rows": _COUNT,
    "data.train_share": _WITHIN,
    "data.validation_share": _WITHIN,
    "data.test_share": _WITHIN,
    "data.max_characters": _COUNT,
    "data.min_rows": _COUNT,
    "data.max_rejected": _SHARE,
    "task.abstain_below": _SHARE,
    "task.instructions.max_new_tokens": _COUNT,
    "task.instructions.generated_rows": _COUNT,
    "model.build.layers": _COUNT,
    "model.build.width": _COUNT,
    "model.build.heads": _COUNT,
    "model.build.vocabulary": Range(258),
    "model.build.seed": Range(0, 2**32 - 1),
    "model.max_length": Range(8),
    "training.micro_batch_tokens": _COUNT,
    "training.epochs": _COUNT,
    "training.learning_rate": _POSITIVE,
    "training.batch_size": _COUNT,
    "training.weight_decay": _NONE_OR_MORE,
    "training.rank": _COUNT,
    "training.alpha_ratio": _POSITIVE,
    "training.dropout": _BELOW_ONE,
    "training.warmup_ratio": _BELOW_ONE,
    "training.max_grad_norm": _POSITIVE,
    "training.patience": _COUNT,
    "training.class_weights": _POSITIVE,
    "training.learning_rate_range": _POSITIVE,
    "training.checkpoint_steps": _NONE_OR_MORE,
    "tuning.trials": _COUNT,
    "tuning.rank": _COUNT,
    "tuning.batch_size": _COUNT,
    "tuning.learning_rate": _POSITIVE,
    "tuning.weight_decay": _NONE_OR_MORE,
    "tuning.dropout": _BELOW_ONE,
    "sampling.budget": _COUNT,
    "sampling.quantile": _WITHIN,
    "sampling.random_share": _SHARE,
    "sampling.audit_rows": _NONE_OR_MORE,
    "sampling.overlap": _SHARE,
    "sampling.min_labelled": _COUNT,
    "drift.false_alarms": Range(0.0025, 0.5, high_open=True),
    "drift.clearing": _WITHIN,
    "retraining.replay_ratio": _NONE_OR_MORE,
    "retraining.epochs": _COUNT,
    "retraining.min_accuracy": _SHARE,
    # A champion within its preset's range then stays within unusual.FACTOR times of it.
    "retraining.learning_rate_ratio": Range(0, 10, low_open=True),
    "gate.min_gain": _SHARE,
    "gate.confidence": Range(0.5, 1, low_open=True, high_open=True),
    "gate.resamples": Range(200),
    "gate.min_rows": _COUNT,
    "gate.max_class_loss": _SHARE,
    "gate.max_forgetting": _SHARE,
    "gate.first_baseline_margin": _SHARE,
    "gate.first_calibration_error": _SHARE,
    "gate.error_budget": Range(0, 0.5, low_open=True, high_open=True),
    "gate.rounds": Range(1, 10_000),
    "paths.min_free_mb": _NONE_OR_MORE,
    "compute.parallel": _COUNT,
    "compute.cpus": _COUNT,
    "compute.gpus": _NONE_OR_MORE,
    "compute.memory_mb": _COUNT,
    "compute.max_failures": _NONE_OR_MORE,
    "compute.queue_seconds": _COUNT,
}

#: Texts that may be empty: what stands for a mention or a link may be nothing at all.
_MAY_BE_EMPTY = ("data.mention", "data.link")
#: Searched as [low, high]; the other spaces are lists of values.
_INTERVALS = ("learning_rate", "weight_decay", "dropout")
#: Folders that are not the artifacts': git's, DVC's and FTzard's own, and what people put in.
_RESERVED = (".git", ".dvc", ".ftzard", "notebooks", "config", "custom", "models", "data/raw",
             "data/incoming", "data/labelled", "data/quarantine", "data/raw_incoming")
#: Files of a workspace, so that no folder can have their names.
_FILES = ("ftzard.yaml", ".env", ".gitignore", ".gitattributes", ".dvcignore", "data/.gitignore")
#: Encodings of Python that are no text files', or that change what any text says.
_NO_ENCODINGS = ("idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape")
#: What MLflow takes as a store: a server, or a database, which may name its driver.
_STORE = re.compile(r"(https?|databricks(-uc)?|(sqlite|postgresql|mysql|mssql)(\+\w+)?)://.+|"
                    r"databricks(-uc)?", re.S)


def problems(config: Config) -> list[str]:
    """Return one sentence for every limit that the config breaks."""
    pairs = list(_numbers_and_texts(config))
    broken = {key for key, _ in pairs}
    pairs += [(key, f"{value!r}; expected {expected}.")
              for key, value, holds, expected in _limits(config) if key not in broken and not holds]
    return [f"{key} is {sentence}" for key, sentence in pairs]


def _numbers_and_texts(config: Config) -> Iterator[tuple[str, str]]:
    """Yield (key, sentence) for every single value that is out of its range, empty or unreadable.
    """
    for key, value in _single(asdict(config)):
        if isinstance(value, dict):
            inner: list[Any] = [v for pair in value.items() for v in pair]
        else:
            inner = value if isinstance(value, list) else [value]
        wrong = next((sentence for v in inner if (sentence := _wrong(key, v))), None)
        if wrong is not None:
            yield key, f"{value!r}; expected {wrong}{_or_null(key)}."


def _single(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and (key in GROUPS or key in ("model.build",
                                                                 "task.instructions")):
            yield from _single(value, f"{key}.")
        else:
            yield key, value


def _wrong(key: str, value: object) -> str | None:
    """Return what was expected of one value, or None if it may be so."""
    if isinstance(value, str):
        if "\0" in value:
            return "no NUL character in it"
        return None if value.strip() or value and key == "data.delimiter" or (
            key in _MAY_BE_EMPTY) else "text that is not empty"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    allowed = RANGES.get(key, Range(-math.inf))
    if value not in allowed:
        return str(allowed) if key in RANGES else "a finite number"
    if isinstance(value, int) and value > LARGEST and math.isinf(allowed.high):
        return f"{LARGEST} or less"
    return None


def _or_null(key: str) -> str:
    hint = hint_of(key)
    return ", or null" if type(None) in getattr(hint, "__args__", ()) else ""


def _limits(config: Config) -> Iterator[tuple[str, Any, bool, str]]:
    """Yield (key, value, holds, expectation) for what values ask of each other and of texts."""
    yield from _of_data(config)
    yield from _of_own_functions(config)
    yield from _of_a_task(config)
    yield from _of_the_model(config)
    yield from _of_the_search(config)
    yield from _of_paths(config.paths)
    yield from compute_limits.of(config.compute)
    drift, sampling, training = config.drift, config.sampling, config.training
    yield ("sampling.quantile", sampling.quantile,
           sampling.quantile is None or sampling.strategy not in ("diversity", "random"),
           f"null with sampling.strategy={sampling.strategy}, which ranks by no uncertainty")
    yield ("training.class_weights", training.class_weights,
           training.class_weights is None or training.class_weights == {}
           or training.batch_size > 1,
           f"null with training.batch_size={training.batch_size}: a step is the weighted mean of "
           "its rows, which for one row is its own loss")
    yield ("training.class_weights", training.class_weights, training.class_weights != {},
           "balanced, a map of one or more classes to their weights, or null")
    yield ("drift.clearing", drift.clearing, drift.false_alarms < drift.clearing,
           "above drift.false_alarms and below 1")
    uri = config.tracking.uri
    yield ("tracking.uri", re.sub(r"[^/]*@", "…@", uri or ""), not uri or bool(
        _STORE.fullmatch(uri)),
        "the address of an MLflow server, such as http://HOST:5000, or of a database, such as "
        "sqlite:///FILE or postgresql://USER@HOST/DATABASE; or null")
    experiment = config.tracking.experiment
    yield ("tracking.experiment", experiment, len(experiment) <= 500 and experiment.isprintable(),
           "1 to 500 characters in one line")
    name = config.tracking.registered_model
    yield ("tracking.registered_model", name, name.replace("_", "").replace("-", "").isalnum(),
           "letters, digits, '_' and '-'")
    yield ("versioning.require_push", config.versioning.require_push,
           config.versioning.push or not config.versioning.require_push,
           "false with versioning.push=false, since nothing is pushed")


def _of_data(config: Config) -> Iterator[tuple[str, Any, bool, str]]:
    d = config.data
    shares = d.train_share + d.validation_share + d.test_share
    yield ("data.train_share + validation_share + test_share", round(shares, 6),
           abs(shares - 1) < 1e-6, "1, each share above 0")
    yield ("data.delimiter", d.delimiter, _is_delimiter(d.delimiter),
           "one character that separates cells, as ',', ';' or '|', or the word tab")
    yield "data.encoding", d.encoding, _known_encoding(d.encoding), (
        "the name of an encoding, such as utf-8, utf-16, latin-1 or cp1252")
    yield ("data.labels", d.labels, d.labels is None or len(set(d.labels.values())) > 1,
           "two names or more, or null")
    yield ("data.mix", d.mix, d.mix is None or len(d.mix) > 0 and min(d.mix.values()) > 0,
           "one or more sources, each with a weight above 0, or null")
    yield ("data.source", d.source, d.source is None or d.mix is None,
           "null beside data.mix, which names the sources")
    named = {"data.text_column": d.text_column, "data.label_column": d.label_column,
             "data.input_column": d.input_column, "data.messages_column": d.messages_column,
             "data.group_column": d.group_column,
             "data.split_column": d.split_column if d.split == "given" else None}
    for key, column in named.items():
        other = next((k for k, c in named.items() if k != key and c == column), None)
        yield (key, column, column is None or other is None or other < key,
               f"another column than {other}, which is the same one")


def _of_own_functions(config: Config) -> Iterator[tuple[str, Any, bool, str]]:
    """Yield what the names of a workspace's own functions must look like."""
    clean, metrics = config.data.clean, config.metrics
    yield "data.clean", clean, clean is None or bool(custom_functions.NAME.fullmatch(clean)), (
        f"{custom_functions.EXPECTED}; or null")
    yield ("metrics", metrics, all(custom_functions.NAME.fullmatch(m) for m in metrics or ()),
           f"names such as {custom_functions.EXPECTED}; or null")
    short = [m.partition(":")[2] for m in metrics or ()]
    yield ("metrics", metrics, len(set(short)) == len(short),
           "functions with different names, under which they stand in tables")
    reserved = [name for name in short if name in _MEASURED]
    yield ("metrics", metrics, not reserved,
           f"other names than {', '.join(reserved)}, which FTzard measures itself")


#: Metrics of the tasks whose rows have labels.
_METRICS = {
    "classification": ("accuracy", "balanced_accuracy", "macro_f1", "calibrated_loss",
                       "validation_loss"),
    "multi_label": ("micro_f1", "macro_f1", "samples_f1", "subset_accuracy", "calibrated_loss",
                    "validation_loss")}
#: What stands in the tables of models already.
_MEASURED = ("model", "accuracy", "lower", "upper", "macro_f1", "n", "balanced_accuracy", "loss",
             "score", "measure", "micro_f1", "subset_accuracy", "perplexity", "rouge_l",
             "exact_match", "generated", "finished", "supervised_tokens", "tokens", "samples_f1")


def _known_encoding(name: str) -> bool:
    try:
        known = codecs.lookup(name)
    except (LookupError, ValueError):
        return False
    return known._is_text_encoding and known.name.replace("_", "-") not in _NO_ENCODINGS


def _is_delimiter(text: str) -> bool:
    return text.lower() in ("tab", "\\t") or len(text) == 1 and text not in '"\r\n\0\ufeff'


def _of_the_model(config: Config) -> Iterator[tuple[str, Any, bool, str]]:
    m, t = config.model, config.training
    yield ("model.name", m.name, _is_file_name(m.name),
           "a name that a file may have: no '/', and no '.' at its beginning")
    yield ("model.lora_targets", m.lora_targets, m.lora_targets is None or bool(m.lora_targets),
           "at least one layer name, or null for all linear layers")
    if m.build is not None:
        fits = m.build.heads < 1 or m.build.width % (2 * m.build.heads) == 0
        yield ("model.build.width", m.build.width, fits,
               f"a multiple of {2 * m.build.heads}, twice model.build.heads")
    yield ("model.source", m.source, (m.source is None) == (m.build is not None),
           "a hub id or folder, or null together with model.build")
    yield ("training.method", t.method, t.method != "full" or m.quantisation == "none",
           f"lora, rslora or dora on a base in {m.quantisation}, whose weights cannot be trained; "
           "or set model.quantisation=none")
    yield ("training.method", t.method, t.method != "full" or m.compute_dtype == "float32",
           f"lora, rslora or dora with model.compute_dtype={m.compute_dtype}, in which small steps "
           "are lost to rounding; or set model.compute_dtype=float32")
    yield ("model.train_embeddings", m.train_embeddings,
           not m.train_embeddings or m.compute_dtype == "float32" or t.method == "full",
           f"false with model.compute_dtype={m.compute_dtype}, in which small steps are lost to "
           "rounding")
    yield ("model.attention", m.attention,
           m.attention != "flash_attention_2" or m.compute_dtype != "float32",
           "sdpa or eager with model.compute_dtype=float32")
    yield ("training.micro_batch_tokens", t.micro_batch_tokens,
           t.micro_batch_tokens is None or t.micro_batch_tokens >= m.max_length,
           f"null, or at least model.max_length ({m.max_length}), so that every row fits")


def _is_file_name(name: str) -> bool:
    return not name.startswith(".") and not set(name) & set("/\\\n\r") and len(
        name.encode(errors="replace")) <= 200


def _of_the_search(config: Config) -> Iterator[tuple[str, Any, bool, str]]:
    for name in SEARCHED:
        value = getattr(config.tuning, name)
        yield (f"tuning.{name}", value, value is None or len(value) >= 1,
               "a list of one or more numbers, or null")
        if name in _INTERVALS:
            yield (f"tuning.{name}", value, not value or len(value) <= 2 and value == sorted(value),
                   "one value or [low, high], or null")
        else:
            yield (f"tuning.{name}", value, not value or len(value) == len(set(value)),
                   "each value once, or null")
    most = _points(config.tuning, config.training.method)
    yield ("tuning.trials", config.tuning.trials, config.tuning.trials <= max(1, most),
           f"at most {most:.0f}, since the search has no more different sets of values; or give a "
           "range, such as tuning.learning_rate=[0.001,0.004]")
    usual = config.training.learning_rate_range
    yield ("training.learning_rate_range", usual, usual is None or len(usual) == 2
           and usual[0] <= usual[1], "[low, high], or null")


def _points(tuning: Tuning, method: str) -> float:
    """Return how many trials of the search can differ; infinite if a range is open."""
    count = 1.0
    for name in SEARCHED:
        values = set(getattr(tuning, name) or ())
        if len(values) > 1 and not (method == "full" and name in ("rank", "dropout")):
            count *= math.inf if name in _INTERVALS else len(values)
    return count


def _of_paths(paths: Paths) -> Iterator[tuple[str, Any, bool, str]]:
    places = {f"paths.{f.name}": getattr(paths, f.name) for f in fields(Paths) if f.type is str}
    for key, path in places.items():
        suffix = ".csv" if key == "paths.queue" else ".parquet"
        yield key, path, _inside(path), "a path inside the workspace"
        yield key, path, _braces(path, key), (
            "{batch} as its only name in braces" if key == "paths.queue" else "no braces")
        yield key, path, path.lower().endswith(suffix), f"a file that ends in {suffix}"
        parts = PurePosixPath(path).parts
        owner = next((t for t in _RESERVED if parts[:len(PurePosixPath(t).parts)]
                      == PurePosixPath(t).parts), None)
        yield key, path, owner is None, f"a path outside {owner}, which holds other things"
        file = next((f for f in _FILES if _same_place(path, f)), None)
        yield key, path, file is None, f"a path that does not go through {file}, which is a file"
        for other, its in places.items():
            apart = other >= key or not _same_place(path, its)
            yield key, path, apart, f"another path than {other}, which is {its!r}"


def _same_place(one: str, other: str) -> bool:
    first, second = PurePosixPath(one), PurePosixPath(other)
    return first == second or first in second.parents or second in first.parents


def _braces(path: str, key: str) -> bool:
    try:
        named = [f"{name}{f'!{how}' if how else ''}{f':{spec}' if spec else ''}"
                 for _, name, spec, how in string.Formatter().parse(path) if name is not None]
    except ValueError:
        return False
    return named == ["batch"] if key == "paths.queue" else not named


def _inside(path: str) -> bool:
    return bool(path) and not path.startswith(("/", "~")) and ".." not in path.split("/")


def _of_a_task(config: Config) -> Iterator[tuple[str, Any, bool, str]]:
    """Yield, as `_limits` does, what one kind of task needs of the other groups."""
    retraining = config.retraining
    if retraining.trigger == "accuracy":
        yield ("retraining.trigger", "accuracy", config.task.kind == "classification"
               and config.drift.estimate_accuracy and retraining.min_accuracy is not None,
               "labels, drift or both, or, with task=classification, drift.estimate_accuracy=true "
               "and a number as retraining.min_accuracy")
    else:
        yield ("retraining.min_accuracy", retraining.min_accuracy, retraining.min_accuracy is None,
               f"null with retraining.trigger={retraining.trigger}, which does not read it")
    d, u, s, instructions = config.data, config.tuning, config.sampling, config.task.instructions
    kind = f"task={config.task.kind}"
    if config.task.kind in _METRICS:
        yield "task.instructions", instructions, instructions is None, f"null with {kind}"
        yield ("tuning.metric", u.metric, u.metric in _METRICS[config.task.kind],
               f"a metric of {kind}, such as calibrated_loss")
        least = config.task.abstain_below
        yield ("task.abstain_below", least, least is None or config.task.kind == "classification",
               f"null with {kind}: each label has a threshold instead")
        for name in ("input_column", "messages_column", "ignored_columns"):
            value = getattr(d, name)
            yield f"data.{name}", value, value is None, f"null with {kind}"
        return
    yield "task.instructions", instructions, instructions is not None, f"its keys with {kind}"
    least = config.task.abstain_below
    yield "task.abstain_below", least, least is None, f"null with {kind}: an answer is free text"
    if instructions is not None:
        yield ("task.instructions.generated_rows", instructions.generated_rows,
               instructions.score == "loss" or instructions.generated_rows >= config.gate.min_rows,
               f"gate.min_rows ({config.gate.min_rows}) or more: {instructions.score} is measured "
               "on these rows")
    yield ("tuning.metric", u.metric, u.metric in ("validation_loss", "perplexity"),
           f"validation_loss or perplexity with {kind}")
    yield ("sampling.strategy", s.strategy, s.strategy in ("least_confidence", "mix", "random"),
           f"least_confidence, mix or random with {kind}, since the others rank by classes")
    named = {d.text_column, d.input_column, d.messages_column, d.label_column}
    yield ("data.ignored_columns", d.ignored_columns, not set(d.ignored_columns or ()) & named,
           "columns that no other key names")
    yield "data.labels", d.labels, d.labels is None, f"null with {kind}: an answer is free text"
    yield ("training.class_weights", config.training.class_weights,
           config.training.class_weights is None, f"null with {kind}: an answer has no class")
    yield ("data.sample_stratified", d.sample_stratified,
           not d.sample_stratified or d.sample_rows is None,
           f"false with {kind}: there are no labels to keep the shares of")
