"""The protocols that the modules of a task implement; for type checkers, nothing imports them."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from ftzard.config.schema import Config, Data
from ftzard.config.training_config import TrainingConfig
from ftzard.data.labeling.label_formats import LabelFormat
from ftzard.data.near_duplicates import RepeatedOf
from ftzard.evaluation.drift import Sample
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.spec import BaseSpec
from ftzard.reporting.report_data import Facts, TaskSections
from ftzard.tasks.base import Baseline, Predicted
from ftzard.tasks.comparison import ComparedModel, Comparison
from ftzard.tasks.evaluation import Evaluation
from ftzard.training.objective import Objective


class Predictor(Protocol):
    """A model that is ready to predict.

    Attributes:
        labels: In the order of the logits, none of a model that writes.
        meta: What the adapter's folder says about it, {} for a bare base.
        max_length: Tokens that it reads.
    """

    tokenizer: Any
    labels: Sequence[str]
    max_length: int
    meta: dict

    def predict(self, texts: Sequence[str], **options: Any) -> pd.DataFrame:
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

    def open_predictor(self, folder: Path, base: BaseSpec | LoadedBase) -> Predictor:
        """Return the model of a saved adapter on its base."""

    def bare_predictor(self, loaded: LoadedBase, meta: Mapping) -> Predictor:
        """Return the base itself; meta: the task's `predictor_meta` entries."""

    def clean(self, texts: Iterable, cleaning: Mapping) -> list:
        """Return raw texts as the training rows were cleaned, and messages where a task has them.
        """

    def answer(self, predictor: Any, asked: Sequence, *, temperature: float | None = None,
               abstain_below: float | None = None) -> list[dict]:
        """Return label, confidence and more for each cleaned text or list of messages."""

    def fingerprint(self, predictor: Predictor, rows: Mapping[str, Sequence], batch_size: int = 64
                    ) -> np.ndarray:
        """Return numbers (rows, ...) by which a saved model is known again."""


class ModelPart(Protocol):
    """Training, and what is measured around a model.

    CURVES: what learning curves show of each epoch; EPOCH_METRIC: what the line of an epoch says;
    ROWS_BY: column by which training rows are counted.
    """

    CURVES: tuple[str, ...]
    EPOCH_METRIC: str
    ROWS_BY: str

    def head_labels(self, rows: pd.DataFrame) -> list[str]:
        """Return the labels that a head gets, in the order of its logits."""

    def objective(self, loaded: LoadedBase, train_rows: pd.DataFrame,
                  validation_rows: pd.DataFrame, config: TrainingConfig) -> Objective:
        """Return what training minimizes on tokenized rows."""

    def check_rows(self, loaded: LoadedBase, train_rows: pd.DataFrame,
                   validation_rows: pd.DataFrame, config: TrainingConfig,
                   adapter_meta: Mapping) -> None:
        """Raise ModelError for rows that were tokenized otherwise than this base takes them."""

    def adapter_meta(self, config: Config, tokenizer: Any, cleaning: Mapping,
                     continues: Path | None = None) -> dict:
        """Return what an adapter's ftzard.json keeps beside its base."""

    def continued_labels(self, rows: pd.DataFrame, adapter: Path, name: str, data: Data
                         ) -> list[str]:
        """Return the labels of a model that goes on from an adapter: its own and new ones.

        Raises ModelError, with the adapter's name, for labels of the rows that cannot be new.
        """

    def bare(self, loaded: LoadedBase, config: Config) -> Predictor:
        """Return the base itself as the config asks it."""

    def validation_baseline(self, loaded: LoadedBase, train: pd.DataFrame,
                            validation: pd.DataFrame, config: Config) -> Baseline:
        """Return what a trained model has to beat on the validation rows."""

    def calibrate(self, predictor: Any, rows: pd.DataFrame) -> float | None:
        """Return the temperature of the confidence, fitted on validation rows; None for none."""

    def predict(self, predictor: Any, rows: pd.DataFrame, on_step: Any = None) -> Predicted:
        """Return what a model predicts for tokenized rows."""

    def benchmark(self, predictor: Any, request: Mapping) -> tuple[dict, int, Callable[[], dict]]:
        """Return arrays of what a model answers, how many rows were cut, and what times it once."""


