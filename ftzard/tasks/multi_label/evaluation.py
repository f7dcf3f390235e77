"""How multi-label classifiers are evaluated: F1 of each row's label set, recall of each label."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ftzard.config.schema import Config
from ftzard.core import custom_functions
from ftzard.data import query_strategies, storage
from ftzard.evaluation import gate
from ftzard.evaluation.drift import Sample
from ftzard.evaluation.gate import Verdict
from ftzard.evaluation.metric_info import SAMPLES_F1
from ftzard.evaluation.paired import Scored
from ftzard.modeling.adapter_meta import read_meta
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.inference import Progress
from ftzard.modeling.prediction_cache import Arrays, CachedModel, Question
from ftzard.modeling.spec import BaseSpec
from ftzard.modeling.tokenizer import encode
from ftzard.tasks.classification import committee
from ftzard.tasks.classification.checks import same_labels
from ftzard.tasks.classification.evaluation import LabelEvaluation
from ftzard.tasks.evaluation import BY_SET, Evaluation, in_row_order, test_sets
from ftzard.tasks.multi_label import baselines, figures, label_sets
from ftzard.tasks.multi_label.metrics import flat, multi_label_metrics, row_f1
from ftzard.tasks.multi_label.predictor import (
    Answered,
    LabelSetClassifier,
    bare_predictor,
    open_predictor,
)
from ftzard.tasks.multi_label.thresholds import sigmoid
from ftzard.tasks.multi_label.uncertainty import disagreement
from ftzard.tasks.multi_label.uncertainty import uncertainty as label_uncertainty

__all__ = ["disagreement"]

#: Labelled rows with which a base that is built here does as well as TF-IDF: not measured.
ROWS_FOR_A_BUILT_BASE = None
#: Name of the baseline that a first model has to beat.
MOST_FREQUENT = "most frequent label set"


@dataclass
class LabelSetEvaluation(Evaluation):
    """Models that give any number of labels."""

    answers: dict[str, Answered] = field(default_factory=dict)

    require_tokenized = staticmethod(LabelEvaluation.require_tokenized)
    read_by = staticmethod(LabelEvaluation.read_by)

    @property
    def classes(self) -> list[str]:
        """Label names in the order of the probabilities."""
        return self.meta["labels"]

    @staticmethod
    def require_comparable(meta: Mapping, other: Mapping, name: str) -> None:
        """Raise ModelError if the other version has other labels."""
        same_labels(meta["labels"], other["labels"], whose="the challenger", others=name)

    @staticmethod
    def bare_model(config: Config, loaded: LoadedBase) -> tuple[LabelSetClassifier, dict]:
        """Return the base with its untrained head."""
        return bare_predictor(loaded), {}

    def score(self, model: CachedModel, rows: pd.DataFrame | None = None, *,
              decides: bool = True) -> Answered:
        """Return a model's probabilities and the labels that it gives."""
        return _answered(model, self.rows if rows is None else rows, self.sets)

    def score_challenger(self, model: CachedModel, validation: pd.DataFrame, facts: Mapping
                         ) -> None:
        """Add the challenger's answers and its sample for drift."""
        embeddings: list[np.ndarray] = []

        def compute(classifier: LabelSetClassifier, question: Question) -> Arrays:
            logits, embedded = classifier.answers(question.input_ids)
            embeddings.append(embedded)
            return _arrays(classifier, logits)

        self.answers["challenger"] = _answered(model, self.rows, self.sets, compute)
        self.sample = drift_sample(self.rows, self.answers["challenger"],
                                   in_row_order(self.sets, embeddings, len(self.rows)))

    def judge(self, train: pd.DataFrame) -> Verdict:
        """Add the baselines and return the gate's verdict."""
        model = baselines.TfidfBaseline.fit(train["text"], train["label"], self.classes,
                                            self.config.seed)
        chances = model.probabilities(self.rows["text"])
        self.answers["TF-IDF"] = Answered(chances, chances >= model.thresholds)
        frequent = baselines.most_frequent(train["label"], len(self.rows), self.classes)
        shares = label_sets.indicators(train["label"].tolist(), self.classes).mean(axis=0)
        self.answers[MOST_FREQUENT] = Answered(np.tile(shares, (len(self.rows), 1)), frequent)
        scored = {role: self.compared(answers) for role, answers in self.answers.items()}
        return gate.judge(
            scored["challenger"], scored.get("champion"), self.config.gate,
            seed=self.config.seed, measure=SAMPLES_F1.name, classes=self.classes,
            baselines={name: scored[name] for name in ("TF-IDF", MOST_FREQUENT)},
            first_opponent=MOST_FREQUENT, allowance=self.allowance)

    def measure_of(self, answers: Answered) -> dict:
        """Return every score of one model on all test rows."""
        return multi_label_metrics(self.rows["label"].tolist(), answers.chosen,
                                   answers.probabilities, self.classes)

    def scalars(self, role: str) -> dict[str, float]:
        """Return the scores of one model that are numbers."""
        return flat(self.metrics(role))

    def line(self, answers: Answered) -> dict:
        """Return the mean F1 of rows with its interval, and other scores of a model."""
        measure = self.measure_of(answers)
        value, lower, upper = gate.interval(
            self.compared(answers), measure=SAMPLES_F1.name,
            confidence=self.config.gate.confidence, resamples=self.config.gate.resamples,
            seed=self.config.seed)
        return {"measure": SAMPLES_F1.name, "score": value, "lower": lower, "upper": upper,
                **{name: measure[name] for name in ("micro_f1", "macro_f1", "subset_accuracy")},
                "n": measure["n"]}

    def own(self, role: str) -> dict[str, float]:
        """Return the workspace's own metrics of one model."""
        return self._own[role]

    @cached_property
    def _own(self) -> dict[str, dict[str, float]]:
        return {role: custom_functions.measured(
            self.own_metrics, self.rows["label"], np.array(self._labels(answers), dtype=object),
            pd.DataFrame(answers.probabilities, columns=self.classes))
            for role, answers in self.answers.items()}

    def batch_scores(self, answers: Answered) -> dict[str, dict]:
        """Return a model's mean F1 and rows on the test set of each batch."""
        f1 = pd.Series(row_f1(self._targets, answers.chosen), self.rows.index)
        return {str(batch): {"score": float(part.mean()), "n": len(part),
                             "rows": storage.rows_digest(self.rows.loc[part.index])[:12]}
                for batch, part in f1.groupby(self.rows["batch"], sort=False)}

    def examples(self, most: int = 10) -> pd.DataFrame:
        """Return test rows on which the champion (or the base) and the challenger differ most."""
        before, after = self.answers[self.before], self.answers["challenger"]
        gain = row_f1(self._targets, after.chosen) - row_f1(self._targets, before.chosen)
        apart = np.flatnonzero((after.chosen != before.chosen).any(axis=1))
        shown = apart[np.argsort(-np.abs(gain[apart]), kind="stable")][:most]
        return pd.DataFrame({
            "text": self.rows["text"].iloc[shown], "label": self.rows["label"].iloc[shown],
            f"{self.before} says": np.array(self._labels(before), dtype=object)[shown],
            "challenger says": np.array(self._labels(after), dtype=object)[shown],
            "right": [self.before if g < 0 else "challenger" if g > 0 else "neither"
                      for g in gain[shown]]})

    def figures(self) -> dict:
        """Return precision, recall, F1 and threshold of each label, and which come together."""
        metrics = self.metrics("challenger")
        return {"per_label": figures.per_label(self.per_label()),
                "co_occurrence": figures.co_occurrence(metrics["co_occurrence"], self.classes)}

    def per_label(self) -> dict[str, dict[str, float]]:
        """Return the challenger's scores and threshold of each label."""
        thresholds = dict(zip(self.classes, self.meta["thresholds"], strict=True))
        return {name: {**scores, "threshold": thresholds[name]}
                for name, scores in self.metrics("challenger")["per_class"].items()}

    def entries(self) -> dict:
        """Return what the model's record keeps, beside verdict and tests by batch."""
        return {"test_metrics": self.metrics("challenger"), "answered_by": BY_SET,
                "measure": SAMPLES_F1.name, "thresholds": list(self.meta["thresholds"])}

    def facts(self) -> dict:
        """Return what the step records for the report and the next steps."""
        return {"measure": SAMPLES_F1.name}

    @cached_property
    def _targets(self) -> np.ndarray:
        return label_sets.indicators(self.rows["label"].tolist(), self.classes)

    def _labels(self, answers: Answered) -> list[str]:
        return label_sets.from_indicators(answers.chosen, self.classes)

    @property
    def compared_by(self) -> str:
        """The name of the measure that the gate compares."""
        return SAMPLES_F1.name

    def compared(self, answers: Answered) -> dict[str, Scored]:
        """Return each row's F1, and of each label of a row whether it was given, by test set."""
        f1 = row_f1(self._targets, answers.chosen)
        hits = np.where(self._targets, answers.chosen.astype(float), np.nan)
        return {batch: Scored(part["id"], f1[part.index], hits=hits[part.index])
                for batch, part in self.rows.groupby("batch", sort=False)}


