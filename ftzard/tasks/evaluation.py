"""What the evaluations of all tasks share: several models on the same test rows, and a verdict."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ftzard.config.schema import Config
from ftzard.evaluation.drift import Sample
from ftzard.evaluation.error_budget import Allowance
from ftzard.evaluation.gate import Verdict
from ftzard.evaluation.paired import Predicted, Scored
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.prediction_cache import CachedModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ftzard.tracking.registry import Version

#: How test rows were put into batches, as a record has it; none: all of them together.
BY_SET = "test set"


def test_sets(test: pd.DataFrame) -> list[np.ndarray]:
    """Return the row numbers of each test set, which is the test rows of one batch."""
    return [np.flatnonzero(test["batch"] == batch) for batch in test["batch"].unique()]


test_sets.__test__ = False  # not a test case, whatever pytest makes of the name


def in_row_order(sets: list[np.ndarray], parts: list[np.ndarray], rows: int) -> np.ndarray:
    """Return the answers to all rows, in their order, from those to each set."""
    joined = np.zeros((rows, *parts[0].shape[1:]), dtype=parts[0].dtype)
    for places, part in zip(sets, parts, strict=True):
        joined[places] = part
    return joined


@dataclass
class Evaluation(ABC):
    """Several models on the same test rows, and the gate's verdict on them.

    What a model answers is the task's own: probabilities of labels, or losses and texts. A task
    says how models answer, how answers are scored, and what stands in tables, figures and records.

    Attributes:
        rows: the test rows.
        config: of the run.
        meta: what the challenger's ftzard.json says.
        own_metrics: the workspace's own metrics, as `custom_functions.packed` returns each.
        progress: called with (rows done, rows in all).
        champion: the version that stands against the challenger, if there is one.
        champion_meta: what the champion's ftzard.json says.
        left_out: ids of test rows that the champion cannot answer as the challenger does.
        answers: by role: 'challenger', 'champion', 'base' and names of baselines.
        earlier: answers of further versions, by number.
        apart: {number: why} of the versions that have no answers to these rows.
        memory: MiB that the weights of each opened model take, by its role.
        sample: the challenger's answers, with which later batches are compared for drift.
        allowance: what the gate may spend of the error budget, None without one.
        verdict: the gate's.
    """

    rows: pd.DataFrame
    config: Config
    meta: Mapping
    own_metrics: Mapping[str, Mapping] = field(default_factory=dict)
    progress: Callable[[int, int], object] | None = None
    champion: "Version | None" = None
    champion_meta: Mapping = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    answers: dict[str, Any] = field(default_factory=dict)
    earlier: dict[int, Any] = field(default_factory=dict)
    apart: dict[int, str] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    sample: Sample | None = None
    allowance: Allowance | None = None
    verdict: Verdict | None = None

    def __post_init__(self) -> None:
        self.sets = test_sets(self.rows)

    @staticmethod  # noqa: B027
    def require_comparable(meta: Mapping, other: Mapping, name: str) -> None:
        """Raise ModelError if the challenger and another version cannot be compared.

        Args:
            meta: of the challenger's adapter.
            other: of the other's.
            name: of the other.
        """

    @staticmethod
    @abstractmethod
    def require_tokenized(rows: pd.DataFrame, tokenizer: Any, meta: Mapping) -> None:
        """Raise ModelError if the rows were not tokenized as the challenger does it."""

    @staticmethod
    @abstractmethod
    def bare_model(config: Config, loaded: LoadedBase) -> tuple[Any, dict]:
        """Return the bare base to compare with, and what its answers depend on beside the base."""

    @staticmethod
    @abstractmethod
    def read_by(rows: pd.DataFrame, meta: Mapping, tokenizer: Any, same_base: bool
                ) -> tuple[pd.DataFrame, np.ndarray]:
        """Return the rows as another version reads them, and which it cannot answer alike.

        Args:
            rows: tokenized test rows.
            meta: of that version's adapter.
            tokenizer: of its base.
            same_base: whether that is the challenger's.
        """

    @abstractmethod
    def score(self, model: CachedModel, rows: pd.DataFrame | None = None, *,
              decides: bool = True) -> Any:
        """Return a model's answers.

        Args:
            model: which is asked.
            rows: the test rows as it reads them, if otherwise than the challenger.
            decides: whether the verdict depends on it; if not, only what is compared is asked.
        """

    @abstractmethod
    def score_challenger(self, model: CachedModel, validation: pd.DataFrame, facts: Mapping
                         ) -> None:
        """Add the challenger's answers and `sample`.

        Args:
            model: the challenger.
            validation: tokenized validation rows.
            facts: of this step and of the one that made the model.
        """

    @abstractmethod
    def judge(self, train: pd.DataFrame) -> Verdict:
        """Return the gate's verdict; train: tokenized training rows, for baselines."""

    @property
    @abstractmethod
    def compared_by(self) -> str:
        """The name of the measure that the gate compares."""

    @abstractmethod
    def compared(self, answers: Any) -> dict[str, Predicted] | dict[str, Scored]:
        """Return what the gate compares of a model's answers, by test set."""

    @abstractmethod
    def measure_of(self, answers: Any) -> dict:
        """Return every score of one model on all test rows."""

    @abstractmethod
    def scalars(self, role: str) -> dict[str, float]:
        """Return the scores of one model that are numbers."""

    @abstractmethod
    def line(self, answers: Any) -> dict:
        """Return a model's line in tables: what the gate compares with its interval, and more."""

    @abstractmethod
    def batch_scores(self, answers: Any) -> dict[str, dict]:
        """Return a model's score and rows on the test set of each batch."""

    @abstractmethod
    def examples(self) -> pd.DataFrame:
        """Return rows on which models differ."""

    @abstractmethod
    def figures(self) -> "dict[str, Figure]":
        """Return the figures that only this task has, by name."""

    @abstractmethod
    def entries(self) -> dict:
        """Return what the model's record keeps, beside verdict and tests by batch."""

    @abstractmethod
    def facts(self) -> dict:
        """Return what the step records for the report and the next steps."""

    @property
    def before(self) -> str:
        """The role that the challenger is to replace: the champion, or the bare base."""
        return "champion" if self.champion is not None else "base"

    def metrics(self, role: str) -> dict:
        """Return every score of one model on all test rows."""
        return self.measure_of(self.answers[role])

    def table(self) -> pd.DataFrame:
        """Return a line per model."""
        return pd.DataFrame([{"model": role, **self.line(answers), **self.own(role)}
                             for role, answers in self.answers.items()])

    def own(self, role: str) -> dict[str, float]:
        """Return the workspace's own metrics of one model."""
        return {}

    def scores(self, version: "Version") -> dict[int, dict]:
        """Return {number: line} of every version that answered these rows, oldest first.

        Args:
            version: The challenger.
        """
        return {number: self.line(answers)
                for number, answers in sorted(self._by_number(version).items())}

    def versions(self, version: "Version") -> pd.DataFrame:
        """Return a line per version that answered these rows, the challenger under its number."""
        return pd.DataFrame([{"version": number, **line}
                             for number, line in self.scores(version).items()])

    def tested(self, version: "Version") -> dict[str, dict[str, dict]]:
        """Return {version: {batch: score and rows}}, as records have it for the forgetting matrix.
        """
        return {str(number): self.batch_scores(answers)
                for number, answers in sorted(self._by_number(version).items())}

    def flat(self) -> dict[str, float]:
        """Return the scores of all models under names that tracking takes."""
        scores = {f"test_{name}": value for name, value in self.scalars("challenger").items()}
        for role in self.answers:
            prefix = role.replace(" ", "_").replace("-", "_").lower()
            scores |= {f"{prefix}_test_{name}": value for name, value in
                       {**self.scalars(role), **self.own(role)}.items()}
        scores |= {f"{role}_memory_mb": size for role, size in self.memory.items()}
        account = self.verdict.error_budget or {}
        scores |= {f"gate_budget_{name}": account[name] for name in ("level", "left", "round")
                   if name in account}
        return {**scores, "gate_difference": self.verdict.difference,
                "gate_lower": self.verdict.lower, "gate_upper": self.verdict.upper}

    def _by_number(self, version: "Version") -> dict[int, Any]:
        answers = {**self.earlier, version.number: self.answers["challenger"]}
        if self.champion is not None:
            answers[self.champion.number] = self.answers["champion"]
        return answers
