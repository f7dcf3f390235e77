"""A `Task` says what differs between kinds of fine-tuning; everything else asks it and knows none.

A task is one package, `ftzard/tasks/<name>/`, with a `TASK` in its `__init__` and these modules,
most with a protocol below: `data`, `model`, `predictor`, `exporter`, `evaluation`, `report` and
`labeling`. They are imported when they are first asked for, so that naming a task loads no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from ftzard.errors import ConfigError, nearest
from ftzard.modeling.head import DEFAULT_HEAD, HeadSpec
from ftzard.modeling.spec import BaseSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    import pandas as pd

    from ftzard.config.schema import Config
    from ftzard.config.training_config import TrainingConfig
    from ftzard.modeling.base_model import LoadedBase
    from ftzard.training.objective import Objective


class Predictor(Protocol):
    """A model that is ready to predict.

    labels: in the order of the logits, none of a model that writes; meta: what the adapter's folder
    says about it, {} for a bare base; max_length: tokens that it reads.
    """

    tokenizer: Any
    labels: "Sequence[str]"
    max_length: int
    meta: dict

    def predict(self, texts: "Sequence[str]", **options: Any) -> "pd.DataFrame":
        """Return a row per cleaned text: label, confidence and the columns of `OUTPUT`."""


class PredictorPart(Protocol):
    """Opening models to predict; ships with a registered model.

    OUTPUT: columns that the registered model returns besides label and confidence, with their
    types; CALIBRATED: whether confidence can be calibrated with a temperature; FINGERPRINT: what
    `fingerprint` returns; FINGERPRINT_COLUMNS: of the rows it takes.
    """

    OUTPUT: dict[str, str]
    CALIBRATED: bool
    FINGERPRINT: str
    FINGERPRINT_COLUMNS: tuple[str, ...]

    def open_predictor(self, folder: Path, base: "BaseSpec | LoadedBase") -> Predictor:
        """Return the model of a saved adapter on its base."""

    def bare_predictor(self, loaded: "LoadedBase", meta: Mapping) -> Predictor:
        """Return the base itself; meta: the task's `predictor_meta` entries."""

    def clean(self, texts: "Iterable[str]", cleaning: Mapping) -> list[str]:
        """Return raw texts as the training rows were cleaned."""

    def answer(self, predictor: Any, asked: "Sequence", *, temperature: float | None = None,
               abstain_below: float | None = None) -> list[dict]:
        """Return label, confidence and more for each cleaned text or list of messages."""

    def fingerprint(self, predictor: Predictor, rows: Mapping[str, "Sequence"], batch_size: int = 64
                    ) -> "np.ndarray":
        """Return numbers (rows, ...) by which a saved model is known again."""


@dataclass(frozen=True)
class Baseline:
    """What a trained model has to beat: numbers for tracking, and a sentence."""

    metrics: dict[str, float]
    sentence: str


@dataclass(frozen=True)
class Predicted:
    """What a model predicts for rows.

    columns: values per row, `suggestion` and `confidence` among them; metrics: numbers for
    tracking; answers: what the task's `drift_sample` takes; embeddings: float32 (rows, width).
    """

    columns: dict[str, "Sequence"]
    metrics: dict[str, float]
    answers: Any
    embeddings: "np.ndarray"