EVALUATION = LabelSetEvaluation


def drift_sample(rows: pd.DataFrame, answers: Answered, embeddings: np.ndarray) -> Sample:
    """Return the drift sample of tokenized rows (text, length, cut) and their answers."""
    return Sample.of(rows["text"].tolist(), rows["length"] + rows["cut"], answers.probabilities,
                     embeddings, chosen=answers.chosen)


def reference_sample(classifier: LabelSetClassifier, rows: pd.DataFrame, config: Config) -> Sample:
    """Return the drift sample of test rows that the classifier answers now."""
    logits, embeddings = classifier.answers(rows["input_ids"].tolist())
    chances = sigmoid(logits)
    return drift_sample(rows, Answered(chances, classifier.chosen(chances)), embeddings)


def test_metrics(classifier: LabelSetClassifier, rows: pd.DataFrame, config: Config, *,
                 by_set: bool = True) -> dict:
    """Return every score of a classifier on test rows.

    Args:
        by_set: Answer each test set by itself, as an evaluation does; else all rows together,
            which gives other last digits.
    """
    sets = test_sets(rows) if by_set else [np.arange(len(rows))]
    answers = _answered(CachedModel({}, lambda: classifier), rows, sets)
    return multi_label_metrics(rows["label"].tolist(), answers.chosen, answers.probabilities,
                               classifier.labels)


