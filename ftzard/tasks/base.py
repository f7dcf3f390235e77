"""A `Task` says what differs between kinds of fine-tuning; everything else asks it and knows none.

A task is one package, `ftzard/tasks/<name>/`, with a `TASK` in its `__init__` and five modules that
implement the protocols below: `data`, `model`, `evaluation`, `report` and `labeling`. They are
imported when they are first asked for, so that naming a task loads no torch.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType

from ftzard.errors import ConfigError, nearest


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