class EvaluationPart(Protocol):
    """How models are evaluated on test rows, and what drift and sampling look at.

    EVALUATION: the task's `tasks.evaluation.Evaluation`; ROWS_FOR_A_BUILT_BASE: labelled rows with
    which a base that is built here does as well as a cheap baseline, None where nobody knows.
    `embeddings`, `committee_probabilities` and `disagreement` are needed only where the task's
    config allows the strategies that rank by them.
    """

    EVALUATION: type[Evaluation]
    ROWS_FOR_A_BUILT_BASE: int | None

    def test_metrics(self, model: Any, rows: pd.DataFrame, config: Config, *,
                     by_set: bool = True) -> dict:
        """Return every score of a model on test rows, answered test set by test set, or at once."""

    def drift_sample(self, rows: pd.DataFrame, answers: Any, embeddings: np.ndarray
                     ) -> Sample:
        """Return what drift compares of tokenized rows and a model's answers to them."""

    def reference_sample(self, model: Any, rows: pd.DataFrame, config: Config) -> Sample:
        """Return the drift sample of test rows that the model answers now."""

    def uncertainty(self, predictions: pd.DataFrame, strategy: str, *, seed: int = 0
                    ) -> np.ndarray:
        """Return each row's uncertainty in [0, 1] of predictions, by a strategy of `sampling`."""

    def disagreement(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """Return how much several models' probabilities (rows, labels) differ, in [0, 1]."""

    def embeddings(self, folder: Path, base: BaseSpec, texts: list[str], *,
                   on_step: Any = None) -> np.ndarray:
        """Return a saved model's embeddings (rows, width) of texts."""

    def committee_probabilities(self, folders: Sequence[Path], base: BaseSpec,
                                texts: list[str], *, on_member: Any = None
                                ) -> list[np.ndarray]:
        """Return the probabilities (rows, labels) of each of several saved models of one base."""


class ComparisonPart(Protocol):
    """Two registered models on the same rows."""

    def compare(self, models: Sequence[ComparedModel], rows: pd.DataFrame, described: dict, *,
                asked: tuple[str, str], config: Config, caveat: str,
                own_metrics: Mapping[str, Mapping], say: Callable[[str], object]
                ) -> Comparison:
        """Return both models' scores on rows, each measured in a process of its own."""


class ReportPart(Protocol):
    """What the report of a round says of the task's own."""

    def facts(self, evaluation: Any, rows: pd.DataFrame, names: Mapping[str, str],
              prepared: Mapping) -> dict:
        """Return the facts of a round that only this task has, by their names in `Facts`."""

    def sections(self, facts: Facts) -> TaskSections:
        """Return the task's parts of the page."""


class DataPart(Protocol):
    """How the rows of a task are read, cleaned, split and tokenized: the module `data` of a task.

    Rows are tables. Raw ones have row and text, and as the config says label, group and split;
    cleaned ones also id and batch. Their `label` is what the model learns to predict.
    """

    #: Whether a text has one label; another label to it then contradicts it.
    ONE_LABEL: bool
    #: What a row may repeat of another one besides its text, or None.
    repeated_of: RepeatedOf | None

    def read(self, path: Path, data: Data, *, labelled: bool = True,
             lacking: Collection[str] = ()) -> pd.DataFrame:
        """Read the raw rows of a file; `lacking` names columns that it may do without."""
        ...

    def detect(self, labels: Iterable[str]) -> bool:
        """Return whether a column of raw labels can only be of this task."""
        ...

    def optional_columns(self, data: Data) -> set[str]:
        """Return the columns that one of several files may lack if another has them."""
        ...

    def unread_columns(self, path: Path, data: Data) -> list[str]:
        """Return the filled columns of a file that no model of the task learns from."""
        ...

    def raw_again(self, cleaned: pd.DataFrame, data: Data, name: str, *, labelled: bool
                  ) -> pd.DataFrame:
        """Return cleaned rows as `read` would return them; DataError for rows of another task."""
        ...

    def clean(self, raw: pd.DataFrame, data: Data, *, batch: str, identity: int,
              cleaning: Mapping) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return (cleaned, rejected); `cleaning` are the values kept with an adapter."""
        ...

    def text_keys(self, rows: pd.DataFrame, identity: int) -> pd.Series:
        """Return, per row, what two rows share when one repeats the other's text."""
        ...

    def check(self, cleaned: pd.DataFrame, rejected: pd.DataFrame,
              repeated: pd.DataFrame | None = None, *, min_rows: int, max_rejected: float,
              labels: Mapping | None = None) -> None:
        """Raise DataError for a delivery that cannot be trained on."""
        ...

    def mark_not_asked(self, table: pd.DataFrame, arrived: pd.DataFrame, data: Data
                       ) -> pd.DataFrame:
        """Return the rows of all batches with those marked that were not asked about a label.

        Args:
            arrived: Those of them that arrive now, which are asked about all that `data` names.
        """
        ...

    def counted_by(self, rows: pd.DataFrame) -> pd.Series:
        """Return what rows are counted by: a value per row, or a list of them."""
        ...

    def check_splits(self, rows: pd.DataFrame) -> None:
        """Raise DataError for splits that cannot be trained on or measured with."""
        ...

    def tokenizer_corpus(self, rows: pd.DataFrame, config: Config) -> Iterable[str]:
        """Return the texts that a new tokenizer learns from."""
        ...

    def tokenize(self, rows: pd.DataFrame, tokenizer: PreTrainedTokenizerBase,
                 config: Config, meta: Mapping | None = None
                 ) -> tuple[pd.DataFrame, dict[str, int]]:
        """Return rows with input_ids, length and cut, and the numbers to log.

        Args:
            meta: What an adapter keeps, to tokenize as it was trained; None takes the config.
        """
        ...

    def require_tokens_of(self, rows: pd.DataFrame, tokenizer: PreTrainedTokenizerBase,
                          config: Config) -> None:
        """Raise ModelError for rows that were tokenized otherwise than the config says."""
        ...

    def length_in_characters(self, rows: pd.DataFrame) -> pd.Series:
        """Return the characters of which the tokens of each row are made."""
        ...


class LabelingPart(Protocol):
    """How a person is asked for labels, and how they come back: the module `labeling`."""

    #: Whether a label is a text that the person writes, and not one of a few names.
    FREE_TEXT: bool

    def label_format(self, data: Data, identity: int, labels: Iterable[str]) -> LabelFormat:
        """Return what a label may be.

        Args:
            labels: Those that are known, for a config that names none.
        """
        ...

    def label_studio_interface(self, labels: list[str]) -> str:
        """Return the labelling interface (XML) of a Label Studio project."""
        ...

    def label_studio_value(self, suggestion: str) -> tuple[str, dict]:
        """Return the type and the value of a suggestion in a task of Label Studio."""
        ...


class SetupPart(Protocol):
    """What a new workspace of the task begins with: the module `setup`."""

    #: Options of `ftzard init` that are of this task.
    OPTIONS: frozenset[str]

    def config_for(self, file: Path | None, layout: Mapping[str, str],
                   say: Callable[[str], object], **options: object) -> dict:
        """Return what ftzard.yaml says of a user's file."""
        ...

    def sample_config(self) -> dict:
        """Return what ftzard.yaml says of the sample, with a group `data`."""
        ...
