"""A `Task` says what differs between kinds of fine-tuning; everything else asks it and knows none.

A task is one package, `ftzard/tasks/<name>/`, with a `TASK` in its `__init__` and six modules that
implement the protocols below: `data`, `model`, `evaluation`, `report`, `labeling` and `setup`. They
are imported when they are first asked for, so that naming a task loads no torch.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, cast

from ftzard.errors import ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    import pandas as pd
    from transformers import PreTrainedTokenizerBase

    from ftzard.config.schema import Config, Data
    from ftzard.data.labeling.label_formats import LabelFormat
    from ftzard.data.near_duplicates import RepeatedOf


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


class DataPart(Protocol):
    """How the rows of a task are read, cleaned, split and tokenized: the module `data` of a task.

    Rows are tables. Raw ones have row and text, and as the config says label, group and split;
    cleaned ones also id and batch. Their `label` is what the model learns to predict.
    """

    #: Whether a text has one label; another label to it then contradicts it.
    ONE_LABEL: bool
    #: The column by whose values the rows of each split are counted.
    COUNTED_BY: str
    #: What a row may repeat of another one besides its text, or None.
    repeated_of: "RepeatedOf | None"

    def read(self, path: Path, data: "Data", *, labelled: bool = True,
             lacking: "Collection[str]" = ()) -> "pd.DataFrame":
        """Read the raw rows of a file; `lacking` names columns that it may do without."""
        ...

    def optional_columns(self, data: "Data") -> set[str]:
        """Return the columns that one of several files may lack if another has them."""
        ...

    def unread_columns(self, path: Path, data: "Data") -> list[str]:
        """Return the filled columns of a file that no model of the task learns from."""
        ...

    def raw_again(self, cleaned: "pd.DataFrame", data: "Data", name: str, *, labelled: bool
                  ) -> "pd.DataFrame":
        """Return cleaned rows as `read` would return them; DataError for rows of another task."""
        ...

    def clean(self, raw: "pd.DataFrame", data: "Data", *, batch: str, identity: int,
              cleaning: "Mapping") -> "tuple[pd.DataFrame, pd.DataFrame]":
        """Return (cleaned, rejected); `cleaning` are the values kept with an adapter."""
        ...

    def text_keys(self, rows: "pd.DataFrame", identity: int) -> "pd.Series":
        """Return, per row, what two rows share when one repeats the other's text."""
        ...

    def check(self, cleaned: "pd.DataFrame", rejected: "pd.DataFrame",
              repeated: "pd.DataFrame | None" = None, *, min_rows: int, max_rejected: float,
              labels: "Mapping | None" = None) -> None:
        """Raise DataError for a delivery that cannot be trained on."""
        ...

    def check_splits(self, rows: "pd.DataFrame") -> None:
        """Raise DataError for splits that cannot be trained on or measured with."""
        ...

    def tokenizer_corpus(self, rows: "pd.DataFrame", config: "Config") -> "Iterable[str]":
        """Return the texts that a new tokenizer learns from."""
        ...

    def tokenize(self, rows: "pd.DataFrame", tokenizer: "PreTrainedTokenizerBase",
                 config: "Config", meta: "Mapping | None" = None
                 ) -> "tuple[pd.DataFrame, dict[str, int]]":
        """Return rows with input_ids, length and cut, and the numbers to log.

        meta: what an adapter keeps, to tokenize as it was trained; None takes the config.
        """
        ...

    def require_tokens_of(self, rows: "pd.DataFrame", tokenizer: "PreTrainedTokenizerBase",
                          config: "Config") -> None:
        """Raise ModelError for rows that were tokenized otherwise than the config says."""
        ...

    def length_in_characters(self, rows: "pd.DataFrame") -> "pd.Series":
        """Return the characters of which the tokens of each row are made."""
        ...


class LabelingPart(Protocol):
    """How a person is asked for labels, and how they come back: the module `labeling`."""

    #: Whether a label is a text that the person writes, and not one of a few names.
    FREE_TEXT: bool

    def label_format(self, data: "Data", identity: int, labels: "Iterable[str]") -> "LabelFormat":
        """Return what a label may be.

        labels: those that are known, for a config that names none.
        """
        ...

    def label_studio_interface(self, labels: "list[str]") -> str:
        """Return the labelling interface (XML) of a Label Studio project."""
        ...

    def label_studio_value(self, suggestion: str) -> tuple[str, dict]:
        """Return the type and the value of a suggestion in a task of Label Studio."""
        ...


class SetupPart(Protocol):
    """What a new workspace of the task begins with: the module `setup`."""

    #: Options of `ftzard init` that are of this task.
    OPTIONS: frozenset[str]

    def config_for(self, file: Path | None, layout: "Mapping[str, str]",
                   say: "Callable[[str], object]", **options: object) -> dict:
        """Return what ftzard.yaml says of a user's file."""
        ...

    def sample_config(self) -> dict:
        """Return what ftzard.yaml says of the sample, with a group `data`."""
        ...


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
    def data(self) -> DataPart:
        """Reading, cleaning and tokenizing rows."""
        return cast(DataPart, self._part("data"))

    @cached_property
    def model(self) -> ModuleType:
        """Objective of training, and opening models to predict."""
        return self._part("model")

    @cached_property
    def evaluation(self) -> ModuleType:
        """Scores, baselines, uncertainty, drift."""
        return self._part("evaluation")

    @cached_property
    def report(self) -> ModuleType:
        """Sections of the report, model card, signature of the registered model."""
        return self._part("report")

    @cached_property
    def labeling(self) -> LabelingPart:
        """How a person is asked for labels, and how they come back."""
        return cast(LabelingPart, self._part("labeling"))

    @cached_property
    def setup(self) -> SetupPart:
        """What a new workspace begins with."""
        return cast(SetupPart, self._part("setup"))

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