test_metrics.__test__ = False  # not a test case, whatever pytest makes of the name


def uncertainty(predictions: pd.DataFrame, strategy: str, *, seed: int = 0) -> np.ndarray:
    """Return each row's uncertainty, by its probabilities and thresholds; 'random' draws it."""
    if strategy == "random":
        return np.random.default_rng(seed).random(len(predictions))
    return label_uncertainty(
        np.stack(predictions["probabilities"].to_list()), query_strategies.shown_by(strategy),
        np.stack(predictions["thresholds"].to_list()))


def embeddings(folder: Path, base: BaseSpec, texts: list[str], *,
               on_step: Progress | None = None) -> np.ndarray:
    """Return a saved classifier's embeddings (rows, width) of texts, for sampling by diversity."""
    classifier = open_predictor(folder, base)
    input_ids, _, _ = encode(texts, classifier.tokenizer, classifier.max_length)
    return classifier.answers(input_ids, on_step=on_step)[1]


def committee_probabilities(
        folders: Sequence[Path], base: BaseSpec, texts: list[str], *,
        on_member: Callable[[int], Progress | None] | None = None) -> list[np.ndarray]:
    """Return each member's probabilities (rows, labels) of texts, for sampling by a committee."""
    return committee.answers(folders, base, read_meta(folders[0])["labels"], texts,
                             on_member=on_member, open_model=open_predictor, chances=sigmoid)


def _arrays(classifier: LabelSetClassifier, logits: np.ndarray) -> Arrays:
    return {"logits": logits, "chosen": classifier.chosen(sigmoid(logits))}


def _answered(model: CachedModel, rows: pd.DataFrame, sets: list[np.ndarray],
              compute: Any = lambda classifier, question: _arrays(
                  classifier, classifier.logits(question.input_ids))) -> Answered:
    ids = rows["input_ids"].tolist()
    questions = [Question("label sets", [ids[i] for i in places]) for places in sets]
    parts = model.answers(questions, compute)
    logits, chosen = (in_row_order(sets, [part[name] for part in parts], len(rows))
                      for name in ("logits", "chosen"))
    return Answered(sigmoid(logits), chosen)
