"""A `Task` says what differs between kinds of fine-tuning; everything else asks it and knows none.

A task is one package, `ftzard/tasks/<name>/`, with a `TASK` in its `__init__` and a module per
property of `Task`, most with a protocol in `ftzard.tasks.parts`. They are imported when they are
first asked for, so that naming a task loads no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ftzard.errors import ConfigError, nearest
from ftzard.modeling.head import DEFAULT_HEAD, HeadSpec
from ftzard.modeling.spec import BaseSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np

    from ftzard.tasks.parts import (
        ComparisonPart,
        DataPart,
        EvaluationPart,
        LabelingPart,
        ModelPart,
        PredictorPart,
        ReportPart,
        SetupPart,
    )


@dataclass(frozen=True)
class Baseline:
    """What a trained model has to beat: numbers for tracking, and a sentence."""

    metrics: dict[str, float]
    sentence: str


@dataclass(frozen=True)
class Predicted:
    """What a model predicts for rows.

    Attributes:
        columns: Values per row, `suggestion` and `confidence` among them.
        metrics: Numbers for tracking.
        answers: What the task's `drift_sample` takes.
        embeddings: float32 (rows, width).
    """

    columns: dict[str, "Sequence[Any]"]
    metrics: dict[str, float]
    answers: Any
    embeddings: "np.ndarray"


@dataclass(frozen=True)
class Task:
    """One kind of fine-tuning.

    Attributes:
        title: For people.
        head: Of the base model.
        metrics: Of the validation rows, by which a search may rank its trials, the first is the
            default.
        predictor_meta: Entries of ftzard.json that a bare base is opened with, too.
        prompt_columns: Whether other columns than that of the text may be part of what a model is
            asked.
        labels_grow: Whether a retraining may add labels to those of the champion.
    """

    title: str
    head: HeadSpec
    metrics: tuple[str, ...]
    predictor_meta: tuple[str, ...] = ()
    prompt_columns: bool = False
    labels_grow: bool = False

    @property
    def name(self) -> str:
        """As in `task=<name>`."""
        return self.head.task

    @cached_property
    def data(self) -> "DataPart":
        """Reading, cleaning and tokenizing rows."""
        return self._part("data")

    @cached_property
    def model(self) -> "ModelPart":
        """Training, and what is measured around a model."""
        return self._part("model")

    @cached_property
    def predictor(self) -> "PredictorPart":
        """Opening models to predict: the part that ships with a registered model."""
        return self._part("predictor")

    @cached_property
    def exporter(self) -> ModuleType:
        """Exporting models: `Exporter`, what is particular to it."""
        return self._part("exporter")

    @cached_property
    def evaluation(self) -> "EvaluationPart":
        """Scores, baselines, uncertainty, drift."""
        return self._part("evaluation")

    @cached_property
    def comparison(self) -> "ComparisonPart":
        """Two registered models on the same rows."""
        return self._part("comparison")

    @cached_property
    def report(self) -> "ReportPart":
        """Sections of the report."""
        return self._part("report")

    @cached_property
    def labeling(self) -> "LabelingPart":
        """How a person is asked for labels, and how they come back."""
        return self._part("labeling")

    @cached_property
    def setup(self) -> "SetupPart":
        """What a new workspace begins with."""
        return self._part("setup")

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


def tasks_of(labels: "Iterable[str]") -> str:
    """Return a clause that names the tasks to which alone a column of raw labels belongs, or ''."""
    labels = list(labels)
    names = [name for name in task_names() if task_named(name).data.detect(labels)]
    return "".join(f"; or begin a workspace with --task {name}, which is for such labels"
                   for name in names)


def task_in(values: Mapping[str, Any]) -> Task:
    """Return the task that a spec's values, an adapter's ftzard.json or a base's config names."""
    return task_named(values.get("task", DEFAULT_HEAD.task))


def base_spec(values: Mapping[str, Any]) -> BaseSpec:
    """Return a spec from the values that `BaseSpec.to_dict` gave."""
    fields = {key: value for key, value in values.items() if key != "task"}
    return BaseSpec(**fields, head=task_in(values).head)
