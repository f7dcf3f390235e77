"""How classifiers are evaluated: accuracy of labels, calibrated confidence, cheap baselines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from ftzard.config.schema import Config
from ftzard.core import custom_functions
from ftzard.data import storage
from ftzard.data.query_strategies import disagreement
from ftzard.data.query_strategies import uncertainty_of as uncertainty
from ftzard.errors import ModelError
from ftzard.evaluation import gate
from ftzard.evaluation.drift import Sample
from ftzard.evaluation.gate import Predicted, Verdict
from ftzard.evaluation.intervals import wilson_interval
from ftzard.evaluation.metric_info import ACCURACY
from ftzard.modeling.adapter_meta import read_meta
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.inference import Progress, probabilities
from ftzard.modeling.prediction_cache import Arrays, CachedModel, Question
from ftzard.modeling.spec import BaseSpec
from ftzard.modeling.tokenizer import PreTrainedTokenizerBase, encode
from ftzard.reporting import plots
from ftzard.tasks.classification import asked, baselines, calibration, committee
from ftzard.tasks.classification.calibration import Calibration
from ftzard.tasks.classification.checks import require_named, tokenized_as
from ftzard.tasks.classification.comparison import disagreements
from ftzard.tasks.classification.metrics import classification_metrics, flat, reliability
from ftzard.tasks.classification.predictor import Classifier, bare_classifier, open_classifier
from ftzard.tasks.evaluation import BY_SET, Evaluation, in_row_order, test_sets

__all__ = ["disagreement", "uncertainty"]

#: With so many rows the base that is built here came within three points of TF-IDF on tweets; with
#: 2,400 it was five points below (bench/real_tweets.py).
ROWS_FOR_A_BUILT_BASE = 16_000


@dataclass
class LabelEvaluation(Evaluation):
    """Models that choose labels.

    Their answers are probabilities (rows, classes), 0 of a class that a model does not know or that
    a row was not asked about; calibration: of the challenger, its temperature from validation rows.
    """

    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.asked = asked.mask(self.rows, self.classes)
        require_named(self.new, self.champion_meta.get("labels", ()), str(self.champion),
                      self.config.data.labels)

    @property
    def new(self) -> list[str]:
        """The labels that the champion does not know."""
        known = self.champion_meta.get("labels", self.classes)
        return [label for label in self.classes if label not in known]

    @property
    def classes(self) -> list[str]:
        """Label names in the order of the probabilities."""
        return self.meta["labels"]

    @staticmethod
    def require_comparable(meta: Mapping, other: Mapping, name: str) -> None:
        """Raise ModelError if the other version has labels that the challenger has not."""
        lacking = [label for label in other["labels"] if label not in meta["labels"]]
        if lacking:
            raise ModelError(
                f"{name} knows the labels {', '.join(other['labels'])}, and the challenger does "
                f"not know {', '.join(lacking)}; expected all of them, since a label is never "
                "taken away from a model. Name them in data.labels and bring rows of each, or "
                "train under another tracking.registered_model.")

    @staticmethod
    def require_tokenized(rows: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, meta: Mapping
                          ) -> None:
        """Raise ModelError if the rows were not tokenized as the challenger does it."""
        tokenized_as(rows, tokenizer, meta["max_length"])

    @staticmethod
    def bare_model(config: Config, loaded: LoadedBase) -> tuple[Classifier, dict]:
        """Return the base with its untrained head."""
        return bare_classifier(loaded), {}

    @staticmethod
    def read_by(rows: pd.DataFrame, meta: Mapping, tokenizer: PreTrainedTokenizerBase,
                same_base: bool) -> tuple[pd.DataFrame, np.ndarray]:
        """Return the rows in the tokens of another version, which can answer all of them."""
        if not same_base:
            ids, _, _ = encode(rows["text"].tolist(), tokenizer, meta["max_length"])
            rows = rows.assign(input_ids=ids)
        return rows, np.zeros(len(rows), dtype=bool)

    def score(self, model: CachedModel, rows: pd.DataFrame | None = None, *,
              decides: bool = True) -> np.ndarray:
        """Return a model's probabilities of each label."""
        rows = self.rows if rows is None else rows
        logits = self._placed(_logits(model, rows, self.sets), _labels(model))
        return calibration.scaled(logits, 1.0)

    def score_challenger(self, model: CachedModel, validation: pd.DataFrame, facts: Mapping
                         ) -> None:
        """Add the challenger's probabilities, its calibration and its sample for drift."""
        embedded: list[np.ndarray] = []

        def compute(classifier: Classifier, question: Question) -> Arrays:
            logits, embeddings = classifier.answers(question.input_ids)
            embedded.append(embeddings)
            return {"logits": logits}

        given, labels = _logits(model, self.rows, self.sets, compute), self.rows["label"]
        logits, fitted = asked.among(given, self.asked), facts.get("temperature")
        self.calibration = calibration.calibrate(
            validation["label"], asked.among(
                model.model.logits(validation["input_ids"].tolist()),
                asked.mask(validation, self.classes)), labels, logits, self.classes
        ) if fitted is None else calibration.measure(
            fitted["temperature"], fitted["validation_rows"], labels, logits, self.classes)
        self.answers["challenger"] = calibration.scaled(logits, 1.0)
        self.sample = drift_sample(self.rows, calibration.scaled(given, 1.0),
                                   in_row_order(self.sets, embedded, len(self.rows)))

    def judge(self, train: pd.DataFrame) -> Verdict:
        """Add the baselines TF-IDF and majority class and return the gate's verdict."""
        self.answers["TF-IDF"] = asked.shares(baselines.tfidf(
            train["text"], train["label"], self.rows["text"], self.classes, self.config.seed),
            self.asked)
        self.answers["majority"] = asked.shares(
            baselines.majority(train["label"], len(self.rows), self.classes), self.asked)
        predicted = {role: self.compared(answers) for role, answers in self.answers.items()}
        return gate.judge(
            predicted["challenger"], predicted.get("champion"), self.config.gate,
            classes=self.classes, seed=self.config.seed,
            baselines={name: predicted[name] for name in ("TF-IDF", "majority")},
            calibration_error=self.calibration.ece_after,
            calibration_chance=self.calibration.ece_chance, allowance=self.allowance,
            new_labels={label: self._not_asked(label) for label in self.new})

    def measure_of(self, answers: np.ndarray) -> dict:
        """Return every score of one model on all test rows."""
        return classification_metrics(self.rows["label"], answers, self.classes)

    def scalars(self, role: str) -> dict[str, float]:
        """Return the scores of one model that are numbers."""
        return flat(self.metrics(role))

    def line(self, answers: np.ndarray) -> dict:
        """Return accuracy with its interval, macro F1 and rows of a model."""
        scores = self.measure_of(answers)
        lower, upper = wilson_interval(round(scores["accuracy"] * scores["n"]), scores["n"])
        return {"accuracy": scores["accuracy"], "lower": lower, "upper": upper,
                "macro_f1": scores["macro_f1"], "n": scores["n"]}

    def own(self, role: str) -> dict[str, float]:
        """Return the workspace's own metrics of one model."""
        return self._own[role]

    @cached_property
    def _own(self) -> dict[str, dict[str, float]]:
        return {role: custom_functions.measured(
            self.own_metrics, self.rows["label"], self._chosen(answers),
            pd.DataFrame(answers, columns=self.classes))
            for role, answers in self.answers.items()}

    def batch_scores(self, answers: np.ndarray) -> dict[str, dict]:
        """Return a model's accuracy and rows on the test set of each batch."""
        right = pd.Series(self._chosen(answers) == self.rows["label"].to_numpy(), self.rows.index)
        return {str(batch): {"accuracy": float(part.mean()), "n": len(part),
                             "rows": storage.rows_digest(self.rows.loc[part.index])[:12]}
                for batch, part in right.groupby(self.rows["batch"], sort=False)}

    def examples(self, most: int = 10) -> pd.DataFrame:
        """Return test rows that the champion (or the base) and the challenger answer differently.

        Those both are surest of come first; who is right is 'first', 'second' or 'neither'.
        """
        apart = disagreements(
            self.rows["text"].tolist(), self.rows["label"].tolist(), self.answers[self.before],
            self.answers["challenger"], self.classes)
        shown = apart[["text", "label", "first", "second", "right"]].head(most)
        return shown.rename(columns={"first": f"{self.before} says", "second": "challenger says"}
                            ).assign(right=shown["right"].replace(
                                {"first": self.before, "second": "challenger"}))

    def figures(self) -> dict:
        """Return confusion matrix, reliability as it answers and scaled, accuracy by coverage."""
        answers = self.answers["challenger"]
        scaled = calibration.scaled(np.log(np.clip(answers, 1e-300, None)),
                                    self.calibration.temperature)
        bins = (reliability(self.rows["label"], p, self.classes) for p in (answers, scaled))
        return {
            "confusion_matrix": plots.confusion_matrix(
                self.metrics("challenger")["confusion"], self.classes),
            "reliability": plots.reliability_diagram(*bins),
            "abstention": plots.abstention(self.abstention())}

    def entries(self) -> dict:
        """Return what the model's record keeps, beside verdict and tests by batch."""
        return {"test_metrics": self.metrics("challenger"), "answered_by": BY_SET,
                "calibration": self.calibration.to_dict(), "abstention": self.abstention()}

    def facts(self) -> dict:
        """Return what the step records for the report and the next steps."""
        return {"calibration": self.calibration.to_dict()}

    def flat(self) -> dict[str, float]:
        """Return the scores of all models, and the calibration, under names for tracking."""
        return {**super().flat(), **self.calibration.flat()}

    def abstention(self) -> list[dict]:
        """Return the challenger's accuracy against coverage on all test rows."""
        return calibration.abstention(self.rows["label"], self.answers["challenger"], self.classes)

    def _placed(self, logits: np.ndarray, labels: Sequence[str]) -> np.ndarray:
        """Return a model's logits in the order of the challenger's classes."""
        placed = np.full((len(logits), len(self.classes)), -np.inf, dtype=logits.dtype)
        placed[:, [self.classes.index(label) for label in labels]] = logits
        return asked.among(placed, self.asked)

    def _not_asked(self, label: str) -> int:
        """Return how many test rows were not asked about a label."""
        return 0 if self.asked is None else int((~self.asked[:, self.classes.index(label)]).sum())

    def _chosen(self, answers: np.ndarray) -> np.ndarray:
        return np.array(self.classes)[answers.argmax(axis=1)]

    @property
    def compared_by(self) -> str:
        """The name of the measure that the gate compares."""
        return ACCURACY.name

    def compared(self, answers: np.ndarray) -> dict[str, Predicted]:
        """Return the predicted labels by test set."""
        return {batch: Predicted.from_probabilities(
            part["id"], part["label"], answers[part.index], self.classes)
                for batch, part in self.rows.groupby("batch", sort=False)}