class ModelPart(Protocol):
    """Training, and what is measured around a model.

    CURVES: what learning curves show of each epoch; EPOCH_METRIC: what the line of an epoch says;
    ROWS_BY: column by which training rows are counted.
    """

    CURVES: tuple[str, ...]
    EPOCH_METRIC: str
    ROWS_BY: str

    def head_labels(self, rows: "pd.DataFrame") -> list[str]:
        """Return the labels that a head gets, in the order of its logits."""

    def objective(self, loaded: "LoadedBase", train_rows: "pd.DataFrame",
                  validation_rows: "pd.DataFrame", config: "TrainingConfig") -> "Objective":
        """Return what training minimizes on tokenized rows."""

    def check_rows(self, loaded: "LoadedBase", train_rows: "pd.DataFrame",
                   validation_rows: "pd.DataFrame", config: "TrainingConfig",
                   adapter_meta: Mapping) -> None:
        """Raise ModelError for rows that were tokenized otherwise than this base takes them."""

    def adapter_meta(self, config: "Config", tokenizer: Any, cleaning: Mapping,
                     continues: Path | None = None) -> dict:
        """Return what an adapter's ftzard.json keeps beside its base."""

    def require_known_labels(self, rows: "pd.DataFrame", adapter: Path, name: str) -> list[str]:
        """Return the labels of an adapter; raises ModelError if the rows have others, too."""

    def bare(self, loaded: "LoadedBase", config: "Config") -> Predictor:
        """Return the base itself as the config asks it."""

    def validation_baseline(self, loaded: "LoadedBase", train: "pd.DataFrame",
                            validation: "pd.DataFrame", config: "Config") -> Baseline:
        """Return what a trained model has to beat on the validation rows."""

    def calibrate(self, predictor: Any, rows: "pd.DataFrame") -> float | None:
        """Return the temperature of the confidence, fitted on validation rows; None for none."""

    def predict(self, predictor: Any, rows: "pd.DataFrame", on_step: Any = None) -> Predicted:
        """Return what a model predicts for tokenized rows."""

    def benchmark(self, predictor: Any, request: Mapping) -> tuple[dict, int, "Callable[[], dict]"]:
        """Return arrays of what a model answers, how many rows were cut, and what times it once."""


@dataclass(frozen=True)
class Task:
    """One kind of fine-tuning.

    title: for people; head: of the base model; metrics: of the validation rows, by which a search
    may rank its trials, the first is the default; predictor_meta: entries of ftzard.json that a
    bare base is opened with, too; prompt_columns: whether other columns than that of the text may
    be part of what a model is asked.
    """

    title: str
    head: HeadSpec
    metrics: tuple[str, ...]
    predictor_meta: tuple[str, ...] = ()
    prompt_columns: bool = False

    @property
    def name(self) -> str:
        """As in `task=<name>`."""
        return self.head.task

    @cached_property
    def data(self) -> ModuleType:
        """Reading, cleaning and tokenizing rows."""
        return self._part("data")

    @cached_property
    def model(self) -> ModelPart:
        """Training, and what is measured around a model."""
        return self._part("model")

    @cached_property
    def predictor(self) -> PredictorPart:
        """Opening models to predict: the part that ships with a registered model."""
        return self._part("predictor")

    @cached_property
    def exporter(self) -> ModuleType:
        """Exporting models: `Exporter`, what is particular to it."""
        return self._part("exporter")

    @cached_property
    def evaluation(self) -> ModuleType:
        """Scores, baselines, uncertainty, drift."""
        return self._part("evaluation")

    @cached_property
    def comparison(self) -> ModuleType:
        """Two registered models on the same rows."""
        return self._part("comparison")

    @cached_property
    def report(self) -> ModuleType:
        """Sections of the report, model card, signature of the registered model."""
        return self._part("report")

    @cached_property
    def labeling(self) -> ModuleType:
        """How a person is asked for labels, and how they come back."""
        return self._part("labeling")

    def _part(self, name: str) -> Any:
        return import_module(f"ftzard.tasks.{self.name}.{name}")


@cache
def task_names() -> tuple[str, ...]:
    """Return the names of all tasks, sorted: the packages beside this module."""
    return tuple(sorted(place.parent.name for place in Path(__file__).parent.glob("*/__init__.py")))


@cache
def task_named(name: str) -> Task:
    """Return a task by its name; raises ConfigError for a name that none has."""
    if name not in task_names():
        raise ConfigError(f"task is '{name}'{nearest(name, task_names())}")
    return import_module(f"ftzard.tasks.{name}").TASK


def task_in(values: Mapping) -> Task:
    """Return the task that a spec's values, an adapter's ftzard.json or a base's config names."""
    return task_named(values.get("task", DEFAULT_HEAD.task))


def base_spec(values: Mapping) -> BaseSpec:
    """Return a spec from the values that `BaseSpec.to_dict` gave."""
    fields = {key: value for key, value in values.items() if key != "task"}
    return BaseSpec(**fields, head=task_in(values).head)
