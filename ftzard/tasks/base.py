"""A `Task` says what differs between kinds of fine-tuning; everything else asks it and knows none.

A task is one package, `ftzard/tasks/<name>/`, with a `TASK` in its `__init__` and five modules that
implement the protocols below: `data`, `model`, `evaluation`, `report` and `labeling`. They are
imported when they are first asked for, so that naming a task loads no torch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from ftzard.errors import ConfigError, nearest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ftzard.config.schema import Config
    from ftzard.evaluation.drift import Sample
    from ftzard.modeling.spec import BaseSpec
    from ftzard.reporting.report_data import Facts, TaskSections
    from ftzard.tasks.comparison import ComparedModel, Comparison
    from ftzard.tasks.evaluation import Evaluation


@dataclass(frozen=True)
class HeadSpec:
    """The head that a base model is loaded with.

    auto_class: name of the class of transformers that loads it; peft_type: PEFT's task type;
    trained: whether the head is new and trained with the adapter. A head over the base's own
    vocabulary is not.
    """

    auto_class: str
    peft_type: str
    trained: bool

    @property
    def is_causal_lm(self) -> bool:
        """Whether the head predicts the next token."""
        return self.auto_class == "AutoModelForCausalLM"


class EvaluationPart(Protocol):
    """How models are evaluated on test rows, and what drift and sampling look at.

    EVALUATION: the task's `tasks.evaluation.Evaluation`; ROWS_FOR_A_BUILT_BASE: labelled rows with
    which a base that is built here does as well as a cheap baseline, None where nobody knows.
    `embeddings` and `committee_probabilities` are needed only where the task's config allows the
    strategies that rank by them.
    """

    EVALUATION: "type[Evaluation]"
    ROWS_FOR_A_BUILT_BASE: int | None

    def test_metrics(self, model: Any, rows: "pd.DataFrame", config: "Config", *,
                     by_set: bool = True) -> dict:
        """Return every score of a model on test rows, answered test set by test set, or at once."""

    def drift_sample(self, rows: "pd.DataFrame", answers: Any, embeddings: "np.ndarray"
                     ) -> "Sample":
        """Return what drift compares of tokenized rows and a model's answers to them."""

    def reference_sample(self, model: Any, rows: "pd.DataFrame", config: "Config") -> "Sample":
        """Return the drift sample of test rows that the model answers now."""

    def embeddings(self, folder: Path, base: "BaseSpec", texts: list[str], *,
                   on_step: Any = None) -> "np.ndarray":
        """Return a saved model's embeddings (rows, width) of texts."""

    def committee_probabilities(self, folders: "Sequence[Path]", base: "BaseSpec",
                                texts: list[str], *, on_member: Any = None
                                ) -> "list[np.ndarray]":
        """Return the probabilities (rows, labels) of each of several saved models of one base."""


class ComparisonPart(Protocol):
    """Two registered models on the same rows."""

    def compare(self, models: "Sequence[ComparedModel]", rows: "pd.DataFrame", described: dict, *,
                asked: tuple[str, str], config: "Config", caveat: str,
                own_metrics: Mapping[str, Mapping], say: "Callable[[str], object]"
                ) -> "Comparison":
        """Return both models' scores on rows, each measured in a process of its own."""

    def labelled_rows(self, config: "Config", file: Path, identity: int
                      ) -> "tuple[pd.DataFrame, dict]":
        """Return the usable rows of a labelled file, and what they are."""


class ReportPart(Protocol):
    """What the report of a round says of the task's own."""

    def facts(self, evaluation: Any, rows: "pd.DataFrame", names: Mapping[str, str],
              prepared: Mapping) -> dict:
        """Return the facts of a round that only this task has, by their names in `Facts`."""

    def sections(self, facts: "Facts") -> "TaskSections":
        """Return the task's parts of the page."""


@dataclass(frozen=True)
class Task:
    """One kind of fine-tuning.

    name: as in `task=<name>`; title: for people; head: of the base model; metrics: of the
    validation rows, by which a search may rank its trials, the first is the default.
    """

    name: str
    title: str
    head: HeadSpec
    metrics: tuple[str, ...]

    @cached_property
    def data(self) -> ModuleType:
        """Reading, cleaning and tokenizing rows."""
        return self._part("data")

    @cached_property
    def model(self) -> ModuleType:
        """Objective of training, and opening models to predict."""
        return self._part("model")

    @cached_property
    def evaluation(self) -> EvaluationPart:
        """Scores, baselines, uncertainty, drift."""
        return self._part("evaluation")

    @cached_property
    def comparison(self) -> ComparisonPart:
        """Two registered models on the same rows."""
        return self._part("comparison")

    @cached_property
    def report(self) -> ReportPart:
        """Sections of the report."""
        return self._part("report")

    @cached_property
    def labeling(self) -> ModuleType:
        """How a person is asked for labels, and how they come back."""
        return self._part("labeling")

    def _part(self, name: str) -> ModuleType:
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