def test_metrics(classifier: Classifier, rows: pd.DataFrame, config: Config, *,
                 by_set: bool = True) -> dict:
    """Return every score of a classifier on test rows.

    Args:
        by_set: Answer each test set by itself, as an evaluation does; else all rows together,
            which gives other last digits.
    """
    sets = test_sets(rows) if by_set else [np.arange(len(rows))]
    labels = classifier.meta["labels"]
    logits = asked.among(_logits(CachedModel({}, lambda: classifier), rows, sets),
                         asked.mask(rows, labels))
    return classification_metrics(rows["label"], calibration.scaled(logits, 1.0), labels)


test_metrics.__test__ = False  # not a test case, whatever pytest makes of the name


def calibrated(answers: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities (rows, labels) as a temperature makes them, to estimate accuracy by."""
    return calibration.scaled(np.log(np.clip(answers, 1e-300, None)), temperature)


def drift_sample(rows: pd.DataFrame, answers: np.ndarray, embeddings: np.ndarray) -> Sample:
    """Return the drift sample of tokenized rows (text, length, cut) and their probabilities."""
    return Sample.of(rows["text"].tolist(), rows["length"] + rows["cut"], answers, embeddings)


def reference_sample(classifier: Classifier, rows: pd.DataFrame, config: Config) -> Sample:
    """Return the drift sample of test rows that the classifier answers now."""
    logits, embeddings = classifier.answers(rows["input_ids"].tolist())
    return drift_sample(rows, probabilities(logits), embeddings)


def embeddings(folder: Path, base: BaseSpec, texts: list[str], *,
               on_step: Progress | None = None) -> np.ndarray:
    """Return a saved classifier's embeddings (rows, width) of texts, for sampling by diversity."""
    classifier = open_classifier(folder, base)
    input_ids, _, _ = encode(texts, classifier.tokenizer, classifier.max_length)
    return classifier.answers(input_ids, on_step=on_step)[1]


def committee_probabilities(
        folders: Sequence[Path], base: BaseSpec, texts: list[str], *,
        on_member: Callable[[int], Progress | None] | None = None) -> list[np.ndarray]:
    """Return each member's probabilities (rows, labels) of texts, for sampling by a committee.

    Args:
        folders: Of the members' adapters, on one base.
        on_member: Given a member's number (from 0), returns what to call with (rows done, rows in
            all).
    """
    return committee.answers(folders, base, read_meta(folders[0])["labels"], texts,
                             on_member=on_member)


def _logits(model: CachedModel, rows: pd.DataFrame, sets: list[np.ndarray],
            compute=lambda classifier, question: {"logits": classifier.logits(question.input_ids)}
            ) -> np.ndarray:
    ids = rows["input_ids"].tolist()
    questions = [Question("logits", [ids[i] for i in places]) for places in sets]
    return in_row_order(
        sets, [part["logits"] for part in model.answers(questions, compute)], len(rows))


def _labels(model: CachedModel) -> list[str]:
    """Return the labels of a model, in the order of its logits, unopened where it has an identity.
    """
    known = model.identity
    if not known:
        return model.model.meta["labels"]
    return known["meta"]["labels"] if known["adapter"] else known["labels"]


EVALUATION = LabelEvaluation
